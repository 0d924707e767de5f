/**
 * What clients do by themselves while a run is under load: publish at the set rate, change how they acknowledge, leave, come back.
 *
 * Publishers rest while a subscriber is further behind than `BACKLOG_MAX`, so that no queue of the broker overflows.
 */
import type { Random } from "../fuzz/random.ts";
import type { Publisher } from "./publisher.ts";
import type { Subscriber } from "./subscriber.ts";

const TICK_MS = 5;
/** Below the broker's default bound for the messages that wait for one session. */
const BACKLOG_MAX = 6000;
/** A burst after a rest: this many ticks' worth of messages. */
const BURST_TICKS = 20;
/** Between one habit of a client and the next, on average: this long, or a third of the time between two kills. */
const HABIT_TICKS_MAX = 40;

export interface HabitsOptions {
  readonly random: Random;
  readonly publishers: readonly Publisher[];
  readonly subscribers: readonly Subscriber[];
  /** Messages that the subscriber furthest behind has not received yet. */
  readonly backlog: () => number;
  /** Messages per second, of all publishers together. */
  readonly rate: number;
  /** The time from one kill to the next, on average. */
  readonly spanMs: number;
}

export class Habits {
  readonly #options: HabitsOptions;
  /** Who is away, and until when. */
  readonly #away = new Map<Subscriber, number>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastMs = 0;
  #credit = 0;

  constructor(options: HabitsOptions) {
    this.#options = options;
  }

  begin(): void {
    this.#lastMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const { random, publishers, subscribers } = this.#options;
    const nowMs = performance.now();
    this.#publish(nowMs);
    const habitTicks = Math.min(Math.ceil(this.#options.spanMs / TICK_MS / 3), HABIT_TICKS_MAX);
    for (const client of [...publishers, ...subscribers]) if (random.oneIn(habitTicks)) client.changeHabit();
    for (const subscriber of subscribers) {
      subscriber.tick();
      this.#presence(subscriber, nowMs);
    }
  }

  #publish(nowMs: number): void {
    const { random, publishers, rate, backlog } = this.#options;
    const burstMax = Math.max((rate * TICK_MS * BURST_TICKS) / 1000, 1);
    this.#credit = Math.min(this.#credit + (rate * (nowMs - this.#lastMs)) / 1000, burstMax);
    this.#lastMs = nowMs;
    if (backlog() > BACKLOG_MAX) return;
    const first = random.below(publishers.length);
    for (let i = 0; i < publishers.length && this.#credit >= 1; i++) {
      const publisher = publishers[(first + i) % publishers.length]!;
      this.#credit -= publisher.publish(Math.ceil(this.#credit / (publishers.length - i)));
    }
  }

  #presence(subscriber: Subscriber, nowMs: number): void {
    const { random, spanMs } = this.#options;
    const { client, planned } = subscriber;
    const backMs = this.#away.get(subscriber);
    if (backMs !== undefined) {
      if (nowMs < backMs) return;
      this.#away.delete(subscriber);
      return client.come();
    }
    if (!client.isOnline) return;
    const spanTicks = Math.ceil(spanMs / TICK_MS);
    if (planned.habit === "renews" && random.oneIn(spanTicks)) subscriber.renew();
    else if (planned.habit === "leaves" && random.oneIn(spanTicks))
      this.#leave(subscriber, nowMs + random.below(spanMs / 2));
    else if (planned.habit === "away" && random.oneIn(Math.ceil(spanTicks / 4))) {
      this.#leave(subscriber, nowMs + random.below(spanMs * 3));
    }
  }

  #leave(subscriber: Subscriber, backMs: number): void {
    this.#away.set(subscriber, backMs);
    if (this.#options.random.oneIn(2)) subscriber.client.leave();
    else subscriber.client.cut();
  }
}
