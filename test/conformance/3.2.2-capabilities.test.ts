/**
 * What the broker can be told not to offer (MQTT 5.0 section 3.2.2.3): each switch is announced in CONNACK and enforced on
 * CONNECT, PUBLISH and SUBSCRIBE, and its default leaves no trace in CONNACK.
 */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import { expectConnackRefusal, expectDisconnect, expectSilentClose } from "../support/refusal.ts";
import { type TestClient, toText, World } from "../support/world.ts";

/** Sends a SUBSCRIBE and leaves the answer, whatever it is. */
function ask(client: TestClient, topicFilter: string, qos: QoS = 0, identifier = 0): void {
  client.send({
    type: "subscribe",
    packetId: 1,
    filters: [{ topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
    properties: identifier === 0 ? {} : { subscriptionIdentifiers: [identifier] },
  });
}

const LASTING = { clientId: "lasting", properties: { sessionExpiryInterval: 100 } };

test("[MQTT-3.2.2-9] everything on: CONNACK says nothing about it", () => {
  const { connack } = new World().connect();
  const properties = connack?.properties ?? {};
  for (const name of [
    "maximumQos",
    "retainAvailable",
    "wildcardSubscriptionAvailable",
    "subscriptionIdentifiersAvailable",
    "sharedSubscriptionAvailable",
  ] as const) {
    expect([name, properties[name]]).toEqual([name, undefined]);
  }
});

describe("wildcard subscriptions off", () => {
  const options = { capabilities: { wildcardSubscriptionAvailable: false } };

  test.each(["#", "+", "a/#", "a/+/b", "$share/g/#"])(
    "CONNACK says so, and %s is answered with DISCONNECT 0xA2",
    (filter) => {
      const world = new World(options);
      const client = world.connect(LASTING);
      expect(client.connack?.properties.wildcardSubscriptionAvailable).toBe(0);
      ask(client, filter);
      expectDisconnect(client, 0xa2);
      expect(world.connect().publish("a/x/b", "", { qos: 1 })).toBe(0x10);
    },
  );

  test("plain filters work", () => {
    const world = new World(options);
    const client = world.connect();
    expect(client.subscribe(["a/b", "$share/g/a"]).reasonCodes).toEqual([2, 2]);
    world.connect().publish("a/b", "x");
    expect(client.takePublishes().map((publish) => toText(publish.payload))).toEqual(["x"]);
  });

  test("[MQTT311-3.8.3-2] a 3.1.1 client's filter with a wildcard is rejected", () => {
    const world = new World(options);
    const client = world.connect({ level: 4 });
    ask(client, "a/#", 1);
    if (client.closed) expect(client.packets).toEqual([]);
    else expect(client.take("suback").reasonCodes).toEqual([0x80]);
    expect(world.connect().publish("a/b", "", { qos: 1 })).toBe(0x10);
  });
});

describe("shared subscriptions off", () => {
  const options = { capabilities: { sharedSubscriptionAvailable: false } };

  test("CONNACK says so, and a shared filter is answered with DISCONNECT 0x9E", () => {
    const world = new World(options);
    const client = world.connect(LASTING);
    expect(client.connack?.properties.sharedSubscriptionAvailable).toBe(0);
    ask(client, "$share/g/a");
    expectDisconnect(client, 0x9e);
    expect(world.connect().publish("a", "", { qos: 1 })).toBe(0x10);
  });

  test("plain filters work", () => {
    expect(new World(options).connect().subscribe(["a", "#"]).reasonCodes).toEqual([2, 2]);
  });
});

describe("Subscription Identifiers off", () => {
  const options = { capabilities: { subscriptionIdentifiersAvailable: false } };

  test("CONNACK says so, and a SUBSCRIBE with one is answered with DISCONNECT 0xA1", () => {
    const world = new World(options);
    const client = world.connect(LASTING);
    expect(client.connack?.properties.subscriptionIdentifiersAvailable).toBe(0);
    ask(client, "a", 0, 7);
    expectDisconnect(client, 0xa1);
    expect(world.connect().publish("a", "", { qos: 1 })).toBe(0x10);
  });

  test("a SUBSCRIBE without works", () => {
    const client = new World(options).connect();
    expect(client.subscribe("a").reasonCodes).toEqual([2]);
  });
});

describe("retained messages off", () => {
  const options = { capabilities: { retainAvailable: false } };

  test("[MQTT-3.2.2-14] CONNACK says so, and a PUBLISH with RETAIN is answered with DISCONNECT 0x9A", () => {
    for (const qos of [0, 1, 2] as const) {
      const world = new World(options);
      const watcher = world.connect();
      watcher.subscribe("a");
      const client = world.connect();
      expect(client.connack?.properties.retainAvailable).toBe(0);
      client.sendPublish("a", "x", { qos, retain: true });
      expectDisconnect(client, 0x9a);
      expect(watcher.packets).toEqual([]);
      const late = world.connect();
      late.subscribe("a");
      expect(late.packets).toEqual([]);
    }
  });

  test("[MQTT-3.2.2-13] a Will with Will Retain is refused with CONNACK 0x9A", () => {
    const world = new World(options);
    expectConnackRefusal(world.dial({ will: { topicName: "a", retain: true } }), 0x9a);
    world.connect({ will: { topicName: "a", retain: false } });
  });

  test("a PUBLISH without RETAIN works", () => {
    expect(new World(options).connect().publish("a", "x", { qos: 1 })).toBe(0x10);
  });
});

describe.each<[QoS]>([[0], [1]])("Maximum QoS %i", (maximumQos) => {
  const options = { capabilities: { maximumQos } };
  const above = ([1, 2] as const).filter((qos) => qos > maximumQos);

  test("[MQTT-3.2.2-9] CONNACK says so", () => {
    expect(new World(options).connect().connack?.properties.maximumQos).toBe(maximumQos);
  });

  test("[MQTT-3.2.2-10] a SUBSCRIBE may ask for any QoS and is granted what there is", () => {
    const client = new World(options).connect();
    for (const qos of [0, 1, 2] as const) {
      expect(client.subscribe("a", { qos }).reasonCodes).toEqual([Math.min(qos, maximumQos)]);
    }
  });

  test("[MQTT-3.2.2-11] a PUBLISH above it is answered with DISCONNECT 0x9B and reaches nobody", () => {
    for (const qos of above) {
      const world = new World(options);
      const watcher = world.connect();
      watcher.subscribe("a");
      const client = world.connect();
      client.sendPublish("a", "x", { qos });
      expectDisconnect(client, 0x9b);
      expect(watcher.packets).toEqual([]);
    }
  });

  test("[MQTT-3.2.2-12] a Will above it is refused with CONNACK 0x9B", () => {
    const world = new World(options);
    for (const qos of above) expectConnackRefusal(world.dial({ will: { topicName: "a", qos } }), 0x9b);
    world.connect({ will: { topicName: "a", qos: maximumQos } });
  });

  test("what is within it works", () => {
    const world = new World(options);
    const watcher = world.connect();
    watcher.subscribe("a");
    world.connect().publish("a", "x", { qos: maximumQos });
    expect(watcher.takePublishes().map((publish) => publish.qos)).toEqual([maximumQos]);
  });

  test("[MQTT311-3.8.4-5] 3.1.1: granted at most that much, and a PUBLISH above it ends the connection", () => {
    const world = new World(options);
    const client = world.connect({ level: 4 });
    expect(client.subscribe("a", { qos: 2 }).reasonCodes).toEqual([maximumQos]);
    client.sendPublish("a", "x", { qos: 2 });
    expectSilentClose(client);
  });
});
