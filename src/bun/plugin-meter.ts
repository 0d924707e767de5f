/**
 * What one provider has done: outcomes, time taken, and whether it is to be asked at all.
 *
 * The circuit breaker opens after a run of failures (throw, rejection, junk, deadline; a refusal is none) and then refuses
 * without asking, so that a dead backend costs clients no five seconds each. After a while one client is let through to try.
 */

const FAILURES_TO_OPEN = 5;
const OPEN_MS = 5_000;

export type CallOutcome = "accept" | "continue" | "refuse" | "skip" | "failed";

/** Counters of one provider, for whoever watches the broker: logins, steps of an exchange and rechecks alike. */
export interface ProviderReport {
  readonly name: string;
  readonly outcomes: Readonly<Record<CallOutcome, number>>;
  /** Refused because the breaker was open. */
  readonly notAsked: number;
  /** Sum and maximum over all calls. */
  readonly totalMs: number;
  readonly longestMs: number;
  readonly breakerOpen: boolean;
}

export class ProviderMeter {
  readonly #name: string;
  readonly #outcomes: Record<CallOutcome, number> = { accept: 0, continue: 0, refuse: 0, skip: 0, failed: 0 };
  #notAsked = 0;
  #totalMs = 0;
  #longestMs = 0;
  #failuresInARow = 0;
  #openUntilMs = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** Whether the provider may be asked now; while the breaker is open one call in a while is. */
  admits(nowMs: number): boolean {
    if (this.#failuresInARow < FAILURES_TO_OPEN) return true;
    if (nowMs < this.#openUntilMs) {
      this.#notAsked++;
      return false;
    }
    this.#openUntilMs = nowMs + OPEN_MS;
    return true;
  }

  record(outcome: CallOutcome, tookMs: number, nowMs: number): void {
    this.#outcomes[outcome]++;
    this.#totalMs += tookMs;
    this.#longestMs = Math.max(this.#longestMs, tookMs);
    // A skip says nothing of the provider's health: strangers must neither close the breaker nor keep it from opening.
    if (outcome === "failed") this.#failuresInARow++;
    else if (outcome !== "skip") this.#failuresInARow = 0;
    if (this.#failuresInARow === FAILURES_TO_OPEN) this.#openUntilMs = nowMs + OPEN_MS;
  }

  /** A call was given up by the client: if it was the one let through to try, the next one is. */
  abandoned(): void {
    this.#openUntilMs = 0;
  }

  report(): ProviderReport {
    return {
      name: this.#name,
      outcomes: { ...this.#outcomes },
      notAsked: this.#notAsked,
      totalMs: this.#totalMs,
      longestMs: this.#longestMs,
      breakerOpen: this.#failuresInARow >= FAILURES_TO_OPEN,
    };
  }
}
