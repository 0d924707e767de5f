/**
 * MQTT 5.0 section 3.8.3.1: No Local, Retain As Published and Retain Handling, each through all its combinations,
 * and the Subscription Identifier (sections 3.8.2.1.2 and 3.3.4).
 */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { type TestClient, toText, World } from "../support/world.ts";

const QOS: readonly QoS[] = [0, 1, 2];

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

function identifiers(publish: Publish | undefined): number[] {
  return [...(publish?.properties.subscriptionIdentifiers ?? [])].sort((a, b) => a - b);
}

describe("No Local", () => {
  test("[MQTT-3.8.3-3] own messages come back with No Local 0 and not with 1, at every QoS", () => {
    const world = new World();
    for (const noLocal of [false, true]) {
      for (const qos of QOS) {
        const client = world.connect();
        const other = world.connect();
        client.subscribe("a", { qos, noLocal });
        client.publish("a", "own", { qos });
        other.publish("a", "other", { qos });
        expect(texts(client)).toEqual(noLocal ? ["other"] : ["own", "other"]);
        client.disconnect();
      }
    }
  });

  test("[MQTT-3.8.3-3] No Local holds for wildcard filters and for own retained messages", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("#", { noLocal: true });
    client.publish("a", "own", { retain: true });
    expect(texts(client)).toEqual([]);
    // Retained now; still the client's own message when it subscribes again.
    client.subscribe("#", { noLocal: true, retainHandling: 0 });
    expect(texts(client)).toEqual([]);
    const other = world.connect();
    other.subscribe("#", { noLocal: true });
    expect(texts(other)).toEqual(["own"]);
  });

  test("[MQTT-3.8.3-3] a message that only a No Local subscription of its sender matches has no subscriber", () => {
    const client = new World().connect();
    client.subscribe("a", { noLocal: true });
    expect(client.publish("a", "", { qos: 1 })).toBe(0x10);
    expect(client.publish("a", "", { qos: 2 })).toBe(0x10);
  });

  test("[MQTT-3.8.3-3] another, overlapping subscription without No Local still brings the message, with its own options", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("a/#", { noLocal: true, qos: 2 }, { subscriptionIdentifiers: [1] });
    client.subscribe("a/+", { noLocal: false, qos: 1 }, { subscriptionIdentifiers: [2] });
    client.publish("a/b", "own", { qos: 2 });
    const own = client.takePublishes();
    expect(own.map((publish) => [publish.qos, identifiers(publish)])).toEqual([[1, [2]]]);
    world.connect().publish("a/b", "other", { qos: 2 });
    const others = client.takePublishes();
    expect(others.map((publish) => [publish.qos, identifiers(publish)])).toEqual([[2, [1, 2]]]);
  });

  test("[MQTT-3.8.3-3] No Local goes by client id: it outlives the connection", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const first = world.connect(init);
    first.subscribe("a", { noLocal: true });
    first.drop();
    const again = world.connect({ ...init, cleanStart: false });
    again.publish("a", "own", { qos: 1 });
    expect(texts(again)).toEqual([]);
    again.drop();
    world.connect({ clientId: "you" }).publish("a", "other", { qos: 1 });
    expect(texts(world.connect({ ...init, cleanStart: false }))).toEqual(["other"]);
  });

  test("[MQTT-3.8.3-3] a Will is its client's own message too", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const watcher = world.connect();
    watcher.subscribe("will");
    const client = world.connect({ ...init, will: { topicName: "will", payload: "gone", qos: 1 } });
    client.subscribe("will", { noLocal: true });
    client.drop();
    expect(texts(watcher)).toEqual(["gone"]);
    expect(texts(world.connect({ ...init, cleanStart: false }))).toEqual([]);
  });

  test("[MQTT-3.8.4-3] subscribing again turns No Local on and off", () => {
    const client = new World().connect();
    for (const noLocal of [true, false, true]) {
      client.subscribe("a", { noLocal });
      client.publish("a", "own");
      expect(texts(client)).toEqual(noLocal ? [] : ["own"]);
    }
  });
});

