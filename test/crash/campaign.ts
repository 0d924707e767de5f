/**
 * One run: load, kills at random moments, restarts, and at the end everything delivered and compared.
 *
 * The seed fixes every choice made here and by the clients; when packets and kills meet is up to the machine, so that two runs of
 * one seed are alike but not the same.
 */
import { Random } from "../fuzz/random.ts";
import { BrokerFailure, type BrokerUnderTest } from "./broker-under-test.ts";
import type { Client, Run } from "./client.ts";
import { elapsed } from "./elapsed.ts";
import { Habits } from "./habits.ts";
import { Journal } from "./journal.ts";
import { KillPoints, POINTS, type Point } from "./kill-points.ts";
import { makePlan, type Plan, type QosChoice } from "./plan.ts";
import { Publisher } from "./publisher.ts";
import { Receiver, Subscription } from "./receiver.ts";
import { lookAtRetained } from "./retained-look.ts";
import { Subscriber } from "./subscriber.ts";

export interface CampaignOptions {
  readonly kills: number;
  readonly qos: QosChoice;
  readonly seed: number;
  /** Time from ready to kill. */
  readonly betweenMs: readonly [number, number];
  /** Messages sent per second, by all publishers together. */
  readonly rate: number;
  readonly publishers: number;
  /** How long nothing may come at the end before what is missing counts as lost. */
  readonly quietMs: number;
  /** How long a newcomer waits for retained messages before it asks whether there are any to come. */
  readonly patienceMs: number;
  /** Up to when after its start a broker may be killed before it is ready. */
  readonly startMs: number;
  readonly journalPath: string | null;
  /** Asked after each kill; when true no more follow, whatever `kills` says. */
  isEnough(journal: Journal): boolean;
  progress(text: string): void;
}

export interface Outcome {
  readonly journal: Journal;
  readonly points: KillPoints;
  readonly kills: number;
  readonly killsAtStart: number;
  readonly restartsMs: readonly number[];
  readonly retainedLooks: number;
  readonly durationMs: number;
}

const WINDOW_MAX = 40;
const ARMED_LIMIT_MS = 150;
const EXAMPLES_PER_RECEIVER = 3;
const STUCK_MS = 10_000;
const PROGRESS_MS = 5000;

/** A run, its clients and its broker. */
class Campaign {
  readonly journal: Journal;
  readonly points = new KillPoints();
  readonly publishers: readonly Publisher[];
  readonly subscribers: readonly Subscriber[];
  readonly receivers: readonly Receiver[];
  readonly plan: Plan;
  readonly restartsMs: number[] = [];
  kills = 0;
  killsAtStart = 0;
  retainedLooks = 0;
  readonly #options: CampaignOptions;
  readonly #broker: BrokerUnderTest;
  readonly #run: Run;
  readonly #random: Random;
  readonly #habits: Habits;
  readonly #startedMs = performance.now();
  #progressMs = 0;
  #pointsLeft: (Point | null)[] = [];

  constructor(options: CampaignOptions, broker: BrokerUnderTest) {
    this.#options = options;
    this.#broker = broker;
    this.#random = new Random(options.seed);
    this.journal = new Journal(options.journalPath);
    const port = (): number => broker.port;
    this.#run = { random: new Random(options.seed + 1), journal: this.journal, points: this.points, port };
    this.plan = makePlan(options.qos, options.publishers);
    this.publishers = Array.from({ length: this.plan.publisherCount }, (_, at) => {
      const streams = this.plan.streams.filter(({ publisher }) => publisher === at);
      return new Publisher(this.#run, `crash-publisher-${at}`, streams, WINDOW_MAX);
    });
    const { subscribers, receivers } = makeSubscribers(this.#run, this.plan);
    this.subscribers = subscribers;
    this.receivers = receivers;
    const [least, most] = options.betweenMs;
    this.#habits = new Habits({
      random: this.#run.random,
      publishers: this.publishers,
      subscribers,
      backlog: () => this.#backlog(),
      rate: options.rate,
      spanMs: (least + most) / 2,
    });
  }

