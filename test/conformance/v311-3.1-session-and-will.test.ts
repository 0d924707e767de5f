/** MQTT 3.1.1 sections 3.1.2.4 to 3.1.2.7 (Clean Session, Will), 3.2 (CONNACK) and 4.1 (storing state). */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import type { Refusal } from "../../src/core/gate/provider.ts";
import { field, frame, glue, V311_HEAD } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toHex, toText, World } from "../support/world.ts";

const level = 4;
const DAY_MS = 86_400_000;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

function keep(world: World, clientId = "me"): TestClient {
  return connect(world, { clientId, cleanStart: false });
}

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

describe("3.1.2.4 Clean Session", () => {
  test("[MQTT311-3.1.2-4] clean session 0 continues the session: subscriptions, and what is in flight", () => {
    const world = new World();
    const client = keep(world);
    client.subscribe("a");
    connect(world).publish("a", "1", { qos: 1 });
    client.disconnect();
    const again = keep(world);
    expect(again.connack?.sessionPresent).toBe(true);
    expect(again.packets).toMatchObject([{ type: "publish", dup: true }]);
    again.takePublishes();
    connect(world).publish("a", "2", { qos: 1 });
    expect(texts(again)).toEqual(["2"]);
  });

  test("[MQTT311-3.1.2-5] QoS 1 and 2 messages for a client that is away wait, in order", () => {
    const world = new World();
    const client = keep(world);
    client.subscribe(["a/+", "b"], { qos: 2 });
    client.drop();
    const publisher = connect(world);
    publisher.publish("a/1", "1", { qos: 1 });
    publisher.publish("b", "2", { qos: 1 });
    publisher.publish("c", "other", { qos: 1 });
    publisher.publish("a/2", "3", { qos: 1 });
    publisher.publish("b", "4", { qos: 2 });
    publisher.publish("b", "5", { qos: 2 });
    const got = keep(world).takePublishes();
    expect(got.map(({ payload, qos }) => [toText(payload), qos])).toEqual([
      ["1", 1],
      ["2", 1],
      ["3", 1],
      ["4", 2],
      ["5", 2],
    ]);
  });

  test("[MQTT311-3.1.2-6] clean session 1 finds nothing and leaves nothing", () => {
    const world = new World();
    const client = keep(world);
    client.subscribe("a");
    client.drop();
    const publisher = connect(world);
    publisher.publish("a", "waiting", { qos: 1 });
    const clean = connect(world, { clientId: "me", cleanStart: true });
    expect(clean.connack?.sessionPresent).toBe(false);
    expect(clean.packets).toEqual([]);
    publisher.publish("a", "new", { qos: 1 });
    expect(clean.packets).toEqual([]);
    clean.subscribe("b");
    publisher.publish("b", "in flight", { qos: 1 });
    clean.drop();
    const later = keep(world);
    expect(later.connack?.sessionPresent).toBe(false);
    publisher.publish("b", "x", { qos: 1 });
    expect(later.packets).toEqual([]);
  });

  test("[MQTT311-3.1.2-7] retained messages outlive the sessions", () => {
    const world = new World();
    const client = connect(world);
    client.publish("a", "kept", { qos: 1, retain: true });
    client.disconnect();
    world.advance(DAY_MS);
    const reader = connect(world);
    reader.subscribe("a");
    expect(texts(reader)).toEqual(["kept"]);
  });

  test("[MQTT311-4.1.0-1] a session is kept without an end to it", () => {
    const world = new World();
    keep(world).subscribe("a");
    const client = keep(world);
    client.drop();
    for (let month = 0; month < 12; month++) world.advance(30 * DAY_MS);
    connect(world).publish("a", "x", { qos: 1 });
    const again = keep(world);
    expect(again.connack?.sessionPresent).toBe(true);
    expect(texts(again)).toEqual(["x"]);
  });

  test("[MQTT311-4.1.0-2] a clean session lasts as long as its connection", () => {
    const world = new World();
    const client = connect(world, { cleanStart: true });
    client.subscribe("a");
    for (let month = 0; month < 12; month++) world.advance(30 * DAY_MS);
    connect(world).publish("a", "x", { qos: 2 });
    expect(texts(client)).toEqual(["x"]);
  });
});

