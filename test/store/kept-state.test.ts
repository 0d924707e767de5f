/**
 * What outlives the broker, and what is not said before it does: a broker on a store that commits when it is told to, killed
 * and started again.
 */
import { describe, expect, test } from "bun:test";
import type { Packet } from "../../src/core/codec/packet.ts";
import type { AuthHost } from "../../src/core/ports.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

const KEPT: ConnectInit = { clientId: "kept", cleanStart: false, properties: { sessionExpiryInterval: 3600 } };

/** The process is killed: what the store was not let carry out is gone. */
function restart(world: World, ms = 1): World {
  world.store!.crash();
  world.store!.automatic = true;
  return new World({ store: world.store!, nowMs: world.nowMs + ms });
}

function begin(): { world: World; store: HeldStore } {
  const store = new HeldStore();
  return { world: new World({ store }), store };
}

function texts(packets: readonly Packet[]): string[] {
  return packets.flatMap((packet) => (packet.type === "publish" ? [new TextDecoder().decode(packet.payload)] : []));
}

function types(client: TestClient): string[] {
  return client.packets.map(({ type }) => type);
}

describe("what waits for the store", () => {
  test("PUBACK and PUBREC of a message that somebody who may be away is to get", () => {
    const { world, store } = begin();
    world.connect(KEPT).subscribe("t", { qos: 2 });
    const publisher = world.connect();
    store.automatic = false;
    publisher.sendPublish("t", "one", { qos: 1 });
    publisher.sendPublish("t", "two", { qos: 2 });
    expect(types(publisher)).toEqual([]);
    store.carryOut(world.broker, world.nowMs, 1);
    world.settle();
    expect(types(publisher)).toEqual(["puback"]);
    store.carryOut(world.broker, world.nowMs);
    world.settle();
    expect(types(publisher)).toEqual(["puback", "pubrec"]);
  });

  test("not what nobody keeps: live receivers, QoS 0, topics nobody hears", () => {
    const { world, store } = begin();
    world.connect({ clientId: "live" }).subscribe("t", { qos: 1 });
    const publisher = world.connect();
    store.automatic = false;
    publisher.sendPublish("t", "", { qos: 1 });
    publisher.sendPublish("nobody", "", { qos: 1 });
    expect(types(publisher)).toEqual(["puback", "puback"]);
    expect(store.calls).toEqual([]);
  });

  test("what comes behind an acknowledgement that waits waits too, in order", () => {
    const { world, store } = begin();
    world.connect(KEPT).subscribe("t", { qos: 1 });
    const publisher = world.connect();
    store.automatic = false;
    publisher.sendPublish("t", "", { qos: 1, packetId: 7 });
    publisher.sendPublish("nobody", "", { qos: 1, packetId: 8 });
    publisher.send({ type: "pingreq" });
    expect(types(publisher)).toEqual([]);
    store.carryOut(world.broker, world.nowMs);
    world.settle();
    expect(types(publisher)).toEqual(["puback", "puback", "pingresp"]);
  });

  test.each(["CONNACK", "SUBACK", "UNSUBACK", "retained PUBACK", "Clean Start"])("%s", (what) => {
    const { world, store } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t");
    store.automatic = false;
    const send: Record<string, () => TestClient> = {
      CONNACK: () => world.dial({ ...KEPT, clientId: "another" }),
      SUBACK: () => {
        const filters = [
          { topicFilter: "u", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        ] as const;
        client.send({ type: "subscribe", packetId: 9, filters: [...filters], properties: {} });
        return client;
      },
      UNSUBACK: () => {
        client.send({ type: "unsubscribe", packetId: 9, topicFilters: ["t"], properties: {} });
        return client;
      },
      "retained PUBACK": () => {
        client.sendPublish("r", "value", { qos: 1, retain: true });
        return client;
      },
      "Clean Start": () => world.dial({ clientId: "kept", cleanStart: true }),
    };
    const waiting = send[what]!();
    expect(types(waiting)).toEqual([]);
    store.carryOut(world.broker, world.nowMs);
    world.settle();
    expect(waiting.packets.length).toBe(1);
  });

  test("PUBCOMP, PUBREL and an outbound QoS 2 PUBLISH wait; PUBACK from a client makes nobody wait", () => {
    const { world, store } = begin();
    const receiver = world.connect(KEPT);
    receiver.subscribe("t", { qos: 2 });
    const publisher = world.connect({ ...KEPT, clientId: "publisher" });
    store.automatic = false;
    const carryOut = (): void => {
      store.carryOut(world.broker, world.nowMs);
      world.settle();
    };
    const packetId = publisher.sendPublish("t", "x", { qos: 2 });
    expect([types(receiver), types(publisher)]).toEqual([[], []]);
    carryOut();
    const publish = receiver.take("publish");
    publisher.take("pubrec");
    publisher.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    expect(types(publisher)).toEqual([]);
    carryOut();
    publisher.take("pubcomp");
    receiver.send({ type: "pubrec", packetId: publish.packetId!, reasonCode: 0, properties: {} });
    expect(types(receiver)).toEqual([]);
    carryOut();
    receiver.take("pubrel");
    receiver.send({ type: "pubcomp", packetId: publish.packetId!, reasonCode: 0, properties: {} });
    publisher.sendPublish("nobody", "", { qos: 1 });
    expect(types(publisher)).toEqual(["puback"]);
  });

  test("a listener that promises nothing acknowledges at once; what its clients publish is kept all the same", () => {
    const store = new HeldStore();
    const world = new World({ store, config: { durability: "memory" } });
    const client = world.connect(KEPT);
    expect(client.connack!.properties.userProperties).toEqual([["durability", "memory"]]);
    store.automatic = false;
    client.subscribe("t");
    expect(store.calls).toEqual([]);
  });
});

describe("what is there after kill -9", () => {
  test("the session with its subscriptions and their options, and messages in order", () => {
    const { world } = begin();
    const client = world.connect(KEPT);
    client.subscribe("a/+", { qos: 1 }, { subscriptionIdentifiers: [7] });
    client.subscribe("$share/g/b", { qos: 2 });
    client.drop();
    const publisher = world.connect();
    for (let at = 0; at < 5; at++) publisher.publish("a/x", `${at}`, { qos: 1 });
    publisher.publish("b", "shared", { qos: 2 });
    const again = restart(world);
    const back = again.connect(KEPT);
    expect(back.connack!.sessionPresent).toBe(true);
    const publishes = back.takePublishes();
    expect(texts(publishes)).toEqual(["0", "1", "2", "3", "4", "shared"]);
    expect(publishes.map(({ qos }) => qos)).toEqual([1, 1, 1, 1, 1, 2]);
    expect(publishes[0]!.properties.subscriptionIdentifiers).toEqual([7]);
    again.connect().publish("a/y", "new", { qos: 1 });
    expect(texts(back.takePublishes())).toEqual(["new"]);
  });

  test("what was never acknowledged may be gone, what was is there", () => {
    const { world, store } = begin();
    world.connect(KEPT).subscribe("t", { qos: 1 });
    const publisher = world.connect();
    publisher.publish("t", "acknowledged", { qos: 1 });
    store.automatic = false;
    publisher.sendPublish("t", "lost", { qos: 1 });
    const back = restart(world).connect(KEPT);
    expect(texts(back.takePublishes())).toEqual(["acknowledged"]);
  });

  test("[MQTT-3.3.1-1] what may have been sent before has DUP set, what cannot have been has not", () => {
    const { world } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 1 });
    const publisher = world.connect();
    publisher.publish("t", "sent", { qos: 1 });
    const again = restart(world);
    const back = again.connect(KEPT);
    expect(back.take("publish").dup).toBe(true);
    again.connect().publish("t", "new", { qos: 1 });
    expect(back.take("publish").dup).toBe(false);
  });

  test("[MQTT-4.4.0-1] a client that had left finds its messages under their Packet Identifiers", () => {
    const { world } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 2 });
    const publisher = world.connect();
    publisher.publish("t", "one", { qos: 1 });
    publisher.publish("t", "two", { qos: 2 });
    const before = client.takeAll().map((packet) => (packet.type === "publish" ? packet.packetId : 0));
    client.drop();
    const back = restart(world).connect(KEPT);
    const after = back.takeAll().map((packet) => (packet.type === "publish" ? [packet.packetId, packet.dup] : []));
    expect(after).toEqual(before.map((packetId) => [packetId, true]));
  });

  test("QoS 2 to the broker: a repetition is answered and not delivered again", () => {
    const { world } = begin();
    world.connect({ ...KEPT, clientId: "receiver" }).subscribe("t", { qos: 1 });
    const publisher = world.connect(KEPT);
    publisher.sendPublish("t", "once", { qos: 2, packetId: 5 });
    publisher.take("pubrec");
    const again = restart(world);
    const back = again.connect(KEPT);
    back.sendPublish("t", "once", { qos: 2, packetId: 5, dup: true });
    expect(back.take("pubrec").reasonCode).toBe(0);
    back.send({ type: "pubrel", packetId: 5, reasonCode: 0, properties: {} });
    expect(back.take("pubcomp").reasonCode).toBe(0);
    back.publish("t", "next", { qos: 2, packetId: 5 });
    const receiver = again.connect({ ...KEPT, clientId: "receiver" });
    expect(texts(receiver.takePublishes())).toEqual(["once", "next"]);
  });

  test("QoS 2 from the broker: after PUBREC it is PUBREL that is sent again", () => {
    const { world } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 2 });
    world.connect().publish("t", "once", { qos: 2 });
    const { packetId = 0 } = client.take("publish");
    client.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
    client.take("pubrel");
    const back = restart(world).connect(KEPT);
    expect(back.takeAll()).toMatchObject([{ type: "pubrel", packetId }]);
  });

  test("retained messages with what belongs to them; a deletion too; $SYS is said anew", () => {
    const { world } = begin();
    const publisher = world.connect();
    const properties = { contentType: "text/plain", userProperties: [["k", "v"]] as [string, string][] };
    publisher.publish("r/1", "one", { retain: true, properties });
    publisher.publish("r/2", "two", { qos: 1, retain: true });
    publisher.publish("r/3", "old", { qos: 1, retain: true });
    publisher.publish("r/3", "", { qos: 1, retain: true });
    publisher.publish("r/4", "old", { qos: 1, retain: true });
    publisher.publish("r/4", "new", { qos: 1, retain: true });
    const reader = restart(world).connect();
    reader.subscribe("r/+");
    const publishes = reader.takePublishes();
    expect(texts(publishes).sort()).toEqual(["new", "one", "two"]);
    expect(publishes.find(({ topicName }) => topicName === "r/1")!.properties).toMatchObject(properties);
  });

  test("a Will: of a client that was connected after its delay, counted from the start", () => {
    const { world } = begin();
    const will = { topicName: "w", payload: "gone", properties: { willDelayInterval: 10 } };
    world.connect({ ...KEPT, will });
    const again = restart(world);
    const reader = again.connect();
    reader.subscribe("w");
    again.advance(9_000);
    expect(reader.packets).toEqual([]);
    again.advance(1_000);
    expect(texts(reader.takePublishes())).toEqual(["gone"]);
  });

  test("a Will whose delay was running goes on where it was; one that was published is not published again", () => {
    const { world } = begin();
    const will = { topicName: "w", payload: "gone", properties: { willDelayInterval: 10 } };
    world.connect({ ...KEPT, will }).drop();
    world.connect({ ...KEPT, clientId: "other", will: { topicName: "w", payload: "published" } }).drop();
    world.advance(6_000);
    const again = restart(world);
    const reader = again.connect();
    reader.subscribe("w");
    again.advance(4_000);
    expect(texts(reader.takePublishes())).toEqual(["gone"]);
    const third = restart(again);
    const last = third.connect();
    last.subscribe("w");
    third.advance(20_000);
    expect(last.packets).toEqual([]);
  });

  test("deadlines: a session that was away expires when it was to, a message when it was to", () => {
    const { world } = begin();
    const client = world.connect({ ...KEPT, properties: { sessionExpiryInterval: 100 } });
    client.subscribe("t", { qos: 1 });
    client.drop();
    world.connect().publish("t", "short", { qos: 1, properties: { messageExpiryInterval: 10 } });
    world.connect().publish("t", "long", { qos: 1, properties: { messageExpiryInterval: 90 } });
    world.advance(50_000);
    const again = restart(world);
    const back = again.connect({ ...KEPT, properties: { sessionExpiryInterval: 100 } });
    expect(texts(back.takePublishes())).toEqual(["long"]);
    back.drop();
    again.advance(60_000);
    const third = restart(again);
    third.advance(30_000);
    expect(third.broker.sessionCount).toBe(1);
    third.advance(20_000);
    expect(third.broker.sessionCount).toBe(0);
  });

  test("a session that ended is gone, and so is what waited for it", () => {
    const { world, store } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 1 });
    client.drop();
    world.connect().publish("t", "x", { qos: 1 });
    world.connect({ clientId: "kept", cleanStart: true }).disconnect();
    const again = restart(world);
    expect(again.broker.sessionCount).toBe(0);
    const kinds: string[] = [];
    const sink = new Proxy({}, { get: (_, name) => () => void kinds.push(String(name)) });
    store.engine.load(sink as Parameters<typeof store.engine.load>[0]);
    expect(kinds).toEqual([]);
  });

  test("the session belongs to whom it belonged to, with the rights it had; claims are not kept", () => {
    const rules = { allow: [{ on: "both", filter: "u/${username}/#" } as const] };
    const door = { id: "door", username: "xy", provider: "p", permissions: rules, attributes: { claim: "unsaid" } };
    const auth: AuthHost = {
      ask: ({ username }) => ({
        do: "accept",
        principal: username === undefined ? { id: "other", permissions: "everything" } : door,
      }),
      abandon() {},
    };
    const store = new HeldStore();
    const world = new World({ store, auth });
    const will = { topicName: "u/xy/w", payload: "allowed", properties: { willDelayInterval: 1 } };
    world.connect({ ...KEPT, username: "door", will }).subscribe("u/xy/#", { qos: 1 });
    const again = new World({ store, auth, nowMs: world.nowMs + 1 });
    const watcher = again.connect();
    watcher.subscribe("#");
    again.advance(2_000);
    expect(texts(watcher.takePublishes())).toEqual(["allowed"]);
    expect(again.dial(KEPT).take("connack").reasonCode).toBe(0x85);
    expect(again.connect({ ...KEPT, username: "door" }).connack!.sessionPresent).toBe(true);
    const written: string[] = [];
    store.engine.load({ ...IGNORING_SINK, sessionPut: ({ principal }) => void written.push(principal) });
    expect(written.join()).not.toInclude("unsaid");
  });
});

