/** PUBREL, sent and received (MQTT 5.0 section 3.6, MQTT 3.1.1 section 3.6). */
import { expect, test } from "bun:test";
import { acknowledge, expectDisconnect, LEVELS, resume } from "../support/publish-dialogue.ts";
import { toHex, World } from "../support/world.ts";

/** A publisher whose QoS 2 message 1 was answered with PUBREC and is not released yet. */
function unreleased(world: World, level: 4 | 5 = 5) {
  const client = resume(world, "publisher", { level });
  client.sendPublish("a", "x", { qos: 2, packetId: 1 });
  expect(client.take("pubrec").packetId).toBe(1);
  return client;
}

for (const level of LEVELS) {
  test(`[MQTT-3.6.1-1] [MQTT311-3.6.1-1] a PUBREL whose flags are not 0010 closes the connection (level ${level})`, () => {
    for (const firstByte of ["60", "61", "63", "64", "66", "6a", "6f"]) {
      const world = new World();
      const client = unreleased(world, level);
      client.sendBytes(`${firstByte} 02 0001`);
      expectDisconnect(client, 0x81);
    }
  });

  test(`[MQTT-3.6.1-1] [MQTT311-3.6.1-1] what the broker sends has flags 0010 (level ${level})`, () => {
    const world = new World();
    const subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a");
    world.connect().publish("a", "x", { qos: 2 });
    subscriber.bytes.length = 0;
    acknowledge(subscriber, "pubrec", subscriber.take("publish").packetId);
    expect(toHex(subscriber.bytes)).toBe("62 02 00 01");
    subscriber.drop();
    const again = resume(world, "subscriber", { level });
    expect(toHex(again.bytes.slice(-4))).toBe("62 02 00 01");
  });
}

test("[MQTT-3.6.2-1] both reason codes of PUBREL are accepted, in each form", () => {
  for (const bytes of [
    "62 02 0001",
    "62 03 0001 00",
    "62 03 0001 92",
    "62 04 0001 00 00",
    "62 08 0001 92 04 1f 0001 72",
    "62 0b 0001 00 07 26 0001 6b 0001 76",
  ]) {
    const client = unreleased(new World());
    client.sendBytes(bytes);
    expect(client.take("pubcomp").packetId).toBe(1);
    expect([client.closed, client.packets]).toEqual([false, []]);
  }
});

test("[MQTT-3.6.2-1] a reason code that is not one of PUBREL is a Protocol Error and releases nothing", () => {
  for (const reasonCode of ["01", "10", "80", "82", "91", "ff"]) {
    const world = new World();
    const client = unreleased(world);
    client.sendBytes(`62 03 0001 ${reasonCode}`);
    expectDisconnect(client, 0x82);
    const again = resume(world, "publisher");
    acknowledge(again, "pubrel", 1);
    expect(again.take("pubcomp")).toMatchObject({ packetId: 1, reasonCode: 0 });
  }
});

test("[MQTT-3.6.2-1] the broker's PUBREL says 0x00, or 0x92 for a message it does not know", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("a");
  world.connect().publish("a", "x", { qos: 2 });
  acknowledge(subscriber, "pubrec", subscriber.take("publish").packetId);
  expect(subscriber.take("pubrel").reasonCode).toBe(0);
  acknowledge(subscriber, "pubrec", 400);
  expect(subscriber.take("pubrel")).toMatchObject({ packetId: 400, reasonCode: 0x92 });
});

test("[MQTT-3.6.2-2] [MQTT-3.6.2-3] a PUBREL never exceeds the receiver's Maximum Packet Size", () => {
  for (const maximumPacketSize of [20, 30, 60]) {
    const world = new World();
    const subscriber = world.connect({ properties: { maximumPacketSize } });
    subscriber.subscribe("a");
    world.connect().publish("a", "x", { qos: 2 });
    for (const [packetId, reasonCode] of [
      [subscriber.take("publish").packetId, 0],
      [400, 0x92],
    ] as const) {
      subscriber.bytes.length = 0;
      acknowledge(subscriber, "pubrec", packetId);
      expect(subscriber.take("pubrel").reasonCode).toBe(reasonCode);
      expect(subscriber.bytes.length).toBeLessThanOrEqual(maximumPacketSize);
    }
  }
});

test("(3.6) without Request Problem Information a PUBREL has no Reason String and no User Property", () => {
  const subscriber = new World().connect({ properties: { requestProblemInformation: 0 } });
  acknowledge(subscriber, "pubrec", 400);
  expect(subscriber.take("pubrel")).toMatchObject({ reasonCode: 0x92, properties: {} });
});

test("(3.6.2) length, repeated and foreign properties of a PUBREL", () => {
  const cases: readonly (readonly [bytes: string, reasonCode: number])[] = [
    ["62 00", 0x81],
    ["62 01 00", 0x81],
    ["62 04 0001 00 01", 0x81],
    ["62 0c 0001 00 08 1f 0001 72 1f 0001 72", 0x82],
    ["62 09 0001 00 05 11 00000001", 0x81],
  ];
  for (const [bytes, reasonCode] of cases) {
    const client = unreleased(new World());
    client.sendBytes(bytes);
    expectDisconnect(client, reasonCode);
  }
});
