/** Byte table of PUBLISH (MQTT 5.0 section 3.3, MQTT 3.1.1 section 3.3); its properties are in table-properties.ts. */
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import {
  ALL_LEVELS,
  BEFORE_5,
  framed,
  hex,
  ILL_FORMED,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
} from "./packet-row.ts";

const noProperties = (level: ProtocolLevel): string => (level === 5 ? "00" : "");
const text = (string: string): Uint8Array => new TextEncoder().encode(string);
const NO_BYTES = new Uint8Array(0);

const publish = (fields: Partial<Publish>): Publish => ({
  type: "publish",
  dup: false,
  qos: 0,
  retain: false,
  topicName: "a/b",
  payload: NO_BYTES,
  properties: {},
  ...fields,
});

/** A PUBLISH of QoS 0 with an empty payload, the Topic Name given with its length. */
const ofTopic = (level: ProtocolLevel, topic: string): Uint8Array =>
  framed(0x30, hex(`${topic} ${noProperties(level)}`));

function byFlags(level: ProtocolLevel, qos: QoS, dup: boolean, retain: boolean): PacketRow[] {
  const firstByte = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  const packetId = qos > 0 ? "12 34" : "";
  return packetRows(
    [level],
    `publish: QoS ${qos}${dup ? ", DUP" : ""}${retain ? ", RETAIN" : ""}`,
    framed(firstByte, hex(`00 03 "a/b" ${packetId} ${noProperties(level)} "hi"`)),
    publish({ qos, dup, retain, payload: text("hi"), ...(qos > 0 ? { packetId: 0x1234 } : {}) }),
  );
}

const spelledOut: readonly PacketRow[] = [
  ...packetRows(
    BEFORE_5,
    "publish: spelled out",
    `33 0b         # PUBLISH, QoS 1, RETAIN; Remaining Length 11
     00 03 "a/b"   # Topic Name
     00 0a         # Packet Identifier
     00 ff c0 80   # payload: any bytes`,
    publish({ qos: 1, retain: true, packetId: 10, payload: Uint8Array.of(0, 255, 0xc0, 0x80) }),
  ),
  ...packetRows(
    [5],
    "publish: spelled out",
    `3d 17         # PUBLISH, DUP, QoS 2, RETAIN; Remaining Length 23
     00 03 "a/b"   # Topic Name
     ff ff         # Packet Identifier
     0d            # Property Length 13
     01 01         # Payload Format Indicator
     23 00 07      # Topic Alias
     26 00 01 "k"  # User Property: name,
        00 02 "vv" # value
     "hi"          # payload`,
    publish({
      dup: true,
      qos: 2,
      retain: true,
      packetId: 65_535,
      payload: text("hi"),
      properties: { payloadFormatIndicator: 1, topicAlias: 7, userProperties: [["k", "vv"]] },
    }),
  ),
  ...packetRows(
    [5],
    "publish: an alias in place of the Topic Name",
    `30 06       # PUBLISH, QoS 0
     00 00       # empty Topic Name
     03 23 00 01 # Property Length, Topic Alias`,
    publish({ topicName: "", properties: { topicAlias: 1 } }),
  ),
  ...packetRows(
    [5],
    "publish: several Subscription Identifiers",
    `30 12         # PUBLISH, QoS 0
     00 03 "a/b"   # Topic Name
     0c            # Property Length 12
     0b 01         # Subscription Identifiers: 1,
     0b 80 01      # 128,
     0b ff ff ff 7f # the largest,
     0b 01         # and the first again`,
    publish({ properties: { subscriptionIdentifiers: [1, 128, 268_435_455, 1] } }),
  ),
];

/** Remaining Lengths on both sides of each border of their encoding. */
const byLength: readonly PacketRow[] = [127, 128, 16_383, 16_384, 2_097_151, 2_097_152].flatMap((remainingLength) => {
  const payload = new Uint8Array(remainingLength - 5).fill(0x2a);
  return packetRows(
    [4],
    `publish: Remaining Length ${remainingLength}`,
    framed(0x30, hex('00 03 "a/b"'), payload),
    publish({ payload }),
  );
});

export const PUBLISH_PACKETS: readonly PacketRow[] = [
  ...spelledOut,
  ...ALL_LEVELS.flatMap((level) => [
    ...([0, 1, 2] as const).flatMap((qos) =>
      [false, true].flatMap((dup) =>
        dup && qos === 0 ? [] : [...byFlags(level, qos, dup, false), ...byFlags(level, qos, dup, true)],
      ),
    ),
    ...packetRows([level], "publish: empty payload", ofTopic(level, '00 03 "a/b"'), publish({})),
    ...packetRows(
      [level],
      "publish: Topic Name of one slash",
      ofTopic(level, '00 01 "/"'),
      publish({ topicName: "/" }),
    ),
    ...packetRows([level], "publish: a $ topic", ofTopic(level, '00 05 "$SYS/"'), publish({ topicName: "$SYS/" })),
    ...packetRows(
      [level],
      "publish: blanks in the Topic Name",
      ofTopic(level, '00 03 " / "'),
      publish({ topicName: " / " }),
    ),
    ...packetRows(
      [level],
      "publish: BOM and U+FEFF kept in the Topic Name",
      ofTopic(level, "00 07 ef bb bf 2f ef bb bf"),
      publish({ topicName: "\u{feff}/\u{feff}" }),
    ),
    ...packetRows(
      [level],
      "publish: composed and decomposed letters stay apart",
      ofTopic(level, "00 06 c3 a9 2f 65 cc 81"),
      publish({ topicName: "\u00e9/e\u0301" }),
    ),
    ...packetRows(
      [level],
      "publish: control and non-characters in the Topic Name",
      ofTopic(level, "00 08 01 c2 80 7f ef bf bf 62"),
      publish({ topicName: "\u0001\u0080\u007f\uffffb" }),
    ),
    ...packetRows(
      [level],
      "publish: a Topic Name of 65535 bytes",
      framed(0x30, hex("ff ff"), text("t".repeat(65_535)), hex(noProperties(level))),
      publish({ topicName: "t".repeat(65_535) }),
    ),
  ]),
  ...byLength,
  ...packetRows(
    BEFORE_5,
    "publish: properties, not said",
    '30 05 00 03 "a/b"',
    publish({ properties: { contentType: "text/plain" } }),
    "encode",
  ),
];

