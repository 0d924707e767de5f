/**
 * The load generator: a process of its own that loads a broker with one scenario and prints one line of JSON.
 *
 *   bun bench/load-generator.ts SCENARIO --port PORT [--messages N] [--window W] [--protocol 4|5]
 *                               [--warm-up N] [--broker-pid PID] [--progress] [--username U --password P]
 *                               [--shape JSON]
 *
 * Exit status 1 when a message was lost, duplicated, reordered or corrupted, or when the broker refused anything.
 * With `--broker-pid` the result holds that process's CPU time and memory; with `--progress`, shares done go to
 * standard error, one a line. `--shape` replaces fields of the scenario (see scenarios.ts), such as {"subscribers": 10}.
 */
import { parseArgs } from "node:util";
import { runLoad } from "./load-run.ts";
import { type Scenario, scenarioNamed } from "./scenarios.ts";

process.on("uncaughtException", (error) => {
  process.stderr.write(`load-generator: ${error.message}\n`);
  process.exit(1);
});

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string" },
    messages: { type: "string" },
    window: { type: "string" },
    protocol: { type: "string", default: "4" },
    "warm-up": { type: "string" },
    "broker-pid": { type: "string" },
    progress: { type: "boolean", default: false },
    username: { type: "string" },
    password: { type: "string", default: "" },
    shape: { type: "string", default: "{}" },
  },
});

const scenario: Scenario = { ...scenarioNamed(positionals[0] ?? "seed"), ...JSON.parse(values.shape) };
const result = await runLoad({
  scenario,
  port: Number(values.port ?? 1883),
  messages: Number(values.messages ?? scenario.messages),
  warmUpMessages: Number(values["warm-up"] ?? scenario.warmUpMessages),
  window: Number(values.window ?? scenario.windows[0]),
  protocolLevel: values.protocol === "5" ? 5 : 4,
  login: values.username === undefined ? null : { username: values.username, password: values.password },
  brokerPid: values["broker-pid"] === undefined ? null : Number(values["broker-pid"]),
  onProgress: values.progress ? (share) => process.stderr.write(`${share.toFixed(4)}\n`) : () => {},
});
process.stdout.write(`${JSON.stringify(result)}\n`);
const faultCount = Object.values(result.faults).reduce((sum, count) => sum + count, 0);
process.exit(result.failure === null && faultCount === 0 ? 0 : 1);
