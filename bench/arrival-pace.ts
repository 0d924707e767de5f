/**
 * Flow control for QoS 0, which has none: lets a publisher go on when its messages have arrived at every subscriber.
 *
 * Invariant: no subscriber is ever more than the publisher's window behind, so that no broker has a reason to drop.
 * Goals move by a quarter of the window, so that three quarters stay on their way meanwhile.
 */
import type { Publisher } from "./publisher.ts";
import type { Subscriber } from "./subscriber.ts";

export class ArrivalPace {
  private readonly publisher: Publisher;
  private readonly subscribers: readonly Subscriber[];
  private readonly reached: Uint32Array;
  private readonly stepCount: number;
  private goalCount = 0;
  private limitCount = 0;
  private behind = 0;

  constructor(publisher: Publisher, subscribers: readonly Subscriber[]) {
    this.publisher = publisher;
    this.subscribers = subscribers;
    this.reached = new Uint32Array(subscribers.length);
    this.stepCount = Math.max(1, publisher.window >> 2);
  }

  /** Allows `count` more messages; they lie beyond the present goal. */
  extend(count: number): void {
    this.limitCount += count;
    this.moveGoal(this.goalCount);
  }

  /** To be called when subscriber `index` has read something. */
  arrived(index: number): void {
    const before = this.reached[index];
    const now = this.subscribers[index].ledger.reachedCount;
    this.reached[index] = now;
    if (before >= this.goalCount || now < this.goalCount || --this.behind > 0) return;
    const slowest = Math.min(...this.reached);
    this.moveGoal(slowest);
    this.publisher.completeUpTo(slowest);
  }

  private moveGoal(slowest: number): void {
    while (this.goalCount <= slowest) this.goalCount += this.stepCount;
    this.goalCount = Math.min(this.goalCount, this.limitCount);
    this.behind = 0;
    for (const reached of this.reached) if (reached < this.goalCount) this.behind++;
  }
}
