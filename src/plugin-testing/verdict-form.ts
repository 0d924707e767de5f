/**
 * The form of a verdict, looked at more closely than the host has time for: what the host would take for no verdict at all
 * (`invalid`: it refuses the client), and what it would ignore though somebody meant something by it (`odd`).
 */
import { REFUSALS } from "../bun/verdict-reader.ts";
import { EVIDENCE_BYTES_MAX, type Refusal } from "../core/gate/provider.ts";

export interface FormComplaints {
  readonly invalid: readonly string[];
  readonly odd: readonly string[];
}

const KEYS: Readonly<Record<string, readonly string[]>> = {
  accept: ["do", "principal", "data"],
  continue: ["do", "data"],
  refuse: ["do", "because", "log", "tell"],
  skip: ["do"],
};
const PRINCIPAL_KEYS = [
  "id",
  "username",
  "expiresAtMs",
  "permissions",
  "clientId",
  "sessionExpiryIntervalMax",
  "attributes",
  "evidence",
  "provider",
  "generation",
];
const RULE_KEYS = ["on", "filter", "maxQos", "retain", "share"];
const TIME_MAX = 8.64e15;
/** A Reason String longer than this is more than a reason. */
const TELL_CHARACTERS_MAX = 1024;

type Table = Readonly<Record<string, unknown>>;

/** Which method of a provider answered. */
export type Asked = "connect" | "step" | "recheck";

/** Complaints about what a provider answered. */
export function verdictForm(value: unknown, from: Asked): FormComplaints {
  const invalid: string[] = [];
  const odd: string[] = [];
  if (!isTable(value) || typeof value["do"] !== "string" || !Object.hasOwn(KEYS, value["do"])) {
    return { invalid: ["no verdict: expected { do: accept, continue, refuse or skip }"], odd };
  }
  const { do: word } = value;
  odd.push(...strangeKeys(value, KEYS[word as string]!, `the verdict "${word}"`));
  if (word === "continue" && from !== "step") invalid.push(`continue from ${from}: only an exchange goes on`);
  if (word === "skip" && from === "step") invalid.push("skip from an exchange: the method is this provider's own");
  if (!isBytesOrNothing(value["data"])) invalid.push("data is no Uint8Array");
  if (value["data"] !== undefined && from === "recheck") odd.push("data from recheck: nobody is there to take it");
  if (word === "refuse") checkRefusal(value, invalid, odd);
  if (word === "accept") checkPrincipal(value["principal"], invalid, odd);
  return { invalid, odd };
}

function checkRefusal({ because, log, tell }: Table, invalid: string[], odd: string[]): void {
  if (!REFUSALS.includes(because as Refusal)) invalid.push(`refuse because ${String(because)}: a word without a code`);
  if (!isTextOrNothing(log)) invalid.push("log is no text");
  if (!isTextOrNothing(tell)) invalid.push("tell is no text");
  else if (String(tell ?? "").length > TELL_CHARACTERS_MAX) odd.push("tell is very long for a Reason String");
}

function checkPrincipal(principal: unknown, invalid: string[], odd: string[]): void {
  if (!isTable(principal)) {
    invalid.push("accept without a principal");
    return;
  }
  const { id, username, expiresAtMs, permissions, clientId, sessionExpiryIntervalMax, attributes, evidence } =
    principal;
  odd.push(...strangeKeys(principal, PRINCIPAL_KEYS, "the principal"));
  if (typeof id !== "string" || id === "") invalid.push("the principal has no id");
  else if (/\p{Cc}/u.test(id)) odd.push("the principal's id has control characters");
  if (!isTextOrNothing(username)) odd.push("the principal's username is no text");
  if (expiresAtMs !== undefined && !Number.isFinite(expiresAtMs)) invalid.push("expiresAtMs is no finite number");
  else if (Number(expiresAtMs ?? 0) > TIME_MAX)
    odd.push("expiresAtMs is beyond the end of time: are these milliseconds?");
  const interval = sessionExpiryIntervalMax;
  if (interval !== undefined && !(Number.isInteger(interval) && Number(interval) >= 0)) {
    odd.push("sessionExpiryIntervalMax is no whole number of seconds");
  }
  if (clientId !== undefined && !isClientIdRule(clientId)) odd.push("clientId is not { equals } or { prefix }");
  if (attributes !== undefined && !(isTable(attributes) && Object.values(attributes).every(isText))) {
    odd.push("attributes hold something that is no text");
  }
  if (!isTextOrNothing(evidence)) invalid.push("evidence is no text");
  else if (Buffer.byteLength(String(evidence ?? "")) > EVIDENCE_BYTES_MAX)
    invalid.push(`evidence has more than ${EVIDENCE_BYTES_MAX} bytes`);
  checkPermissions(permissions, invalid, odd);
}

function checkPermissions(permissions: unknown, invalid: string[], odd: string[]): void {
  if (permissions === "everything") return;
  if (!isTable(permissions) || !Array.isArray(permissions["allow"])) {
    invalid.push('permissions are neither "everything" nor { allow: [...] }');
    return;
  }
  const { allow, deny = [] } = permissions;
  odd.push(...strangeKeys(permissions, ["allow", "deny"], "the permissions"));
  if (!Array.isArray(deny)) {
    invalid.push("deny is no list");
    return;
  }
  for (const [at, rule] of [...(allow as unknown[]), ...(deny as unknown[])].entries())
    checkRule(rule, at, invalid, odd);
}

function checkRule(rule: unknown, at: number, invalid: string[], odd: string[]): void {
  const where = `rule ${at + 1}`;
  if (!isTable(rule)) {
    invalid.push(`${where} is no rule`);
    return;
  }
  const { on, filter, maxQos, retain, share } = rule;
  odd.push(...strangeKeys(rule, RULE_KEYS, where));
  if (on !== "pub" && on !== "sub" && on !== "both") invalid.push(`${where}: on is not pub, sub or both`);
  if (typeof filter !== "string" || filter === "") invalid.push(`${where} has no filter`);
  else if (filter.startsWith("$share/"))
    odd.push(`${where}: the filter begins with $share/; share names go into share`);
  if (maxQos !== undefined && maxQos !== 0 && maxQos !== 1 && maxQos !== 2) invalid.push(`${where}: maxQos is no QoS`);
  if (retain !== undefined && typeof retain !== "boolean") odd.push(`${where}: retain is not true or false`);
  const isShare = typeof share === "boolean" || (Array.isArray(share) && share.every(isText));
  if (share !== undefined && !isShare) odd.push(`${where}: share is neither true, false nor a list of names`);
}

function isClientIdRule(value: unknown): boolean {
  if (!isTable(value)) return false;
  const { equals, prefix, ...others } = value;
  return Object.keys(others).length === 0 && isTextOrNothing(equals) && isTextOrNothing(prefix);
}

function strangeKeys(table: Table, known: readonly string[], where: string): string[] {
  return Object.keys(table)
    .filter((key) => !known.includes(key))
    .map((key) => `${where} has ${key}, which means nothing`);
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isTextOrNothing(value: unknown): boolean {
  return value === undefined || isText(value);
}

function isBytesOrNothing(value: unknown): boolean {
  return value === undefined || value instanceof Uint8Array;
}
