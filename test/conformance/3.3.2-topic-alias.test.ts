/** Topic Alias in both directions (MQTT 5.0 section 3.3.2.3.4). Limits of the aliases are in limits-publish.test.ts. */
import { expect, test } from "bun:test";
import type { Publish } from "../../src/core/codec/publish.ts";
import {
  acknowledge,
  expectDisconnect,
  leaveSession,
  resume,
  takeUnacknowledged,
  texts,
} from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

/** What identifies the topic in each packet: the name as sent, and the alias (0: none). */
function names(publishes: readonly Publish[]): [topicName: string, topicAlias: number][] {
  return publishes.map((publish) => [publish.topicName, publish.properties.topicAlias ?? 0]);
}

function watcher(world: World): TestClient {
  const subscriber = world.connect();
  subscriber.subscribe("#", { qos: 1 });
  return subscriber;
}

test("[MQTT-3.3.2-12] a Topic Name with an alias sets it, the alias alone uses it, at any QoS", () => {
  const world = new World();
  const subscriber = watcher(world);
  const publisher = world.connect();
  publisher.publish("a/b", "1", { qos: 1, properties: { topicAlias: 7 } });
  publisher.publish("", "2", { qos: 0, properties: { topicAlias: 7 } });
  publisher.publish("", "3", { qos: 1, properties: { topicAlias: 7 } });
  publisher.publish("", "4", { qos: 2, properties: { topicAlias: 7 } });
  const received = subscriber.takePublishes();
  expect(texts(received)).toEqual(["1", "2", "3", "4"]);
  expect(names(received)).toEqual([
    ["a/b", 0],
    ["a/b", 0],
    ["a/b", 0],
    ["a/b", 0],
  ]);
});

test("[MQTT-3.3.2-12] every alias from 1 to the announced maximum is accepted", () => {
  const world = new World({ limits: { topicAliasMaximum: 300 } });
  const subscriber = watcher(world);
  const publisher = world.connect();
  expect(publisher.connack?.properties.topicAliasMaximum).toBe(300);
  const expected: string[] = [];
  for (let topicAlias = 1; topicAlias <= 300; topicAlias++) {
    publisher.publish(`t/${topicAlias}`, "", { properties: { topicAlias } });
    expected.push(`t/${topicAlias}`);
  }
  for (let topicAlias = 300; topicAlias >= 1; topicAlias--) {
    publisher.publish("", "", { properties: { topicAlias } });
    expected.push(`t/${topicAlias}`);
  }
  expect(subscriber.takePublishes().map((publish) => publish.topicName)).toEqual(expected);
  expect(publisher.closed).toBe(false);
});

test("[MQTT-3.3.2-12] a Topic Name with a known alias replaces what the alias stood for", () => {
  const world = new World();
  const subscriber = watcher(world);
  const publisher = world.connect();
  for (const topicName of ["a", "", "b", "", "a", ""])
    publisher.publish(topicName, "", { properties: { topicAlias: 1 } });
  expect(subscriber.takePublishes().map((publish) => publish.topicName)).toEqual(["a", "a", "b", "b", "a", "a"]);
});

test("[MQTT-3.3.2-12] a repeated QoS 2 PUBLISH sets its alias on the new connection", () => {
  const world = new World();
  const subscriber = watcher(world);
  const first = resume(world, "publisher");
  first.sendPublish("a", "1", { qos: 2, packetId: 5 });
  first.drop();
  const second = resume(world, "publisher");
  second.sendPublish("a", "1", { qos: 2, packetId: 5, dup: true, properties: { topicAlias: 3 } });
  expect(second.take("pubrec").packetId).toBe(5);
  second.publish("", "2", { properties: { topicAlias: 3 } });
  expect(second.closed).toBe(false);
  const received = subscriber.takePublishes();
  expect([texts(received), received[1]?.topicName]).toEqual([["1", "2"], "a"]);
});

test("[MQTT-3.3.2-7] a client's alias dies with its connection, though the session goes on", () => {
  const world = new World();
  const first = resume(world, "publisher");
  first.publish("a", "", { properties: { topicAlias: 1 } });
  first.drop();
  const second = resume(world, "publisher");
  expect(second.connack?.sessionPresent).toBe(true);
  second.sendPublish("", "x", { properties: { topicAlias: 1 } });
  expectDisconnect(second, 0x82);
});

