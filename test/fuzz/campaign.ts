/**
 * Runs fuzz targets over consecutive seeds, bounded in time and in number, and says which seed failed and how to repeat it.
 */
import { fuzzBroker } from "./broker-target.ts";
import { fuzzCodec } from "./codec-target.ts";

export type TargetName = "codec" | "broker";

const TARGETS: Readonly<Record<TargetName, (seed: number) => void>> = { codec: fuzzCodec, broker: fuzzBroker };

export const TARGET_NAMES: readonly TargetName[] = ["codec", "broker"];

/** Cases between two looks at the clock. */
const CASES_AT_ONCE = 20;

export interface Campaign {
  readonly target: TargetName;
  /** Seed of the first case; each case has the next one. */
  readonly seed: number;
  readonly casesMax: number;
  readonly durationMs: number;
}

export interface CampaignResult {
  readonly cases: number;
  /** Everything there is to say about the first failure. */
  readonly failure: string | undefined;
}

function describeFailure(target: TargetName, seed: number, error: unknown): string {
  const repeat = `bun test/fuzz/run.ts --target ${target} --seed ${seed} --cases 1`;
  if (!(error instanceof Error)) return `${target}, seed ${seed} (${repeat}): ${String(error)}`;
  const cause =
    error.cause instanceof Error ? `\n${error.cause.stack ?? error.cause.message}` : `\n${error.stack ?? ""}`;
  return `${target}, seed ${seed} (repeat with: ${repeat})\n${error.message}${cause}`;
}

export function runCampaign({ target, seed, casesMax, durationMs }: Campaign): CampaignResult {
  const fuzz = TARGETS[target];
  const until = performance.now() + durationMs;
  let cases = 0;
  while (cases < casesMax) {
    const caseSeed = (seed + cases) >>> 0;
    try {
      fuzz(caseSeed);
    } catch (error) {
      return { cases: cases + 1, failure: describeFailure(target, caseSeed, error) };
    }
    cases++;
    if (cases % CASES_AT_ONCE === 0 && performance.now() >= until) break;
  }
  return { cases, failure: undefined };
}

/** A seed that differs from run to run, so that every run looks somewhere else. */
export const newSeed = (): number => crypto.getRandomValues(new Uint32Array(1))[0]!;
