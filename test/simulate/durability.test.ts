/**
 * Seeded lives of a broker that is killed again and again, between any two steps of its store: no acknowledged message is lost, no
 * QoS 2 message comes twice, order is kept. The same where its power fails, for clients of listeners that promise as much beside
 * clients of one that does not. The same seed gives the same life.
 */
import { expect, test } from "bun:test";
import { Random } from "../fuzz/random.ts";
import { HeldStore } from "../support/held-store.ts";
import { World } from "../support/world.ts";
import { PersistentClient } from "./persistent-client.ts";

const STEPS = 300;
const SEEDS = Array.from({ length: Number(process.env["RQTT_SIMULATIONS"] ?? 100) }, (_, at) => at + 1);

interface Outcome {
  /** Acknowledged, and never seen by a subscriber. */
  readonly lost: string[];
  /** QoS 2, and seen more than once. */
  readonly doubled: string[];
  /** Seen for the first time after a later one of the same publisher and QoS. */
  readonly late: string[];
  /** How often a session was not there any more. */
  readonly forgotten: number;
}

interface Plan {
  /** The broker acknowledges what its store does not have. */
  readonly forgetful?: boolean;
  /** The power fails, and half of the clients are promised no more than that what they say survives the process. */
  readonly power?: boolean;
  /** They are judged as if they were promised all. */
  readonly strict?: boolean;
}

class Life {
  readonly #random: Random;
  readonly #store = new HeldStore({ automatic: false });
  readonly #publishers: PersistentClient[];
  readonly #subscribers: PersistentClient[];
  readonly #plan: Plan;
  #world: World;
  #count = 0;

