/**
 * Packet Identifiers of QoS 1 over the end of the process: a client may still acknowledge what it got before, and must not
 * acknowledge something else by that. Some clients keep a PUBACK that they could not send for the next connection.
 */
import { describe, expect, test } from "bun:test";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

function kept(receiveMaximum: number): ConnectInit {
  return { clientId: "kept", cleanStart: false, properties: { sessionExpiryInterval: 3600, receiveMaximum } };
}

/** The process ends; what was committed is there for the next one. */
function restart(world: World): World {
  const store = world.store!;
  store.crash();
  store.automatic = true;
  return new World({ store, nowMs: world.nowMs + 1 });
}

/** What has come and was not acknowledged: identifier, text, DUP. */
function open(client: TestClient): [number, string, boolean][] {
  return client.packets
    .splice(0)
    .flatMap((packet) =>
      packet.type === "publish" ? [[packet.packetId, new TextDecoder().decode(packet.payload), packet.dup]] : [],
    ) as [number, string, boolean][];
}

function acknowledge(client: TestClient, ...packetIds: number[]): void {
  for (const packetId of packetIds) client.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
}

function publish(world: World, first: number, last: number, rest = ""): void {
  const publisher = world.connect();
  for (let at = first; at <= last; at++) publisher.publish("t", `${at}${rest}`, { qos: 1 });
}

describe("[MQTT-4.4.0-1] after kill -9 what is under way comes again as it was", () => {
  test("sent as it came", () => {
    const world = new World({ store: new HeldStore() });
    const client = world.connect(kept(10));
    client.subscribe("t", { qos: 1 });
    publish(world, 1, 6);
    acknowledge(client, 1, 2, 4);
    const next = restart(world);
    expect(open(next.connect(kept(10)))).toEqual([
      [3, "3", true],
      [5, "5", true],
      [6, "6", true],
    ]);
  });

  test.each([
    ["its queue in memory", 20, ""],
    ["its queue in the store", 20, "x".repeat(300_000)],
  ])("sent out of %s, with what came later behind it", (_where, count, rest) => {
    const world = new World({ store: new HeldStore() });
    const before = world.connect(kept(4));
    before.subscribe("t", { qos: 1 });
    before.drop();
    publish(world, 1, count, rest);
    const client = world.connect(kept(4));
    const numbers = (of: TestClient) =>
      open(of).map(([packetId, text, dup]) => [packetId, Number.parseInt(text, 10), dup]);
    expect(numbers(client)).toEqual([1, 2, 3, 4].map((at) => [at, at, false]));
    acknowledge(client, 1, 2);
    expect(numbers(client)).toEqual([5, 6].map((at) => [at, at, false]));
    publish(world, count + 1, count + 1, rest);
    const next = restart(world);
    const back = next.connect(kept(4));
    expect(numbers(back)).toEqual([3, 4, 5, 6].map((at) => [at, at, true]));
    // A PUBACK that was meant for the connection before.
    acknowledge(back, 5);
    // It may have been sent while nobody was left to record that.
    expect(numbers(back)).toEqual([[7, 7, true]]);
    const seen: unknown[] = [];
    acknowledge(back, 3, 4, 6, 7);
    for (let round = 0; round < count; round++) {
      const came = numbers(back);
      seen.push(...came.map(([, number]) => number));
      acknowledge(back, ...came.map(([packetId]) => packetId as number));
    }
    expect(seen).toEqual(Array.from({ length: count - 6 }, (_, at) => at + 8));
  });
});

test("[MQTT-4.6.0-1] after kill -9 what is under way comes again in the order in which it was sent", () => {
  const world = new World({ store: new HeldStore() });
  const publisher = world.connect();
  publisher.publish("r", "retained", { qos: 1, retain: true });
  const client = world.connect(kept(2));
  client.subscribe("t", { qos: 1 });
  publish(world, 1, 2);
  client.subscribe("r", { qos: 1 });
  // It is queued, and so recorded, before the retained message is sent in front of it.
  publisher.publish("r", "later", { qos: 1 });
  const texts = (of: TestClient) => open(of).map(([, text]) => text);
  expect(texts(client)).toEqual(["1", "2"]);
  acknowledge(client, 1, 2);
  expect(texts(client)).toEqual(["retained", "later"]);
  expect(open(restart(world).connect(kept(2))).map(([packetId, text]) => [packetId, text])).toEqual([
    [3, "retained"],
    [4, "later"],
  ]);
});
