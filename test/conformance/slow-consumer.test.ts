/**
 * A receiver that does not read: its memory is bounded (limits.outboundHighWaterBytes, outboundLowWaterBytes), its QoS 0
 * messages are dropped, its QoS 1 and 2 messages wait in its queue, and nobody else notices.
 */
import { expect, test } from "bun:test";
import { acknowledge, outline, resume, takeUnacknowledged, texts } from "../support/publish-dialogue.ts";
import { connectPacket, type TestClient, World } from "../support/world.ts";

const HIGH_WATER_BYTES = 2000;
const LIMITS = { outboundHighWaterBytes: HIGH_WATER_BYTES, outboundLowWaterBytes: 500 };
/** A PUBLISH with such a payload is a little above 100 bytes. */
const payloadOf = (at: number): string => `${at} ${"x".repeat(100)}`;
const numbersOf = (list: readonly string[]): number[] => list.map((text) => Number(text.split(" ")[0]));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

function subscriberOf(world: World, qos: 0 | 1 | 2): TestClient {
  const client = resume(world, `subscriber ${qos}`);
  client.subscribe("a", { qos });
  return client;
}

test("QoS 0 above outboundHighWaterBytes is dropped, and starts again once the receiver has read", () => {
  const world = new World({ limits: LIMITS });
  const slow = subscriberOf(world, 0);
  const publisher = world.connect();
  slow.stall();
  for (let at = 0; at < 100; at++) publisher.publish("a", payloadOf(at));
  expect(slow.backlogBytes).toBeGreaterThan(HIGH_WATER_BYTES / 2);
  expect(slow.backlogBytes).toBeLessThanOrEqual(HIGH_WATER_BYTES + 200);
  slow.drain();
  const seen = numbersOf(texts(slow.takePublishes()));
  expect(seen).toEqual(upTo(seen.length));
  expect(seen.length).toBeLessThan(25);
  publisher.publish("a", payloadOf(100));
  expect(numbersOf(texts(slow.takePublishes()))).toEqual([100]);
  expect(slow.closed).toBe(false);
});

for (const qos of [1, 2] as const) {
  test(`QoS ${qos} above outboundHighWaterBytes waits and arrives in order once the receiver has read`, () => {
    const world = new World({ limits: LIMITS });
    const slow = subscriberOf(world, qos);
    const publisher = world.connect();
    slow.stall();
    for (let at = 0; at < 100; at++) expect(publisher.publish("a", payloadOf(at), { qos })).toBe(0);
    expect(slow.backlogBytes).toBeLessThanOrEqual(HIGH_WATER_BYTES + 200);
    const seen: number[] = [];
    for (let round = 0; round < 100 && seen.length < 100; round++) {
      slow.drain();
      seen.push(...numbersOf(texts(slow.takePublishes())));
    }
    expect(seen).toEqual(upTo(100));
  });
}

test("every drain lets no more than about outboundHighWaterBytes through while the receiver stalls again", () => {
  const world = new World({ limits: LIMITS });
  const slow = subscriberOf(world, 1);
  const publisher = world.connect();
  slow.stall();
  for (let at = 0; at < 100; at++) publisher.publish("a", payloadOf(at), { qos: 1 });
  slow.drain();
  slow.stall();
  for (const publish of takeUnacknowledged(slow)) acknowledge(slow, "puback", publish.packetId);
  expect(slow.backlogBytes).toBeLessThanOrEqual(HIGH_WATER_BYTES + 200);
});

test("what waits for a slow receiver is bounded by its queue: 0x97 when that is full", () => {
  const world = new World({ limits: { ...LIMITS, queueMessagesMax: 10 } });
  const slow = subscriberOf(world, 1);
  const publisher = world.connect();
  slow.stall();
  const codes = upTo(100).map((at) => publisher.publish("a", payloadOf(at), { qos: 1 }));
  const accepted = codes.filter((code) => code === 0).length;
  expect(codes).toEqual(codes.map((_, at) => (at < accepted ? 0 : 0x97)));
  expect(accepted).toBeGreaterThan(10);
  expect(accepted).toBeLessThan(10 + 25);
  slow.drain();
  expect(numbersOf(texts(slow.takePublishes()))).toEqual(upTo(accepted));
});

test("drop-oldest for a slow receiver: what was sent stays, of what waits the newest", () => {
  const world = new World({ limits: { ...LIMITS, queueMessagesMax: 10 }, config: { queueOverflow: "drop-oldest" } });
  const slow = subscriberOf(world, 1);
  const publisher = world.connect();
  slow.stall();
  for (let at = 0; at < 100; at++) expect(publisher.publish("a", payloadOf(at), { qos: 1 })).toBe(0);
  const sent = takeUnacknowledged(slow);
  for (const publish of sent) acknowledge(slow, "puback", publish.packetId);
  slow.drain();
  expect(numbersOf(texts(sent))).toEqual(upTo(sent.length));
  expect(numbersOf(texts(slow.takePublishes()))).toEqual(upTo(10).map((at) => 90 + at));
});

