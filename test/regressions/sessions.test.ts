/** Sessions and connections through unusual hours: returns with fewer rights, slow readers, expiry caps, bridges, wall clocks that step. */
import { afterEach, expect, setSystemTime, test } from "bun:test";
import { createBroker } from "rqtt";
import { Handshakes } from "../../src/bun/handshakes.ts";
import type { Broker } from "../../src/core/broker.ts";
import { decodePacket } from "../../src/core/codec/packet.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import type { AuthPlugin } from "../../src/core/gate/provider.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { expectAlive } from "../support/ending.ts";
import { acknowledge, resume } from "../support/publish-dialogue.ts";
import { accept, ScriptedAuth } from "../support/scripted-auth.ts";
import { World } from "../support/world.ts";

afterEach(() => {
  setSystemTime();
});

test("a client that returns without the right to a message it has acknowledged with PUBREC still gets its PUBREL", () => {
  const everything = accept({ id: "client" });
  const nothing = accept({ id: "client", permissions: { allow: [{ on: "both", filter: "public/#" }] } });
  let verdict = everything;
  const world = new World({ auth: new ScriptedAuth(({ clientId }) => (clientId === "client" ? verdict : accept())) });
  const publisher = world.connect();
  const client = resume(world, "client");
  client.subscribe("secret", { qos: 2 });
  publisher.publish("secret", "received", { qos: 2 });
  publisher.publish("secret", "not received", { qos: 2 });
  const { packetId } = client.take("publish");
  acknowledge(client, "pubrec", packetId);
  client.drop();
  verdict = nothing;
  const back = resume(world, "client");
  expect(back.takeAll()).toEqual([{ type: "pubrel", packetId: packetId!, reasonCode: 0, properties: {} }]);
  acknowledge(back, "pubcomp", packetId);
  expect([back.packets, back.connection.session!.inflight.count, back.connection.session!.queuedBytes]).toEqual([
    [],
    0,
    0,
  ]);
});

test("DISCONNECT may carry a Session Expiry Interval wherever CONNECT did, the broker's cap notwithstanding", () => {
  const world = new World({ capabilities: { sessionExpiryIntervalMax: 0 } });
  const client = world.connect({ properties: { sessionExpiryInterval: 100 } });
  client.disconnect(0, { sessionExpiryInterval: 100 });
  expect([client.takeAll(), client.closed, world.log]).toEqual([[], true, []]);
  expect(world.broker.sessionCount).toBe(0);
  // After 0, or nothing, in CONNECT it stays a Protocol Error.
  const other = world.connect();
  other.disconnect(0, { sessionExpiryInterval: 100 });
  expect(other.take("disconnect").reasonCode).toBe(0x82);
});

test("a slow reader that reads is alive: every byte it takes counts, long before it is below the low water mark", () => {
  const limits = { outboundHighWaterBytes: 1000, outboundLowWaterBytes: 100 };
  const world = new World({ limits });
  const slow = world.connect({ keepAlive: 4 });
  const deaf = world.connect({ keepAlive: 4 });
  const publisher = world.connect();
  for (const client of [slow, deaf]) {
    client.subscribe("a", { qos: 1 });
    client.stall();
  }
  publisher.publish("a", "x".repeat(2000), { qos: 1 });
  expect([slow.paused, deaf.paused]).toEqual([true, true]);
  for (let left = 2000; left > 1000; left -= 100) {
    world.advance(5_000); // the keep alive is over after 6
    world.broker.drained(slow.connection, left, world.nowMs);
    world.settle();
    expect([slow.closed, slow.paused]).toEqual([false, true]);
  }
  expect(deaf.closed).toBe(true);
  world.advance(5_999);
  expect(slow.closed).toBe(false);
  // At the low water mark it is read from again.
  world.broker.drained(slow.connection, limits.outboundLowWaterBytes, world.nowMs);
  world.settle();
  expect(slow.paused).toBe(false);
  world.advance(6_000);
  expect(slow.closed).toBe(true);
});

