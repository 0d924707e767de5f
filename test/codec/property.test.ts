/** The properties against the table of MQTT 5.0 section 2.2.2.2, typed in here on its own, and what lists have in common. */
import { describe, expect, test } from "bun:test";
import type { Packet } from "../../src/core/codec/packet.ts";
import { PACKET_TYPE_NAMES, PacketType } from "../../src/core/codec/packet-type.ts";
import { decodeProperties, encodeProperties, PROPERTIES, type Properties } from "../../src/core/codec/property.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { decodeBytes, encodeBytes } from "./one-packet.ts";
import { hex } from "./packet-row.ts";
import { PACKET_ROWS } from "./packet-table.ts";

/** Table 2-4: identifier, name, type, packets. */
const SECTION_2_2_2_2 = `
01 Payload Format Indicator: byte; PUBLISH Will
02 Message Expiry Interval: u32; PUBLISH Will
03 Content Type: string; PUBLISH Will
08 Response Topic: string; PUBLISH Will
09 Correlation Data: binary; PUBLISH Will
0b Subscription Identifier: varint; PUBLISH SUBSCRIBE
11 Session Expiry Interval: u32; CONNECT CONNACK DISCONNECT
12 Assigned Client Identifier: string; CONNACK
13 Server Keep Alive: u16; CONNACK
15 Authentication Method: string; CONNECT CONNACK AUTH
16 Authentication Data: binary; CONNECT CONNACK AUTH
17 Request Problem Information: byte; CONNECT
18 Will Delay Interval: u32; Will
19 Request Response Information: byte; CONNECT
1a Response Information: string; CONNACK
1c Server Reference: string; CONNACK DISCONNECT
1f Reason String: string; CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH
21 Receive Maximum: u16; CONNECT CONNACK
22 Topic Alias Maximum: u16; CONNECT CONNACK
23 Topic Alias: u16; PUBLISH
24 Maximum QoS: byte; CONNACK
25 Retain Available: byte; CONNACK
26 User Property: pair; CONNECT CONNACK PUBLISH Will PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT AUTH
27 Maximum Packet Size: u32; CONNECT CONNACK
28 Wildcard Subscription Available: byte; CONNACK
29 Subscription Identifier Available: byte; CONNACK
2a Shared Subscription Available: byte; CONNACK
`;

/** Sections of each property: zero is a Protocol Error. */
const NOT_ZERO = [0x0b, 0x21, 0x23, 0x27];

const LISTED = SECTION_2_2_2_2.trim()
  .split("\n")
  .map((line) => {
    const [, id, name, type, packets] = /^([0-9a-f]{2}) (.+): (\w+); (.+)$/u.exec(line)!;
    return { id: Number.parseInt(id!, 16), name: name!, type: type!, packets: packets!.split(" ").sort() };
  });

const packetNames = (mask: number): string[] =>
  ["Will", ...PACKET_TYPE_NAMES.slice(1)].filter((_, type) => (mask & (1 << type)) !== 0).sort();

const words = (text: string): string => text.replaceAll(/[^a-z]/giu, "").toLowerCase();

/** The names differ from the specification's only where several values are gathered in a list. */
const PLURALS: Readonly<Record<string, string>> = {
  subscriptionidentifier: "subscriptionidentifiers",
  userproperty: "userproperties",
  subscriptionidentifieravailable: "subscriptionidentifiersavailable",
};

