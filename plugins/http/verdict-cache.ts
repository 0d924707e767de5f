/**
 * Verdicts of an external service, kept for as long as it said.
 *
 * Invariant: at most `entriesMax` are kept, the least recently used go first; keys are HMACs under a key that never leaves
 * this process, so that memory holds no password; an entry is never served after its time.
 */
import { createHmac, randomBytes } from "node:crypto";
import type { Verdict } from "../../src/core/gate/provider.ts";

interface Entry {
  readonly verdict: Verdict;
  readonly untilMs: number;
}

export class VerdictCache {
  readonly #entriesMax: number;
  readonly #hmacKey = randomBytes(32);
  /** In the order of use, oldest first. */
  readonly #entries = new Map<string, Entry>();

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The key of a question; parts are told apart, whatever they contain. */
  keyOf(parts: readonly string[]): string {
    return createHmac("sha256", this.#hmacKey).update(JSON.stringify(parts)).digest("base64");
  }

  get(key: string, nowMs: number): Verdict | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.untilMs <= nowMs) return undefined;
    this.#entries.set(key, entry);
    return entry.verdict;
  }

  put(key: string, verdict: Verdict, untilMs: number): void {
    if (this.#entriesMax === 0) return;
    this.#entries.delete(key);
    if (this.#entries.size >= this.#entriesMax) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(key, { verdict, untilMs });
  }

  clear(): void {
    this.#entries.clear();
  }
}
