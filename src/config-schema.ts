/**
 * Every setting of the broker as one table: its form, its default, and a line that says what it does.
 *
 * The table drives reading (config-value.ts), error texts, environment names and `--help` (config.ts). Its type is made from `Config`, so
 * a setting without a row, a row without a setting, and a default of the wrong type do not compile.
 * Owns no policy between settings: rules that join two of them are in config.ts.
 */
import {
  type Capabilities,
  DEFAULT_BROKER_CONFIG,
  DEFAULT_CAPABILITIES,
  DEFAULT_LIMITS,
  type Limits,
  type QueueOverflow,
} from "./core/limits.ts";
import type { LogLevel } from "./core/ports.ts";
import type { Durability } from "./core/store/store-engine.ts";
import { type Listener, parseListenerUrl } from "./listener-url.ts";

export interface Config {
  readonly listeners: readonly Listener[];
  /** The folder that keeps the state, beside the configuration file; or "memory". */
  readonly store: string;
  /** What acknowledgements promise. */
  readonly durability: Durability;
  /** What a store that is damaged does to the start. */
  readonly damagedStore: "refuse" | "set-aside";
  /** Room on the disk below which nothing is stored any more. */
  readonly diskFreeBytesMin: number;
  readonly queueOverflow: QueueOverflow;
  readonly limits: Limits;
  readonly capabilities: Capabilities;
  readonly sys: { readonly intervalMs: number };
  readonly auth: {
    /** Who comes in without an auth chain; with one, the chain decides. */
    readonly anonymous: "loopback" | "everywhere" | "nowhere";
    readonly chain: readonly PluginEntry[];
    /** Topic Filters that nobody may publish or subscribe to. */
    readonly ceiling: readonly string[];
    readonly denyAction: "ignore" | "disconnect";
    /** What happens to clients that are in when the chain is loaded again. */
    readonly onReload: "keep" | "recheck" | "drop";
  };
  /** Unix socket for the commands that ask a running broker; empty: none. */
  readonly admin: { readonly socket: string };
  readonly log: { readonly level: LogLevel; readonly format: "text" | "json" };
}

