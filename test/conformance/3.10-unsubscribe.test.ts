/** MQTT 5.0 section 3.10: UNSUBSCRIBE as a packet, and what it makes the broker do. */
import { describe, expect, test } from "bun:test";
import { expectDisconnect } from "../support/refusal.ts";
import { type TestClient, toHex, toText, World } from "../support/world.ts";

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

describe("3.10.1 fixed header", () => {
  const flags = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
  test.each(flags)("[MQTT-3.10.1-1] flags %i instead of 2 are malformed", (value) => {
    const world = new World();
    const client = world.connect({ clientId: "lasting", properties: { sessionExpiryInterval: 100 } });
    client.subscribe("a");
    client.sendBytes(Uint8Array.of(0xa0 | value, 6, 0, 1, 0, 0, 1, 0x61));
    expectDisconnect(client, 0x81);
    // The subscription is still there.
    expect(world.connect().publish("a", "", { qos: 1 })).toBe(0);
  });

  test("[MQTT-3.10.1-1] flags 0010 are taken", () => {
    const client = new World().connect();
    client.sendBytes("a2 06 00 01 00 00 01 61");
    expect(client.take("unsuback").reasonCodes).toEqual([0x11]);
  });
});

describe("3.10.3 payload", () => {
  test("[MQTT-3.10.3-1] a Topic Filter that is not UTF-8 is malformed", () => {
    for (const bad of ["ff", "c0 80", "ed a0 80", "f4 90 80 80", "e2 82"]) {
      const client = new World().connect();
      const length = bad.split(" ").length;
      client.sendBytes(`a2 0${length + 5} 00 01 00 00 0${length} ${bad}`);
      expectDisconnect(client, 0x81);
    }
  });

  test("[MQTT-3.10.3-2] an UNSUBSCRIBE without Topic Filter is a Protocol Error", () => {
    const client = new World().connect();
    client.sendBytes("a2 03 00 01 00");
    expectDisconnect(client, 0x82);
  });

  test("a payload that ends inside a Topic Filter is malformed", () => {
    for (const bytes of ["a2 06 00 01 00 00 02 61", "a2 04 00 01 00 00"]) {
      const client = new World().connect();
      client.sendBytes(bytes);
      expectDisconnect(client, 0x81);
    }
  });
});

describe("3.10.4 actions: which subscription goes", () => {
  test("[MQTT-3.10.4-1] filters are compared character by character, never matched", () => {
    const world = new World();
    const client = world.connect();
    const held = ["a/b", "a/+", "a/#", "#", "+/b", "/a/b", "a/b/", "A/b", "é", "$share/g/a/b", "$share/g/a/+"];
    client.subscribe(held, { qos: 0 });
    const unlike = [
      "a",
      "a/c",
      "+",
      "+/+",
      "+/#",
      "a//b",
      "a/B",
      "e\u0301",
      "$share/h/a/b",
      "$share/g/#",
      "$share/G/a/b",
    ];
    expect(client.unsubscribe(unlike).reasonCodes).toEqual(unlike.map(() => 0x11));
    expect(client.unsubscribe(held).reasonCodes).toEqual(held.map(() => 0));
    expect(client.unsubscribe(held).reasonCodes).toEqual(held.map(() => 0x11));
  });

  test("[MQTT-3.10.4-1] the one that matches goes, its neighbours stay", () => {
    const world = new World();
    const client = world.connect();
    const publisher = world.connect();
    const filters = ["a/b", "a/+", "a/#", "#"];
    for (const [index, filter] of filters.entries()) {
      client.subscribe(filter, {}, { subscriptionIdentifiers: [index + 1] });
    }
    for (const [gone, filter] of filters.entries()) {
      client.unsubscribe(filter);
      publisher.publish("a/b");
      const left = client.takePublishes().flatMap((publish) => publish.properties.subscriptionIdentifiers ?? []);
      expect(left.sort()).toEqual([1, 2, 3, 4].slice(gone + 1));
    }
  });

  test("[MQTT-3.10.4-1] a plain filter and the same filter in two groups are three subscriptions", () => {
    const world = new World();
    const client = world.connect();
    const publisher = world.connect();
    client.subscribe(["a", "$share/g/a", "$share/h/a"]);
    publisher.publish("a");
    expect(client.takePublishes().length).toBe(3);
    client.unsubscribe("a");
    publisher.publish("a");
    expect(client.takePublishes().length).toBe(2);
    client.unsubscribe("$share/h/a");
    publisher.publish("a");
    expect(client.takePublishes().length).toBe(1);
    client.unsubscribe("$share/g/a");
    expect(publisher.publish("a", "", { qos: 1 })).toBe(0x10);
  });

  test("[MQTT-3.10.4-1] only the sender's subscription goes", () => {
    const world = new World();
    const [one, two] = [world.connect(), world.connect()];
    one.subscribe("a");
    two.subscribe("a");
    one.unsubscribe("a");
    world.connect().publish("a", "x");
    expect(texts(one)).toEqual([]);
    expect(texts(two)).toEqual(["x"]);
  });
});

