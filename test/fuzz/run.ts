/**
 * The fuzzer as a command: bun test/fuzz/run.ts [--seconds N] [--seed S] [--cases N] [--target codec|broker]
 *
 * Without --target both targets share the time. Exit code 1 and the seed for a failure, 2 for a wrong argument.
 */
import { parseArgs } from "node:util";
import { newSeed, runCampaign, TARGET_NAMES, type TargetName } from "./campaign.ts";

const USAGE = "usage: bun test/fuzz/run.ts [--seconds N] [--seed S] [--cases N] [--target codec|broker]";

interface Arguments {
  readonly seconds: number;
  readonly seed: number;
  readonly casesMax: number;
  readonly targets: readonly TargetName[];
}

function numberOf(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text === "" || !(value >= 0)) throw new Error(`--${name} ${text}: expected a number`);
  return value;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string" },
      seed: { type: "string" },
      cases: { type: "string" },
      target: { type: "string" },
    },
  });
  const targets = TARGET_NAMES.filter((name) => values.target === undefined || values.target === name);
  if (targets.length === 0) throw new Error(`--target ${values.target}: expected ${TARGET_NAMES.join(" or ")}`);
  return {
    seconds: numberOf("seconds", values.seconds, 10),
    seed: numberOf("seed", values.seed, newSeed()),
    casesMax: numberOf("cases", values.cases, Number.POSITIVE_INFINITY),
    targets,
  };
}

function main(): number {
  let given: Arguments;
  try {
    given = readArguments();
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    return 2;
  }
  const { seconds, seed, casesMax, targets } = given;
  let exitCode = 0;
  for (const target of targets) {
    const { cases, failure } = runCampaign({ target, seed, casesMax, durationMs: (seconds * 1000) / targets.length });
    if (failure === undefined) {
      console.log(`${target}: ${cases} cases from seed ${seed}, no failure`);
    } else {
      console.error(failure);
      exitCode = 1;
    }
  }
  return exitCode;
}

process.exitCode = main();
