/**
 * UTF-8 Encoded Strings (MQTT 5.0 section 1.5.4): decoding, checking without decoding, encoding.
 *
 * Refuses what the specification refuses: ill-formed sequences, surrogates, U+0000. Keeps U+FEFF as the ordinary
 * character it is [MQTT-1.5.4-3], which platform decoders strip by default. Needs no platform.
 */
import { malformed } from "./peer-error.ts";

/**
 * Length in bytes of the well-formed sequence that begins at `offset`, or 0 where it is ill-formed or U+0000.
 * The table is Unicode's "well-formed UTF-8 byte sequences".
 */
function sequenceLength(bytes: Uint8Array, offset: number, end: number): number {
  const first = bytes[offset]!;
  if (first < 0x80) return first === 0 ? 0 : 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const second = offset + 1 < end ? bytes[offset + 1]! : 0;
  if (first < 0xe0) return (second & 0xc0) === 0x80 ? 2 : 0;
  if ((second & 0xc0) !== 0x80) return 0;
  const third = offset + 2 < end ? bytes[offset + 2]! : 0;
  if ((third & 0xc0) !== 0x80) return 0;
  if (first < 0xf0) {
    if (first === 0xe0 && second < 0xa0) return 0;
    if (first === 0xed && second > 0x9f) return 0; // surrogates
    return 3;
  }
  if (first === 0xf0 && second < 0x90) return 0;
  if (first === 0xf4 && second > 0x8f) return 0;
  return offset + 3 < end && (bytes[offset + 3]! & 0xc0) === 0x80 ? 4 : 0;
}

function refuse(bytes: Uint8Array, offset: number): never {
  if (bytes[offset] === 0) throw malformed("MQTT-1.5.4-2", "U+0000 in a UTF-8 string");
  throw malformed("MQTT-1.5.4-1", "ill-formed UTF-8");
}

/** Throws a Malformed Packet error unless the range is a valid UTF-8 string; allocates nothing. */
export function checkUtf8(bytes: Uint8Array, start: number, end: number): void {
  let offset = start;
  while (offset < end) {
    const byte = bytes[offset]!;
    if (byte !== 0 && byte < 0x80) {
      offset++;
      continue;
    }
    const length = sequenceLength(bytes, offset, end);
    if (length === 0) refuse(bytes, offset);
    offset += length;
  }
}

/** Decodes a checked or unchecked range; throws a Malformed Packet error where it is not valid. */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string {
  let offset = start;
  while (offset < end && bytes[offset]! < 0x80 && bytes[offset] !== 0) offset++;
  if (offset === end) return decodeAscii(bytes, start, end);
  return decodeOther(bytes, start, end);
}

/** The language has one decoder for UTF-8, in percent notation; it refuses what the specification refuses but U+0000. */
function decodeOther(bytes: Uint8Array, start: number, end: number): string {
  let escaped = "";
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === 0) refuse(bytes, at);
    escaped += (byte < 16 ? "%0" : "%") + byte.toString(16);
  }
  try {
    return decodeURIComponent(escaped);
  } catch {
    return refuse(bytes, start);
  }
}

function decodeAscii(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  let at = start;
  // Eight at a time: several times cheaper than `apply` on a view for the short strings MQTT is made of.
  for (; at + 8 <= end; at += 8) {
    text += String.fromCharCode(
      bytes[at]!,
      bytes[at + 1]!,
      bytes[at + 2]!,
      bytes[at + 3]!,
      bytes[at + 4]!,
      bytes[at + 5]!,
      bytes[at + 6]!,
      bytes[at + 7]!,
    );
  }
  for (; at < end; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}

/** Bytes that `text` takes in UTF-8. Throws a RangeError for what cannot travel: a lone surrogate, U+0000. */
export function utf8Length(text: string): number {
  let length = 0;
  let surrogates = false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0) throw new RangeError("U+0000 in a string"); // [MQTT-1.5.4-2]
    if (unit < 0x80) length += 1;
    else if (unit >= 0xd800 && unit <= 0xdfff) {
      // Two of them take four bytes.
      length += 2;
      surrogates = true;
    } else length += unit < 0x800 ? 2 : 3;
  }
  if (surrogates && !text.isWellFormed()) throw new RangeError("lone surrogate in a string");
  return length;
}

/** Writes `text` at `offset`, where `utf8Length(text)` bytes are free; answers the offset behind it. */
export function encodeUtf8Into(text: string, bytes: Uint8Array, offset: number): number {
  for (let i = 0; i < text.length; i++) {
    let point = text.charCodeAt(i);
    if (point < 0x80) {
      bytes[offset++] = point;
      continue;
    }
    if (point < 0x800) {
      bytes[offset++] = 0xc0 | (point >> 6);
      bytes[offset++] = 0x80 | (point & 0x3f);
      continue;
    }
    if (point >= 0xd800 && point <= 0xdbff) {
      point = 0x10000 + ((point & 0x3ff) << 10) + (text.charCodeAt(++i) & 0x3ff);
      bytes[offset++] = 0xf0 | (point >> 18);
      bytes[offset++] = 0x80 | ((point >> 12) & 0x3f);
    } else {
      bytes[offset++] = 0xe0 | (point >> 12);
    }
    bytes[offset++] = 0x80 | ((point >> 6) & 0x3f);
    bytes[offset++] = 0x80 | (point & 0x3f);
  }
  return offset;
}

/** A string as its own UTF-8 bytes. */
export function encodeUtf8(text: string): Uint8Array {
  const bytes = new Uint8Array(utf8Length(text));
  encodeUtf8Into(text, bytes, 0);
  return bytes;
}
