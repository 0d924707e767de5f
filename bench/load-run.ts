/**
 * One run of a scenario against a broker that already listens: connect, load, measure, check, leave.
 *
 * The clock and the meters start when all connections and subscriptions stand and stop at the last acknowledgement and
 * the last delivery. A PING on every subscription follows, so that a late duplicate is seen as well.
 */
import { ArrivalPace } from "./arrival-pace.ts";
import { type DeliveryFaults, DeliveryLedger } from "./delivery-ledger.ts";
import { type Latency, type LatencyRecord, latencyOf } from "./latency.ts";
import { Link } from "./link.ts";
import type { Login, ProtocolLevel } from "./packet-bytes.ts";
import { ProcessMeter, type ProcessUse, threadCpuMicros } from "./process-meter.ts";
import { Publisher } from "./publisher.ts";
import { deliveriesPerMessage, type Scenario, topicFilter, topicNames } from "./scenarios.ts";
import { Subscriber } from "./subscriber.ts";
import type { Transport } from "./wire.ts";

const STALL_LIMIT_MS = 10_000;
const OPENING_MAX = 50;

export interface LoadPlan {
  readonly scenario: Scenario;
  readonly port: number;
  readonly messages: number;
  readonly warmUpMessages: number;
  readonly window: number;
  readonly protocolLevel: ProtocolLevel;
  /** Of every client; null: without username and password. */
  readonly login: Login | null;
  readonly brokerPid: number | null;
  readonly onProgress: (share: number) => void;
}

/** Why a run did not come to its end. */
export interface LoadFailure {
  readonly reason: string;
  /** Nothing arrived any more; else the broker closed a connection, or refused or answered something it should not. */
  readonly isStall: boolean;
}

export interface LoadResult {
  readonly scenario: string;
  readonly transport: Transport;
  readonly ratePerSecond: number | null;
  readonly protocolLevel: ProtocolLevel;
  readonly window: number;
  readonly messages: number;
  readonly deliveries: number;
  readonly seconds: number;
  readonly messagesPerSecond: number;
  readonly deliveriesPerSecond: number;
  readonly broker: ProcessUse | null;
  readonly generator: { readonly cpuMicros: number; readonly mainThreadShare: number };
  readonly latency: Latency | null;
  readonly faults: DeliveryFaults;
  readonly failure: LoadFailure | null;
}

/** Who takes part, and how many messages each publisher has been asked for so far. */
interface Cast {
  readonly plan: LoadPlan;
  readonly publishers: readonly Publisher[];
  readonly subscribers: readonly Subscriber[];
  readonly pace: ArrivalPace | null;
  perPublisher: number;
}

export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const cast = await assemble(plan);
  if (plan.warmUpMessages > 0) await load(cast, plan.warmUpMessages, latencyRecord(cast, plan.warmUpMessages));
  const meter = plan.brokerPid === null ? null : new ProcessMeter(plan.brokerPid);
  const latency = latencyRecord(cast, plan.messages);
  const cpuStart = process.cpuUsage();
  const threadStartMicros = threadCpuMicros();
  meter?.start();
  const startMs = performance.now();
  const failure = await load(cast, plan.messages, latency);
  const seconds = (performance.now() - startMs) / 1000;
  const broker = meter?.stop() ?? null;
  const threadMicros = threadCpuMicros() - threadStartMicros;
  const cpu = process.cpuUsage(cpuStart);
  if (failure === null) await Promise.all(cast.subscribers.map((subscriber) => subscriber.link.ping()));
  for (const member of [...cast.publishers, ...cast.subscribers]) member.link.close();
  const messages = messagesPerPublisher(plan, plan.messages) * cast.publishers.length;
  const deliveries = messages * deliveriesPerMessage(plan.scenario);
  return {
    scenario: plan.scenario.name,
    transport: plan.scenario.transport,
    ratePerSecond: plan.scenario.ratePerSecond,
    protocolLevel: plan.protocolLevel,
    window: cast.publishers[0].window,
    messages,
    deliveries,
    seconds,
    messagesPerSecond: messages / seconds,
    deliveriesPerSecond: deliveries / seconds,
    broker,
    generator: { cpuMicros: cpu.user + cpu.system, mainThreadShare: threadMicros / 1e6 / seconds },
    latency: latency && latencyOf(latency.delaysMs),
    faults: allFaults(cast),
    failure,
  };
}

async function assemble(plan: LoadPlan): Promise<Cast> {
  const { scenario, protocolLevel, login } = plan;
  const endpoint = { transport: scenario.transport, port: plan.port };
  const subscribers = await forEachOf(scenario.subscribers, async (n) => {
    const link = await Link.connect(endpoint, `bench-subscriber-${n}`, protocolLevel, login);
    const heard = scenario.paired ? { first: n, count: 1 } : { first: 0, count: scenario.publishers };
    const ledger = new DeliveryLedger(heard.first, heard.count, scenario.payloadBytes);
    const subscriber = new Subscriber(link, ledger, scenario.qos);
    await link.subscribe([topicFilter(scenario, n)], scenario.qos);
    return subscriber;
  });
  const publishers = await forEachOf(scenario.publishers, async (n) => {
    const link = await Link.connect(endpoint, `bench-publisher-${n}`, protocolLevel, login);
    const { qos, payloadBytes, topics } = scenario;
    const newTopicEach = topics === "new";
    const names = topicNames(scenario, n);
    return new Publisher(link, { number: n, topicNames: names, newTopicEach, qos, payloadBytes, window: plan.window });
  });
  const paced = scenario.qos === 0 && scenario.ratePerSecond === null;
  const pace = paced ? new ArrivalPace(publishers[0], subscribers) : null;
  return { plan, publishers, subscribers, pace, perPublisher: 0 };
}

