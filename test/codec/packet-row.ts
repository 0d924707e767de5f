/**
 * The rows that the byte table is made of, and the notation of their bytes.
 *
 * A row is a packet with its bytes, or bytes with the error that answers them. Rows are written for several protocol
 * levels at once and stand in the table once per level.
 */
import type { Packet, ProtocolLevel } from "../../src/core/codec/packet.ts";

export interface PacketRow {
  readonly name: string;
  readonly level: ProtocolLevel;
  readonly bytes: Uint8Array;
  readonly packet: Packet;
  /** "decode": a form that may arrive and is never written. "encode": a value that is written as another one. */
  readonly only?: "decode" | "encode";
}

/** Bytes that are refused, with the reason code and the statement (or section) of the refusal. */
export interface RefusedRow {
  readonly name: string;
  readonly level: ProtocolLevel;
  readonly bytes: Uint8Array;
  readonly reasonCode: number;
  readonly statement: string;
}

export const ALL_LEVELS: readonly ProtocolLevel[] = [3, 4, 5];
export const BEFORE_5: readonly ProtocolLevel[] = [3, 4];
export const FROM_311: readonly ProtocolLevel[] = [4, 5];

const utf8 = new TextEncoder();
const TOKEN = /"([^"]*)"|#[^\n]*|([0-9a-f]{2})(?![0-9a-f])|\s+|(.)/g;

/** Bytes in hexadecimal, texts in quotation marks; "#" begins a comment that ends with its line. */
export function hex(notation: string): Uint8Array {
  const bytes: number[] = [];
  for (const [token, text, byte, wrong] of notation.matchAll(TOKEN)) {
    if (wrong !== undefined) throw new Error(`not a byte, a text or a comment: ${token} in ${notation}`);
    if (text !== undefined) bytes.push(...utf8.encode(text));
    else if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
  }
  return Uint8Array.from(bytes);
}

type Levelled<T> = T | ((level: ProtocolLevel) => T);

/** The same bytes and packet at several levels. */
export function packetRows(
  levels: readonly ProtocolLevel[],
  name: string,
  notation: string | Uint8Array,
  packet: Levelled<Packet>,
  only?: "decode" | "encode",
): PacketRow[] {
  const bytes = typeof notation === "string" ? hex(notation) : notation;
  return levels.map((level) => ({
    name: `v${level} ${name}`,
    level,
    bytes,
    packet: typeof packet === "function" ? packet(level) : packet,
    ...(only === undefined ? {} : { only }),
  }));
}

/** The same bytes refused in the same way at several levels. */
export function refusedRows(
  levels: readonly ProtocolLevel[],
  name: string,
  notation: string | Uint8Array,
  reasonCode: number,
  statement: string,
): RefusedRow[] {
  const bytes = typeof notation === "string" ? hex(notation) : notation;
  return levels.map((level) => ({ name: `v${level} ${name}`, level, bytes, reasonCode, statement }));
}

export function concatenate(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** A Variable Byte Integer, written down from section 1.5.5 and not with the writer under test. */
export function variableByteInteger(value: number): Uint8Array {
  const bytes: number[] = [];
  do {
    const digit = value % 128;
    value = (value - digit) / 128;
    bytes.push(value > 0 ? digit + 128 : digit);
  } while (value > 0);
  return Uint8Array.from(bytes);
}

/** A packet of this first byte around the parts of its body. */
export function framed(firstByte: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concatenate(...parts);
  return concatenate(Uint8Array.of(firstByte), variableByteInteger(body.length), body);
}

/** Ill-formed UTF-8 of every kind, and U+0000; each with the statement that refuses it. */
export const ILL_FORMED: readonly (readonly [name: string, bytes: string, statement: string])[] = [
  ["U+0000", "00", "MQTT-1.5.4-2"],
  ["U+0000 within text", "61 00 62", "MQTT-1.5.4-2"],
  ["a surrogate, D800", "ed a0 80", "MQTT-1.5.4-1"],
  ["a surrogate, DFFF", "ed bf bf", "MQTT-1.5.4-1"],
  ["a surrogate pair in six bytes", "ed a0 bd ed b8 80", "MQTT-1.5.4-1"],
  ["over-long U+0000", "c0 80", "MQTT-1.5.4-1"],
  ["over-long U+007F", "c1 bf", "MQTT-1.5.4-1"],
  ["over-long U+07FF", "e0 9f bf", "MQTT-1.5.4-1"],
  ["over-long U+FFFF", "f0 8f bf bf", "MQTT-1.5.4-1"],
  ["a code point above U+10FFFF", "f4 90 80 80", "MQTT-1.5.4-1"],
  ["a first byte of F5", "f5 80 80 80", "MQTT-1.5.4-1"],
  ["a first byte of FF", "ff", "MQTT-1.5.4-1"],
  ["a continuation byte alone", "80", "MQTT-1.5.4-1"],
  ["two bytes cut after one", "c3", "MQTT-1.5.4-1"],
  ["three bytes cut after two", "e2 82", "MQTT-1.5.4-1"],
  ["four bytes cut after three", "f0 9f 98", "MQTT-1.5.4-1"],
  ["a sequence broken by a letter", "e2 28 a1", "MQTT-1.5.4-1"],
];
