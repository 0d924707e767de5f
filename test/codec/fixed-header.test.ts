/** The fixed header (MQTT 5.0 section 2.1, MQTT 3.1.1 section 2.2) and Packet Identifiers (sections 2.2.1 and 2.3.1). */
import { describe, expect, test } from "bun:test";
import type { Packet, ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { PACKET_TYPE_NAMES, PacketType } from "../../src/core/codec/packet-type.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { writePuback } from "../../src/core/codec/puback.ts";
import { writePubcomp } from "../../src/core/codec/pubcomp.ts";
import { publishFirstByte } from "../../src/core/codec/publish.ts";
import { writePublish } from "../../src/core/codec/publish-view.ts";
import { writePubrec } from "../../src/core/codec/pubrec.ts";
import { writePubrel } from "../../src/core/codec/pubrel.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { decodeBytes, decodeOutcome, encodeBytes } from "./one-packet.ts";
import { concatenate, hex } from "./packet-row.ts";
import { DECODED_ROWS, ENCODED_ROWS } from "./packet-table.ts";

/** Table 2-2: the flags of each packet type; PUBLISH has flags of its own. */
const RESERVED_FLAGS: Readonly<Record<string, number>> = {
  CONNECT: 0,
  CONNACK: 0,
  PUBACK: 0,
  PUBREC: 0,
  PUBREL: 2,
  PUBCOMP: 0,
  SUBSCRIBE: 2,
  SUBACK: 0,
  UNSUBSCRIBE: 2,
  UNSUBACK: 0,
  PINGREQ: 0,
  PINGRESP: 0,
  DISCONNECT: 0,
  AUTH: 0,
};
const TYPES = Object.keys(RESERVED_FLAGS).map((name) => [name, PacketType[name as keyof typeof PacketType]] as const);

describe("packet types", () => {
  test("have the numbers of table 2-1", () => {
    expect(PACKET_TYPE_NAMES.map((name, type) => `${type} ${name}`).join(", ")).toBe(
      "0 Reserved, 1 CONNECT, 2 CONNACK, 3 PUBLISH, 4 PUBACK, 5 PUBREC, 6 PUBREL, 7 PUBCOMP, 8 SUBSCRIBE, 9 SUBACK, " +
        "10 UNSUBSCRIBE, 11 UNSUBACK, 12 PINGREQ, 13 PINGRESP, 14 DISCONNECT, 15 AUTH",
    );
    expect(Object.entries(PacketType).map(([name, type]) => `${type} ${name}`)).toEqual(
      PACKET_TYPE_NAMES.map((name, type) => `${type} ${name}`).slice(1),
    );
  });
});

describe("reserved flags", () => {
  test.each(TYPES)("[MQTT-2.1.3-1] [MQTT311-2.2.2-1] %s is written with the flags of the table", (name, type) => {
    const rows = ENCODED_ROWS.filter(({ bytes }) => bytes[0]! >> 4 === type);
    expect(rows.length).toBeGreaterThan(0);
    for (const { packet, level } of rows) expect(encodeBytes(packet, level)[0]! & 0x0f).toBe(RESERVED_FLAGS[name]!);
  });

  test.each(TYPES)("[MQTT-2.1.3-1] [MQTT311-2.2.2-2] %s with other flags is malformed", (name, type) => {
    for (const { bytes, level } of DECODED_ROWS.filter((row) => row.bytes[0]! >> 4 === type && row.level !== 3)) {
      for (let flags = 0; flags < 16; flags++) {
        const outcome = decodeOutcome(concatenate(Uint8Array.of((type << 4) | flags), bytes.subarray(1)), level);
        const refused = outcome instanceof PeerError && outcome.reasonCode === 0x81;
        const expected = flags !== RESERVED_FLAGS[name];
        if (refused !== expected)
          expect({ name, level, flags, refused }).toEqual({ name, level, flags, refused: expected });
      }
    }
  });

  test("the four short acknowledgements carry the flags and the identifier", () => {
    const writer = new Writer(1);
    for (const write of [writePuback, writePubrec, writePubrel, writePubcomp]) write(writer, 0x1234);
    expect(writer.view()).toEqual(hex("40 02 12 34  50 02 12 34  62 02 12 34  70 02 12 34"));
  });
});

const LEVELS: readonly ProtocolLevel[] = [4, 5];
const publishOf = (qos: QoS, packetId?: number): Packet => ({
  type: "publish",
  dup: false,
  qos,
  retain: false,
  topicName: "t",
  payload: new Uint8Array(0),
  properties: {},
  ...(packetId === undefined ? {} : { packetId }),
});

describe("Packet Identifiers", () => {
  test("[MQTT-2.2.1-2] [MQTT311-2.3.1-5] a PUBLISH of QoS 0 has none, written or read", () => {
    for (const level of LEVELS) {
      const list = level === 5 ? "00" : "";
      // An identifier left in the object by mistake does not reach the wire.
      expect(encodeBytes(publishOf(0, 7), level)).toEqual(hex(`30 0${level === 5 ? 4 : 3} 00 01 "t" ${list}`));
      const packet = decodeBytes(hex(`30 0${level === 5 ? 6 : 5} 00 01 "t" ${list} 12 34`), level);
      expect(packet).toEqual({ ...publishOf(0), payload: hex("12 34") } as Packet);
      expect(packet).not.toHaveProperty("packetId");
    }
    const writer = new Writer();
    const nothing = new Uint8Array(0);
    const parts = {
      properties: nothing,
      propertiesStart: 0,
      propertiesEnd: 0,
      payload: nothing,
      payloadStart: 0,
      payloadEnd: 0,
    };
    expect(writePublish(writer, publishFirstByte(0, false, false), 7, hex('"t"'), parts, null, 100)).toBe(true);
    expect(writer.view()).toEqual(hex('30 03 00 01 "t"'));
  });

  test("[MQTT311-2.3.1-1] zero is refused in PUBLISH above QoS 0, SUBSCRIBE and UNSUBSCRIBE", () => {
    for (const level of LEVELS) {
      const list = level === 5 ? "00" : "";
      const length = level === 5 ? 1 : 0;
      for (const notation of [
        `32 0${5 + length} 00 01 "t" 00 00 ${list}`,
        `34 0${5 + length} 00 01 "t" 00 00 ${list}`,
        `82 0${6 + length} 00 00 ${list} 00 01 "f" 00`,
        `a2 0${5 + length} 00 00 ${list} 00 01 "f"`,
      ]) {
        expect(decodeOutcome(hex(notation), level)).toMatchObject({ reasonCode: 0x82, statement: "MQTT-2.2.1-3" });
      }
    }
  });

  test("zero is refused in every answer", () => {
    for (const first of ["40", "50", "62", "70", "b0"]) {
      expect(decodeOutcome(hex(`${first} 02 00 00`), 4)).toMatchObject({ reasonCode: 0x82 });
    }
    expect(decodeOutcome(hex("90 03 00 00 01"), 4)).toMatchObject({ reasonCode: 0x82 });
  });

  test("all others pass unchanged, both ways", () => {
    for (const level of LEVELS) {
      for (let packetId = 1; packetId <= 0xffff; packetId += packetId < 300 || packetId > 65_200 ? 1 : 251) {
        const packets: Packet[] = [
          publishOf(1, packetId),
          publishOf(2, packetId),
          { type: "puback", packetId, reasonCode: 0, properties: {} },
          { type: "pubrec", packetId, reasonCode: 0, properties: {} },
          { type: "pubrel", packetId, reasonCode: 0, properties: {} },
          { type: "pubcomp", packetId, reasonCode: 0, properties: {} },
          { type: "suback", packetId, reasonCodes: [0], properties: {} },
          { type: "unsuback", packetId, reasonCodes: level === 5 ? [0] : [], properties: {} },
        ];
        for (const packet of packets) {
          const read = decodeBytes(encodeBytes(packet, level), level);
          if (!Bun.deepEquals(read, packet)) expect(read).toEqual(packet);
        }
      }
    }
  });
});
