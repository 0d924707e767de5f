/**
 * Queues of a session: their bounds, both overflow policies, and what the publisher is told; sizes that a session meets
 * only when it comes back (limits.queueMessagesMax, limits.queueBytesMax, config.queueOverflow; MQTT 5.0 section 4.5).
 */
import { expect, test } from "bun:test";
import type { QueueOverflow } from "../../src/core/limits.ts";
import {
  acknowledge,
  LEVELS,
  leaveSession,
  outline,
  resume,
  takeUnacknowledged,
  texts,
} from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

const POLICIES: readonly QueueOverflow[] = ["drop-newest", "drop-oldest"];

/** Publishes each number to "a" at QoS 1; answers the reason codes. */
function publishNumbers(publisher: TestClient, from: number, to: number): number[] {
  const codes: number[] = [];
  for (let at = from; at <= to; at++) codes.push(publisher.publish("a", `${at}`, { qos: 1 }));
  return codes;
}

test("limits.queueMessagesMax, drop-newest: the publisher of what no queue took is told 0x97", () => {
  for (const level of LEVELS) {
    const world = new World({ limits: { queueMessagesMax: 3 } });
    leaveSession(world, "away", "a", 2, { level });
    const publisher = world.connect();
    expect(publishNumbers(publisher, 1, 5)).toEqual([0, 0, 0, 0x97, 0x97]);
    expect(publisher.publish("a", "6", { qos: 2 })).toBe(0x97);
    expect(texts(resume(world, "away", { level }).takePublishes())).toEqual(["1", "2", "3"]);
    expect(publishNumbers(publisher, 7, 7)).toEqual([0]);
  }
});

test("limits.queueMessagesMax, drop-newest: success as soon as one of the queues took it", () => {
  const world = new World({ limits: { queueMessagesMax: 2 } });
  leaveSession(world, "full", "a", 1);
  leaveSession(world, "full too", "#", 1);
  const publisher = world.connect();
  expect(publishNumbers(publisher, 1, 3)).toEqual([0, 0, 0x97]);
  leaveSession(world, "empty", "a", 1);
  expect(publishNumbers(publisher, 4, 6)).toEqual([0, 0, 0x97]);
  expect(texts(resume(world, "full").takePublishes())).toEqual(["1", "2"]);
  expect(texts(resume(world, "full too").takePublishes())).toEqual(["1", "2"]);
  expect(texts(resume(world, "empty").takePublishes())).toEqual(["4", "5"]);
});

test("limits.queueMessagesMax, drop-newest: a QoS 0 message and a 3.1.1 publisher are told nothing", () => {
  const world = new World({ limits: { queueMessagesMax: 1 } });
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect({ level: 4 });
  expect(publishNumbers(publisher, 1, 3)).toEqual([0, 0, 0]);
  publisher.publish("a", "QoS 0");
  expect([publisher.closed, publisher.packets]).toEqual([false, []]);
  expect(texts(resume(world, "away").takePublishes())).toEqual(["1"]);
});

test("limits.queueMessagesMax, drop-oldest: the newest stay and the publisher is told success", () => {
  for (const level of LEVELS) {
    const world = new World({ limits: { queueMessagesMax: 3 }, config: { queueOverflow: "drop-oldest" } });
    leaveSession(world, "away", "a", 2, { level });
    const publisher = world.connect();
    expect(publishNumbers(publisher, 1, 5)).toEqual([0, 0, 0, 0, 0]);
    expect(publisher.publish("a", "6", { qos: 2 })).toBe(0);
    expect(texts(resume(world, "away", { level }).takePublishes())).toEqual(["4", "5", "6"]);
  }
});

test("limits.queueMessagesMax counts what waits behind a full window of a connected client, not the window", () => {
  for (const queueOverflow of POLICIES) {
    const world = new World({ limits: { queueMessagesMax: 2 }, config: { queueOverflow } });
    const subscriber = world.connect({ properties: { receiveMaximum: 2 } });
    subscriber.subscribe("a", { qos: 1 });
    const dropsNewest = queueOverflow === "drop-newest";
    const codes = publishNumbers(world.connect(), 1, 6);
    expect(codes).toEqual(dropsNewest ? [0, 0, 0, 0, 0x97, 0x97] : [0, 0, 0, 0, 0, 0]);
    // What is in flight is never the one to go.
    expect(texts(subscriber.takePublishes())).toEqual(dropsNewest ? ["1", "2", "3", "4"] : ["1", "2", "5", "6"]);
  }
});