test("a slow receiver slows nobody else", () => {
  const world = new World({ limits: LIMITS });
  const slow = [subscriberOf(world, 0), subscriberOf(world, 1)];
  const quick = subscriberOf(world, 2);
  const publisher = world.connect();
  for (const client of slow) client.stall();
  for (let at = 0; at < 100; at++) {
    const qos = (at % 3) as 0 | 1 | 2;
    expect(publisher.publish("a", payloadOf(at), { qos })).toBe(0);
    expect(quick.takePublishes().map((publish) => publish.qos)).toEqual([qos]);
  }
  expect([publisher.paused, publisher.closed]).toEqual([false, false]);
});

test("a slow receiver's own requests are answered, at the latest once it reads", () => {
  const world = new World({ limits: LIMITS });
  const slow = subscriberOf(world, 0);
  const publisher = world.connect();
  slow.stall();
  for (let at = 0; at < 100; at++) publisher.publish("a", payloadOf(at));
  slow.takeAll();
  slow.send({ type: "pingreq" });
  slow.sendPublish("b", "", { qos: 1, packetId: 7 });
  slow.drain();
  expect(outline(slow.takeAll())).toEqual(["pingresp", "puback 7"]);
});

test("a slow receiver that goes away loses no QoS 1 and 2 message that was accepted for it", () => {
  const world = new World({ limits: LIMITS });
  const slow = subscriberOf(world, 2);
  const publisher = world.connect();
  slow.stall();
  for (let at = 0; at < 60; at++) publisher.publish("a", payloadOf(at), { qos: at % 2 === 0 ? 1 : 2 });
  slow.drop();
  for (let at = 60; at < 70; at++) publisher.publish("a", payloadOf(at), { qos: 1 });
  expect(numbersOf(texts(resume(world, "subscriber 2").takePublishes()))).toEqual(upTo(70));
});

test("many retained messages do not run over a slow receiver, and none of QoS 1 is lost", () => {
  const world = new World({ limits: LIMITS });
  const publisher = world.connect();
  for (let at = 0; at < 100; at++) publisher.publish(`r/${at}`, payloadOf(at), { qos: 1, retain: true });
  const slow = world.connect();
  slow.stall();
  slow.subscribe("r/+", { qos: 1 });
  expect(slow.backlogBytes).toBeLessThanOrEqual(HIGH_WATER_BYTES + 200);
  const seen: number[] = [];
  for (let round = 0; round < 100 && seen.length < 100; round++) {
    slow.drain();
    seen.push(...numbersOf(texts(slow.takePublishes())));
  }
  expect(seen.sort((a, b) => a - b)).toEqual(upTo(100));
});

test("a client that asks and does not read is not read either, until it has caught up", () => {
  const world = new World({ limits: LIMITS });
  const slow = subscriberOf(world, 0);
  slow.stall();
  for (let at = 0; at < HIGH_WATER_BYTES / 2 - 1; at++) slow.send({ type: "pingreq" });
  expect([slow.backlogBytes, slow.paused]).toEqual([HIGH_WATER_BYTES - 2, false]);
  slow.send({ type: "pingreq" });
  expect(slow.paused).toBe(true);
  slow.drain();
  expect([slow.paused, slow.closed]).toEqual([false, false]);
  expect(slow.takeAll()).toHaveLength(HIGH_WATER_BYTES / 2);
});

test("a client that comes back and does not read is sent what is due to it bit by bit, in order", () => {
  const world = new World({ limits: LIMITS });
  const first = subscriberOf(world, 2);
  const publisher = world.connect();
  for (let at = 0; at < 60; at++) publisher.publish("a", payloadOf(at), { qos: at % 2 === 0 ? 1 : 2 });
  expect(first.packets).toHaveLength(60);
  first.drop();
  for (let at = 60; at < 100; at++) publisher.publish("a", payloadOf(at), { qos: 1 });
  const slow = world.open();
  slow.stall();
  slow.send(connectPacket("subscriber 2", { cleanStart: false }));
  slow.take("connack");
  const seen: number[] = [];
  for (let round = 0; round < 100 && seen.length < 100; round++) {
    expect(slow.backlogBytes).toBeLessThanOrEqual(HIGH_WATER_BYTES + 200);
    slow.drain();
    slow.stall();
    seen.push(...numbersOf(texts(slow.takePublishes())));
  }
  expect(seen).toEqual(upTo(100));
});
