/**
 * Bytes that a transport would not take yet: kept in order, as copies unless they last, and offered again when it drains.
 *
 * Bounded by the core, which stops delivering to a connection whose backlog reaches the high water mark.
 */

/** Pieces are gathered into blocks of at least this size, so that many small ones do not cost an object each. */
const BLOCK_BYTES = 16 * 1024;

/** A payload of this size and less is copied behind its head: that costs less than a second write. */
const JOINED_PAYLOAD_BYTES_MAX = 128 * 1024;
const JOINED_HEAD_BYTES_MAX = 16 * 1024;
const scratch = new Uint8Array(JOINED_HEAD_BYTES_MAX + JOINED_PAYLOAD_BYTES_MAX);

/** What to write at once, valid until the next call: head and payload, or the head alone where they are too long for that. */
export function firstWrite(head: Uint8Array, payload: Uint8Array): Uint8Array {
  if (head.length > JOINED_HEAD_BYTES_MAX || payload.length > JOINED_PAYLOAD_BYTES_MAX) return head;
  scratch.set(head);
  scratch.set(payload, head.length);
  return scratch.subarray(0, head.length + payload.length);
}

export class PendingBytes {
  #blocks: Uint8Array[] = [];
  /** Taken bytes of the first block. */
  #head = 0;
  /** Used bytes of the last block. */
  #tail = 0;
  length = 0;

  /** Keeps bytes: as they are if they are `lasting` and worth it, otherwise as a copy. */
  push(bytes: Uint8Array, lasting: boolean): void {
    if (lasting && bytes.length >= BLOCK_BYTES) {
      this.#shrinkLast();
      this.#blocks.push(bytes);
      this.#tail = bytes.length;
      this.length += bytes.length;
      return;
    }
    let rest = bytes;
    const last = this.#blocks[this.#blocks.length - 1];
    if (last !== undefined && this.#tail < last.length) {
      const count = Math.min(rest.length, last.length - this.#tail);
      last.set(rest.subarray(0, count), this.#tail);
      this.#tail += count;
      this.length += count;
      rest = rest.subarray(count);
    }
    if (rest.length === 0) return;
    const block = new Uint8Array(Math.max(rest.length, BLOCK_BYTES));
    block.set(rest);
    this.#blocks.push(block);
    this.#tail = rest.length;
    this.length += rest.length;
  }

  /** Offers what is kept to `write`, which answers how many bytes it took; stops when it takes less than all. */
  drainInto(write: (bytes: Uint8Array) => number): void {
    while (this.length > 0) {
      const block = this.#blocks[0]!;
      const end = this.#blocks.length === 1 ? this.#tail : block.length;
      const offered = block.subarray(this.#head, end);
      const taken = write(offered);
      if (taken <= 0) return;
      this.#head += taken;
      this.length -= taken;
      if (this.#head === end) {
        this.#blocks.shift();
        this.#head = 0;
      }
      if (taken < offered.length) return;
    }
  }

  /** The last block ends where it is used up to: another one follows it. */
  #shrinkLast(): void {
    const at = this.#blocks.length - 1;
    if (at >= 0) this.#blocks[at] = this.#blocks[at]!.subarray(0, this.#tail);
  }
}

/** Answers how many bytes it took; a negative number: the connection is gone. */
interface Writable {
  write(bytes: Uint8Array): number;
}

/** Writes a head and the payload behind it, which lasts; answers what was not taken, `null` where nothing has to wait. */
export function writeWithPayload(to: Writable, head: Uint8Array, payload: Uint8Array): PendingBytes | null {
  let taken = to.write(firstWrite(head, payload));
  if (taken === head.length) {
    const more = to.write(payload);
    taken = more < 0 ? more : taken + more;
  }
  if (taken < 0 || taken === head.length + payload.length) return null;
  const pending = new PendingBytes();
  if (taken < head.length) pending.push(head.subarray(taken), false);
  pending.push(payload.subarray(Math.max(0, taken - head.length)), true);
  return pending;
}
