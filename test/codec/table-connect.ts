/** Byte table of CONNECT (MQTT 5.0 section 3.1, MQTT 3.1.1 section 3.1); its properties are in table-properties.ts. */
import type { Connect } from "../../src/core/codec/connect.ts";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import {
  ALL_LEVELS,
  BEFORE_5,
  concatenate,
  framed,
  hex,
  ILL_FORMED,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
} from "./packet-row.ts";

const PROTOCOL: Readonly<Record<ProtocolLevel, string>> = {
  3: '00 06 "MQIsdp" 03',
  4: '00 04 "MQTT" 04',
  5: '00 04 "MQTT" 05',
};

/** A property list of length zero where the level has properties. */
const noProperties = (level: ProtocolLevel): string => (level === 5 ? "00" : "");

/** A CONNECT of connect flags and payload; Keep Alive is 60. */
function connectBytes(level: ProtocolLevel, flags: string, payload: string): Uint8Array {
  return framed(0x10, hex(`${PROTOCOL[level]} ${flags} 00 3c ${noProperties(level)} ${payload}`));
}

function connect(level: ProtocolLevel, fields: Partial<Connect>): Connect {
  return {
    type: "connect",
    protocolLevel: level,
    cleanStart: true,
    keepAlive: 60,
    clientId: "c",
    properties: {},
    ...fields,
  };
}

const text = (string: string): Uint8Array => new TextEncoder().encode(string);
const NO_BYTES = new Uint8Array(0);

const written: readonly PacketRow[] = [
  ...packetRows(
    [5],
    "connect: the least there can be",
    `10 0d            # CONNECT, Remaining Length 13
     00 04 "MQTT" 05  # Protocol Name and Version
     02               # Clean Start
     00 00            # no Keep Alive
     00               # Property Length
     00 00            # empty Client Identifier`,
    connect(5, { keepAlive: 0, clientId: "" }),
  ),
  ...packetRows(
    [4],
    "connect: the least there can be",
    `10 0c            # CONNECT, Remaining Length 12
     00 04 "MQTT" 04  # Protocol Name and Level
     02               # Clean Session
     00 00            # no Keep Alive
     00 00            # empty Client Identifier`,
    connect(4, { keepAlive: 0, clientId: "" }),
  ),
  ...packetRows(
    [3],
    "connect: the least there can be",
    `10 0f              # CONNECT, Remaining Length 15
     00 06 "MQIsdp" 03  # Protocol Name and Version
     02                 # Clean Session
     00 3c              # Keep Alive
     00 01 "c"          # Client Identifier`,
    connect(3, {}),
  ),
  ...packetRows(
    [5],
    "connect: every field",
    `10 2e              # CONNECT, Remaining Length 46
     00 04 "MQTT" 05    # Protocol Name and Version
     f4                 # User Name, Password, Will Retain, Will QoS 2, Will, no Clean Start
     ff ff              # Keep Alive
     05 11 00 00 00 0a  # Session Expiry Interval
     00 02 "id"         # Client Identifier
     05 18 00 00 00 05  # Will Delay Interval
     00 03 "w/t"        # Will Topic
     00 03 01 00 ff     # Will Payload
     00 04 "user"       # User Name
     00 02 c0 80        # Password: any bytes`,
    connect(5, {
      cleanStart: false,
      keepAlive: 65_535,
      clientId: "id",
      will: {
        topicName: "w/t",
        payload: Uint8Array.of(1, 0, 255),
        qos: 2,
        retain: true,
        properties: { willDelayInterval: 5 },
      },
      username: "user",
      password: Uint8Array.of(0xc0, 0x80),
      properties: { sessionExpiryInterval: 10 },
    }),
  ),
  ...packetRows(
    [4],
    "connect: every field",
    `10 22            # CONNECT, Remaining Length 34
     00 04 "MQTT" 04  # Protocol Name and Level
     ec               # User Name, Password, Will Retain, Will QoS 1, Will, no Clean Session
     ff ff            # Keep Alive
     00 02 "id"       # Client Identifier
     00 03 "w/t"      # Will Topic
     00 03 01 00 ff   # Will Message
     00 04 "user"     # User Name
     00 02 c0 80      # Password: any bytes`,
    connect(4, {
      cleanStart: false,
      keepAlive: 65_535,
      clientId: "id",
      will: { topicName: "w/t", payload: Uint8Array.of(1, 0, 255), qos: 1, retain: true, properties: {} },
      username: "user",
      password: Uint8Array.of(0xc0, 0x80),
    }),
  ),
];