/** Results in order, though some are under way at once. */
async function forEachOf<T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> {
  const made: T[] = new Array(count);
  let next = 0;
  async function makeSome(): Promise<void> {
    for (let n = next++; n < count; n = next++) made[n] = await make(n);
  }
  await Promise.all(Array.from({ length: OPENING_MAX }, makeSome));
  return made;
}

/** Sends `messages`, waits until all are acknowledged and delivered, and answers why not, if so. */
function load(cast: Cast, messages: number, latency: LatencyRecord | null): Promise<LoadFailure | null> {
  const { plan, publishers, subscribers, pace } = cast;
  const perPublisher = messagesPerPublisher(plan, messages);
  cast.perPublisher += perPublisher;
  const deliveriesEach = cast.perPublisher * (plan.scenario.paired ? 1 : publishers.length);
  let open = publishers.length + subscribers.length;
  return new Promise((resolve) => {
    const stalled = (reason: string) => finish({ reason, isStall: true });
    const broken = ({ message }: Error) => finish({ reason: message, isStall: false });
    const watch = watchProgress(cast, perPublisher * publishers.length, stalled);
    function finish(failure: LoadFailure | null): void {
      clearInterval(watch);
      for (const subscriber of subscribers) subscriber.onProgress = () => {};
      for (const publisher of publishers) publisher.onProgress = () => {};
      resolve(failure);
    }
    function onceAt(count: () => number, goal: number): () => void {
      let reached = false;
      return () => {
        if (reached || count() < goal) return;
        reached = true;
        if (--open === 0) finish(null);
      };
    }
    subscribers.forEach((subscriber, index) => {
      const check = onceAt(() => subscriber.ledger.reachedCount, deliveriesEach);
      subscriber.onProgress = () => {
        pace?.arrived(index);
        check();
      };
      subscriber.link.onFailure = broken;
      subscriber.latency = latency;
    });
    for (const publisher of publishers) {
      publisher.onProgress = onceAt(() => publisher.completed, cast.perPublisher);
      publisher.link.onFailure = broken;
    }
    if (latency !== null) return sendAtRate(cast, latency);
    pace?.extend(perPublisher);
    for (const publisher of publishers) {
      publisher.extend(perPublisher);
      publisher.pump();
    }
  });
}

/** Gives up when nothing at all has moved for a while. */
function watchProgress(cast: Cast, messages: number, giveUp: (reason: string) => void): Timer {
  const atStart = completedCount(cast);
  let last = -1;
  let movedMs = performance.now();
  return setInterval(() => {
    const delivered = cast.subscribers.reduce((sum, subscriber) => sum + subscriber.ledger.reachedCount, 0);
    const completed = completedCount(cast);
    if (completed + delivered !== last) movedMs = performance.now();
    else if (performance.now() - movedMs > STALL_LIMIT_MS)
      giveUp(`nothing arrived for ${STALL_LIMIT_MS / 1000} seconds`);
    last = completed + delivered;
    cast.plan.onProgress((completed - atStart) / messages);
  }, 100);
}

/**
 * Sends what is due, a burst per millisecond, however slow the broker is. A timer's lateness makes a burst larger, never
 * a message's delay: that counts from the moment its burst was due, even where a full window keeps it back.
 */
function sendAtRate(cast: Cast, latency: LatencyRecord): void {
  const [publisher] = cast.publishers;
  const { dueMs } = latency;
  const perMs = cast.plan.scenario.ratePerSecond! / 1000;
  const startMs = performance.now();
  let asked = 0;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const due = Math.min(Math.floor((nowMs - startMs) * perMs), dueMs.length);
    dueMs.fill(nowMs, asked, due);
    publisher.extend(due - asked);
    asked = due;
    publisher.pump();
    if (asked === dueMs.length) clearInterval(timer);
  }, 1);
}

function latencyRecord(cast: Cast, messages: number): LatencyRecord | null {
  if (cast.plan.scenario.ratePerSecond === null) return null;
  return { sequenceFirst: cast.perPublisher, dueMs: new Float64Array(messages), delaysMs: new Float64Array(messages) };
}

function messagesPerPublisher(plan: LoadPlan, messages: number): number {
  return Math.ceil(messages / plan.scenario.publishers);
}

function completedCount(cast: Cast): number {
  return cast.publishers.reduce((sum, publisher) => sum + publisher.completed, 0);
}

function allFaults(cast: Cast): DeliveryFaults {
  const sum: DeliveryFaults = { lost: 0, duplicated: 0, reordered: 0, corrupt: 0 };
  for (const { ledger } of cast.subscribers) {
    const faults = ledger.faults(cast.perPublisher);
    sum.lost += faults.lost;
    sum.duplicated += faults.duplicated;
    sum.reordered += faults.reordered;
    sum.corrupt += faults.corrupt;
  }
  return sum;
}
