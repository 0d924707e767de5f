/** PUBLISH actions: the answer, overlapping subscriptions, Subscription Identifiers (MQTT 5.0 section 3.3.4). */
import { expect, test } from "bun:test";
import { expectDisconnect, LEVELS, leaveSession, resume, texts } from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

/** The identifiers of each copy received, ascending within a copy; copies in the order of their lists. */
function identifiers(client: TestClient): number[][] {
  const lists = client.takePublishes().map((publish) => publish.properties.subscriptionIdentifiers ?? []);
  return lists.map((list) => [...list].sort((a, b) => a - b)).sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0));
}

function subscribeAs(client: TestClient, topicFilter: string, identifier: number, qos: 0 | 1 | 2 = 2): void {
  client.subscribe(topicFilter, { qos }, { subscriptionIdentifiers: [identifier] });
}

for (const level of LEVELS) {
  test(`[MQTT-3.3.4-1] [MQTT311-3.3.4-1] QoS 0 has no answer, QoS 1 PUBACK, QoS 2 PUBREC (level ${level})`, () => {
    const world = new World();
    world.connect().subscribe("a");
    const publisher = world.connect({ level });
    publisher.sendPublish("a", "x", { qos: 0 });
    expect(publisher.packets).toEqual([]);
    publisher.sendPublish("a", "x", { qos: 1, packetId: 0x1234 });
    expect(publisher.take("puback")).toMatchObject({ packetId: 0x1234, reasonCode: 0 });
    publisher.sendPublish("a", "x", { qos: 2, packetId: 0xffff });
    expect(publisher.take("pubrec")).toMatchObject({ packetId: 0xffff, reasonCode: 0 });
    expect(publisher.packets).toEqual([]);
  });

  test(`[MQTT-3.3.4-2] [MQTT311-3.3.5-1] overlapping subscriptions: one copy at the highest QoS (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe("a/#", { qos: 0 });
    subscriber.subscribe("a/b", { qos: 2 });
    subscriber.subscribe("+/b", { qos: 1 });
    const publisher = world.connect();
    for (const qos of [0, 1, 2] as const) publisher.publish("a/b", `${qos}`, { qos });
    const received = subscriber.takePublishes();
    expect(texts(received)).toEqual(["0", "1", "2"]);
    expect(received.map((publish) => publish.qos)).toEqual([0, 1, 2]);
    subscriber.unsubscribe("a/b");
    publisher.publish("a/b", "3", { qos: 2 });
    expect(subscriber.takePublishes().map((publish) => publish.qos)).toEqual([1]);
  });

  test(`[MQTT-3.3.4-2] [MQTT311-3.3.5-1] the highest QoS counts for a session that is away too (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "away", { level });
    first.subscribe("a/b", { qos: 2 });
    first.subscribe("a/+", { qos: 0 });
    first.drop();
    world.connect().publish("a/b", "x", { qos: 2 });
    expect(
      resume(world, "away", { level })
        .takePublishes()
        .map((publish) => publish.qos),
    ).toEqual([2]);
  });

  test(`[MQTT311-3.3.5-2] an unauthorised PUBLISH is acknowledged and goes nowhere (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect();
    subscriber.subscribe("$SYS/#");
    const publisher = world.connect({ level });
    const refused = level === 5 ? 0x87 : 0;
    expect(publisher.publish("$SYS/broker/version", "mine", { qos: 1, retain: true })).toBe(refused);
    expect(publisher.publish("$SYS/broker/version", "mine", { qos: 2 })).toBe(refused);
    publisher.publish("$SYS/broker/version", "mine");
    expect([subscriber.packets, publisher.packets, publisher.closed]).toEqual([[], [], false]);
  });
}

test("(3.4.2.1) without a subscriber PUBACK and PUBREC say 0x10 in MQTT 5.0 and nothing before", () => {
  const world = new World();
  const publisher = world.connect();
  expect(publisher.publish("a", "x", { qos: 1 })).toBe(0x10);
  expect(publisher.publish("a", "x", { qos: 2 })).toBe(0x10);
  const old = world.connect({ level: 4 });
  expect(old.publish("a", "x", { qos: 1 })).toBe(0);
  expect(old.publish("a", "x", { qos: 2 })).toBe(0);
  leaveSession(world, "away", "a", 1);
  expect(publisher.publish("a", "x", { qos: 1 })).toBe(0);
});

test("[MQTT-3.3.4-3] the matching subscription's identifier comes with the message", () => {
  const world = new World();
  const subscriber = world.connect();
  subscribeAs(subscriber, "a", 1);
  subscribeAs(subscriber, "b", 268_435_455);
  subscriber.subscribe("c");
  const publisher = world.connect();
  for (const topicName of ["a", "b", "c"]) publisher.publish(topicName, "", { qos: 1 });
  const received = subscriber.takePublishes();
  expect(received.map((publish) => publish.properties.subscriptionIdentifiers)).toEqual([
    [1],
    [268_435_455],
    undefined,
  ]);
});

test("[MQTT-3.3.4-3] identifiers come with retained messages and with what waited for the session", () => {
  const world = new World();
  const publisher = world.connect();
  publisher.publish("a", "kept", { qos: 1, retain: true });
  const first = resume(world, "subscriber");
  subscribeAs(first, "a", 5);
  expect(identifiers(first)).toEqual([[5]]);
  first.drop();
  publisher.publish("a", "queued", { qos: 1 });
  expect(identifiers(resume(world, "subscriber"))).toEqual([[5]]);
});

test("[MQTT-3.3.4-3] a new SUBSCRIBE to the same filter replaces the identifier, or takes it away", () => {
  const world = new World();
  const subscriber = world.connect();
  const publisher = world.connect();
  subscribeAs(subscriber, "a", 5);
  subscribeAs(subscriber, "a", 6);
  publisher.publish("a", "x", { qos: 1 });
  expect(identifiers(subscriber)).toEqual([[6]]);
  subscriber.subscribe("a");
  publisher.publish("a", "x", { qos: 1 });
  expect(identifiers(subscriber)).toEqual([[]]);
});

test("[MQTT-3.3.4-3] identifiers are each receiver's own", () => {
  const world = new World();
  const one = world.connect();
  const two = world.connect();
  subscribeAs(one, "a", 1);
  subscribeAs(two, "a", 2);
  world.connect().publish("a", "x", { qos: 1 });
  expect([identifiers(one), identifiers(two)]).toEqual([[[1]], [[2]]]);
});

test("[MQTT-3.3.4-4] one copy lists the identifiers of all matching subscriptions, and of no other", () => {
  const world = new World();
  const subscriber = world.connect();
  subscribeAs(subscriber, "a/b", 1, 0);
  subscribeAs(subscriber, "a/+", 200, 1);
  subscribeAs(subscriber, "#", 30_000, 2);
  subscribeAs(subscriber, "c/#", 4);
  subscriber.subscribe("+/b");
  const publisher = world.connect();
  for (const qos of [0, 1, 2] as const) {
    publisher.publish("a/b", "x", { qos });
    expect(identifiers(subscriber)).toEqual([[1, 200, 30_000]]);
  }
  subscriber.unsubscribe("a/+");
  publisher.publish("a/b", "x", { qos: 1 });
  expect(identifiers(subscriber)).toEqual([[1, 30_000]]);
});

test("[MQTT-3.3.4-4] an identifier used for two matching subscriptions is listed twice", () => {
  const world = new World();
  const subscriber = world.connect();
  subscribeAs(subscriber, "a/b", 7);
  subscribeAs(subscriber, "a/+", 7);
  world.connect().publish("a/b", "x", { qos: 1 });
  expect(identifiers(subscriber)).toEqual([[7, 7]]);
});

test("[MQTT-3.3.4-5] separate copies (an ordinary and a shared subscription) each carry their own identifier", () => {
  const world = new World();
  const subscriber = world.connect();
  subscribeAs(subscriber, "a/b", 1);
  subscribeAs(subscriber, "$share/group/a/b", 2);
  world.connect().publish("a/b", "x", { qos: 1 });
  expect(identifiers(subscriber)).toEqual([[1], [2]]);
});

test("[MQTT-3.3.4-6] a Subscription Identifier from a client is a Protocol Error", () => {
  for (const qos of [0, 1, 2] as const) {
    const world = new World();
    const subscriber = world.connect();
    subscriber.subscribe("a");
    const publisher = world.connect();
    publisher.sendPublish("a", "x", { qos, properties: { subscriptionIdentifiers: [1] } });
    expectDisconnect(publisher, 0x82);
    expect(subscriber.packets).toEqual([]);
  }
});
