/**
 * MQTT 5.0 section 2.2 at a running broker: Packet Identifiers and property lists.
 */
import { expect, test } from "bun:test";
import type { Publish } from "../../src/core/codec/publish.ts";
import { expectAlive, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, propertyList, rawConnect, rawPacket, splitPackets } from "../support/raw-packet.ts";
import { toHex, World } from "../support/world.ts";

function publishesOf(packets: readonly { type: string }[]): Publish[] {
  return packets.filter((packet): packet is Publish => packet.type === "publish");
}

test("[MQTT-2.2.1-2] a QoS 0 PUBLISH goes out without a Packet Identifier", () => {
  const world = new World();
  const receiver = world.connect();
  receiver.subscribe("a", { qos: 2 });
  receiver.bytes.length = 0;
  world.connect().publish("a", "x");
  expect(toHex(receiver.bytes)).toBe("30 05 00 01 61 00 78");
});

test("[MQTT-2.2.1-2] a QoS 1 message that a subscription lowers to QoS 0 loses its Packet Identifier", () => {
  const world = new World();
  const receiver = world.connect();
  receiver.subscribe("a", { qos: 0 });
  receiver.bytes.length = 0;
  world.connect().publish("a", "x", { qos: 1 });
  expect(toHex(receiver.bytes)).toBe("30 05 00 01 61 00 78");
});

for (const [name, packet] of [
  ["SUBSCRIBE", rawPacket(0x82, "00 00 00", prefixed("a"), "00")],
  ["UNSUBSCRIBE", rawPacket(0xa2, "00 00 00", prefixed("a"))],
  ["QoS 1 PUBLISH", rawPacket(0x32, prefixed("a"), "00 00 00")],
  ["QoS 2 PUBLISH", rawPacket(0x34, prefixed("a"), "00 00 00")],
] as const) {
  test(`[MQTT-2.2.1-3] Packet Identifier 0 in ${name} is a Protocol Error`, () => {
    const client = new World().connect();
    client.sendBytes(packet);
    expectDisconnect(client, 0x82);
  });
}

test("[MQTT-2.2.1-4] messages in flight have different Packet Identifiers, none of them 0, in ascending order from 1", () => {
  const world = new World();
  const receiver = world.connect();
  receiver.subscribe("#");
  const publisher = world.connect();
  for (let count = 0; count < 50; count++) publisher.publish("a", "", { qos: count % 2 === 0 ? 1 : 2 });
  const packetIds = publishesOf(receiver.takeAll()).map(({ packetId }) => packetId);
  expect(packetIds).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
});

test("[MQTT-2.2.1-4] the Packet Identifiers go round, and one that is in use is passed over", () => {
  const world = new World();
  const receiver = world.connect();
  receiver.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  publisher.publish("a", "", { qos: 1 });
  const [held] = publishesOf(receiver.takeAll());
  expect(held?.packetId).toBe(1);
  let highest = 0;
  for (let count = 0; count < 65_600; count++) {
    publisher.publish("a", "", { qos: 1 });
    const packetId = receiver.take("publish").packetId ?? 0;
    expect(packetId === 0 || packetId === held?.packetId).toBe(false);
    highest = Math.max(highest, packetId);
    receiver.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
  }
  expect(highest).toBe(65_535);
  expectAlive(receiver);
});

test("[MQTT-2.2.1-4] the Packet Identifiers of both directions are independent", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("down", { qos: 1 });
  world.connect().publish("down", "", { qos: 1 });
  expect(client.take("publish").packetId).toBe(1);
  client.sendPublish("up", "", { qos: 1, packetId: 1 });
  expect(client.take("puback")).toMatchObject({
    packetId: 1,
    reasonCode: 0x10,
  });
  client.send({ type: "puback", packetId: 1, reasonCode: 0, properties: {} });
  expectAlive(client);
});

test("[MQTT-2.2.1-5] acknowledgements carry the Packet Identifier of the PUBLISH", () => {
  const world = new World();
  const client = world.connect();
  for (const packetId of [1, 258, 65_535]) {
    const id = toHex([packetId >> 8, packetId & 0xff]);
    client.bytes.length = 0;
    client.sendPublish("$refused", "", { qos: 1, packetId });
    client.sendPublish("a", "", { qos: 2, packetId });
    client.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    const answers = splitPackets(client.bytes);
    expect(answers.map(([first]) => first)).toEqual([0x40, 0x50, 0x70]);
    for (const answer of answers) expect(toHex(answer.slice(2, 4))).toBe(id);
  }
});

