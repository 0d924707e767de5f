/**
 * Packets of the client as bytes (MQTT 5.0 section 1.5): each is its fields, one behind the other, and a payload.
 *
 * Refuses what cannot be written: an ill-formed string, a number or a field that is too large.
 */
import type { Payload } from "./client-options.ts";
import { refuse } from "./mqtt-error.ts";

export const toBytes = (payload: Payload = ""): Uint8Array =>
  typeof payload === "string" ? new TextEncoder().encode(payload) : payload;

/** An integer of `size` bytes. What is above 8 bits is cut off when it becomes a byte. */
export function integer(size: number, value: number): number[] {
  if (!(value >= 0 && value < 256 ** size)) refuse(0x81);
  return [value >> 24, value >> 16, value >> 8, value].slice(4 - size);
}

export const variableByteInteger = (value: number): number[] =>
  value > 127 ? [value | 128, ...variableByteInteger(value >> 7)] : [value];

/** Binary Data, or a UTF-8 Encoded String [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function field(value: Payload): number[] {
  // Half a surrogate pair; bytes are decimal numbers here.
  if (/[\0\p{Cs}]/u.test(value as string)) refuse(0x81);
  const bytes = toBytes(value);
  return [...integer(2, bytes.length), ...bytes];
}

export function encodePacket(first: number, fields: readonly number[] = [], payload: Uint8Array | [] = []): Uint8Array {
  const head = [first, ...variableByteInteger(fields.length + payload.length), ...fields];
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  bytes.set(payload, head.length);
  return bytes;
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; before MQTT 5.0 they say nothing but success. */
export function acknowledgement(level: number, first: number, packetId: number, reasonCode = 0): Uint8Array {
  return encodePacket(first, [...integer(2, packetId), ...(level === 5 && reasonCode ? [reasonCode] : [])]);
}
