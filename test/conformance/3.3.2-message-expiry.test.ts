/** Message Expiry Interval (MQTT 5.0 section 3.3.2.3.3): live, while queued, while in flight, and in the retained store. */
import { expect, test } from "bun:test";
import { acknowledge, LEVELS, leaveSession, resume, takeUnacknowledged, texts } from "../support/publish-dialogue.ts";
import { World } from "../support/world.ts";

const expiring = (seconds: number) => ({ messageExpiryInterval: seconds });

test("[MQTT-3.3.2-6] a message that does not wait carries its interval as it came", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect();
  for (const seconds of [1, 60, 0xffffffff]) {
    publisher.publish("a", "x", { qos: 1, properties: expiring(seconds) });
    expect(subscriber.takePublishes().map((publish) => publish.properties)).toEqual([expiring(seconds)]);
  }
});

test("[MQTT-3.3.2-6] the time a message waited for its session is taken off", () => {
  const world = new World();
  leaveSession(world, "away", "a", 2);
  const publisher = world.connect();
  publisher.publish("a", "1", { qos: 1, properties: expiring(100) });
  world.advance(30_000);
  publisher.publish("a", "2", { qos: 2, properties: expiring(100) });
  publisher.publish("a", "3", { qos: 1 });
  world.advance(15_000);
  const received = resume(world, "away").takePublishes();
  expect(texts(received)).toEqual(["1", "2", "3"]);
  expect(received.map((publish) => publish.properties.messageExpiryInterval)).toEqual([55, 85, undefined]);
});

test("[MQTT-3.3.2-6] the time a message waited for the receiver's window is taken off", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { receiveMaximum: 1 } });
  subscriber.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  publisher.publish("a", "1", { qos: 1, properties: expiring(100) });
  publisher.publish("a", "2", { qos: 1, properties: expiring(100) });
  const first = subscriber.take("publish");
  expect(first.properties).toEqual(expiring(100));
  world.advance(40_000);
  acknowledge(subscriber, "puback", first.packetId);
  expect(subscriber.take("publish").properties).toEqual(expiring(60));
});

test("[MQTT-3.3.2-6] the time a message was retained is taken off", () => {
  const world = new World();
  world.connect().publish("a", "kept", { qos: 1, retain: true, properties: expiring(10) });
  world.advance(4_000);
  const reader = world.connect();
  reader.subscribe("a");
  expect(reader.take("publish").properties).toEqual(expiring(6));
  world.advance(3_000);
  reader.subscribe("a");
  expect(reader.packets.map((packet) => packet.type === "publish" && packet.properties)).toEqual([expiring(3)]);
});

test("[MQTT-3.3.2-5] a copy that expires while its session is away is deleted, others stay", () => {
  for (const level of LEVELS) {
    const world = new World();
    leaveSession(world, "away", "a", 2, { level });
    const publisher = world.connect();
    publisher.publish("a", "short", { qos: 1, properties: expiring(10) });
    publisher.publish("a", "long", { qos: 2, properties: expiring(11) });
    publisher.publish("a", "short too", { qos: 2, properties: expiring(3) });
    publisher.publish("a", "for ever", { qos: 1 });
    world.advance(10_000);
    expect(texts(resume(world, "away", { level }).takePublishes())).toEqual(["long", "for ever"]);
  }
});

test("[MQTT-3.3.2-5] one receiver's expired copy does not touch the copy that another was sent in time", () => {
  const world = new World();
  leaveSession(world, "away", "a", 1);
  const present = world.connect();
  present.subscribe("a");
  world.connect().publish("a", "x", { qos: 1, properties: expiring(5) });
  expect(texts(present.takePublishes())).toEqual(["x"]);
  world.advance(6_000);
  expect(resume(world, "away").packets).toEqual([]);
});

test("[MQTT-3.3.2-5] a copy that expires while the receiver's window is full is deleted", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { receiveMaximum: 1 } });
  subscriber.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  publisher.publish("a", "1", { qos: 1 });
  publisher.publish("a", "2", { qos: 1, properties: expiring(5) });
  publisher.publish("a", "3", { qos: 1 });
  world.advance(5_000);
  expect(texts(subscriber.takePublishes())).toEqual(["1", "3"]);
});

