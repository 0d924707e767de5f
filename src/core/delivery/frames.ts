/**
 * One message for many receivers: encoded once per layout, then copied, with the Packet Identifier put in.
 *
 * A layout is what differs in the bytes between receivers without identifiers and aliases: the first byte and whether
 * there are properties. Open for one message only.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { type HopProperties, writePublish } from "../codec/publish-view.ts";
import { varintLength, Writer } from "../codec/writer.ts";

/** The image of a PUBLISH in one layout. */
interface Frame {
  readonly bytes: Uint8Array;
  /** Where the Packet Identifier stands; 0 at QoS 0. */
  readonly packetIdAt: number;
}

/** A scratch buffer that one huge message made large is not kept. */
const SCRATCH_BYTES_KEPT_MAX = 256 * 1024;

export class Frames {
  isOpen = false;
  /** By flags of the first byte, 16 more with properties. */
  readonly #frames: (Frame | undefined)[] = new Array(32).fill(undefined);
  #used = false;
  #scratch = new Writer(1024);

  open(): void {
    this.isOpen = true;
  }

  close(): void {
    this.isOpen = false;
    if (!this.#used) return;
    this.#used = false;
    this.#frames.fill(undefined);
    if (this.#scratch.bytes.length > SCRATCH_BYTES_KEPT_MAX) this.#scratch = new Writer(1024);
    this.#scratch.clear();
  }

  /** As `writePublish`, for the message that the frames are open for. */
  write(
    writer: Writer,
    firstByte: number,
    packetId: number,
    message: ApplicationMessage,
    hop: HopProperties | null,
    packetBytesMax: number,
  ): boolean {
    const layout = (firstByte & 0x0f) | (hop === null ? 0 : 16);
    const frame = this.#frames[layout] ?? this.#encode(layout, firstByte, message, hop);
    const { bytes, packetIdAt } = frame;
    if (bytes.length > packetBytesMax) return false;
    const at = writer.length;
    writer.raw(bytes, 0, bytes.length);
    if (packetIdAt !== 0) {
      writer.bytes[at + packetIdAt] = packetId >>> 8;
      writer.bytes[at + packetIdAt + 1] = packetId;
    }
    return true;
  }

  #encode(layout: number, firstByte: number, message: ApplicationMessage, hop: HopProperties | null): Frame {
    const scratch = this.#scratch;
    const start = scratch.length;
    const topicBytes = message.topicName.bytes;
    writePublish(scratch, firstByte, 0, topicBytes, message, hop, Number.POSITIVE_INFINITY);
    const bytes = scratch.bytes.subarray(start, scratch.length);
    let remaining = 0;
    for (let at = 1, scale = 1; ; at++, scale *= 128) {
      remaining += (bytes[at]! & 0x7f) * scale;
      if (bytes[at]! < 0x80) break;
    }
    const packetIdAt = (firstByte & 0x06) === 0 ? 0 : 1 + varintLength(remaining) + 2 + topicBytes.length;
    this.#used = true;
    return (this.#frames[layout] = { bytes, packetIdAt });
  }
}
