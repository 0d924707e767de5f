/**
 * An issuer's keys, fetched and kept through outages: last good set, one fetch at a time, back-off, a bound on staleness.
 *
 * Invariant: tokens with unknown key ids cause at most one fetch per cooldown and none while the issuer is down; nothing is
 * fetched, and no timer runs, after `close`. Keys older than the stale limit verify nothing. RFC 7517 section 5.
 */
import { errors, type JWTHeaderParameters } from "jose";
import type { AbortSignalLike, PluginHostServices } from "../../src/core/gate/provider.ts";
import { type KeySet, keySetOf } from "./key-set.ts";
import { type Schedule, untilAborted } from "./schedule.ts";
import { TokenRefused } from "./token-refused.ts";
import type { KeySource } from "./verify-token.ts";

const REFRESH_MS = 600_000;
const STALE_MS = 86_400_000;
const UNKNOWN_KEY_COOLDOWN_MS = 30_000;
const BACK_OFF_FIRST_MS = 1_000;
const BACK_OFF_LAST_MS = 60_000;
const FETCH_TIMEOUT_MS = 4_000;
const BYTES_MAX = 256 * 1024;

export interface RemoteKeysOptions {
  /** Name of the issuer in the settings, for the log. */
  readonly name: string;
  /** Where the key set is; asked before every fetch. */
  readonly locate: () => Promise<string>;
  /** What `locate` answered, or it itself, did not work. */
  readonly failed?: () => void;
  readonly host: Pick<PluginHostServices, "fetch" | "log">;
  readonly schedule: Schedule;
}

export class RemoteKeys implements KeySource {
  readonly #options: RemoteKeysOptions;
  readonly #closing = new AbortController();
  #set: KeySet | undefined;
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> | undefined;
  #failures = 0;
  /** No fetch for an unknown key before this. */
  #patientUntilMs = Number.NEGATIVE_INFINITY;
  #callOff: () => void = () => {};

  /** Begins to load at once, without making anybody wait. */
  constructor(options: RemoteKeysOptions) {
    this.#options = options;
    void this.#load();
  }

  async find(header: JWTHeaderParameters, signal: AbortSignalLike): Promise<CryptoKey | Uint8Array> {
    const isFirst = this.#fresh() === undefined && this.#failures === 0;
    if (isFirst && this.#loading !== undefined) await untilAborted(this.#loading, signal);
    try {
      return await this.#require().find(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (this.#mayAsk()) await untilAborted(this.#load(), signal);
      if (this.#failures > 0)
        throw new TokenRefused("unavailable", "kid", "an unknown key, and the issuer is unreachable");
    }
    return this.#require().find(header);
  }

  close(): void {
    this.#closing.abort();
    this.#callOff();
  }

  /** Whether a token with an unknown key id is a reason to fetch, or to wait for the fetch that runs. */
  #mayAsk(): boolean {
    if (this.#failures > 0) return false;
    if (this.#loading !== undefined) return true;
    const nowMs = this.#options.schedule.nowMs();
    if (nowMs < this.#patientUntilMs) return false;
    this.#patientUntilMs = nowMs + UNKNOWN_KEY_COOLDOWN_MS;
    return true;
  }

  #fresh(): KeySet | undefined {
    return this.#options.schedule.nowMs() - this.#loadedAtMs < STALE_MS ? this.#set : undefined;
  }

  #require(): KeySet {
    const set = this.#fresh();
    if (set !== undefined) return set;
    throw new TokenRefused(
      "unavailable",
      "keys",
      "the issuer's keys could not be loaded; see issuer-unreachable in the log",
    );
  }

  /** Never rejects. */
  #load(): Promise<void> {
    this.#loading ??= this.#attempt().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #attempt(): Promise<void> {
    const { name, host, schedule } = this.#options;
    this.#callOff();
    let nextMs = REFRESH_MS;
    try {
      const set = await this.#fetch();
      if (this.#closing.signal.aborted) return;
      if (this.#set === undefined || this.#failures > 0)
        host.log("info", "issuer-keys-loaded", { issuer: name, keys: set.count });
      this.#set = set;
      this.#loadedAtMs = schedule.nowMs();
      this.#failures = 0;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#options.failed?.();
      nextMs = Math.min(BACK_OFF_FIRST_MS * 2 ** this.#failures, BACK_OFF_LAST_MS);
      // Once per outage: the next line is the one that says it is over.
      if (this.#failures++ === 0) host.log("warn", "issuer-unreachable", { issuer: name, error: messageOf(error) });
    }
    this.#callOff = schedule.later(nextMs, () => void this.#load());
  }

  async #fetch(): Promise<KeySet> {
    const { locate, host } = this.#options;
    const { signal } = this.#closing;
    const url = await locate();
    const { status, text } = await host.fetch(url, {
      headers: { accept: "application/jwk-set+json, application/json" },
      timeoutMs: FETCH_TIMEOUT_MS,
      bytesMax: BYTES_MAX,
      signal,
    });
    if (status !== 200)
      throw new Error(
        `${withoutQuery(url)} answered ${status}, expected 200${status >= 300 && status < 400 ? "; redirects are not followed" : ""}`,
      );
    return keySetOf(text, false);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "not an Error";
}

function withoutQuery(url: string): string {
  return url.split(/[?#]/u, 1)[0]!;
}

/** The URL, if something may be fetched from it that rights depend on. */
export function checkUrl(url: string): string {
  const parsed = URL.parse(url);
  // Kept out of every message: what stands before an "@" is a credential.
  if (parsed !== null && (parsed.username !== "" || parsed.password !== "")) {
    throw new Error("expected a URL without user name and password");
  }
  const isLoopback = parsed !== null && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/u.test(parsed.hostname);
  if (parsed?.protocol === "https:" || (parsed?.protocol === "http:" && isLoopback)) return url;
  throw new Error(`expected an https URL, or http to loopback, found ${JSON.stringify(url.slice(0, 80))}`);
}
