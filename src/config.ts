/**
 * Configuration: defaults, a file, the environment and flags in, one frozen `Config` out.
 *
 * Flags override the environment, the environment overrides the file, the file overrides the defaults. Unknown keys,
 * flags and `RQTT_` variables are errors, so that a typing mistake never leaves a setting at its default in silence.
 * A complaint is one line: the path, what was expected, what was found, and where it was written.
 * Refuses a listener that other machines reach while nobody has said who may come in.
 */
import packageJson from "../package.json" with { type: "json" };
import {
  type Config,
  environmentName,
  isRow,
  type PluginEntry,
  ROWS,
  SECTIONS,
  type SettingValue,
  TABLE,
} from "./config-schema.ts";
import { describeForm, describeFound, type ReadValue, readListeners, readText, readValue } from "./config-value.ts";
import { isLoopback, type Listener, withoutSecrets } from "./listener-url.ts";
import { escapeControls, quote, shorten } from "./printable.ts";

export type { Config, PluginEntry } from "./config-schema.ts";
export type { Listener } from "./listener-url.ts";

export const VERSION: string = packageJson.version;

export interface Sources {
  /** Arguments after the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file; throws when there is none. */
  readFile(path: string): string;
}

export type LoadResult =
  /** `file`: the one of --config, if any; relative paths in settings begin in its folder. */
  | { readonly ok: true; readonly config: Config; readonly file: string | undefined }
  /** Nothing to start: `print` goes to standard output, and that was all that was asked for. */
  | { readonly ok: false; readonly print: string }
  | { readonly ok: false; readonly error: string };

export function loadConfig(sources: Sources): LoadResult {
  try {
    const flags = readFlags(sources.argv);
    if (flags.print === "help") return { ok: false, print: helpText() };
    if (flags.print === "version") return { ok: false, print: `rqtt ${VERSION}` };
    const given: Given = new Map();
    if (flags.file !== undefined) assignFile(given, flags.file, sources.readFile);
    assignEnvironment(given, sources.env);
    assignFlags(given, flags);
    checkTogether(given);
    const config = freeze(fill(TABLE, "", given) as unknown as Config);
    return { ok: true, config, file: flags.file };
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, error: error.message };
    throw error;
  }
}

/** A mistake of whoever wrote the configuration. */
class ConfigError extends Error {}

/** What was set so far, and where: a later source replaces an earlier one. */
type Given = Map<string, { readonly value: SettingValue; readonly source: string }>;

/** One complaint is one line, however long or odd the text that was found. */
function complain(path: string, expected: string, found: string, source: string): never {
  throw new ConfigError(escapeControls(`${path}: expected ${expected}, found ${found} (${shorten(source, 160)})`));
}

function assign(given: Given, path: string, read: ReadValue, source: string): void {
  if (!read.ok) complain(read.path, read.expected, read.found, source);
  given.set(path, { value: read.value, source });
}

// Flags

interface Flags {
  print: "help" | "version" | undefined;
  file: string | undefined;
  readonly listen: string[];
  /** Path and text of --set and --store, in the order given. */
  readonly settings: { readonly path: string; readonly written: string; readonly source: string }[];
}

const FLAGS = ["--config", "--listen", "--store", "--set", "--help", "--version"];

function readFlags(argv: readonly string[]): Flags {
  const flags: Flags = { print: undefined, file: undefined, listen: [], settings: [] };
  for (let index = 0; index < argv.length; index++) {
    const argument = argv[index]!;
    const [, flag = argument, joined] = /^(--[^=]*)=(.*)$/su.exec(argument) ?? [];
    if (flag === "--help" || flag === "--version") {
      if (joined !== undefined) complain(flag, "no value", quote(joined, 80), argument);
      flags.print = flag === "--help" ? "help" : "version";
      return flags;
    }
    if (!FLAGS.includes(flag)) complain("command line", `one of ${FLAGS.join(", ")}`, quote(flag, 80), argument);
    const value = joined ?? argv[++index];
    if (value === undefined || (joined === undefined && value.startsWith("--"))) {
      complain(flag, FLAG_VALUES[flag]!, value === undefined ? "nothing" : quote(value, 80), flag);
    }
    takeFlag(flags, flag, value);
  }
  return flags;
}

const FLAG_VALUES: Readonly<Record<string, string>> = {
  "--config": "a file",
  "--listen": "a URL such as mqtt://127.0.0.1:1883",
  "--store": 'a folder, or "memory"',
  "--set": "path=value",
};

