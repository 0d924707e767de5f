/**
 * Brokers under the same load, side by side: they take turns run by run, so that a machine that slows down slows down for
 * all, and the medians count.
 *
 * A peer that does not come up, is not set up for a transport, refuses what a scenario asks or breaks off is unable to do
 * it: that is told and ends nothing. rqtt has no such way out. A message that is lost is a failure of whoever lost it.
 */
import type { Broker } from "./broker-process.ts";
import { type LoadOptions, type Measurement, medianOf, type Run, runOnce } from "./measurement.ts";
import { progressBar } from "./progress-bar.ts";

export const OWN_NAME = "rqtt";

/** One broker under one load. */
export interface Contender {
  readonly broker: Broker;
  readonly options: LoadOptions;
}

export interface Unable {
  readonly broker: string;
  readonly version: string;
  readonly reason: string;
}

export interface Comparison {
  readonly measurements: readonly Measurement[];
  readonly unable: readonly Unable[];
}

/** Each broker by itself; with a transport other than TCP each over both. */
export function contendersOf(brokers: readonly Broker[], options: LoadOptions): Contender[] {
  const { scenario } = options;
  const overTcp: LoadOptions = { ...options, scenario: { ...scenario, transport: "tcp" } };
  return brokers.flatMap((broker) =>
    scenario.transport === "tcp"
      ? [{ broker, options }]
      : [
          { broker, options },
          { broker, options: overTcp },
        ],
  );
}

export async function compare(
  contenders: readonly Contender[],
  runCount: number,
  signal: AbortSignal,
): Promise<Comparison> {
  const runs = new Map<Contender, Run[]>(contenders.map((contender) => [contender, []]));
  const unable = new Map<Contender, string>();
  for (let run = 0; run < runCount; run++) {
    for (const contender of rotated(contenders, run)) {
      if (unable.has(contender)) continue;
      const turn = await takeTurn(contender, `run ${run + 1} of ${runCount}`, signal);
      if (typeof turn === "string") unable.set(contender, turn);
      else runs.get(contender)!.push(turn);
    }
  }
  const able = contenders.filter((contender) => !unable.has(contender));
  return {
    measurements: able.map((contender) => medianOf(contender.broker, runs.get(contender)!)),
    unable: [...unable].map(([{ broker, options }, reason]) => {
      const over = options.scenario.transport === "tcp" ? "" : `over ${options.scenario.transport}: `;
      return { broker: broker.name, version: broker.version, reason: `${over}${reason}` };
    }),
  };
}

/** A run, or why a peer cannot do it. */
async function takeTurn({ broker, options }: Contender, which: string, signal: AbortSignal): Promise<Run | string> {
  const { scenario, window } = options;
  const bar = progressBar(`${scenario.name} ${window} over ${scenario.transport}, ${which}, ${broker.name}`);
  try {
    const run = await runOnce(broker, options, bar.show, signal);
    const { failure } = run.load;
    return failure === null || failure.isStall || broker.name === OWN_NAME ? run : failure.reason;
  } catch (error) {
    if (broker.name === OWN_NAME) throw error;
    return (error as Error).message;
  } finally {
    bar.clear();
  }
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const first = by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}
