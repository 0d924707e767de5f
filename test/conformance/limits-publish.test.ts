/** Limits that a PUBLISH can meet: window, size, levels, User Properties, the retained store, Topic Aliases. */
import { expect, test } from "bun:test";
import {
  acknowledge,
  expectDisconnect,
  LEVELS,
  outline,
  takeUnacknowledged,
  texts,
} from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

/** A level 5 QoS 0 PUBLISH to topic "a" that is `packetBytes` long (below 16,384), as its bytes. */
function publishOf(packetBytes: number): Uint8Array {
  const packet = new Uint8Array(packetBytes).fill(0x78);
  const remaining = packetBytes - 3;
  packet.set([0x30, (remaining & 0x7f) | 0x80, remaining >> 7, 0, 1, 0x61, 0]);
  return packet;
}

function retainedTexts(world: World): string[] {
  const reader = world.connect();
  reader.subscribe("#");
  return texts(reader.takePublishes()).sort();
}

test("limits.receiveMaximum: announced, usable in full, and 0x93 above it [MQTT-3.3.4-7]", () => {
  for (const receiveMaximum of [1, 20]) {
    const world = new World({ limits: { receiveMaximum } });
    const publisher = world.connect();
    expect(publisher.connack?.properties.receiveMaximum).toBe(receiveMaximum);
    for (let packetId = 1; packetId <= receiveMaximum; packetId++) publisher.sendPublish("a", "", { qos: 2, packetId });
    expect(publisher.takeAll()).toHaveLength(receiveMaximum);
    expect(publisher.closed).toBe(false);
    publisher.sendPublish("a", "", { qos: 2, packetId: 1000 });
    expectDisconnect(publisher, 0x93);
  }
});

test("limits.receiveMaximum 65,535 is the default of the protocol and is not announced", () => {
  const world = new World({ limits: { receiveMaximum: 65_535 } });
  expect(world.connect().connack?.properties.receiveMaximum).toBeUndefined();
});

test("limits.receiveMaximum: 3.1.1 clients, who are not told it, may use it in full; above it they are served or closed", () => {
  const world = new World({ limits: { receiveMaximum: 3 } });
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect({ level: 4 });
  for (let packetId = 1; packetId <= 3; packetId++) publisher.sendPublish("a", "", { qos: 2, packetId });
  expect([publisher.closed, outline(publisher.takeAll())]).toEqual([false, ["pubrec 1", "pubrec 2", "pubrec 3"]]);
  publisher.sendPublish("a", "", { qos: 2, packetId: 4 });
  const answered = outline(publisher.takeAll());
  expect(answered).toEqual(publisher.closed ? [] : ["pubrec 4"]);
});

test("limits.inflightMax: the window of a client that offers a larger one or none", () => {
  for (const properties of [{}, { receiveMaximum: 65_535 }, { receiveMaximum: 4 }]) {
    const world = new World({ limits: { inflightMax: 3 } });
    const subscriber = world.connect({ properties });
    subscriber.subscribe("a");
    const publisher = world.connect();
    for (let at = 1; at <= 7; at++) publisher.publish("a", `${at}`, { qos: at % 2 === 0 ? 1 : 2 });
    expect(outline(subscriber.packets)).toEqual(["publish 1", "publish 2", "publish 3"]);
    expect(texts(subscriber.takePublishes())).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  }
});

test("limits.inflightMax: a client's smaller Receive Maximum and 3.1.1 clients", () => {
  const world = new World({ limits: { inflightMax: 3 } });
  const small = world.connect({ properties: { receiveMaximum: 2 } });
  const old = world.connect({ level: 4 });
  for (const client of [small, old]) client.subscribe("a");
  const publisher = world.connect();
  for (let at = 1; at <= 5; at++) publisher.publish("a", `${at}`, { qos: 1 });
  expect([small.packets.length, old.packets.length]).toEqual([2, 3]);
  for (const client of [small, old]) expect(texts(client.takePublishes())).toEqual(["1", "2", "3", "4", "5"]);
});

test("limits.packetBytesMax: announced; a packet of that size is taken, one byte more is 0x95", () => {
  const world = new World({ limits: { packetBytesMax: 1000 } });
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect();
  expect(publisher.connack?.properties.maximumPacketSize).toBe(1000);
  publisher.sendBytes(publishOf(1000));
  expect(takeUnacknowledged(subscriber).map((publish) => publish.payload.length)).toEqual([1000 - 7]);
  publisher.sendBytes(publishOf(1001));
  expectDisconnect(publisher, 0x95);
  expect(subscriber.packets).toEqual([]);
});

test("limits.packetBytesMax: refused as soon as the length is known", () => {
  for (const header of ["30 e6 07", "30 ff ff ff 7f"]) {
    const publisher = new World({ limits: { packetBytesMax: 1000 } }).connect();
    publisher.sendBytes(header);
    expectDisconnect(publisher, 0x95);
  }
});