describe("a queue longer than the window", () => {
  test("waits in the store and comes in order, once, whatever is acknowledged in between", () => {
    const { world } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 1 });
    client.drop();
    const publisher = world.connect();
    for (let at = 0; at < 3_000; at++) publisher.publish("t", `${at}`, { qos: 1 });
    expect(client.world.broker.report("kept")).toMatchObject({ queuedMessages: 3_000 });
    const again = restart(world);
    const back = again.connect({ ...KEPT, properties: { sessionExpiryInterval: 3600, receiveMaximum: 50 } });
    const seen: string[] = [];
    for (let round = 0; seen.length < 3_000 && round < 200; round++) seen.push(...texts(back.takePublishes()));
    expect(seen).toEqual(Array.from({ length: 3_000 }, (_, at) => `${at}`));
    again.connect().publish("t", "live", { qos: 1 });
    expect(texts(back.takePublishes())).toEqual(["live"]);
    expect(again.broker.report("kept")).toMatchObject({ queuedMessages: 0 });
  });

  test("its bound counts what is in the store; the oldest gives way where that is asked for", () => {
    for (const queueOverflow of ["drop-newest", "drop-oldest"] as const) {
      const store = new HeldStore();
      const options = { store, limits: { queueMessagesMax: 1_000 }, config: { queueOverflow } };
      const world = new World(options);
      const client = world.connect(KEPT);
      client.subscribe("t", { qos: 1 });
      client.drop();
      const publisher = world.connect();
      for (let at = 0; at < 900; at++) publisher.publish("t", `${at}`, { qos: 1 });
      const again = new World({ ...options, nowMs: world.nowMs + 1 });
      const late = again.connect();
      const codes = Array.from({ length: 300 }, (_, at) => late.publish("t", `${900 + at}`, { qos: 1 }));
      const back = again.connect(KEPT);
      const seen: string[] = [];
      for (let round = 0; round < 50; round++) seen.push(...texts(back.takePublishes()));
      const first = queueOverflow === "drop-newest" ? 0 : 200;
      expect(seen).toEqual(Array.from({ length: 1_000 }, (_, at) => `${first + at}`));
      expect(codes.filter((code) => code === 0x97).length).toBe(queueOverflow === "drop-newest" ? 200 : 0);
    }
  });
});

