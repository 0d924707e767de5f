/** PUBLISH fixed header: DUP and QoS (MQTT 5.0 sections 3.3.1.1 and 3.3.1.2, MQTT 3.1.1 section 3.3.1). */
import { expect, test } from "bun:test";
import { expectDisconnect, LEVELS, resume, takeUnacknowledged, texts } from "../support/publish-dialogue.ts";
import { World } from "../support/world.ts";

for (const level of LEVELS) {
  for (const qos of [1, 2] as const) {
    test(`[MQTT-3.3.1-1] [MQTT311-3.3.1-1] DUP is 0 first and 1 on re-delivery (level ${level}, QoS ${qos})`, () => {
      const world = new World();
      const first = resume(world, "subscriber", { level });
      first.subscribe("a", { qos });
      world.connect().publish("a", "x", { qos });
      expect(first.take("publish").dup).toBe(false);
      first.drop();
      const second = resume(world, "subscriber", { level });
      const again = second.take("publish");
      expect([again.dup, again.qos, texts([again])]).toEqual([true, qos, ["x"]]);
    });

    test(`[MQTT-3.3.1-3] [MQTT311-3.3.1-3] an incoming DUP is not passed on (level ${level}, QoS ${qos})`, () => {
      const world = new World();
      const subscriber = world.connect({ level });
      subscriber.subscribe("a");
      world.connect({ level }).publish("a", "x", { qos, dup: true });
      expect(subscriber.take("publish").dup).toBe(false);
    });
  }

  test(`[MQTT-3.3.1-3] [MQTT311-3.3.1-3] a message that waited for its session has DUP 0 (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a", { qos: 1 });
    first.drop();
    world.connect().publish("a", "x", { qos: 1, dup: true });
    expect(resume(world, "subscriber", { level }).take("publish").dup).toBe(false);
  });

  test(`[MQTT-3.3.1-2] [MQTT311-3.3.1-2] QoS 0 is never sent with DUP (level ${level})`, () => {
    const world = new World();
    const subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a", { qos: 0 });
    const publisher = world.connect();
    publisher.publish("a", "from QoS 2", { qos: 2, dup: true });
    publisher.publish("a", "from QoS 0");
    const received = takeUnacknowledged(subscriber);
    expect(received.map((publish) => [publish.qos, publish.dup, publish.packetId])).toEqual([
      [0, false, undefined],
      [0, false, undefined],
    ]);
    subscriber.drop();
    expect(resume(world, "subscriber", { level }).packets).toEqual([]);
  });

  test(`[MQTT-3.3.1-2] [MQTT311-3.3.1-2] DUP 1 at QoS 0 is a Malformed Packet (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect();
    subscriber.subscribe("a");
    const publisher = world.connect({ level });
    publisher.sendBytes(level === 5 ? "38 05 0001 61 00 78" : "38 04 0001 61 78");
    expectDisconnect(publisher, 0x81);
    expect(subscriber.packets).toEqual([]);
  });

  for (const [name, firstByte] of [
    ["plain", "36"],
    ["with DUP", "3e"],
    ["with RETAIN", "37"],
  ] as const) {
    test(`[MQTT-3.3.1-4] [MQTT311-3.3.1-4] QoS bits 11 close the connection (level ${level}, ${name})`, () => {
      const world = new World();
      const subscriber = world.connect();
      subscriber.subscribe("a");
      const publisher = world.connect({ level });
      publisher.sendBytes(level === 5 ? `${firstByte} 07 0001 61 0001 00 78` : `${firstByte} 06 0001 61 0001 78`);
      expectDisconnect(publisher, 0x81);
      expect(subscriber.packets).toEqual([]);
    });
  }
}

test("[MQTT-3.8.4-8] a message is forwarded at the lower of its own and the granted QoS", () => {
  const world = new World();
  const publisher = world.connect();
  for (const granted of [0, 1, 2] as const) {
    const subscriber = world.connect();
    expect(subscriber.subscribe("a", { qos: granted }).reasonCodes).toEqual([granted]);
    for (const qos of [0, 1, 2] as const) {
      publisher.publish("a", `${qos}`, { qos });
      expect(subscriber.takePublishes().map((publish) => publish.qos)).toEqual([Math.min(granted, qos) as 0 | 1 | 2]);
    }
    subscriber.disconnect();
  }
});

test("(3.3.2.2) Packet Identifier 0 is a Protocol Error", () => {
  for (const firstByte of ["32", "34"]) {
    const publisher = new World().connect();
    publisher.sendBytes(`${firstByte} 07 0001 61 0000 00 78`);
    expectDisconnect(publisher, 0x82);
  }
});

test("(3.3) a PUBLISH that ends within its Topic Name, Packet Identifier or properties is malformed", () => {
  for (const bytes of [
    "30 00",
    "30 01 00",
    "30 03 0002 61",
    "32 04 0001 61 00",
    "30 05 0001 61 02 01",
    "30 03 0001 61",
  ]) {
    const publisher = new World().connect();
    publisher.sendBytes(bytes);
    expectDisconnect(publisher, 0x81);
  }
});
