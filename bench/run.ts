/**
 * The benchmark's command: rqtt and the peers found here under the same load, side by side.
 *
 *   bun run bench [NAME...|all] [--messages N] [--window W] [--runs N] [--protocol 4|5] [--warm-up N]
 *                 [--peer NAME[=PATH]...] [--without-rqtt] [--set path=value...] [--json]
 *   bun run bench micro [NAME...] [--runs N] [--json]
 *   bun run bench auth [PART...] [--runs N] [--messages N] [--json]
 *
 * Exit status 1 when any run lost, duplicated, reordered or corrupted a message.
 */
import { parseArgs } from "node:util";
import { killBrokers } from "./broker-process.ts";
import { findPeers, rqtt } from "./brokers.ts";
import { circumstances } from "./circumstances.ts";
import { compare, contendersOf } from "./compare.ts";
import type { LoadOptions } from "./measurement.ts";
import { hasFailed, type Row, reportRow } from "./report.ts";
import { SCENARIOS, scenarioNamed } from "./scenarios.ts";
import { seedTable } from "./seed-table.ts";

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
    set: { type: "string", multiple: true, default: [] },
    json: { type: "boolean", default: false },
  },
});

const abort = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
process.on("exit", () => {
  abort.abort();
  killBrokers();
});

const [command, ...rest] = positionals;
if (command === "micro") await runMicroAndExit(rest);
if (command === "auth") await runAuthAndExit(rest);
await runScenariosAndExit(positionals.length === 0 ? ["seed"] : positionals);

async function runScenariosAndExit(names: readonly string[]): Promise<never> {
  const scenarios = names.includes("all") ? SCENARIOS : names.map(scenarioNamed);
  const brokers = [...(values["without-rqtt"] ? [] : [rqtt(values.set)]), ...findPeers(values.peer)];
  const rows: Row[] = [];
  for (const scenario of scenarios) {
    for (const window of values.window?.map(positive) ?? scenario.windows) {
      const messages = positive(values.messages ?? scenario.messages);
      const warmUpMessages = Number(values["warm-up"] ?? scenario.warmUpMessages);
      const options: LoadOptions = { scenario, messages, window, protocolLevel: values.protocol, warmUpMessages };
      const comparison = await compare(contendersOf(brokers, options), positive(values.runs), abort.signal);
      const row = { scenario, messages, window, ...comparison };
      rows.push(row);
      if (!values.json) process.stdout.write(`${reportRow(row)}\n`);
    }
  }
  const table = seedTable(rows);
  if (values.json) printJson({ rows });
  else if (table !== null) process.stdout.write(table);
  process.exit(hasFailed(rows) ? 1 : 0);
}

/** The stages of the core in memory; loaded only here, so that the socket benchmarks stay apart from `src/`. */
async function runMicroAndExit(names: readonly string[]): Promise<never> {
  const { runMicro } = await import("./micro.ts");
  const results = runMicro(names, { runs: positive(values.runs), table: !values.json });
  if (values.json) printJson({ results });
  process.exit(0);
}

/** What authorisation and logins cost; likewise loaded only here. */
async function runAuthAndExit(parts: readonly string[]): Promise<never> {
  const { runAuth } = await import("./auth.ts");
  const messages = positive(values.messages ?? scenarioNamed("seed").messages);
  const options = { runs: positive(values.runs), messages, table: !values.json, signal: abort.signal };
  const results = await runAuth(parts, options);
  if (values.json) printJson({ results });
  process.exit(results.some(({ failures }) => failures.length > 0) ? 1 : 0);
}

function printJson(results: object): void {
  process.stdout.write(`${JSON.stringify({ ...circumstances("bun run bench"), ...results }, null, 2)}\n`);
}

function positive(value: string | number): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`${value} is not a whole number above 0`);
}
