/**
 * MQTT 5.0 section 3.8: SUBSCRIBE as a packet, and what it makes the broker do.
 * The Subscription Options one by one are in 3.8-subscription-options.test.ts.
 */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import { expectDisconnect } from "../support/refusal.ts";
import { type TestClient, toHex, toText, World } from "../support/world.ts";

const QOS: readonly QoS[] = [0, 1, 2];

/** A client whose session outlives the connection, so that a refused SUBSCRIBE can be looked for afterwards. */
function lasting(world: World): TestClient {
  return world.connect({ clientId: "lasting", properties: { sessionExpiryInterval: 1000 } });
}

/** What a publisher is told shows whether any subscription to `topicName` exists. */
function expectNoSubscription(world: World, topicName: string): void {
  expect(world.connect().publish(topicName, "", { qos: 1 })).toBe(0x10);
}

describe("3.8.1 fixed header", () => {
  const flags = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
  test.each(flags)("[MQTT-3.8.1-1] flags %i instead of 2 are malformed", (value) => {
    const world = new World();
    const client = lasting(world);
    client.sendBytes(Uint8Array.of(0x80 | value, 7, 0, 1, 0, 0, 1, 0x61, 1));
    expectDisconnect(client, 0x81);
    expectNoSubscription(world, "a");
  });

  test("[MQTT-3.8.1-1] flags 0010 are taken", () => {
    const client = new World().connect();
    client.sendBytes("82 07 00 01 00 00 01 61 01");
    expect(client.take("suback").reasonCodes).toEqual([1]);
    expect(client.closed).toBe(false);
  });
});

