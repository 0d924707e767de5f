/**
 * A turn of the event loop: everything that arrived is run through the broker, then every connection is written to once.
 *
 * Owns the clock (monotonic, so that a step of the wall clock neither expires nor revives anything) and the one timer.
 */
import type { Broker } from "../core/broker.ts";

/** `setTimeout` fires at once for more than 2^31-1 ms; waking up once a day does no harm. */
const TIMER_MS_MAX = 24 * 60 * 60 * 1000;

const STARTED_AT_MS = Date.now() - performance.now();

/** Milliseconds since 1970 by a clock that never steps. */
export function nowMs(): number {
  return STARTED_AT_MS + performance.now();
}

export class Turn {
  readonly #broker: Broker;
  #scheduled = false;
  #stopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  readonly #end = (): void => {
    this.#scheduled = false;
    if (!this.#stopped) this.settle();
  };

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** An input was given: the turn is ended once the event loop has handed over everything that is ready. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#end);
  }

  /** Ends the turn now. */
  settle(): void {
    this.#arm(this.#broker.settle(nowMs()));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #arm(atMs: number): void {
    // A timer that comes early costs a wake-up and is armed anew; one that comes late is the only mistake.
    if (atMs >= this.#timerAtMs || this.#stopped) return;
    clearTimeout(this.#timer);
    const delayMs = Math.min(Math.max(atMs - nowMs(), 0), TIMER_MS_MAX);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#broker.tick(nowMs());
      this.settle();
    }, delayMs);
  }
}
