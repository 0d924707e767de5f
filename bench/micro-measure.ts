/**
 * How one micro-benchmark is measured: time per operation, or memory per thing that is kept.
 *
 * Time: warm-up first, then rounds of equal size; the median round counts, the fastest and the slowest show the noise.
 * The time is CPU time of the whole process, collector and compiler threads included, since it hardly depends on what else
 * the machine does; time by the clock stands beside it. Every step answers a number that depends on its work and is
 * compared: a benchmark that no longer does its work fails instead of becoming fast.
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
  readonly cpuNanos: number;
  readonly cpuNanosMin: number;
  readonly cpuNanosMax: number;
  readonly clockNanos: number;
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
  let stepNanos = 0;
  for (let steps = 1, spentNanos = 0; spentNanos < WARM_UP_MS * 1e6; steps *= 2) {
    const { cpuNanos } = timeSteps(name, timed, steps);
    spentNanos += cpuNanos;
    stepNanos = cpuNanos / steps;
  }
  const stepsPerRound = Math.max(1, Math.round((ROUND_MS * 1e6) / stepNanos));
  Bun.gc(true);
  const rounds = Array.from({ length: ROUNDS }, () => timeSteps(name, timed, stepsPerRound));
  const operations = stepsPerRound * timed.operationsPerStep;
  const cpuNanos = rounds.map((round) => round.cpuNanos / operations);
  return {
    kind: "time",
    name,
    unit,
    cpuNanos: median(cpuNanos),
    cpuNanosMin: Math.min(...cpuNanos),
    cpuNanosMax: Math.max(...cpuNanos),
    clockNanos: median(rounds.map((round) => round.clockNanos / operations)),
  };
}

function timeSteps(name: string, timed: Timed, steps: number): { cpuNanos: number; clockNanos: number } {
  const { expected } = timed;
  const cpuBefore = process.cpuUsage();
  const clockBefore = Bun.nanoseconds();
  for (let step = 0; step < steps; step++) {
    const answer = timed.step();
    if (answer !== expected) throw new Error(`${name}: a step came to ${answer} instead of ${expected}`);
  }
  const clockNanos = Bun.nanoseconds() - clockBefore;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { cpuNanos: (user + system) * 1000, clockNanos };
}

function measureMemory({ name, unit, build }: MemoryBenchmark): MemoryResult {
  const heapBefore = heapBytes();
  const residentBefore = process.memoryUsage.rss();
  // Read again below, so that what was built outlives the measurement.
  const built = build();
  const heapAfter = heapBytes();
  const residentAfter = process.memoryUsage.rss();
  return {
    kind: "memory",
    name,
    unit,
    heapBytes: (heapAfter - heapBefore) / built.count,
    residentBytes: (residentAfter - residentBefore) / built.count,
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
    cpuNanos: median(runs.map((run) => run.cpuNanos)),
    cpuNanosMin: Math.min(...runs.map((run) => run.cpuNanosMin)),
    cpuNanosMax: Math.max(...runs.map((run) => run.cpuNanosMax)),
    clockNanos: median(runs.map((run) => run.clockNanos)),
  };
}