/** One link of the auth chain: which plugin, and its own settings, which the plugin checks. */
export interface PluginEntry {
  readonly use: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What a value has to look like. */
export type Form =
  | { readonly kind: "whole"; readonly unit: string; readonly min: number; readonly max: number }
  | { readonly kind: "boolean" }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  | { readonly kind: "text"; readonly bytesMax: number; readonly without: string }
  | { readonly kind: "listeners" }
  | { readonly kind: "plugins" }
  | { readonly kind: "filters" };

export type SettingValue = number | boolean | string | readonly Listener[] | readonly PluginEntry[] | readonly string[];

export interface Row<Value = SettingValue> {
  readonly form: Form;
  readonly fallback: Value;
  readonly about: string;
}

type Table<T> = { readonly [K in keyof T]: T[K] extends SettingValue ? Row<T[K]> : Table<T[K]> };

const COUNT_MAX = 2 ** 31 - 1;
const BYTES_MAX = 2 ** 40;
/** The largest packet that a Remaining Length can describe, with its fixed header of five bytes. */
const PACKET_BYTES_MAX = 268_435_460;
const UINT16_MAX = 0xffff;
const UINT32_MAX = 0xffffffff;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const defaults = DEFAULT_LIMITS;
const announced = DEFAULT_CAPABILITIES;

function whole<Value extends number>(
  unit: string,
  fallback: Value,
  min: number,
  max: number,
  about: string,
): Row<Value> {
  return { form: { kind: "whole", unit, min, max }, fallback, about };
}

function bytes(fallback: number, min: number, max: number, about: string): Row<number> {
  return whole("bytes", fallback, min, max, about);
}

function count(fallback: number, min: number, max: number, about: string): Row<number> {
  return whole("", fallback, min, max, about);
}

function milliseconds(fallback: number, min: number, max: number, about: string): Row<number> {
  return whole("milliseconds", fallback, min, max, about);
}

function seconds(fallback: number, min: number, max: number, about: string): Row<number> {
  return whole("seconds", fallback, min, max, about);
}

function onOff(fallback: boolean, about: string): Row<boolean> {
  return { form: { kind: "boolean" }, fallback, about };
}

function choice<Value extends string>(fallback: Value, choices: readonly Value[], about: string): Row<Value> {
  return { form: { kind: "choice", choices }, fallback, about };
}

function text(fallback: string, bytesMax: number, without: string, about: string): Row<string> {
  return { form: { kind: "text", bytesMax, without }, fallback, about };
}

const LIMITS: Table<Limits> = {
  packetBytesMax: bytes(defaults.packetBytesMax, 16, PACKET_BYTES_MAX, "largest packet accepted, header included"),
  connectBytesMax: bytes(defaults.connectBytesMax, 64, PACKET_BYTES_MAX, "largest packet before a client is let in"),
  topicLevelsMax: count(defaults.topicLevelsMax, 1, UINT16_MAX, "levels in a Topic Name or Topic Filter"),
  filtersPerPacketMax: count(defaults.filtersPerPacketMax, 1, COUNT_MAX, "Topic Filters in one packet"),
  subscriptionsPerClientMax: count(defaults.subscriptionsPerClientMax, 1, COUNT_MAX, "subscriptions of one session"),
  subscriptionBytesMax: bytes(
    defaults.subscriptionBytesMax,
    1,
    BYTES_MAX,
    "memory for the subscriptions of one session",
  ),
  userPropertiesMax: count(defaults.userPropertiesMax, 0, COUNT_MAX, "User Properties in one packet"),
  receiveMaximum: count(
    defaults.receiveMaximum,
    1,
    UINT16_MAX,
    "QoS 1 and 2 messages a client may have unacknowledged",
  ),
  inflightMax: count(defaults.inflightMax, 1, UINT16_MAX, "QoS 1 and 2 messages unacknowledged towards one client"),
  queueMessagesMax: count(defaults.queueMessagesMax, 0, COUNT_MAX, "messages waiting for one session"),
  queueBytesMax: bytes(defaults.queueBytesMax, 0, BYTES_MAX, "bytes in flight and waiting for one session"),
  topicAliasMaximum: count(defaults.topicAliasMaximum, 0, UINT16_MAX, "Topic Aliases a client may set"),
  topicAliasOutboundMax: count(defaults.topicAliasOutboundMax, 0, UINT16_MAX, "Topic Aliases set towards one client"),
  topicAliasBytesMax: bytes(defaults.topicAliasBytesMax, 0, BYTES_MAX, "Topic Names behind aliases, each way"),
  connectionsMax: count(defaults.connectionsMax, 1, COUNT_MAX, "connections open at once"),
  unauthenticatedMax: count(defaults.unauthenticatedMax, 1, COUNT_MAX, "connections that are not let in yet"),
  unauthenticatedPerAddressMax: count(
    defaults.unauthenticatedPerAddressMax,
    1,
    COUNT_MAX,
    "connections of one address that are not let in yet",
  ),
  connectDeadlineMs: milliseconds(defaults.connectDeadlineMs, 1, HOUR_MS, "from opening a connection to its CONNACK"),
  authDeadlineMs: milliseconds(defaults.authDeadlineMs, 1, HOUR_MS, "for one re-authentication"),
  authRoundsMax: count(defaults.authRoundsMax, 1, 1000, "AUTH packets of a client in one exchange"),
  heldInputBytesMax: bytes(defaults.heldInputBytesMax, 0, BYTES_MAX, "input held while a client waits to be let in"),
  outboundHighWaterBytes: bytes(defaults.outboundHighWaterBytes, 1, BYTES_MAX, "unread bytes at which deliveries wait"),
  outboundLowWaterBytes: bytes(defaults.outboundLowWaterBytes, 0, BYTES_MAX, "unread bytes at which they go on"),
  offlineSessionsMax: count(defaults.offlineSessionsMax, 0, COUNT_MAX, "sessions kept without a connection"),
  storeBacklogBytesMax: bytes(defaults.storeBacklogBytesMax, 1, BYTES_MAX, "bytes that wait for the disk"),
  retainedMessagesMax: count(defaults.retainedMessagesMax, 0, COUNT_MAX, "retained messages"),
  retainedBytesMax: bytes(defaults.retainedBytesMax, 0, BYTES_MAX, "bytes of retained messages"),
};

const CAPABILITIES: Table<Capabilities> = {
  maximumQos: whole("", announced.maximumQos, 0, 2, "highest QoS of a PUBLISH"),
  retainAvailable: onOff(announced.retainAvailable, "retained messages"),
  wildcardSubscriptionAvailable: onOff(announced.wildcardSubscriptionAvailable, "wildcards in subscriptions"),
  subscriptionIdentifiersAvailable: onOff(announced.subscriptionIdentifiersAvailable, "Subscription Identifiers"),
  sharedSubscriptionAvailable: onOff(announced.sharedSubscriptionAvailable, "shared subscriptions"),
  sessionExpiryIntervalMax: seconds(
    announced.sessionExpiryIntervalMax,
    0,
    UINT32_MAX,
    "longest Session Expiry Interval granted; 4294967295: for ever",
  ),
  serverKeepAliveMax: seconds(
    announced.serverKeepAliveMax,
    0,
    UINT16_MAX,
    "longest Keep Alive granted; 0: what the client asks",
  ),
  responseInformationPrefix: text(
    announced.responseInformationPrefix,
    1024,
    "+#",
    "prefix of the Response Information; empty: none is given",
  ),
  serverReference: text(announced.serverReference, 1024, "", "server named to clients that are sent away; empty: none"),
};

export const TABLE: Table<Config> = {
  listeners: {
    form: { kind: "listeners" },
    fallback: ["mqtt://127.0.0.1:1883", "ws://127.0.0.1:8083/mqtt"].map(knownListener),
    about:
      "where clients connect; several with commas; mqtts:// and wss:// in a file, as they need certificate and key",
  },
  store: text("data", 4096, "", "folder that keeps the state, beside the configuration file; memory: none"),
  durability: choice(
    DEFAULT_BROKER_CONFIG.durability,
    ["fsync", "written", "memory"],
    "what an acknowledged message survives: fsync power failure, written kill -9, memory neither",
  ),
  damagedStore: choice(
    "refuse",
    ["refuse", "set-aside"],
    "what a damaged store does to the start; set-aside renames it and begins with an empty one",
  ),
  diskFreeBytesMin: bytes(
    0,
    0,
    BYTES_MAX,
    "room on the disk below which nothing more is stored; 0: 256 MiB, or a twentieth of a smaller disk, 16 MiB at least",
  ),
  queueOverflow: choice(
    DEFAULT_BROKER_CONFIG.queueOverflow,
    ["drop-newest", "drop-oldest"],
    "which message a full queue gives up",
  ),
  limits: LIMITS,
  capabilities: CAPABILITIES,
  sys: {
    intervalMs: milliseconds(DEFAULT_BROKER_CONFIG.sysIntervalMs, 0, DAY_MS, "between $SYS messages; 0: none"),
  },
  auth: {
    anonymous: choice(
      "loopback",
      ["loopback", "everywhere", "nowhere"],
      "where clients are let in without credentials; with an auth.chain the chain decides",
    ),
    chain: {
      form: { kind: "plugins" },
      fallback: [],
      about:
        "who decides about clients, asked in order; [[auth.chain]] tables in a file, each with use and its settings",
    },
    ceiling: {
      form: { kind: "filters" },
      fallback: [],
      about: "Topic Filters that nobody may publish or subscribe to; several with commas",
    },
    denyAction: choice(
      DEFAULT_BROKER_CONFIG.denyAction,
      ["ignore", "disconnect"],
      "what a refused PUBLISH does beside the reason code",
    ),
    onReload: choice(
      "recheck",
      ["keep", "recheck", "drop"],
      "what SIGHUP does to clients that are in: nothing, judge them by the new chain, disconnect them",
    ),
  },
  admin: {
    socket: text("", 100, "", "Unix socket for rqtt auth explain, beside the configuration file; empty: none"),
  },
  log: {
    level: choice("info", ["debug", "info", "warn", "error"], "least level that is written"),
    format: choice("text", ["text", "json"], "form of a log line on standard error"),
  },
};

export function isRow(entry: unknown): entry is Row {
  return typeof entry === "object" && entry !== null && "form" in entry;
}

/** All rows by path, in the order of the table. */
export const ROWS: ReadonlyMap<string, Row> = new Map(rowsUnder(TABLE, ""));

/** The paths that hold settings but are none: `limits`, `log` and so on. */
export const SECTIONS: ReadonlySet<string> = new Set(
  [...ROWS.keys()].filter((path) => path.includes(".")).map((path) => path.slice(0, path.indexOf("."))),
);

function* rowsUnder(table: object, prefix: string): Generator<[string, Row]> {
  for (const [key, entry] of Object.entries(table)) {
    if (isRow(entry)) yield [prefix + key, entry];
    else yield* rowsUnder(entry, `${prefix}${key}.`);
  }
}

/** `limits.packetBytesMax` is `RQTT_LIMITS_PACKET_BYTES_MAX`. */
export function environmentName(path: string): string {
  return `RQTT_${path
    .replace(/(?<=[a-z0-9])(?=[A-Z])/gu, "_")
    .replaceAll(".", "_")
    .toUpperCase()}`;
}

function knownListener(url: string): Listener {
  const parsed = parseListenerUrl(url);
  if (!parsed.ok) throw new Error(`${url}: expected ${parsed.expected}`);
  return parsed.listener;
}