describe("Retain As Published", () => {
  for (const retainAsPublished of [false, true]) {
    test(`[MQTT-3.3.1-12] [MQTT-3.3.1-13] Retain As Published ${retainAsPublished}: the RETAIN flag of a live message`, () => {
      const world = new World();
      const client = world.connect();
      client.subscribe("a", { retainAsPublished });
      const publisher = world.connect();
      for (const qos of QOS) {
        for (const retain of [false, true]) {
          publisher.publish("a", "x", { qos, retain });
          const flags = client.takePublishes().map((publish) => publish.retain);
          expect(flags).toEqual([retain && retainAsPublished]);
        }
      }
    });

    test(`Retain As Published ${retainAsPublished}: RETAIN 1 on what a new subscription brings`, () => {
      const world = new World();
      world.connect().publish("a", "kept", { retain: true, qos: 1 });
      const client = world.connect();
      client.subscribe("a", { retainAsPublished });
      expect(client.takePublishes().map((publish) => publish.retain)).toEqual([true]);
    });

    test(`Retain As Published ${retainAsPublished} holds for messages that waited`, () => {
      const world = new World();
      const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
      const client = world.connect(init);
      client.subscribe("a", { retainAsPublished });
      client.drop();
      const publisher = world.connect();
      publisher.publish("a", "1", { qos: 1, retain: true });
      publisher.publish("a", "2", { qos: 1, retain: false });
      const again = world.connect({ ...init, cleanStart: false });
      expect(again.takePublishes().map((publish) => publish.retain)).toEqual([retainAsPublished, false]);
    });
  }

  test("two clients, one message: each sees the flag its own subscription asks for", () => {
    const world = new World();
    const [asPublished, cleared] = [world.connect(), world.connect()];
    asPublished.subscribe("a", { retainAsPublished: true });
    cleared.subscribe("a", { retainAsPublished: false });
    world.connect().publish("a", "x", { retain: true });
    expect(asPublished.takePublishes().map((publish) => publish.retain)).toEqual([true]);
    expect(cleared.takePublishes().map((publish) => publish.retain)).toEqual([false]);
  });

  test("an empty retained message, which deletes, is passed on under the same rule", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("a", { retainAsPublished: true });
    world.connect().publish("a", "", { retain: true });
    expect(client.takePublishes().map(({ retain, payload }) => [retain, payload.length])).toEqual([[true, 0]]);
  });
});

describe("Retain Handling", () => {
  /** What a client gets when it subscribes, and when it subscribes again. */
  function handled(retainHandling: 0 | 1 | 2): { first: string[]; again: string[]; afterUnsubscribe: string[] } {
    const world = new World();
    world.connect().publish("a/b", "kept", { retain: true });
    const client = world.connect();
    client.subscribe("a/+", { retainHandling });
    const first = texts(client);
    client.subscribe("a/+", { retainHandling });
    const again = texts(client);
    client.unsubscribe("a/+");
    client.subscribe("a/+", { retainHandling });
    return { first, again, afterUnsubscribe: texts(client) };
  }

  test("[MQTT-3.3.1-9] 0 sends retained messages with every SUBSCRIBE", () => {
    expect(handled(0)).toEqual({ first: ["kept"], again: ["kept"], afterUnsubscribe: ["kept"] });
  });

  test("[MQTT-3.3.1-10] 1 sends them when the subscription is new", () => {
    expect(handled(1)).toEqual({ first: ["kept"], again: [], afterUnsubscribe: ["kept"] });
  });

  test("[MQTT-3.3.1-11] 2 never sends them", () => {
    expect(handled(2)).toEqual({ first: [], again: [], afterUnsubscribe: [] });
  });

  test("[MQTT-3.3.1-10] with 1, a subscription of a resumed session exists already", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe("a", { retainHandling: 1 });
    client.drop();
    world.connect().publish("a", "kept", { retain: true });
    const resumed = world.connect({ ...init, cleanStart: false });
    resumed.subscribe("a", { retainHandling: 1 });
    expect(texts(resumed)).toEqual([]);
    resumed.disconnect();
    const fresh = world.connect({ ...init, cleanStart: true });
    fresh.subscribe("a", { retainHandling: 1 });
    expect(texts(fresh)).toEqual(["kept"]);
  });

  test("each filter of one SUBSCRIBE has its own", () => {
    const world = new World();
    const publisher = world.connect();
    for (const topicName of ["a", "b", "c"]) publisher.publish(topicName, topicName, { retain: true });
    const client = world.connect();
    client.subscribe("b", { retainHandling: 2 });
    const base = { qos: 0, noLocal: false, retainAsPublished: false } as const;
    client.send({
      type: "subscribe",
      packetId: 77,
      filters: [
        { ...base, topicFilter: "a", retainHandling: 0 },
        { ...base, topicFilter: "b", retainHandling: 1 },
        { ...base, topicFilter: "c", retainHandling: 2 },
      ],
      properties: {},
    });
    // SUBACK comes before the retained messages.
    expect(client.take("suback").reasonCodes).toEqual([0, 0, 0]);
    expect(texts(client)).toEqual(["a"]);
  });

  test("more retained messages than the client's Receive Maximum come one after the other, all of them", () => {
    const world = new World();
    const publisher = world.connect();
    const names = Array.from({ length: 50 }, (_, index) => `a/${index}`);
    for (const topicName of names) publisher.publish(topicName, topicName, { qos: 1, retain: true });
    const client = world.connect({ properties: { receiveMaximum: 3 } });
    client.subscribe("a/+");
    expect(client.packets.length).toBe(3);
    expect(texts(client).sort()).toEqual(names.sort());
  });

  test("[MQTT-4.6.0-5] a retained message that still waits is not overtaken by a later one of its publisher and topic", () => {
    const world = new World();
    const publisher = world.connect();
    for (const topicName of ["a/1", "a/2"]) publisher.publish(topicName, "old", { qos: 1, retain: true });
    const client = world.connect({ properties: { receiveMaximum: 1 } });
    client.subscribe("a/+");
    for (const topicName of ["a/1", "a/2"]) publisher.publish(topicName, "new", { qos: 1 });
    const got = client.takePublishes().map(({ topicName, payload }) => `${topicName} ${toText(payload)}`);
    for (const topicName of ["a/1", "a/2"]) {
      const ofTopic = got.filter((text) => text.startsWith(topicName));
      expect(ofTopic).toEqual([`${topicName} old`, `${topicName} new`]);
    }
  });

  test("live messages come whatever Retain Handling says", () => {
    const world = new World();
    const client = world.connect();
    for (const retainHandling of [0, 1, 2] as const) {
      client.subscribe("a", { retainHandling });
      world.connect().publish("a", `${retainHandling}`, {});
      expect(texts(client)).toEqual([`${retainHandling}`]);
    }
  });
});