const varied: readonly PacketRow[] = ALL_LEVELS.flatMap((level) => [
  ...packetRows([level], "connect: user name alone", connectBytes(level, "82", '00 01 "c" 00 01 "u"'), (l) =>
    connect(l, { username: "u" }),
  ),
  ...packetRows(
    [level],
    "connect: empty user name and password",
    connectBytes(level, "c2", '00 01 "c" 00 00 00 00'),
    (l) => connect(l, { username: "", password: NO_BYTES }),
  ),
  ...packetRows(
    [level],
    "connect: BOM kept in the Client Identifier",
    connectBytes(level, "02", "00 04 ef bb bf 63"),
    (l) => connect(l, { clientId: "\u{feff}c" }),
  ),
  ...packetRows(
    [level],
    "connect: first and last code points of each length",
    connectBytes(level, "02", "00 1a 01 7f c2 80 df bf e0 a0 80 ed 9f bf ee 80 80 ef bf bf f0 90 80 80 f4 8f bf bf"),
    (l) => connect(l, { clientId: "\u0001\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}" }),
  ),
  ...packetRows(
    [level],
    "connect: a Client Identifier of 65535 bytes",
    concatenate(
      hex("10"),
      framed(0, hex(`${PROTOCOL[level]} 02 00 3c ${noProperties(level)} ff ff`), text("x".repeat(65_535))).subarray(1),
    ),
    (l) => connect(l, { clientId: "x".repeat(65_535) }),
  ),
  ...([0, 1, 2] as const).flatMap((qos: QoS) =>
    [false, true].flatMap((retain) =>
      packetRows(
        [level],
        `connect: empty Will of QoS ${qos}, ${retain ? "" : "not "}retained`,
        connectBytes(
          level,
          (0x06 | (qos << 3) | (retain ? 0x20 : 0)).toString(16).padStart(2, "0"),
          `00 01 "c" ${noProperties(level)} 00 01 "w" 00 00`,
        ),
        (l) => connect(l, { will: { topicName: "w", payload: NO_BYTES, qos, retain, properties: {} } }),
      ),
    ),
  ),
]);

/** Section 3.1 of MQTT 3.1: the Remaining Length takes precedence over the User Name and Password flags. */
const endedEarly: readonly PacketRow[] = [
  ...packetRows(
    [3],
    "connect: flagged user name left off",
    connectBytes(3, "82", '00 01 "c"'),
    connect(3, {}),
    "decode",
  ),
  ...packetRows(
    [3],
    "connect: flagged password left off",
    connectBytes(3, "c2", '00 01 "c" 00 01 "u"'),
    connect(3, { username: "u" }),
    "decode",
  ),
];

export const CONNECT_PACKETS: readonly PacketRow[] = [
  ...written,
  ...varied,
  ...endedEarly,
  ...packetRows(
    [5],
    "connect: password without a user name",
    connectBytes(5, "42", '00 01 "c" 00 02 "pw"'),
    connect(5, { password: text("pw") }),
  ),
];

const everywhere: readonly RefusedRow[] = ALL_LEVELS.flatMap((level) => {
  const refuse = (name: string, bytes: Uint8Array, statement: string, reasonCode = 0x81): RefusedRow[] =>
    refusedRows([level], `connect: ${name}`, bytes, reasonCode, statement);
  const will = noProperties(level);
  return [
    ...[1, 2, 4, 8].flatMap((flags) =>
      refuse(
        `flags ${flags}`,
        concatenate(Uint8Array.of(0x10 | flags), connectBytes(level, "02", '00 01 "c"').subarray(1)),
        "MQTT-2.1.3-1",
      ),
    ),
    ...refuse("reserved connect flag", connectBytes(level, "03", '00 01 "c"'), "MQTT-3.1.2-3"),
    ...refuse("Will QoS 1 without a Will", connectBytes(level, "0a", '00 01 "c"'), "MQTT-3.1.2-11"),
    ...refuse("Will QoS 3 without a Will", connectBytes(level, "1a", '00 01 "c"'), "MQTT-3.1.2-11"),
    ...refuse("Will Retain without a Will", connectBytes(level, "22", '00 01 "c"'), "MQTT-3.1.2-13"),
    ...refuse("Will QoS 3", connectBytes(level, "1e", `00 01 "c" ${will} 00 01 "w" 00 00`), "MQTT-3.1.2-12"),
    ...refuse("no body", hex("10 00"), "4.13.1"),
    ...refuse("ends within the Protocol Name", hex('10 04 00 04 "MQ"'), "4.13.1"),
    ...refuse("ends behind the protocol level", framed(0x10, hex(PROTOCOL[level])), "4.13.1"),
    ...refuse("ends behind the connect flags", framed(0x10, hex(`${PROTOCOL[level]} 02`)), "4.13.1"),
    ...refuse("ends within the Keep Alive", framed(0x10, hex(`${PROTOCOL[level]} 02 00`)), "4.13.1"),
    ...refuse("no Client Identifier", connectBytes(level, "02", ""), "4.13.1"),
    ...refuse("Client Identifier longer than the packet", connectBytes(level, "02", '00 02 "c"'), "4.13.1"),
    ...refuse("no Will Topic", connectBytes(level, "06", `00 01 "c" ${will}`), "4.13.1"),
    ...refuse("no Will Payload", connectBytes(level, "06", `00 01 "c" ${will} 00 01 "w"`), "4.13.1"),
    ...refuse(
      "Will Payload longer than the packet",
      connectBytes(level, "06", `00 01 "c" ${will} 00 01 "w" 00 02 01`),
      "4.13.1",
    ),
    ...refuse("user name cut within its length", connectBytes(level, "82", '00 01 "c" 00'), "4.13.1"),
    ...refuse("user name longer than the packet", connectBytes(level, "82", '00 01 "c" 00 03 "us"'), "4.13.1"),
    ...refuse("password longer than the packet", connectBytes(level, "c2", '00 01 "c" 00 01 "u" 00 03 "pw"'), "4.13.1"),
    ...refuse("a byte behind the last field", connectBytes(level, "02", '00 01 "c" 00'), "4.13.1"),
    ...refuse("a user name that is not flagged", connectBytes(level, "02", '00 01 "c" 00 01 "u"'), "4.13.1"),
    ...ILL_FORMED.flatMap(([kind, bytes, statement]) => {
      const length = (hex(bytes).length + 1).toString(16).padStart(2, "0");
      const string = `00 ${length} 61 ${bytes}`;
      return [
        ...refuse(`${kind} in the Client Identifier`, connectBytes(level, "02", string), statement),
        ...refuse(
          `${kind} in the Will Topic`,
          connectBytes(level, "06", `00 01 "c" ${will} ${string} 00 00`),
          statement,
        ),
        ...refuse(`${kind} in the user name`, connectBytes(level, "82", `00 01 "c" ${string}`), statement),
      ];
    }),
  ];
});