describe("3.8.3 payload", () => {
  test("[MQTT-3.8.3-1] a Topic Filter that is not UTF-8 is malformed", () => {
    for (const bad of ["ff", "c0 80", "ed a0 80", "f4 90 80 80", "e2 82"]) {
      const client = new World().connect();
      const length = bad.split(" ").length;
      client.sendBytes(`82 0${length + 6} 00 01 00 00 0${length} ${bad} 00`);
      expectDisconnect(client, 0x81);
    }
  });

  test("[MQTT-3.8.3-2] a SUBSCRIBE without Topic Filter is a Protocol Error", () => {
    const client = new World().connect();
    client.sendBytes("82 03 00 01 00");
    expectDisconnect(client, 0x82);
  });

  test("[MQTT-3.8.3-4] No Local on a Shared Subscription is a Protocol Error and subscribes nothing", () => {
    const world = new World();
    const client = lasting(world);
    const plain = { topicFilter: "a", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    const shared = { ...plain, topicFilter: "$share/g/b", noLocal: true };
    client.send({ type: "subscribe", packetId: 1, filters: [shared], properties: {} });
    expectDisconnect(client, 0x82);
    expectNoSubscription(world, "b");
  });

  test.each([0x40, 0x80, 0xc0, 0x41, 0x82])("[MQTT-3.8.3-5] Subscription Options code %i are malformed", (options) => {
    const world = new World();
    const client = lasting(world);
    client.sendBytes(Uint8Array.of(0x82, 7, 0, 1, 0, 0, 1, 0x61, options));
    expectDisconnect(client, 0x81);
    expectNoSubscription(world, "a");
  });

  test("[MQTT-3.8.3-5] a bad second filter undoes the first one as well", () => {
    const world = new World();
    const client = lasting(world);
    client.sendBytes("82 0b 00 01 00 00 01 61 01 00 01 62 80");
    expectDisconnect(client, 0x81);
    expectNoSubscription(world, "a");
  });

  test("Maximum QoS 3 is a Protocol Error", () => {
    const client = new World().connect();
    client.sendBytes("82 07 00 01 00 00 01 61 03");
    expectDisconnect(client, 0x82);
  });

  test("Retain Handling 3 is a Protocol Error", () => {
    const client = new World().connect();
    client.sendBytes("82 07 00 01 00 00 01 61 30");
    expectDisconnect(client, 0x82);
  });

  test("a payload that ends inside a Topic Filter or before its options is malformed", () => {
    for (const bytes of ["82 06 00 01 00 00 01 61", "82 07 00 01 00 00 05 61 00", "82 05 00 01 00 00 01"]) {
      const client = new World().connect();
      client.sendBytes(bytes);
      expectDisconnect(client, 0x81);
    }
  });

  test("a Subscription Identifier of 0, or twice, is a Protocol Error", () => {
    for (const bytes of ["82 09 00 01 02 0b 00 00 01 61 00", "82 0b 00 01 04 0b 01 0b 02 00 01 61 00"]) {
      const client = new World().connect();
      client.sendBytes(bytes);
      expectDisconnect(client, 0x82);
    }
  });
});

describe("3.8.4 actions: the answer", () => {
  test.each([1, 2, 0x1234, 0xff00, 0xffff])(
    "[MQTT-3.8.4-1] [MQTT-3.8.4-2] SUBACK repeats Packet Identifier %i",
    (packetId) => {
      const client = new World().connect();
      const filter = { topicFilter: "a", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
      const before = client.bytes.length;
      client.send({ type: "subscribe", packetId, filters: [filter], properties: {} });
      const high = (packetId >> 8).toString(16).padStart(2, "0");
      const low = (packetId & 0xff).toString(16).padStart(2, "0");
      expect(toHex(client.bytes.slice(before))).toBe(`90 04 ${high} ${low} 00 01`);
    },
  );

  test("[MQTT-3.8.4-1] every SUBSCRIBE of a burst is answered, in order", () => {
    const client = new World().connect();
    client.sendBytes("82 07 00 05 00 00 01 61 00  82 07 00 03 00 00 01 62 01  82 07 00 09 00 00 01 61 02");
    expect([client.take("suback"), client.take("suback"), client.take("suback")]).toMatchObject([
      { packetId: 5, reasonCodes: [0] },
      { packetId: 3, reasonCodes: [1] },
      { packetId: 9, reasonCodes: [2] },
    ]);
    expect(client.packets).toEqual([]);
  });

  test("[MQTT-3.8.4-6] [MQTT-3.8.4-7] one reason code per filter, each the QoS granted", () => {
    const client = new World().connect();
    client.sendBytes("82 0f 00 01 00 00 01 61 02 00 01 62 00 00 01 63 01");
    expect(client.take("suback").reasonCodes).toEqual([2, 0, 1]);
  });

  test("[MQTT-3.8.4-7] a filter that may not be subscribed gets a failure, its neighbours their QoS", () => {
    const world = new World({
      auth: {
        ask: () => ({
          do: "accept",
          principal: {
            id: "p",
            permissions: {
              allow: [
                { on: "both", filter: "open/#" },
                { on: "sub", filter: "low", maxQos: 1 },
              ],
            },
          },
        }),
        abandon: () => {},
      },
    });
    const client = world.connect();
    const { reasonCodes } = client.subscribe(["open/a", "closed/a", "low"], { qos: 2 });
    expect(reasonCodes).toEqual([2, 0x87, 1]);
    expect(client.closed).toBe(false);
  });
});

describe("3.8.4 actions: several filters", () => {
  const filters = ["a", "+", "#", "a/#", "b"];

  test("[MQTT-3.8.4-5] [MQTT-3.8.4-6] several filters do what several SUBSCRIBEs do, with one SUBACK", () => {
    const outcome = (subscribe: (client: TestClient) => void) => {
      const world = new World();
      const publisher = world.connect();
      publisher.publish("a", "kept a", { qos: 1, retain: true });
      publisher.publish("b", "kept b", { qos: 1, retain: true });
      const client = world.connect();
      subscribe(client);
      const kept = client.takePublishes().map((publish) => `${publish.topicName} ${toText(publish.payload)}`);
      publisher.publish("a", "new", { qos: 2 });
      const fresh = client.takePublishes().map((publish) => `${publish.topicName} ${publish.qos}`);
      return { kept: kept.sort(), fresh, rest: client.packets };
    };
    const together = outcome((client) => {
      expect(client.subscribe(filters, { qos: 1 }).reasonCodes).toEqual([1, 1, 1, 1, 1]);
    });
    const apart = outcome((client) => {
      for (const filter of filters) client.subscribe(filter, { qos: 1 });
    });
    expect(together).toEqual(apart);
    expect(together.fresh).toEqual(["a 1"]);
    expect(together.rest).toEqual([]);
    // "a", "+", "#", "a/#" match a; "+", "#", "b" match b.
    expect(together.kept.length).toBe(7);
  });

  test("[MQTT-3.8.4-5] [MQTT-3.8.4-3] the same filter twice in one SUBSCRIBE: the later options count", () => {
    const world = new World();
    const client = world.connect();
    client.sendBytes("82 0b 00 01 00 00 01 61 02 00 01 61 00");
    expect(client.take("suback").reasonCodes).toEqual([2, 0]);
    world.connect().publish("a", "x", { qos: 2 });
    expect(client.takePublishes().map((publish) => publish.qos)).toEqual([0]);
  });
});

describe("3.8.4 actions: the same filter again", () => {
  test("[MQTT-3.8.4-3] replaces the subscription: one copy, the new QoS, the new identifier", () => {
    const world = new World();
    const client = world.connect();
    const publisher = world.connect();
    const seen = () =>
      client.takePublishes().map(({ qos, properties }) => [qos, properties.subscriptionIdentifiers ?? []]);
    client.subscribe("a/+", { qos: 0 }, { subscriptionIdentifiers: [1] });
    client.subscribe("a/+", { qos: 2 }, { subscriptionIdentifiers: [2] });
    publisher.publish("a/b", "", { qos: 2 });
    expect(seen()).toEqual([[2, [2]]]);
    client.subscribe("a/+", { qos: 1 });
    publisher.publish("a/b", "", { qos: 2 });
    expect(seen()).toEqual([[1, []]]);
    client.unsubscribe("a/+");
    expect(publisher.publish("a/b", "", { qos: 2 })).toBe(0x10);
  });

  test("[MQTT-3.8.4-3] a filter that matches the same topics but differs is another subscription", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("a/+", {}, { subscriptionIdentifiers: [1] });
    client.subscribe("a/#", {}, { subscriptionIdentifiers: [2] });
    world.connect().publish("a/b");
    const [publish] = client.takePublishes();
    expect(publish?.properties.subscriptionIdentifiers?.sort()).toEqual([1, 2]);
  });

  test("[MQTT-3.8.4-4] with Retain Handling 0 the retained messages come again", () => {
    const world = new World();
    world.connect().publish("a/b", "kept", { retain: true });
    const client = world.connect();
    for (let round = 0; round < 3; round++) {
      client.subscribe("a/+", { retainHandling: 0 });
      expect(client.takePublishes().map(({ payload, retain }) => [toText(payload), retain])).toEqual([["kept", true]]);
    }
  });

  test("[MQTT-3.8.4-4] replacing loses no message that waits or is in flight", () => {
    const world = new World();
    const client = world.connect({ properties: { receiveMaximum: 1 } });
    const publisher = world.connect();
    client.subscribe("a", { qos: 1 });
    for (const payload of ["1", "2", "3"]) publisher.publish("a", payload, { qos: 1 });
    client.subscribe("a", { qos: 1, retainHandling: 2 });
    publisher.publish("a", "4", { qos: 1 });
    expect(client.takePublishes().map((publish) => toText(publish.payload))).toEqual(["1", "2", "3", "4"]);
  });
});

describe("3.8.4 actions: QoS", () => {
  test("[MQTT-3.8.4-8] a message is delivered at the lower of its QoS and the granted one", () => {
    const world = new World();
    const publisher = world.connect();
    for (const granted of QOS) {
      const client = world.connect();
      expect(client.subscribe("a", { qos: granted }).reasonCodes).toEqual([granted]);
      for (const published of QOS) {
        publisher.publish("a", `${published}`, { qos: published });
        const seen = client.takePublishes().map(({ qos, payload }) => `${toText(payload)} at ${qos}`);
        expect(seen).toEqual([`${published} at ${Math.min(granted, published)}`]);
      }
      client.disconnect();
    }
  });

  test("[MQTT-3.8.4-8] so is a retained one", () => {
    const world = new World();
    const publisher = world.connect();
    for (const published of QOS) {
      publisher.publish("a", `${published}`, { qos: published, retain: true });
      for (const granted of QOS) {
        const client = world.connect();
        client.subscribe("a", { qos: granted });
        expect(client.takePublishes().map(({ qos }) => qos)).toEqual([Math.min(granted, published) as QoS]);
      }
    }
  });

  test("[MQTT-3.8.4-8] and one that waited for an absent client", () => {
    const world = new World();
    for (const granted of [1, 2] as const) {
      const init = { clientId: `away${granted}`, properties: { sessionExpiryInterval: 100 } };
      const client = world.connect(init);
      client.subscribe("a", { qos: granted });
      client.drop();
      const publisher = world.connect();
      publisher.publish("a", "1", { qos: 1 });
      publisher.publish("a", "2", { qos: 2 });
      const again = world.connect({ ...init, cleanStart: false });
      expect(again.takePublishes().map(({ qos }) => qos)).toEqual([1, granted] as QoS[]);
    }
  });
});
