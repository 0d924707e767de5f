/**
 * Byte table of the packets that are about the connection itself: PINGREQ, PINGRESP, DISCONNECT, AUTH (MQTT 5.0
 * sections 3.12 to 3.15), and of what is refused before a packet type is known.
 */
import type { Packet } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import {
  ALL_LEVELS,
  BEFORE_5,
  framed,
  hex,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
} from "./packet-row.ts";

const disconnect = (reasonCode: number, properties: Properties = {}): Packet => ({
  type: "disconnect",
  reasonCode,
  properties,
});
const auth = (reasonCode: number, properties: Properties = {}): Packet => ({ type: "auth", reasonCode, properties });

export const CONNECTION_PACKETS: readonly PacketRow[] = [
  ...packetRows(ALL_LEVELS, "pingreq", "c0 00", { type: "pingreq" }),
  ...packetRows(ALL_LEVELS, "pingresp", "d0 00", { type: "pingresp" }),
  ...packetRows(ALL_LEVELS, "disconnect: normal, without a body", "e0 00", disconnect(0)),
  ...packetRows([5], "disconnect: normal, said in a byte", "e0 01 00", disconnect(0), "decode"),
  ...packetRows([5], "disconnect: normal, with a Property Length", "e0 02 00 00", disconnect(0), "decode"),
  ...packetRows([5], "disconnect: with Will Message", "e0 01 04", disconnect(4)),
  ...packetRows([5], "disconnect: with Will Message and a Property Length", "e0 02 04 00", disconnect(4), "decode"),
  ...packetRows(
    [5],
    "disconnect: a Session Expiry Interval for ever",
    `e0 07            # DISCONNECT, Remaining Length 7
     00               # normal disconnection
     05               # Property Length 5
     11 ff ff ff ff   # Session Expiry Interval`,
    disconnect(0, { sessionExpiryInterval: 0xffffffff }),
  ),
  ...packetRows(
    [5],
    "disconnect: another server",
    `e0 15               # DISCONNECT, Remaining Length 21
     9c                  # Use another server
     13                  # Property Length 19
     1c 00 03 "b:1"      # Server Reference
     1f 00 02 "go"       # Reason String
     26 00 01 "k" 00 02 "vv" # User Property`,
    disconnect(0x9c, { serverReference: "b:1", reasonString: "go", userProperties: [["k", "vv"]] }),
  ),
  ...packetRows(BEFORE_5, "disconnect: reason code, not said", "e0 00", disconnect(0x8e), "encode"),
  ...packetRows([5], "auth: success without a body", "f0 00", auth(0)),
  ...packetRows([5], "auth: success, with a Property Length", "f0 02 00 00", auth(0), "decode"),
  ...packetRows([5], "auth: no properties", "f0 02 18 00", auth(0x18)),
  ...packetRows(
    [5],
    "auth: a step of an exchange",
    `f0 19                # AUTH, Remaining Length 25
     18                   # Continue authentication
     17                   # Property Length 23
     15 00 05 "SCRAM"     # Authentication Method
     16 00 03 00 c0 80    # Authentication Data: any bytes
     1f 00 06 "step 2"    # Reason String`,
    auth(0x18, {
      authenticationMethod: "SCRAM",
      authenticationData: Uint8Array.of(0, 0xc0, 0x80),
      reasonString: "step 2",
    }),
  ),
];

const reservedFlags: readonly RefusedRow[] = [...Array(15).keys()].flatMap((index) => {
  const flags = index + 1;
  const last = flags.toString(16);
  return [
    ...refusedRows(ALL_LEVELS, `pingreq: flags ${flags}`, `c${last} 00`, 0x81, "MQTT-2.1.3-1"),
    ...refusedRows(ALL_LEVELS, `pingresp: flags ${flags}`, `d${last} 00`, 0x81, "MQTT-2.1.3-1"),
    ...refusedRows(ALL_LEVELS, `disconnect: flags ${flags}`, `e${last} 00`, 0x81, "MQTT-3.14.1-1"),
    ...refusedRows([5], `auth: flags ${flags}`, `f${last} 00`, 0x81, "MQTT-3.15.1-1"),
  ];
});

const notAPacket: readonly RefusedRow[] = [...Array(16).keys()].flatMap((type) => {
  const first = Uint8Array.of((type << 4) | (type === 6 || type === 8 || type === 10 ? 2 : 0));
  const refuse = (name: string, length: string, statement: string): RefusedRow[] =>
    refusedRows(ALL_LEVELS, `type ${type}: ${name}`, Uint8Array.of(...first, ...hex(length)), 0x81, statement);
  return [
    ...refuse("over-long Remaining Length 0", "80 00", "MQTT-1.5.5-1"),
    ...refuse("over-long Remaining Length 2", "82 80 00 12 34", "MQTT-1.5.5-1"),
    ...refuse("Remaining Length of four bytes where one would do", "81 80 80 00 00", "MQTT-1.5.5-1"),
    ...refuse("Remaining Length of five bytes", "80 80 80 80 01", "2.1.4"),
    ...refuse("Remaining Length without an end", "ff ff ff ff ff ff ff", "2.1.4"),
  ];
});

export const CONNECTION_REFUSED: readonly RefusedRow[] = [
  ...reservedFlags,
  ...notAPacket,
  ...[0, 1, 15].flatMap((flags) =>
    refusedRows(ALL_LEVELS, `type 0: flags ${flags}`, Uint8Array.of(flags, 0), 0x81, "2.1.2"),
  ),
  ...refusedRows(ALL_LEVELS, "type 0: with a body", "00 02 12 34", 0x81, "2.1.2"),
  ...refusedRows(ALL_LEVELS, "pingreq: a body", "c0 01 00", 0x81, "4.13.1"),
  ...refusedRows(ALL_LEVELS, "pingresp: a body", "d0 01 00", 0x81, "4.13.1"),
  ...refusedRows(BEFORE_5, "disconnect: a body", "e0 01 00", 0x81, "4.13.1"),
  ...refusedRows(BEFORE_5, "auth: before MQTT 5.0", "f0 00", 0x82, "2.1.2"),
  ...(
    [
      ["disconnect", 0xe0],
      ["auth", 0xf0],
    ] as const
  ).flatMap(([type, firstByte]) => [
    ...refusedRows([5], `${type}: Property Length over the end`, framed(firstByte, hex("00 01")), 0x81, "2.2.2.1"),
    ...refusedRows([5], `${type}: Property Length cut`, framed(firstByte, hex("00 80")), 0x81, "4.13.1"),
    ...refusedRows([5], `${type}: over-long Property Length`, framed(firstByte, hex("00 80 00")), 0x81, "MQTT-1.5.5-1"),
    ...refusedRows(
      [5],
      `${type}: Property Length of five bytes`,
      framed(firstByte, hex("00 80 80 80 80 01")),
      0x81,
      "1.5.5",
    ),
    ...refusedRows([5], `${type}: a byte behind the properties`, framed(firstByte, hex("00 00 00")), 0x81, "4.13.1"),
  ]),
];