export const CONNECT_REFUSED: readonly RefusedRow[] = [
  ...everywhere,
  ...refusedRows(
    [4],
    "connect: a protocol of another name",
    '10 0d 00 04 "MQTX" 04 02 00 3c 00 01 "c"',
    0x84,
    "MQTT-3.1.2-1",
  ),
  ...refusedRows(
    [4],
    "connect: the name in small letters",
    '10 0d 00 04 "mqtt" 04 02 00 3c 00 01 "c"',
    0x84,
    "MQTT-3.1.2-1",
  ),
  ...refusedRows([4], "connect: an empty Protocol Name", '10 09 00 00 04 02 00 3c 00 01 "c"', 0x84, "MQTT-3.1.2-1"),
  ...refusedRows(
    [5],
    "connect: U+0000 in the Protocol Name",
    '10 0e 00 04 "MQT" 00 05 02 00 3c 00 00 01 "c"',
    0x81,
    "MQTT-1.5.4-2",
  ),
  ...[0, 3, 6, 0x84, 0x85, 0xff].flatMap((level) =>
    refusedRows(
      [4],
      `connect: MQTT of level ${level}`,
      framed(0x10, hex('00 04 "MQTT"'), Uint8Array.of(level), hex('02 00 3c 00 01 "c"')),
      0x84,
      "MQTT-3.1.2-2",
    ),
  ),
  ...[0, 2, 4, 5, 0x83].flatMap((level) =>
    refusedRows(
      [3],
      `connect: MQIsdp of level ${level}`,
      framed(0x10, hex('00 06 "MQIsdp"'), Uint8Array.of(level), hex('02 00 3c 00 01 "c"')),
      0x84,
      "MQTT-3.1.2-2",
    ),
  ),
  ...BEFORE_5.flatMap((level) =>
    refusedRows(
      [level],
      "connect: password without a user name",
      connectBytes(level, "42", '00 01 "c" 00 02 "pw"'),
      0x81,
      "MQTT311-3.1.2-22",
    ),
  ),
  ...refusedRows([4], "connect: user name flagged and missing", connectBytes(4, "82", '00 01 "c"'), 0x81, "4.13.1"),
  ...refusedRows([5], "connect: user name flagged and missing", connectBytes(5, "82", '00 01 "c"'), 0x81, "4.13.1"),
  ...refusedRows([5], "connect: no Property Length", framed(0x10, hex(`${PROTOCOL[5]} 02 00 3c`)), 0x81, "4.13.1"),
  ...refusedRows([5], "connect: no Will Property Length", connectBytes(5, "06", '00 01 "c"'), 0x81, "4.13.1"),
  ...refusedRows(
    [5],
    "connect: Authentication Data without a method",
    '10 12 00 04 "MQTT" 05 02 00 3c 04 16 00 01 2a 00 01 "c"',
    0x82,
    "3.1.2.11.10",
  ),
  ...["#", "a/+"].flatMap((filter) =>
    refusedRows(
      [5],
      `connect: Will with the Response Topic ${filter}`,
      framed(
        0x10,
        hex(`${PROTOCOL[5]} 06 00 3c 00 00 01 "c"`),
        framed(0, hex(`08 00 0${filter.length} "${filter}"`)).subarray(1),
        hex('00 01 "w" 00 00'),
      ),
      0x82,
      "MQTT-3.3.2-14",
    ),
  ),
];
