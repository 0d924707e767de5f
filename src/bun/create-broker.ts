/**
 * Embedding: a broker inside another Bun program, with or without listeners.
 *
 *   const broker = await createBroker({ listeners: ["mqtt://127.0.0.1:1883"] });
 *   ...
 *   await broker.close();
 *
 * Every option has the default that the command line has, but for the listeners: an embedded broker opens none unasked.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Broker } from "../core/broker.ts";
import type { ClientReport } from "../core/client-report.ts";
import { allowAll } from "../core/gate/allow-all.ts";
import type { Principal } from "../core/gate/provider.ts";
import {
  type BrokerConfig,
  type Capabilities,
  DEFAULT_BROKER_CONFIG,
  type Limits,
  type QueueOverflow,
} from "../core/limits.ts";
import type { Log } from "../core/ports.ts";
import type { Statistics } from "../core/statistics.ts";
import type { Durability } from "../core/store/store-engine.ts";
import {
  LISTENER_KEYS,
  type Listener,
  type ListenerSettings,
  parseListenerUrl,
  withoutSecrets,
} from "../listener-url.ts";
import { BrokerStore } from "./broker-store.ts";
import { Handshakes } from "./handshakes.ts";
import { InProcessClients, type InProcessConnection } from "./in-process.ts";
import { type ChainOptions, closeChain, createChain, type PluginUse } from "./plugin-chain.ts";
import { PluginHost, type VerdictSink } from "./plugin-host.ts";
import type { ProviderReport } from "./plugin-meter.ts";
import type { JudgedSessions } from "./recheck.ts";
import { type ListenContext, listenTcp, type RunningListener } from "./tcp.ts";
import { type ListenerTls, readTls, TlsSettingError } from "./tls.ts";
import { nowMs, Turn } from "./turn.ts";
import { listenWebSocket } from "./websocket.ts";

/**
 * A listener with more than a URL: what `mqtts://` and `wss://` need, and which pages may open a WebSocket. `certificate`,
 * `key` and `clientCa` are PEM text where they hold "-----BEGIN", and otherwise the paths of PEM files.
 */
export interface ListenerOptions extends ListenerSettings {
  readonly url: string;
}

export interface CreateBrokerOptions {
  /** URLs such as `mqtt://127.0.0.1:1883` or `ws://127.0.0.1:8083/mqtt`; port 0 takes any free one. Default: none. */
  readonly listeners?: readonly (string | ListenerOptions)[];
  readonly limits?: Partial<Limits>;
  readonly capabilities?: Partial<Capabilities>;
  readonly queueOverflow?: QueueOverflow;
  /** Milliseconds between rounds of $SYS messages; 0 none. */
  readonly sysIntervalMs?: number;
  /** What $SYS/broker/version says. */
  readonly version?: string;
  /** Who decides about clients: plugins, asked in this order. Default: everybody may do everything, whatever the listener. */
  readonly plugins?: readonly PluginUse[];
  /** The folder that keeps sessions and messages, from `folder` where it is relative. Default: they end with the process. */
  readonly store?: string;
  /** What a damaged store does: refuses the start (default), or is set aside for an empty one. */
  readonly damagedStore?: "refuse" | "set-aside";
  /** Bytes free on the disk below which nothing more is stored; 0 (default): 256 MiB, of a smaller disk a twentieth, 16 MiB at least. */
  readonly diskFreeBytesMin?: number;
  /** The disk has failed: what was not acknowledged is not safe, and nothing will be. Default: every connection is cut. */
  readonly onStoreFailure?: (error: Error) => void;
  /** What acknowledgements promise where there is a store: to survive a power failure (default), kill -9, or neither. */
  readonly durability?: Durability;
  /** Topic Filters that nobody may publish or subscribe to, whatever a plugin allows. */
  readonly ceiling?: readonly string[];
  /** What a refused PUBLISH does to its client beside the reason code: nothing (default), or the end of its connection. */
  readonly denyAction?: "ignore" | "disconnect";
  /** Where relative paths in plugins' and listeners' settings begin. Default: the working directory. */
  readonly folder?: string;
  /** Default: nothing is logged. */
  readonly log?: Log;
}

