/**
 * What a broker holds, and how quickly it takes it on: idle connections, CONNECT a second, subscriptions, retained messages.
 *
 *   bun run bench idle connects subscriptions retained [--runs N] [--quick] [--peer NAME[=PATH]...] [--json]
 *
 * Brokers take turns run by run, each run with a fresh broker. Memory is what the resident set has grown by since the broker
 * was ready, when it has settled, over what is held: garbage and compiled code included, the kernel's buffers not. `--quick`
 * holds a tenth of everything.
 */
import type { Broker } from "./broker-process.ts";
import { measureConnects, measureIdle } from "./capacity-connections.ts";
import { measureRetained, measureSubscriptions } from "./capacity-routing.ts";
import { OWN_NAME } from "./compare.ts";
import { type Bound, figure, judged, type PartResult, reportPart } from "./figure.ts";
import { progressBar } from "./progress-bar.ts";

/** One figure of one run; those of a name belong together. */
export interface Sample {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly bound: Bound | null;
}

export interface CapacityRun {
  readonly broker: Broker;
  /** 1, or less for a quick look. */
  readonly scale: number;
  readonly signal: AbortSignal;
  /** Told of one thing that this broker cannot do; throws when it is rqtt, which has no such way out. */
  unable(what: string, error: Error): void;
}

export interface CapacityOptions {
  readonly brokers: readonly Broker[];
  readonly runs: number;
  readonly quick: boolean;
  readonly table: boolean;
  readonly signal: AbortSignal;
}

const PARTS: Readonly<Record<string, (run: CapacityRun) => Promise<readonly Sample[]>>> = {
  idle: measureIdle,
  connects: measureConnects,
  subscriptions: measureSubscriptions,
  retained: measureRetained,
};
const QUICK_SCALE = 0.1;

export const CAPACITY_PARTS = Object.keys(PARTS);

export async function runCapacity(names: readonly string[], options: CapacityOptions): Promise<PartResult[]> {
  const results: PartResult[] = [];
  for (const name of names) {
    const result = judged(await measurePart(name, options));
    results.push(result);
    if (options.table) process.stdout.write(`${reportPart(result)}\n`);
  }
  return results;
}

async function measurePart(part: string, options: CapacityOptions): Promise<PartResult> {
  const { brokers, runs, quick } = options;
  const samples = new Map<string, Sample[]>();
  const notes = new Set<string>();
  for (let run = 0; run < runs; run++) {
    for (const broker of run % 2 === 0 ? brokers : brokers.toReversed()) {
      const bar = progressBar(`${part}, run ${run + 1} of ${runs}, ${broker.name}`);
      for (const sample of await takeSamples(part, broker, options, notes)) {
        // Bounds are rqtt's.
        const bound = broker.name === OWN_NAME ? sample.bound : null;
        const name = `${broker.name} ${broker.version}: ${sample.name}`;
        samples.set(name, [...(samples.get(name) ?? []), { ...sample, name, bound }]);
      }
      bar.clear();
    }
  }
  const figures = [...samples.values()].map((runs) => {
    const [{ name, unit, bound }] = runs;
    const values = runs.map(({ value }) => value);
    return figure(name, unit, values, bound);
  });
  const title = quick ? `${part} (a tenth)` : part;
  return { part: title, figures, notes: [...notes], failures: [], detail: null };
}

async function takeSamples(
  part: string,
  broker: Broker,
  { quick, signal }: CapacityOptions,
  notes: Set<string>,
): Promise<readonly Sample[]> {
  function unable(what: string, error: Error): void {
    if (broker.name === OWN_NAME) throw error;
    notes.add(`${broker.name} ${broker.version} cannot do ${what}: ${error.message}`);
  }
  try {
    return await PARTS[part]({ broker, scale: quick ? QUICK_SCALE : 1, signal, unable });
  } catch (error) {
    unable(part, error as Error);
    return [];
  }
}
