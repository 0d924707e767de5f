/**
 * What one subscriber must receive and what it did receive: every message of every publisher, once, in order.
 *
 * A message carries its publisher's number and its sequence number in the first eight bytes of the payload and the
 * sequence number again in the last four. The expected case costs one comparison; only an anomaly is written down.
 * Invariant: `reachedCount` counts every sequence number up to the newest one seen, so a loss does not stall a run, and
 * what is written down is bounded: a sequence number that would leave more missing than a run can lose is a corrupt one.
 */

const SEQUENCE_SPAN = 2 ** 32;

export const PAYLOAD_BYTES_MIN = 12;
/** Sequence numbers missing at once, of all publishers together. */
export const MISSING_MAX = 1_000_000;

export interface DeliveryFaults {
  lost: number;
  duplicated: number;
  reordered: number;
  corrupt: number;
}

export class DeliveryLedger {
  reachedCount = 0;
  private readonly next: Uint32Array;
  private readonly publisherFirst: number;
  private readonly payloadBytes: number;
  private readonly missing = new Set<number>();
  private duplicated = 0;
  private reordered = 0;
  private corrupt = 0;

  constructor(publisherFirst: number, publisherCount: number, payloadBytes: number) {
    this.publisherFirst = publisherFirst;
    this.next = new Uint32Array(publisherCount);
    this.payloadBytes = payloadBytes;
  }

  /** Checks the payload `bytes[at, end)` and answers its sequence number, or -1 when it is corrupt. */
  take(bytes: Uint8Array, at: number, end: number): number {
    const publisher = readUint32(bytes, at) - this.publisherFirst;
    const sequence = readUint32(bytes, at + 4);
    const whole = end - at === this.payloadBytes && readUint32(bytes, end - 4) === sequence;
    if (!whole || publisher < 0 || publisher >= this.next.length) {
      this.corrupt++;
      return -1;
    }
    if (sequence === this.next[publisher]) {
      this.next[publisher] = sequence + 1;
      this.reachedCount++;
      return sequence;
    }
    return this.takeUnexpected(publisher, sequence);
  }

  countCorrupt(): void {
    this.corrupt++;
  }

  /** Final account, given how many messages each publisher sent. */
  faults(sentPerPublisher: number): DeliveryFaults {
    let lost = this.missing.size;
    for (const next of this.next) lost += Math.max(0, sentPerPublisher - next);
    return { lost, duplicated: this.duplicated, reordered: this.reordered, corrupt: this.corrupt };
  }

  private takeUnexpected(publisher: number, sequence: number): number {
    const next = this.next[publisher];
    const base = publisher * SEQUENCE_SPAN;
    if (sequence < next) {
      if (this.missing.delete(base + sequence)) this.reordered++;
      else this.duplicated++;
      return sequence;
    }
    if (sequence - next > MISSING_MAX - this.missing.size) {
      this.corrupt++;
      return -1;
    }
    for (let missed = next; missed < sequence; missed++) this.missing.add(base + missed);
    this.reachedCount += sequence + 1 - next;
    this.next[publisher] = sequence + 1;
    return sequence;
  }
}

/** Writes the mark that `take` reads back. */
export function markPayload(bytes: Uint8Array, at: number, end: number, publisher: number, sequence: number): void {
  writeUint32(bytes, at, publisher);
  writeUint32(bytes, at + 4, sequence);
  writeUint32(bytes, end - 4, sequence);
}

function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