test("[MQTT-3.3.2-7] a client's aliases are not another client's", () => {
  const world = new World();
  const subscriber = watcher(world);
  const one = world.connect();
  const two = world.connect();
  one.publish("a", "", { properties: { topicAlias: 1 } });
  two.publish("b", "", { properties: { topicAlias: 1 } });
  one.publish("", "", { properties: { topicAlias: 1 } });
  expect(subscriber.takePublishes().map((publish) => publish.topicName)).toEqual(["a", "b", "a"]);
  const three = world.connect();
  three.sendPublish("", "", { properties: { topicAlias: 1 } });
  expectDisconnect(three, 0x82);
});

test("[MQTT-3.3.2-8] alias 0 from a client closes with 0x94, with or without a Topic Name", () => {
  for (const topicName of ["a", ""]) {
    const publisher = new World().connect();
    publisher.sendPublish(topicName, "x", { properties: { topicAlias: 0 } });
    expectDisconnect(publisher, 0x94);
  }
});

test("[MQTT-3.3.2-9] an alias above the announced maximum closes with 0x94", () => {
  for (const qos of [0, 1, 2] as const) {
    const world = new World({ limits: { topicAliasMaximum: 10 } });
    const subscriber = watcher(world);
    for (const topicName of ["a", ""]) {
      const publisher = world.connect();
      publisher.sendPublish(topicName, "x", { qos, properties: { topicAlias: 11 } });
      expectDisconnect(publisher, 0x94);
    }
    expect(subscriber.packets).toEqual([]);
  }
});

test("(3.3.2.3.4) an alias that was never set, without a Topic Name, is a Protocol Error", () => {
  const publisher = new World().connect();
  publisher.publish("a", "", { properties: { topicAlias: 1 } });
  publisher.sendPublish("", "x", { properties: { topicAlias: 2 } });
  expectDisconnect(publisher, 0x82);
});

test("[MQTT-3.3.2-11] a receiver that offers no aliases gets none", () => {
  const world = new World();
  const without = watcher(world);
  const zero = world.connect({ properties: { topicAliasMaximum: 0 } });
  zero.subscribe("#");
  const publisher = world.connect();
  for (let round = 0; round < 3; round++) publisher.publish("a", "", { qos: 1, properties: { topicAlias: 1 } });
  for (const client of [without, zero])
    expect(names(client.takePublishes())).toEqual([
      ["a", 0],
      ["a", 0],
      ["a", 0],
    ]);
});

test("[MQTT-3.3.2-8] [MQTT-3.3.2-11] towards a receiver aliases are 1, 2, 3 in order of first use, then alone", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { topicAliasMaximum: 10 } });
  subscriber.subscribe("#");
  const publisher = world.connect();
  for (const topicName of ["x", "y", "x", "z", "y", "x"]) publisher.publish(topicName, "", { qos: 1 });
  expect(names(subscriber.takePublishes())).toEqual([
    ["x", 1],
    ["y", 2],
    ["", 1],
    ["z", 3],
    ["", 2],
    ["", 1],
  ]);
});

test("[MQTT-3.3.2-8] [MQTT-3.3.2-11] whatever is published, an alias stays within 1 and the receiver's maximum", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { topicAliasMaximum: 2 } });
  subscriber.subscribe("#");
  const publisher = world.connect();
  const published: string[] = [];
  for (let at = 0; at < 60; at++) published.push(`t${(at * 7) % 5}`);
  for (const [at, topicName] of published.entries()) publisher.publish(topicName, "", { qos: (at % 3) as 0 | 1 | 2 });
  const mapping = new Map<number, string>();
  const resolved = subscriber.takePublishes().map((publish) => {
    const { topicAlias } = publish.properties;
    if (topicAlias === undefined) return publish.topicName;
    expect([1, 2]).toContain(topicAlias);
    if (publish.topicName !== "") mapping.set(topicAlias, publish.topicName);
    return mapping.get(topicAlias);
  });
  expect(resolved).toEqual(published);
});

test("[MQTT-3.3.2-7] towards a receiver every connection starts with no alias set", () => {
  const world = new World();
  const properties = { topicAliasMaximum: 5 };
  const first = resume(world, "subscriber", { properties });
  first.subscribe("#", { qos: 0 });
  const publisher = world.connect();
  publisher.publish("x");
  publisher.publish("x");
  expect(names(first.takePublishes())).toEqual([
    ["x", 1],
    ["", 1],
  ]);
  first.drop();
  const second = resume(world, "subscriber", { properties });
  publisher.publish("y");
  publisher.publish("x");
  publisher.publish("x");
  expect(names(second.takePublishes())).toEqual([
    ["y", 1],
    ["x", 2],
    ["", 2],
  ]);
});

