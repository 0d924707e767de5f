/**
 * MQTT over WebSocket in real browsers, as a command: every engine that is installed, over ws and wss; or a page for any browser.
 *
 * Exit codes: 0 every check passed in every engine that is there, 1 one did not or no engine is there, 2 for a wrong argument.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type EngineRun, runEngine } from "./engine-run.ts";
import { ENGINES, type Engine, installLine } from "./engines.ts";
import { engineName } from "./page/engine-name.ts";
import { startPageServer } from "./page-server.ts";
import { failures, type Report } from "./report.ts";

const USAGE = `usage: bun run test:browsers [--engine chromium|firefox|webkitgtk] [--transport ws|wss] [--json FILE]
       bun run test:browsers --serve [--host ADDRESS]`;
const TRANSPORTS = ["ws", "wss"] as const;
type Transport = (typeof TRANSPORTS)[number];

interface Arguments {
  readonly engines: readonly Engine[];
  readonly transports: readonly Transport[];
  readonly json: string | undefined;
  readonly serve: boolean;
  readonly host: string;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      engine: { type: "string" },
      transport: { type: "string" },
      json: { type: "string" },
      serve: { type: "boolean", default: false },
      host: { type: "string", default: "127.0.0.1" },
    },
  });
  const { engine, transport } = values;
  const engines = ENGINES.filter(({ name }) => engine === undefined || name.toLowerCase() === engine.toLowerCase());
  if (engines.length === 0) throw new Error(`--engine ${engine}: expected chromium, firefox or webkitgtk`);
  const transports = TRANSPORTS.filter((known) => transport === undefined || known === transport);
  if (transports.length === 0) throw new Error(`--transport ${transport}: expected ws or wss`);
  return { engines, transports, json: values.json, serve: values.serve, host: values.host };
}

function outcomeOf(report: Report): string {
  const passed = report.checks.filter(({ status }) => status === "passed").length;
  return `${passed} of ${report.checks.length}, ${(report.milliseconds / 1000).toFixed(1)} s`;
}

function tableText(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join("\n");
}

/** Runs what is there, one after the other; answers whether all of it passed. */
async function runAll({ engines, transports, json }: Arguments): Promise<boolean> {
  const runs: EngineRun[] = [];
  const rows: string[][] = [["Engine", "Version", ...transports]];
  const complaints: string[] = [];
  for (const engine of engines) {
    const programs = engine.find();
    if (programs === undefined) {
      rows.push([engine.name, "not installed", ...transports.map(() => "skipped")]);
      console.log(`${engine.name} is skipped; to have it: ${installLine(engine)}`);
      continue;
    }
    const row = [engine.name, programs.version()];
    for (const transport of transports) {
      const outcome = await runOne(engine, transport);
      row.push(outcome.text);
      complaints.push(...outcome.complaints);
      if (outcome.run !== undefined) runs.push(outcome.run);
    }
    rows.push(row);
  }
  console.log(`\n${tableText(rows)}`);
  if (complaints.length > 0) console.log(`\n${complaints.join("\n")}`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(runs, null, 2)}\n`);
  return complaints.length === 0 && runs.length > 0;
}

interface Outcome {
  readonly text: string;
  readonly complaints: readonly string[];
  readonly run?: EngineRun;
}

async function runOne(engine: Engine, transport: Transport): Promise<Outcome> {
  console.log(`${engine.name} over ${transport} ...`);
  const where = `${engine.name} over ${transport}`;
  try {
    const run = await runEngine(engine, transport);
    return { run, text: outcomeOf(run.report), complaints: failures(run.report).map((text) => `${where}: ${text}`) };
  } catch (error) {
    return { text: "failed", complaints: [`${where}: ${error instanceof Error ? error.message : error}`] };
  }
}

/** Serves the page until it is told to stop. */
async function serve(host: string): Promise<void> {
  const server = await startPageServer({
    host,
    onReport: (report) => {
      const failed = failures(report).map((text) => `\n  ${text}`);
      console.log(`${engineName(report.userAgent)}: ${outcomeOf(report)}${failed.join("")}`);
    },
  });
  console.log(`Open this in a browser:\n${server.urls.map((url) => `  ${url}`).join("\n")}`);
  if (host !== "127.0.0.1") console.log("Whoever reaches this machine can use the test's brokers until it ends.");
  console.log("What each browser says comes here; Ctrl+C ends it.");
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  await server.close();
}

let chosen: Arguments;
try {
  chosen = readArguments();
} catch (error) {
  console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  process.exit(2);
}
if (chosen.serve) await serve(chosen.host);
else if (!(await runAll(chosen))) process.exit(1);