  async begin(): Promise<void> {
    await this.#start();
    for (const { client } of this.subscribers) client.come();
    await this.#until("every subscription was granted", () =>
      this.subscribers.every(({ requests }) => requests.isSettled),
    );
    for (const { client } of this.publishers) client.come();
    this.#habits.begin();
  }

  async killLoop(): Promise<void> {
    while (this.kills < this.#options.kills && !this.#options.isEnough(this.journal)) {
      await this.#underLoad();
      await this.#restart();
      this.#report();
    }
  }

  /** Everything that is under way comes to its end; then once more over a kill with nothing under way. */
  async finish(): Promise<void> {
    await this.#drain();
    this.#kill();
    await this.#broker.gone();
    await this.#until("every client had lost its connection", () => this.#clients.every(({ isOnline }) => !isOnline));
    await this.#start();
    await this.#everybodyIsThere();
    await this.#look("crash-look-last");
    // Each stream once more: subscriptions that were lost show in the messages that do not come.
    for (const publisher of this.publishers) publisher.publishEach();
    await this.#drain();
    for (const receiver of this.receivers) {
      const { count, examples } = receiver.missing(EXAMPLES_PER_RECEIVER);
      this.journal.faultsOf("lost", count, examples);
    }
    this.journal.flush();
  }

  end(): void {
    this.#habits.end();
    for (const client of this.#clients) client.cut();
    this.points.disarm();
    this.#broker.kill();
    this.journal.flush();
  }

  get #clients(): Client[] {
    return [...this.publishers, ...this.subscribers].map(({ client }) => client);
  }

  outcome(): Outcome {
    const { journal, points, kills, killsAtStart, restartsMs, retainedLooks } = this;
    return {
      journal,
      points,
      kills,
      killsAtStart,
      restartsMs,
      retainedLooks,
      durationMs: performance.now() - this.#startedMs,
    };
  }

  /** From ready to kill. */
  async #underLoad(): Promise<void> {
    const [least, most] = this.#options.betweenMs;
    void this.#look(`crash-look-${this.kills}`);
    await elapsed(this.#random.between(least, most));
    const point = this.#nextPoint();
    if (point === null) this.#kill();
    else await this.#killAtPoint(point);
    await this.#broker.gone();
    this.#checkAlive();
  }

  /** Each point in its turn, and in between none. */
  #nextPoint(): Point | null {
    if (this.#pointsLeft.length === 0) {
      const none: null[] = Array.from({ length: POINTS.length / 3 }, () => null);
      const all = [...POINTS, ...none].map((point) => ({ point, at: this.#random.below(1 << 20) }));
      this.#pointsLeft = all.sort((a, b) => a.at - b.at).map(({ point }) => point);
    }
    return this.#pointsLeft.pop() ?? null;
  }

  /** Kills while a packet passes that point, or a while later when none does. */
  async #killAtPoint(point: Point): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const strike = (): void => {
      this.points.disarm();
      clearTimeout(timer);
      this.#kill();
      resolve();
    };
    const timer = setTimeout(strike, ARMED_LIMIT_MS);
    this.points.arm(point, strike);
    await promise;
  }

  #kill(): void {
    this.#checkAlive();
    this.#broker.kill();
    this.kills++;
    this.journal.write(`KILL ${this.kills}`);
    this.points.count([...this.publishers, ...this.subscribers].flatMap(({ standing }) => standing));
  }

  /** One start in eight is killed soon, mostly before it is ready, and then again. */
  async #restart(): Promise<void> {
    while (this.#options.startMs > 0 && this.#random.oneIn(8)) {
      // A start that fails is looked at below.
      const starting = this.#broker.start().catch(() => {});
      await elapsed(this.#random.below(this.#options.startMs));
      this.#checkAlive();
      this.#broker.kill();
      this.killsAtStart++;
      this.journal.write("KILL at start");
      await Promise.all([starting, this.#broker.gone()]);
    }
    await this.#start();
  }

  async #start(): Promise<void> {
    const startMs = performance.now();
    await this.#broker.start();
    this.restartsMs.push(performance.now() - startMs);
    this.journal.write("READY");
  }

  async #drain(): Promise<void> {
    this.#habits.end();
    for (const client of [...this.publishers, ...this.subscribers]) client.finish();
    for (const { client } of this.subscribers) client.come();
    await this.#everybodyIsThere();
    await this.#until("every publisher had its answers", () => this.publishers.every(({ isIdle }) => isIdle));
    await this.#quiet();
    // Twice: what the first one sets free may still have been on its way.
    for (let i = 0; i < 2; i++) await this.#pingAll();
  }

  async #everybodyIsThere(): Promise<void> {
    await this.#until("every client was back", () => this.#clients.every(({ isOnline }) => isOnline));
    await this.#until("every subscription was granted", () =>
      this.subscribers.every(({ requests }) => requests.isSettled),
    );
  }

  async #pingAll(): Promise<void> {
    let isDone = false;
    void Promise.all(this.#clients.map((client) => client.ping())).then(() => (isDone = true));
    await this.#until("every client had its PINGRESP", () => isDone);
  }

  /** Until all has come that must, and a moment longer for what must not; or until nothing comes any more. */
  async #quiet(): Promise<void> {
    for (;;) {
      const before = this.journal.arrivedCount;
      await elapsed(this.#options.quietMs / 10);
      if (this.journal.arrivedCount > before) continue;
      const isComplete = (): boolean =>
        this.subscribers.every(({ isIdle }) => isIdle) &&
        this.receivers.every((receiver) => receiver.missing(0).count === 0);
      if (isComplete()) return;
      await elapsed(this.#options.quietMs);
      if (this.journal.arrivedCount === before) return;
    }
  }

  async #look(name: string): Promise<void> {
    // New values would come in the place of those that were lost.
    for (const publisher of this.publishers) publisher.restKept(true);
    const { patienceMs } = this.#options;
    if (await lookAtRetained({ run: this.#run, name, streams: this.plan.streams, patienceMs })) this.retainedLooks++;
    for (const publisher of this.publishers) publisher.restKept(false);
  }

  #backlog(): number {
    // Without a session the messages of the time before will never come, and waiting for them would end the load.
    if (this.journal.faults.size > 0) return 0;
    const whole = this.receivers.filter(({ name }) => name !== "changes" && name !== "renews");
    return Math.max(...whole.map(({ arrivedCount }) => this.journal.deliverableCount - arrivedCount));
  }

  #checkAlive(): void {
    const ended = this.#broker.endedWith();
    if (ended !== "") throw new BrokerFailure(ended);
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    let before = -1;
    let movedMs = 0;
    while (!holds()) {
      this.#checkAlive();
      const { arrivedCount, ackedCount } = this.journal;
      const nowMs = performance.now();
      if (arrivedCount + ackedCount !== before) movedMs = nowMs;
      else if (nowMs - movedMs > STUCK_MS)
        throw new BrokerFailure(`for ${STUCK_MS / 1000} seconds nothing came, and it was not so that ${what}`);
      before = arrivedCount + ackedCount;
      await elapsed(5);
    }
  }

  #report(): void {
    const nowMs = performance.now();
    if (nowMs - this.#progressMs < PROGRESS_MS && this.kills < this.#options.kills) return;
    this.#progressMs = nowMs;
    const { sentCount, ackedCount, arrivedCount, faultCount } = this.journal;
    const counts = `${sentCount} sent, ${ackedCount} acknowledged, ${arrivedCount} received, ${faultCount} faults`;
    this.#options.progress(`${this.kills}/${this.#options.kills} kills, ${counts}`);
  }
}

