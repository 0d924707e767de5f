/**
 * The plugin contract: what an authentication provider is given, what it may answer, and what it is promised. This file is
 * the manual; `plugins/template.ts` is the smallest provider.
 *
 * When each method is called
 *   create     once, at start or when the configuration is loaded again, after `config` was checked. Throwing refuses the
 *              start (or keeps the old chain) with this error's text.
 *   connect    once for a CONNECT without Authentication Method (any protocol level), in the order of the chain, until
 *              one provider does not skip.
 *   exchange   once for a CONNECT or AUTH 0x19 whose Authentication Method is listed in `methods`; the object it returns
 *              gets `step` for the first Authentication Data and for every AUTH 0x18 that follows.
 *   recheck    after a reload, unless `auth.onReload` says otherwise: once for every session, there or away, that the
 *              plugin of this name in the chain before had let in. Optional; `Provider.recheck` says what comes of it.
 *   close      once, when the broker stops or a new chain has replaced this one and its last call has ended.
 *
 * Limits: 5 s for each call of `connect`, `step` and `recheck`; 8 AUTH packets and 10 s for an exchange; 64 rechecks at
 * once. `signal` is aborted when the client is gone, the time is up, or another reload has begun.
 *
 * Promises the host keeps
 *   - Nothing is routed, no session is looked at, before a provider has accepted.
 *   - A throw, a rejected promise, an answer of the wrong form or one that comes too late counts as `refuse` with
 *     `unavailable`; it never counts as `skip`, and it never harms another client. After five in a row the provider is not
 *     asked for 5 s.
 *   - All providers skip: the client is refused.
 *   - Only the accepting provider's permissions count; a global ceiling of the configuration is denied on top.
 *   - A session belongs to provider and `id` together; nobody else can resume, take over or delete it.
 *   - PUBLISH, SUBSCRIBE and Will are checked against `permissions` without asking the provider again.
 *   - At `expiresAtMs` the Will is published and the client is told 0x87.
 *
 * Plugins run in the broker's process and are trusted: this contract is no sandbox.
 * Sources: MQTT 5.0 sections 3.1.2.11.9, 3.15 and 4.12.
 */
import type { QoS } from "../codec/packet.ts";

/** What a provider says of one step. */
export type Verdict =
  /** Let in. `data` travels as Authentication Data of CONNACK or AUTH 0x00, in an exchange only. */
  | { readonly do: "accept"; readonly principal: PrincipalInit; readonly data?: Uint8Array }
  /** Ask on with AUTH 0x18; only from `Exchange.step`. */
  | { readonly do: "continue"; readonly data?: Uint8Array }
  /** Keep out. `log` stays in the log; `tell` is sent as Reason String. Neither may hold a credential. */
  | { readonly do: "refuse"; readonly because: Refusal; readonly log?: string; readonly tell?: string }
  /** Not this provider's kind of credential: ask the next one. A bad credential of its kind is a refusal, never a skip. */
  | { readonly do: "skip" };

/**
 * Why a client is kept out, and what it is told:
 *
 *   word            | CONNACK in MQTT 5.0 | in 3.1.1 | use it for
 *   ----------------|---------------------|----------|------------------------------------------------------
 *   bad-credentials | 0x86                | 4        | wrong password, token that does not verify
 *   not-authorized  | 0x87                | 5        | known, but not allowed to log in
 *   client-id       | 0x85                | 2        | this client id is not for this principal
 *   banned          | 0x8A                | 5        | blocked, or too many failures
 *   unavailable     | 0x88                | 3        | the provider cannot tell now
 *   busy            | 0x89                | 3        | too much to do; try again later
 *   bad-method      | 0x8C                | 5        | an Authentication Method nobody owns
 *
 * A failed re-authentication is always DISCONNECT 0x87.
 */
export type Refusal =
  | "bad-credentials"
  | "not-authorized"
  | "client-id"
  | "banned"
  | "unavailable"
  | "busy"
  | "bad-method";

/** One permission or prohibition. */
export interface Rule {
  readonly on: "pub" | "sub" | "both";
  /**
   * A Topic Filter without `$share/`; it has to cover what is asked for, wildcards included. `${id}`, `${username}`,
   * `${clientId}` and `${claim.x}` (an attribute) are filled in when the client is let in; a value that is missing, empty,
   * begins with "$" or contains "/", "+", "#" or U+0000 makes an allow rule void, and a deny rule deny every filling.
   */
  readonly filter: string;
  /** Highest QoS allowed; a subscription is lowered to it, a PUBLISH above it is refused. */
  readonly maxQos?: QoS;
  /** `false`: a PUBLISH with RETAIN is refused. */
  readonly retain?: boolean;
  /** `false`: no shared subscription; a list: only these share names. */
  readonly share?: boolean | readonly string[];
}