function takeFlag(flags: Flags, flag: string, value: string): void {
  const source = `${flag} ${flag === "--listen" ? withoutSecrets(value) : value}`;
  if (flag === "--config") {
    if (flags.file !== undefined) complain(flag, "one file", "a second", source);
    flags.file = value;
  } else if (flag === "--listen") {
    flags.listen.push(value);
  } else if (flag === "--store") {
    flags.settings.push({ path: "store", written: value, source });
  } else {
    const equals = value.indexOf("=");
    if (equals < 0) complain(flag, FLAG_VALUES[flag]!, quote(value, 80), source);
    flags.settings.push({ path: value.slice(0, equals), written: value.slice(equals + 1), source });
  }
}

function assignFlags(given: Given, flags: Flags): void {
  for (const { path, written, source } of flags.settings) {
    const row = ROWS.get(path) ?? unknownSetting(path, source);
    assign(given, path, readText(path, row.form, written), source);
  }
  if (flags.listen.length === 0) return;
  assign(
    given,
    "listeners",
    readListeners("listeners", flags.listen),
    flags.listen.map((url) => `--listen ${withoutSecrets(url)}`).join(" "),
  );
}

// Environment

const ENVIRONMENT: ReadonlyMap<string, string> = new Map([...ROWS.keys()].map((path) => [environmentName(path), path]));

function assignEnvironment(given: Given, env: Sources["env"]): void {
  for (const [name, written] of Object.entries(env)) {
    if (!name.startsWith("RQTT_") || written === undefined) continue;
    const source = `${name}=${name === environmentName("listeners") ? withoutSecrets(written) : written}`;
    const path = ENVIRONMENT.get(name);
    if (path === undefined) complain("environment", "only settings that --help lists", name, source);
    assign(given, path, readText(path, ROWS.get(path)!.form, written), source);
  }
}

// File

function assignFile(given: Given, file: string, readFile: Sources["readFile"]): void {
  const source = `--config ${file}`;
  const content = parseFile(file, source, readFile);
  if (!isTable(content)) complain("--config", "a table of settings", "something else", source);
  assignTable(given, content, "", file);
}

function parseFile(file: string, source: string, readFile: Sources["readFile"]): unknown {
  let content: string;
  try {
    content = readFile(file).replace(/^\uFEFF/u, "");
  } catch (error) {
    complain("--config", "a file that can be read", messageOf(error), source);
  }
  const json = file.toLowerCase().endsWith(".json");
  try {
    return json ? JSON.parse(content) : Bun.TOML.parse(content);
  } catch (error) {
    complain("--config", json ? "JSON" : "TOML", messageOf(error), source);
  }
}

function messageOf(error: unknown): string {
  return shorten(error instanceof Error ? error.message : String(error), 200);
}

function assignTable(given: Given, table: object, prefix: string, source: string): void {
  for (const [key, value] of Object.entries(table)) {
    const path = prefix + key;
    // A quoted key may hold a dot; it names no setting, even where it looks like the path of one.
    const row = key.includes(".") ? undefined : ROWS.get(path);
    if (row !== undefined) {
      assign(given, path, readValue(path, row.form, value), source);
    } else if (SECTIONS.has(path)) {
      if (!isTable(value)) complain(path, "a table of settings", describeFound(value), source);
      assignTable(given, value, `${path}.`, source);
    } else {
      unknownSetting(path, source);
    }
  }
}

