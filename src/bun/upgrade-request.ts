/**
 * What a WebSocket's upgrade request says of the client: Origin, Authorization, cookies, query parameters.
 *
 * Owns the bounds on what is kept for providers, and the check of Origin. Values stay as they were sent; a cookie or
 * parameter that is there twice is ambiguous and counts as not sent. Nothing of this is ever logged.
 */
import type { UpgradeRequest } from "../core/gate/provider.ts";

/** Characters of Authorization, of all cookies, of the query; the runtime takes no more than this for all headers. */
const TEXT_CHARACTERS_MAX = 16 * 1024;
/** Cookies, and query parameters. */
const PAIRS_MAX = 64;

const NOTHING: Readonly<Record<string, string>> = Object.freeze(Object.create(null));

/** Whether the page behind a request may open a WebSocket: with a list, only the origins on it may, and it has to name one. */
export function isOriginAllowed(request: Request, origins: readonly string[] | undefined): boolean {
  if (origins === undefined) return true;
  const origin = request.headers.get("origin");
  return origin !== null && origins.includes(origin);
}

/** The request as providers see it, or `undefined` if it holds more than is kept. */
export function readUpgradeRequest(request: Request): UpgradeRequest | undefined {
  const { headers } = request;
  const authorization = headers.get("authorization") ?? undefined;
  const cookieText = headers.get("cookie") ?? "";
  const { search, searchParams } = new URL(request.url);
  const longest = Math.max(authorization?.length ?? 0, cookieText.length, search.length);
  if (longest > TEXT_CHARACTERS_MAX) return undefined;
  const cookies = pairs(cookieText === "" ? [] : cookieText.split(";").map(nameAndValue));
  const query = pairs(search === "" ? [] : [...searchParams]);
  if (cookies === undefined || query === undefined) return undefined;
  return { origin: headers.get("origin") ?? undefined, authorization, cookies, query };
}

/** `name=value`, without the blanks around it; undecoded, as every application encodes cookies in its own way. */
function nameAndValue(text: string): [string, string] {
  const equals = text.indexOf("=");
  return equals < 0 ? ["", text] : [text.slice(0, equals).trim(), text.slice(equals + 1).trim()];
}

function pairs(entries: readonly (readonly [string, string])[]): Readonly<Record<string, string>> | undefined {
  if (entries.length === 0) return NOTHING;
  if (entries.length > PAIRS_MAX) return undefined;
  // No prototype: a name such as "constructor" is a name like any other.
  const record: Record<string, string> = Object.create(null);
  const twice = new Set<string>();
  for (const [name, value] of entries) {
    if (name === "") continue;
    if (Object.hasOwn(record, name)) twice.add(name);
    record[name] = value;
  }
  for (const name of twice) delete record[name];
  return record;
}
