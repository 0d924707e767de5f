/** Message receipt: an accepted message reaches every session that asked for it (MQTT 5.0 section 4.5). */
import { expect, test } from "bun:test";
import { LEVELS, leaveSession, resume, texts } from "../support/publish-dialogue.ts";
import { World } from "../support/world.ts";

for (const level of LEVELS) {
  test(`[MQTT-4.5.0-1] [MQTT311-4.5.0-1] every matching session has the message, present or away (level ${level})`, () => {
    const world = new World();
    const filters = ["a/b", "a/+", "+/b", "a/#", "#", "+/+"];
    const present = filters.map((topicFilter) => {
      const client = world.connect({ level });
      client.subscribe(topicFilter);
      return client;
    });
    for (const topicFilter of filters) leaveSession(world, `away ${topicFilter}`, topicFilter, 2, { level });
    leaveSession(world, "away elsewhere", "a/c", 2, { level });
    const publisher = world.connect({ level });
    for (const qos of [1, 2] as const) publisher.publish("a/b", `${qos}`, { qos });
    publisher.drop();
    for (const client of present) expect(texts(client.takePublishes())).toEqual(["1", "2"]);
    for (const topicFilter of filters) {
      expect(texts(resume(world, `away ${topicFilter}`, { level }).takePublishes())).toEqual(["1", "2"]);
    }
    expect(resume(world, "away elsewhere", { level }).packets).toEqual([]);
  });

  test(`[MQTT-4.5.0-1] [MQTT311-4.5.0-1] the publisher's own subscriptions count too (level ${level})`, () => {
    const world = new World();
    const client = world.connect({ level });
    client.subscribe("a", { noLocal: false });
    expect(client.publish("a", "x", { qos: 1 })).toBe(0);
    expect(texts(client.takePublishes())).toEqual(["x"]);
  });

  test(`[MQTT-4.5.0-1] one session's refusal or absence does not keep a message from the others (level ${level})`, () => {
    const world = new World({ limits: { queueMessagesMax: 1 } });
    leaveSession(world, "full", "a", 1, { level });
    leaveSession(world, "gone", "a", 1, { level });
    const publisher = world.connect({ level });
    publisher.publish("a", "1", { qos: 1 });
    resume(world, "gone", { level, cleanStart: true }).drop();
    const present = world.connect({ level });
    present.subscribe("a");
    expect(publisher.publish("a", "2", { qos: 1 })).toBe(0);
    expect(texts(present.takePublishes())).toEqual(["2"]);
    expect(texts(resume(world, "full", { level }).takePublishes())).toEqual(["1"]);
    expect(resume(world, "gone", { level }).packets).toEqual([]);
  });

  test(`[MQTT-4.5.0-1] a message is kept from when it was accepted, not from when it is fetched (level ${level})`, () => {
    const world = new World();
    const publisher = world.connect({ level });
    publisher.publish("a", "before the subscription", { qos: 1 });
    const subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a");
    publisher.publish("a", "during", { qos: 1 });
    expect(texts(subscriber.takePublishes())).toEqual(["during"]);
    subscriber.unsubscribe("a");
    publisher.publish("a", "after it", { qos: 1 });
    expect(subscriber.packets).toEqual([]);
  });
}

test("(4.5) a client that does not acknowledge gets no more than its window, and loses nothing", () => {
  const world = new World();
  const silent = world.connect({ properties: { receiveMaximum: 2 } });
  silent.subscribe("a");
  const publisher = world.connect();
  for (let at = 1; at <= 5; at++) expect(publisher.publish("a", `${at}`, { qos: 2 })).toBe(0);
  expect(silent.packets).toHaveLength(2);
  world.advance(3_600_000);
  expect(silent.packets).toHaveLength(2);
  expect(texts(silent.takePublishes())).toEqual(["1", "2", "3", "4", "5"]);
});

test("[MQTT-4.5.0-1] every receiver gets the whole message, at each length of the Remaining Length", () => {
  const world = new World({ limits: { packetBytesMax: 3_000_000 } });
  const subscribers = [
    world.connect(),
    world.connect({ level: 4 }),
    world.connect(),
    world.connect({ properties: { topicAliasMaximum: 5 } }),
  ];
  for (const [at, client] of subscribers.entries()) client.subscribe(at % 2 === 0 ? "a/b" : "a/+", { qos: 2 });
  const publisher = world.connect();
  // Receivers at different Packet Identifiers, so that one's copy is not another's.
  publisher.publish("a/c", "", { qos: 1 });
  for (const client of subscribers) client.takePublishes();
  // A second length byte from 128 on, a third from 16,384, a fourth from 2,097,152.
  const edges = [0, 116, 16_372];
  const sizes = [...edges.flatMap((edge) => Array.from({ length: 14 }, (_, at) => edge + at)), 2_097_152];
  for (const [at, size] of sizes.entries()) {
    const payload = new Uint8Array(size).fill(at + 1);
    const qos = (at % 3) as 0 | 1 | 2;
    publisher.publish("a/b", payload, { qos });
    for (const client of subscribers) {
      const received = client.takePublishes();
      expect(received.map((publish) => [publish.qos, publish.payload.length])).toEqual([[qos, size]]);
      expect(received[0]?.payload.every((byte) => byte === at + 1)).toBe(true);
      expect([client.packets, client.closed]).toEqual([[], false]);
    }
  }
});
