/**
 * Cuts a byte stream into packets without I/O and, where a packet arrives whole, without copying
 * (MQTT 5.0 sections 2.1.1 and 2.1.4).
 *
 * Cursors: `packetStart <= bodyStart <= bodyEnd <= bytes.length`; the packet is bytes[packetStart, bodyEnd), valid until
 * the next call of `next` or `feed`. A packet that arrives in pieces is gathered in `rest`, which grows with what has
 * arrived, to at most four times as much, and not with what was announced. It is given away with the packet and never
 * written to again. Every byte is copied at most a constant number of times.
 *
 * Refuses a length of more than four bytes, an over-long length and a packet above `packetBytesMax` as soon as the
 * length is known, before anything of the body is kept.
 */
import { malformed, PeerError } from "./peer-error.ts";

/** First allocation for a packet in pieces; most packets end within it. */
const REST_BYTES_FIRST = 64;
/** Room is made for so many times what has arrived at most: for the whole packet where that is enough. */
const ROOM_PER_BYTE_MAX = 4;

const NOTHING = new Uint8Array(0);

export class Framer {
  packetBytesMax: number;
  bytes: Uint8Array = NOTHING;
  packetStart = 0;
  bodyStart = 0;
  bodyEnd = 0;

  #chunk: Uint8Array = NOTHING;
  #at = 0;
  #rest: Uint8Array | null = null;
  #restLength = 0;

  constructor(packetBytesMax: number) {
    this.packetBytesMax = packetBytesMax;
  }

  /** Gives the bytes that arrived next. The earlier ones must have been taken with `next` until it said false. */
  feed(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** Whether the packet is in memory of its own, for whoever wants to keep it, and not in what was fed. */
  get isGathered(): boolean {
    return this.bytes !== this.#chunk;
  }

  /** Bytes of an incomplete packet held back. */
  get heldBytes(): number {
    return this.#restLength;
  }

  /** Moves to the next whole packet; false: more bytes are needed. */
  next(): boolean {
    if (this.#restLength > 0) return this.#nextFromRest();
    const bytes = this.#chunk;
    const start = this.#at;
    const available = bytes.length - start;
    if (available >= 2) {
      // By far the most common packet has one length byte and is whole.
      const length = bytes[start + 1]!;
      if (length < 128) {
        if (length + 2 > this.packetBytesMax) throw this.#tooLarge(length + 2);
        if (available >= length + 2) return this.#take(bytes, start, start + 2, start + 2 + length);
      } else {
        const headerBytes = this.#headerLength(bytes, start, bytes.length);
        if (headerBytes !== 0) {
          const end = start + headerBytes + this.#remainingLength(bytes, start, headerBytes);
          if (end <= bytes.length) return this.#take(bytes, start, start + headerBytes, end);
        }
      }
    }
    return this.#nextFromRest();
  }

  #take(bytes: Uint8Array, packetStart: number, bodyStart: number, bodyEnd: number): boolean {
    this.bytes = bytes;
    this.packetStart = packetStart;
    this.bodyStart = bodyStart;
    this.bodyEnd = bodyEnd;
    this.#at = bodyEnd;
    return true;
  }

  /** Takes what was fed and not looked at yet, as a copy. */
  takeUnread(): Uint8Array {
    const unread = this.#chunk.slice(this.#at);
    this.#chunk = NOTHING;
    this.#at = 0;
    return unread;
  }

  /** Forgets the last packet's memory, so that an idle connection keeps no chunk alive. */
  release(): void {
    this.bytes = NOTHING;
    this.#chunk = NOTHING;
    this.#at = 0;
  }

  #nextFromRest(): boolean {
    for (;;) {
      const rest = this.#rest!;
      const headerBytes = this.#restLength < 2 ? 0 : this.#headerLength(rest, 0, this.#restLength);
      const needed =
        headerBytes === 0 ? this.#restLength + 1 : headerBytes + this.#remainingLength(rest, 0, headerBytes);
      const missing = needed - this.#restLength;
      if (missing <= 0) {
        this.bytes = rest;
        this.packetStart = 0;
        this.bodyStart = headerBytes;
        this.bodyEnd = needed;
        this.#rest = null;
        this.#restLength = 0;
        return true;
      }
      const available = this.#chunk.length - this.#at;
      if (available === 0) {
        this.#chunk = NOTHING;
        this.#at = 0;
        return false;
      }
      this.#keep(Math.min(missing, available), needed);
    }
  }

  /** Appends the next `count` bytes of the chunk to the rest, of a packet that will have `packetBytes` as far as is known. */
  #keep(count: number, packetBytes: number): void {
    const needed = this.#restLength + count;
    let rest = this.#rest;
    if (rest === null || rest.length < needed) {
      const room = needed * ROOM_PER_BYTE_MAX < packetBytes ? needed * 2 : packetBytes;
      const grown = new Uint8Array(Math.max(room, REST_BYTES_FIRST));
      if (rest !== null) grown.set(rest.subarray(0, this.#restLength));
      rest = this.#rest = grown;
    }
    if (count === 1) rest[this.#restLength] = this.#chunk[this.#at]!;
    else rest.set(this.#chunk.subarray(this.#at, this.#at + count), this.#restLength);
    this.#restLength = needed;
    this.#at += count;
  }

  /** Bytes of the fixed header, or 0 while its length is not complete. */
  #headerLength(bytes: Uint8Array, start: number, end: number): number {
    for (let count = 1; count <= 4; count++) {
      if (start + count >= end) return 0;
      const byte = bytes[start + count]!;
      if (byte < 0x80) {
        if (byte === 0 && count > 1) throw malformed("MQTT-1.5.5-1", "over-long Remaining Length");
        return count + 1;
      }
    }
    throw malformed("2.1.4", "Remaining Length of more than four bytes");
  }

  #remainingLength(bytes: Uint8Array, start: number, headerBytes: number): number {
    let value = 0;
    for (let at = headerBytes - 1; at > 0; at--) value = value * 128 + (bytes[start + at]! & 0x7f);
    if (value + headerBytes > this.packetBytesMax) throw this.#tooLarge(value + headerBytes);
    return value;
  }

  #tooLarge(packetBytes: number): PeerError {
    return new PeerError(
      0x95,
      "MQTT-3.2.2-15",
      `a packet of ${packetBytes} bytes, at most ${this.packetBytesMax} accepted`,
    );
  }
}