test("limits.queueMessagesMax does not bound what passes through to a client that keeps up", () => {
  for (const queueOverflow of POLICIES) {
    const world = new World({ limits: { queueMessagesMax: 1 }, config: { queueOverflow } });
    const subscriber = world.connect({ properties: { receiveMaximum: 1 } });
    subscriber.subscribe("a", { qos: 1 });
    const publisher = world.connect();
    for (let at = 1; at <= 20; at++) {
      expect(publishNumbers(publisher, at, at)).toEqual([0]);
      expect(texts(subscriber.takePublishes())).toEqual([`${at}`]);
    }
  }
});

test("limits.queueMessagesMax: messages in flight when the connection is lost keep their own places", () => {
  const world = new World({ limits: { queueMessagesMax: 2 } });
  const first = resume(world, "subscriber", { properties: { receiveMaximum: 2 } });
  first.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  expect(publishNumbers(publisher, 1, 2)).toEqual([0, 0]);
  first.drop();
  expect(publishNumbers(publisher, 3, 5)).toEqual([0, 0, 0x97]);
  expect(texts(resume(world, "subscriber").takePublishes())).toEqual(["1", "2", "3", "4"]);
});

test("limits.queueBytesMax, drop-newest: bytes that wait are bounded, 0x97 above", () => {
  const world = new World({ limits: { queueBytesMax: 10_000 } });
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect();
  const codes = ["1", "2", "3"].map((letter) => publisher.publish("a", letter.repeat(4000), { qos: 1 }));
  expect(codes).toEqual([0, 0, 0x97]);
  expect(publisher.publish("a", "small", { qos: 1 })).toBe(0);
  const received = resume(world, "away").takePublishes();
  expect(texts(received)).toEqual(["1".repeat(4000), "2".repeat(4000), "small"]);
  expect(publisher.publish("a", "4".repeat(4000), { qos: 1 })).toBe(0);
});

test("limits.queueBytesMax, drop-oldest: the oldest make room", () => {
  const world = new World({ limits: { queueBytesMax: 10_000 }, config: { queueOverflow: "drop-oldest" } });
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect();
  const codes = ["1", "2", "3"].map((letter) => publisher.publish("a", letter.repeat(4000), { qos: 1 }));
  expect(codes).toEqual([0, 0, 0]);
  expect(texts(resume(world, "away").takePublishes())).toEqual(["2".repeat(4000), "3".repeat(4000)]);
});

test("limits.queueBytesMax: a message that could never fit is refused under both policies and displaces nobody", () => {
  for (const queueOverflow of POLICIES) {
    for (const messageExpiryInterval of [5, 1000]) {
      const world = new World({ limits: { queueBytesMax: 10_000 }, config: { queueOverflow } });
      leaveSession(world, "away", "a", 1);
      const publisher = world.connect();
      // Bytes that have left the queue, displaced or expired, make no room for it either.
      for (let at = 0; at < 20; at++) {
        publisher.publish("a", "x".repeat(4000), { qos: 1, properties: { messageExpiryInterval } });
        if (at % 5 === 4) world.advance(5_000);
      }
      publisher.publish("a", "kept", { qos: 1 });
      expect(publisher.publish("a", "x".repeat(20_000), { qos: 1 })).toBe(0x97);
      const lengths = resume(world, "away")
        .takePublishes()
        .map((publish) => publish.payload.length);
      expect(lengths).toEqual(messageExpiryInterval === 5 ? [4] : [4000, 4000, 4]);
    }
  }
});

test("limits.queueBytesMax counts what is in flight too, and PUBACK gives the bytes back", () => {
  const world = new World({ limits: { queueBytesMax: 10_000 } });
  const subscriber = world.connect({ properties: { receiveMaximum: 1 } });
  subscriber.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  const publish = () => publisher.publish("a", "x".repeat(4000), { qos: 1 });
  expect([publish(), publish(), publish()]).toEqual([0, 0, 0x97]);
  acknowledge(subscriber, "puback", subscriber.take("publish").packetId);
  expect(outline(subscriber.packets)).toEqual(["publish 2"]);
  expect([publish(), publish()]).toEqual([0, 0x97]);
  expect(subscriber.takePublishes()).toHaveLength(2);
  expect([publish(), publish(), publish()]).toEqual([0, 0, 0x97]);
});

