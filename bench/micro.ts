/**
 * The micro-benchmarks' command: what single stages of the core cost, in memory, without sockets.
 *
 *   bun run bench micro [NAME...] [--runs N] [--json]
 *
 * NAME is a benchmark ("tree/100k-hit") or a group of them ("tree"); without one all are run. Every run has a fresh
 * process; the median of `runs` is shown. CPU time is the figure to compare: it counts all threads of the process, and
 * other programs hardly change it. Time by the clock is longer where they had the machine, shorter where collector and
 * compiler worked beside the benchmark.
 */
import { join } from "node:path";
import { GRANT_BENCHMARKS } from "./auth-grant.ts";
import { BROKER_BENCHMARKS } from "./micro-broker.ts";
import { CODEC_BENCHMARKS } from "./micro-codec.ts";
import { type MicroBenchmark, type MicroResult, medianResult } from "./micro-measure.ts";
import { ROUTING_BENCHMARKS } from "./micro-routing.ts";

export interface MicroOptions {
  readonly runs: number;
  /** Whether results are printed one by one, as a table. */
  readonly table: boolean;
}

const BENCHMARKS: readonly MicroBenchmark[] = [
  ...CODEC_BENCHMARKS,
  ...ROUTING_BENCHMARKS,
  ...GRANT_BENCHMARKS,
  ...BROKER_BENCHMARKS,
];
const WIDTHS = [30, 12, 10, 22, 12, 24] as const;

export function benchmarksNamed(names: readonly string[]): readonly MicroBenchmark[] {
  if (names.length === 0) return BENCHMARKS;
  for (const name of names) {
    if (BENCHMARKS.some((benchmark) => isNamed(benchmark, name))) continue;
    const known = BENCHMARKS.map((benchmark) => benchmark.name).join(", ");
    throw new Error(`no micro-benchmark is named ${name}; there are ${known}`);
  }
  return BENCHMARKS.filter((benchmark) => names.some((name) => isNamed(benchmark, name)));
}

function isNamed(benchmark: MicroBenchmark, name: string): boolean {
  return benchmark.name === name || benchmark.name.startsWith(`${name}/`);
}

/** Runs the named ones. Throws when one of them fails. */
export function runMicro(names: readonly string[], { runs, table }: MicroOptions): readonly MicroResult[] {
  const benchmarks = benchmarksNamed(names);
  if (table) printRow(["benchmark", "per", "CPU ns", "fastest to slowest", "clock ns", "heap bytes (resident)"]);
  return benchmarks.map(({ name }) => {
    const result = medianResult(Array.from({ length: runs }, () => runApart(name)));
    if (table) printRow(cells(result));
    return result;
  });
}

function runApart(name: string): MicroResult {
  const command = [process.execPath, join(import.meta.dir, "micro-case.ts"), name];
  const { stdout, stderr, exitCode } = Bun.spawnSync(command);
  if (exitCode === 0) return JSON.parse(stdout.toString()) as MicroResult;
  throw new Error(`${name} ended with status ${exitCode}\n${stderr}`);
}

function cells(result: MicroResult): string[] {
  if (result.kind === "memory") {
    const bytes = `${whole(result.heapBytes)} (${whole(result.residentBytes)})`;
    return [result.name, result.unit, "", "", "", bytes];
  }
  const range = `${nanos(result.cpuNanosMin)} to ${nanos(result.cpuNanosMax)}`;
  return [result.name, result.unit, nanos(result.cpuNanos), range, nanos(result.clockNanos), ""];
}

function printRow(row: readonly string[]): void {
  const columns = row.map((cell, n) => (n < 2 ? cell.padEnd(WIDTHS[n]) : cell.padStart(WIDTHS[n])));
  process.stdout.write(`${columns.join("").trimEnd()}\n`);
}

function nanos(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 1 : 0 });
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}
