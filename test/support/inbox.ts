/**
 * Bytes that arrive over a real transport, for whoever waits for them.
 *
 * Invariant: bytes come out in the order they went in, each once. One reader at a time. After `end` what is there can
 * still be read; a read that needs more answers `undefined`.
 */
import { decodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { Reader } from "../../src/core/codec/reader.ts";

export class Inbox {
  /** Bytes that arrived so far, read or not. */
  arrivedBytes = 0;
  ended = false;
  #chunks: Uint8Array[] = [];
  #at = 0;
  #heldBytes = 0;
  #wake: (() => void) | undefined;

  /** Takes bytes over; they must not change afterwards. */
  push(bytes: Uint8Array): void {
    this.arrivedBytes += bytes.length;
    this.#heldBytes += bytes.length;
    this.#chunks.push(bytes);
    this.#wake?.();
  }

  end(): void {
    this.ended = true;
    this.#wake?.();
  }

  async take(count: number): Promise<Uint8Array | undefined> {
    while (this.#heldBytes < count) {
      if (this.ended) return undefined;
      await this.#news();
    }
    return this.#cut(count);
  }

  /** Everything up to the end of the stream. */
  async rest(): Promise<Uint8Array> {
    while (!this.ended) await this.#news();
    return this.#cut(this.#heldBytes);
  }

  /** Resolves with the next bytes, or the end. */
  async #news(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  /** The next packet; `undefined` when the stream ends first. */
  async packet(level: ProtocolLevel = 5): Promise<Packet | undefined> {
    const first = await this.take(1);
    if (first === undefined) return undefined;
    let length = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = (await this.take(1))?.[0];
      if (byte === undefined) return undefined;
      length += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    const body = await this.take(length);
    return body === undefined ? undefined : decodePacket(first[0]!, new Reader(body), level);
  }

  #cut(count: number): Uint8Array {
    const taken = new Uint8Array(count);
    for (let filled = 0; filled < count; ) {
      const chunk = this.#chunks[0]!;
      const part = chunk.subarray(this.#at, this.#at + count - filled);
      taken.set(part, filled);
      filled += part.length;
      this.#at += part.length;
      if (this.#at === chunk.length) {
        this.#chunks.shift();
        this.#at = 0;
      }
    }
    this.#heldBytes -= count;
    return taken;
  }
}
