/**
 * A provider's settings, described once: what is read from the configuration, as a Standard Schema.
 *
 *   const settings = table({ file: text(), cacheSeconds: optional(whole(0, 3600), 30) });
 *   type Settings = SettingsOf<typeof settings>;
 *
 * Unknown keys are errors, so that a typing mistake never leaves a check at its default in silence. A complaint says the path,
 * what was expected and what was found.
 */
import type { SchemaIssue, SchemaResult, SecretReference, StandardSchema } from "../src/core/gate/provider.ts";

/** One setting: reads a value, or throws a Complaint. `absent` is read where the key is missing. */
export interface Setting<T> {
  readonly expected: string;
  read(value: unknown, path: Path): T;
  readonly absent?: (() => T) | undefined;
}

type Path = readonly (string | number)[];

class Complaint extends Error {
  readonly path: Path;

  constructor(path: Path, message: string) {
    super(message);
    this.path = path;
  }
}

function complain(path: Path, expected: string, value: unknown): never {
  throw new Complaint(path, `expected ${expected}, found ${describe(value)}`);
}

/** As `complain`, where a text in the place of a table may be anything, a secret included: it is not repeated. */
function complainOfKind(path: Path, expected: string, value: unknown): never {
  throw new Complaint(path, `expected ${expected}, found ${typeof value === "string" ? "a text" : describe(value)}`);
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string")
    return value.length > 40 ? `a text of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return Array.isArray(value) ? "a list" : "a table";
}

function setting<T>(expected: string, accepts: (value: unknown) => boolean): Setting<T> {
  return {
    expected,
    read: (value, path) => (accepts(value) ? (value as T) : complain(path, expected, value)),
  };
}

/** A text that is not empty. */
export function text(expected = "a text"): Setting<string> {
  return setting(expected, (value) => typeof value === "string" && value !== "");
}

export function oneOf<const T extends string>(...words: readonly T[]): Setting<T> {
  const expected = words.map((word) => JSON.stringify(word)).join(" or ");
  return setting(expected, (value) => words.includes(value as T));
}

export function whole(min: number, max: number, unit = ""): Setting<number> {
  const expected = `a whole number ${unit === "" ? "" : `of ${unit} `}from ${min} to ${max}`;
  return setting(expected, (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max);
}

export function onOff(): Setting<boolean> {
  return setting("true or false", (value) => typeof value === "boolean");
}

/** `{ env = "NAME" }` or `{ file = "PATH" }`: never the secret itself. */
export function secret(): Setting<SecretReference> {
  const expected = '{ env = "NAME" } or { file = "PATH" }';
  const accepts = (value: unknown): boolean => {
    if (typeof value !== "object" || value === null) return false;
    const [key, ...others] = Object.keys(value);
    const held: unknown = Object.values(value)[0];
    return others.length === 0 && (key === "env" || key === "file") && typeof held === "string" && held !== "";
  };
  return {
    expected,
    read(value, path) {
      if (accepts(value)) return value as SecretReference;
      // What was written in its place may be the secret itself.
      throw new Complaint(
        path,
        `expected ${expected}, found ${typeof value === "string" ? "a text" : "something else"}`,
      );
    },
  };
}

/** A list of at least `min` items. */
export function list<T>(item: Setting<T>, min = 0): Setting<readonly T[]> {
  const expected = min === 0 ? "a list" : `a list of at least ${min}`;
  return {
    expected,
    read(value, path) {
      if (!Array.isArray(value) || value.length < min) return complainOfKind(path, expected, value);
      return value.map((entry: unknown, at) => item.read(entry, [...path, at]));
    },
  };
}

/** A table whose keys are free. */
export function tableOf<T>(item: Setting<T>): Setting<Readonly<Record<string, T>>> {
  return {
    expected: "a table",
    read(value, path) {
      if (!isTable(value)) return complainOfKind(path, "a table", value);
      const entries = Object.entries(value).map(([key, entry]) => [key, item.read(entry, [...path, key])] as const);
      return Object.fromEntries(entries);
    },
  };
}

/** One of several forms, told apart by trying each; the last one's complaint is the one that is shown. */
export function either<A, B>(first: Setting<A>, second: Setting<B>): Setting<A | B> {
  return {
    expected: `${first.expected}, or ${second.expected}`,
    read(value, path) {
      try {
        return first.read(value, path);
      } catch (error) {
        if (!(error instanceof Complaint)) throw error;
        return second.read(value, path);
      }
    },
  };
}

export function optional<T>(inner: Setting<T>): Setting<T | undefined>;
export function optional<T>(inner: Setting<T>, fallback: T): Setting<T>;
export function optional<T>(inner: Setting<T>, fallback?: T): Setting<T | undefined> {
  return { ...inner, absent: () => fallback };
}

export type Fields = Readonly<Record<string, Setting<unknown>>>;
export type FieldsOf<F extends Fields> = { readonly [K in keyof F]: F[K] extends Setting<infer T> ? T : never };

/** A table with these keys and no others. */
export function group<F extends Fields>(fields: F): Setting<FieldsOf<F>> {
  return {
    expected: "a table",
    read(value, path) {
      if (!isTable(value)) return complainOfKind(path, "a table", value);
      for (const key of Object.keys(value)) {
        if (!Object.hasOwn(fields, key)) {
          throw new Complaint([...path, key], `unknown setting; expected one of ${Object.keys(fields).join(", ")}`);
        }
      }
      const entries = Object.entries(fields).map(([key, field]) => {
        const isThere = Object.hasOwn(value, key) && value[key] !== undefined;
        if (!isThere && field.absent !== undefined) return [key, field.absent()] as const;
        return [key, field.read(isThere ? value[key] : undefined, [...path, key])] as const;
      });
      return Object.fromEntries(entries) as FieldsOf<F>;
    },
  };
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A table of settings as the Standard Schema that `AuthPlugin.config` wants. */
export function table<F extends Fields>(fields: F): StandardSchema<FieldsOf<F>> {
  const root = group(fields);
  return {
    "~standard": {
      version: 1,
      vendor: "rqtt",
      validate(value: unknown): SchemaResult<FieldsOf<F>> {
        try {
          return { value: root.read(value, []) };
        } catch (error) {
          if (!(error instanceof Complaint)) throw error;
          const issue: SchemaIssue = { message: error.message, path: error.path };
          return { issues: [issue] };
        }
      },
    },
  };
}

export type SettingsOf<S> = S extends StandardSchema<infer T> ? T : never;
