/** MQTT 3.1.1 section 3.3.1.3: the RETAIN flag and retained messages. */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

/** What a new subscriber finds, as "topic=payload at QoS". */
function found(world: World, filter = "#", qos: QoS = 2): string[] {
  const client = connect(world);
  client.subscribe(filter, { qos });
  const lines = client.takePublishes().map((publish) => {
    expect(publish).toMatchObject({ retain: true, dup: false });
    return `${publish.topicName}=${toText(publish.payload)} at ${publish.qos}`;
  });
  client.disconnect();
  return lines.sort();
}

describe("storing", () => {
  test.each<[QoS]>([[0], [1], [2]])("[MQTT311-3.3.1-5] a QoS %i message with RETAIN is kept with its QoS", (qos) => {
    const world = new World();
    connect(world).publish("a", "x", { qos, retain: true });
    for (const granted of [0, 1, 2] as const) {
      expect(found(world, "a", granted)).toEqual([`a=x at ${Math.min(qos, granted)}`]);
    }
  });

  test("[MQTT311-3.3.1-5] the last one of a topic replaces the one before", () => {
    const world = new World();
    const publisher = connect(world);
    for (const [payload, qos] of [
      ["1", 1],
      ["2", 2],
      ["3", 1],
    ] as const) {
      publisher.publish("a", payload, { qos, retain: true });
      expect(found(world)).toEqual([`a=${payload} at ${qos}`]);
    }
  });

  test("[MQTT311-3.3.1-7] a QoS 0 message discards the one before, and is itself kept", () => {
    const world = new World();
    const publisher = connect(world);
    publisher.publish("a", "old", { qos: 2, retain: true });
    publisher.publish("a", "new", { qos: 0, retain: true });
    expect(found(world)).toEqual(["a=new at 0"]);
  });

  test("[MQTT311-3.3.1-12] a message without RETAIN neither stores, replaces nor deletes", () => {
    const world = new World();
    const publisher = connect(world);
    publisher.publish("a", "kept", { qos: 1, retain: true });
    for (const payload of ["other", ""]) {
      publisher.publish("a", payload, { qos: 1 });
      publisher.publish("b", payload, { qos: 1 });
    }
    expect(found(world)).toEqual(["a=kept at 1"]);
  });

  test("each topic has its own", () => {
    const world = new World();
    const publisher = connect(world);
    const names = ["a", "a/", "/a", "a/b", "A"];
    for (const topicName of names) publisher.publish(topicName, "x", { retain: true });
    expect(found(world)).toEqual(names.map((topicName) => `${topicName}=x at 0`).sort());
    expect(found(world, "a/+")).toEqual(["a/=x at 0", "a/b=x at 0"]);
  });
});

describe("deleting", () => {
  test.each<[QoS]>([[0], [1], [2]])(
    "[MQTT311-3.3.1-10] an empty QoS %i message with RETAIN is delivered like any other and deletes",
    (qos) => {
      const world = new World();
      const watcher = connect(world);
      watcher.subscribe("a");
      const publisher = connect(world);
      publisher.publish("a", "x", { qos: 1, retain: true });
      watcher.takePublishes();
      publisher.publish("a", "", { qos, retain: true });
      const seen = watcher.takePublishes().map((publish) => [publish.payload.length, publish.retain, publish.qos]);
      expect(seen).toEqual([[0, false, qos]]);
      expect(found(world)).toEqual([]);
    },
  );

  test("[MQTT311-3.3.1-11] an empty message is never kept", () => {
    const world = new World();
    connect(world).publish("a", "", { qos: 1, retain: true });
    expect(found(world)).toEqual([]);
  });
});

describe("deleting among others", () => {
  test("[MQTT311-3.3.1-10] only the topic's own message goes: parents, children and neighbours stay", () => {
    const names = ["a", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/", "b"];
    for (const gone of names) {
      const world = new World();
      const publisher = connect(world);
      for (const topicName of names) publisher.publish(topicName, "x", { retain: true });
      publisher.publish(gone, "", { retain: true });
      const left = names.filter((topicName) => topicName !== gone);
      expect(found(world)).toEqual(left.map((topicName) => `${topicName}=x at 0`).sort());
      for (const topicName of left) publisher.publish(topicName, "", { retain: true });
      expect(found(world)).toEqual([]);
    }
  });
});

describe("sending", () => {
  test("[MQTT311-3.3.1-6] [MQTT311-3.3.1-8] a new subscription brings every message it matches, RETAIN 1", () => {
    const world = new World();
    const publisher = connect(world);
    for (const topicName of ["a", "a/b", "a/b/c", "b"]) publisher.publish(topicName, "x", { qos: 1, retain: true });
    expect(found(world, "a/#")).toEqual(["a/b/c=x at 1", "a/b=x at 1", "a=x at 1"]);
    expect(found(world, "+")).toEqual(["a=x at 1", "b=x at 1"]);
    expect(found(world, "c")).toEqual([]);
  });

  test("[MQTT311-3.8.4-3] so does the same subscription again", () => {
    const world = new World();
    connect(world).publish("a", "x", { retain: true });
    const client = connect(world);
    for (let round = 0; round < 3; round++) {
      client.subscribe("a");
      expect(client.takePublishes().map((publish) => publish.retain)).toEqual([true]);
    }
  });

  test("[MQTT311-3.3.1-6] a resumed session is no new subscription", () => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    const client = connect(world, init);
    client.subscribe("a");
    client.disconnect();
    connect(world).publish("b", "x", { retain: true });
    const publisher = connect(world);
    publisher.publish("a", "x", { qos: 0, retain: true });
    expect(
      connect(world, init)
        .takePublishes()
        .filter((publish) => publish.retain),
    ).toEqual([]);
  });

  test("[MQTT311-3.3.1-9] a subscription that is there gets the message with RETAIN 0", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a");
    const publisher = connect(world);
    for (const qos of [0, 1, 2] as const) publisher.publish("a", "x", { qos, retain: true });
    expect(client.takePublishes().map((publish) => publish.retain)).toEqual([false, false, false]);
  });

  test("the levels of the protocol share them", () => {
    const world = new World();
    world.connect({ level: 5 }).publish("five", "x", { retain: true, properties: { contentType: "text/plain" } });
    connect(world).publish("four", "y", { retain: true });
    expect(found(world)).toEqual(["five=x at 0", "four=y at 0"]);
    const client = world.connect({ level: 5 });
    client.subscribe("+");
    expect(
      client
        .takePublishes()
        .map((publish) => publish.topicName)
        .sort(),
    ).toEqual(["five", "four"]);
  });
});
