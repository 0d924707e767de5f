/**
 * Packets of the small client as bytes (MQTT 5.0 section 1.5): each is its fields, one behind the other, and a payload.
 *
 * Refuses what cannot be written: an ill-formed string, a number or a field that is too large.
 */
import type { Payload } from "../client-options.ts";
import { refuse } from "../mqtt-error.ts";
import { type NumberedProperties, PROPERTY_KINDS } from "./numbered-properties.ts";

export const toBytes = (payload: Payload = ""): Uint8Array =>
  typeof payload === "string" ? new TextEncoder().encode(payload) : payload;

/** An integer of `size` bytes; what is left over would not fit. */
export const integer = (size: number, value: number): number[] =>
  size ? [...integer(size - 1, Math.floor(value / 256)), value % 256] : value ? refuse(0x83) : [];

const variableByteInteger = (value: number): number[] =>
  value > 127 ? [value | 128, ...variableByteInteger(value >> 7)] : [value];

/** Binary Data, or a UTF-8 Encoded String [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function field(value: Payload): number[] {
  // Before it is encoded: an encoder replaces half a surrogate pair.
  if (/[\0\p{Cs}]/u.test(value as string)) refuse(0x83);
  const bytes = toBytes(value);
  return [...integer(2, bytes.length), ...bytes];
}

/** A list of properties, its length included. */
export function propertyList(properties: NumberedProperties = {}): number[] {
  const list = Object.entries(properties).flatMap(([id, value]) =>
    // Some hold a list of values, and a pair is one of strings.
    [value ?? []]
      .flat()
      .flatMap((item) => [
        +id,
        ...[item]
          .flat()
          .flatMap((part) =>
            typeof part !== "number"
              ? field(part)
              : +id === 11
                ? variableByteInteger(part)
                : integer(+PROPERTY_KINDS[+id]!, part),
          ),
      ]),
  );
  return [...variableByteInteger(list.length), ...list];
}

export function encodePacket(first: number, fields: readonly number[], payload: Uint8Array | [] = []): Uint8Array {
  const head = [first, ...variableByteInteger(fields.length + payload.length), ...fields];
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}