test("[MQTT-3.3.2-7] a message sent with the alias alone is re-delivered with its Topic Name", () => {
  const world = new World();
  const properties = { topicAliasMaximum: 5 };
  const first = resume(world, "subscriber", { properties });
  first.subscribe("#", { qos: 2 });
  const publisher = world.connect();
  publisher.publish("x", "1", { qos: 1 });
  publisher.publish("x", "2", { qos: 2 });
  expect(names(takeUnacknowledged(first))).toEqual([
    ["x", 1],
    ["", 1],
  ]);
  first.drop();
  const without = resume(world, "subscriber");
  expect(names(takeUnacknowledged(without))).toEqual([
    ["x", 0],
    ["x", 0],
  ]);
  without.drop();
  const again = takeUnacknowledged(resume(world, "subscriber", { properties }));
  expect(again[0]?.topicName).toBe("x");
  expect(again.map((publish) => (publish.topicName === "" ? publish.properties.topicAlias : 1))).toEqual([1, 1]);
});

test("[MQTT-3.3.2-7] messages that waited for the session use the aliases of the new connection", () => {
  const world = new World();
  leaveSession(world, "away", "#", 1, { properties: { topicAliasMaximum: 5 } });
  const publisher = world.connect();
  for (const topicName of ["x", "y", "x"]) publisher.publish(topicName, "", { qos: 1 });
  const received = resume(world, "away", { properties: { topicAliasMaximum: 5 } }).takePublishes();
  expect(names(received)).toEqual([
    ["x", 1],
    ["y", 2],
    ["", 1],
  ]);
});

test("[MQTT-3.3.2-7] a PUBLISH dropped for its size sets no alias", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { topicAliasMaximum: 5, maximumPacketSize: 100 } });
  subscriber.subscribe("#", { qos: 1 });
  const publisher = world.connect();
  publisher.publish("x", "0".repeat(200), { qos: 1 });
  publisher.publish("x", "small", { qos: 1 });
  publisher.publish("x", "small too", { qos: 1 });
  const received = takeUnacknowledged(subscriber);
  expect(texts(received)).toEqual(["small", "small too"]);
  expect(received[0]?.topicName).toBe("x");
  for (const publish of received) acknowledge(subscriber, "puback", publish.packetId);
});

test("[MQTT-3.3.2-7] a PUBLISH dropped for a slow receiver sets no alias", () => {
  const world = new World({ limits: { outboundHighWaterBytes: 1000, outboundLowWaterBytes: 100 } });
  const subscriber = world.connect({ properties: { topicAliasMaximum: 5 } });
  subscriber.subscribe("#", { qos: 0 });
  const publisher = world.connect();
  subscriber.stall();
  for (let at = 0; at < 20; at++) publisher.publish("filler", "0".repeat(200));
  publisher.publish("x", "dropped");
  subscriber.drain();
  expect(texts(subscriber.takePublishes())).not.toContain("dropped");
  publisher.publish("x", "seen");
  expect(names(subscriber.takePublishes()).map(([topicName]) => topicName)).toEqual(["x"]);
});

test("[MQTT-3.3.2-11] receivers of one message each have it under an alias of their own", () => {
  const world = new World();
  const properties = { topicAliasMaximum: 5 };
  const one = world.connect({ properties });
  const two = world.connect({ properties });
  const three = world.connect();
  one.subscribe("#");
  two.subscribe(["y", "x"]);
  three.subscribe("#");
  const publisher = world.connect();
  for (const topicName of ["x", "z", "y", "x", "y"]) publisher.publish(topicName, "", { qos: 1 });
  expect(names(one.takePublishes())).toEqual([
    ["x", 1],
    ["z", 2],
    ["y", 3],
    ["", 1],
    ["", 3],
  ]);
  expect(names(two.takePublishes())).toEqual([
    ["x", 1],
    ["y", 2],
    ["", 1],
    ["", 2],
  ]);
  expect(names(three.takePublishes()).map(([topicName]) => topicName)).toEqual(["x", "z", "y", "x", "y"]);
});
