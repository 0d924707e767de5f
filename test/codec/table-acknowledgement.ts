/** Byte table of PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 sections 3.4 to 3.7): one body, four first bytes. */
import type { Packet, ProtocolLevel } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import {
  ALL_LEVELS,
  BEFORE_5,
  FROM_311,
  framed,
  hex,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
} from "./packet-row.ts";

interface Kind {
  readonly type: "puback" | "pubrec" | "pubrel" | "pubcomp";
  readonly firstByte: number;
  /** A reason code of this packet that is not success. */
  readonly code: string;
  readonly flagsStatement: string;
}

const KINDS: readonly Kind[] = [
  { type: "puback", firstByte: 0x40, code: "10", flagsStatement: "MQTT-2.1.3-1" },
  { type: "pubrec", firstByte: 0x50, code: "97", flagsStatement: "MQTT-2.1.3-1" },
  { type: "pubrel", firstByte: 0x62, code: "92", flagsStatement: "MQTT-3.6.1-1" },
  { type: "pubcomp", firstByte: 0x70, code: "92", flagsStatement: "MQTT-2.1.3-1" },
];

function packetsOf({ type, firstByte, code }: Kind): PacketRow[] {
  const packet = (reasonCode: number, properties: Properties = {}, packetId = 0x1234): Packet => ({
    type,
    packetId,
    reasonCode,
    properties,
  });
  const codeNumber = Number.parseInt(code, 16);
  const rows = (
    levels: readonly ProtocolLevel[],
    name: string,
    body: string,
    expected: Packet,
    only?: "decode" | "encode",
  ): PacketRow[] => packetRows(levels, `${type}: ${name}`, framed(firstByte, hex(body)), expected, only);
  return [
    ...rows(ALL_LEVELS, "success in four bytes", "12 34", packet(0)),
    ...rows(ALL_LEVELS, "the smallest Packet Identifier", "00 01", packet(0, {}, 1)),
    ...rows(ALL_LEVELS, "the largest Packet Identifier", "ff ff", packet(0, {}, 65_535)),
    ...rows([5], "success said in a byte", "12 34 00", packet(0), "decode"),
    ...rows([5], "success said in a byte, with a Property Length", "12 34 00 00", packet(0), "decode"),
    ...rows([5], `reason code ${code}`, `12 34 ${code}`, packet(codeNumber)),
    ...rows([5], `reason code ${code} with a Property Length`, `12 34 ${code} 00`, packet(codeNumber), "decode"),
    ...rows(
      [5],
      "reason code and properties spelled out",
      `12 34             # Packet Identifier
       ${code}           # reason code
       12                # Property Length 18
       1f 00 02 "no"     # Reason String
       26 00 01 "a" 00 00 # User Properties: a, empty;
       26 00 00 00 02 "b/" # empty, b/`,
      packet(codeNumber, {
        reasonString: "no",
        userProperties: [
          ["a", ""],
          ["", "b/"],
        ],
      }),
    ),
    ...rows([5], "success with a property", '12 34 00 05 1f 00 02 "ok"', packet(0, { reasonString: "ok" })),
    ...rows(BEFORE_5, "reason code, not said", "12 34", packet(codeNumber), "encode"),
    ...rows(BEFORE_5, "properties, not said", "12 34", packet(0, { reasonString: "ok" }), "encode"),
  ];
}

function refusedOf({ type, firstByte, code, flagsStatement }: Kind): RefusedRow[] {
  const refuse = (
    levels: readonly ProtocolLevel[],
    name: string,
    bytes: Uint8Array,
    statement: string,
    reasonCode = 0x81,
  ): RefusedRow[] => refusedRows(levels, `${type}: ${name}`, bytes, reasonCode, statement);
  const body = (
    levels: readonly ProtocolLevel[],
    name: string,
    notation: string,
    statement: string,
    reasonCode = 0x81,
  ) => refuse(levels, name, framed(firstByte, hex(notation)), statement, reasonCode);
  const flags = [...Array(16).keys()].filter((flag) => flag !== (firstByte & 0x0f));
  return [
    ...flags.flatMap((flag) => {
      // MQTT 3.1 let clients repeat a PUBREL with DUP.
      const levels = type === "pubrel" && flag === 0x0a ? FROM_311 : ALL_LEVELS;
      return refuse(levels, `flags ${flag}`, framed((firstByte & 0xf0) | flag, hex("12 34")), flagsStatement);
    }),
    ...body(ALL_LEVELS, "no body", "", "4.13.1"),
    ...body(ALL_LEVELS, "half a Packet Identifier", "12", "4.13.1"),
    ...body(ALL_LEVELS, "Packet Identifier 0", "00 00", "MQTT-2.2.1-5", 0x82),
    ...body(BEFORE_5, "a byte behind the Packet Identifier", "12 34 00", "4.13.1"),
    ...body([5], "Packet Identifier 0 with a reason code", `00 00 ${code}`, "MQTT-2.2.1-5", 0x82),
    ...body([5], "Property Length over the end", `12 34 ${code} 01`, "2.2.2.1"),
    ...body([5], "Property Length cut", `12 34 ${code} 80`, "4.13.1"),
    ...body([5], "over-long Property Length", `12 34 ${code} 80 00`, "MQTT-1.5.5-1"),
    ...body([5], "Property Length of five bytes", `12 34 ${code} ff ff ff ff 01`, "1.5.5"),
    ...body([5], "a byte behind the properties", `12 34 ${code} 00 00`, "4.13.1"),
    ...body([5], "a property that runs over the list", `12 34 ${code} 04 1f 00 02 "o" "k"`, "4.13.1"),
  ];
}

export const ACKNOWLEDGEMENT_PACKETS: readonly PacketRow[] = [
  ...KINDS.flatMap(packetsOf),
  ...packetRows(
    [3],
    "pubrel: repeated with DUP",
    "6a 02 12 34",
    { type: "pubrel", packetId: 0x1234, reasonCode: 0, properties: {} },
    "decode",
  ),
];

export const ACKNOWLEDGEMENT_REFUSED: readonly RefusedRow[] = KINDS.flatMap(refusedOf);
