/**
 * Asks the issuer about opaque tokens (RFC 7662), and remembers the answers for a short while.
 *
 * Invariant: "not active" and "cannot tell" both keep the client out, by different words; an answer is never used for longer
 * than the token lives or the settings say. Tokens are remembered by their SHA-256 only, in bounded tables.
 */
import * as oauth from "oauth4webapi";
import type { AbortSignalLike, PluginHostServices } from "../../src/core/gate/provider.ts";
import type { Claims } from "./claim-path.ts";
import { throughHost } from "./discovery.ts";
import { messageOf } from "./remote-keys.ts";
import { type Schedule, untilAborted } from "./schedule.ts";
import { badCredentials, TokenRefused } from "./token-refused.ts";

const REMEMBERED_MAX = 10_000;
const INACTIVE_MS = 10_000;
const BACK_OFF_FIRST_MS = 500;
const BACK_OFF_LAST_MS = 30_000;
const RUNNING_MAX = 16;
const WAITING_MAX = 256;

export interface IntrospectionOptions {
  readonly name: string;
  readonly server: () => Promise<oauth.AuthorizationServer>;
  /** The metadata's endpoint does not answer. */
  readonly failed: () => void;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly authentication: "basic" | "post";
  readonly cacheMs: number;
  readonly host: Pick<PluginHostServices, "fetch" | "limiter" | "log">;
  readonly schedule: Schedule;
}

interface Remembered {
  readonly claims: Claims | undefined;
  readonly untilMs: number;
}

export class Introspection {
  readonly #options: IntrospectionOptions;
  readonly #limit: ReturnType<PluginHostServices["limiter"]>;
  readonly #closing = new AbortController();
  readonly #active = new Map<string, Remembered>();
  readonly #inactive = new Map<string, Remembered>();
  /** Questions that are under way, so that a client that comes twice is asked about once. */
  readonly #asking = new Map<string, Promise<Claims | undefined>>();
  #failures = 0;
  #downUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: IntrospectionOptions) {
    this.#options = options;
    this.#limit = options.host.limiter(RUNNING_MAX, WAITING_MAX);
  }

  /** What the issuer says of an active token; throws a TokenRefused for any other. */
  async claims(token: string, signal: AbortSignalLike): Promise<Claims> {
    const digest = await sha256(token);
    const known = this.#recall(digest);
    const claims = known === undefined ? await untilAborted(this.#ask(digest, token), signal) : known.claims;
    if (claims === undefined) throw badCredentials("introspection", "the issuer says that the token is not active");
    return claims;
  }

  close(): void {
    this.#closing.abort();
    this.#active.clear();
    this.#inactive.clear();
  }

  #recall(digest: string): Remembered | undefined {
    const nowMs = this.#options.schedule.nowMs();
    for (const table of [this.#active, this.#inactive]) {
      const known = table.get(digest);
      if (known === undefined) continue;
      if (nowMs < known.untilMs) return known;
      table.delete(digest);
    }
    return undefined;
  }

  #ask(digest: string, token: string): Promise<Claims | undefined> {
    const running = this.#asking.get(digest);
    if (running !== undefined) return running;
    const asked = this.#limit(() => this.#request(digest, token)).finally(() => this.#asking.delete(digest));
    this.#asking.set(digest, asked);
    return asked;
  }

  async #request(digest: string, token: string): Promise<Claims | undefined> {
    const { schedule, host, name } = this.#options;
    if (schedule.nowMs() < this.#downUntilMs) throw unreachable();
    let claims: Claims | undefined;
    try {
      claims = await this.#send(token);
    } catch (error) {
      this.#options.failed();
      const waitMs = Math.min(BACK_OFF_FIRST_MS * 2 ** this.#failures, BACK_OFF_LAST_MS);
      this.#downUntilMs = schedule.nowMs() + waitMs;
      if (this.#failures++ === 0 && !this.#closing.signal.aborted) {
        host.log("warn", "introspection-failed", { issuer: name, error: reasonOf(error) });
      }
      throw unreachable();
    }
    this.#failures = 0;
    this.#downUntilMs = Number.NEGATIVE_INFINITY;
    this.#remember(digest, claims);
    return claims;
  }

  async #send(token: string): Promise<Claims | undefined> {
    const { server, clientId, clientSecret, authentication, host } = this.#options;
    const authenticate = authentication === "basic" ? oauth.ClientSecretBasic : oauth.ClientSecretPost;
    const client: oauth.Client = { client_id: clientId };
    const metadata = await server();
    const response = await oauth.introspectionRequest(metadata, client, authenticate(clientSecret), token, {
      ...throughHost(host.fetch, this.#closing.signal),
      additionalParameters: { token_type_hint: "access_token" },
      headers: { accept: "application/json" },
    });
    // The issuer works, and does not want this token. Otherwise one such token would keep everybody out for a while.
    if (response.status === 400) return undefined;
    const answer = await oauth.processIntrospectionResponse(metadata, client, response);
    return answer.active ? (answer as Claims) : undefined;
  }

  #remember(digest: string, claims: Claims | undefined): void {
    const { schedule, cacheMs } = this.#options;
    const nowMs = schedule.nowMs();
    const table = claims === undefined ? this.#inactive : this.#active;
    let untilMs = nowMs + (claims === undefined ? Math.min(INACTIVE_MS, cacheMs) : cacheMs);
    const exp = claims?.["exp"];
    if (typeof exp === "number") untilMs = Math.min(untilMs, exp * 1000);
    if (untilMs <= nowMs) return;
    // Maps keep the order of insertion: the oldest answer makes room.
    if (table.size >= REMEMBERED_MAX) table.delete(table.keys().next().value!);
    table.set(digest, { claims, untilMs });
  }
}

async function sha256(token: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return new Uint8Array(digest).toBase64();
}

function unreachable(): TokenRefused {
  return new TokenRefused(
    "unavailable",
    "introspection",
    "the issuer does not answer; see introspection-failed in the log",
  );
}

/** The library's errors carry the response, and the host's own carry no more than its name: neither quotes the token. */
function reasonOf(error: unknown): string {
  const { status } = error as { status?: unknown };
  if (status === 401) return '401: the issuer does not know the client id or secret; try authentication = "post"';
  return typeof status === "number" ? `the issuer answered ${status}` : messageOf(error);
}