/** What becomes of clients that are in when the chain is replaced. */
export type OnReload = "keep" | "recheck" | "drop";

export interface RunningBroker {
  /** The listeners' URLs, with the ports that were bound. */
  readonly urls: readonly string[];
  readonly statistics: Readonly<Statistics>;
  readonly connectionCount: number;
  /** A connection of this very process; speak MQTT on it, CONNECT first. */
  connect(): InProcessConnection;
  /** What is known of a client; undefined where there is no session of this name. */
  report(clientId: string): ClientReport | undefined;
  /** What each provider of the chain has done so far. */
  readonly providers: readonly ProviderReport[];
  /**
   * Puts another chain in force. Rejects, and keeps the old one, if one of the plugins cannot be created. Sessions are judged
   * anew by the new chain (`recheck`, the default; who is connected notices only what it may do less than before), stay as
   * they were let in (`keep`), or lose their connections with 0x87 and have to come in anew (`drop`). Resolves when that is
   * done and the old chain is closed, or when a later call has taken over the judging.
   */
  replacePlugins(plugins: readonly PluginUse[], onReload?: OnReload): Promise<void>;
  /**
   * Stops: no new connections, DISCONNECT 0x8B to MQTT 5.0 clients, what is written is flushed. Resolves when every
   * connection is closed, cutting the ones that take longer than `timeoutMs`.
   */
  close(timeoutMs?: number): Promise<void>;
}

const CLOSE_TIMEOUT_MS = 5_000;
const CLIENT_ID_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SILENT: Log = { write() {} };

/** 21 characters of 62: 125 random bits. */
function randomClientId(): string {
  let id = "";
  while (id.length < 21) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      // 248 is the largest multiple of 62 in a byte: above it the first letters would be favoured.
      if (byte < 248 && id.length < 21) id += CLIENT_ID_ALPHABET[byte % 62];
    }
  }
  return id;
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** Descriptors for everything that is not a connection. */
const OTHER_DESCRIPTORS = 64;

/** As many connections as this process may have open, at so many descriptors each: out of them, accepting would spin. */
function withinDescriptors(limits: Limits, each: number): Limits {
  let most = Number.POSITIVE_INFINITY;
  try {
    const text = readFileSync("/proc/self/limits", "utf8");
    most = Number(/^Max open files +(\d+)/mu.exec(text)?.[1] ?? most) - OTHER_DESCRIPTORS;
  } catch {
    // Not Linux: the configured number stands.
  }
  return { ...limits, connectionsMax: Math.max(1, Math.min(limits.connectionsMax, Math.floor(most / each))) };
}

/** The options with every default filled in. */
function configOf(options: CreateBrokerOptions, listeners: readonly ReadyListener[]): BrokerConfig {
  const descriptorsEach = Math.max(1, ...listeners.map(({ listener, tls }) => descriptorsPerClient(listener, tls)));
  return {
    limits: withinDescriptors({ ...DEFAULT_BROKER_CONFIG.limits, ...options.limits }, descriptorsEach),
    capabilities: { ...DEFAULT_BROKER_CONFIG.capabilities, ...options.capabilities },
    queueOverflow: options.queueOverflow ?? DEFAULT_BROKER_CONFIG.queueOverflow,
    durability: options.durability ?? DEFAULT_BROKER_CONFIG.durability,
    ceiling: { deny: (options.ceiling ?? []).map((filter) => ({ on: "both", filter })) },
    denyAction: options.denyAction ?? DEFAULT_BROKER_CONFIG.denyAction,
    sysIntervalMs: options.sysIntervalMs ?? DEFAULT_BROKER_CONFIG.sysIntervalMs,
    version: options.version ?? DEFAULT_BROKER_CONFIG.version,
  };
}

