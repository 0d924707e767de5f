/**
 * Packets of the client as bytes (MQTT 5.0 section 1.5): each is its fields, one behind the other, and a payload.
 *
 * Refuses with a RangeError what cannot be written: an ill-formed string, a number or a field that is too large.
 */
import { PUBREL } from "../core/codec/packet-type.ts";
import { PROPERTY_ROWS, type Properties } from "../core/codec/property-table.ts";
import type { Payload } from "./client-options.ts";

export const toBytes = (payload: Payload = ""): Uint8Array =>
  typeof payload === "string" ? new TextEncoder().encode(payload) : payload;

export const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

function check(holds: boolean): void {
  if (!holds) throw new RangeError("cannot be sent");
}

/** An integer of `size` bytes. */
export function integer(size: number, value: number): number[] {
  check(value >= 0 && value < 256 ** size);
  return size ? [...integer(size - 1, (value - (value % 256)) / 256), value % 256] : [];
}

const variableByteInteger = (value: number): number[] =>
  value > 127 ? [(value & 127) | 128, ...variableByteInteger(value >> 7)] : [value];

/** Binary Data, or a UTF-8 Encoded String [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function field(value: Payload): number[] {
  check(typeof value !== "string" || (value.isWellFormed() && !value.includes("\0")));
  const bytes = toBytes(value);
  return [...integer(2, bytes.length), ...bytes];
}

/** What is written depends on the level that the client speaks. */
interface Level {
  readonly level: number;
}

/** The property list of MQTT 5.0, its length included; nothing before. */
export function propertyList({ level }: Level, properties?: Properties): number[] {
  const list = (properties ? PROPERTY_ROWS : []).flatMap(([name, kind], id) => {
    const encode = (value: number | Payload): number[] =>
      typeof value !== "number" ? field(value) : kind === "v+" ? variableByteInteger(value) : integer(+kind[0]!, value);
    // Some hold a list of values, and a pair is one of strings.
    return [properties?.[name] ?? []].flat().flatMap((item) => [id, ...[item].flat().flatMap(encode)]);
  });
  return level === 5 ? [...variableByteInteger(list.length), ...list] : [];
}

export function encodePacket(first: number, fields: readonly number[] = [], payload: Uint8Array | [] = []): Uint8Array {
  const head = [first, ...variableByteInteger(fields.length + payload.length), ...fields];
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; before MQTT 5.0 they say nothing but success. */
export function acknowledgement({ level }: Level, type: number, packetId: number, reasonCode = 0): Uint8Array {
  const reason = level === 5 && reasonCode ? [reasonCode] : [];
  return encodePacket((type << 4) | (type === PUBREL ? 2 : 0), [...integer(2, packetId), ...reason]);
}
