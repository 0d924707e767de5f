/**
 * Reads one value of a given form, and puts into words what was expected and what was found.
 *
 * Invariant: a value that is not of the form is never mended or rounded; a file has to give the right type, a flag or an
 * environment variable the text of one.
 */
import type { Form, PluginEntry, SettingValue } from "./config-schema.ts";
import { parseTopicFilter } from "./core/codec/topic.ts";
import {
  DURABILITIES,
  LISTENER_KEYS,
  type Listener,
  type ListenerSettings,
  parseListenerUrl,
  withoutSecrets,
} from "./listener-url.ts";
import { quote } from "./printable.ts";

export type ReadValue =
  | { readonly ok: true; readonly value: SettingValue }
  | { readonly ok: false; readonly path: string; readonly expected: string; readonly found: string };

/** Long enough for any value of use, short enough for one line of a terminal. */
const FOUND_CHARACTERS_MAX = 80;

/** What a value of this form is, in words that complete "expected ...". */
export function describeForm(form: Form): string {
  switch (form.kind) {
    case "whole": {
      return `a whole number${form.unit === "" ? "" : ` of ${form.unit}`} from ${form.min} to ${form.max}`;
    }
    case "boolean":
      return "true or false";
    case "choice":
      return form.choices.map((entry) => JSON.stringify(entry)).join(" or ");
    case "text": {
      const without = form.without === "" ? "" : ` without ${[...form.without].join(" and ")}`;
      return `a text of at most ${form.bytesMax} bytes${without}`;
    }
    case "listeners":
      return "at least one listener";
    case "plugins":
      return '[[auth.chain]] tables such as { use = "password-file", file = "users.txt" }, in a file';
    case "filters":
      return "a list of Topic Filters";
  }
}

/** Reads a value written as text: in a flag or in the environment. */
export function readText(path: string, form: Form, written: string): ReadValue {
  if (form.kind === "listeners") return readListeners(path, written === "" ? [] : written.split(","));
  if (form.kind === "filters") return readFilters(path, written === "" ? [] : written.split(","));
  if (form.kind === "whole") return readValue(path, form, /^\d{1,16}$/u.test(written) ? Number(written) : written);
  if (form.kind === "boolean")
    return readValue(path, form, written === "true" ? true : written === "false" ? false : written);
  return readValue(path, form, written);
}

/** Reads a value that has a type already: from a file. */
export function readValue(path: string, form: Form, given: unknown): ReadValue {
  if (form.kind === "listeners") return readListenerTables(path, given);
  if (form.kind === "plugins") return readPlugins(path, given);
  if (form.kind === "filters") return readFilters(path, given);
  if (fits(form, given)) return { ok: true, value: given };
  return { ok: false, path, expected: describeForm(form), found: describeFound(given) };
}

function fits(
  form: Exclude<Form, { kind: "listeners" | "plugins" | "filters" }>,
  given: unknown,
): given is SettingValue {
  switch (form.kind) {
    case "whole":
      return typeof given === "number" && Number.isInteger(given) && given >= form.min && given <= form.max;
    case "boolean":
      return typeof given === "boolean";
    case "choice":
      return typeof given === "string" && form.choices.includes(given);
    case "text":
      return typeof given === "string" && fitsText(given, form.bytesMax, form.without);
  }
}

/** Text may travel in a UTF-8 Encoded String, so it keeps the rules for one: no U+0000, no lone surrogate. */
function fitsText(given: string, bytesMax: number, without: string): boolean {
  const forbidden = [...given].some((character) => character === "\0" || without.includes(character));
  return !forbidden && given.isWellFormed() && new TextEncoder().encode(given).length <= bytesMax;
}

const LISTENER_TEXT_BYTES_MAX = 4096;

type ListenerTable = { readonly url: string } & ListenerSettings;

function readListenerTables(path: string, given: unknown): ReadValue {
  const example = '[[listeners]] tables with a url such as "mqtt://127.0.0.1:1883"';
  if (!Array.isArray(given)) return { ok: false, path, expected: example, found: describeFound(given) };
  const tables: ListenerTable[] = [];
  for (const [index, entry] of given.entries()) {
    const at = `${path}[${index}]`;
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      const expected = 'a table such as { url = "mqtt://127.0.0.1:1883" }';
      return { ok: false, path: at, expected, found: describeFound(entry) };
    }
    for (const [key, value] of Object.entries(entry)) {
      const complaint = complainOfListenerKey(at, key, value);
      if (complaint !== undefined) return complaint;
    }
    if (!Object.hasOwn(entry, "url")) return { ok: false, path: `${at}.url`, expected: "a URL", found: "nothing" };
    tables.push(entry as ListenerTable);
  }
  return readListenerList(path, tables);
}

