/**
 * MQTT 5.0 section 4.13: Malformed Packets and Protocol Errors close the connection, with the reason, and touch nobody else.
 */
import { expect, test } from "bun:test";
import { expectAlive, expectClosedSilently, expectDisconnect } from "../support/ending.ts";
import { joinBytes, prefixed, propertyList, type RawPart, rawConnect, rawPacket } from "../support/raw-packet.ts";
import { accept, answers, refuse } from "../support/scripted-auth.ts";
import { type ConnectInit, World } from "../support/world.ts";

const A = prefixed("a");

const MALFORMED: readonly (readonly [what: string, packet: RawPart])[] = [
  ["PUBLISH of QoS 3", rawPacket(0x36, A, "00 01 00")],
  ["PUBLISH without a Topic Name", rawPacket(0x30)],
  ["PUBLISH that ends in its Packet Identifier", rawPacket(0x32, A, "00")],
  ["PUBACK without a Packet Identifier", rawPacket(0x40)],
  ["PUBACK of one byte", rawPacket(0x40, "00")],
  ["PUBREL with bytes behind its properties", rawPacket(0x62, "00 01 00 00 00")],
  ["SUBSCRIBE without options", rawPacket(0x82, "00 01 00", A)],
  ["SUBSCRIBE with reserved option bits", rawPacket(0x82, "00 01 00", A, "40")],
  ["UNSUBSCRIBE with half a Topic Filter", rawPacket(0xa2, "00 01 00 00 05 61")],
  ["PINGREQ with a body", rawPacket(0xc0, "00")],
  ["a Remaining Length of five bytes", "30 80 80 80 80 01"],
];

const PROTOCOL_ERRORS: readonly (readonly [what: string, packet: RawPart])[] = [
  ["a second CONNECT", rawConnect()],
  ["SUBSCRIBE without a Topic Filter", rawPacket(0x82, "00 01 00")],
  ["UNSUBSCRIBE without a Topic Filter", rawPacket(0xa2, "00 01 00")],
  ["SUBSCRIBE with QoS 3", rawPacket(0x82, "00 01 00", A, "03")],
  ["SUBSCRIBE with Retain Handling 3", rawPacket(0x82, "00 01 00", A, "30")],
  ["SUBSCRIBE with Subscription Identifier 0", rawPacket(0x82, "00 01 02 0b 00", A, "00")],
  ["PUBLISH with an empty Topic Name and no alias", rawPacket(0x30, prefixed(""), "00")],
  ["PUBLISH with a Subscription Identifier", rawPacket(0x30, A, propertyList("0b 01"))],
  ["two Message Expiry Intervals", rawPacket(0x30, A, propertyList("02 00 00 00 01 02 00 00 00 01"))],
  ["an AUTH nobody asked for", rawPacket(0xf0, "18", propertyList("15", prefixed("m")))],
  ["a CONNACK", rawPacket(0x20, "00 00 00")],
  ["a PINGRESP", rawPacket(0xd0)],
];

for (const [errors, reasonCode] of [
  [MALFORMED, 0x81],
  [PROTOCOL_ERRORS, 0x82],
] as const) {
  for (const [what, packet] of errors) {
    test(`[MQTT-4.13.1-1] ${what}: DISCONNECT 0x${reasonCode.toString(16)}, closed, and nobody else is affected`, () => {
      const world = new World();
      const observer = world.connect();
      observer.subscribe("#");
      const client = world.connect({ will: { topicName: "will" } });
      client.sendBytes(joinBytes(packet, rawPacket(0x30, prefixed("behind"), "00")));
      expectDisconnect(client, reasonCode);
      expect(observer.takePublishes().map(({ topicName }) => topicName)).toEqual(["will"]);
      expectAlive(observer);
      expectAlive(world.connect());
    });
  }
}

for (const level of [3, 4] as const) {
  for (const [what, packet] of [
    ["malformed", "c0 01 00"],
    ["a Protocol Error", "d0 00"],
  ] as const) {
    test(`${what} at protocol level ${level}: closed without a packet`, () => {
      const client = new World().connect({ level });
      client.sendBytes(packet);
      expectClosedSilently(client);
    });
  }
}

test("[MQTT-4.13.1-1] an error leaves the session, as a failed network does", () => {
  const world = new World();
  const init: ConnectInit = { clientId: "c", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const client = world.connect(init);
  client.subscribe("a");
  client.sendBytes("c1 00");
  expectDisconnect(client, 0x81);
  world.connect().publish("a", "", { qos: 1 });
  const resumed = world.connect(init);
  expect(resumed.connack?.sessionPresent).toBe(true);
  expect(resumed.takePublishes()).toHaveLength(1);
});

test("[MQTT-4.13.1-1] what was right before the error in the same segment is done", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("#");
  const client = world.connect();
  client.sendBytes(
    joinBytes(rawPacket(0x30, prefixed("before"), "00"), "c1 00", rawPacket(0x30, prefixed("after"), "00")),
  );
  expectDisconnect(client, 0x81);
  expect(observer.takePublishes().map(({ topicName }) => topicName)).toEqual(["before"]);
});

test("[MQTT-4.13.1-1] an error is written to the log, once, with its reason", () => {
  const world = new World();
  const client = world.connect();
  world.log.length = 0;
  client.sendBytes("c1 00");
  const lines = world.log.filter(({ level }) => level === "info" || level === "warn");
  expect(lines).toHaveLength(1);
  expect(JSON.stringify(lines)).toContain("MQTT-2.1.3-1");
});

test("[MQTT-4.13.2-1] a CONNACK of 0x80 or more closes the connection, and so does one that could not be sent", () => {
  const refused = new World({ auth: answers(refuse("banned")) }).dial();
  expect(refused.take("connack").reasonCode).toBe(0x8a);
  expect(refused.closed).toBe(true);
  const tooSmall = new World({ auth: answers(refuse("banned")) }).dial({ properties: { maximumPacketSize: 2 } });
  expectClosedSilently(tooSmall);
});

test("[MQTT-4.13.2-1] a DISCONNECT of 0x80 or more closes the connection, and so does one that could not be sent", () => {
  const world = new World({ auth: answers(accept()) });
  const client = world.connect();
  client.sendBytes("c1 00");
  expectDisconnect(client, 0x81);
  const stalled = world.connect();
  stalled.stall();
  stalled.sendBytes("c1 00");
  expect(stalled.closed).toBe(true);
});

test("[MQTT-4.13.2-1] a DISCONNECT of 0x80 or more from the client closes the connection", () => {
  const client = new World().connect();
  client.disconnect(0x83);
  expectClosedSilently(client);
});

test("an error of one packet that has its own answer does not close the connection", () => {
  const world = new World();
  const client = world.connect();
  expect(client.publish("$refused", "", { qos: 1 })).toBe(0x87);
  expect(client.publish("$refused", "", { qos: 2 })).toBe(0x87);
  expect(client.subscribe("a/#/b").reasonCodes).toEqual([0x8f]);
  expect(client.unsubscribe("never").reasonCodes).toEqual([0x11]);
  client.send({ type: "pubrel", packetId: 5, reasonCode: 0, properties: {} });
  expect(client.take("pubcomp").reasonCode).toBe(0x92);
  expectAlive(client);
});