test("limits.packetBytesMax: a 3.1.1 client is closed without a packet", () => {
  const publisher = new World({ limits: { packetBytesMax: 1000 } }).connect({ level: 4 });
  publisher.sendBytes(publishOf(1001));
  expectDisconnect(publisher, 0x95);
});

test("limits.topicLevelsMax: a Topic Name may have that many levels; one more is 0x90", () => {
  for (const level of LEVELS) {
    for (const [fits, over] of [
      ["a/b/c/d", "a/b/c/d/e"],
      ["///", "////"],
    ] as const) {
      const world = new World({ limits: { topicLevelsMax: 4 } });
      const subscriber = world.connect();
      subscriber.subscribe("#");
      const publisher = world.connect({ level });
      expect(publisher.publish(fits, "x", { qos: 1 })).toBe(0);
      expect(subscriber.takePublishes().map((publish) => publish.topicName)).toEqual([fits]);
      publisher.sendPublish(over, "x", { qos: 1 });
      expectDisconnect(publisher, 0x90);
      expect(subscriber.packets).toEqual([]);
    }
  }
});

test("limits.topicLevelsMax: 65,535 slashes harm nobody", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("#");
  const publisher = world.connect();
  publisher.sendPublish("/".repeat(65_535), "x");
  expectDisconnect(publisher, 0x90);
  expect(world.connect().publish("a", "x", { qos: 1 })).toBe(0);
  expect(texts(subscriber.takePublishes())).toEqual(["x"]);
});

test("limits.userPropertiesMax: that many in one PUBLISH are taken; one more is 0x97", () => {
  const world = new World({ limits: { userPropertiesMax: 3 } });
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect();
  const userProperties = Array.from({ length: 3 }, (): [string, string] => ["k", "v"]);
  expect(publisher.publish("a", "x", { qos: 1, properties: { userProperties } })).toBe(0);
  expect(subscriber.takePublishes().map((publish) => publish.properties)).toEqual([{ userProperties }]);
  publisher.sendPublish("a", "x", { qos: 1, properties: { userProperties: [...userProperties, ["k", "v"]] } });
  expectDisconnect(publisher, 0x97);
  expect(subscriber.packets).toEqual([]);
});

/** Publishes retained; answers the reason code. */
function retain(publisher: TestClient, topicName: string, payload: string, qos: 0 | 1 | 2 = 1): number {
  return publisher.publish(topicName, payload, { qos, retain: true });
}

test("limits.retainedMessagesMax: a new topic above it is 0x97 and not stored; old ones may change and go", () => {
  const world = new World({ limits: { retainedMessagesMax: 2 } });
  world.connect().subscribe("#");
  const publisher = world.connect();
  expect([retain(publisher, "a", "1"), retain(publisher, "b", "2", 2)]).toEqual([0, 0]);
  expect([retain(publisher, "c", "3"), retain(publisher, "c", "3", 2)]).toEqual([0x97, 0x97]);
  retain(publisher, "c", "3", 0);
  expect(publisher.closed).toBe(false);
  expect(retainedTexts(world)).toEqual(["1", "2"]);
  expect(retain(publisher, "a", "4")).toBe(0);
  expect(retainedTexts(world)).toEqual(["2", "4"]);
  expect([retain(publisher, "b", ""), retain(publisher, "c", "5")]).toEqual([0, 0]);
  expect(retainedTexts(world)).toEqual(["4", "5"]);
});

test("limits.retainedMessagesMax: an expired message gives its place back", () => {
  const world = new World({ limits: { retainedMessagesMax: 1 } });
  world.connect().subscribe("#");
  const publisher = world.connect();
  publisher.publish("a", "1", { qos: 1, retain: true, properties: { messageExpiryInterval: 5 } });
  expect(retain(publisher, "b", "2")).toBe(0x97);
  world.advance(5_000);
  expect(retain(publisher, "b", "3")).toBe(0);
  expect(retainedTexts(world)).toEqual(["3"]);
});

test("limits.retainedMessagesMax: a 3.1.1 publisher is acknowledged, the message is not stored", () => {
  const world = new World({ limits: { retainedMessagesMax: 1 } });
  const publisher = world.connect({ level: 4 });
  expect([retain(publisher, "a", "1"), retain(publisher, "b", "2"), retain(publisher, "c", "3", 2)]).toEqual([0, 0, 0]);
  expect(retainedTexts(world)).toEqual(["1"]);
});

