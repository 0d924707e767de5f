/**
 * Finds the message that has waited longest in a session's queue on disk, again and again while a batch takes them away.
 *
 * Invariant: everything before the cursor either waits no more on disk, or was changed by the batch itself; of what the
 * batch has changed, it is asked.
 */
import type { KeptState, SessionChange } from "./gathered-changes.ts";

export class WaitingCursor {
  readonly #kept: KeptState;
  readonly #sessionNumber: number;
  #sequences: readonly number[] = [];
  #at = 0;
  #isAtEnd = false;

  constructor(kept: KeptState, sessionNumber: number) {
    this.#kept = kept;
    this.#sessionNumber = sessionNumber;
  }

  /** The first that waits on disk and still does; Infinity: none. */
  oldest(change: SessionChange): number {
    let oldest = this.#untouched(change);
    for (const [sequence, { progress }] of change.progressed ?? []) {
      if (progress !== 0 || sequence >= oldest) continue;
      if (this.#kept.hasPlace(this.#sessionNumber, sequence)) oldest = sequence;
    }
    return oldest;
  }

  #untouched({ deleted, progressed }: SessionChange): number {
    for (;;) {
      const sequence = this.#peek();
      if (sequence === Infinity) return sequence;
      if (deleted?.has(sequence) !== true && progressed?.has(sequence) !== true) return sequence;
      this.#at++;
    }
  }

  #peek(): number {
    if (this.#at === this.#sequences.length && !this.#isAtEnd) {
      this.#sequences = this.#kept.waiting(this.#sessionNumber, this.#sequences.at(-1) ?? -1);
      this.#at = 0;
      this.#isAtEnd = this.#sequences.length === 0;
    }
    return this.#sequences[this.#at] ?? Infinity;
  }
}
