/**
 * Byte table of the properties (MQTT 5.0 section 2.2.2), generated from the property table: every property in every packet
 * that may carry it with its smallest and largest value, and refused in every other packet, twice, cut, and out of range.
 *
 * The values' bytes are written down here and not with the writer under test. That the property table itself is right is
 * the subject of property.test.ts.
 */

import type { Packet } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import {
  PROPERTIES,
  type Properties,
  type PropertyDefinition,
  WILL_PROPERTIES,
} from "../../src/core/codec/property.ts";
import {
  concatenate,
  framed,
  hex,
  ILL_FORMED,
  type PacketRow,
  packetRows,
  type RefusedRow,
  refusedRows,
  variableByteInteger,
} from "./packet-row.ts";

/** A packet around a property list. */
interface Carrier {
  readonly name: string;
  readonly packetType: number;
  readonly firstByte: number;
  readonly before: string;
  readonly after: string;
  packet(properties: Properties): Packet;
}

const CONNECT_HEAD = '00 04 "MQTT" 05';
const CONNECT = { type: "connect", protocolLevel: 5, cleanStart: true, keepAlive: 60, clientId: "c" } as const;

const CARRIERS: readonly Carrier[] = [
  {
    name: "connect",
    packetType: PacketType.CONNECT,
    firstByte: 0x10,
    before: `${CONNECT_HEAD} 02 00 3c`,
    after: '00 01 "c"',
    packet: (properties) => ({ ...CONNECT, properties }),
  },
  {
    name: "connect: Will",
    packetType: WILL_PROPERTIES,
    firstByte: 0x10,
    before: `${CONNECT_HEAD} 06 00 3c 00 00 01 "c"`,
    after: '00 01 "w" 00 00',
    packet: (properties) => ({
      ...CONNECT,
      properties: {},
      will: { topicName: "w", payload: new Uint8Array(0), qos: 0, retain: false, properties },
    }),
  },
  {
    name: "connack",
    packetType: PacketType.CONNACK,
    firstByte: 0x20,
    before: "00 00",
    after: "",
    packet: (properties) => ({ type: "connack", sessionPresent: false, reasonCode: 0, properties }),
  },
  {
    name: "publish",
    packetType: PacketType.PUBLISH,
    firstByte: 0x30,
    before: '00 01 "t"',
    after: "26 00 00",
    packet: (properties) => ({
      type: "publish",
      dup: false,
      qos: 0,
      retain: false,
      topicName: "t",
      payload: Uint8Array.of(0x26, 0, 0),
      properties,
    }),
  },
  ...(["puback", "pubrec", "pubrel", "pubcomp"] as const).map((type, index): Carrier => {
    const packetType = PacketType.PUBACK + index;
    return {
      name: type,
      packetType,
      firstByte: (packetType << 4) | (type === "pubrel" ? 2 : 0),
      before: "00 01 00",
      after: "",
      packet: (properties) => ({ type, packetId: 1, reasonCode: 0, properties }),
    };
  }),
  {
    name: "subscribe",
    packetType: PacketType.SUBSCRIBE,
    firstByte: 0x82,
    before: "00 01",
    after: '00 01 "f" 01',
    packet: (properties) => ({
      type: "subscribe",
      packetId: 1,
      filters: [{ topicFilter: "f", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
      properties,
    }),
  },
  {
    name: "suback",
    packetType: PacketType.SUBACK,
    firstByte: 0x90,
    before: "00 01",
    after: "01",
    packet: (properties) => ({ type: "suback", packetId: 1, reasonCodes: [1], properties }),
  },
  {
    name: "unsubscribe",
    packetType: PacketType.UNSUBSCRIBE,
    firstByte: 0xa2,
    before: "00 01",
    after: '00 01 "f"',
    packet: (properties) => ({ type: "unsubscribe", packetId: 1, topicFilters: ["f"], properties }),
  },
  {
    name: "unsuback",
    packetType: PacketType.UNSUBACK,
    firstByte: 0xb0,
    before: "00 01",
    after: "11",
    packet: (properties) => ({ type: "unsuback", packetId: 1, reasonCodes: [0x11], properties }),
  },
  {
    name: "disconnect",
    packetType: PacketType.DISCONNECT,
    firstByte: 0xe0,
    before: "00",
    after: "",
    packet: (properties) => ({ type: "disconnect", reasonCode: 0, properties }),
  },
  {
    name: "auth",
    packetType: PacketType.AUTH,
    firstByte: 0xf0,
    before: "19",
    after: "",
    packet: (properties) => ({ type: "auth", reasonCode: 0x19, properties }),
  },
];

function carry(carrier: Carrier, list: Uint8Array): Uint8Array {
  return framed(carrier.firstByte, hex(carrier.before), variableByteInteger(list.length), list, hex(carrier.after));
}

type Value = number | string | Uint8Array | [string, string];

const utf8 = new TextEncoder();

function bigEndian(value: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => Math.floor(value / 256 ** (count - 1 - index)) % 256);
}

const prefixed = (bytes: Uint8Array): Uint8Array => concatenate(bigEndian(bytes.length, 2), bytes);

/** A property as bytes: identifier and value (section 1.5). */
function propertyBytes({ id, type }: PropertyDefinition, value: Value): Uint8Array {
  const head = Uint8Array.of(id);
  if (typeof value === "string") return concatenate(head, prefixed(utf8.encode(value)));
  if (value instanceof Uint8Array) return concatenate(head, prefixed(value));
  if (typeof value !== "number") return concatenate(head, ...value.map((part) => prefixed(utf8.encode(part))));
  if (type === "varint") return concatenate(head, variableByteInteger(value));
  return concatenate(head, bigEndian(value, type === "byte" ? 1 : type === "u16" ? 2 : 4));
}

/** Values at the ends of what a property can be; the last is an ordinary one. */
function valuesOf({ type, min, max }: PropertyDefinition): Value[] {
  switch (type) {
    case "byte":
      return [min, max];
    case "u16":
      return [min, Math.min(max, 65_535), 258];
    case "u32":
      return [min, max, 16_909_060];
    case "varint":
      return [min, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, max, 200];
    case "string":
      return ["", "\u{feff}", "\u{1f600}/\u00e9", "text"];
    case "binary":
      return [new Uint8Array(0), Uint8Array.of(0xc0, 0x80, 0), Uint8Array.of(1, 2)];
    case "pair":
      return [
        ["", ""],
        ["\u{feff}", "\u6f22"],
        ["key", "value"],
      ];
  }
}

const ordinary = (definition: PropertyDefinition): Value => valuesOf(definition).at(-1)!;

function put(properties: Properties, { name }: PropertyDefinition, value: Value): Properties {
  const repeated = name === "userProperties" || name === "subscriptionIdentifiers";
  return Object.assign(properties, { [name]: repeated ? [value] : value });
}

const mayCarry = (carrier: Carrier, definition: PropertyDefinition): boolean =>
  (definition.packets & (1 << carrier.packetType)) !== 0;

const METHOD = PROPERTIES.find(({ name }) => name === "authenticationMethod")!;

/** Properties that have to stand in front: Authentication Data needs its method in CONNECT (section 3.1.2.11.10). */
const needed = (carrier: Carrier, { name }: PropertyDefinition): readonly PropertyDefinition[] =>
  carrier.packetType === PacketType.CONNECT && name === "authenticationData" ? [METHOD] : [];

function packetsOf(carrier: Carrier): PacketRow[] {
  const allowed = PROPERTIES.filter((definition) => mayCarry(carrier, definition));
  const single = allowed.flatMap((definition) =>
    valuesOf(definition).flatMap((value, index) => {
      const front = needed(carrier, definition);
      const list = concatenate(...front.map((d) => propertyBytes(d, ordinary(d))), propertyBytes(definition, value));
      const properties: Properties = {};
      for (const d of front) put(properties, d, ordinary(d));
      const packet = carrier.packet(put(properties, definition, value));
      return packetRows([5], `${carrier.name}: ${definition.name}, value ${index}`, carry(carrier, list), packet);
    }),
  );
  const parts = allowed.map((definition) => propertyBytes(definition, ordinary(definition)));
  const all: Properties = {};
  for (const definition of allowed) put(all, definition, ordinary(definition));
  const backwards = concatenate(...parts.toReversed());
  return [
    ...packetRows(
      [5],
      `${carrier.name}: no property`,
      carry(carrier, new Uint8Array(0)),
      carrier.packet({}),
      emptyForm(carrier),
    ),
    ...single,
    ...packetRows([5], `${carrier.name}: every property`, carry(carrier, concatenate(...parts)), carrier.packet(all)),
    ...(allowed.length > 1
      ? packetRows(
          [5],
          `${carrier.name}: every property, backwards`,
          carry(carrier, backwards),
          carrier.packet(all),
          "decode",
        )
      : []),
    ...packetRows(
      [5],
      `${carrier.name}: User Properties keep order and repetition`,
      carry(carrier, hex('26 00 01 "k" 00 01 "2" 26 00 01 "j" 00 00 26 00 01 "k" 00 01 "1" 26 00 01 "k" 00 01 "2"')),
      carrier.packet({
        userProperties: [
          ["k", "2"],
          ["j", ""],
          ["k", "1"],
          ["k", "2"],
        ],
      }),
    ),
  ];
}

/** Packets that leave an empty list off are not written with a length of zero. */
function emptyForm({ name }: Carrier): "decode" | undefined {
  return ["puback", "pubrec", "pubrel", "pubcomp", "disconnect"].includes(name) ? "decode" : undefined;
}

function refusedOf(carrier: Carrier): RefusedRow[] {
  const refuse = (name: string, list: Uint8Array, statement: string, reasonCode: number): RefusedRow[] =>
    refusedRows([5], `${carrier.name}: ${name}`, carry(carrier, list), reasonCode, statement);
  return [
    ...PROPERTIES.flatMap((definition) => {
      const bytes = propertyBytes(definition, ordinary(definition));
      if (!mayCarry(carrier, definition)) return refuse(`${definition.name} not allowed`, bytes, "2.2.2.2", 0x81);
      const repeats =
        definition.name === "userProperties" ||
        (definition.name === "subscriptionIdentifiers" && carrier.packetType === PacketType.PUBLISH);
      return [
        ...(repeats ? [] : refuse(`${definition.name} twice`, concatenate(bytes, bytes), "2.2.2.2", 0x82)),
        ...refuse(`${definition.name} cut`, bytes.subarray(0, -1), "4.13.1", 0x81),
        ...refuse(`${definition.name} without a value`, bytes.subarray(0, 1), "4.13.1", 0x81),
        ...rangeRefused(definition, refuse),
        ...(definition.type === "string" || definition.type === "pair" ? textRefused(definition, refuse) : []),
      ];
    }),
    ...[0x00, 0x04, 0x0a, 0x10, 0x14, 0x1b, 0x20, 0x2b, 0x7f].flatMap((id) =>
      refuse(`unknown property ${id}`, Uint8Array.of(id, 0), "2.2.2.2", 0x81),
    ),
    ...refuse("unknown property 166, an identifier of two bytes", hex("a6 01 00 00 00 00"), "2.2.2.2", 0x81),
    ...refuse("over-long identifier of a User Property", hex("a6 00 00 00 00 00"), "MQTT-1.5.5-1", 0x81),
    ...refuse("identifier of five bytes", hex("a6 80 80 80 01 00 00"), "1.5.5", 0x81),
    ...refuse("identifier cut", hex("80"), "4.13.1", 0x81),
  ];
}

type Refuse = (name: string, list: Uint8Array, statement: string, reasonCode: number) => RefusedRow[];

function rangeRefused(definition: PropertyDefinition, refuse: Refuse): RefusedRow[] {
  const { name, type, min, max } = definition;
  const [code, statement] = name === "topicAlias" ? [0x94, "MQTT-3.3.2-8"] : [0x82, "2.2.2.2"];
  const out = (value: number) =>
    refuse(`${name} of ${value}`, propertyBytes(definition, value), statement as string, code as number);
  return [
    ...(min > 0 ? out(min - 1) : []),
    ...(type === "byte" ? [...out(max + 1), ...out(255)] : []),
    ...(type === "varint"
      ? [
          ...refuse(`${name} over-long`, Uint8Array.of(definition.id, 0x81, 0x00), "MQTT-1.5.5-1", 0x81),
          ...refuse(`${name} of five bytes`, Uint8Array.of(definition.id, 0x80, 0x80, 0x80, 0x80, 1), "1.5.5", 0x81),
        ]
      : []),
  ];
}

function textRefused(definition: PropertyDefinition, refuse: Refuse): RefusedRow[] {
  const head = Uint8Array.of(definition.id);
  const good = prefixed(utf8.encode("good"));
  return ILL_FORMED.flatMap(([kind, notation, statement]) => {
    const bad = prefixed(concatenate(utf8.encode("a"), hex(notation)));
    if (definition.type === "string")
      return refuse(`${kind} in ${definition.name}`, concatenate(head, bad), statement, 0x81);
    return [
      ...refuse(`${kind} in the name of a User Property`, concatenate(head, bad, good), statement, 0x81),
      ...refuse(`${kind} in the value of a User Property`, concatenate(head, good, bad), statement, 0x81),
    ];
  });
}

export const PROPERTY_PACKETS: readonly PacketRow[] = CARRIERS.flatMap(packetsOf);
export const PROPERTY_REFUSED: readonly RefusedRow[] = CARRIERS.flatMap(refusedOf);
