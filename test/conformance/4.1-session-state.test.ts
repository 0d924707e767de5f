/**
 * MQTT 5.0 section 4.1: what a session remembers, while its connection is open and after it.
 */
import { expect, test } from "bun:test";
import type { Publish } from "../../src/core/codec/publish.ts";
import { expectAlive } from "../support/ending.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const KEEP: ConnectInit = { clientId: "keeper", cleanStart: false, properties: { sessionExpiryInterval: 100 } };

function publishesOf(client: TestClient): Publish[] {
  return client.takeAll().filter((packet) => packet.type === "publish");
}

for (const sessionExpiryInterval of [0, 1]) {
  test(`[MQTT-4.1.0-1] while connected nothing is discarded, however short the expiry: ${sessionExpiryInterval} s`, () => {
    const world = new World();
    const client = world.connect({ ...KEEP, properties: { sessionExpiryInterval, receiveMaximum: 2 } });
    client.subscribe("a");
    const publisher = world.connect();
    for (const payload of ["1", "2", "3"]) publisher.publish("a", payload, { qos: 1 });
    client.sendPublish("up", "", { qos: 2, packetId: 9 });
    client.take("publish");
    client.take("publish");
    client.take("pubrec");
    world.advance(86_400_000);
    client.send({ type: "puback", packetId: 1, reasonCode: 0, properties: {} });
    expect(toText(client.take("publish").payload)).toBe("3");
    client.send({ type: "pubrel", packetId: 9, reasonCode: 0, properties: {} });
    expect(client.take("pubcomp")).toMatchObject({ packetId: 9, reasonCode: 0 });
    publisher.publish("a", "4");
    expect(toText(client.take("publish").payload)).toBe("4");
    expectAlive(client);
  });
}

test("[MQTT-4.1.0-1] the session of a connection that lasts longer than its expiry is whole when the connection ends", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe("a");
  world.advance(1_000_000);
  client.drop();
  world.connect().publish("a", "x", { qos: 1 });
  world.advance(99_999);
  const resumed = world.connect(KEEP);
  expect(resumed.connack?.sessionPresent).toBe(true);
  expect(resumed.takePublishes()).toHaveLength(1);
});

test("[MQTT-4.1.0-2] when the interval has passed, everything is discarded: subscriptions, queue, QoS 2 state", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe("a");
  const publisher = world.connect();
  publisher.publish("a", "in flight", { qos: 2 });
  client.sendPublish("up", "", { qos: 2, packetId: 9 });
  client.drop();
  publisher.publish("a", "queued", { qos: 1 });
  world.advance(100_000);
  const fresh = world.connect(KEEP);
  expect(fresh.connack?.sessionPresent).toBe(false);
  publisher.publish("a", "later", { qos: 1 });
  expect(fresh.takeAll()).toEqual([]);
  fresh.send({ type: "pubrel", packetId: 9, reasonCode: 0, properties: {} });
  expect(fresh.take("pubcomp").reasonCode).toBe(0x92);
});

test("[MQTT-4.1.0-2] a session that has ended holds no subscription: nobody matches", () => {
  const publisherOf = (world: World): TestClient => world.connect({ clientId: "publisher" });
  const ends: readonly ((world: World) => void)[] = [
    (world) => world.connect({ ...KEEP, properties: {} }).drop(),
    (world) => void world.connect({ ...KEEP, cleanStart: true }),
    (world) => world.advance(100_000),
  ];
  for (const end of ends) {
    const world = new World();
    const client = world.connect(KEEP);
    client.subscribe(["a", "a/+", "$share/g/a"]);
    client.drop();
    expect(publisherOf(world).publish("a", "", { qos: 1 })).toBe(0);
    end(world);
    expect(publisherOf(world).publish("a", "", { qos: 1 })).toBe(0x10);
  }
});

test("[MQTT-4.1.0-2] the session of one client expires without touching that of another", () => {
  const world = new World();
  const properties = { sessionExpiryInterval: 200 };
  const other: ConnectInit = { clientId: "other", cleanStart: false, properties };
  for (const init of [KEEP, other]) {
    const client = world.connect(init);
    client.subscribe("a");
    client.drop();
  }
  world.connect().publish("a", "x", { qos: 1 });
  world.advance(150_000);
  expect(world.connect(KEEP).connack?.sessionPresent).toBe(false);
  const kept = world.connect(other);
  expect(kept.connack?.sessionPresent).toBe(true);
  expect(kept.takePublishes()).toHaveLength(1);
});