describe("3.1.2.5 to 3.1.2.7 Will", () => {
  const will = { topicName: "will", payload: "gone", qos: 1 as QoS };

  function watched(): { world: World; watcher: TestClient } {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("will");
    return { world, watcher };
  }

  test("[MQTT311-3.1.2-8] it is published when the network fails, at once and once", () => {
    const { world, watcher } = watched();
    const client = connect(world, { will });
    world.advance(DAY_MS);
    expect(watcher.packets).toEqual([]);
    client.drop();
    expect(watcher.takePublishes().map(({ payload, qos }) => [toText(payload), qos])).toEqual([["gone", 1]]);
    world.advance(DAY_MS);
    expect(watcher.packets).toEqual([]);
  });

  test("[MQTT311-3.1.2-8] also with a session that goes on, and in place of the broker closing for an error", () => {
    const { world, watcher } = watched();
    keep(world);
    const client = connect(world, { clientId: "me", cleanStart: false, will });
    client.sendBytes("f0 00");
    expectSilentClose(client);
    client.drop();
    expect(texts(watcher)).toEqual(["gone"]);
    expect(keep(world).connack?.sessionPresent).toBe(true);
  });

  test("[MQTT311-3.1.2-8] and when the same client identifier takes over", () => {
    const { world, watcher } = watched();
    const client = connect(world, { clientId: "me", will });
    connect(world, { clientId: "me" });
    client.drop();
    expect(texts(watcher)).toEqual(["gone"]);
  });

  test("[MQTT311-3.1.2-10] [MQTT311-3.14.4-3] DISCONNECT removes it", () => {
    const { world, watcher } = watched();
    for (const cleanStart of [true, false]) {
      const client = connect(world, { clientId: "me", cleanStart, will });
      client.disconnect();
      client.drop();
      world.advance(DAY_MS);
      connect(world, { clientId: "me", cleanStart }).drop();
    }
    expect(watcher.packets).toEqual([]);
  });

  test("[MQTT311-3.1.2-10] published, it is removed: the resumed session has none", () => {
    const { world, watcher } = watched();
    connect(world, { clientId: "me", cleanStart: false, will }).drop();
    expect(texts(watcher)).toEqual(["gone"]);
    keep(world).drop();
    expect(watcher.packets).toEqual([]);
  });

  test("[MQTT311-3.1.2-12] without Will Flag nothing is published", () => {
    const { world } = watched();
    const everything = connect(world);
    everything.subscribe("#");
    connect(world).drop();
    connect(world, { cleanStart: false }).drop();
    expect(everything.packets).toEqual([]);
  });

  function expectWillRetained(retain: boolean): void {
    const { world, watcher } = watched();
    connect(world, { will: { ...will, retain } }).drop();
    expect(watcher.takePublishes().map((publish) => publish.retain)).toEqual([false]);
    const late = connect(world);
    late.subscribe("will");
    expect(late.takePublishes().map((publish) => publish.retain)).toEqual(retain ? [true] : []);
  }

  test("[MQTT311-3.1.2-16] Will Retain 0: the message is not kept", () => expectWillRetained(false));

  test("[MQTT311-3.1.2-17] Will Retain 1: the message is kept", () => expectWillRetained(true));

  test.each<[QoS]>([[0], [1], [2]])("a Will at QoS %i arrives at that QoS, its payload unchanged", (qos) => {
    const { world, watcher } = watched();
    const payload = Uint8Array.of(0, 255, 0x30, 0);
    connect(world, { will: { topicName: "will", payload, qos } }).drop();
    expect(watcher.takePublishes()).toMatchObject([{ qos, payload, dup: false }]);
  });

  test("an empty Will Message is a message", () => {
    const { world, watcher } = watched();
    connect(world, { will: { topicName: "will" } }).drop();
    expect(watcher.takePublishes().map((publish) => publish.payload.length)).toEqual([0]);
  });
});

