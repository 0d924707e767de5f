/**
 * Every property of MQTT 5.0 section 2.2.2.2: one table that says id, name, type, where allowed, how often, which values.
 *
 * An id that is unknown or not allowed in its packet is a Malformed Packet; one that is repeated, or has a value outside its
 * range, a Protocol Error. Adding a property is adding a row.
 */
import { PacketType } from "./packet-type.ts";
import { malformed, PeerError, protocolError } from "./peer-error.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** The properties of one packet, by the specification's names. Absent means absent, not the default. */
export interface Properties {
  payloadFormatIndicator?: number;
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  /** Subscription Identifiers; several only in a PUBLISH from the server. */
  subscriptionIdentifiers?: number[];
  sessionExpiryInterval?: number;
  assignedClientIdentifier?: string;
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
  requestProblemInformation?: number;
  willDelayInterval?: number;
  requestResponseInformation?: number;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQos?: number;
  retainAvailable?: number;
  userProperties?: [string, string][];
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: number;
  subscriptionIdentifiersAvailable?: number;
  sharedSubscriptionAvailable?: number;
}

export type PropertyType = "byte" | "u16" | "u32" | "varint" | "string" | "binary" | "pair";

export interface PropertyDefinition {
  readonly id: number;
  readonly name: keyof Properties;
  readonly type: PropertyType;
  /** Packet types that may carry it, one bit each: 1 << PacketType; bit 0 is the Will Properties. */
  readonly packets: number;
  readonly repeatable: boolean;
  /** Smallest and largest number allowed. */
  readonly min: number;
  readonly max: number;
}

/** The Will Properties inside CONNECT are a property list of their own. */
export const WILL_PROPERTIES = 0;

const bits = (...types: number[]): number => types.reduce((mask, type) => mask | (1 << type), 0);
const {
  CONNECT,
  CONNACK,
  PUBLISH,
  PUBACK,
  PUBREC,
  PUBREL,
  PUBCOMP,
  SUBSCRIBE,
  SUBACK,
  UNSUBSCRIBE,
  UNSUBACK,
  DISCONNECT,
  AUTH,
} = PacketType;
const MESSAGE = bits(PUBLISH, WILL_PROPERTIES);
const ANSWERS = bits(CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH);
const ANYWHERE = ANSWERS | MESSAGE | bits(CONNECT, SUBSCRIBE, UNSUBSCRIBE);

type Row = readonly [number, keyof Properties, PropertyType, number, (readonly [number, number])?];
const ROWS: readonly Row[] = [
  [0x01, "payloadFormatIndicator", "byte", MESSAGE, [0, 1]],
  [0x02, "messageExpiryInterval", "u32", MESSAGE],
  [0x03, "contentType", "string", MESSAGE],
  [0x08, "responseTopic", "string", MESSAGE],
  [0x09, "correlationData", "binary", MESSAGE],
  [0x0b, "subscriptionIdentifiers", "varint", bits(PUBLISH, SUBSCRIBE), [1, 268_435_455]],
  [0x11, "sessionExpiryInterval", "u32", bits(CONNECT, CONNACK, DISCONNECT)],
  [0x12, "assignedClientIdentifier", "string", bits(CONNACK)],
  [0x13, "serverKeepAlive", "u16", bits(CONNACK)],
  [0x15, "authenticationMethod", "string", bits(CONNECT, CONNACK, AUTH)],
  [0x16, "authenticationData", "binary", bits(CONNECT, CONNACK, AUTH)],
  [0x17, "requestProblemInformation", "byte", bits(CONNECT), [0, 1]],
  [0x18, "willDelayInterval", "u32", bits(WILL_PROPERTIES)],
  [0x19, "requestResponseInformation", "byte", bits(CONNECT), [0, 1]],
  [0x1a, "responseInformation", "string", bits(CONNACK)],
  [0x1c, "serverReference", "string", bits(CONNACK, DISCONNECT)],
  [0x1f, "reasonString", "string", ANSWERS],
  [0x21, "receiveMaximum", "u16", bits(CONNECT, CONNACK), [1, 65_535]],
  [0x22, "topicAliasMaximum", "u16", bits(CONNECT, CONNACK)],
  [0x23, "topicAlias", "u16", bits(PUBLISH), [1, 65_535]],
  [0x24, "maximumQos", "byte", bits(CONNACK), [0, 1]],
  [0x25, "retainAvailable", "byte", bits(CONNACK), [0, 1]],
  [0x26, "userProperties", "pair", ANYWHERE],
  [0x27, "maximumPacketSize", "u32", bits(CONNECT, CONNACK), [1, 4_294_967_295]],
  [0x28, "wildcardSubscriptionAvailable", "byte", bits(CONNACK), [0, 1]],
  [0x29, "subscriptionIdentifiersAvailable", "byte", bits(CONNACK), [0, 1]],
  [0x2a, "sharedSubscriptionAvailable", "byte", bits(CONNACK), [0, 1]],
];

/** The table, in ascending order of id. */
export const PROPERTIES: readonly PropertyDefinition[] = ROWS.map(([id, name, type, packets, range]) => ({
  id,
  name,
  type,
  packets,
  // A Subscription Identifier repeats in PUBLISH only; `readPropertyId` knows that.
  repeatable: name === "userProperties" || name === "subscriptionIdentifiers",
  min: range?.[0] ?? 0,
  max: range?.[1] ?? 4_294_967_295,
}));