/** What is wrong with one key of a listener's table, apart from what the others say. */
function complainOfListenerKey(at: string, key: string, value: unknown): ReadValue | undefined {
  const path = `${at}.${key}`;
  if (!LISTENER_KEYS.some((known) => known === key)) {
    const expected = `no other keys than ${LISTENER_KEYS.join(", ")}`;
    return { ok: false, path: at, expected, found: quote(key, FOUND_CHARACTERS_MAX) };
  }
  if (key === "origins") {
    const isList = Array.isArray(value) && value.every((origin) => typeof origin === "string");
    return isList ? undefined : { ok: false, path, expected: "a list of origins", found: describeFound(value) };
  }
  const isFile = key === "certificate" || key === "key" || key === "clientCa";
  const expected =
    key === "url"
      ? "a URL"
      : isFile
        ? "the path of a PEM file"
        : key === "durability"
          ? DURABILITIES
          : '"required" or "optional"';
  if (typeof value !== "string") return { ok: false, path, expected, found: describeFound(value) };
  if (!isFile) return undefined;
  // A key is kept out of the configuration, and out of the complaint about it.
  if (value.includes("-----BEGIN")) return { ok: false, path, expected, found: "PEM text" };
  if (value !== "" && fitsText(value, LISTENER_TEXT_BYTES_MAX, "")) return undefined;
  return { ok: false, path, expected, found: quote(value, FOUND_CHARACTERS_MAX) };
}

/** Reads listener URLs; the path of a complaint counts from 0. */
export function readListeners(path: string, urls: readonly string[]): ReadValue {
  return readListenerList(
    path,
    urls.map((url) => ({ url })),
  );
}

function readListenerList(path: string, tables: readonly ListenerTable[]): ReadValue {
  const listeners: Listener[] = [];
  for (const [index, { url, ...settings }] of tables.entries()) {
    const parsed = parseListenerUrl(url, settings);
    if (!parsed.ok) {
      const { key = "url", expected, found = quote(withoutSecrets(url), FOUND_CHARACTERS_MAX) } = parsed;
      return { ok: false, path: `${path}[${index}].${key}`, expected, found };
    }
    listeners.push(parsed.listener);
  }
  if (listeners.length === 0) return { ok: false, path, expected: "at least one listener", found: "none" };
  return { ok: true, value: listeners };
}

/** Links of the auth chain. What stands beside `use` is the plugin's to check, when it is loaded. */
function readPlugins(path: string, given: unknown): ReadValue {
  const expected = describeForm({ kind: "plugins" });
  if (!Array.isArray(given)) return { ok: false, path, expected, found: describeFound(given) };
  const entries: PluginEntry[] = [];
  for (const [index, entry] of given.entries()) {
    const at = `${path}[${index}]`;
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      return { ok: false, path: at, expected: 'a table such as { use = "jwt" }', found: describeFound(entry) };
    }
    const { use, ...settings } = entry as Record<string, unknown>;
    if (typeof use !== "string" || use === "") {
      return { ok: false, path: `${at}.use`, expected: "a plugin's name, path or package", found: describeFound(use) };
    }
    entries.push({ use, settings });
  }
  return { ok: true, value: entries };
}

function readFilters(path: string, given: unknown): ReadValue {
  if (!Array.isArray(given)) {
    return { ok: false, path, expected: describeForm({ kind: "filters" }), found: describeFound(given) };
  }
  for (const [index, filter] of given.entries()) {
    const isFilter = typeof filter === "string" && parseTopicFilter(filter, Number.POSITIVE_INFINITY)?.shareName === "";
    if (isFilter) continue;
    const found = describeFound(filter);
    return { ok: false, path: `${path}[${index}]`, expected: "a Topic Filter without $share", found };
  }
  return { ok: true, value: given as readonly string[] };
}

export function describeFound(given: unknown): string {
  if (typeof given === "string") return quote(given, FOUND_CHARACTERS_MAX);
  if (Array.isArray(given)) return "a list";
  if (typeof given === "object" && given !== null) return given.constructor === Object ? "a table" : "a date";
  return String(given);
}
