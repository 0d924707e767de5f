/**
 * The benchmark's command: rqtt and the peers found here under the same load, side by side.
 *
 *   bun run bench [NAME...|all] [--messages N] [--window W] [--runs N] [--protocol 4|5] [--warm-up N]
 *                 [--peer NAME[=PATH]...] [--without-rqtt] [--set path=value...] [--results FOLDER] [--json]
 *   bun run bench idle connects subscriptions retained [--runs N] [--quick] [--peer ...] [--results FOLDER] [--json]
 *   bun run bench curves [NAME...] [--runs N] [--quick] [--size N...] [--peer ...] [--results FOLDER] [--json]
 *   bun run bench micro [NAME...] [--runs N] [--json]
 *   bun run bench auth [PART...] [--runs N] [--messages N] [--json]
 *   bun run bench durable [PART...] [--runs N] [--quick] [--results FOLDER] [--json]
 *
 * Exit status 1 when any run lost, duplicated, reordered or corrupted a message.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Broker, killBrokers } from "./broker-process.ts";
import { findPeers, rqtt } from "./brokers.ts";
import { CAPACITY_PARTS, runCapacity } from "./capacity.ts";
import { CAPACITY_SETTINGS } from "./capacity-routing.ts";
import { circumstances } from "./circumstances.ts";
import { compare, contendersOf } from "./compare.ts";
import { curveHasFailed, curveNotes, curveTable } from "./curve-report.ts";
import { CURVE_SETTINGS, type CurveResult, curvesNamed, measureCurve } from "./curves.ts";
import type { LoadOptions } from "./measurement.ts";
import { hasFailed, type Row, reportRow } from "./report.ts";
import { type ResultDocument, saveResult } from "./results.ts";
import { SCENARIOS, scenarioNamed } from "./scenarios.ts";
import { seedTable } from "./seed-table.ts";
import { aligned } from "./text-table.ts";

/** Of the beginning: results that are written meanwhile change no commit. */
const CIRCUMSTANCES = circumstances("bun run bench");
const CURVE_FOLDER = join(import.meta.dir, "results");

process.on("uncaughtException", (error) => {
  process.stderr.write(`bench: ${error.message}\n`);
  process.exit(1);
});

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    messages: { type: "string" },
    window: { type: "string", multiple: true },
    runs: { type: "string" },
    protocol: { type: "string", default: "4" },
    "warm-up": { type: "string" },
    peer: { type: "string", multiple: true, default: [] },
    "without-rqtt": { type: "boolean", default: false },
    set: { type: "string", multiple: true, default: [] },
    size: { type: "string", multiple: true, default: [] },
    quick: { type: "boolean", default: false },
    results: { type: "string" },
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
if (command === "durable") await runDurableAndExit(rest);
if (command === "curves") await runCurvesAndExit(rest);
const parts = positionals.filter((name) => CAPACITY_PARTS.includes(name));
if (parts.length > 0) await runCapacityAndExit(parts);
await runScenariosAndExit(positionals.length === 0 ? ["seed"] : positionals);

async function runScenariosAndExit(names: readonly string[]): Promise<never> {
  const scenarios = names.includes("all") ? SCENARIOS : names.map(scenarioNamed);
  const brokers = brokersWith(values.set);
  const rows: Row[] = [];
  for (const scenario of scenarios) {
    for (const window of values.window?.map(positive) ?? scenario.windows) {
      const messages = positive(values.messages ?? scenario.messages);
      const warmUpMessages = Number(values["warm-up"] ?? scenario.warmUpMessages);
      const options: LoadOptions = {
        scenario,
        messages,
        window,
        protocolLevel: values.protocol,
        warmUpMessages,
        filtersHeld: 0,
      };
      const comparison = await compare(contendersOf(brokers, options), runsOr(3), abort.signal);
      const row = { scenario, messages, window, ...comparison };
      rows.push(row);
      if (!values.json) process.stdout.write(`${reportRow(row)}\n`);
    }
  }
  const table = seedTable(rows);
  keep({ ...CIRCUMSTANCES, kind: "scenarios", rows });
  if (values.json) printJson({ rows });
  else if (table !== null) process.stdout.write(table);
  process.exit(hasFailed(rows) ? 1 : 0);
}

