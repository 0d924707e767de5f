/**
 * A turn of the event loop: everything that arrived is run through the broker, then every connection is written to once.
 *
 * Owns the clock (monotonic, so that a step of the wall clock neither expires nor revives anything) and the one timer.
 */
import type { Broker } from "../core/broker.ts";
import type { StoreClock } from "../core/store/store-engine.ts";

/** `setTimeout` fires at once for more than 2^31-1 ms; waking up once a day does no harm. */
const TIMER_MS_MAX = 24 * 60 * 60 * 1000;

const STARTED_AT_MS = Date.now() - performance.now();

/** Wall clocks differ by less than this without anybody having set them. */
const STEP_MS = 1_000;

/** What a store's clock is ahead of this process's own. */
let aheadMs = 0;

/** Milliseconds since 1970 by a clock that never steps; where a store's clock is gone on with, since a 1970 of its own. */
export function nowMs(): number {
  return STARTED_AT_MS + performance.now() + aheadMs;
}

/**
 * Goes on from where a broker's clock stood when its store was last written: later by what the wall clock says has passed, and
 * never earlier. Deadlines in the store keep their distance, even where the wall clock was set meanwhile.
 */
export function continueClock({ brokerMs, wallMs }: StoreClock): void {
  if (brokerMs === 0) return;
  const passedMs = Math.max(0, Date.now() - wallMs);
  const aheadBy = brokerMs + passedMs - nowMs();
  if (Math.abs(aheadBy) > STEP_MS) aheadMs += aheadBy;
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
