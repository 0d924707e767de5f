#!/usr/bin/env bun
/**
 * The command line: configuration in, a running broker out, and its end. Wiring only; other commands are in commands/.
 *
 * Exit codes: 0 after a stop that was asked for, 1 where a listener, a provider or the store cannot be had, 2 for a mistake in
 * the configuration, 70 for a bug, 74 when the disk fails.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import allowAll from "../plugins/allow-all.ts";
import { type AdminDoor, openAdmin } from "./bun/admin.ts";
import { createBroker, ListenError, type RunningBroker } from "./bun/create-broker.ts";
import { createLog, stderrSink } from "./bun/log.ts";
import { loadPlugin, type PluginUse } from "./bun/plugin-chain.ts";
import { StoreFault } from "./bun/store/store-fault.ts";
import { type Config, type LoadResult, loadConfig, VERSION } from "./config.ts";
import type { Log } from "./core/ports.ts";

/** The disk failed (sysexits.h). */
const EXIT_STORE = 74;
/** What an acknowledgement says of a message. */
const SURVIVED = { fsync: "on disk", written: "it survives this process", memory: "received" } as const;

const argv = Bun.argv.slice(2);
if (argv[0] === "auth" || argv[0] === "plugin" || argv[0] === "store") {
  // Loaded only when asked for: what commands need would weigh on every broker.
  const { runCommand } = await import("./commands/run-command.ts");
  process.exit(await runCommand(argv));
}

const loaded = load();
if (!loaded.ok) {
  if ("print" in loaded) {
    console.log(loaded.print);
    process.exit(0);
  }
  console.error(`rqtt: ${loaded.error}`);
  process.exit(2);
}
await run(loaded.config, folderOf(loaded.file));

function load(): LoadResult {
  return loadConfig({ argv, env: process.env, readFile: (path) => readFileSync(path, "utf8") });
}

/** Where relative paths in settings begin: beside the configuration file. */
function folderOf(file: string | undefined): string {
  return file === undefined ? "." : dirname(file);
}

async function run(config: Config, folder: string): Promise<void> {
  const log = createLog({ ...config.log, nowMs: Date.now, sink: stderrSink() });
  process.on("uncaughtException", (error) => uncaught(log, error));
  process.on("unhandledRejection", (error) => loose(log, error));
  const broker = await start(config, folder, log);
  const admin = await admit(config, folder, broker);
  stopOnSignal(broker, admin, log);
  // One after the other: the configuration that was read last is the one in force.
  let reloading: Promise<void> = Promise.resolve();
  process.on("SIGHUP", () => {
    reloading = reloading.then(() => reload(broker, config, log));
  });
  console.log(`rqtt ready ${broker.urls.join(" ")}`);
  console.log(nextSteps(config, folder));
}

/** The chain that the configuration describes; without one, everybody or nobody. */
async function pluginsOf({ auth }: Config, folder: string): Promise<PluginUse[]> {
  if (auth.chain.length === 0) return auth.anonymous === "nowhere" ? [] : [{ plugin: allowAll }];
  const loading = auth.chain.map(async ({ use, settings }, at) => {
    return { plugin: await loadPlugin(use, folder, `auth.chain[${at}]`), config: settings };
  });
  return Promise.all(loading);
}

async function start(config: Config, folder: string, log: Log): Promise<RunningBroker> {
  try {
    return await createBroker({
      listeners: config.listeners,
      limits: config.limits,
      capabilities: config.capabilities,
      queueOverflow: config.queueOverflow,
      ...(config.store === "memory" ? {} : { store: config.store }),
      durability: config.durability,
      damagedStore: config.damagedStore,
      diskFreeBytesMin: config.diskFreeBytesMin,
      // Whatever is said from now on cannot be kept: the process that starts next finds what the disk has.
      onStoreFailure: () => process.exit(EXIT_STORE),
      ceiling: config.auth.ceiling,
      denyAction: config.auth.denyAction,
      sysIntervalMs: config.sys.intervalMs,
      version: `rqtt ${VERSION}`,
      plugins: await pluginsOf(config, folder),
      folder,
      log,
    });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof StoreFault) {
      console.error(`rqtt: store: ${text}`);
      process.exit(error.kind === "broken" ? EXIT_STORE : 1);
    }
    if (!(error instanceof ListenError) && !text.startsWith("auth.chain[")) throw error;
    console.error(`rqtt: ${text}`);
    // A setting of a plugin is a mistake in the configuration like any other.
    process.exit(error instanceof ListenError ? 1 : 2);
  }
}