/** Starts a broker. Rejects with a ListenError if a listener's URL is wrong or its address cannot be bound. */
export async function createBroker(options: CreateBrokerOptions = {}): Promise<RunningBroker> {
  const listeners = (options.listeners ?? []).map((listener) => readListener(listener, options.folder ?? "."));
  const config = configOf(options, listeners);
  const log = options.log ?? SILENT;
  const chainOptions: ChainOptions = {
    log,
    ...(options.folder === undefined ? {} : { folder: options.folder }),
    drop: (provider, where, why) => {
      const count = broker.drop(
        (principal, clientId) => principal.provider === provider && where(principal, clientId),
        why,
        true,
        nowMs(),
      );
      turn.schedule();
      return count;
    },
  };
  const running: RunningListener[] = [];
  // Before there is a broker there is nobody to be cut off.
  let cut = (): void => {};
  const store = await storeOf(options, log, options.onStoreFailure ?? (() => cut()));
  const host = await hostOf(options.plugins, chainOptions, store, (requestId, verdict) => {
    broker.verdict(requestId, verdict, nowMs());
    turn.schedule();
  });
  const ids = { clientId: randomClientId, seed: randomSeed };
  const broker: Broker = new Broker(config, { auth: host ?? allowAll, log, ids, store: store?.port }, nowMs());
  const turn = new Turn(broker);
  const inProcess = new InProcessClients(broker, turn);
  cut = () => cutEverybody(broker, turn, running, inProcess);
  try {
    await store?.load(broker, turn);
    const handshakes = new Handshakes(broker, config.limits, log);
    const context: ListenContext = { broker, turn, limits: config.limits, log, handshakes };
    for (const listener of listeners) running.push(start(listener, context));
  } catch (error) {
    for (const listener of running) listener.stop();
    turn.stop();
    await host?.close();
    await store?.close();
    throw error;
  }
  turn.schedule();
  let isClosed = false;
  const replacePlugins = replacer({ broker, turn, host, chainOptions, isClosed: () => isClosed });
  return {
    urls: running.map((listener) => listener.url),
    get statistics() {
      return broker.statistics;
    },
    get connectionCount() {
      return broker.connectionCount;
    },
    connect: () => inProcess.connect(),
    report: (clientId) => broker.report(clientId),
    async close(timeoutMs = CLOSE_TIMEOUT_MS) {
      isClosed = true;
      await close(broker, turn, running, timeoutMs);
      await host?.close();
      await store?.close();
    },
    get providers() {
      return host?.report() ?? [];
    },
    replacePlugins: (plugins, onReload = "recheck") => replacePlugins(plugins, onReload),
  };
}

/** Nothing is safe any more: everybody's connection is cut, and nobody is let in. */
function cutEverybody(broker: Broker, turn: Turn, running: RunningListener[], inProcess: InProcessClients): void {
  for (const listener of running) {
    listener.stop();
    listener.destroyAll();
  }
  broker.stop(nowMs());
  inProcess.cutAll();
  turn.schedule();
}

interface Replaceable {
  readonly broker: Broker;
  readonly turn: Turn;
  readonly host: PluginHost | undefined;
  readonly chainOptions: ChainOptions;
  isClosed(): boolean;
}

/** Replaces a running broker's chain, one replacement after the other: the one asked for last is the one in force. */
function replacer({ broker, turn, host, chainOptions, isClosed }: Replaceable) {
  const sessions: JudgedSessions = {
    principals: () => broker.principals(),
    rejudge(clientId, asked, judgement) {
      turn.schedule();
      return broker.rejudge(clientId, asked, judgement, nowMs());
    },
  };
  /** Resolves when the chain is in force; what it answers, when everything that follows from it is done. */
  const replace = async (plugins: readonly PluginUse[], onReload: OnReload): Promise<() => Promise<void>> => {
    if (host === undefined || isClosed()) throw new Error("this broker has no chain of plugins to replace");
    // Built completely, or the old chain stays.
    const chain = await createChain(plugins, chainOptions);
    if (isClosed()) return () => closeChain(chain, chainOptions.log);
    const replaced = host.replace(chain, onReload === "recheck" ? sessions : undefined);
    turn.schedule();
    if (onReload !== "drop") return () => replaced;
    const generation = chain[0]?.generation ?? Number.POSITIVE_INFINITY;
    const dropEarlier = (): void => {
      const isEarlier = (principal: Principal): boolean => (principal.generation ?? 0) < generation;
      broker.drop(isEarlier, "the auth configuration was replaced", false, nowMs());
      turn.schedule();
    };
    dropEarlier();
    // Logins that were under way have been let in by the old chain meanwhile.
    return () => replaced.then(dropEarlier);
  };
  let last: Promise<unknown> = Promise.resolve();
  return async (plugins: readonly PluginUse[], onReload: OnReload): Promise<void> => {
    // Until the one before is in force, not until it has judged everybody.
    const inForce = last.catch(() => {}).then(() => replace(plugins, onReload));
    last = inForce;
    const done = await inForce;
    await done();
  };
}

