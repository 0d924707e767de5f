/**
 * Hashes of topic levels, under a seed that peers do not know: they cannot choose levels that crowd one place of a table.
 *
 * Byte by byte, so that it is taken while a topic is cut into levels. Every seed is as good as any other: it is mixed first, and
 * what a multiplier must not be, a number of few bits or close to a power of two, its fixed low bits exclude.
 */

/** Low bits that every multiplier has: odd, and spreading a byte's bits over those beside them. */
const MULTIPLIER_LOW = 0x93;

/** So that a seed of 0 does not stay 0. */
const SEED_OFFSET = 0x9e3779b9;

/** Every bit of the answer depends on every bit of `value`; no two values have the same answer. */
function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

export class LevelHash {
  /** The hash before the first byte. */
  readonly basis: number;
  readonly multiplier: number;

  constructor(seed: number) {
    this.basis = mix(seed + SEED_OFFSET);
    this.multiplier = (mix(this.basis + SEED_OFFSET) & ~0xff) | MULTIPLIER_LOW;
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
