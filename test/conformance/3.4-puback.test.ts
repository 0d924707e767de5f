/** PUBACK, sent and received (MQTT 5.0 section 3.4). */
import { expect, test } from "bun:test";
import { acknowledge, expectDisconnect, LEVELS, leaveSession, resume } from "../support/publish-dialogue.ts";
import { toHex, World } from "../support/world.ts";

/** A session that was sent one QoS 1 message as packet 1 and has not acknowledged it. */
function owing(world: World) {
  const client = resume(world, "owing");
  client.subscribe("a", { qos: 1 });
  world.connect().publish("a", "x", { qos: 1 });
  expect(client.take("publish").packetId).toBe(1);
  return client;
}

/** The packets that wait for the session behind `owing`. */
function redelivered(world: World): number {
  const again = resume(world, "owing");
  const count = again.packets.length;
  again.drop();
  return count;
}

for (const level of LEVELS) {
  test(`[MQTT-3.4.2-1] success is the four-byte form (level ${level})`, () => {
    const world = new World();
    leaveSession(world, "away", "a", 1);
    const publisher = world.connect({ level });
    publisher.bytes.length = 0;
    publisher.sendPublish("a", "x", { qos: 1, packetId: 0x0a0b });
    expect(toHex(publisher.bytes)).toBe("40 02 0a 0b");
  });
}

test("[MQTT-3.4.2-1] what the broker answers is 0x00, 0x10 or a refusal of PUBACK's own list", () => {
  const world = new World({ limits: { queueMessagesMax: 1 } });
  leaveSession(world, "away", "a", 1);
  const publisher = world.connect();
  expect(publisher.publish("a", "x", { qos: 1 })).toBe(0x00);
  expect(publisher.publish("nobody", "x", { qos: 1 })).toBe(0x10);
  expect(publisher.publish("$SYS/x", "x", { qos: 1 })).toBe(0x87);
  expect(publisher.publish("a", "x", { qos: 1 })).toBe(0x97);
});

test("[MQTT-3.4.2-1] every reason code of PUBACK is accepted from a client, in each form", () => {
  for (const bytes of [
    "40 02 0001",
    "40 03 0001 00",
    "40 03 0001 10",
    "40 03 0001 80",
    "40 03 0001 83",
    "40 03 0001 87",
    "40 03 0001 90",
    "40 03 0001 91",
    "40 03 0001 97",
    "40 03 0001 99",
    "40 04 0001 00 00",
    "40 08 0001 00 04 1f 0001 72",
    "40 12 0001 80 0e 26 0001 6b 0001 76 26 0001 6b 0001 77",
  ]) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(bytes);
    expect([client.closed, client.packets]).toEqual([false, []]);
    client.drop();
    expect(redelivered(world)).toBe(0);
  }
});

test("[MQTT-3.4.2-1] a reason code that is not one of PUBACK is a Protocol Error and acknowledges nothing", () => {
  for (const reasonCode of ["01", "81", "82", "92", "ff"]) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(`40 03 0001 ${reasonCode}`);
    expectDisconnect(client, 0x82);
    expect(redelivered(world)).toBe(1);
  }
});

test("[MQTT-3.4.2-2] [MQTT-3.4.2-3] a PUBACK never exceeds the publisher's Maximum Packet Size", () => {
  for (const maximumPacketSize of [20, 30, 60]) {
    const world = new World({ limits: { queueMessagesMax: 1 } });
    leaveSession(world, "away", "a", 1);
    const publisher = world.connect({ properties: { maximumPacketSize } });
    for (const [topicName, reasonCode] of [
      ["a", 0],
      ["a", 0x97],
      ["$SYS/x", 0x87],
      ["nobody", 0x10],
    ] as const) {
      publisher.bytes.length = 0;
      publisher.sendPublish(topicName, "x", { qos: 1 });
      expect(publisher.take("puback").reasonCode).toBe(reasonCode);
      expect(publisher.bytes.length).toBeLessThanOrEqual(maximumPacketSize);
    }
  }
});

test("[MQTT-3.4.2-2] [MQTT-3.4.2-3] a PUBACK of 5 bytes still arrives where no more fits", () => {
  // CONNACK needs more than that, so the bound is the smallest that lets the client in.
  const world = new World({ limits: { receiveMaximum: 65_535, topicAliasMaximum: 0 } });
  const publisher = world.connect({ properties: { maximumPacketSize: 10 } });
  publisher.bytes.length = 0;
  publisher.sendPublish("$SYS/x", "x", { qos: 1 });
  expect(publisher.take("puback").reasonCode).toBe(0x87);
  expect(publisher.bytes.length).toBeLessThanOrEqual(10);
});

test("(3.1.2.11.7) without Request Problem Information a PUBACK has no Reason String and no User Property", () => {
  const world = new World();
  const publisher = world.connect({ properties: { requestProblemInformation: 0 } });
  publisher.sendPublish("$SYS/x", "x", { qos: 1 });
  expect(publisher.take("puback")).toMatchObject({ reasonCode: 0x87, properties: {} });
});

test("(3.4) a PUBACK for an unknown Packet Identifier is ignored", () => {
  for (const level of LEVELS) {
    const world = new World();
    const client = world.connect({ level });
    acknowledge(client, "puback", 77);
    expect([client.closed, client.packets]).toEqual([false, []]);
    client.send({ type: "pingreq" });
    client.take("pingresp");
  }
});

test("(3.4.1) flags, length, repeated and foreign properties of a PUBACK", () => {
  const cases: readonly (readonly [bytes: string, reasonCode: number])[] = [
    ["41 02 0001", 0x81],
    ["42 02 0001", 0x81],
    ["40 00", 0x81],
    ["40 01 00", 0x81],
    ["40 04 0001 00 01", 0x81],
    ["40 06 0001 00 00 0000", 0x81], // bytes after the last property
    ["40 0c 0001 00 08 1f 0001 72 1f 0001 72", 0x82],
    ["40 09 0001 00 05 11 00000001", 0x81], // Session Expiry Interval
  ];
  for (const [bytes, reasonCode] of cases) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(bytes);
    expectDisconnect(client, reasonCode);
    expect(redelivered(world)).toBe(1);
  }
});