describe("a disk that is nearly full", () => {
  test("refuses what would have to be stored, and nothing else; goes on when there is room", () => {
    const { world } = begin();
    const kept = world.connect(KEPT);
    kept.subscribe("t", { qos: 1 });
    const live = world.connect();
    live.subscribe("live", { qos: 1 });
    const publisher = world.connect();
    publisher.publish("t", "before", { qos: 1 });
    world.broker.storeSpace(true, world.nowMs);
    expect(publisher.publish("t", "x", { qos: 1 })).toBe(0x97);
    expect(publisher.publish("t", "x", { qos: 2 })).toBe(0x97);
    expect(publisher.publish("r", "x", { qos: 1, retain: true })).toBe(0x97);
    expect(publisher.publish("live", "x", { qos: 1 })).toBe(0);
    expect(texts(live.takePublishes())).toEqual(["x"]);
    expect(texts(kept.takePublishes())).toEqual(["before"]);
    expect(kept.subscribe("more").reasonCodes).toEqual([0x97]);
    expect(world.dial({ ...KEPT, clientId: "newcomer" }).take("connack").reasonCode).toBe(0x97);
    const old = world.connect({ level: 4 });
    old.sendPublish("t", "x", { qos: 1 });
    expect([old.packets, old.closed]).toEqual([[], true]);
    world.broker.storeSpace(false, world.nowMs);
    expect(publisher.publish("t", "after", { qos: 1 })).toBe(0);
    expect(texts(kept.takePublishes())).toEqual(["after"]);
  });
});

test("who writes more than the store takes is not read from until it has caught up", () => {
  const store = new HeldStore();
  const world = new World({ store, limits: { storeBacklogBytesMax: 1_000 } });
  world.connect(KEPT).subscribe("t", { qos: 1 });
  const publisher = world.connect();
  store.automatic = false;
  for (let at = 0; at < 5 && !publisher.paused; at++) publisher.sendPublish("t", "x".repeat(400), { qos: 1 });
  expect(publisher.paused).toBe(true);
  store.carryOut(world.broker, world.nowMs);
  world.settle();
  expect(publisher.paused).toBe(false);
});
