/**
 * Seeded lives of a session whose queue is longer than what is kept of it in memory, on a store that takes its time: pages come
 * while messages are dropped, acknowledged, sent past them, while the client leaves and the broker is killed. What was
 * acknowledged comes, in order, what was dropped does not, and in the end nobody has anything left.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import type { Session } from "../../src/core/session/session.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { Random } from "../fuzz/random.ts";
import { HeldStore } from "../support/held-store.ts";
import { World } from "../support/world.ts";
import { PersistentClient } from "./persistent-client.ts";

setDefaultTimeout(60_000);

const STEPS = 200;
const SEEDS = Array.from({ length: Number(process.env["RQTT_SIMULATIONS"] ?? 4) }, (_, at) => at + 1);
/** Seven of them fill the window of a client that is away, a hundred that of one that is there. */
const PAYLOAD_BYTES = 40_000;

interface Plan {
  readonly queueMessagesMax: number;
  readonly queueOverflow: "drop-newest" | "drop-oldest";
  readonly crashes: boolean;
}

class Life {
  readonly #random: Random;
  readonly #plan: Plan;
  readonly #store = new HeldStore({ automatic: false });
  readonly #publisher = new PersistentClient("publisher", 100, PAYLOAD_BYTES);
  readonly #subscriber: PersistentClient;
  #world: World;
  #session: Session | null = null;
  #count = 0;
  /** Messages that gave way, in worlds that are over. */
  #droppedBefore = 0;

  constructor(seed: number, plan: Plan) {
    this.#random = new Random(seed);
    this.#plan = plan;
    this.#world = this.#start(1_750_000_000_000);
    this.#subscriber = new PersistentClient("subscriber", this.#random.pick([1, 5, 30, 200]));
    this.#store.automatic = true;
    const properties = { sessionExpiryInterval: 10_000 };
    const client = this.#world.connect({ clientId: "subscriber", cleanStart: false, properties });
    client.subscribe("t", { qos: 2 });
    this.#session = client.connection.session;
    client.drop();
    const retainer = this.#world.connect();
    for (let at = 0; at < 3; at++) retainer.publish(`r/${at}`, `retained ${at}`, { qos: 2, retain: true });
    this.#store.automatic = false;
    this.#publisher.connect(this.#world);
  }

  #start(nowMs: number): World {
    const { queueOverflow, queueMessagesMax } = this.#plan;
    const limits = { queueMessagesMax, queueBytesMax: 1e9, storeBacklogBytesMax: 1e9 };
    return new World({ store: this.#store, nowMs, limits, config: { queueOverflow } });
  }

  step(): void {
    const random = this.#random;
    const what = random.below(100);
    if (what < 30) this.#publish(random.oneIn(4) ? 60 : random.between(1, 5));
    else if (what < 35) this.#subscriber.subscribe("r/#", random.pick([1, 2]));
    else if (what < 55) this.#subscriber.handle(() => !random.oneIn(10));
    else if (what < 60) this.#publisher.handle(() => true);
    else if (what < 85) this.#carryOut(random.between(1, 3));
    else if (what < 98) this.#comeOrGo();
    else if (this.#plan.crashes) this.#crash();
    this.#look();
  }

  #publish(count: number): void {
    for (let at = 0; at < count; at++) {
      const qos = this.#random.pick([1, 2] as const);
      this.#publisher.publish("t", `${qos} ${++this.#count}`, qos);
    }
  }

  #carryOut(count: number): void {
    for (let at = 0; at < count && this.#store.calls.length > 0; at++) {
      this.#store.carryOut(this.#world.broker, this.#world.nowMs, 1);
      this.#world.settle();
      this.#look();
    }
  }

  #comeOrGo(): void {
    if (this.#subscriber.isConnected) this.#subscriber.leave(this.#random.oneIn(2));
    else this.#subscriber.connect(this.#world);
  }