test("[MQTT-3.3.2-5] an expired copy gives its place in a full queue back", () => {
  const world = new World({ limits: { queueMessagesMax: 2 } });
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect();
  for (const text of ["1", "2"]) publisher.publish("a", text, { qos: 1, properties: expiring(5) });
  expect(publisher.publish("a", "refused", { qos: 1 })).toBe(0x97);
  world.advance(5_000);
  expect(publisher.publish("a", "3", { qos: 1 })).toBe(0);
  expect(texts(resume(world, "away").takePublishes())).toEqual(["3"]);
});

test("[MQTT-3.3.2-5] a retained message is gone once it expired, for wildcards too", () => {
  const world = new World();
  const publisher = world.connect();
  publisher.publish("a/1", "kept", { qos: 1, retain: true, properties: expiring(10) });
  publisher.publish("a/2", "stays", { qos: 1, retain: true });
  world.advance(10_000);
  for (const topicFilter of ["a/1", "a/+", "#"]) {
    const reader = world.connect();
    reader.subscribe(topicFilter);
    expect(texts(reader.takePublishes())).toEqual(topicFilter === "a/1" ? [] : ["stays"]);
  }
});

test("[MQTT-3.3.2-5] a replaced retained message takes its expiry with it", () => {
  const world = new World();
  const publisher = world.connect();
  publisher.publish("a", "short", { qos: 1, retain: true, properties: expiring(5) });
  publisher.publish("a", "for ever", { qos: 1, retain: true });
  world.advance(60_000);
  const reader = world.connect();
  reader.subscribe("a");
  const found = reader.takePublishes();
  expect(texts(found)).toEqual(["for ever"]);
  expect(found[0]?.properties).toEqual({});
});

test("[MQTT-3.3.2-5] no interval, no expiry", () => {
  const world = new World();
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect();
  publisher.publish("a", "x", { qos: 1, retain: true });
  world.advance(365 * 86_400_000);
  expect(texts(resume(world, "away").takePublishes())).toEqual(["x"]);
  const reader = world.connect();
  reader.subscribe("a");
  expect(texts(reader.takePublishes())).toEqual(["x"]);
});

for (const qos of [1, 2] as const) {
  test(`[MQTT-4.3.3-7] [MQTT-3.3.2-5] once sent, expiry no longer ends a message: it is re-delivered (QoS ${qos})`, () => {
    const world = new World();
    const first = resume(world, "subscriber");
    first.subscribe("a", { qos });
    world.connect().publish("a", "x", { qos, properties: expiring(5) });
    expect(texts(takeUnacknowledged(first))).toEqual(["x"]);
    first.drop();
    world.advance(60_000);
    const second = resume(world, "subscriber");
    expect(second.packets.map((packet) => packet.type === "publish" && [packet.dup, packet.packetId])).toEqual([
      [true, 1],
    ]);
    expect(texts(second.takePublishes())).toEqual(["x"]);
  });
}

test("[MQTT-4.3.3-7] a QoS 2 handshake goes on after the message expired", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("a");
  world.connect().publish("a", "x", { qos: 2, properties: expiring(1) });
  const { packetId } = subscriber.take("publish");
  world.advance(10_000);
  acknowledge(subscriber, "pubrec", packetId);
  expect(subscriber.take("pubrel")).toMatchObject({ packetId, reasonCode: 0 });
  world.advance(10_000);
  acknowledge(subscriber, "pubcomp", packetId);
  expect([subscriber.packets, subscriber.closed]).toEqual([[], false]);
});

test("[MQTT-4.3.3-13] the publisher's QoS 2 handshake goes on after the message expired", () => {
  const world = new World();
  leaveSession(world, "away", "a", 2);
  const publisher = world.connect();
  const packetId = publisher.sendPublish("a", "x", { qos: 2, properties: expiring(1) });
  expect(publisher.take("pubrec")).toMatchObject({ packetId, reasonCode: 0 });
  world.advance(10_000);
  acknowledge(publisher, "pubrel", packetId);
  expect(publisher.take("pubcomp")).toMatchObject({ packetId, reasonCode: 0 });
  expect(resume(world, "away").packets).toEqual([]);
});

test("[MQTT-3.3.2-5] an interval of 0 is an interval: what waits with it is gone at once", () => {
  const world = new World();
  leaveSession(world, "away", "a", 1);
  world.connect().publish("a", "x", { qos: 1, retain: true, properties: expiring(0) });
  world.advance(1_000);
  expect(resume(world, "away").packets).toEqual([]);
  const reader = world.connect();
  reader.subscribe("a");
  expect(reader.packets).toEqual([]);
});
