/** PUBREC, sent and received (MQTT 5.0 section 3.5). */
import { expect, test } from "bun:test";
import { acknowledge, expectDisconnect, LEVELS, leaveSession, outline, resume } from "../support/publish-dialogue.ts";
import { toHex, World } from "../support/world.ts";

/** A session that was sent one QoS 2 message as packet 1 and has not answered. */
function owing(world: World) {
  const client = resume(world, "owing");
  client.subscribe("a", { qos: 2 });
  world.connect().publish("a", "x", { qos: 2 });
  expect(client.take("publish").packetId).toBe(1);
  return client;
}

for (const level of LEVELS) {
  test(`[MQTT-3.5.2-1] success is the four-byte form (level ${level})`, () => {
    const world = new World();
    leaveSession(world, "away", "a", 2);
    const publisher = world.connect({ level });
    publisher.bytes.length = 0;
    publisher.sendPublish("a", "x", { qos: 2, packetId: 0x0a0b });
    expect(toHex(publisher.bytes)).toBe("50 02 0a 0b");
  });
}

test("[MQTT-3.5.2-1] what the broker answers is 0x00, 0x10 or a refusal of PUBREC's own list", () => {
  const world = new World({ limits: { queueMessagesMax: 1 } });
  leaveSession(world, "away", "a", 2);
  const publisher = world.connect();
  expect(publisher.publish("a", "x", { qos: 2 })).toBe(0x00);
  expect(publisher.publish("nobody", "x", { qos: 2 })).toBe(0x10);
  expect(publisher.publish("$SYS/x", "x", { qos: 2 })).toBe(0x87);
  expect(publisher.publish("a", "x", { qos: 2 })).toBe(0x97);
});

test("[MQTT-3.5.2-1] [MQTT-4.3.3-4] a PUBREC below 0x80, in each form, is answered with PUBREL", () => {
  for (const bytes of [
    "50 02 0001",
    "50 03 0001 00",
    "50 03 0001 10",
    "50 04 0001 00 00",
    "50 08 0001 00 04 1f 0001 72",
  ]) {
    const client = owing(new World());
    client.sendBytes(bytes);
    expect(client.take("pubrel")).toMatchObject({ packetId: 1, reasonCode: 0 });
    expect([client.closed, client.packets]).toEqual([false, []]);
  }
});

test("[MQTT-3.5.2-1] [MQTT-4.4.0-2] a PUBREC of 0x80 or more ends the message without PUBREL", () => {
  for (const reasonCode of ["80", "83", "87", "90", "91", "97", "99"]) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(`50 03 0001 ${reasonCode}`);
    expect([client.closed, client.packets]).toEqual([false, []]);
    client.drop();
    expect(resume(world, "owing").packets).toEqual([]);
  }
});

test("[MQTT-3.5.2-1] a reason code that is not one of PUBREC is a Protocol Error and acknowledges nothing", () => {
  for (const reasonCode of ["01", "81", "82", "92", "ff"]) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(`50 03 0001 ${reasonCode}`);
    expectDisconnect(client, 0x82);
    expect(outline(resume(world, "owing").packets)).toEqual(["publish 1 dup"]);
  }
});

test("[MQTT-3.5.2-2] [MQTT-3.5.2-3] a PUBREC never exceeds the publisher's Maximum Packet Size", () => {
  for (const maximumPacketSize of [20, 30, 60]) {
    const world = new World({ limits: { queueMessagesMax: 1 } });
    leaveSession(world, "away", "a", 2);
    const publisher = world.connect({ properties: { maximumPacketSize } });
    for (const [topicName, reasonCode] of [
      ["a", 0],
      ["a", 0x97],
      ["$SYS/x", 0x87],
      ["nobody", 0x10],
    ] as const) {
      publisher.bytes.length = 0;
      publisher.sendPublish(topicName, "x", { qos: 2 });
      expect(publisher.take("pubrec").reasonCode).toBe(reasonCode);
      expect(publisher.bytes.length).toBeLessThanOrEqual(maximumPacketSize);
    }
  }
});

test("(3.5) a PUBREC for an unknown Packet Identifier is answered with PUBREL 0x92 in MQTT 5.0", () => {
  const world = new World();
  const client = world.connect();
  acknowledge(client, "pubrec", 77);
  expect(client.take("pubrel")).toMatchObject({ packetId: 77, reasonCode: 0x92 });
  // A refusal asks for no PUBREL [MQTT-4.3.3-4].
  for (const reasonCode of [0x80, 0x97]) acknowledge(client, "pubrec", 77, reasonCode);
  expect([client.closed, client.packets]).toEqual([false, []]);
});

test("(3.5) a PUBREC for an unknown Packet Identifier leaves a 3.1.1 connection open", () => {
  const client = new World().connect({ level: 4 });
  acknowledge(client, "pubrec", 77);
  expect(client.closed).toBe(false);
});

test("(3.5.1) flags, length, repeated and foreign properties of a PUBREC", () => {
  const cases: readonly (readonly [bytes: string, reasonCode: number])[] = [
    ["51 02 0001", 0x81],
    ["52 02 0001", 0x81],
    ["50 01 00", 0x81],
    ["50 04 0001 00 01", 0x81],
    ["50 0c 0001 00 08 1f 0001 72 1f 0001 72", 0x82],
    ["50 09 0001 00 05 11 00000001", 0x81],
  ];
  for (const [bytes, reasonCode] of cases) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(bytes);
    expectDisconnect(client, reasonCode);
    expect(outline(resume(world, "owing").packets)).toEqual(["publish 1 dup"]);
  }
});
