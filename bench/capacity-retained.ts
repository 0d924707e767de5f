/**
 * A program that stores retained messages in a broker and then subscribes to a few of them, again and again: `a/+/b`, with as
 * many matches as its plan says among all the others. Every answer is checked: each match once, retained, and nothing else.
 */
import { markPayload } from "./delivery-ledger.ts";
import { Link, type PacketSink, type PacketStream } from "./link.ts";
import { encodePublish, type ProtocolLevel } from "./packet-bytes.ts";
import { ProcessMeter } from "./process-meter.ts";
import { printLine, readPlan } from "./program.ts";
import type { Endpoint } from "./wire.ts";

export interface RetainedPlan {
  readonly endpoint: Endpoint;
  readonly brokerPid: number;
  readonly messages: number;
  readonly matches: number;
  /** Where the messages lie that do not match: under another first level, or beside the matches, `a/<n>/c`. */
  readonly others: "elsewhere" | "beside";
  readonly subscribes: number;
}

export interface RetainedStored {
  readonly seconds: number;
  readonly brokerCpuSeconds: number;
}

export interface RetainedAnswers {
  /** From SUBSCRIBE to the last match, one each. */
  readonly milliseconds: readonly number[];
  readonly brokerCpuMilliseconds: number;
}

const PROTOCOL_LEVEL: ProtocolLevel = 4;
const PAYLOAD_BYTES = 16;
const WINDOW = 1_000;
const ANSWER_LIMIT_MS = 60_000;
const RETAIN = 0x01;
const FILTER = "a/+/b";

/** Publishes messages one after the other, a window of them unacknowledged. */
class Storing implements PacketSink, PacketStream {
  readonly done = Promise.withResolvers<void>();
  private readonly link: Link;
  private readonly plan: RetainedPlan;
  private sent = 0;
  private acknowledgedCount = 0;
  private batch: Uint8Array = new Uint8Array(0);
  private batchSent = 0;

  constructor(link: Link, plan: RetainedPlan) {
    this.link = link;
    this.plan = plan;
    link.sink = this;
    link.stream = this;
    link.onFailure = (reason) => this.done.reject(reason);
  }

  publish(): void {
    this.done.reject(new Error("a publisher received a PUBLISH"));
  }

  acknowledged(): void {
    this.acknowledgedCount++;
  }

  readEnd(): void {
    this.link.flush();
    if (this.acknowledgedCount === this.plan.messages) this.done.resolve();
  }

  writeTo(link: Link): boolean {
    for (;;) {
      this.batchSent += link.write(this.batch, this.batchSent, this.batch.length - this.batchSent);
      if (this.batchSent < this.batch.length) return false;
      const room = Math.min(WINDOW - (this.sent - this.acknowledgedCount), this.plan.messages - this.sent);
      if (room === 0) return true;
      this.batch = Buffer.concat(Array.from({ length: room }, () => retained(this.plan, this.sent++)));
      this.batchSent = 0;
    }
  }
}

/** Message n of a plan; the matches are spread among the others. */
function retained(plan: RetainedPlan, n: number): Uint8Array {
  const every = Math.floor(plan.messages / plan.matches);
  const isMatch = n % every === 0 && n / every < plan.matches;
  const topicName = isMatch ? `a/${n}/b` : plan.others === "beside" ? `a/${n}/c` : `other/${n}/c`;
  const payload = new Uint8Array(PAYLOAD_BYTES);
  markPayload(payload, 0, PAYLOAD_BYTES, 0, n);
  const { bytes } = encodePublish(topicName, (n % 65_535) + 1, payload, 1, PROTOCOL_LEVEL);
  bytes[0] |= RETAIN;
  return bytes;
}

/** Takes the answer to one SUBSCRIBE. */
class Answer implements PacketSink {
  readonly done = Promise.withResolvers<void>();
  private readonly topicNames = new Set<string>();
  private readonly matches: number;

  constructor(matches: number) {
    this.matches = matches;
  }

  publish(bytes: Uint8Array, firstByte: number, start: number): void {
    const end = start + 2 + ((bytes[start] << 8) | bytes[start + 1]);
    const topicName = new TextDecoder().decode(bytes.subarray(start + 2, end));
    const isExpected = /^a\/\d+\/b$/.test(topicName) && (firstByte & RETAIN) !== 0 && !this.topicNames.has(topicName);
    if (!isExpected) this.done.reject(new Error(`${FILTER} was answered with ${topicName}`));
    this.topicNames.add(topicName);
  }

  acknowledged(): void {}

  readEnd(): void {
    if (this.topicNames.size >= this.matches) this.done.resolve();
  }
}

async function askOnce({ endpoint, matches }: RetainedPlan, n: number): Promise<number> {
  const link = await Link.connect(endpoint, `bench-asking-${n}`, PROTOCOL_LEVEL);
  const answer = new Answer(matches);
  link.sink = answer;
  link.onFailure = (reason) => answer.done.reject(reason);
  const late = setTimeout(() => answer.done.reject(new Error("retained messages did not come")), ANSWER_LIMIT_MS);
  const startMs = performance.now();
  await link.subscribe([FILTER], 0);
  await answer.done.promise;
  const tookMs = performance.now() - startMs;
  // Whatever is too much comes before the answer to this.
  await link.ping();
  clearTimeout(late);
  link.close();
  return tookMs;
}

async function metered<T>(pid: number, work: () => Promise<T>): Promise<{ result: T; cpuSeconds: number }> {
  const meter = new ProcessMeter(pid);
  meter.start();
  const result = await work();
  return { result, cpuSeconds: meter.stop().cpuMicros / 1e6 };
}

async function store(plan: RetainedPlan): Promise<RetainedStored> {
  const link = await Link.connect(plan.endpoint, "bench-storing", PROTOCOL_LEVEL);
  const storing = new Storing(link, plan);
  const startMs = performance.now();
  const { cpuSeconds } = await metered(plan.brokerPid, async () => {
    link.flush();
    await storing.done.promise;
  });
  link.close();
  return { seconds: (performance.now() - startMs) / 1000, brokerCpuSeconds: cpuSeconds };
}

async function main(): Promise<void> {
  const plan = await readPlan<RetainedPlan>();
  printLine(await store(plan));
  const { result, cpuSeconds } = await metered(plan.brokerPid, async () => {
    const milliseconds: number[] = [];
    for (let n = 0; n < plan.subscribes; n++) milliseconds.push(await askOnce(plan, n));
    return milliseconds;
  });
  const brokerCpuMilliseconds = (cpuSeconds * 1000) / plan.subscribes;
  printLine({ milliseconds: result, brokerCpuMilliseconds } satisfies RetainedAnswers);
}

await main();
process.exit(0);
