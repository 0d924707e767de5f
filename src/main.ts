#!/usr/bin/env bun
/**
 * The command line: configuration in, a running broker out, and its end. Wiring only.
 *
 * Exit codes: 0 after a stop that was asked for, 1 where a listener cannot be had, 2 for a mistake in the configuration.
 */
import { readFileSync } from "node:fs";
import allowAll from "../plugins/allow-all.ts";
import { createBroker, ListenError, type RunningBroker } from "./bun/create-broker.ts";
import { createLog, stderrSink } from "./bun/log.ts";
import type { Config } from "./config.ts";
import { loadConfig, VERSION } from "./config.ts";
import type { Log } from "./core/ports.ts";

const loaded = loadConfig({
  argv: Bun.argv.slice(2),
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
});

if (!loaded.ok) {
  if ("print" in loaded) {
    console.log(loaded.print);
    process.exit(0);
  }
  console.error(`rqtt: ${loaded.error}`);
  process.exit(2);
}

await run(loaded.config);

async function run(config: Config): Promise<void> {
  const log = createLog({ ...config.log, nowMs: Date.now, sink: stderrSink() });
  process.on("uncaughtException", (error) => crash(log, error));
  process.on("unhandledRejection", (error) => crash(log, error));
  const broker = await start(config, log);
  stopOnSignal(broker, log);
  console.log(`rqtt ready ${broker.urls.join(" ")}`);
  console.log(nextSteps(config));
}

/** What a newcomer has now, and the one thing to type for each next step. */
function nextSteps(config: Config): string {
  const { anonymous } = config.auth;
  const who =
    anonymous === "nowhere" ? "nobody comes in: auth.anonymous is nowhere" : "clients come in without a password";
  return [
    `  ${who}; sessions and retained messages are kept in memory`,
    "  another address    --listen mqtt://127.0.0.1:1884 (again for each listener)",
    "  the whole network  --listen mqtt://0.0.0.0:1883 --set auth.anonymous=everywhere",
    "  every setting      --help, or a file: --config rqtt.toml",
  ].join("\n");
}

async function start(config: Config, log: Log): Promise<RunningBroker> {
  try {
    return await createBroker({
      listeners: config.listeners.map((listener) => listener.url),
      limits: config.limits,
      capabilities: config.capabilities,
      queueOverflow: config.queueOverflow,
      sysIntervalMs: config.sys.intervalMs,
      version: `rqtt ${VERSION}`,
      // "loopback" and "everywhere" differ in which listeners the configuration allows.
      plugins: config.auth.anonymous === "nowhere" ? [] : [{ plugin: allowAll }],
      log,
    });
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    console.error(`rqtt: ${error.message}`);
    process.exit(1);
  }
}

/** Nothing a peer does may get here; if a bug does, its state cannot be trusted. */
function crash(log: Log, error: unknown): void {
  log.write("error", "crash", { error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  process.exit(70);
}

/** The first signal stops in order, the second at once. */
function stopOnSignal(broker: RunningBroker, log: Log): void {
  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    log.write("info", "stopping", { signal, connections: broker.connectionCount });
    await broker.close();
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
}
