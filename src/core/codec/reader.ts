/**
 * One cursor over the body of one packet (MQTT 5.0 section 1.5, data representation).
 *
 * Invariant: bound to the Remaining Length, running short means Malformed Packet, never "need more bytes".
 * Views it hands out (`binary`) share the memory of `bytes`.
 */
import { malformed, PeerError } from "./peer-error.ts";
import { decodeUtf8 } from "./utf8.ts";

export class Reader {
  bytes: Uint8Array;
  offset: number;
  end: number;
  /** Bounds on repeated things, enforced while reading, so that nothing is built first and refused later. */
  userPropertiesMax = Number.POSITIVE_INFINITY;
  filtersMax = Number.POSITIVE_INFINITY;

  constructor(bytes: Uint8Array = new Uint8Array(0), offset = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  bind(bytes: Uint8Array, offset: number, end: number): void {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  #need(length: number): void {
    if (this.end - this.offset < length) {
      throw malformed("4.13.1", `${length} more bytes expected, ${this.end - this.offset} left in the packet`);
    }
  }

  u8(): number {
    this.#need(1);
    return this.bytes[this.offset++]!;
  }

  u16(): number {
    this.#need(2);
    const value = (this.bytes[this.offset]! << 8) | this.bytes[this.offset + 1]!;
    this.offset += 2;
    return value;
  }

  u32(): number {
    const high = this.u16();
    return high * 0x10000 + this.u16();
  }

  /** Variable Byte Integer, section 1.5.5: at most four bytes, and not more than the value needs [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 1; count <= 4; count++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && count > 1) throw malformed("MQTT-1.5.5-1", "over-long Variable Byte Integer");
        return value;
      }
      scale *= 128;
    }
    throw malformed("1.5.5", "Variable Byte Integer of more than four bytes");
  }

  /** UTF-8 Encoded String. */
  string(): string {
    const length = this.u16();
    this.#need(length);
    const start = this.offset;
    this.offset += length;
    return decodeUtf8(this.bytes, start, this.offset);
  }

  /** Binary Data: a view, not a copy. */
  binary(): Uint8Array {
    const length = this.u16();
    this.#need(length);
    const start = this.offset;
    this.offset += length;
    return this.bytes.subarray(start, this.offset);
  }

  skipBinary(): void {
    const length = this.u16();
    this.#need(length);
    this.offset += length;
  }

  /** Everything up to the end of the packet: a view, not a copy. */
  rest(): Uint8Array {
    const start = this.offset;
    this.offset = this.end;
    return this.bytes.subarray(start, this.end);
  }

  packetId(statement: string): number {
    const packetId = this.u16();
    if (packetId === 0) throw new PeerError(0x82, statement, "Packet Identifier 0");
    return packetId;
  }

  /** Every body is read to its last byte; what is left over belongs to no field. */
  finish(): void {
    if (this.offset !== this.end) throw malformed("4.13.1", `${this.end - this.offset} bytes behind the last field`);
  }
}
