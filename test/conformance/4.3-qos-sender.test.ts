/** The broker as sender: QoS 0, 1 and 2 towards a subscriber (MQTT 5.0 section 4.3, MQTT 3.1.1 section 4.3). */
import { expect, test } from "bun:test";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { acknowledge, LEVELS, outline, resume, takeUnacknowledged, texts } from "../support/publish-dialogue.ts";
import { World } from "../support/world.ts";

/** QoS, DUP and Packet Identifier of fifty messages that a subscriber does not acknowledge. */
function firstSendings(level: ProtocolLevel, qos: QoS): unknown[] {
  const world = new World();
  const subscriber = world.connect({ level });
  subscriber.subscribe("a", { qos });
  const publisher = world.connect();
  for (let at = 0; at < 50; at++) publisher.publish("a", `${at}`, { qos: 2 });
  return takeUnacknowledged(subscriber).map((publish) => [publish.qos, publish.dup, publish.packetId]);
}

for (const level of LEVELS) {
  test(`[MQTT-4.3.1-1] [MQTT311-4.3.1-1] QoS 0 is sent once, QoS 0 and DUP 0, without an id (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a", { qos: 0 });
    const publisher = world.connect();
    for (const qos of [0, 1, 2] as const) publisher.publish("a", `${qos}`, { qos, dup: qos > 0 });
    const received = takeUnacknowledged(first);
    expect(texts(received)).toEqual(["0", "1", "2"]);
    expect(received.map(({ qos, dup, packetId }) => ({ qos, dup, packetId }))).toEqual(
      Array(3).fill({ qos: 0, dup: false, packetId: undefined }),
    );
    first.drop();
    expect(resume(world, "subscriber", { level }).packets).toEqual([]);
  });

  test(`[MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT311-4.3.2-1] each new message: an unused id, QoS 1, DUP 0 (level ${level})`, () => {
    expect(firstSendings(level, 1)).toEqual(Array.from({ length: 50 }, (_, at) => [1, false, at + 1]));
  });

  test(`[MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT311-4.3.3-1] each new message: an unused id, QoS 2, DUP 0 (level ${level})`, () => {
    expect(firstSendings(level, 2)).toEqual(Array.from({ length: 50 }, (_, at) => [2, false, at + 1]));
  });

  test(`[MQTT-4.3.2-1] [MQTT-4.3.3-1] an id is not used again while its message is unacknowledged (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    publisher.publish("a", "kept", { qos: 1 });
    publisher.publish("a", "kept", { qos: 2 });
    publisher.publish("a", "kept", { qos: 2 });
    const kept = takeUnacknowledged(subscriber);
    acknowledge(subscriber, "pubrec", kept[1]?.packetId);
    expect(outline(subscriber.takeAll())).toEqual(["pubrel 2"]);
    expect(kept.map((publish) => publish.packetId)).toEqual([1, 2, 3]);
    // More than once around the 16 bit ids.
    for (let at = 0; at < 66_000; at++) {
      publisher.sendPublish("a", "", { qos: 1, packetId: 1 });
      publisher.packets.length = 0;
      const { packetId } = subscriber.take("publish");
      if (packetId === undefined || packetId < 4) throw new Error(`id ${packetId} is in use`);
      acknowledge(subscriber, "puback", packetId);
    }
    expect(subscriber.packets).toEqual([]);
  });

  test(`[MQTT-4.3.2-3] [MQTT311-4.3.2-1] QoS 1 is unacknowledged until its PUBACK, and only that one (level ${level})`, () => {
    const world = new World();
    let subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a", { qos: 1 });
    const publisher = world.connect();
    for (const text of ["1", "2", "3"]) publisher.publish("a", text, { qos: 1 });
    expect(outline(subscriber.takeAll())).toEqual(["publish 1", "publish 2", "publish 3"]);
    acknowledge(subscriber, "puback", 2);
    subscriber.drop();
    for (let round = 0; round < 2; round++) {
      subscriber = resume(world, "subscriber", { level });
      expect(outline(subscriber.takeAll())).toEqual(["publish 1 dup", "publish 3 dup"]);
      subscriber.drop();
    }
    subscriber = resume(world, "subscriber", { level });
    subscriber.takePublishes();
    subscriber.drop();
    expect(resume(world, "subscriber", { level }).packets).toEqual([]);
  });

  test(`[MQTT-4.3.3-3] [MQTT311-4.3.3-1] QoS 2 is unacknowledged until its PUBREC (level ${level})`, () => {
    const world = new World();
    let subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a", { qos: 2 });
    world.connect().publish("a", "x", { qos: 2 });
    for (const expected of ["publish 1", "publish 1 dup", "publish 1 dup"]) {
      expect(outline(subscriber.takeAll())).toEqual([expected]);
      subscriber.drop();
      subscriber = resume(world, "subscriber", { level });
    }
  });

  test(`[MQTT-4.3.3-3] PUBACK and PUBCOMP do not acknowledge a QoS 2 PUBLISH (level ${level})`, () => {
    for (const type of ["puback", "pubcomp"] as const) {
      const world = new World();
      const subscriber = resume(world, "subscriber", { level });
      subscriber.subscribe("a", { qos: 2 });
      world.connect().publish("a", "x", { qos: 2 });
      subscriber.take("publish");
      acknowledge(subscriber, type, 1);
      subscriber.drop();
      expect(outline(resume(world, "subscriber", { level }).takeAll())).toEqual(["publish 1 dup"]);
    }
  });

  test(`[MQTT-4.3.2-3] PUBREC and PUBCOMP do not acknowledge a QoS 1 PUBLISH (level ${level})`, () => {
    for (const type of ["pubrec", "pubcomp"] as const) {
      const world = new World();
      const subscriber = resume(world, "subscriber", { level });
      subscriber.subscribe("a", { qos: 1 });
      world.connect().publish("a", "x", { qos: 1 });
      subscriber.take("publish");
      acknowledge(subscriber, type, 1);
      subscriber.drop();
      expect(outline(resume(world, "subscriber", { level }).takeAll())).toEqual(["publish 1 dup"]);
    }
  });

  test(`[MQTT-4.3.3-4] [MQTT311-4.3.3-1] PUBREC is answered with PUBREL of the same id, each time (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    for (const text of ["1", "2"]) publisher.publish("a", text, { qos: 2 });
    expect(outline(subscriber.takeAll())).toEqual(["publish 1", "publish 2"]);
    for (const packetId of [2, 1, 1]) {
      acknowledge(subscriber, "pubrec", packetId);
      expect(subscriber.take("pubrel")).toMatchObject({ packetId, reasonCode: 0 });
    }
    expect(subscriber.packets).toEqual([]);
  });

  test(`[MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT311-4.3.3-1] after PUBREL only PUBREL, until PUBCOMP (level ${level})`, () => {
    const world = new World();
    let subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a", { qos: 2 });
    world.connect().publish("a", "x", { qos: 2 });
    subscriber.take("publish");
    acknowledge(subscriber, "pubrec", 1);
    for (let round = 0; round < 3; round++) {
      expect(outline(subscriber.takeAll())).toEqual(["pubrel 1"]);
      subscriber.drop();
      subscriber = resume(world, "subscriber", { level });
    }
    acknowledge(subscriber, "pubcomp", 1);
    expect(outline(subscriber.takeAll())).toEqual(["pubrel 1"]);
    subscriber.drop();
    expect(resume(world, "subscriber", { level }).packets).toEqual([]);
  });
}

test("[MQTT-4.3.3-6] a PUBREC that comes again after the reconnect brings PUBREL, never PUBLISH", () => {
  const world = new World();
  const first = resume(world, "subscriber");
  first.subscribe("a", { qos: 2 });
  world.connect().publish("a", "x", { qos: 2 });
  acknowledge(first, "pubrec", first.take("publish").packetId);
  first.drop();
  const second = resume(world, "subscriber");
  expect(outline(second.takeAll())).toEqual(["pubrel 1"]);
  acknowledge(second, "pubrec", 1);
  expect(outline(second.takeAll())).toEqual(["pubrel 1"]);
  acknowledge(second, "pubcomp", 1);
  expect(second.packets).toEqual([]);
});