/** The stages of the core in memory; loaded only here, so that the socket benchmarks stay apart from `src/`. */
async function runMicroAndExit(names: readonly string[]): Promise<never> {
  const { runMicro } = await import("./micro.ts");
  const results = runMicro(names, { runs: runsOr(3), table: !values.json });
  if (values.json) printJson({ results });
  process.exit(0);
}

/** What authorisation and logins cost; likewise loaded only here. */
async function runAuthAndExit(parts: readonly string[]): Promise<never> {
  const { runAuth } = await import("./auth.ts");
  const messages = positive(values.messages ?? scenarioNamed("seed").messages);
  const options = { runs: runsOr(3), messages, table: !values.json, signal: abort.signal };
  const results = await runAuth(parts, options);
  if (values.json) printJson({ results });
  process.exit(results.some(({ failures }) => failures.length > 0) ? 1 : 0);
}

/** What it costs that acknowledgements wait for the disk. */
async function runDurableAndExit(parts: readonly string[]): Promise<never> {
  const { runDurable } = await import("./durable.ts");
  const options = { runs: runsOr(3), quick: values.quick, table: !values.json, signal: abort.signal };
  const results = await runDurable(parts, options);
  keep({ ...CIRCUMSTANCES, kind: "durable", results });
  if (values.json) printJson({ results });
  process.exit(results.some(({ failures }) => failures.length > 0) ? 1 : 0);
}

/** What is held and how quickly it is taken on. */
async function runCapacityAndExit(parts: readonly string[]): Promise<never> {
  const others = positionals.filter((name) => !CAPACITY_PARTS.includes(name));
  if (others.length > 0)
    throw new Error(`${others.join(" and ")} cannot be measured together with ${parts.join(", ")}`);
  const { quick, json } = values;
  const brokers = brokersWith([...CAPACITY_SETTINGS, ...values.set]);
  const options = { brokers, runs: runsOr(1), quick, table: !json, signal: abort.signal };
  const results = await runCapacity(parts, options);
  keep({ ...CIRCUMSTANCES, kind: "capacity", results });
  if (json) printJson({ results });
  process.exit(0);
}

/** How cost grows; kept by itself, since a curve is there to be seen. */
async function runCurvesAndExit(names: readonly string[]): Promise<never> {
  const { quick, json } = values;
  const sizes = values.size.map(positive);
  const brokers = brokersWith([...CURVE_SETTINGS, ...values.set]);
  const options = { brokers, runs: runsOr(1), quick, sizes, signal: abort.signal };
  const results: CurveResult[] = [];
  for (const curve of curvesNamed(names)) {
    const result = await measureCurve(curve, options);
    results.push(result);
    keep({ ...CIRCUMSTANCES, kind: "curve", curve: result }, CURVE_FOLDER);
    const lines = [`${curve.name}: ${curve.load}`, ...aligned(curveTable(result)), ...curveNotes(result), ""];
    if (!json) process.stdout.write(`${lines.join("\n")}\n`);
  }
  if (json) printJson({ results });
  process.exit(results.some(curveHasFailed) ? 1 : 0);
}

function keep(document: ResultDocument, usualFolder?: string): void {
  const folder = values.results ?? usualFolder;
  if (folder !== undefined) saveResult(folder, document);
}

function brokersWith(settings: readonly string[]): Broker[] {
  return [...(values["without-rqtt"] ? [] : [rqtt(settings)]), ...findPeers(values.peer)];
}

function runsOr(usual: number): number {
  return positive(values.runs ?? usual);
}

function printJson(results: object): void {
  process.stdout.write(`${JSON.stringify({ ...CIRCUMSTANCES, ...results }, null, 2)}\n`);
}

function positive(value: string | number): number {
  const number = Number(value);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`${value} is not a whole number above 0`);
}