test("limits.retainedBytesMax: what does not fit is 0x97 and not stored; room comes back", () => {
  const world = new World({ limits: { retainedBytesMax: 10_000 } });
  world.connect().subscribe("#");
  const publisher = world.connect();
  const text = (letter: string) => letter.repeat(4000);
  expect([retain(publisher, "a", text("1")), retain(publisher, "b", text("2"))]).toEqual([0, 0]);
  expect(retain(publisher, "c", text("3"))).toBe(0x97);
  expect(retain(publisher, "a", text("4"))).toBe(0);
  expect(retain(publisher, "a", "5".repeat(9000))).toBe(0x97);
  expect(retainedTexts(world)).toEqual([text("2"), text("4")]);
  expect([retain(publisher, "b", ""), retain(publisher, "c", text("6"))]).toEqual([0, 0]);
  expect(retainedTexts(world)).toEqual([text("4"), text("6")]);
});

test("limits.topicAliasMaximum: announced; above it 0x94 [MQTT-3.3.2-12]", () => {
  const world = new World({ limits: { topicAliasMaximum: 2 } });
  const publisher = world.connect();
  expect(publisher.connack?.properties.topicAliasMaximum).toBe(2);
  for (const topicAlias of [2, 1])
    expect(publisher.publish("a", "", { qos: 1, properties: { topicAlias } })).toBe(0x10);
  publisher.sendPublish("a", "", { properties: { topicAlias: 3 } });
  expectDisconnect(publisher, 0x94);
});

test("limits.topicAliasMaximum 0: not announced, and every alias is 0x94", () => {
  const publisher = new World({ limits: { topicAliasMaximum: 0 } }).connect();
  expect(publisher.connack?.properties.topicAliasMaximum).toBeUndefined();
  publisher.sendPublish("a", "", { properties: { topicAlias: 1 } });
  expectDisconnect(publisher, 0x94);
});

test("limits.topicAliasOutboundMax: no more aliases than that, whatever the receiver offers", () => {
  for (const topicAliasOutboundMax of [0, 1, 3]) {
    const world = new World({ limits: { topicAliasOutboundMax } });
    const subscriber = world.connect({ properties: { topicAliasMaximum: 65_535 } });
    subscriber.subscribe("#");
    const publisher = world.connect();
    for (let at = 0; at < 30; at++) publisher.publish(`t${at % 6}`, "", { qos: 1 });
    const used = new Set(subscriber.takePublishes().map((publish) => publish.properties.topicAlias ?? 0));
    used.delete(0);
    expect([...used].sort()).toEqual(Array.from({ length: topicAliasOutboundMax }, (_, at) => at + 1));
  }
});

/** A subscriber with this Maximum Packet Size; PUBLISH bytes to it: 1 + 1 + 3 (name) + 2 (id) + 1 + payload. */
function limitedTo(world: World, maximumPacketSize: number): TestClient {
  const subscriber = world.connect({ properties: { maximumPacketSize, receiveMaximum: 1 } });
  subscriber.subscribe("a", { qos: 1 });
  return subscriber;
}

test("[MQTT-3.1.2-24] [MQTT-3.1.2-25] a message too large for a receiver is dropped as if delivered, others get it", () => {
  const world = new World();
  const limited: TestClient[] = [];
  const others: TestClient[] = [];
  for (let at = 0; at < 4; at++) {
    const other = world.connect();
    other.subscribe("a");
    others.push(other);
    limited.push(limitedTo(world, 50));
  }
  const publisher = world.connect();
  const largest = "x".repeat(50 - 8);
  const tooLarge = [`${largest}x`, "3".repeat(2000)];
  for (const payload of ["1", tooLarge[0]!, "2", largest, tooLarge[1]!, "4"]) {
    expect(publisher.publish("a", payload, { qos: 1 })).toBe(0);
    for (const client of others) expect(texts(client.takePublishes())).toEqual([payload]);
    const expected = tooLarge.includes(payload) ? [] : [payload];
    for (const client of limited) expect([texts(client.takePublishes()), client.closed]).toEqual([expected, false]);
  }
});

test("[MQTT-3.1.2-25] a message too large for its only receiver is acknowledged with success", () => {
  const world = new World();
  const subscriber = limitedTo(world, 50);
  const publisher = world.connect();
  for (const qos of [1, 2] as const) expect(publisher.publish("a", "x".repeat(100), { qos })).toBe(0);
  publisher.publish("a", "x".repeat(100), { qos: 0 });
  expect(subscriber.packets).toEqual([]);
});

test("[MQTT-3.1.2-24] the size counts what this receiver's copy adds: identifiers and carried properties", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { maximumPacketSize: 50 } });
  subscriber.subscribe("a", { qos: 1 }, { subscriptionIdentifiers: [5] });
  const publisher = world.connect();
  publisher.publish("a", "x".repeat(40), { qos: 1 });
  publisher.publish("a", "y".repeat(41), { qos: 1 });
  publisher.publish("a", "z".repeat(30), { qos: 1, properties: { userProperties: [["k", "v".repeat(6)]] } });
  expect(texts(subscriber.takePublishes())).toEqual(["x".repeat(40)]);
  acknowledge(subscriber, "puback", 9);
  expect(subscriber.closed).toBe(false);
});