  constructor(seed: number, plan: Plan) {
    this.#random = new Random(seed);
    this.#plan = plan;
    this.#world = this.#start(1_750_000_000_000);
    // Those with a 2 are promised less.
    const durability = plan.power === true ? ("written" as const) : undefined;
    const client = (id: string, receiveMaximum: number) =>
      new PersistentClient(id, receiveMaximum, 0, id.endsWith("2") ? durability : undefined);
    this.#publishers = ["p1", "p2"].map((id) => client(id, 100));
    this.#subscribers = ["s1", "s2"].map((id) => client(id, this.#random.pick([1, 3, 20])));
    for (const { clientId } of this.#subscribers) this.#subscribe(clientId);
    for (const client of this.#everybody) client.connect(this.#world);
  }

  get #everybody(): PersistentClient[] {
    return [...this.#publishers, ...this.#subscribers];
  }

  #start(nowMs: number): World {
    const config = { durability: this.#plan.forgetful === true ? "memory" : "fsync" } as const;
    return new World({ store: this.#store, nowMs, config });
  }

  /** Before everything else, so that every message is for everybody. */
  #subscribe(clientId: string): void {
    this.#store.automatic = true;
    const properties = { sessionExpiryInterval: 10_000 };
    const client = this.#world.dial({ clientId, cleanStart: false, properties });
    client.take("connack");
    client.subscribe("t/#", { qos: 2 });
    client.disconnect();
    this.#store.automatic = false;
  }

  step(): void {
    const random = this.#random;
    const client = random.pick(this.#everybody);
    const what = random.below(100);
    if (what < 40) this.#publish(random.pick(this.#publishers), random.oneIn(40) ? 300 : random.between(1, 4));
    else if (what < 70) client.handle(() => !random.oneIn(10));
    else if (what < 90) this.#carryOut(random.between(1, 3));
    else if (what < 95) this.#comeOrGo(client);
    else if (random.oneIn(4)) this.#crash();
  }

  #publish(publisher: PersistentClient, count: number): void {
    for (let at = 0; at < count; at++) {
      const qos = this.#random.pick([1, 2] as const);
      publisher.publish(`t/${this.#random.below(3)}`, `${publisher.clientId} ${qos} ${++this.#count}`, qos);
    }
  }

  #carryOut(count: number): void {
    this.#store.carryOut(this.#world.broker, this.#world.nowMs, count);
    this.#world.settle();
  }

  #comeOrGo(client: PersistentClient): void {
    if (client.isConnected) client.leave(this.#random.oneIn(2));
    else client.connect(this.#world);
  }

  /** Some of what was on its way to the disk has got there, and nobody was told. */
  #crash(): void {
    this.#store.writeSilently(this.#random.below(this.#store.calls.length + 1));
    if (this.#plan.power === true) this.#store.losePower(this.#random.below(this.#store.unsynced + 1));
    else this.#store.crash();
    for (const client of this.#everybody) client.lose();
    this.#world = this.#start(this.#world.nowMs + 10);
    for (const client of this.#everybody) if (!this.#random.oneIn(4)) client.connect(this.#world);
  }

  /** Everybody comes back and everything is said. */
  end(): Outcome {
    for (const client of this.#everybody) if (!client.isConnected) client.connect(this.#world);
    let before = -1;
    for (let round = 0; round < 5_000; round++) {
      this.#carryOut(this.#store.calls.length);
      for (const client of this.#everybody) client.handle(() => true);
      const heard = this.#subscribers.reduce((sum, { received }) => sum + received.length, 0);
      const isQuiet = heard === before && this.#store.calls.length === 0;
      if (isQuiet && this.#publishers.every(({ openCount }) => openCount === 0)) break;
      before = heard;
    }
    return this.#judge();
  }

  #judge(): Outcome {
    const isPromised = ({ durability }: PersistentClient): boolean =>
      durability === undefined || this.#plan.strict === true;
    const acknowledged = this.#publishers.filter(isPromised).flatMap((publisher) => [...publisher.acknowledged]);
    const each = this.#subscribers.map(({ received }) => judge(received, acknowledged));
    // Who is promised less may get a message twice.
    const promised = each.filter((_, at) => isPromised(this.#subscribers[at]!));
    return {
      lost: each.flatMap(({ lost }) => lost),
      doubled: promised.flatMap(({ doubled }) => doubled),
      late: promised.flatMap(({ late }) => late),
      forgotten: this.#everybody.reduce((sum, { forgotten }) => sum + forgotten, 0),
    };
  }
}

function judge(received: readonly string[], acknowledged: readonly string[]): Omit<Outcome, "forgotten"> {
  const seen = new Set<string>();
  const doubled: string[] = [];
  const late: string[] = [];
  const newest = new Map<string, number>();
  for (const text of received) {
    const [publisher = "", qos = "", number = ""] = text.split(" ");
    if (seen.has(text)) {
      if (qos === "2") doubled.push(text);
      continue;
    }
    seen.add(text);
    const stream = `${publisher} ${qos}`;
    if (Number(number) < (newest.get(stream) ?? 0)) late.push(text);
    newest.set(stream, Math.max(newest.get(stream) ?? 0, Number(number)));
  }
  return { lost: acknowledged.filter((text) => !seen.has(text)), doubled, late };
}

function live(seed: number, plan: Plan = {}): Outcome {
  const life = new Life(seed, plan);
  for (let step = 0; step < STEPS; step++) life.step();
  return life.end();
}

test.each(SEEDS)("life %d", (seed) => {
  expect(live(seed)).toEqual({ lost: [], doubled: [], late: [], forgotten: 0 });
});

const POWER_SEEDS = SEEDS.slice(0, Math.ceil(SEEDS.length / 3));

test.each(POWER_SEEDS)("life %d, with losses of power", (seed) => {
  expect(live(seed, { power: true })).toEqual({ lost: [], doubled: [], late: [], forgotten: 0 });
});

test("a client that was promised less is let down by a loss of power", () => {
  const lost = POWER_SEEDS.slice(0, 30).flatMap((seed) => live(seed, { power: true, strict: true }).lost);
  expect(lost.length).toBeGreaterThan(0);
});

test("a broker that acknowledges too early is found out", () => {
  const lost = SEEDS.slice(0, 30).flatMap((seed) => live(seed, { forgetful: true }).lost);
  expect(lost.length).toBeGreaterThan(0);
});