describe("the table", () => {
  test("has the identifiers, types and packets of table 2-4, in ascending order, and no other", () => {
    expect(PROPERTIES.map(({ id, type, packets }) => ({ id, type: `${type}`, packets: packetNames(packets) }))).toEqual(
      LISTED.map(({ id, type, packets }) => ({ id, type, packets })),
    );
  });

  test("has the specification's names", () => {
    expect(PROPERTIES.map(({ name }) => words(name))).toEqual(
      LISTED.map(({ name }) => PLURALS[words(name)] ?? words(name)),
    );
  });

  test("allows zero where the specification does, and one in flags only", () => {
    for (const { id, type, min, max } of PROPERTIES) {
      expect({ id, min }).toEqual({ id, min: NOT_ZERO.includes(id) ? 1 : 0 });
      // Every byte among the properties is a flag, a format of two values, or a QoS of two.
      if (type === "byte") expect({ id, max }).toEqual({ id, max: 1 });
      if (type === "u16") expect(max).toBeGreaterThanOrEqual(0xffff);
      if (type === "u32") expect(max).toBe(0xffffffff);
      if (type === "varint") expect(max).toBe(268_435_455);
    }
  });

  test("repeats User Properties, and Subscription Identifiers in PUBLISH", () => {
    expect(PROPERTIES.filter(({ repeatable }) => repeatable).map(({ id }) => id)).toEqual([0x0b, 0x26]);
  });
});

describe("property lists", () => {
  const LEFT_OFF: readonly Packet["type"][] = [
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "disconnect",
    "auth",
    "pingreq",
    "pingresp",
  ];

  test("[MQTT-2.2.2-1] an empty list is written as a length of zero", () => {
    const seen = new Set<string>();
    for (const { level, packet, only, bytes } of PACKET_ROWS) {
      if (level !== 5 || only !== undefined || !("properties" in packet) || LEFT_OFF.includes(packet.type)) continue;
      if (Object.keys(packet.properties).length > 0) continue;
      seen.add(packet.type);
      // A byte of the list's own stands there: without it the packet would be shorter than at level 4 plus one.
      const without = encodeBytes(packet, 4);
      if (packet.type === "publish") expect(bytes.length).toBe(without.length + 1);
      expect(encodeBytes(packet, 5)).toEqual(bytes);
    }
    expect([...seen].sort()).toEqual([
      "connack",
      "connect",
      "publish",
      "suback",
      "subscribe",
      "unsuback",
      "unsubscribe",
    ]);
    const writer = new Writer();
    encodeProperties(writer, {});
    encodeProperties(writer, undefined);
    encodeProperties(writer, { userProperties: [], subscriptionIdentifiers: [] });
    expect(writer.view()).toEqual(hex("00 00 00"));
  });

  test("[MQTT-2.2.2-1] a packet with an empty list is read like one", () => {
    expect(decodeBytes(hex("20 03 00 00 00"), 5)).toMatchObject({ properties: {} });
    expect(decodeBytes(hex('30 04 00 01 "t" 00'), 5)).toMatchObject({ properties: {} });
  });

  test("are written in ascending order of identifier, whatever the order of the object", () => {
    const writer = new Writer();
    encodeProperties(writer, { userProperties: [["k", "v"]], reasonString: "r", sessionExpiryInterval: 1 });
    expect(writer.view()).toEqual(hex('10 11 00 00 00 01 1f 00 01 "r" 26 00 01 "k" 00 01 "v"'));
  });

  test("have a length of two bytes from 128 bytes on", () => {
    for (const length of [120, 121, 122, 123, 124, 125, 126, 200, 16_383, 16_384]) {
      const properties: Properties = { reasonString: "x".repeat(length - 3) };
      const writer = new Writer(1);
      encodeProperties(writer, properties);
      const reader = new Reader(writer.view());
      expect(decodeProperties(reader, PacketType.CONNACK)).toEqual(properties);
      expect(reader.remaining).toBe(0);
      expect(writer.length).toBe(length + (length < 128 ? 1 : length < 16_384 ? 2 : 3));
    }
  });

  test("end where their length says, and leave the rest of the packet alone", () => {
    const reader = new Reader(hex('05 1f 00 02 "no" 26 ff'));
    expect(decodeProperties(reader, PacketType.PUBACK)).toEqual({ reasonString: "no" });
    expect([reader.remaining, reader.end]).toEqual([2, 8]);
  });
});