/** Permissions as data: what no `allow` rule covers is refused; a `deny` rule always wins. */
export interface RuleSet {
  readonly allow: readonly Rule[];
  readonly deny?: readonly Rule[];
}

/** "everything" is more than a rule can say: it includes filters that begin with "$", which no leading wildcard covers. */
export type Permissions = RuleSet | "everything";

/** Who a client is and what it may do, as a provider states it. */
export interface PrincipalInit {
  /** Stable identity: owns the session, appears in logs. Never a secret. */
  readonly id: string;
  readonly username?: string;
  /** Milliseconds since 1970; the connection ends then. */
  readonly expiresAtMs?: number;
  readonly permissions: Permissions;
  /** Client ids this principal may use; others are refused with 0x85. */
  readonly clientId?: { readonly equals?: string; readonly prefix?: string };
  /** Longest Session Expiry Interval granted to this client, seconds. */
  readonly sessionExpiryIntervalMax?: number;
  /** Claims and the like: what `${claim.x}` in a rule stands for. */
  readonly attributes?: Readonly<Record<string, string>>;
  /**
   * What the provider wants to see again in `recheck`, in a form of its own; at most `EVIDENCE_BYTES_MAX` in UTF-8, or the
   * verdict has the wrong form. Kept in memory with the session, neither logged nor reported. Never a credential, nor
   * anything from which one could be guessed.
   */
  readonly evidence?: string;
  /** Name of the provider that accepted, filled in by the host: a session belongs to provider and id together. */
  readonly provider?: string;
  /** Number of the chain that accepted, filled in by the host; a later chain has a larger one. */
  readonly generation?: number;
}

export const EVIDENCE_BYTES_MAX = 16 * 1024;

/** A `PrincipalInit` that the host accepted. */
export type Principal = PrincipalInit;

/** A certificate that the client presented and the listener verified against its CA. */
export interface PeerCertificate {
  /** SHA-256 of the DER form, base64url without padding: the `x5t#S256` of RFC 8705. */
  readonly sha256: string;
  /** The subject as text, most specific part last, such as "C=DE, O=Example, CN=door". */
  readonly subject: string;
  readonly commonName: string | undefined;
  /** Subject alternative names such as "DNS:door.example" or "URI:urn:door". */
  readonly alternativeNames: readonly string[];
}

/** What a WebSocket client's upgrade request said of itself. Never logged. */
export interface UpgradeRequest {
  readonly origin: string | undefined;
  readonly authorization: string | undefined;
  readonly cookies: Readonly<Record<string, string>>;
  /** Query parameters of the URL: the place for a one-time ticket. */
  readonly query: Readonly<Record<string, string>>;
}

export interface Peer {
  readonly address: string;
  /** URL of the listener that accepted the client. */
  readonly listener: string;
  readonly certificate?: PeerCertificate;
  readonly upgrade?: UpgradeRequest;
}

/** What a provider learns of a client that wants in. */
export interface ConnectRequest {
  readonly protocolLevel: 3 | 4 | 5;
  readonly clientId: string;
  readonly cleanStart: boolean;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly authenticationMethod: string | undefined;
  readonly userProperties: readonly (readonly [string, string])[];
  readonly will: { readonly topicName: string; readonly qos: QoS; readonly retain: boolean } | undefined;
  readonly peer: Peer;
  /** Set in a re-authentication: who the client is now. The new principal must have the same id. */
  readonly current: Principal | undefined;
}

/** A session that an earlier chain has let in, to be judged by the rules of this one. */
export interface RecheckRequest {
  /** As the plugin of this name accepted it last, with its `evidence`. */
  readonly principal: Principal;
  readonly clientId: string;
}

/** One run of an enhanced authentication; holds what has to be remembered between its steps. */
export interface Exchange {
  /** `data`: Authentication Data of CONNECT or AUTH, `undefined` where the packet has none. */
  step(data: Uint8Array | undefined, signal: AbortSignalLike): Verdict | Promise<Verdict>;
  /** The client is gone or out of time. */
  abort?(): void;
}

