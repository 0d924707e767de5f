/**
 * Reads what a provider answered into a verdict of our own: plain, complete, checked field by field. What is not of the
 * form of the contract is no verdict at all, since half of a permission may be more than was meant.
 *
 * May throw whatever a getter of the answer throws; the host takes that as a failure of the provider.
 */
import {
  EVIDENCE_BYTES_MAX,
  type Permissions,
  type PrincipalInit,
  type Refusal,
  type Rule,
  type Verdict,
} from "../core/gate/provider.ts";

export const REFUSALS: readonly Refusal[] = [
  "bad-credentials",
  "not-authorized",
  "client-id",
  "banned",
  "unavailable",
  "busy",
  "bad-method",
];

/** Thrown inside, told as `undefined` outside. */
class Junk extends Error {}

/** The verdict, or undefined where it is none. `mayContinue`: whether the client can be asked on. */
export function readVerdict(value: unknown, mayContinue: boolean): Verdict | undefined {
  try {
    return verdictOf(table(value), mayContinue);
  } catch (error) {
    if (error instanceof Junk) return undefined;
    throw error;
  }
}

function verdictOf(given: Record<string, unknown>, mayContinue: boolean): Verdict {
  const { do: word, data } = given;
  if (word === "skip") return { do: "skip" };
  if (word === "refuse") {
    const because = REFUSALS.find((known) => known === given["because"]);
    if (because === undefined) throw new Junk();
    return { do: "refuse", because, ...present({ log: text(given["log"]), tell: text(given["tell"]) }) };
  }
  if (word === "continue" && mayContinue) return { do: "continue", ...present({ data: bytes(data) }) };
  if (word !== "accept") throw new Junk();
  return { do: "accept", principal: principalOf(table(given["principal"])), ...present({ data: bytes(data) }) };
}

function principalOf(given: Record<string, unknown>): PrincipalInit {
  const id = text(given["id"]);
  if (id === undefined || id === "") throw new Junk();
  return {
    id,
    permissions: permissionsOf(given["permissions"]),
    ...present({
      username: text(given["username"]),
      expiresAtMs: numberFrom(given["expiresAtMs"], Number.NEGATIVE_INFINITY),
      sessionExpiryIntervalMax: numberFrom(given["sessionExpiryIntervalMax"], 0),
      clientId: given["clientId"] === undefined ? undefined : clientIdRule(table(given["clientId"])),
      attributes: given["attributes"] === undefined ? undefined : attributesOf(table(given["attributes"])),
      evidence: evidenceOf(given["evidence"]),
    }),
  };
}

function permissionsOf(given: unknown): Permissions {
  if (given === "everything") return given;
  const { allow, deny } = table(given);
  return {
    allow: list(allow).map(ruleOf),
    ...present({ deny: deny === undefined ? undefined : list(deny).map(ruleOf) }),
  };
}

function ruleOf(given: unknown): Rule {
  const { on, filter, maxQos, retain, share } = table(given);
  if (on !== "pub" && on !== "sub" && on !== "both") throw new Junk();
  if (typeof filter !== "string" || filter === "") throw new Junk();
  if (maxQos !== undefined && maxQos !== 0 && maxQos !== 1 && maxQos !== 2) throw new Junk();
  if (retain !== undefined && typeof retain !== "boolean") throw new Junk();
  return { on, filter, ...present({ maxQos, retain, share: shareOf(share) }) };
}

function shareOf(given: unknown): boolean | readonly string[] | undefined {
  if (given === undefined || typeof given === "boolean") return given;
  return list(given).map((name) => {
    if (typeof name !== "string") throw new Junk();
    return name;
  });
}

function clientIdRule(given: Record<string, unknown>): { equals?: string; prefix?: string } {
  // A misspelt key would leave the principal free to use any client id.
  if (!Object.keys(given).every((key) => key === "equals" || key === "prefix")) throw new Junk();
  return present({ equals: text(given["equals"]), prefix: text(given["prefix"]) });
}

function attributesOf(given: Record<string, unknown>): Readonly<Record<string, string>> {
  const entries = Object.entries(given).map(([key, value]) => {
    if (typeof value !== "string") throw new Junk();
    return [key, value] as const;
  });
  return Object.fromEntries(entries);
}

function evidenceOf(given: unknown): string | undefined {
  const evidence = text(given);
  if (evidence !== undefined && Buffer.byteLength(evidence) > EVIDENCE_BYTES_MAX) throw new Junk();
  return evidence;
}

function table(given: unknown): Record<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw new Junk();
  return given as Record<string, unknown>;
}

function list(given: unknown): readonly unknown[] {
  if (!Array.isArray(given)) throw new Junk();
  return [...given];
}

function text(given: unknown): string | undefined {
  if (given !== undefined && typeof given !== "string") throw new Junk();
  return given;
}

function bytes(given: unknown): Uint8Array | undefined {
  if (given === undefined) return undefined;
  if (!(given instanceof Uint8Array)) throw new Junk();
  return new Uint8Array(given);
}

function numberFrom(given: unknown, min: number): number | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== "number" || !Number.isFinite(given) || given < min) throw new Junk();
  return given;
}

/** Without the keys that are undefined. */
function present<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