describe("3.2 CONNACK", () => {
  test("[MQTT311-3.2.0-1] it is the first packet, whatever arrives together with CONNECT", () => {
    const world = new World();
    connect(world).publish("a", "kept", { retain: true });
    const client = world.open(level);
    client.sendBytes(
      glue(
        frame(0x10, V311_HEAD, "02 00 00", field("63")),
        frame(0x82, "00 01", field("61"), "00"),
        frame(0x32, field("62"), "00 02"),
        frame(0xc0),
      ),
    );
    const [first, second, ...rest] = client.takeAll().map((packet) => packet.type);
    expect([first, second]).toEqual(["connack", "suback"]);
    expect(rest.sort()).toEqual(["pingresp", "puback", "publish"]);
  });

  test("[MQTT311-3.2.0-1] it comes before the messages that waited", () => {
    const world = new World();
    const client = keep(world);
    client.subscribe("a");
    client.drop();
    connect(world).publish("a", "x", { qos: 1 });
    const again = world.dial({ level, clientId: "me", cleanStart: false });
    expect(again.packets.map((packet) => packet.type)).toEqual(["connack", "publish"]);
  });

  test("[MQTT311-3.2.2-1] clean session 1: session present 0, even if there was one", () => {
    const world = new World();
    keep(world).disconnect();
    const client = connect(world, { clientId: "me", cleanStart: true });
    expect(toHex(client.bytes)).toBe("20 02 00 00");
  });

  test("[MQTT311-3.2.2-2] [MQTT311-3.2.2-3] clean session 0: session present says whether there was one", () => {
    const world = new World();
    expect(toHex(keep(world).bytes)).toBe("20 02 00 00");
    expect(toHex(keep(world).bytes)).toBe("20 02 01 00");
    const client = keep(world);
    client.disconnect();
    expect(toHex(keep(world).bytes)).toBe("20 02 01 00");
    connect(world, { clientId: "me", cleanStart: true }).disconnect();
    expect(toHex(keep(world).bytes)).toBe("20 02 00 00");
  });

  test.each<[Refusal, number]>([
    ["client-id", 2],
    ["unavailable", 3],
    ["busy", 3],
    ["bad-credentials", 4],
    ["not-authorized", 5],
    ["banned", 5],
  ])(
    "[MQTT311-3.2.2-4] [MQTT311-3.2.2-5] refused for %s: return code %i, session present 0, the end",
    (because, code) => {
      const open = { id: "p", permissions: { allow: [{ on: "both", filter: "#" }] } } as const;
      let refusing = false;
      const world = new World({
        auth: {
          ask: () => (refusing ? { do: "refuse", because } : { do: "accept", principal: open }),
          abandon: () => {},
        },
      });
      const client = keep(world);
      client.disconnect();
      refusing = true;
      // There is a session, which the refusal neither mentions nor touches.
      const refused = world.dial({ level, clientId: "me", cleanStart: true });
      expect(toHex(refused.bytes)).toBe(`20 02 00 0${code}`);
      expect(refused.closed).toBe(true);
      refusing = false;
      expect(keep(world).connack?.sessionPresent).toBe(true);
    },
  );

  test("[MQTT311-3.2.2-6] a refusal that no return code describes is a close without CONNACK", () => {
    const lowered = new World({ capabilities: { maximumQos: 1 } });
    expectSilentClose(lowered.dial({ level, will: { topicName: "w", qos: 2 } }));
    const without = new World({ capabilities: { retainAvailable: false } });
    expectSilentClose(without.dial({ level, will: { topicName: "w", retain: true } }));
  });
});
