/**
 * Bytes that a transport would not take yet: kept in order, as copies, and offered again when it drains.
 *
 * Bounded by the core, which stops delivering to a connection whose backlog reaches the high water mark.
 */

/** Pieces are gathered into blocks of at least this size, so that many small ones do not cost an object each. */
const BLOCK_BYTES = 16 * 1024;

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