const BY_ID: readonly (PropertyDefinition | undefined)[] = (() => {
  const table: (PropertyDefinition | undefined)[] = new Array(128).fill(undefined);
  for (const definition of PROPERTIES) table[definition.id] = definition;
  return table;
})();

/** What a property list has shown so far: one bit per id (they end at 0x2A), and the number of User Properties. */
export class SeenProperties {
  low = 0;
  high = 0;
  userProperties = 0;

  reset(): void {
    this.low = 0;
    this.high = 0;
    this.userProperties = 0;
  }
}

/** Reads the id of the next property of a packet (`packetType`, or WILL_PROPERTIES) and checks that it may stand there. */
export function readPropertyId(reader: Reader, packetType: number, seen: SeenProperties): PropertyDefinition {
  const id = reader.varint();
  const definition = id < 128 ? BY_ID[id] : undefined;
  if (definition === undefined || (definition.packets & (1 << packetType)) === 0) {
    throw malformed("2.2.2.2", `property 0x${id.toString(16)} is not one of this packet`);
  }
  const repeats = definition.repeatable && (id !== 0x0b || packetType === PacketType.PUBLISH);
  const bit = 1 << (id & 31);
  if (((id < 32 ? seen.low : seen.high) & bit) !== 0 && !repeats) {
    throw protocolError("2.2.2.2", `${definition.name} more than once`);
  }
  if (id < 32) seen.low |= bit;
  else seen.high |= bit;
  if (id === 0x26 && ++seen.userProperties > reader.userPropertiesMax) {
    throw new PeerError(0x97, "2.2.2.2", `more than ${reader.userPropertiesMax} User Properties`);
  }
  return definition;
}

/** Reads a numeric value and checks its range. */
export function readPropertyNumber(reader: Reader, definition: PropertyDefinition): number {
  const { type, min, max, name } = definition;
  const value =
    type === "byte" ? reader.u8() : type === "u16" ? reader.u16() : type === "u32" ? reader.u32() : reader.varint();
  if (value < min || value > max) {
    // Section 3.3.2.3.4 gives the alias a code of its own [MQTT-3.3.2-8].
    if (name === "topicAlias") throw new PeerError(0x94, "MQTT-3.3.2-8", "Topic Alias 0");
    throw protocolError("2.2.2.2", `${name} ${value}, expected ${min} to ${max}`);
  }
  return value;
}

/** Reads a whole property list, its length included. */
export function decodeProperties(reader: Reader, packetType: number): Properties {
  const properties: Properties = {};
  const length = reader.varint();
  if (length === 0) return properties;
  if (length > reader.remaining)
    throw malformed("2.2.2.1", `Property Length ${length}, ${reader.remaining} bytes left`);
  const packetEnd = reader.end;
  // The list is bounded by its own length: a property that runs over it is malformed, not borrowed from the payload.
  reader.end = reader.offset + length;
  const seen = new SeenProperties();
  while (reader.offset < reader.end) {
    readProperty(reader, readPropertyId(reader, packetType, seen), properties);
  }
  reader.end = packetEnd;
  return properties;
}

function readProperty(reader: Reader, definition: PropertyDefinition, properties: Properties): void {
  const { name } = definition;
  if (name === "userProperties") {
    const key = reader.string();
    (properties.userProperties ??= []).push([key, reader.string()]);
  } else if (name === "subscriptionIdentifiers") {
    (properties.subscriptionIdentifiers ??= []).push(readPropertyNumber(reader, definition));
  } else if (definition.type === "string") {
    Object.assign(properties, { [name]: reader.string() });
  } else if (definition.type === "binary") {
    Object.assign(properties, { [name]: reader.binary() });
  } else {
    Object.assign(properties, { [name]: readPropertyNumber(reader, definition) });
  }
}

/** Writes a property list, its length included; an empty or absent one is a single zero [MQTT-2.2.2-1]. */
export function encodeProperties(writer: Writer, properties: Properties | undefined): void {
  const mark = writer.openLength();
  if (properties !== undefined) {
    for (const definition of PROPERTIES) {
      const value = properties[definition.name];
      if (value !== undefined) encodeProperty(writer, definition, value);
    }
  }
  writer.closeLength(mark);
}

function encodeProperty(
  writer: Writer,
  definition: PropertyDefinition,
  value: number | string | Uint8Array | number[] | [string, string][],
): void {
  const { id, type } = definition;
  if (typeof value === "number") {
    checkRange(definition, value);
    writer.varint(id);
    if (type === "byte") writer.u8(value);
    else if (type === "u16") writer.u16(value);
    else writer.u32(value);
  } else if (typeof value === "string") {
    writer.varint(id);
    writer.string(value);
  } else if (value instanceof Uint8Array) {
    writer.varint(id);
    writer.binary(value);
  } else {
    for (const item of value) {
      writer.varint(id);
      if (typeof item === "number") {
        checkRange(definition, item);
        writer.varint(item);
      } else {
        writer.string(item[0]);
        writer.string(item[1]);
      }
    }
  }
}

const LARGEST: Readonly<Record<string, number>> = { byte: 0xff, u16: 0xffff, u32: 0xffffffff, varint: 268_435_455 };

/** What cannot be written is refused; what only may not be said can be, for tests of whoever reads it. */
function checkRange({ name, type }: PropertyDefinition, value: number): void {
  const max = LARGEST[type]!;
  if (!(value >= 0 && value <= max)) throw new RangeError(`${name} ${value}, expected 0 to ${max}`);
}