const everywhere: readonly RefusedRow[] = ALL_LEVELS.flatMap((level) => {
  const refuse = (name: string, bytes: string | Uint8Array, statement: string, reasonCode = 0x81): RefusedRow[] =>
    refusedRows([level], `publish: ${name}`, bytes, reasonCode, statement);
  const list = noProperties(level);
  return [
    ...["36", "37", "3e", "3f"].flatMap((first) =>
      refuse(
        `first byte ${first}, QoS 3`,
        framed(Number.parseInt(first, 16), hex(`00 03 "a/b" 00 01 ${list}`)),
        "MQTT-3.3.1-4",
      ),
    ),
    ...refuse("DUP at QoS 0", framed(0x38, hex(`00 03 "a/b" ${list}`)), "MQTT-3.3.1-2"),
    ...refuse("DUP and RETAIN at QoS 0", framed(0x39, hex(`00 03 "a/b" ${list}`)), "MQTT-3.3.1-2"),
    ...refuse("no body", "30 00", "4.13.1"),
    ...refuse("half a length of the Topic Name", "30 01 00", "4.13.1"),
    ...refuse("Topic Name longer than the packet", '30 04 00 03 "a/"', "4.13.1"),
    ...refuse("no Packet Identifier at QoS 1", '32 05 00 03 "a/b"', "4.13.1"),
    ...refuse("half a Packet Identifier at QoS 2", '34 06 00 03 "a/b" 00', "4.13.1"),
    ...refuse("Packet Identifier 0 at QoS 1", framed(0x32, hex(`00 03 "a/b" 00 00 ${list}`)), "MQTT-2.2.1-3", 0x82),
    ...refuse("Packet Identifier 0 at QoS 2", framed(0x34, hex(`00 03 "a/b" 00 00 ${list}`)), "MQTT-2.2.1-3", 0x82),
    ...refuse("empty Topic Name", ofTopic(level, "00 00"), "MQTT-4.7.3-1", 0x82),
    ...["#", "+", "a/#", "a/+/b", "a+", "#a"].flatMap((name) =>
      refuse(`Topic Name ${name}`, ofTopic(level, `00 0${name.length} "${name}"`), "MQTT-3.3.2-2", 0x90),
    ),
    ...ILL_FORMED.flatMap(([kind, bytes, statement]) => {
      const length = (hex(bytes).length + 1).toString(16).padStart(2, "0");
      return refuse(`${kind} in the Topic Name`, ofTopic(level, `00 ${length} 61 ${bytes}`), statement);
    }),
  ];
});

export const PUBLISH_REFUSED: readonly RefusedRow[] = [
  ...everywhere,
  ...refusedRows([5], "publish: no Property Length", '30 05 00 03 "a/b"', 0x81, "4.13.1"),
  ...refusedRows([5], "publish: Property Length over the end", '30 06 00 03 "a/b" 01', 0x81, "2.2.2.1"),
  ...refusedRows([5], "publish: Property Length cut", '30 06 00 03 "a/b" 80', 0x81, "4.13.1"),
  ...refusedRows([5], "publish: over-long Property Length", '30 07 00 03 "a/b" 80 00', 0x81, "MQTT-1.5.5-1"),
  ...refusedRows([5], "publish: Property Length of five bytes", '30 0a 00 03 "a/b" 80 80 80 80 01', 0x81, "1.5.5"),
  ...refusedRows(
    [5],
    "publish: a property that runs into the payload",
    '30 09 00 03 "a/b" 02 23 00 01',
    0x81,
    "4.13.1",
  ),
  ...["#", "a/+"].flatMap((filter) =>
    refusedRows(
      [5],
      `publish: Response Topic ${filter}`,
      framed(0x30, hex('00 03 "a/b"'), framed(0, hex(`08 00 0${filter.length} "${filter}"`)).subarray(1)),
      0x82,
      "MQTT-3.3.2-14",
    ),
  ),
  ...refusedRows(
    [5],
    "publish: ill-formed Topic Name behind an alias",
    "30 08 00 02 c0 80 03 23 00 01",
    0x81,
    "MQTT-1.5.4-1",
  ),
];
