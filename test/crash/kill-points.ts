/**
 * Where exchanges stand when the broker is killed: which packet was the last that passed, and how often a kill hit there.
 *
 * An exchange that is under way stands at one point. A finished one counts for its last packet when that passed within
 * `JUST_NOW_MS` of the kill. One point at a time can be armed: the next packet that passes there brings the kill, at once.
 */

/** First the exchanges that a publisher begins, then those that the broker begins, then those about a session. */
export const POINTS = [
  "publisher PUBLISH QoS 1 >",
  "publisher < PUBACK",
  "publisher PUBLISH QoS 2 >",
  "publisher < PUBREC",
  "publisher PUBREL >",
  "publisher < PUBCOMP",
  "subscriber < PUBLISH QoS 1",
  "subscriber PUBACK >",
  "subscriber < PUBLISH QoS 2",
  "subscriber PUBREC >",
  "subscriber < PUBREL",
  "subscriber PUBCOMP >",
  "CONNECT >",
  "< CONNACK",
  "SUBSCRIBE >",
  "< SUBACK",
  "UNSUBSCRIBE >",
  "< UNSUBACK",
] as const;

export type Point = (typeof POINTS)[number];

/** Packets that end an exchange: there is nothing under way after them. */
const LAST: ReadonlySet<Point> = new Set([
  "publisher < PUBACK",
  "publisher < PUBCOMP",
  "subscriber PUBACK >",
  "subscriber PUBCOMP >",
  "< CONNACK",
  "< SUBACK",
  "< UNSUBACK",
]);

const JUST_NOW_MS = 10;

export interface PointHits {
  /** Kills with at least one exchange at this point. */
  kills: number;
  /** Exchanges at this point, of all kills together. */
  exchanges: number;
  /** Kills brought by a packet at this point. */
  armed: number;
}

export class KillPoints {
  readonly hits = new Map<Point, PointHits>(POINTS.map((point) => [point, { kills: 0, exchanges: 0, armed: 0 }]));
  readonly #recent = new Map<Point, { sinceMs: number; count: number }>();
  #armed: Point | null = null;
  #strike: () => void = () => {};

  /** Calls `strike` while the next packet at `point` is being handled. */
  arm(point: Point, strike: () => void): void {
    this.#armed = point;
    this.#strike = strike;
  }

  disarm(): void {
    this.#armed = null;
  }

  passed(point: Point): void {
    if (LAST.has(point)) this.#note(point);
    if (this.#armed !== point) return;
    this.#armed = null;
    this.hits.get(point)!.armed++;
    this.#strike();
  }

  /** One kill: `standing` are the exchanges under way. */
  count(standing: Iterable<Point>): void {
    const counts = new Map<Point, number>();
    for (const point of standing) counts.set(point, (counts.get(point) ?? 0) + 1);
    const nowMs = performance.now();
    for (const [point, { sinceMs, count }] of this.#recent) if (nowMs - sinceMs < JUST_NOW_MS) counts.set(point, count);
    this.#recent.clear();
    for (const [point, count] of counts) {
      const hits = this.hits.get(point)!;
      hits.kills++;
      hits.exchanges += count;
    }
  }

  #note(point: Point): void {
    const nowMs = performance.now();
    const recent = this.#recent.get(point);
    if (recent !== undefined && nowMs - recent.sinceMs < JUST_NOW_MS) recent.count++;
    else this.#recent.set(point, { sinceMs: nowMs, count: 1 });
  }
}