/** The store of the options; rejects with a StoreFault. */
async function storeOf(
  { store, folder = ".", damagedStore = "refuse", diskFreeBytesMin = 0 }: CreateBrokerOptions,
  log: Log,
  failed: (error: Error) => void,
): Promise<BrokerStore | undefined> {
  if (store === undefined) return undefined;
  return BrokerStore.open({ folder: resolve(folder, store), damagedStore, diskFreeBytesMin, log, failed });
}

async function hostOf(
  plugins: readonly PluginUse[] | undefined,
  options: ChainOptions,
  store: BrokerStore | undefined,
  sink: VerdictSink,
): Promise<PluginHost | undefined> {
  if (plugins === undefined) return undefined;
  try {
    return new PluginHost(await createChain(plugins, options), { log: options.log, sink });
  } catch (error) {
    await store?.close();
    throw error;
  }
}

/** A listener that could not be started; the message says which and why. */
export class ListenError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ListenError";
  }
}

interface ReadyListener {
  readonly listener: Listener;
  readonly tls: ListenerTls | undefined;
}

function readListener(given: string | ListenerOptions, folder: string): ReadyListener {
  const { url, ...settings } = typeof given === "string" ? { url: given } : given;
  const parsed = parseListenerUrl(url, settings);
  if (!parsed.ok) {
    const { key, expected, found } = parsed;
    throw new ListenError(
      `${withoutSecrets(url)}: ${key === undefined ? "" : `${key}: `}expected ${expected}${found === undefined ? "" : `, found ${found}`}`,
    );
  }
  const { listener } = parsed;
  // A misspelt key must not leave a listener without what it was to have; what a listener says of itself may be repeated.
  for (const [key, value] of Object.entries(settings)) {
    if (LISTENER_KEYS.some((known) => known === key) || listener[key as keyof Listener] === value) continue;
    throw new ListenError(`${listener.url}: ${key}: expected no other keys than ${LISTENER_KEYS.join(", ")}`);
  }
  try {
    return { listener, tls: readTls(listener, folder, process.env) };
  } catch (error) {
    if (!(error instanceof TlsSettingError)) throw error;
    throw new ListenError(`${listener.url}: ${error.message}`);
  }
}

/** A relayed client has its own and both ends of the socket to the WebSocket server. */
function descriptorsPerClient(listener: Listener, tls: ListenerTls | undefined): number {
  return listener.transport === "ws" && tls?.clientCertificate !== undefined ? 3 : 1;
}

function start({ listener, tls }: ReadyListener, context: ListenContext): RunningListener {
  try {
    return listener.transport === "ws" ? listenWebSocket(listener, tls, context) : listenTcp(listener, tls, context);
  } catch (error) {
    if (error instanceof TlsSettingError) throw new ListenError(`${listener.url}: ${error.message}`);
    const code = (error as { code?: string }).code ?? String(error);
    const why = code === "EADDRINUSE" ? "another program has this address" : code;
    throw new ListenError(`${listener.url}: cannot listen: ${why}; choose another one with --listen`);
  }
}

async function close(broker: Broker, turn: Turn, running: RunningListener[], timeoutMs: number): Promise<void> {
  for (const listener of running) listener.stop();
  broker.stop(nowMs());
  turn.settle();
  const cutAtMs = nowMs() + timeoutMs;
  // The transports report each close to the broker, which counts.
  const isBusy = () => broker.connectionCount > 0 || running.some(({ lingeringCount }) => lingeringCount > 0);
  while (isBusy() && nowMs() < cutAtMs) await Bun.sleep(5);
  for (const listener of running) listener.destroyAll();
  turn.stop();
}
