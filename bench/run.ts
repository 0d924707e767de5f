/**
 * The benchmark's command: rqtt and the peers found here under the same load, side by side.
 *
 *   bun run bench [NAME...|all] [--messages N] [--window W] [--runs N] [--protocol 4|5] [--warm-up N]
 *                 [--peer NAME[=PATH]...] [--without-rqtt] [--json]
 *   bun run bench micro [NAME...] [--runs N] [--json]
 *   bun run bench auth [PART...] [--runs N] [--messages N] [--json]
 *
 * Brokers take turns run by run, so that a machine that slows down slows down for all. Exit status 1 when any run lost,
 * duplicated, reordered or corrupted a message.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { type Broker, killBrokers } from "./broker-process.ts";
import { findPeers, rqtt } from "./brokers.ts";
import { type LoadOptions, medianOf, type Run, runOnce } from "./measurement.ts";
import { progressBar } from "./progress-bar.ts";
import { type Row, reportRow } from "./report.ts";
import { SCENARIOS, scenarioNamed } from "./scenarios.ts";

process.on("uncaughtException", (error) => {
  process.stderr.write(`bench: ${error.message}\n`);
  process.exit(1);
});

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    messages: { type: "string" },
    window: { type: "string", multiple: true },
    runs: { type: "string", default: "3" },
    protocol: { type: "string", default: "4" },
    "warm-up": { type: "string" },
    peer: { type: "string", multiple: true, default: [] },
    "without-rqtt": { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

const abort = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.on("exit", () => {
  abort.abort();
  killBrokers();
});

if (positionals[0] === "micro") await runMicroAndExit(positionals.slice(1));
if (positionals[0] === "auth") await runAuthAndExit(positionals.slice(1));
const names = positionals.length === 0 ? ["seed"] : positionals;
const scenarios = names.includes("all") ? SCENARIOS : names.map(scenarioNamed);
const brokers = [...(values["without-rqtt"] ? [] : [rqtt()]), ...findPeers(values.peer)];
const rows: Row[] = [];
for (const scenario of scenarios) {
  for (const window of values.window?.map(positive) ?? scenario.windows) {
    const messages = positive(values.messages ?? scenario.messages);
    const warmUpMessages = Number(values["warm-up"] ?? scenario.warmUpMessages);
    const options = { scenario: scenario.name, messages, window, protocolLevel: values.protocol, warmUpMessages };
    const row = { scenario, messages, window, measurements: await measure(options, positive(values.runs)) };
    rows.push(row);
    if (!values.json) process.stdout.write(`${reportRow(row)}\n`);
  }
}
if (values.json) process.stdout.write(`${JSON.stringify({ ...circumstances(), rows }, null, 2)}\n`);
const failed = rows.some((row) => row.measurements.some((measurement) => measurement.failures.length > 0));
process.exit(failed ? 1 : 0);

/** The stages of the core in memory; loaded only here, so that the socket benchmarks stay apart from `src/`. */
async function runMicroAndExit(names: readonly string[]): Promise<never> {
  const { runMicro } = await import("./micro.ts");
  const results = runMicro(names, { runs: positive(values.runs), table: !values.json });
  if (values.json) process.stdout.write(`${JSON.stringify({ ...circumstances(), results }, null, 2)}\n`);
  process.exit(0);
}

/** What authorisation and logins cost; likewise loaded only here. */
async function runAuthAndExit(parts: readonly string[]): Promise<never> {
  const { runAuth } = await import("./auth.ts");
  const messages = positive(values.messages ?? scenarioNamed("seed").messages);
  const options = { runs: positive(values.runs), messages, table: !values.json, signal: abort.signal };
  const results = await runAuth(parts, options);
  if (values.json) process.stdout.write(`${JSON.stringify({ ...circumstances(), results }, null, 2)}\n`);
  process.exit(results.some(({ failures }) => failures.length > 0) ? 1 : 0);
}

async function measure(options: LoadOptions, runCount: number): Promise<Row["measurements"]> {
  const runs = new Map<Broker, Run[]>(brokers.map((broker) => [broker, []]));
  for (let run = 0; run < runCount; run++) {
    for (const broker of rotated(brokers, run)) {
      const bar = progressBar(`${options.scenario} ${options.window}, run ${run + 1} of ${runCount}, ${broker.name}`);
      runs.get(broker)!.push(await runOnce(broker, options, bar.show, abort.signal));
      bar.clear();
    }
  }
  return brokers.map((broker) => medianOf(broker, runs.get(broker)!));
}

function positive(value: string | number): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`${value} is not a whole number above 0`);
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const first = by % items.length;
  return [...items.slice(first), ...items.slice(0, first)];
}

function circumstances() {
  const [cpu] = cpus();
  const git = Bun.spawnSync(["git", "rev-parse", "--short", "HEAD"], { cwd: import.meta.dir });
  return {
    date: new Date().toISOString(),
    machine: { cpu: cpu.model, cores: cpus().length, platform: process.platform, bun: Bun.version },
    commit: git.success ? git.stdout.toString().trim() : null,
    command: ["bun run bench", ...process.argv.slice(2)].join(" "),
  };
}
