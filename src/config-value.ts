/**
 * Reads one value of a given form, and puts into words what was expected and what was found.
 *
 * Invariant: a value that is not of the form is never mended or rounded; a file has to give the right type, a flag or an
 * environment variable the text of one.
 */
import type { Form, SettingValue } from "./config-schema.ts";
import { type Listener, parseListenerUrl } from "./listener-url.ts";
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
  }
}

/** Reads a value written as text: in a flag or in the environment. */
export function readText(path: string, form: Form, written: string): ReadValue {
  if (form.kind === "listeners") return readListeners(path, written === "" ? [] : written.split(","));
  if (form.kind === "whole") return readValue(path, form, /^\d{1,16}$/u.test(written) ? Number(written) : written);
  if (form.kind === "boolean")
    return readValue(path, form, written === "true" ? true : written === "false" ? false : written);
  return readValue(path, form, written);
}

/** Reads a value that has a type already: from a file. */
export function readValue(path: string, form: Form, given: unknown): ReadValue {
  if (form.kind === "listeners") return readListenerTables(path, given);
  if (fits(form, given)) return { ok: true, value: given };
  return { ok: false, path, expected: describeForm(form), found: describeFound(given) };
}

function fits(form: Exclude<Form, { kind: "listeners" }>, given: unknown): given is SettingValue {
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

function readListenerTables(path: string, given: unknown): ReadValue {
  const example = '[[listeners]] tables with a url such as "mqtt://127.0.0.1:1883"';
  if (!Array.isArray(given)) return { ok: false, path, expected: example, found: describeFound(given) };
  const urls: string[] = [];
  for (const [index, entry] of given.entries()) {
    const at = `${path}[${index}]`;
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      return {
        ok: false,
        path: at,
        expected: 'a table such as { url = "mqtt://127.0.0.1:1883" }',
        found: describeFound(entry),
      };
    }
    for (const [key, value] of Object.entries(entry)) {
      if (key !== "url")
        return { ok: false, path: at, expected: "no other key than url", found: quote(key, FOUND_CHARACTERS_MAX) };
      if (typeof value !== "string")
        return { ok: false, path: `${at}.url`, expected: "a URL", found: describeFound(value) };
      urls.push(value);
    }
    if (urls.length <= index) return { ok: false, path: `${at}.url`, expected: "a URL", found: "nothing" };
  }
  return readListeners(path, urls);
}

/** Reads listener URLs; the path of a complaint counts from 0. */
export function readListeners(path: string, urls: readonly string[]): ReadValue {
  const listeners: Listener[] = [];
  for (const [index, url] of urls.entries()) {
    const parsed = parseListenerUrl(url);
    if (!parsed.ok) {
      return {
        ok: false,
        path: `${path}[${index}].url`,
        expected: parsed.expected,
        found: quote(url, FOUND_CHARACTERS_MAX),
      };
    }
    listeners.push(parsed.listener);
  }
  if (listeners.length === 0) return { ok: false, path, expected: "at least one listener", found: "none" };
  return { ok: true, value: listeners };
}

export function describeFound(given: unknown): string {
  if (typeof given === "string") return quote(given, FOUND_CHARACTERS_MAX);
  if (Array.isArray(given)) return "a list";
  if (typeof given === "object" && given !== null) return given.constructor === Object ? "a table" : "a date";
  return String(given);
}