test("[MQTT-3.1.2-23] the session remembers subscriptions with their options and identifier", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe("a", { qos: 1, noLocal: true, retainAsPublished: true }, { subscriptionIdentifiers: [42] });
  client.drop();
  const resumed = world.connect(KEEP);
  resumed.sendPublish("a", "own");
  world.connect().publish("a", "x", { qos: 2, retain: true });
  expect(resumed.takePublishes()).toMatchObject([
    { qos: 1, retain: true, properties: { subscriptionIdentifiers: [42] }, topicName: "a" },
  ]);
});

test("[MQTT-3.1.2-23] an unsubscribed filter is not remembered", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe(["a", "b"]);
  client.unsubscribe("a");
  client.drop();
  const resumed = world.connect(KEEP);
  const publisher = world.connect();
  publisher.publish("a", "", { qos: 1 });
  publisher.publish("b", "", { qos: 1 });
  expect(resumed.takePublishes().map(({ topicName }) => topicName)).toEqual(["b"]);
});

test("[MQTT-3.1.2-23] the session remembers messages to the client that are not acknowledged, in order, with their ids", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe("#");
  const publisher = world.connect();
  for (const [topicName, qos] of [
    ["one", 1],
    ["two", 2],
    ["three", 1],
    ["four", 2],
  ] as const) {
    publisher.publish(topicName, "", { qos });
  }
  const sent = publishesOf(client);
  expect(sent.map(({ packetId }) => packetId)).toEqual([1, 2, 3, 4]);
  client.send({ type: "puback", packetId: 1, reasonCode: 0, properties: {} });
  client.send({ type: "pubrec", packetId: 2, reasonCode: 0, properties: {} });
  expect(client.take("pubrel").packetId).toBe(2);
  client.drop();
  const resumed = world.connect(KEEP);
  const again = resumed.takeAll().map((packet) => {
    if (packet.type === "publish") return [packet.type, packet.topicName, packet.packetId, packet.dup];
    return [packet.type, "packetId" in packet ? packet.packetId : 0];
  });
  expect(again).toEqual([
    ["pubrel", 2],
    ["publish", "three", 3, true],
    ["publish", "four", 4, true],
  ]);
});

test("[MQTT-3.1.2-23] the session remembers QoS 1 and 2 messages for a client that is away, in order", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe("a");
  client.disconnect();
  const publisher = world.connect();
  for (const payload of ["1", "2", "3", "4"]) publisher.publish("a", payload, { qos: 1 });
  const resumed = world.connect(KEEP);
  const received = publishesOf(resumed);
  expect(received.map(({ payload, dup }) => [toText(payload), dup])).toEqual([
    ["1", false],
    ["2", false],
    ["3", false],
    ["4", false],
  ]);
});

test("[MQTT-3.1.2-23] the session remembers QoS 2 messages from the client: no second delivery after resuming", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("up");
  const client = world.connect(KEEP);
  client.sendPublish("up", "once", { qos: 2, packetId: 7 });
  expect(client.take("pubrec").packetId).toBe(7);
  client.drop();
  const resumed = world.connect(KEEP);
  resumed.sendPublish("up", "once", { qos: 2, packetId: 7, dup: true });
  expect(resumed.take("pubrec").packetId).toBe(7);
  resumed.send({ type: "pubrel", packetId: 7, reasonCode: 0, properties: {} });
  expect(resumed.take("pubcomp")).toMatchObject({ packetId: 7, reasonCode: 0 });
  expect(observer.takePublishes()).toHaveLength(1);
});

test("[MQTT-3.1.2-23] retained messages are no part of a session: they stay when it ends", () => {
  const world = new World();
  const client = world.connect({ clientId: "brief" });
  client.publish("a", "stays", { retain: true });
  client.disconnect();
  const late = world.connect();
  late.subscribe("a");
  expect(late.takePublishes()).toHaveLength(1);
});