  #crash(): void {
    this.#store.writeSilently(this.#random.below(this.#store.calls.length + 1));
    this.#store.crash();
    for (const client of [this.#publisher, this.#subscriber]) client.lose();
    this.#droppedBefore += this.#world.broker.statistics.dropped.queueFull;
    this.#world = this.#start(this.#world.nowMs + 10);
    this.#session = null;
    this.#publisher.connect(this.#world);
  }

  /** What holds at any moment. */
  #look(): void {
    const session = this.#subscriber.session ?? this.#session;
    if (session === null) return;
    this.#session = session;
    const { inflight, queue, tail } = session;
    const underWay = inflight.inOrder();
    const waiting = queue?.all() ?? [];
    const bytes = [...underWay, ...waiting].reduce((sum, { message }) => sum + message.sizeBytes, 0);
    expect(session.queuedBytes).toBe(bytes + (tail?.bytes ?? 0));
    expect(tail?.count ?? 0).toBeGreaterThanOrEqual(0);
    // A broker that starts takes what was under way, and what was being dropped, for waiting.
    if (!this.#plan.crashes) expect(session.queueLength).toBeLessThanOrEqual(this.#plan.queueMessagesMax);
    expect(session.sentCount).toBeGreaterThanOrEqual(0);
    const places = waiting.map(({ storeSequence }) => storeSequence);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    const last = places.at(-1);
    if (tail !== null && tail.count > 0 && last !== undefined) expect(tail.afterSequence).toBeGreaterThanOrEqual(last);
    expect(queue?.bytes ?? 0).toBeLessThan(6_000_000);
  }

  /** Everybody comes back, everything is said, and what waited is counted. */
  end() {
    this.#drain();
    const { received } = this.#subscriber;
    const texts = received.filter((text) => !text.startsWith("retained"));
    const seen = new Set(texts);
    const doubled = texts.length - seen.size;
    const late = ["1", "2"].flatMap((qos) => lateOf(texts, qos));
    const twice = texts.filter((text, at) => text.startsWith("2 ") && texts.indexOf(text) !== at);
    const dropped = this.#droppedBefore + this.#world.broker.statistics.dropped.queueFull;
    const lost = [...this.#publisher.acknowledged].filter((text) => !seen.has(text));
    const session = this.#session!;
    const left = { places: placesIn(this.#store), bytes: session.queuedBytes, messages: session.queueLength };
    return { doubled, late, twice, dropped, lost, left, published: this.#count, seen: seen.size };
  }

  #drain(): void {
    if (!this.#subscriber.isConnected) this.#subscriber.connect(this.#world);
    for (let round = 0, quiet = 0; quiet < 3; round++) {
      if (round > 5_000) throw new Error("never quiet");
      const before = this.#subscriber.received.length;
      this.#carryOut(this.#store.calls.length);
      this.#publisher.handle(() => true);
      this.#subscriber.handle(() => true);
      this.#look();
      const isQuiet = this.#store.calls.length === 0 && this.#subscriber.received.length === before;
      quiet = isQuiet ? quiet + 1 : 0;
    }
  }
}

function lateOf(texts: readonly string[], qos: string): string[] {
  const seen = new Set<string>();
  const late: string[] = [];
  let newest = 0;
  for (const text of texts) {
    if (!text.startsWith(`${qos} `) || seen.has(text)) continue;
    seen.add(text);
    const number = Number(text.slice(2));
    if (number < newest) late.push(text);
    newest = Math.max(newest, number);
  }
  return late;
}

function placesIn(store: HeldStore): number {
  let places = 0;
  const count = { queuePut: () => void places++, queueTail: ({ count }: { count: number }) => void (places += count) };
  store.engine.load({ ...IGNORING_SINK, ...count });
  return places;
}

function live(seed: number, plan: Plan) {
  const life = new Life(seed, plan);
  for (let step = 0; step < STEPS; step++) life.step();
  return life.end();
}

const NOTHING = { places: 0, bytes: 0, messages: 0 };

test.each(SEEDS)("there is room for everything, the broker is killed: %d", (seed) => {
  const plan = { queueMessagesMax: 10_000, queueOverflow: "drop-newest", crashes: true } as const;
  const { lost, late, twice, left } = live(seed, plan);
  expect({ lost, late, twice, left }).toEqual({ lost: [], late: [], twice: [], left: NOTHING });
});

// What was refused or dropped, and is sent again after a crash, comes later than what was sent after it: `late` says nothing then.
test.each(SEEDS)("a full queue refuses, the broker is killed: %d", (seed) => {
  const plan = { queueMessagesMax: 150, queueOverflow: "drop-newest", crashes: true } as const;
  const { lost, twice, left } = live(seed, plan);
  expect({ lost, twice, left }).toEqual({ lost: [], twice: [], left: NOTHING });
});

test.each(SEEDS)("a full queue gives up its oldest: %d", (seed) => {
  const plan = { queueMessagesMax: 150, queueOverflow: "drop-oldest", crashes: false } as const;
  const { late, twice, left, published, dropped, seen } = live(seed, plan);
  expect({ late, twice, left, seen }).toEqual({ late: [], twice: [], left: NOTHING, seen: published - dropped });
});

test.each(SEEDS)("a full queue gives up its oldest, the broker is killed: %d", (seed) => {
  const plan = { queueMessagesMax: 150, queueOverflow: "drop-oldest", crashes: true } as const;
  const { twice, left } = live(seed, plan);
  expect({ twice, left }).toEqual({ twice: [], left: NOTHING });
});