test("a bridge that marks its protocol level is refused in the form of 3.1.1, and let in when it asks again without the mark", () => {
  for (const [name, level] of [
    ["00 04 4d 51 54 54", "84"],
    ["00 06 4d 51 49 73 64 70", "83"],
  ] as const) {
    const world = new World();
    const marked = world.open(4);
    const rest = "02 00 3c 00 06 62 72 69 64 67 65";
    const length = (name.split(" ").length + 1 + rest.split(" ").length).toString(16).padStart(2, "0");
    marked.sendBytes(`10 ${length} ${name} ${level} ${rest}`);
    expect([marked.bytes, marked.closed]).toEqual([[0x20, 2, 0, 1], true]);
    const plain = world.open(4);
    plain.sendBytes(`10 ${length} ${name} 0${level[1]} ${rest}`);
    plain.take("connack");
    expectAlive(plain);
  }
});

/** A provider whose principals are good for a minute by the wall clock. */
const forAMinute: AuthPlugin = {
  apiVersion: 1,
  name: "for-a-minute",
  create: () => ({
    connect: () => ({
      do: "accept",
      principal: { id: "p", permissions: "everything", expiresAtMs: Date.now() + 60_000 },
    }),
  }),
};

test.each([-3_600_000, 3_600_000])(
  "credentials are good for what is left of them by the wall clock, after it has stepped by %d ms",
  async (stepMs) => {
    const broker = await createBroker({ sysIntervalMs: 0, plugins: [{ plugin: forAMinute }] });
    try {
      setSystemTime(new Date(Date.now() + stepMs));
      const connection = broker.connect();
      const connack = await new Promise<Uint8Array>((resolve) => {
        connection.onreceive = resolve;
        connection.send(Uint8Array.of(0x10, 14, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 0, 0, 0, 1, 0x63));
      });
      const packet = decodePacket(connack[0]!, new Reader(connack.slice(2)), 5);
      if (packet.type !== "connack") throw new Error(`got ${packet.type}`);
      expect(packet.reasonCode).toBe(0);
      // By the broker's own clock, which does not step: a minute from now, give or take what this test takes.
      setSystemTime();
      const hint = Number(packet.properties.userProperties?.find(([key]) => key === "auth-expires")?.[1]) * 1000;
      expect(Math.abs(hint - Date.now() - 60_000)).toBeLessThan(60_000);
      connection.close();
    } finally {
      await broker.close();
    }
  },
);

test("handshakes and newcomers together are bounded by limits.unauthenticatedMax", () => {
  const counts = { unauthenticatedCount: 2, connectionCount: 2 };
  const logged: string[] = [];
  const log = { write: (_level: string, event: string) => void logged.push(event) };
  const limits = { ...DEFAULT_LIMITS, unauthenticatedMax: 4 };
  const handshakes = new Handshakes(counts as unknown as Broker, limits, log);
  const client = { listener: "mqtts://", remoteAddress: "192.0.2.1" };
  const begin = () => handshakes.begin(client, "tls-handshake-failed", () => {});
  const begun = [begin(), begin()];
  expect([begun.every((one) => one !== undefined), begin()]).toEqual([true, undefined]);
  expect(logged).toEqual(["connection-limit"]);
  // One newcomer is let in: there is room for one more.
  counts.unauthenticatedCount = 1;
  begun.push(begin());
  expect([begun[2] === undefined, begin()]).toEqual([false, undefined]);
  for (const one of begun) one!.succeeded();
});

test("sessions that expire in one moment end a part in each turn, and all of them in time", () => {
  const world = new World();
  const properties = { sessionExpiryInterval: 10 };
  for (let at = 0; at < 1_200; at++) world.connect({ clientId: `c${at}`, cleanStart: false, properties }).drop();
  const { broker } = world;
  const atMs = world.nowMs + 10_000;
  broker.tick(atMs);
  expect(broker.sessionCount).toBe(700);
  // The next turn comes at once.
  expect(broker.settle(atMs)).toBeLessThanOrEqual(atMs);
  world.advance(10_000);
  expect(broker.sessionCount).toBe(0);
});
