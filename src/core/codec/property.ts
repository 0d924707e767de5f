/**
 * The property lists of MQTT 5.0 section 2.2.2: read, checked and written by the table in property-table.ts.
 *
 * An id that is unknown or not allowed in its packet is a Malformed Packet; one that is repeated, or has a value outside its
 * range, a Protocol Error. Adding a property is adding a row.
 */
import { PacketType } from "./packet-type.ts";
import { malformed, PeerError, protocolError } from "./peer-error.ts";
import { PROPERTY_ROWS, type Properties, type PropertyKind } from "./property-table.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export type { Properties } from "./property-table.ts";

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

/** Type, smallest and largest number of each kind of the table. */
const KINDS: Readonly<Record<PropertyKind, readonly [PropertyType, number, number]>> = {
  "1": ["byte", 0, 1],
  "2": ["u16", 0, 0xffff],
  "2+": ["u16", 1, 0xffff],
  "4": ["u32", 0, 0xffffffff],
  "4+": ["u32", 1, 0xffffffff],
  "v+": ["varint", 1, 268_435_455],
  s: ["string", 0, 0],
  b: ["binary", 0, 0],
  p: ["pair", 0, 0],
};

/** The table, in ascending order of id. */
export const PROPERTIES: readonly PropertyDefinition[] = PROPERTY_ROWS.flatMap(([name, kind, packets], id) => {
  if (!name) return [];
  const [type, min, max] = KINDS[kind];
  // A Subscription Identifier repeats in PUBLISH only; `readPropertyId` knows that.
  const repeatable = name === "userProperties" || name === "subscriptionIdentifiers";
  return { id, name, type, packets: +packets, repeatable, min, max };
});

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
