/**
 * Claims by path: looking one up, comparing it, and all textual ones as attributes for `${claim.x}`.
 *
 * Refuses to guess: a claim that two places could mean is nobody's, a member of a prototype is no claim, and a claim of
 * another type than asked for is a missing one.
 */
import { either, group, list, optional, type Setting, text } from "../settings.ts";
import { isObject } from "./token-text.ts";

export type Claims = Readonly<Record<string, unknown>>;
export type ClaimPath = readonly string[];
type Scalar = string | number | boolean;

/** What a claim has to hold: one of these, or a list with one of these. */
export interface Condition {
  readonly claim: ClaimPath;
  readonly has: readonly Scalar[];
}

const ATTRIBUTES_MAX = 256;
const DEPTH_MAX = 5;

/** "realm_access.roles"; a list of names, or a name that is a URL, is not taken apart at its dots. */
export function claimPath(): Setting<ClaimPath> {
  const inner = either(list(text(), 1), text('the name of a claim such as "roles" or "realm_access.roles"'));
  return {
    expected: inner.expected,
    read(value, path) {
      const read = inner.read(value, path);
      if (typeof read !== "string") return read;
      return read.includes("://") ? [read] : read.split(".");
    },
  };
}

/** One value or a list of them, always read as a list. */
export function oneOrList<T>(item: Setting<T>): Setting<readonly T[]> {
  const many = list(item, 1);
  return {
    expected: `${item.expected}, or a list`,
    read: (value, path) => (Array.isArray(value) ? many.read(value, path) : [item.read(value, path)]),
  };
}

function scalar(): Setting<Scalar> {
  const expected = "a text, a number, true or false";
  const complaint = text(expected);
  return {
    expected,
    read(value, path) {
      const fits = typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value));
      return fits ? value : complaint.read(value, path);
    },
  };
}

/** `{ claim = "roles", has = "sensor" }` */
export function condition(): Setting<Condition> {
  return group({ claim: claimPath(), has: oneOrList(scalar()) });
}

export function optionalPath(): Setting<ClaimPath | undefined> {
  return optional(claimPath());
}

export function claimAt(claims: Claims, path: ClaimPath): unknown {
  let value: unknown = claims;
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/** The claim as a text that is not empty. */
export function textAt(claims: Claims, path: ClaimPath): string | undefined {
  const value = claimAt(claims, path);
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function holds(claims: Claims, { claim, has }: Condition): boolean {
  const value = claimAt(claims, claim);
  // Types count: the text "true" is not the claim true.
  return Array.isArray(value) ? value.some((item) => has.includes(item as Scalar)) : has.includes(value as Scalar);
}

/** All textual claims, nested ones under their dotted paths. */
export function attributesOf(claims: Claims): Readonly<Record<string, string>> {
  const found = new Map<string, string | undefined>();
  collect(claims, "", 1, found);
  const entries = [...found].filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries);
}

function collect(object: Claims, prefix: string, depth: number, found: Map<string, string | undefined>): void {
  for (const [name, value] of Object.entries(object)) {
    if (found.size >= ATTRIBUTES_MAX) return;
    const key = prefix + name;
    if (isObject(value)) {
      if (depth < DEPTH_MAX) collect(value, `${key}.`, depth + 1, found);
    } else if (typeof value === "string") {
      // {"a.b": ...} beside {"a": {"b": ...}}: nobody can say which one a rule means.
      found.set(key, found.has(key) ? undefined : value);
    }
  }
}