/** The door for the commands, where one is configured. */
async function admit({ admin }: Config, folder: string, broker: RunningBroker): Promise<AdminDoor | undefined> {
  if (admin.socket === "") return undefined;
  try {
    return await openAdmin(resolve(folder, admin.socket), (clientId) => broker.report(clientId));
  } catch (error) {
    console.error(`rqtt: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}

/**
 * SIGHUP: the auth chain anew from the same sources. It is replaced completely, or stays as it is; what becomes of clients that
 * are in, `auth.onReload` of the new configuration says. From a chain to none is no way to go: the listeners that are open were
 * allowed because there was one. Resolves when the new chain is on its way; judging everybody may take longer.
 */
async function reload(broker: RunningBroker, running: Config, log: Log): Promise<void> {
  const again = load();
  try {
    if (!again.ok) throw new Error("error" in again ? again.error : "not a configuration");
    const { config } = again;
    if (running.auth.chain.length > 0 && config.auth.chain.length === 0) {
      throw new Error("auth.chain: expected at least one plugin, as there was; stop and start to open the broker");
    }
    if (running.auth.chain.length === 0 && config.auth.anonymous !== running.auth.anonymous) {
      throw new Error("auth.anonymous: cannot change while the broker runs; stop and start it");
    }
    const waiting = settingsThatWait(running, config);
    if (waiting.length > 0) log.write("warn", "restart-needed", { settings: waiting.join(", ") });
    const plugins = await pluginsOf(config, folderOf(again.file));
    broker.replacePlugins(plugins, config.auth.onReload).then(
      () => log.write("info", "auth-reloaded", { providers: broker.providers.length }),
      (error) => refused(log, error),
    );
  } catch (error) {
    refused(log, error);
  }
}

function refused(log: Log, error: unknown): void {
  log.write("error", "auth-reload-refused", { error: error instanceof Error ? error.message : String(error) });
}

/** Settings that were changed and that only a restart puts in force. */
function settingsThatWait(running: Config, next: Config): string[] {
  const { chain, onReload, ...auth } = next.auth;
  const { chain: _chain, onReload: _onReload, ...runningAuth } = running.auth;
  const before: Readonly<Record<string, unknown>> = { ...running, auth: runningAuth };
  const after: Readonly<Record<string, unknown>> = { ...next, auth };
  return Object.keys(after).filter((key) => JSON.stringify(after[key]) !== JSON.stringify(before[key]));
}

/** What a newcomer has now, and the one thing to type for each next step. */
function nextSteps({ auth, store, durability }: Config, folder: string): string {
  const everybody = auth.anonymous !== "nowhere";
  const who =
    auth.chain.length > 0
      ? `clients are let in by ${auth.chain.map(({ use }) => use).join(", then ")}`
      : everybody
        ? "clients come in without a password"
        : "nobody comes in: auth.anonymous is nowhere and there is no auth.chain";
  const kept =
    store === "memory"
      ? "sessions and retained messages end with this process"
      : `sessions and messages are kept in ${resolve(folder, store)}; acknowledged means ${SURVIVED[durability]}`;
  return [
    `  ${who}; ${kept}`,
    "  another address    --listen mqtt://127.0.0.1:1884 (again for each listener)",
    "  the whole network  --listen mqtt://0.0.0.0:1883, with an [[auth.chain]] or --set auth.anonymous=everywhere",
    "  every setting      --help, or a file: --config rqtt.toml",
  ].join("\n");
}

/**
 * Nothing a peer does may get here. If the core was at work its state cannot be trusted, and the process ends. If it was not, a
 * plugin's timer or listener has thrown, which is the plugin's own affair. The message stays out of the log, since it may
 * quote a credential; the places are enough to find it.
 */
function uncaught(log: Log, error: unknown): void {
  const wasCore = !(error instanceof Error) || /[\\/]src[\\/]core[\\/]/u.test(error.stack ?? "src/core/");
  log.write("error", wasCore ? "crash" : "uncaught-exception", placesOf(error));
  if (wasCore) process.exit(70);
}

/** A promise that nobody waits for has failed. The core knows no promises, so it is a plugin's, and it alone is the worse for it. */
function loose(log: Log, error: unknown): void {
  log.write("error", "unhandled-rejection", placesOf(error));
}

function placesOf(error: unknown): { readonly error: string; readonly at: string } {
  if (!(error instanceof Error)) return { error: "not an Error", at: "" };
  const places = (error.stack ?? "").split("\n").filter((line) => /^\s+at /u.test(line));
  return {
    error: error.name,
    at: places
      .slice(0, 6)
      .map((line) => line.trim())
      .join(" < "),
  };
}

/** The first signal stops in order, the second at once. */
function stopOnSignal(broker: RunningBroker, admin: AdminDoor | undefined, log: Log): void {
  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    log.write("info", "stopping", { signal, connections: broker.connectionCount });
    admin?.close();
    await broker.close();
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
}