function makeSubscribers(
  run: Run,
  { subscribers, streams }: Plan,
): { readonly subscribers: Subscriber[]; readonly receivers: Receiver[] } {
  const members = Map.groupBy(subscribers, ({ name, share }) => share ?? name);
  const made: Subscriber[] = [];
  const receivers = [...members].map(([name, planned]) => {
    const subscriptions = planned.map(({ filters }) => filters.map((filter) => new Subscription(filter, run.journal)));
    const receiver = new Receiver(name, planned[0]!.share !== null, streams, subscriptions.flat(), run.journal);
    made.push(...planned.map((member, at) => new Subscriber(run, member, streams, subscriptions[at]!, receiver)));
    return receiver;
  });
  return { subscribers: made, receivers };
}

/** A broker that fails is an outcome; whatever else goes wrong is an error of the judge, and is thrown. */
export async function runCampaign(options: CampaignOptions, broker: BrokerUnderTest): Promise<Outcome> {
  const campaign = new Campaign(options, broker);
  try {
    await campaign.begin();
    await campaign.killLoop();
    await campaign.finish();
  } catch (error) {
    if (!(error instanceof BrokerFailure)) throw error;
    campaign.journal.fault("broker", error.message);
  } finally {
    campaign.end();
    await broker.gone();
  }
  return campaign.outcome();
}