test("a queue belongs to its session: ended with it, and not shared", () => {
  const world = new World({ limits: { queueMessagesMax: 2 } });
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect();
  expect(publishNumbers(publisher, 1, 3)).toEqual([0, 0, 0x97]);
  const clean = resume(world, "away", { cleanStart: true });
  expect(clean.packets).toEqual([]);
  clean.subscribe("a", { qos: 1 });
  clean.drop();
  expect(publishNumbers(publisher, 4, 6)).toEqual([0, 0, 0x97]);
  expect(texts(resume(world, "away").takePublishes())).toEqual(["4", "5"]);
});

test("a queue ends with its session when the Session Expiry Interval has passed", () => {
  const world = new World();
  leaveSession(world, "away", "a", 1, { properties: { sessionExpiryInterval: 60 } });
  const publisher = world.connect();
  expect(publishNumbers(publisher, 1, 2)).toEqual([0, 0]);
  world.advance(60_000);
  expect(publishNumbers(publisher, 3, 3)).toEqual([0x10]);
  const late = resume(world, "away");
  expect([late.connack?.sessionPresent, late.packets]).toEqual([false, []]);
});

test("[MQTT-3.1.2-24] [MQTT-3.1.2-25] what waited and is too large for the new connection is dropped", () => {
  const world = new World();
  leaveSession(world, "away", "a", 2);
  const publisher = world.connect();
  for (const [payload, qos] of [
    ["1", 1],
    ["x".repeat(100), 1],
    ["y".repeat(100), 2],
    ["2", 2],
  ] as const) {
    publisher.publish("a", payload, { qos });
  }
  const small = resume(world, "away", { properties: { maximumPacketSize: 50, receiveMaximum: 1 } });
  expect(texts(small.takePublishes())).toEqual(["1", "2"]);
  small.drop();
  expect(resume(world, "away").packets).toEqual([]);
});

test("[MQTT-3.1.2-24] [MQTT-3.1.2-25] what was in flight and is too large for the new connection is not sent to it", () => {
  const world = new World();
  const first = resume(world, "subscriber");
  first.subscribe("a", { qos: 2 });
  const publisher = world.connect();
  for (const [payload, qos] of [
    ["x".repeat(100), 1],
    ["y".repeat(100), 2],
    ["3", 1],
  ] as const) {
    publisher.publish("a", payload, { qos });
  }
  expect(takeUnacknowledged(first)).toHaveLength(3);
  first.drop();
  const small = resume(world, "subscriber", { properties: { maximumPacketSize: 50, receiveMaximum: 1 } });
  expect(texts(small.takePublishes())).toEqual(["3"]);
  publisher.publish("a", "4", { qos: 2 });
  expect(texts(small.takePublishes())).toEqual(["4"]);
  small.drop();
  expect(resume(world, "subscriber").packets).toEqual([]);
});

for (const queueOverflow of POLICIES) {
  test(`limits.queueBytesMax: places and bytes come back whole, however often a queue was full (${queueOverflow})`, () => {
    const world = new World({ limits: { queueBytesMax: 10_000 }, config: { queueOverflow } });
    leaveSession(world, "away", "a", 1);
    const publisher = world.connect();
    const publish = (bytes: number, messageExpiryInterval = 1000) =>
      publisher.publish("a", "x".repeat(bytes), { qos: 1, properties: { messageExpiryInterval } });
    const third = queueOverflow === "drop-newest" ? 0x97 : 0;
    for (let round = 0; round < 5; round++) {
      // Fetched, also with a window and a size that hold messages back; expired while away; expired behind the window.
      expect([publish(4000), publish(4000), publish(4000)]).toEqual([0, 0, third]);
      expect(resume(world, "away", { properties: { receiveMaximum: 1 } }).takePublishes()).toHaveLength(2);
      expect([publish(4000), publish(4000)]).toEqual([0, 0]);
      const small = resume(world, "away", { properties: { maximumPacketSize: 100 } });
      expect(small.packets).toEqual([]);
      small.drop();
      expect([publish(4000, 5), publish(4000, 5)]).toEqual([0, 0]);
      world.advance(5_000);
      expect([publish(4000), publish(4000, 5)]).toEqual([0, 0]);
      const narrow = resume(world, "away", { properties: { receiveMaximum: 1 } });
      world.advance(5_000);
      expect(narrow.takePublishes()).toHaveLength(1);
      narrow.drop();
    }
    expect([publish(100), publish(20_000)]).toEqual([0, 0x97]);
    expect(
      resume(world, "away")
        .takePublishes()
        .map((message) => message.payload.length),
    ).toEqual([100]);
  });
}
