/**
 * A growable byte buffer that packets are written into (MQTT 5.0 section 1.5).
 *
 * `begin`/`finish` enclose a packet: the Remaining Length is written when it is known, in its shortest form
 * [MQTT-1.5.5-1]. Growing replaces `bytes`; no view over it may be kept across a write.
 */
import { encodeUtf8Into, utf8Length } from "./utf8.ts";

/** Below this a plain loop beats the call that copies. */
export const LOOP_COPY_BYTES_MAX = 48;

export class Writer {
  bytes: Uint8Array;
  length = 0;

  constructor(capacityBytes = 256) {
    this.bytes = new Uint8Array(capacityBytes);
  }

  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    let capacity = this.bytes.length * 2;
    while (capacity < needed) capacity *= 2;
    const grown = new Uint8Array(capacity);
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.bytes[this.length++] = value >>> 8;
    this.bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.u16(Math.floor(value / 0x10000));
    this.u16(value & 0xffff);
  }

  varint(value: number): void {
    this.reserve(4);
    while (value > 127) {
      this.bytes[this.length++] = (value & 0x7f) | 0x80;
      value = Math.floor(value / 128);
    }
    this.bytes[this.length++] = value;
  }

  string(text: string): void {
    const length = utf8Length(text);
    if (length > 0xffff) throw new RangeError(`a string of ${length} bytes does not fit into 65535`);
    this.u16(length);
    this.reserve(length);
    this.length = encodeUtf8Into(text, this.bytes, this.length);
  }

  binary(data: Uint8Array): void {
    if (data.length > 0xffff) throw new RangeError(`binary data of ${data.length} bytes does not fit into 65535`);
    this.u16(data.length);
    this.raw(data, 0, data.length);
  }

  /** Copies a range of `source` as it is. */
  raw(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.reserve(count);
    const bytes = this.bytes;
    let at = this.length;
    if (count <= LOOP_COPY_BYTES_MAX) {
      for (let from = start; from < end; from++) bytes[at++] = source[from]!;
    } else {
      bytes.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
    }
    this.length += count;
  }

  /** Writes the first byte of a packet and room for its length; the answer is for `finish`. */
  begin(firstByte: number): number {
    this.u8(firstByte);
    return this.openLength();
  }

  finish(mark: number): void {
    this.closeLength(mark);
  }

  /** Room for a Variable Byte Integer that counts the bytes up to `closeLength`. */
  openLength(): number {
    this.u8(0);
    return this.length;
  }

  closeLength(mark: number): void {
    const count = this.length - mark;
    const extra = varintLength(count) - 1;
    if (extra > 0) {
      // Rare: only a body of 128 bytes or more has to move for a longer length.
      this.reserve(extra);
      this.bytes.copyWithin(mark + extra, mark, this.length);
      this.length += extra;
    }
    let rest = count;
    for (let at = mark - 1; at < mark + extra; at++) {
      this.bytes[at] = (rest & 0x7f) | (at < mark + extra - 1 ? 0x80 : 0);
      rest >>>= 7;
    }
  }

  /** What was written, as a view. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }
}

/** Bytes that `value` takes as a Variable Byte Integer. */
export function varintLength(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}