export interface Provider {
  /** Authentication Methods this provider owns; unique in a chain. */
  readonly methods?: readonly string[];
  connect?(request: ConnectRequest, signal: AbortSignalLike): Verdict | Promise<Verdict>;
  exchange?(request: ConnectRequest): Exchange;
  /**
   * Judges a client anew that is in already, by what the provider knows now; there is no credential to look at any more.
   * Until the answer is there, the session has the rights it had.
   *
   *   answer                                   | client that is there          | client that is away
   *   -----------------------------------------|-------------------------------|--------------------------------------
   *   accept with the same `id`                | the new rights and expiry are in force at once, without the client
   *                                            | noticing; what they do not cover is taken back: subscriptions, waiting
   *                                            | messages, the Will. An expiry that has passed ends the connection.
   *   refuse, skip; accept with another `id`,  | disconnected with 0x87        | delivers and publishes nothing until
   *   or a `clientId` rule that does not fit   | without its Will, rights gone | its client has been let in again
   *   refuse with `unavailable` or `busy`,     | disconnected with 0x87: it    | stays as it is, its Will included,
   *   throw, silence, wrong form; no `recheck` | has to come in anew           | and is judged when its client returns
   *
   * `evidence` that an accept leaves out stays as it was.
   */
  recheck?(request: RecheckRequest, signal: AbortSignalLike): Verdict | Promise<Verdict>;
  /**
   * Everything that is looked at for this credential, one by one, for `rqtt auth check`; never called for a client. Goes on
   * after a check that fails, as far as the next one makes sense. Optional.
   */
  explain?(request: ConnectRequest, data: Uint8Array | undefined): Promise<readonly Check[]>;
  close?(): void | Promise<void>;
}

/** One thing that was looked at. `expected` and `found` are for a person and hold no credential. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly found: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** What a plugin module exports as its default. */
export interface AuthPlugin<Config = unknown> {
  readonly apiVersion: 1;
  readonly name: string;
  /** Checks the settings beside `use` in the configuration, unknown keys included; any Standard Schema object will do. */
  readonly config?: StandardSchema<Config>;
  create(config: Config, host: PluginHostServices): Provider | Promise<Provider>;
}

/** What the host lends a plugin; the only ambient power a plugin is meant to use. */
export interface PluginHostServices {
  /** Values are cut and made one line; never pass a credential. */
  log(level: "debug" | "info" | "warn", event: string, fields?: Readonly<Record<string, string | number>>): void;
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** HTTPS, or HTTP to loopback. Redirects are not followed. Rejects on a timeout or a body above the bound. */
  fetch(url: string, init?: FetchInit): Promise<FetchAnswer>;
  /** At most `running` jobs at once and `waiting` behind them; one more rejects with a BusyError, which is "busy". */
  limiter(running: number, waiting: number): <T>(job: () => Promise<T>) => Promise<T>;
  /** The value of an environment variable, or the text of a file without its last line break; rejects where there is none. */
  secret(reference: SecretReference): Promise<string>;
  /** The bytes of a file, looked for beside the configuration file where the path is relative. */
  readFile(path: string): Promise<Uint8Array>;
  /** Permission bits of a file, such as 0o600; undefined where files have none. Rejects where there is no file. */
  fileMode(path: string): Promise<number | undefined>;
  /**
   * Calls `changed` some time after a file was changed or replaced, and a last time when the chain is replaced, before `close`:
   * what was changed by then is not lost. Answers how to stop.
   */
  watchFile(path: string, changed: () => void | Promise<void>): () => void;
  /**
   * Takes the rights of all principals of this provider that `where` picks: connections end with 0x87, their Wills are not
   * published, and sessions that are away deliver and publish nothing until their client has been let in again. Answers how
   * many connections ended.
   */
  drop(where: (principal: Principal, clientId: string) => boolean, why: string): number;
}

/** Where a secret is; a configuration never holds one itself. */
export type SecretReference = { readonly env: string } | { readonly file: string };

export interface FetchInit {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignalLike;
  /** Default 5,000. */
  readonly timeoutMs?: number;
  /** Default 256 KiB. */
  readonly bytesMax?: number;
}

export interface FetchAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** The part of AbortSignal that the contract needs; the core names no platform type. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** The part of a Standard Schema (version 1) that the host calls. */
export interface StandardSchema<Output> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    validate(value: unknown): SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}
