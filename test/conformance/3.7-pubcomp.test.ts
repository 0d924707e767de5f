/** PUBCOMP, sent and received (MQTT 5.0 section 3.7). */
import { expect, test } from "bun:test";
import { acknowledge, expectDisconnect, LEVELS, outline, resume } from "../support/publish-dialogue.ts";
import { toHex, World } from "../support/world.ts";

/** A session that was sent PUBREL 1 and has not answered. */
function owing(world: World) {
  const client = resume(world, "owing");
  client.subscribe("a", { qos: 2 });
  world.connect().publish("a", "x", { qos: 2 });
  acknowledge(client, "pubrec", client.take("publish").packetId);
  expect(client.take("pubrel").packetId).toBe(1);
  return client;
}

for (const level of LEVELS) {
  test(`[MQTT-3.7.2-1] success is the four-byte form (level ${level})`, () => {
    const publisher = new World().connect({ level });
    publisher.sendPublish("a", "x", { qos: 2, packetId: 0x0a0b });
    publisher.bytes.length = 0;
    acknowledge(publisher, "pubrel", 0x0a0b);
    expect(toHex(publisher.bytes)).toBe("70 02 0a 0b");
  });

  test(`[MQTT-3.7.2-1] PUBREL for an unknown Packet Identifier: PUBCOMP, 0x92 in MQTT 5.0 (level ${level})`, () => {
    const publisher = new World().connect({ level });
    acknowledge(publisher, "pubrel", 400);
    expect(publisher.take("pubcomp")).toMatchObject({ packetId: 400, reasonCode: level === 5 ? 0x92 : 0 });
    expect([publisher.closed, publisher.packets]).toEqual([false, []]);
  });
}

test("[MQTT-3.7.2-1] both reason codes of PUBCOMP are accepted, in each form, and end the message", () => {
  for (const bytes of [
    "70 02 0001",
    "70 03 0001 00",
    "70 03 0001 92",
    "70 04 0001 00 00",
    "70 08 0001 92 04 1f 0001 72",
    "70 0b 0001 00 07 26 0001 6b 0001 76",
  ]) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(bytes);
    expect([client.closed, client.packets]).toEqual([false, []]);
    client.drop();
    expect(resume(world, "owing").packets).toEqual([]);
  }
});

test("[MQTT-3.7.2-1] a reason code that is not one of PUBCOMP is a Protocol Error and ends nothing", () => {
  for (const reasonCode of ["01", "10", "80", "82", "91", "ff"]) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(`70 03 0001 ${reasonCode}`);
    expectDisconnect(client, 0x82);
    expect(outline(resume(world, "owing").packets)).toEqual(["pubrel 1"]);
  }
});

test("[MQTT-3.7.2-2] [MQTT-3.7.2-3] a PUBCOMP never exceeds the publisher's Maximum Packet Size", () => {
  for (const maximumPacketSize of [20, 30, 60]) {
    const publisher = new World().connect({ properties: { maximumPacketSize } });
    publisher.sendPublish("a", "x", { qos: 2, packetId: 1 });
    publisher.take("pubrec");
    for (const [packetId, reasonCode] of [
      [1, 0],
      [400, 0x92],
    ] as const) {
      publisher.bytes.length = 0;
      acknowledge(publisher, "pubrel", packetId);
      expect(publisher.take("pubcomp").reasonCode).toBe(reasonCode);
      expect(publisher.bytes.length).toBeLessThanOrEqual(maximumPacketSize);
    }
  }
});

test("(3.7) without Request Problem Information a PUBCOMP has no Reason String and no User Property", () => {
  const publisher = new World().connect({ properties: { requestProblemInformation: 0 } });
  acknowledge(publisher, "pubrel", 400);
  expect(publisher.take("pubcomp")).toMatchObject({ reasonCode: 0x92, properties: {} });
});

test("(3.7) a PUBCOMP for an unknown Packet Identifier is ignored", () => {
  for (const level of LEVELS) {
    const client = new World().connect({ level });
    acknowledge(client, "pubcomp", 77);
    expect([client.closed, client.packets]).toEqual([false, []]);
  }
});

test("(3.7.1) flags, length, repeated and foreign properties of a PUBCOMP", () => {
  const cases: readonly (readonly [bytes: string, reasonCode: number])[] = [
    ["71 02 0001", 0x81],
    ["72 02 0001", 0x81],
    ["70 01 00", 0x81],
    ["70 04 0001 00 01", 0x81],
    ["70 0c 0001 00 08 1f 0001 72 1f 0001 72", 0x82],
    ["70 09 0001 00 05 11 00000001", 0x81],
  ];
  for (const [bytes, reasonCode] of cases) {
    const world = new World();
    const client = owing(world);
    client.sendBytes(bytes);
    expectDisconnect(client, reasonCode);
    expect(outline(resume(world, "owing").packets)).toEqual(["pubrel 1"]);
  }
});
