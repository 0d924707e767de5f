/** Packet Identifiers towards a client: how many are in use at once, and what sending again costs (MQTT 5.0 sections 2.2.1, 4.4). */
import { expect, test } from "bun:test";
import { arrayWork } from "../support/array-work.ts";
import { acknowledge, resume, takeUnacknowledged } from "../support/publish-dialogue.ts";
import { toText, World } from "../support/world.ts";

test("handshakes that earlier connections left at PUBREL count among limits.inflightMax, however often the client returns", () => {
  const world = new World({ limits: { inflightMax: 8 } });
  const publisher = world.connect();
  /** Identifiers between PUBREC and PUBCOMP. */
  const open = new Set<number>();
  const received: string[] = [];
  let sent = 0;
  for (let round = 0; round < 6; round++) {
    const client = resume(world, "client");
    if (round === 0) client.subscribe("a", { qos: 2 });
    for (let i = 0; i < 10; i++) publisher.publish("a", `${sent++}`, { qos: 2 });
    for (const publish of takeUnacknowledged(client)) {
      expect(open.has(publish.packetId!)).toBe(false);
      open.add(publish.packetId!);
      received.push(toText(publish.payload));
      acknowledge(client, "pubrec", publish.packetId);
    }
    expect(open.size).toBe(8);
    client.drop();
  }
  // Each PUBCOMP frees one identifier for one message that waits.
  const client = resume(world, "client");
  while (client.packets.length > 0) {
    for (const packet of client.takeAll()) {
      if (packet.type === "publish") {
        expect(open.has(packet.packetId!)).toBe(false);
        open.add(packet.packetId!);
        received.push(toText(packet.payload));
        acknowledge(client, "pubrec", packet.packetId);
      } else if (packet.type === "pubrel") {
        open.delete(packet.packetId);
        acknowledge(client, "pubcomp", packet.packetId);
      }
    }
    expect(open.size).toBeLessThanOrEqual(8);
  }
  expect(received).toEqual(Array.from({ length: sent }, (_, index) => `${index}`));
  expect(client.connection.session!.inflight.count).toBe(0);
});

test("sending again through a small window costs a step per message, not a look at all that are left", () => {
  const workFor = (count: number): number => {
    const world = new World();
    const publisher = world.connect();
    const before = resume(world, "client");
    before.subscribe("a", { qos: 1 });
    for (let i = 0; i < count; i++) publisher.sendPublish("a", "", { qos: 1, packetId: 1 });
    before.drop();
    const client = resume(world, "client", { properties: { receiveMaximum: 1 } });
    let again = 0;
    const work = arrayWork(() => {
      for (let publish = takeUnacknowledged(client)[0]; publish !== undefined; ) {
        again++;
        acknowledge(client, "puback", publish.packetId);
        publish = takeUnacknowledged(client)[0];
      }
    });
    expect(again).toBe(count);
    return work;
  };
  expect(workFor(1600)).toBeLessThan(3 * workFor(800));
});

test("while a client is away nothing counts against the quota of its next connection", () => {
  const world = new World();
  const publisher = world.connect();
  const before = resume(world, "client", { properties: { receiveMaximum: 3 } });
  before.subscribe("a", { qos: 1 });
  const { session } = before.connection;
  for (let i = 0; i < 3; i++) publisher.publish("a", "", { qos: 1 });
  expect(session!.sentCount).toBe(3);
  before.drop();
  expect(session!.sentCount).toBe(0);
  expect(session!.inflight.inOrder().map(({ sent }) => sent)).toEqual([false, false, false]);
});
