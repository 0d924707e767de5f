/** Byte table of SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5.0 sections 3.8 to 3.11). */
import type { Packet, ProtocolLevel } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import type { SubscribeFilter } from "../../src/core/codec/subscribe.ts";
import {
  ALL_LEVELS,
  BEFORE_5,
  FROM_311,
  framed,
  hex,
  ILL_FORMED,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
} from "./packet-row.ts";

const noProperties = (level: ProtocolLevel): string => (level === 5 ? "00" : "");
const PLAIN: SubscribeFilter = {
  topicFilter: "a/b",
  qos: 0,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
};
const subscribe = (filters: SubscribeFilter[], properties: Properties = {}): Packet => ({
  type: "subscribe",
  packetId: 0x1234,
  filters,
  properties,
});
const unsubscribe = (topicFilters: string[]): Packet => ({
  type: "unsubscribe",
  packetId: 0x1234,
  topicFilters,
  properties: {},
});

/** Every allowed byte of Subscription Options. */
const optionRows: readonly PacketRow[] = [0, 1, 2].flatMap((retainHandling) =>
  [0, 1, 2].flatMap((qos) =>
    [false, true].flatMap((noLocal) =>
      [false, true].flatMap((retainAsPublished) => {
        const options = qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4);
        const filter = { topicFilter: "a/b", qos, noLocal, retainAsPublished, retainHandling } as SubscribeFilter;
        return packetRows(
          [5],
          `subscribe: Subscription Options ${options}`,
          framed(0x82, hex('12 34 00 00 03 "a/b"'), Uint8Array.of(options)),
          subscribe([filter]),
        );
      }),
    ),
  ),
);