test("[MQTT-2.2.1-5] PUBREL carries the Packet Identifier of the PUBLISH the broker sent", () => {
  const world = new World();
  const receiver = world.connect();
  receiver.subscribe("a");
  const publisher = world.connect();
  publisher.publish("a", "", { qos: 2 });
  publisher.publish("a", "", { qos: 2 });
  const packetIds = publishesOf(receiver.takeAll()).map((packet) => packet.packetId!);
  for (const packetId of packetIds.toReversed()) {
    receiver.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
    expect(receiver.take("pubrel").packetId).toBe(packetId);
  }
});

test("[MQTT-2.2.1-6] SUBACK and UNSUBACK carry the Packet Identifier of the request", () => {
  const world = new World();
  const client = world.connect();
  for (const packetId of [1, 258, 65_535]) {
    const id = toHex([packetId >> 8, packetId & 0xff]);
    client.bytes.length = 0;
    client.sendBytes(rawPacket(0x82, id, "00", prefixed("a"), "01"));
    client.sendBytes(rawPacket(0xa2, id, "00", prefixed("a")));
    expect(toHex(client.bytes)).toBe(`90 04 ${id} 00 01 b0 04 ${id} 00 00`);
  }
});

test("[MQTT-2.2.2-1] packets without properties carry a Property Length of zero", () => {
  const world = new World();
  const client = world.connect();
  client.bytes.length = 0;
  client.sendBytes(rawPacket(0x82, "00 01 00", prefixed("a"), "00"));
  client.sendBytes(rawPacket(0x30, prefixed("a"), "00", "78"));
  client.sendBytes(rawPacket(0xa2, "00 02 00", prefixed("a")));
  expect(toHex(client.bytes)).toBe("90 04 00 01 00 00 30 05 00 01 61 00 78 b0 04 00 02 00 00");
});

test("[MQTT-2.2.2-1] a CONNECT refused without anything to add has a Property Length of zero or what it counts", () => {
  const client = new World().open();
  client.sendBytes(rawConnect({ protocolLevel: 6 }));
  const [packet] = splitPackets(client.bytes);
  expect(packet![1]).toBe(packet!.length - 2);
  expect(packet![4]).toBe(packet!.length - 5);
});

for (const [name, packet] of [
  ["PUBLISH", rawPacket(0x30, prefixed("a"))],
  ["SUBSCRIBE", rawPacket(0x82, "00 01")],
  ["UNSUBSCRIBE", rawPacket(0xa2, "00 01")],
] as const) {
  test(`[MQTT-2.2.2-1] ${name} without even a Property Length is malformed: DISCONNECT 0x81`, () => {
    const client = new World().connect();
    client.sendBytes(packet);
    expectDisconnect(client, 0x81);
  });
}

for (const [what, inPublish, inConnect] of [
  ["an unknown identifier", "7e 00", "7e 00"],
  ["an identifier of two bytes that nobody defined", "80 02 00", "80 02 00"],
  ["a property of another packet", "21 00 0a", "23 00 01"],
  ["a property that runs over the list", "02 00 00", "11 00 00"],
] as const) {
  test(`${what} in PUBLISH is malformed: DISCONNECT 0x81`, () => {
    const client = new World().connect();
    client.sendBytes(rawPacket(0x30, prefixed("a"), propertyList(inPublish), "70 70 70 70"));
    expectDisconnect(client, 0x81);
  });

  test(`${what} in CONNECT is malformed: CONNACK 0x81`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ properties: inConnect }));
    expectRefusal(client, 0x81);
  });
}

test("a Property Length that reaches over the end of the packet is malformed: DISCONNECT 0x81", () => {
  const client = new World().connect();
  client.sendBytes(rawPacket(0x30, prefixed("a"), "05 02 00 00"));
  expectDisconnect(client, 0x81);
});

for (const [name, property] of [
  ["Payload Format Indicator", "01 00"],
  ["Message Expiry Interval", "02 00 00 00 05"],
  ["Content Type", "03 00 01 61"],
  ["Response Topic", "08 00 01 61"],
  ["Correlation Data", "09 00 01 61"],
  ["Topic Alias", "23 00 01"],
] as const) {
  test(`a PUBLISH with two of ${name} is a Protocol Error: DISCONNECT 0x82`, () => {
    const client = new World().connect();
    client.sendBytes(rawPacket(0x30, prefixed("a"), propertyList(property, property)));
    expectDisconnect(client, 0x82);
  });
}

test("User Properties may repeat, and a PUBLISH may list its properties in any order", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("a", { qos: 0 });
  const pair = joinBytes("26", prefixed("k"), prefixed("v"));
  client.sendBytes(rawPacket(0x30, prefixed("a"), propertyList(pair, "03", prefixed("t"), pair, "01 01")));
  expect(client.take("publish").properties).toEqual({
    payloadFormatIndicator: 1,
    contentType: "t",
    userProperties: [
      ["k", "v"],
      ["k", "v"],
    ],
  });
});
