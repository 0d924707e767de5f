/**
 * Finds the first message that waits behind a place in a session's queue on disk, again and again while a batch takes them
 * away.
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
  /** The place that it was asked about last: nothing at or before it was looked at, or will be. */
  #afterSequence = Number.POSITIVE_INFINITY;

  constructor(kept: KeptState, sessionNumber: number) {
    this.#kept = kept;
    this.#sessionNumber = sessionNumber;
  }

  /** The first that waits on disk and still does; Infinity: none. */
  oldest(change: SessionChange, afterSequence: number): number {
    // What was passed over for a later place counts again for an earlier one.
    if (afterSequence < this.#afterSequence) this.#begin(afterSequence);
    else this.#afterSequence = afterSequence;
    let oldest = this.#untouched(change, afterSequence);
    for (const [sequence, { progress }] of change.progressed ?? []) {
      if (progress !== 0 || sequence >= oldest || sequence <= afterSequence) continue;
      if (this.#kept.hasPlace(this.#sessionNumber, sequence)) oldest = sequence;
    }
    return oldest;
  }

  #begin(afterSequence: number): void {
    this.#afterSequence = afterSequence;
    this.#sequences = [];
    this.#at = 0;
    this.#isAtEnd = false;
  }

  #untouched({ deleted, progressed }: SessionChange, afterSequence: number): number {
    for (;;) {
      const sequence = this.#peek();
      if (sequence === Infinity) return sequence;
      const isTouched = deleted?.has(sequence) === true || progressed?.has(sequence) === true;
      if (sequence > afterSequence && !isTouched) return sequence;
      this.#at++;
    }
  }

  #peek(): number {
    if (this.#at === this.#sequences.length && !this.#isAtEnd) {
      this.#sequences = this.#kept.waiting(this.#sessionNumber, this.#sequences.at(-1) ?? this.#afterSequence);
      this.#at = 0;
      this.#isAtEnd = this.#sequences.length === 0;
    }
    return this.#sequences[this.#at] ?? Infinity;
  }
}