const spelledOut: readonly PacketRow[] = [
  ...packetRows(
    BEFORE_5,
    "subscribe: several filters",
    `82 13           # SUBSCRIBE, Remaining Length 19
     12 34           # Packet Identifier
     00 03 "a/b" 00  # Topic Filter, QoS
     00 01 "#" 01
     00 04 "+/+/" 02`,
    subscribe([PLAIN, { ...PLAIN, topicFilter: "#", qos: 1 }, { ...PLAIN, topicFilter: "+/+/", qos: 2 }]),
  ),
  ...packetRows(
    [5],
    "subscribe: several filters, Subscription Identifier",
    `82 20              # SUBSCRIBE, Remaining Length 32
     12 34              # Packet Identifier
     05                 # Property Length 5
     0b ff ff ff 7f     # Subscription Identifier
     00 03 "a/b" 00     # Topic Filter, Subscription Options
     00 0f "$share/g/a/+/c_" 2e # of a Shared Subscription`,
    subscribe(
      [PLAIN, { topicFilter: "$share/g/a/+/c_", qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
      { subscriptionIdentifiers: [268_435_455] },
    ),
  ),
  ...packetRows(
    BEFORE_5,
    "subscribe: options of MQTT 5.0, not said",
    '82 08 12 34 00 03 "a/b" 01',
    subscribe([{ ...PLAIN, qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 }]),
    "encode",
  ),
  ...packetRows([3], "subscribe: repeated with DUP", '8a 08 12 34 00 03 "a/b" 00', subscribe([PLAIN]), "decode"),
  ...packetRows(
    BEFORE_5,
    "suback: every return code",
    `90 06  # SUBACK, Remaining Length 6
     12 34  # Packet Identifier
     00 01 02 80`,
    { type: "suback", packetId: 0x1234, reasonCodes: [0, 1, 2, 0x80], properties: {} },
  ),
  ...packetRows(
    BEFORE_5,
    "suback: every failure is 0x80",
    "90 06 12 34 02 80 80 80",
    { type: "suback", packetId: 0x1234, reasonCodes: [2, 0x87, 0x8f, 0xa2], properties: {} },
    "encode",
  ),
  ...packetRows([3], "unsubscribe: repeated with DUP", 'aa 07 12 34 00 03 "a/b"', unsubscribe(["a/b"]), "decode"),
  ...packetRows(BEFORE_5, "unsuback: a Packet Identifier alone", "b0 02 12 34", {
    type: "unsuback",
    packetId: 0x1234,
    reasonCodes: [],
    properties: {},
  }),
  ...packetRows(
    BEFORE_5,
    "unsuback: reason codes, not said",
    "b0 02 12 34",
    { type: "unsuback", packetId: 0x1234, reasonCodes: [0, 0x11], properties: {} },
    "encode",
  ),
  ...packetRows(
    [5],
    "unsuback: several reason codes",
    `b0 06     # UNSUBACK, Remaining Length 6
     12 34     # Packet Identifier
     00        # Property Length
     00 11 87`,
    { type: "unsuback", packetId: 0x1234, reasonCodes: [0, 0x11, 0x87], properties: {} },
  ),
  ...packetRows([5], "suback: several reason codes", "90 06 12 34 00 02 00 8f", {
    type: "suback",
    packetId: 0x1234,
    reasonCodes: [2, 0, 0x8f],
    properties: {},
  }),
];

export const SUBSCRIBE_PACKETS: readonly PacketRow[] = [
  ...spelledOut,
  ...optionRows,
  ...ALL_LEVELS.flatMap((level) => {
    const head = `12 34 ${noProperties(level)}`;
    return [
      ...packetRows(
        [level],
        "subscribe: BOM kept in the Topic Filter",
        framed(0x82, hex(`${head} 00 05 ef bb bf 2f 2b 01`)),
        subscribe([{ ...PLAIN, topicFilter: "\u{feff}/+", qos: 1 }]),
      ),
      ...packetRows([level], "unsubscribe: one filter", framed(0xa2, hex(`${head} 00 03 "a/b"`)), unsubscribe(["a/b"])),
      ...packetRows(
        [level],
        "unsubscribe: several filters",
        framed(0xa2, hex(`${head} 00 01 "#" 00 03 "$SY" 00 04 f0 9f 98 80`)),
        unsubscribe(["#", "$SY", "\u{1f600}"]),
      ),
    ];
  }),
];

/** What SUBSCRIBE and UNSUBSCRIBE have in common; `options` is what stands behind a filter. */
function requestRefused(level: ProtocolLevel, type: string, firstByte: number, options: string): RefusedRow[] {
  const section = type === "subscribe" ? "3.8" : "3.10";
  const list = noProperties(level);
  const refuse = (name: string, body: string, statement: string, reasonCode = 0x81): RefusedRow[] =>
    refusedRows([level], `${type}: ${name}`, framed(firstByte, hex(body)), reasonCode, statement);
  const flags = [...Array(16).keys()].filter((flag) => flag !== 2 && !(flag === 0x0a && level === 3));
  return [
    ...flags.flatMap((flag) =>
      refusedRows(
        [level],
        `${type}: flags ${flag}`,
        framed((firstByte & 0xf0) | flag, hex(`12 34 ${list} 00 01 "a" ${options}`)),
        0x81,
        `MQTT-${section}.1-1`,
      ),
    ),
    ...refuse("no body", "", "4.13.1"),
    ...refuse("half a Packet Identifier", "12", "4.13.1"),
    ...refuse("Packet Identifier 0", `00 00 ${list} 00 01 "a" ${options}`, "MQTT-2.2.1-3", 0x82),
    ...refuse("no Topic Filter", `12 34 ${list}`, `MQTT-${section}.3-2`, 0x82),
    ...refuse("half a length of a Topic Filter", `12 34 ${list} 00`, "4.13.1"),
    ...refuse("Topic Filter longer than the packet", `12 34 ${list} 00 02 "a"`, "4.13.1"),
    ...refuse("second Topic Filter cut", `12 34 ${list} 00 01 "a" ${options} 00 02 "b"`, "4.13.1"),
    ...ILL_FORMED.flatMap(([kind, bytes, statement]) => {
      const length = (hex(bytes).length + 1).toString(16).padStart(2, "0");
      return refuse(`${kind} in the Topic Filter`, `12 34 ${list} 00 ${length} 61 ${bytes} ${options}`, statement);
    }),
  ];
}

function answerRefused(level: ProtocolLevel, type: string, firstByte: number): RefusedRow[] {
  const refuse = (name: string, body: string, statement: string, reasonCode = 0x81): RefusedRow[] =>
    refusedRows([level], `${type}: ${name}`, framed(firstByte, hex(body)), reasonCode, statement);
  const body = type === "unsuback" && level !== 5 ? "12 34" : `12 34 ${noProperties(level)} 00`;
  return [
    ...[1, 2, 4, 8, 10].flatMap((flag) =>
      refusedRows([level], `${type}: flags ${flag}`, framed(firstByte | flag, hex(body)), 0x81, "MQTT-2.1.3-1"),
    ),
    ...refuse("no body", "", "4.13.1"),
    ...refuse("half a Packet Identifier", "12", "4.13.1"),
    ...refuse("Packet Identifier 0", body.replace("12 34", "00 00"), "MQTT-2.2.1-6", 0x82),
  ];
}

/** What only a level with properties can get wrong. */
const listRefused: readonly RefusedRow[] = (
  [
    ["subscribe", 0x82],
    ["suback", 0x90],
    ["unsubscribe", 0xa2],
    ["unsuback", 0xb0],
  ] as const
).flatMap(([type, firstByte]) => [
  ...refusedRows([5], `${type}: no Property Length`, framed(firstByte, hex("12 34")), 0x81, "4.13.1"),
  ...refusedRows([5], `${type}: Property Length over the end`, framed(firstByte, hex("12 34 7f 26")), 0x81, "2.2.2.1"),
  ...refusedRows(
    [5],
    `${type}: over-long Property Length`,
    framed(firstByte, hex("12 34 80 00")),
    0x81,
    "MQTT-1.5.5-1",
  ),
  ...refusedRows(
    [5],
    `${type}: Property Length of five bytes`,
    framed(firstByte, hex("12 34 80 80 80 80 01")),
    0x81,
    "1.5.5",
  ),
]);

export const SUBSCRIBE_REFUSED: readonly RefusedRow[] = [
  ...ALL_LEVELS.flatMap((level) => [
    ...requestRefused(level, "subscribe", 0x82, "00"),
    ...requestRefused(level, "unsubscribe", 0xa2, ""),
    ...answerRefused(level, "suback", 0x90),
    ...answerRefused(level, "unsuback", 0xb0),
    ...refusedRows(
      [level],
      "subscribe: no options",
      framed(0x82, hex(`12 34 ${noProperties(level)} 00 01 "a"`)),
      0x81,
      "4.13.1",
    ),
    ...refusedRows(
      [level],
      "subscribe: QoS 3",
      framed(0x82, hex(`12 34 ${noProperties(level)} 00 01 "a" 03`)),
      0x82,
      "3.8.3.1",
    ),
  ]),
  ...listRefused,
  ...["04", "08", "10", "20", "40", "80"].flatMap((options) =>
    refusedRows(
      BEFORE_5,
      `subscribe: reserved options ${options}`,
      `82 06 12 34 00 01 "a" ${options}`,
      0x81,
      "MQTT-3.8.3-5",
    ),
  ),
  ...["40", "80", "c2"].flatMap((options) =>
    refusedRows(
      [5],
      `subscribe: reserved options ${options}`,
      `82 07 12 34 00 00 01 "a" ${options}`,
      0x81,
      "MQTT-3.8.3-5",
    ),
  ),
  ...refusedRows([5], "subscribe: Retain Handling 3", '82 07 12 34 00 00 01 "a" 30', 0x82, "3.8.3.1"),
  ...["03", "7f", "87", "ff"].flatMap((code) =>
    refusedRows(BEFORE_5, `suback: return code ${code}`, `90 03 12 34 ${code}`, 0x82, "MQTT-3.9.3-2"),
  ),
  ...refusedRows([5], "suback: second reason code unknown", "90 05 12 34 00 00 03", 0x82, "MQTT-3.9.3-2"),
  ...refusedRows([5], "unsuback: second reason code unknown", "b0 05 12 34 00 00 01", 0x82, "MQTT-3.11.3-2"),
  ...refusedRows(BEFORE_5, "unsuback: a reason code", "b0 03 12 34 00", 0x81, "4.13.1"),
  ...refusedRows(FROM_311, "unsubscribe: flags of MQTT 3.1, DUP", 'aa 07 12 34 00 03 "a/b"', 0x81, "MQTT-3.10.1-1"),
];