describe("3.10.4 actions: messages", () => {
  test("[MQTT-3.10.4-2] nothing new is delivered after UNSUBSCRIBE, nor queued for later", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe("a");
    client.unsubscribe("a");
    const publisher = world.connect();
    for (const qos of [0, 1, 2] as const) publisher.publish("a", "x", { qos });
    expect(client.packets).toEqual([]);
    client.drop();
    publisher.publish("a", "y", { qos: 1 });
    expect(texts(world.connect({ ...init, cleanStart: false }))).toEqual([]);
  });

  test("[MQTT-3.10.4-3] a QoS 1 delivery begun before is repeated until it is acknowledged", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe("a");
    world.connect().publish("a", "x", { qos: 1 });
    const sent = client.take("publish");
    client.unsubscribe("a");
    client.drop();
    const again = world.connect({ ...init, cleanStart: false });
    const repeated = again.take("publish");
    expect(repeated).toMatchObject({ qos: 1, dup: true, packetId: sent.packetId, topicName: "a" });
    again.send({ type: "puback", packetId: repeated.packetId!, reasonCode: 0, properties: {} });
    again.drop();
    expect(world.connect({ ...init, cleanStart: false }).packets).toEqual([]);
  });

  test("[MQTT-3.10.4-3] a QoS 2 delivery goes through PUBREC, PUBREL and PUBCOMP to its end", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe("a");
    world.connect().publish("a", "x", { qos: 2 });
    const packetId = client.take("publish").packetId!;
    client.unsubscribe("a");
    client.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
    expect(client.take("pubrel")).toMatchObject({ packetId, reasonCode: 0 });
    client.drop();
    const again = world.connect({ ...init, cleanStart: false });
    expect(again.take("pubrel")).toMatchObject({ packetId, reasonCode: 0 });
    again.send({ type: "pubcomp", packetId, reasonCode: 0, properties: {} });
    again.drop();
    expect(world.connect({ ...init, cleanStart: false }).packets).toEqual([]);
  });
});

describe("3.10.4 actions: the answer", () => {
  test.each([1, 0x0100, 0xffff])(
    "[MQTT-3.10.4-4] [MQTT-3.10.4-5] UNSUBACK repeats Packet Identifier %i",
    (packetId) => {
      const client = new World().connect();
      client.subscribe("a");
      for (const reasonCode of [0, 0x11]) {
        client.send({ type: "unsubscribe", packetId, topicFilters: ["a"], properties: {} });
        expect(client.take("unsuback")).toEqual({
          type: "unsuback",
          packetId,
          reasonCodes: [reasonCode],
          properties: {},
        });
      }
    },
  );

  test("[MQTT-3.10.4-6] several filters do what several UNSUBSCRIBEs do, with one UNSUBACK", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe(["a", "b", "c"]);
    client.send({ type: "unsubscribe", packetId: 9, topicFilters: ["a", "x", "c", "a"], properties: {} });
    expect(client.take("unsuback")).toMatchObject({ packetId: 9, reasonCodes: [0, 0x11, 0, 0x11] });
    expect(client.packets).toEqual([]);
    const publisher = world.connect();
    for (const topicName of ["a", "b", "c"]) publisher.publish(topicName, topicName);
    expect(texts(client)).toEqual(["b"]);
  });

  test("the whole packet, byte by byte", () => {
    const client = new World().connect();
    client.subscribe("a");
    const before = client.bytes.length;
    client.sendBytes("a2 09 ab cd 00 00 01 61 00 01 62");
    expect(toHex(client.bytes.slice(before))).toBe("b0 05 ab cd 00 00 11");
  });
});
