/**
 * One scenario against one broker, several times over, and the medians of it.
 *
 * Every run has a fresh broker process and a fresh load generator process, so that no run inherits heap or compiled code.
 */
import { join } from "node:path";
import { type Broker, type RunningBroker, startBroker } from "./broker-process.ts";
import type { HoldPlan } from "./holder.ts";
import type { Latency } from "./latency.ts";
import type { LoadResult } from "./load-run.ts";
import type { Login } from "./packet-bytes.ts";
import { residentMemory } from "./process-meter.ts";
import { type RunningProgram, startProgram } from "./program.ts";
import type { Scenario } from "./scenarios.ts";
import type { Transport } from "./wire.ts";

const FILTERS_PER_CLIENT = 1_000;
const HOLD_LIMIT_SECONDS = 600;

export interface LoadOptions {
  readonly scenario: Scenario;
  readonly messages: number;
  readonly window: number;
  readonly protocolLevel: string;
  readonly warmUpMessages: number;
  /** Topic Filters that other clients hold meanwhile, none of which matches; 0: no other clients. */
  readonly filtersHeld: number;
}

export interface Run {
  readonly memoryStartBytes: number;
  readonly load: LoadResult;
}

/** The medians of a broker's runs; every field on its own. */
export interface Measurement {
  readonly broker: string;
  readonly version: string;
  readonly transport: Transport;
  /** What the publisher sent, where it went by the clock. */
  readonly ratePerSecond: number | null;
  readonly runs: number;
  readonly cpuMicrosPerMessage: number;
  readonly cpuMicrosPerDelivery: number;
  readonly messagesPerSecond: number;
  readonly deliveriesPerSecond: number;
  readonly memoryStartBytes: number;
  readonly memoryAverageBytes: number;
  readonly memoryPeakBytes: number;
  readonly seconds: number;
  readonly latency: Latency | null;
  readonly generatorCpuMicrosPerMessage: number;
  readonly generatorHeadroom: number;
  readonly failures: readonly string[];
}

export async function runOnce(
  broker: Broker,
  options: LoadOptions,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<Run> {
  const started = await startBroker(broker, options.scenario.transport);
  let holder: RunningProgram<never> | null = null;
  try {
    const memoryStartBytes = residentMemory(started.pid)?.nowBytes ?? 0;
    if (options.filtersHeld > 0) holder = await holdFilters(started, options, signal);
    return { memoryStartBytes, load: await generate(started, broker.login, options, onProgress, signal) };
  } finally {
    try {
      await holder?.stop();
    } finally {
      await started.stop();
    }
  }
}

async function holdFilters(
  { port }: RunningBroker,
  { scenario, filtersHeld }: LoadOptions,
  signal: AbortSignal,
): Promise<RunningProgram<never>> {
  const clients = Math.ceil(filtersHeld / FILTERS_PER_CLIENT);
  const subscriptionsEach = filtersHeld / clients;
  if (!Number.isInteger(subscriptionsEach)) throw new Error(`${filtersHeld} filters cannot be shared out evenly`);
  const endpoint = { transport: scenario.transport, port };
  const plan: HoldPlan = { endpoint, clientFirst: 0, clients, subscriptionsEach };
  const holder = startProgram<never>("holder.ts", plan, { limitSeconds: HOLD_LIMIT_SECONDS, signal });
  await holder.begun;
  return holder;
}

export function medianOf(broker: Broker, runs: readonly Run[]): Measurement {
  const loads = runs.map((run) => run.load);
  const of = (pick: (load: LoadResult) => number) => median(loads.map(pick));
  return {
    broker: broker.name,
    version: broker.version,
    transport: loads[0].transport,
    ratePerSecond: loads[0].ratePerSecond,
    runs: runs.length,
    cpuMicrosPerMessage: of((load) => load.broker!.cpuMicros / load.messages),
    cpuMicrosPerDelivery: of((load) => load.broker!.cpuMicros / load.deliveries),
    messagesPerSecond: of((load) => load.messagesPerSecond),
    deliveriesPerSecond: of((load) => load.deliveriesPerSecond),
    memoryStartBytes: median(runs.map((run) => run.memoryStartBytes)),
    memoryAverageBytes: of((load) => load.broker!.memoryAverageBytes),
    memoryPeakBytes: of((load) => load.broker!.memoryPeakBytes),
    seconds: of((load) => load.seconds),
    latency: medianLatency(loads.flatMap(({ latency }) => latency ?? [])),
    generatorCpuMicrosPerMessage: of((load) => load.generator.cpuMicros / load.messages),
    generatorHeadroom: of((load) => 1 - load.generator.mainThreadShare),
    failures: loads.flatMap(failuresOf),
  };
}

function medianLatency(latencies: readonly Latency[]): Latency | null {
  if (latencies.length === 0) return null;
  const of = (pick: (latency: Latency) => number) => median(latencies.map(pick));
  return {
    p50Micros: of(({ p50Micros }) => p50Micros),
    p90Micros: of(({ p90Micros }) => p90Micros),
    p99Micros: of(({ p99Micros }) => p99Micros),
    p999Micros: of(({ p999Micros }) => p999Micros),
    maxMicros: of(({ maxMicros }) => maxMicros),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function generate(
  broker: RunningBroker,
  login: Login | null,
  options: LoadOptions,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<LoadResult> {
  const flags = {
    port: broker.port,
    messages: options.messages,
    window: options.window,
    protocol: options.protocolLevel,
    "warm-up": options.warmUpMessages,
    "broker-pid": broker.pid,
    ...(login === null ? {} : { username: login.username, password: login.password }),
  };
  const generator = Bun.spawn(
    [
      process.execPath,
      join(import.meta.dir, "load-generator.ts"),
      options.scenario.name,
      `--shape=${JSON.stringify(options.scenario)}`,
      ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
      "--progress",
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe", signal },
  );
  let complaint = "";
  async function readProgress(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of generator.stderr) {
      for (const line of decoder.decode(chunk).split("\n").filter(Boolean)) {
        if (Number.isNaN(Number(line))) complaint += `${line}\n`;
        else onProgress(Number(line));
      }
    }
  }
  const [output] = await Promise.all([generator.stdout.text(), readProgress(), generator.exited]);
  if (output === "") throw new Error(`the load generator failed: ${complaint}`);
  return JSON.parse(output) as LoadResult;
}

function failuresOf(load: LoadResult): string[] {
  const faults = Object.entries(load.faults).filter(([, count]) => count > 0);
  const counted = faults.map(([fault, count]) => `${count.toLocaleString("en")} ${fault}`);
  return load.failure === null ? counted : [load.failure.reason, ...counted];
}