function isTable(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unknownSetting(path: string, source: string): never {
  const section = SECTIONS.has(path) ? path : path.slice(0, path.indexOf("."));
  const known = [...ROWS.keys()].filter((name) => name.startsWith(`${section}.`));
  const nearest = [...ROWS.keys()].find((name) => squash(name) === squash(path));
  const expected =
    nearest !== undefined
      ? nearest
      : known.length > 0 && known.length <= 4
        ? `one of ${known.join(", ")}`
        : "a setting that --help lists";
  complain(path === "" ? '""' : shorten(path, 80), expected, "an unknown setting", source);
}

/** Capitals, hyphens and underscores are what gets mixed up in a path. */
function squash(path: string): string {
  return path.replace(/[-_]/gu, "").toLowerCase();
}

// Rules that join settings

function checkTogether(given: Given): void {
  const settled = (path: string) => given.get(path)?.value ?? ROWS.get(path)!.fallback;
  const sourceOf = (path: string) => given.get(path)?.source ?? "the default";

  const store = settled("store") as string;
  if (store === "") complain("store", 'a folder, or "memory"', '""', sourceOf("store"));

  const low = settled("limits.outboundLowWaterBytes") as number;
  const high = settled("limits.outboundHighWaterBytes") as number;
  if (low >= high) {
    // The complaint goes to the one of the two that was written.
    const path = given.has("limits.outboundLowWaterBytes")
      ? "limits.outboundLowWaterBytes"
      : "limits.outboundHighWaterBytes";
    const expected = path.endsWith("LowWaterBytes")
      ? `less than outboundHighWaterBytes, ${high}`
      : `more than outboundLowWaterBytes, ${low}`;
    complain(path, expected, String(settled(path)), sourceOf(path));
  }

  const chain = settled("auth.chain") as readonly PluginEntry[];
  const anonymous = settled("auth.anonymous") as string;
  if (chain.length > 0 && given.has("auth.anonymous") && anonymous !== "nowhere") {
    const expected =
      'no setting, or "nowhere", as auth.chain decides who comes in: to let in everybody else too, ' +
      'end the chain with [[auth.chain]] use = "allow-all"';
    complain("auth.anonymous", expected, quote(anonymous, 80), sourceOf("auth.anonymous"));
  }
  const isDecided = chain.length > 0 || anonymous === "everywhere";
  checkListeners(settled("listeners") as readonly Listener[], isDecided, sourceOf("listeners"));
}

function checkListeners(listeners: readonly Listener[], isDecided: boolean, source: string): void {
  const places = new Map<string, Listener>();
  for (const [index, listener] of listeners.entries()) {
    const place = `${listener.hostname} ${listener.port}`;
    const other = listener.port === 0 ? undefined : places.get(place);
    if (other !== undefined) {
      complain(`listeners[${index}].url`, `another address than ${other.url} has`, quote(listener.url, 80), source);
    }
    places.set(place, listener);
    if (!isOpenToAnybody(listener, isDecided)) continue;
    const expected =
      "127.0.0.1, [::1] or localhost, as other machines reach this listener and no authentication is configured: " +
      "configure an [[auth.chain]], or, to let everybody in, type --set auth.anonymous=everywhere";
    complain(`listeners[${index}].url`, expected, quote(listener.url, 80), source);
  }
}

/**
 * Whether other machines reach a listener about whose clients nobody has decided anything. A certificate says who a client
 * is, not that it may come in: TLS does not make a listener less open.
 */
function isOpenToAnybody(listener: Listener, isDecided: boolean): boolean {
  return !isDecided && !isLoopback(listener);
}

// The result

/** The table's shape with a value in the place of every row. */
function fill(table: object, prefix: string, given: Given): object {
  return Object.fromEntries(
    Object.entries(table).map(([key, entry]) => {
      const path = prefix + key;
      return [key, isRow(entry) ? (given.get(path)?.value ?? entry.fallback) : fill(entry, `${path}.`, given)];
    }),
  );
}

function freeze<T extends object>(value: T): T {
  for (const entry of Object.values(value)) if (typeof entry === "object" && entry !== null) freeze(entry);
  return Object.freeze(value);
}

// Help

function helpText(): string {
  const rows = [...ROWS].map(([path, { form, fallback, about }]) => {
    const shown = Array.isArray(fallback)
      ? fallback.length === 0
        ? "none"
        : fallback.map((listener) => (listener as Listener).url).join(",")
      : JSON.stringify(fallback);
    return `  ${path}\n      ${about}\n      ${describeForm(form)}; default ${shown}; ${environmentName(path)}`;
  });
  return `rqtt ${VERSION}, an MQTT broker

Usage: rqtt [--config FILE] [--listen URL]... [--store FOLDER] [--set path=value]...

  --config FILE      settings from a TOML file, or JSON where the name ends in .json
  --listen URL       mqtt://host:port or ws://host:port/path; replaces the configured listeners; port 0 is any free port
                     (mqtts:// and wss:// need [[listeners]] tables with url, certificate and key, in a file)
  --store FOLDER     keeps sessions and messages there; memory: nowhere
  --set path=value   one setting
  --help, --version

Flags override the environment, the environment overrides the file.

Settings:
${rows.join("\n")}`;
}
