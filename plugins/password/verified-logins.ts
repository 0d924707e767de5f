/**
 * Logins whose password was right a moment ago, so that a reconnect costs no hash.
 *
 * Invariant: holds neither passwords nor what they could be guessed from outside this process; only right ones; each for a
 * fixed time from its hash on, not renewed by use; bounded. The key covers the hash of the user file, so that a changed
 * password is never found.
 */

const ENTRIES_MAX = 10_000;

export class VerifiedLogins {
  readonly #ttlMs: number;
  readonly #nowMs: () => number;
  /** Until when, in order of time. */
  readonly #untilMs = new Map<string, number>();

  /** `ttlMs` 0: nothing is kept. */
  constructor(ttlMs: number, nowMs: () => number) {
    this.#ttlMs = ttlMs;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#untilMs.size;
  }

  has(key: string): boolean {
    const untilMs = this.#untilMs.get(key);
    if (untilMs === undefined) return false;
    const leftMs = untilMs - this.#nowMs();
    // A clock that was set back must not make an entry live longer than it was meant to.
    if (leftMs > 0 && leftMs <= this.#ttlMs) return true;
    this.#untilMs.delete(key);
    return false;
  }

  add(key: string): void {
    if (this.#ttlMs === 0) return;
    this.#untilMs.delete(key);
    const nowMs = this.#nowMs();
    for (const [oldest, untilMs] of this.#untilMs) {
      if (untilMs > nowMs && this.#untilMs.size < ENTRIES_MAX) break;
      this.#untilMs.delete(oldest);
    }
    this.#untilMs.set(key, nowMs + this.#ttlMs);
  }
}
