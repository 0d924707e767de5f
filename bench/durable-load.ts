/**
 * A program with one publisher and one subscriber whose session is kept: QoS 1, every acknowledgement timed.
 *
 * The subscriber is there, or away until everything is acknowledged and then takes it all. A delay counts from the moment a
 * message was due, or, at full speed, from the moment it was written, to the moment its PUBACK was read.
 */
import { type DeliveryFaults, DeliveryLedger } from "./delivery-ledger.ts";
import { type Latency, latencyOf } from "./latency.ts";
import { Link } from "./link.ts";
import { ProcessMeter, type ProcessUse } from "./process-meter.ts";
import { printLine, readPlan } from "./program.ts";
import { Publisher } from "./publisher.ts";
import { Subscriber } from "./subscriber.ts";

export interface DurablePlan {
  readonly port: number;
  readonly brokerPid: number;
  readonly messages: number;
  readonly payloadBytes: number;
  readonly window: number;
  /** null: as fast as the window lets it. */
  readonly ratePerSecond: number | null;
  readonly isSubscriberAway: boolean;
  /** The first of all messages, whose acknowledgements are not timed. */
  readonly warmUpMessages: number;
  /** Whether another client sends PINGREQ all the while, one after the other. */
  readonly pings: boolean;
}

export interface DurableResult {
  /** From the first message to the last acknowledgement. */
  readonly seconds: number;
  /** Until everything was acknowledged. */
  readonly broker: ProcessUse;
  readonly acknowledgement: Latency;
  /** Round trips of the pings, which no disk holds up: how long the broker's event loop did something else. */
  readonly ping: Latency | null;
  /** From its return to the last message; 0 where it was there. */
  readonly drainSeconds: number;
  readonly faults: DeliveryFaults;
}

const PROTOCOL_LEVEL = 4;
const TOPIC_NAME = "bench/durable";
const STALL_LIMIT_MS = 30_000;

async function subscribe(plan: DurablePlan, ledger: DeliveryLedger): Promise<Subscriber> {
  const endpoint = { transport: "tcp", port: plan.port } as const;
  const made: Subscriber[] = [];
  const link = await Link.resume(endpoint, "bench-kept", PROTOCOL_LEVEL, (resumed) => {
    made.push(new Subscriber(resumed, ledger, 1));
  });
  await link.subscribe([TOPIC_NAME], 1);
  return made[0];
}

/** Sends everything; resolves with the delays when everything is acknowledged. */
function publishAll(plan: DurablePlan, publisher: Publisher): Promise<Float64Array> {
  const { messages, ratePerSecond } = plan;
  const { link } = publisher;
  const dueMs = new Float64Array(messages);
  const delaysMs = new Float64Array(messages);
  const { promise, resolve, reject } = Promise.withResolvers<Float64Array>();
  let [stamped, answered, movedMs] = [0, 0, performance.now()];
  const stamp = (): void => {
    if (ratePerSecond === null) dueMs.fill(performance.now(), stamped, publisher.sent);
    stamped = publisher.sent;
  };
  link.sink = {
    publish: () => publisher.publish(),
    acknowledged: (type, packetId, reasonCode) => publisher.acknowledged(type, packetId, reasonCode),
    readEnd() {
      movedMs = performance.now();
      for (; answered < publisher.completed; answered++) delaysMs[answered] = movedMs - dueMs[answered];
      publisher.readEnd();
      stamp();
      if (answered === messages) resolve(delaysMs);
    },
  };
  link.onFailure = reject;
  const watch = setInterval(() => {
    const isStalled = performance.now() - movedMs > STALL_LIMIT_MS;
    if (isStalled) reject(new Error(`nothing was acknowledged for ${STALL_LIMIT_MS / 1000} seconds`));
  }, 1_000);
  if (ratePerSecond === null) {
    publisher.extend(messages);
    publisher.pump();
    stamp();
  } else {
    sendAtRate(publisher, dueMs, ratePerSecond);
  }
  return promise.finally(() => clearInterval(watch));
}

function sendAtRate(publisher: Publisher, dueMs: Float64Array, ratePerSecond: number): void {
  const startMs = performance.now();
  let asked = 0;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const due = Math.min(Math.floor(((nowMs - startMs) * ratePerSecond) / 1000), dueMs.length);
    dueMs.fill(nowMs, asked, due);
    publisher.extend(due - asked);
    asked = due;
    publisher.pump();
    if (asked === dueMs.length) clearInterval(timer);
  }, 1);
}

function everythingTaken(subscriber: Subscriber, messages: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let [seen, movedMs] = [-1, performance.now()];
    const timer = setInterval(() => {
      const { reachedCount } = subscriber.ledger;
      if (reachedCount !== seen) movedMs = performance.now();
      seen = reachedCount;
      const isOver = reachedCount >= messages;
      if (isOver) resolve();
      else if (performance.now() - movedMs > STALL_LIMIT_MS) reject(new Error("the subscriber gets nothing any more"));
      else return;
      clearInterval(timer);
    }, 5);
  });
}

/** A client with nothing else to do, one PINGREQ a millisecond. */
class Pings {
  readonly #link: Link;
  readonly #delaysMs: number[] = [];
  #stopped = false;
  readonly #over: Promise<void>;

  private constructor(link: Link) {
    this.#link = link;
    this.#over = this.#run();
  }

  static async start(port: number): Promise<Pings> {
    return new Pings(await Link.connect({ transport: "tcp", port }, "bench-pings", PROTOCOL_LEVEL));
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const startMs = performance.now();
      await this.#link.ping();
      this.#delaysMs.push(performance.now() - startMs);
      await Bun.sleep(1);
    }
  }

  async stop(): Promise<Latency> {
    this.#stopped = true;
    await this.#over;
    this.#link.close();
    return latencyOf(Float64Array.from(this.#delaysMs));
  }
}

async function main(): Promise<void> {
  const plan = await readPlan<DurablePlan>();
  const ledger = new DeliveryLedger(0, 1, plan.payloadBytes);
  let subscriber = await subscribe(plan, ledger);
  if (plan.isSubscriberAway) subscriber.link.close();
  const link = await Link.connect({ transport: "tcp", port: plan.port }, "bench-publisher", PROTOCOL_LEVEL);
  const { payloadBytes, window } = plan;
  const what = { number: 0, topicNames: [TOPIC_NAME], newTopicEach: false, qos: 1, payloadBytes, window } as const;
  const publisher = new Publisher(link, what);
  printLine("begun");
  const pings = plan.pings ? await Pings.start(plan.port) : null;
  const meter = new ProcessMeter(plan.brokerPid);
  meter.start();
  const startMs = performance.now();
  const delaysMs = await publishAll(plan, publisher);
  const acknowledgedMs = performance.now();
  const broker = meter.stop();
  const ping = pings === null ? null : await pings.stop();
  if (plan.isSubscriberAway) subscriber = await subscribe(plan, ledger);
  await everythingTaken(subscriber, plan.messages);
  const drainSeconds = plan.isSubscriberAway ? (performance.now() - acknowledgedMs) / 1000 : 0;
  await subscriber.link.ping();
  printLine({
    seconds: (acknowledgedMs - startMs) / 1000,
    broker,
    acknowledgement: latencyOf(delaysMs.subarray(plan.warmUpMessages)),
    ping,
    drainSeconds,
    faults: ledger.faults(plan.messages),
  } satisfies DurableResult);
}

if (import.meta.main) {
  await main();
  process.exit(0);
}
