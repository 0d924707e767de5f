/**
 * How one micro-benchmark is measured: time per operation, or memory per thing that is kept.
 *
 * Time: warm-up first, then rounds of equal size; the median round counts, the fastest and the slowest show the noise.
 * CPU time is that of the whole process, so collector and compiler threads are in it. Every step answers a number that
 * depends on its work and is compared: a benchmark that no longer does its work fails instead of becoming fast.
 */
import { heapStats } from "bun:jsc";
import { median } from "./measurement.ts";

/** What is timed. A step should take some microseconds at least, so that the call around it does not count. */
export interface Timed {
  readonly operationsPerStep: number;
  /** What every step has to answer. */
  readonly expected: number;
  step(): number;
}

export interface TimeBenchmark {
  readonly name: string;
  /** What one operation is. */
  readonly unit: string;
  prepare(): Timed;
}

export interface MemoryBenchmark {
  readonly name: string;
  /** What one of the kept things is. */
  readonly unit: string;
  /** Builds `count` things; all memory reachable from `kept` is theirs. */
  build(): { readonly kept: object; readonly count: number };
}

export type MicroBenchmark = TimeBenchmark | MemoryBenchmark;

export interface TimeResult {
  readonly kind: "time";
  readonly name: string;
  readonly unit: string;
  readonly nanos: number;
  readonly cpuNanos: number;
  readonly fastestNanos: number;
  readonly slowestNanos: number;
}

export interface MemoryResult {
  readonly kind: "memory";
  readonly name: string;
  readonly unit: string;
  readonly heapBytes: number;
  readonly residentBytes: number;
}

export type MicroResult = TimeResult | MemoryResult;

const WARM_UP_MS = 250;
const ROUND_MS = 50;
const ROUNDS = 9;

export function measure(benchmark: MicroBenchmark): MicroResult {
  return "prepare" in benchmark ? measureTime(benchmark) : measureMemory(benchmark);
}

function measureTime({ name, unit, prepare }: TimeBenchmark): TimeResult {
  const timed = prepare();
  let stepMs = 0;
  for (let steps = 1, spentMs = 0; spentMs < WARM_UP_MS; steps *= 2) {
    const { nanos } = timeSteps(name, timed, steps);
    spentMs += nanos / 1e6;
    stepMs = nanos / 1e6 / steps;
  }
  const stepsPerRound = Math.max(1, Math.round(ROUND_MS / stepMs));
  const operations = stepsPerRound * timed.operationsPerStep;
  const nanos: number[] = [];
  const cpuNanos: number[] = [];
  Bun.gc(true);
  for (let round = 0; round < ROUNDS; round++) {
    const spent = timeSteps(name, timed, stepsPerRound);
    nanos.push(spent.nanos / operations);
    cpuNanos.push(spent.cpuNanos / operations);
  }
  return {
    kind: "time",
    name,
    unit,
    nanos: median(nanos),
    cpuNanos: median(cpuNanos),
    fastestNanos: Math.min(...nanos),
    slowestNanos: Math.max(...nanos),
  };
}

function timeSteps(name: string, timed: Timed, steps: number): { nanos: number; cpuNanos: number } {
  const { expected } = timed;
  const cpuBefore = process.cpuUsage();
  const before = Bun.nanoseconds();
  for (let step = 0; step < steps; step++) {
    const answer = timed.step();
    if (answer !== expected) throw new Error(`${name}: a step came to ${answer} instead of ${expected}`);
  }
  const nanos = Bun.nanoseconds() - before;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { nanos, cpuNanos: (user + system) * 1000 };
}

function measureMemory({ name, unit, build }: MemoryBenchmark): MemoryResult {
  const heapBefore = heapBytes();
  const residentBefore = process.memoryUsage.rss();
  const { kept, count } = build();
  const heapAfter = heapBytes();
  const residentAfter = process.memoryUsage.rss();
  // Named once more behind the measurement, so that it cannot be collected before.
  if (Object.keys(kept).length < 0) throw new Error("unreachable");
  return {
    kind: "memory",
    name,
    unit,
    heapBytes: (heapAfter - heapBefore) / count,
    residentBytes: (residentAfter - residentBefore) / count,
  };
}

function heapBytes(): number {
  // What the first run finalises, the second one frees.
  Bun.gc(true);
  Bun.gc(true);
  return heapStats().heapSize;
}

/** The median of several runs, field by field. */
export function medianResult(results: readonly MicroResult[]): MicroResult {
  const [first] = results;
  if (first.kind === "memory") {
    const runs = results as readonly MemoryResult[];
    return {
      ...first,
      heapBytes: median(runs.map((run) => run.heapBytes)),
      residentBytes: median(runs.map((run) => run.residentBytes)),
    };
  }
  const runs = results as readonly TimeResult[];
  return {
    ...first,
    nanos: median(runs.map((run) => run.nanos)),
    cpuNanos: median(runs.map((run) => run.cpuNanos)),
    fastestNanos: Math.min(...runs.map((run) => run.fastestNanos)),
    slowestNanos: Math.max(...runs.map((run) => run.slowestNanos)),
  };
}
