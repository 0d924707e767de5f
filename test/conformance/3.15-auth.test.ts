/**
 * MQTT 5.0 section 3.15: the AUTH packet itself. The exchanges it makes are in 4.12.
 */
import { expect, test } from "bun:test";
import type { Properties } from "../../src/core/codec/property.ts";
import { expectAlive, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, propertyList, rawPacket, splitPackets } from "../support/raw-packet.ts";
import { accept, answers, goOn, ScriptedAuth } from "../support/scripted-auth.ts";
import { type TestClient, toHex, World } from "../support/world.ts";

const METHOD: Properties = { authenticationMethod: "m" };
const METHOD_PROPERTY = joinBytes("15", prefixed("m"));

/** A client that was let in by method "m" and may authenticate again. */
function authenticated(): TestClient {
  return new World({ auth: answers(accept()) }).connect({ properties: METHOD });
}

/** A client that the broker has asked to go on. */
function authenticating(): TestClient {
  const client = new World({ auth: answers(goOn(), accept()) }).dial({ properties: METHOD });
  client.take("auth");
  return client;
}

for (let flags = 1; flags < 16; flags++) {
  test(`[MQTT-3.15.1-1] AUTH with flags ${flags} is malformed`, () => {
    const again = authenticated();
    again.sendBytes(rawPacket(0xf0 | flags, "19", propertyList(METHOD_PROPERTY)));
    expectDisconnect(again, 0x81);
    const early = authenticating();
    early.sendBytes(rawPacket(0xf0 | flags, "18", propertyList(METHOD_PROPERTY)));
    expectRefusal(early, 0x81);
  });
}

for (const reasonCode of [0x01, 0x04, 0x17, 0x1a, 0x80, 0x82, 0x87, 0x8c, 0xff]) {
  test(`[MQTT-3.15.2-1] AUTH 0x${reasonCode.toString(16)} is no reason code of AUTH: Protocol Error`, () => {
    const again = authenticated();
    again.sendBytes(rawPacket(0xf0, Uint8Array.of(reasonCode), propertyList(METHOD_PROPERTY)));
    expectDisconnect(again, 0x82);
    const early = authenticating();
    early.sendBytes(rawPacket(0xf0, Uint8Array.of(reasonCode), propertyList(METHOD_PROPERTY)));
    expectRefusal(early, 0x82);
  });
}

test("[MQTT-3.15.2-1] AUTH 0x00 is the server's to send: from a client it is a Protocol Error", () => {
  for (const packet of [rawPacket(0xf0), rawPacket(0xf0, "00", propertyList(METHOD_PROPERTY))]) {
    const again = authenticated();
    again.sendBytes(packet);
    expectDisconnect(again, 0x82);
    const early = authenticating();
    early.sendBytes(packet);
    expectRefusal(early, 0x82);
  }
});

test("[MQTT-3.15.2-1] [MQTT-3.15.1-1] the broker's AUTH packets have flags 0 and the codes 0x18 and 0x00", () => {
  const world = new World({ auth: answers(goOn("1"), accept(), goOn("2"), accept({}, "3")) });
  const client = world.dial({ properties: METHOD });
  for (const reasonCode of [0x18, 0x19, 0x18]) client.send({ type: "auth", reasonCode, properties: METHOD });
  const packets = splitPackets(client.bytes).map((packet) => toHex(packet));
  expect(packets.filter((packet) => packet.startsWith("f"))).toEqual([
    "f0 0a 18 08 15 00 01 6d 16 00 01 31",
    "f0 0a 18 08 15 00 01 6d 16 00 01 32",
    "f0 0a 00 08 15 00 01 6d 16 00 01 33",
  ]);
});

for (const [what, properties, reasonCode] of [
  ["without a method", "", 0x82],
  ["with two methods", joinBytes(METHOD_PROPERTY, METHOD_PROPERTY), 0x82],
  ["with data but no method", "16 00 01 64", 0x82],
  ["with data twice", joinBytes(METHOD_PROPERTY, "16 00 01 64 16 00 01 64"), 0x82],
  ["with two Reason Strings", joinBytes(METHOD_PROPERTY, "1f 00 01 64 1f 00 01 64"), 0x82],
  ["with a property of another packet", joinBytes(METHOD_PROPERTY, "21 00 05"), 0x81],
] as const) {
  test(`AUTH ${what} is answered with 0x${reasonCode.toString(16)}`, () => {
    const again = authenticated();
    again.sendBytes(rawPacket(0xf0, "19", propertyList(properties)));
    expectDisconnect(again, reasonCode);
    const early = authenticating();
    early.sendBytes(rawPacket(0xf0, "18", propertyList(properties)));
    expectRefusal(early, reasonCode);
  });
}

test("Reason String and User Properties in the client's AUTH are accepted", () => {
  const client = authenticated();
  const userProperties: [string, string][] = [["k", "v"]];
  client.send({ type: "auth", reasonCode: 0x19, properties: { ...METHOD, reasonString: "token", userProperties } });
  expect(client.take("auth").reasonCode).toBe(0);
  expectAlive(client);
});

test("[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH to a client with little room has no Reason String or User Property and fits", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial({ properties: { ...METHOD, maximumPacketSize: 30 } });
  auth.decide(world, goOn("0123456789"));
  const { properties } = client.take("auth");
  expect(Object.keys(properties).sort()).toEqual(["authenticationData", "authenticationMethod"]);
  expect(client.bytes.length).toBeLessThanOrEqual(30);
});

test("[MQTT-3.1.2-24] AUTH whose data does not fit the client's Maximum Packet Size is not sent: the exchange fails", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial({ properties: { ...METHOD, maximumPacketSize: 30 } });
  auth.decide(world, goOn("x".repeat(100)));
  for (const packet of splitPackets(client.bytes)) expect(packet.length).toBeLessThanOrEqual(30);
  expect(client.closed).toBe(true);
  for (const packet of client.takeAll()) expect(packet.type).toBe("connack");
});

for (const level of [3, 4] as const) {
  test(`AUTH does not exist at protocol level ${level}: closed`, () => {
    const client = new World().connect({ level });
    client.sendBytes("f0 00");
    expect(client.takeAll()).toEqual([]);
    expect(client.closed).toBe(true);
  });
}
