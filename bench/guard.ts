/**
 * The guard against becoming slow: rqtt beside mosquitto in one run, by CPU time per message.
 *
 *   bun run bench:guard [--short] [--peer mosquitto=PATH]
 *
 * Exit status 1 when a ratio is below what is wanted, when a message was lost, or when there is no mosquitto. `--short` sends
 * fewer messages and wants half, so that neither time nor noise keeps anybody from running it.
 */
import { parseArgs } from "node:util";
import { killBrokers } from "./broker-process.ts";
import { findPeers, rqtt } from "./brokers.ts";
import { compare, contendersOf } from "./compare.ts";
import { type Demand, judge } from "./guard-ratio.ts";
import type { LoadOptions } from "./measurement.ts";
import { scenarioNamed } from "./scenarios.ts";

interface Guarded extends Demand {
  readonly window: number;
  readonly messages: number;
  readonly shortMessages: number;
}

const GUARDED: readonly Guarded[] = [
  { scenario: "seed", ratioMin: 8, window: 1000, messages: 1_000_000, shortMessages: 100_000 },
  { scenario: "fan-out", ratioMin: 5, window: 100, messages: 20_000, shortMessages: 2_000 },
  { scenario: "pairs", ratioMin: 3, window: 100, messages: 500_000, shortMessages: 100_000 },
];
const RUNS = 3;
const SHORT_RUNS = 1;
/** Of the messages, beforehand: what a program that compiles itself while it runs does at first is not what is guarded. */
const WARM_UP_SHARE = 0.5;
const SHORT_RATIO_SHARE = 0.5;

process.on("uncaughtException", (error) => {
  process.stderr.write(`bench:guard: ${error.message}\n`);
  process.exit(1);
});
const abort = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.on("exit", () => {
  abort.abort();
  killBrokers();
});

const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, peer: { type: "string", default: "mosquitto" } },
});
const brokers = [rqtt(), ...findPeers([values.peer])];
let areAllMet = true;
for (const guarded of GUARDED) {
  const ratioMin = guarded.ratioMin * (values.short ? SHORT_RATIO_SHARE : 1);
  const messages = values.short ? guarded.shortMessages : guarded.messages;
  const options: LoadOptions = {
    scenario: scenarioNamed(guarded.scenario),
    messages,
    window: guarded.window,
    protocolLevel: "4",
    warmUpMessages: messages * WARM_UP_SHARE,
    filtersHeld: 0,
  };
  const comparison = await compare(contendersOf(brokers, options), values.short ? SHORT_RUNS : RUNS, abort.signal);
  const { isMet, text } = judge({ scenario: guarded.scenario, ratioMin }, comparison);
  process.stdout.write(`bench:guard: ${text}\n`);
  areAllMet &&= isMet;
}
process.exit(areAllMet ? 0 : 1);
