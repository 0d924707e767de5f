/** Hashes of topic levels, under a seed that peers do not know: they cannot choose levels that crowd one place of a table. */

export class LevelHash {
  /** The hash before the first byte. */
  readonly basis: number;
  /** Odd, so that multiplying loses nothing. */
  readonly multiplier: number;

  constructor(seed: number) {
    this.multiplier = seed | 0x10001;
    this.basis = this.multiplier;
  }

  of(bytes: Uint8Array, start: number, end: number): number {
    const { multiplier } = this;
    let hash = this.basis;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, multiplier);
    return finished(hash);
  }
}

/** The hash behind the last byte: tables look at its low bits, which so far know nothing of the high ones. */
export function finished(hash: number): number {
  return hash ^ (hash >>> 15);
}
