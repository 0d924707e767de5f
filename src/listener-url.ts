/**
 * Listener URLs: text in, one `Listener` out, and back.
 *
 * Owns: the schemes, the default port of each, the default path of WebSocket listeners, and the question whether
 * other machines can reach a listener. Refuses whatever a URL may hold that a listener has no use for
 * (user, query, fragment, a path on TCP), so that nothing written down is silently ignored.
 */

export type Transport = "tcp" | "ws";

export interface Listener {
  /** The URL in full: scheme, host, port and, for WebSocket, path. */
  readonly url: string;
  readonly transport: Transport;
  /** Name or address to bind; IPv6 without brackets. */
  readonly hostname: string;
  /** 0 takes any free port. */
  readonly port: number;
  /** Path of the WebSocket endpoint; empty for TCP. */
  readonly path: string;
}

export type ParsedListener =
  | { readonly ok: true; readonly listener: Listener }
  | { readonly ok: false; readonly expected: string };

const SCHEMES: Readonly<
  Record<string, { readonly transport: Transport; readonly port: number; readonly path: string }>
> = {
  mqtt: { transport: "tcp", port: 1883, path: "" },
  ws: { transport: "ws", port: 8083, path: "/mqtt" },
};

const SCHEMES_TO_COME = ["mqtts", "wss", "unix"];
const EXAMPLE = "a URL such as mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083/mqtt";

/** Reads one listener URL. */
export function parseListenerUrl(text: string): ParsedListener {
  const [, scheme = "", authority = "", rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/isu.exec(text) ?? [];
  const name = scheme.toLowerCase();
  if (name === "") return refuse(EXAMPLE);
  if (SCHEMES_TO_COME.includes(name)) return refuse(`mqtt:// or ws://, as ${name}:// is not yet possible`);
  const defaults = Object.hasOwn(SCHEMES, name) ? SCHEMES[name] : undefined;
  if (defaults === undefined) return refuse("a URL that begins with mqtt:// or ws://");
  if (authority.includes("@")) return refuse("a URL without user name and password");
  if (/[?#]/u.test(rest)) return refuse("a URL without ? and #");
  // The URL parser drops line breaks and takes a backslash for a slash: what it would mend in silence is refused.
  if (/[\s\p{Cc}\\]/u.test(text)) return refuse("a URL without spaces, control characters and backslashes");

  const [, host, digits] = /^(\[[^\]]*\]|[^:]*)(?::([^:]*))?$/u.exec(authority) ?? [];
  if (host === "") return refuse("a host: 127.0.0.1 or [::1] for this machine alone, 0.0.0.0 or [::] for the network");
  const hostname = canonicalHost(host);
  if (hostname === undefined) return refuse("a host name, an IPv4 address or an IPv6 address in brackets");
  const port = digits === undefined ? defaults.port : portNumber(digits);
  if (port === undefined) return refuse("a port from 0 to 65535");
  if (defaults.transport === "tcp" && rest !== "" && rest !== "/") return refuse("no path after a mqtt:// address");
  const path = defaults.transport === "tcp" ? "" : rest === "" ? defaults.path : canonicalPath(rest);
  return { ok: true, listener: withPort({ url: "", transport: defaults.transport, hostname, port, path }, port) };
}

/** The listener as it is once it has a port: port 0 in a configuration becomes the one that was bound. */
export function withPort(listener: Listener, port: number): Listener {
  const scheme = listener.transport === "tcp" ? "mqtt" : "ws";
  const host = listener.hostname.includes(":") ? `[${listener.hostname}]` : listener.hostname;
  return { ...listener, port, url: `${scheme}://${host}:${port}${listener.path}` };
}

/** Whether only this machine can reach the listener. A name other than localhost may resolve to anything: no. */
export function isLoopback(listener: Listener): boolean {
  const { hostname } = listener;
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d+){3}$/u.test(hostname);
}

function refuse(expected: string): ParsedListener {
  return { ok: false, expected };
}

/** Every spelling of one address becomes the same text (127.1 and 0x7f000001 are 127.0.0.1), so that a rule about addresses cannot be spelt around. */
function canonicalHost(host: string | undefined): string | undefined {
  if (host === undefined) return undefined;
  try {
    return new URL(`http://${host}/`).hostname.replace(/^\[|\]$/gu, "");
  } catch {
    return undefined;
  }
}

/** As a client's request line will name it: percent-encoded, without dot segments. */
function canonicalPath(path: string): string {
  return new URL(`http://host${path}`).pathname;
}

function portNumber(digits: string): number | undefined {
  const port = /^\d{1,5}$/u.test(digits) ? Number(digits) : Number.NaN;
  return port <= 65535 ? port : undefined;
}
