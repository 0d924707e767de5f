/**
 * MQTT 5.0 section 2.1 at a running broker: packet types and the flags of the fixed header.
 */
import { expect, test } from "bun:test";
import { expectClosedSilently, expectDisconnect } from "../support/ending.ts";
import { prefixed, rawConnect, rawPacket, splitPackets } from "../support/raw-packet.ts";
import { fromHex, World } from "../support/world.ts";

/** Each packet a client may send, whole but for flags; QoS 2 handshakes with ids nobody knows are valid packets. */
const PACKETS: readonly (readonly [name: string, flags: number, firstByte: number, body: Uint8Array])[] = [
  ["PUBACK", 0, 0x40, fromHex("00 01")],
  ["PUBREC", 0, 0x50, fromHex("00 01")],
  ["PUBREL", 2, 0x60, fromHex("00 01")],
  ["PUBCOMP", 0, 0x70, fromHex("00 01")],
  ["SUBSCRIBE", 2, 0x80, rawPacket(0, "00 01 00", prefixed("a"), "00").slice(2)],
  ["UNSUBSCRIBE", 2, 0xa0, rawPacket(0, "00 01 00", prefixed("a")).slice(2)],
  ["PINGREQ", 0, 0xc0, fromHex("")],
  ["DISCONNECT", 0, 0xe0, fromHex("")],
  ["AUTH", 0, 0xf0, fromHex("")],
];

for (const [name, right, firstByte, body] of PACKETS) {
  test(`[MQTT-2.1.3-1] ${name} with any flags but ${right} is malformed: DISCONNECT 0x81`, () => {
    const world = new World();
    for (let flags = 0; flags < 16; flags++) {
      if (flags === right) continue;
      const client = world.connect();
      client.sendBytes(rawPacket(firstByte | flags, body));
      expectDisconnect(client, 0x81);
    }
  });
}

test("[MQTT-2.1.3-1] a second CONNECT with reserved flags ends the connection", () => {
  const client = new World().connect();
  client.sendBytes(rawConnect({ firstByte: 0x11 }));
  expect(client.take("disconnect").reasonCode).toBeOneOf([0x81, 0x82]);
  expectClosedSilently(client);
});

test("[MQTT-2.1.3-1] a first CONNECT with reserved flags lets nobody in", () => {
  const world = new World();
  for (let flags = 1; flags < 16; flags++) {
    const client = world.open();
    client.sendBytes(rawConnect({ firstByte: 0x10 | flags }));
    for (const packet of client.takeAll()) expect(packet).toMatchObject({ type: "connack", reasonCode: 0x81 });
    expect(client.closed).toBe(true);
  }
});

test("[MQTT-2.1.3-1] the broker's own packets carry the flags of the table", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("a");
  client.publish("a", "", { qos: 2 });
  client.takePublishes();
  client.publish("a", "", { qos: 1 });
  client.takePublishes();
  client.unsubscribe("a");
  client.send({ type: "pingreq" });
  client.send({
    type: "auth",
    reasonCode: 0x19,
    properties: { authenticationMethod: "none" },
  });
  const firstBytes = splitPackets(client.bytes).map(([first]) => first!);
  const flagsOf = new Map(firstBytes.filter((first) => first >> 4 !== 3).map((first) => [first >> 4, first & 0x0f]));
  expect([...flagsOf].sort(([left], [right]) => left - right)).toEqual([
    [2, 0], // CONNACK
    [4, 0], // PUBACK
    [5, 0], // PUBREC
    [6, 2], // PUBREL
    [7, 0], // PUBCOMP
    [9, 0], // SUBACK
    [11, 0], // UNSUBACK
    [13, 0], // PINGRESP
    [14, 0], // DISCONNECT
  ]);
});

test("packet type 0 is malformed: DISCONNECT 0x81", () => {
  const client = new World().connect();
  client.sendBytes("00 00");
  expectDisconnect(client, 0x81);
});

for (const [name, hex] of [
  ["CONNACK", "20 03 00 00 00"],
  ["SUBACK", "90 04 00 01 00 00"],
  ["UNSUBACK", "b0 04 00 01 00 00"],
  ["PINGRESP", "d0 00"],
] as const) {
  test(`${name} from a client is a Protocol Error: DISCONNECT 0x82`, () => {
    const client = new World().connect();
    client.sendBytes(hex);
    expectDisconnect(client, 0x82);
  });
}

test("a packet may arrive in any pieces, and several in one", () => {
  const world = new World();
  const dialogue = [
    ...rawConnect(),
    ...rawPacket(0x82, "00 01 00", prefixed("a"), "00"),
    ...rawPacket(0x30, prefixed("a"), "00", "31"),
    ...fromHex("c0 00"),
  ];
  for (const pieceBytes of [1, 2, 3, 7, dialogue.length]) {
    const client = world.open();
    for (let at = 0; at < dialogue.length; at += pieceBytes) {
      client.sendBytes(Uint8Array.from(dialogue.slice(at, at + pieceBytes)));
    }
    expect(client.takeAll().map(({ type }) => type)).toEqual(["connack", "suback", "publish", "pingresp"]);
    client.disconnect();
  }
});
