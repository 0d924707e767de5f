/**
 * Listeners as they are written down: a URL and what goes with it in, one `Listener` out, and back.
 *
 * Owns: the schemes, the default port of each, the default path of WebSocket listeners, which keys go with which scheme,
 * and the question whether other machines can reach a listener. Refuses whatever a listener has no use for (user, query
 * or fragment in the URL, a path on TCP, a certificate without TLS), so that nothing written down is silently ignored.
 */
import type { Durability } from "./core/store/store-engine.ts";
import { quote } from "./printable.ts";

export type Transport = "tcp" | "ws";

/** What a listener may be given beside its URL. */
export interface ListenerSettings {
  /** The certificate shown to clients, PEM, followed by those between it and the root. `mqtts` and `wss` need it. */
  readonly certificate?: string;
  /** Its private key, PEM, without passphrase. */
  readonly key?: string;
  /** The CA, PEM, that client certificates are verified against; clients are asked for one when it is there. */
  readonly clientCa?: string;
  /** Whether a client without a certificate is let in. One with a bad certificate never is. Default: required. */
  readonly clientCertificate?: ClientCertificate;
  /** Pages that may open a WebSocket, such as "https://app.example"; others, and clients that name none, get 403. */
  readonly origins?: readonly string[];
  /** What acknowledgements to its clients promise. Default: the broker's `durability`. */
  readonly durability?: Durability;
}

/** The keys of a listener's table. */
export const LISTENER_KEYS: readonly ("url" | keyof ListenerSettings)[] = [
  "url",
  "certificate",
  "key",
  "clientCa",
  "clientCertificate",
  "origins",
  "durability",
];

export type ClientCertificate = "required" | "optional";

const KNOWN_DURABILITIES: readonly Durability[] = ["fsync", "written", "memory"];
/** What a `durability` has to be, in words. */
export const DURABILITIES = '"fsync", "written" or "memory"';