describe("Subscription Identifier", () => {
  test("[MQTT-3.3.4-3] [MQTT-3.3.4-4] the identifiers of all matching subscriptions travel with the one copy", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("a/b", { qos: 0 }, { subscriptionIdentifiers: [1] });
    client.subscribe("a/+", { qos: 2 }, { subscriptionIdentifiers: [128] });
    client.subscribe("a/#", { qos: 1 }, { subscriptionIdentifiers: [268_435_455] });
    client.subscribe("#", { qos: 0 });
    client.subscribe("other", { qos: 2 }, { subscriptionIdentifiers: [5] });
    world.connect().publish("a/b", "x", { qos: 2 });
    const publishes = client.takePublishes();
    expect(publishes.map((publish) => [publish.qos, identifiers(publish)])).toEqual([[2, [1, 128, 268_435_455]]]);
  });

  test("[MQTT-3.3.4-3] one identifier for several filters that match is one identifier or one per filter", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe(["a", "+"], {}, { subscriptionIdentifiers: [9] });
    world.connect().publish("a");
    const publishes = client.takePublishes();
    expect(publishes.length).toBe(1);
    expect(new Set(identifiers(publishes[0]))).toEqual(new Set([9]));
  });

  test("[MQTT-3.3.4-3] retained and queued messages carry it", () => {
    const world = new World();
    world.connect().publish("a", "kept", { retain: true, qos: 1 });
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe("a", {}, { subscriptionIdentifiers: [300] });
    expect(client.takePublishes().map(identifiers)).toEqual([[300]]);
    client.drop();
    world.connect().publish("a", "new", { qos: 1 });
    expect(
      world
        .connect({ ...init, cleanStart: false })
        .takePublishes()
        .map(identifiers),
    ).toEqual([[300]]);
  });

  test("a subscription without identifier brings none, and other clients' identifiers stay theirs", () => {
    const world = new World();
    const [one, two, none] = [world.connect(), world.connect(), world.connect()];
    one.subscribe("a", {}, { subscriptionIdentifiers: [1] });
    two.subscribe("a", {}, { subscriptionIdentifiers: [2] });
    none.subscribe("a");
    world.connect().publish("a");
    expect([one, two, none].map((client) => client.takePublishes().map(identifiers))).toEqual([[[1]], [[2]], [[]]]);
  });
});
