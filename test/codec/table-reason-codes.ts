/**
 * Byte table of the reason codes (MQTT 5.0 section 2.4), generated from the reason code table: every code in every packet
 * that may carry it, and refused in every other packet, with some that are no codes at all.
 *
 * That the reason code table itself is right is the subject of reason-code.test.ts.
 */
import type { Packet } from "../../src/core/codec/packet.ts";
import { REASON_CODES } from "../../src/core/codec/reason-code-name.ts";
import { framed, hex, type PacketRow, packetRows, type RefusedRow, refusedRows } from "./packet-row.ts";

interface Carrier {
  readonly type: Packet["type"];
  readonly firstByte: number;
  readonly before: string;
  readonly after: string;
  readonly statement: string;
  /** Success has a shorter form. */
  readonly shortSuccess: boolean;
  packet(reasonCode: number): Packet;
}

const acknowledgement = (
  type: "puback" | "pubrec" | "pubrel" | "pubcomp",
  firstByte: number,
  statement: string,
): Carrier => ({
  type,
  firstByte,
  before: "00 01",
  after: "",
  statement,
  shortSuccess: true,
  packet: (reasonCode) => ({ type, packetId: 1, reasonCode, properties: {} }),
});

const CARRIERS: readonly Carrier[] = [
  {
    type: "connack",
    firstByte: 0x20,
    before: "00",
    after: "00",
    statement: "MQTT-3.2.2-8",
    shortSuccess: false,
    packet: (reasonCode) => ({ type: "connack", sessionPresent: false, reasonCode, properties: {} }),
  },
  acknowledgement("puback", 0x40, "MQTT-3.4.2-1"),
  acknowledgement("pubrec", 0x50, "MQTT-3.5.2-1"),
  acknowledgement("pubrel", 0x62, "MQTT-3.6.2-1"),
  acknowledgement("pubcomp", 0x70, "MQTT-3.7.2-1"),
  {
    type: "suback",
    firstByte: 0x90,
    before: "00 01 00",
    after: "",
    statement: "MQTT-3.9.3-2",
    shortSuccess: false,
    packet: (reasonCode) => ({ type: "suback", packetId: 1, reasonCodes: [reasonCode], properties: {} }),
  },
  {
    type: "unsuback",
    firstByte: 0xb0,
    before: "00 01 00",
    after: "",
    statement: "MQTT-3.11.3-2",
    shortSuccess: false,
    packet: (reasonCode) => ({ type: "unsuback", packetId: 1, reasonCodes: [reasonCode], properties: {} }),
  },
  {
    type: "disconnect",
    firstByte: 0xe0,
    before: "",
    after: "",
    statement: "MQTT-3.14.2-1",
    shortSuccess: true,
    packet: (reasonCode) => ({ type: "disconnect", reasonCode, properties: {} }),
  },
  {
    type: "auth",
    firstByte: 0xf0,
    before: "",
    after: "00",
    statement: "MQTT-3.15.2-1",
    shortSuccess: true,
    packet: (reasonCode) => ({ type: "auth", reasonCode, properties: {} }),
  },
];

const typeNumber = (firstByte: number): number => firstByte >> 4;

function carry(carrier: Carrier, code: number): Uint8Array {
  return framed(carrier.firstByte, hex(carrier.before), Uint8Array.of(code), hex(carrier.after));
}

const label = (code: number): string => `reason code 0x${code.toString(16).padStart(2, "0")}`;

export const REASON_CODE_PACKETS: readonly PacketRow[] = CARRIERS.flatMap((carrier) =>
  REASON_CODES.filter(({ packets }) => (packets & (1 << typeNumber(carrier.firstByte))) !== 0).flatMap(
    ({ code, name }) =>
      packetRows(
        [5],
        `${carrier.type}: ${label(code)}, ${name}`,
        carry(carrier, code),
        carrier.packet(code),
        carrier.shortSuccess && code === 0 ? "decode" : undefined,
      ),
  ),
);

/** Numbers that stand between and behind the codes. */
const NO_CODES = [0x03, 0x05, 0x0f, 0x12, 0x17, 0x1a, 0x7f, 0xa3, 0xfe, 0xff];

export const REASON_CODE_REFUSED: readonly RefusedRow[] = CARRIERS.flatMap((carrier) => [
  ...REASON_CODES.filter(({ packets }) => (packets & (1 << typeNumber(carrier.firstByte))) === 0).flatMap(
    ({ code, name }) =>
      refusedRows(
        [5],
        `${carrier.type}: ${label(code)}, ${name}, not allowed`,
        carry(carrier, code),
        0x82,
        carrier.statement,
      ),
  ),
  ...NO_CODES.flatMap((code) =>
    refusedRows([5], `${carrier.type}: ${label(code)}, not a code`, carry(carrier, code), 0x82, carrier.statement),
  ),
]);
