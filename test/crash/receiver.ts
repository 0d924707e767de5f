/**
 * What one subscriber, or one share, must and may receive, and what it did: the judge's ledger.
 *
 * A subscription is a list of spells, each from SUBSCRIBE to UNSUBACK. A message must arrive when it was first sent after the SUBACK
 * of a spell and acknowledged before its UNSUBSCRIBE; it may arrive when it was sent before the UNSUBACK and not yet acknowledged
 * at the SUBSCRIBE. Invariant: the spells of a subscription do not overlap and are in the order of the journal's clock.
 */
import type { Journal } from "./journal.ts";
import type { PayloadMark } from "./payload.ts";
import { filterMatches, type PlannedFilter, type Stream } from "./plan.ts";
import type { Qos } from "./wire.ts";

const NEVER = Number.POSITIVE_INFINITY;

interface Spell {
  readonly askedAt: number;
  grantedAt: number;
  leavingAt: number;
  leftAt: number;
  /** The session was discarded with everything that waited in it: nothing has to arrive any more. */
  discarded: boolean;
}

export class Subscription {
  readonly planned: PlannedFilter;
  readonly #spells: Spell[] = [];
  readonly #journal: Journal;

  constructor(planned: PlannedFilter, journal: Journal) {
    this.planned = planned;
    this.#journal = journal;
  }

  /** "in": granted; "out": not asked for, or ended; else the last request has no answer yet. */
  get state(): "out" | "asked" | "in" | "leaving" {
    const spell = this.#last();
    if (spell === undefined || spell.leftAt < NEVER) return "out";
    if (spell.leavingAt < NEVER) return "leaving";
    return spell.grantedAt < NEVER ? "in" : "asked";
  }

  /** SUBSCRIBE is sent; again, when the one before had no answer. */
  asked(): void {
    if (this.state !== "out") return;
    this.#spells.push({
      askedAt: this.#journal.now(),
      grantedAt: NEVER,
      leavingAt: NEVER,
      leftAt: NEVER,
      discarded: false,
    });
  }

  granted(): void {
    if (this.state === "asked") this.#last()!.grantedAt = this.#journal.now();
  }

  leaving(): void {
    if (this.state === "in" || this.state === "asked") this.#last()!.leavingAt = this.#journal.now();
  }

  left(): void {
    if (this.state === "leaving") this.#last()!.leftAt = this.#journal.now();
  }

  /** The session is to be discarded, by a CONNECT with Clean Start that is about to be sent. */
  discarding(): void {
    this.leaving();
    const last = this.#last();
    if (last !== undefined && last.leftAt === NEVER) last.discarded = true;
  }

  owes(sentAt: number, ackedAt: number): boolean {
    const spell = this.#spells[this.#firstAt(({ leavingAt }) => leavingAt > sentAt)];
    return spell !== undefined && !spell.discarded && spell.grantedAt < sentAt && ackedAt < spell.leavingAt;
  }

  allows(sentAt: number, ackedAt: number): boolean {
    let at = this.#firstAt(({ leftAt }) => leftAt > sentAt);
    // What waited in a session that was discarded may not come any more.
    while (this.#spells[at]?.discarded && this.#spells[at]!.leftAt < NEVER) at++;
    const spell = this.#spells[at];
    return spell !== undefined && spell.askedAt < ackedAt;
  }

  /** Whether the present spell began before that. */
  covers(sentAt: number): boolean {
    const spell = this.#last();
    return spell !== undefined && spell.grantedAt < sentAt && spell.leavingAt === NEVER;
  }

  #last(): Spell | undefined {
    return this.#spells[this.#spells.length - 1];
  }

  /** Where the first spell is that fits, where all after one that fits do too. */
  #firstAt(fits: (spell: Spell) => boolean): number {
    let low = 0;
    let high = this.#spells.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (fits(this.#spells[middle]!)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** One stream as a receiver sees it. */
interface Arrivals {
  readonly stream: Stream;
  /** Subscriptions that match its topic, of each member. */
  readonly subscriptions: Subscription[];
  readonly qosExpected: Qos;
  /** Subscription Identifiers that a delivery has to carry, in order. */
  readonly identifiers: readonly number[];
  /** How often each number arrived; 255 stands for that and more. */
  counts: Uint8Array;
  newest: number;
}

export interface Delivery {
  readonly topicName: string;
  readonly qos: Qos;
  readonly identifiers: readonly number[];
  readonly mark: PayloadMark;
}

export class Receiver {
  readonly name: string;
  arrivedCount = 0;
  readonly #journal: Journal;
  /** A share has no order: its members take turns. */
  readonly #isShare: boolean;
  readonly #arrivals = new Map<number, Arrivals>();

