/**
 * What the external service is asked: the fields that the settings name, as JSON in a POST, or in the URL of a GET.
 *
 * Invariant: a secret travels in the body or in a header, never in a URL, which services and proxies write to their logs.
 */
import type { ConnectRequest } from "../../src/core/gate/provider.ts";

/** Fields that prove something. A client that has none of the ones asked for is somebody else's. */
const CREDENTIALS = ["username", "password", "certificate", "authorization"] as const;
const DESCRIPTIONS = [
  "clientId",
  "protocolLevel",
  "cleanStart",
  "address",
  "listener",
  "origin",
  "will",
  "userProperties",
] as const;
export const FIELDS = [...CREDENTIALS, ...DESCRIPTIONS] as const;
export type Field = (typeof FIELDS)[number];

/** Fields that fit a URL; the password of a GET goes into the header Authorization, in the Basic scheme. */
const URL_FIELDS: readonly Field[] = ["username", "clientId", "protocolLevel", "cleanStart", "address", "listener"];
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export interface Question {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** The fields that cannot be sent this way. */
export function unsendable(method: "GET" | "POST", fields: readonly Field[]): Field[] {
  return method === "POST" ? [] : fields.filter((field) => field !== "password" && !URL_FIELDS.includes(field));
}

/**
 * The question about a client; "skip" where it shows no credential that is asked for, "refuse" where it shows a user name
 * without a password that is: an empty password proves nothing, though some directories let it pass.
 */
export function questionAbout(
  request: ConnectRequest,
  url: string,
  method: "GET" | "POST",
  fields: readonly Field[],
): Question | "skip" | "refuse" {
  const values = new Map<Field, unknown>();
  try {
    for (const field of fields) {
      const value = fieldOf(field, request);
      if (value !== undefined) values.set(field, value);
    }
  } catch {
    return "refuse"; // a password that is no text: two different ones must not become the same
  }
  const asked = CREDENTIALS.filter((field) => fields.includes(field));
  const shown = asked.filter((field) => values.has(field));
  if (asked.length > 0 && shown.length === 0) return "skip";
  if (fields.includes("password") && shown.every((field) => field === "username")) return "refuse";
  return method === "POST" ? post(url, values) : get(url, values);
}

function post(url: string, values: ReadonlyMap<Field, unknown>): Question {
  const headers = { "content-type": "application/json" };
  return { url, headers, body: JSON.stringify(Object.fromEntries(values)) };
}

function get(url: string, values: ReadonlyMap<Field, unknown>): Question | "refuse" {
  const whole = new URL(url);
  const password = values.get("password");
  const username = String(values.get("username") ?? "");
  // The Basic scheme ends the user name at its first colon.
  if (password !== undefined && username.includes(":")) return "refuse";
  for (const [field, value] of values) {
    if (field === "password" || (field === "username" && password !== undefined)) continue;
    whole.searchParams.set(field, String(value));
  }
  const basic = new TextEncoder().encode(`${username}:${password}`).toBase64();
  const headers: Question["headers"] = password === undefined ? {} : { authorization: `Basic ${basic}` };
  return { url: whole.href, headers, body: undefined };
}

function fieldOf(field: Field, request: ConnectRequest): unknown {
  const { peer } = request;
  switch (field) {
    case "username":
      return request.username;
    case "password":
      return request.password === undefined || request.password.length === 0
        ? undefined
        : utf8.decode(request.password);
    case "certificate":
      return peer.certificate;
    case "authorization":
      return peer.upgrade?.authorization;
    case "origin":
      return peer.upgrade?.origin;
    case "address":
      return peer.address;
    case "listener":
      return peer.listener;
    default:
      return request[field];
  }
}