export interface Listener extends ListenerSettings {
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
  /** What is wrong with the URL, or with the setting that `key` names. */
  | { readonly ok: false; readonly expected: string; readonly key?: keyof ListenerSettings; readonly found?: string };

interface Scheme {
  readonly transport: Transport;
  readonly isSecure: boolean;
  readonly port: number;
  readonly path: string;
}

const SCHEMES: Readonly<Record<string, Scheme>> = {
  mqtt: { transport: "tcp", isSecure: false, port: 1883, path: "" },
  mqtts: { transport: "tcp", isSecure: true, port: 8883, path: "" },
  ws: { transport: "ws", isSecure: false, port: 8083, path: "/mqtt" },
  wss: { transport: "ws", isSecure: true, port: 8084, path: "/mqtt" },
};

const SCHEMES_TO_COME = ["unix"];
const KNOWN = "mqtt://, mqtts://, ws:// or wss://";
const EXAMPLE = "a URL such as mqtt://127.0.0.1:1883 or ws://127.0.0.1:8083/mqtt";

/** Reads one listener's URL, and what is said beside it. */
export function parseListenerUrl(text: string, settings: ListenerSettings = {}): ParsedListener {
  const [, scheme = "", authority = "", rest = ""] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/isu.exec(text) ?? [];
  const name = scheme.toLowerCase();
  if (name === "") return refuse(EXAMPLE);
  if (SCHEMES_TO_COME.includes(name)) return refuse(`${KNOWN}, as ${name}:// is not yet possible`);
  const defaults = Object.hasOwn(SCHEMES, name) ? SCHEMES[name] : undefined;
  if (defaults === undefined) return refuse(`a URL that begins with ${KNOWN}`);
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
  const { transport } = defaults;
  if (transport === "tcp" && rest !== "" && rest !== "/") return refuse(`no path after a ${name}:// address`);
  const path = transport === "tcp" ? "" : rest === "" ? defaults.path : canonicalPath(rest);

  const refusal = refuseSettings(name, defaults, settings);
  if (refusal !== undefined) return refusal;
  return { ok: true, listener: withPort({ ...settled(settings), url: "", transport, hostname, port, path }, port) };
}

/** What was said, and nothing that is no setting, with the default that goes with it. */
function settled(settings: ListenerSettings): ListenerSettings {
  const { certificate, key, clientCa, clientCertificate, origins, durability } = settings;
  return {
    ...(certificate === undefined ? {} : { certificate, key }),
    ...(clientCa === undefined ? {} : { clientCa, clientCertificate: clientCertificate ?? "required" }),
    ...(origins === undefined ? {} : { origins }),
    ...(durability === undefined ? {} : { durability }),
  };
}

/** What is wrong with the settings beside a URL of this scheme. */
function refuseSettings(name: string, scheme: Scheme, settings: ListenerSettings): ParsedListener | undefined {
  if (!scheme.isSecure) {
    for (const key of ["certificate", "key", "clientCa", "clientCertificate"] as const) {
      if (settings[key] !== undefined) return refuse(`none, as ${name}:// has no TLS and ${name}s:// has`, key, "one");
    }
  } else {
    for (const key of ["certificate", "key"] as const) {
      if (settings[key] !== undefined) continue;
      return refuse(`a PEM file in this listener's [[listeners]] table, as ${name}:// needs one`, key, "nothing");
    }
  }
  const { clientCertificate, origins, durability } = settings;
  if (durability !== undefined && !KNOWN_DURABILITIES.includes(durability)) {
    return refuse(DURABILITIES, "durability", quote(String(durability), 80));
  }
  if (clientCertificate !== undefined && clientCertificate !== "required" && clientCertificate !== "optional") {
    return refuse('"required" or "optional"', "clientCertificate", quote(String(clientCertificate), 80));
  }
  if (clientCertificate !== undefined && settings.clientCa === undefined) {
    return refuse("a PEM file with the CA that clientCertificate goes by", "clientCa", "nothing");
  }
  if (origins === undefined) return undefined;
  if (scheme.transport === "tcp") return refuse(`none, as ${name}:// is not for web pages`, "origins", "some");
  if (origins.length === 0) return refuse("at least one origin", "origins", "none");
  const wrong = origins.find((origin) => !isOrigin(origin));
  if (wrong === undefined) return undefined;
  return refuse(
    'origins such as "https://app.example", letter by letter as browsers send them',
    "origins",
    quote(wrong, 80),
  );
}

/** Whether a browser may send this text as Origin; "null", which any page can make it send, is none. */
function isOrigin(text: string): boolean {
  try {
    if (/^https?:/iu.test(text)) return new URL(text).origin === text;
  } catch {
    return false;
  }
  // Applications in a web view have schemes of their own.
  return /^[a-z][a-z0-9+.-]*:\/\/[a-z0-9.-]+(?::\d+)?$/u.test(text);
}

/** Whether the listener speaks TLS. */
function isSecure(listener: Listener): boolean {
  return listener.certificate !== undefined;
}

/** The listener as it is once it has a port: port 0 in a configuration becomes the one that was bound. */
export function withPort(listener: Listener, port: number): Listener {
  const scheme = `${listener.transport === "tcp" ? "mqtt" : "ws"}${isSecure(listener) ? "s" : ""}`;
  const host = listener.hostname.includes(":") ? `[${listener.hostname}]` : listener.hostname;
  return { ...listener, port, url: `${scheme}://${host}:${port}${listener.path}` };
}

/** Whether only this machine can reach the listener. A name other than localhost may resolve to anything: no. */
export function isLoopback(listener: Listener): boolean {
  const { hostname } = listener;
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d+){3}$/u.test(hostname);
}

function refuse(expected: string, key?: keyof ListenerSettings, found?: string): ParsedListener {
  return { ok: false, expected, ...(key === undefined ? {} : { key }), ...(found === undefined ? {} : { found }) };
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

/** A URL for a message: what stands before an "@" or behind a "?" may be a credential, even where it has no business. */
export function withoutSecrets(url: string): string {
  return url.replace(/\/\/[^/]*@/u, "//...@").replace(/[?#].*$/su, "?...");
}