  constructor(
    name: string,
    isShare: boolean,
    streams: readonly Stream[],
    subscriptions: readonly Subscription[],
    journal: Journal,
  ) {
    this.name = name;
    this.#isShare = isShare;
    this.#journal = journal;
    for (const stream of streams) {
      const matching = subscriptions.filter(({ planned }) => filterMatches(planned.filter, stream.topicName(1)));
      if (matching.length === 0) continue;
      const planned = matching.map((subscription) => subscription.planned);
      this.#arrivals.set(stream.index, {
        stream,
        subscriptions: matching,
        qosExpected: Math.min(stream.qos, Math.max(...planned.map(({ qos }) => qos))) as Qos,
        // Members of a share have the same identifier, of which a delivery carries one.
        identifiers: [...new Set(planned.flatMap(({ identifier }) => identifier ?? []))].sort((a, b) => a - b),
        counts: new Uint8Array(1024),
        newest: 0,
      });
    }
  }

  /** A message has arrived, by `member`, as a delivery of its own. */
  arrived(member: string, delivery: Delivery): void {
    const { stream: index, number } = delivery.mark;
    const arrivals = this.#arrivals.get(index);
    const text = `${member} received stream ${index} number ${number} (${delivery.topicName})`;
    if (arrivals === undefined) return this.#journal.fault("subscription", `${text}, which no filter of it selects`);
    if (!(number >= 1 && number <= this.#journal.lastSent(arrivals.stream))) {
      return this.#journal.fault("unsent", `${text}, but ${this.#journal.lastSent(arrivals.stream)} was the last sent`);
    }
    this.#check(arrivals, delivery, text);
    this.#take(arrivals, number, text);
  }

  /** Acknowledged messages that should have arrived, up to `examplesMax` of them as text. */
  missing(examplesMax: number): { readonly count: number; readonly examples: readonly string[] } {
    const examples: string[] = [];
    let count = 0;
    for (const { stream, subscriptions, counts } of this.#arrivals.values()) {
      const last = this.#journal.lastAcked(stream);
      for (let number = 1; number <= last; number++) {
        if ((counts[number] ?? 0) > 0) continue;
        const ackedAt = this.#journal.ackedAt(stream, number);
        if (ackedAt === NEVER) continue;
        const sentAt = this.#journal.sentAt(stream, number);
        if (!subscriptions.some((subscription) => subscription.owes(sentAt, ackedAt))) continue;
        count++;
        if (examples.length < examplesMax) {
          const when = `sent at ${sentAt}, acknowledged at ${ackedAt}`;
          examples.push(
            `${this.name} never received stream ${stream.index} number ${number} (${stream.topicName(number)}), ${when}`,
          );
        }
      }
    }
    return { count, examples };
  }

  #check({ stream, subscriptions, qosExpected, identifiers }: Arrivals, delivery: Delivery, text: string): void {
    const { number } = delivery.mark;
    if (delivery.topicName !== stream.topicName(number)) {
      this.#journal.fault("damaged", `${text}, sent to ${stream.topicName(number)}`);
    }
    const sentAt = this.#journal.sentAt(stream, number);
    const ackedAt = this.#journal.ackedAt(stream, number);
    if (!subscriptions.some((subscription) => subscription.allows(sentAt, ackedAt))) {
      this.#journal.fault("subscription", `${text} without a subscription while it was under way`);
    }
    if (delivery.qos !== qosExpected) {
      this.#journal.fault("damaged", `${text} at QoS ${delivery.qos}, expected ${qosExpected}`);
    }
    if (delivery.identifiers.join() !== identifiers.join()) {
      const found = delivery.identifiers.join() || "none";
      this.#journal.fault(
        "damaged",
        `${text} with Subscription Identifiers ${found}, expected ${identifiers.join() || "none"}`,
      );
    }
  }

  #take(arrivals: Arrivals, number: number, text: string): void {
    if (number >= arrivals.counts.length) {
      const longer = new Uint8Array(Math.max(number + 1, arrivals.counts.length * 2));
      longer.set(arrivals.counts);
      arrivals.counts = longer;
    }
    const before = arrivals.counts[number]!;
    arrivals.counts[number] = Math.min(before + 1, 255);
    this.#journal.arrivedCount++;
    if (before > 0) {
      if (arrivals.qosExpected === 2) this.#journal.fault("duplicate", `${text} again`);
      else this.#journal.repeatedCount++;
      return;
    }
    this.arrivedCount++;
    if (number < arrivals.newest && !this.#isShare && this.#isOrdered(arrivals, number)) {
      this.#journal.fault("disorder", `${text} after number ${arrivals.newest}`);
    }
    arrivals.newest = Math.max(arrivals.newest, number);
  }

  /**
   * Without a subscription from first to last, an earlier message may come later: it was handled while there was none, its publisher
   * never heard of that, and sent it again.
   */
  #isOrdered({ stream, subscriptions }: Arrivals, number: number): boolean {
    const sentAt = this.#journal.sentAt(stream, number);
    return subscriptions.some((subscription) => subscription.covers(sentAt));
  }
}
