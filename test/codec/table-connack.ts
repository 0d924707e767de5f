/** Byte table of CONNACK (MQTT 5.0 section 3.2, MQTT 3.1.1 section 3.2); properties and reason codes are generated. */
import type { Connack } from "../../src/core/codec/connack.ts";
import {
  ALL_LEVELS,
  BEFORE_5,
  FROM_311,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
} from "./packet-row.ts";

const connack = (fields: Partial<Connack>): Connack => ({
  type: "connack",
  sessionPresent: false,
  reasonCode: 0,
  properties: {},
  ...fields,
});

export const CONNACK_PACKETS: readonly PacketRow[] = [
  ...packetRows(
    BEFORE_5,
    "connack: accepted",
    `20 02  # CONNACK, Remaining Length 2
     00     # no session
     00     # return code`,
    connack({}),
  ),
  ...packetRows([4], "connack: accepted, session present", "20 02 01 00", connack({ sessionPresent: true })),
  ...packetRows(
    [5],
    "connack: accepted",
    `20 03  # CONNACK, Remaining Length 3
     00     # no session
     00     # reason code
     00     # Property Length`,
    connack({}),
  ),
  ...packetRows([5], "connack: accepted, session present", "20 03 01 00 00", connack({ sessionPresent: true })),
  ...[1, 2, 3, 4, 5].flatMap((code) =>
    packetRows(BEFORE_5, `connack: return code ${code}`, `20 02 00 0${code}`, connack({ reasonCode: code })),
  ),
  // MQTT 3.1 has no Session Present; the byte in its place is reserved and not used.
  ...packetRows([3], "connack: session present, not said", "20 02 00 00", connack({ sessionPresent: true }), "encode"),
  ...packetRows([3], "connack: reserved byte 1", "20 02 01 00", connack({}), "decode"),
  ...packetRows(
    BEFORE_5,
    "connack: properties, not said",
    "20 02 00 00",
    connack({ properties: { reasonString: "hello" } }),
    "encode",
  ),
];

export const CONNACK_REFUSED: readonly RefusedRow[] = [
  ...[1, 2, 4, 8].flatMap((flags) => [
    ...refusedRows(BEFORE_5, `connack: flags ${flags}`, `2${flags} 02 00 00`, 0x81, "MQTT-2.1.3-1"),
    ...refusedRows([5], `connack: flags ${flags}`, `2${flags} 03 00 00 00`, 0x81, "MQTT-2.1.3-1"),
  ]),
  ...["02", "80", "ff"].flatMap((flags) => [
    ...refusedRows([4], `connack: Connect Acknowledge Flags ${flags}`, `20 02 ${flags} 00`, 0x81, "MQTT-3.2.2-1"),
    ...refusedRows([5], `connack: Connect Acknowledge Flags ${flags}`, `20 03 ${flags} 00 00`, 0x81, "MQTT-3.2.2-1"),
  ]),
  ...refusedRows([4], "connack: refused with session present", "20 02 01 05", 0x82, "MQTT-3.2.2-6"),
  ...refusedRows([5], "connack: refused with session present", "20 03 01 87 00", 0x82, "MQTT-3.2.2-6"),
  ...refusedRows(ALL_LEVELS, "connack: no body", "20 00", 0x81, "4.13.1"),
  ...refusedRows(ALL_LEVELS, "connack: no reason code", "20 01 00", 0x81, "4.13.1"),
  ...refusedRows([5], "connack: no Property Length", "20 02 00 00", 0x81, "4.13.1"),
  ...refusedRows([5], "connack: Property Length over the end", "20 03 00 00 01", 0x81, "2.2.2.1"),
  ...refusedRows([5], "connack: Property Length cut", "20 03 00 00 80", 0x81, "4.13.1"),
  ...refusedRows([5], "connack: over-long Property Length", "20 04 00 00 80 00", 0x81, "MQTT-1.5.5-1"),
  ...refusedRows([5], "connack: Property Length of five bytes", "20 07 00 00 80 80 80 80 01", 0x81, "1.5.5"),
  ...refusedRows(BEFORE_5, "connack: surplus bytes", "20 03 00 00 00", 0x81, "4.13.1"),
  ...refusedRows([5], "connack: surplus bytes", "20 04 00 00 00 00", 0x81, "4.13.1"),
  ...refusedRows(FROM_311, "connack: cut within a longer frame", "20 01 01", 0x81, "4.13.1"),
];
