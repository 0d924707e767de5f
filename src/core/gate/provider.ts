/**
 * The plugin contract: what an authentication provider is given, what it may answer, and what it is promised.
 *
 * When each method is called
 *   connect    once for a CONNECT without Authentication Method (any protocol level), in the order of the chain, until
 *              one provider does not skip.
 *   exchange   once for a CONNECT or AUTH 0x19 whose Authentication Method is listed in `methods`; the object it
 *              returns then gets `step` for the first Authentication Data and for every AUTH 0x18 that follows.
 *   close      once, when the broker stops or the chain is replaced.
 *
 * Promises the host keeps
 *   - Nothing is routed, no session is touched, before a provider has accepted.
 *   - A throw, a rejected promise, an answer of the wrong form or one after the deadline counts as
 *     `refuse` with `unavailable`; it never counts as `skip`, and it never harms another client.
 *   - All providers skip: the client is refused.
 *   - `signal` is aborted when the client is gone or the deadline has passed.
 *
 * Sources: MQTT 5.0 sections 3.1.2.11.9, 3.15 and 4.12.
 */
import type { QoS } from "../codec/packet.ts";

/** What a provider says of one step. */
export type Verdict =
  /** Let in. `data` travels as Authentication Data of CONNACK or AUTH 0x00, in an exchange only. */
  | { readonly do: "accept"; readonly principal: PrincipalInit; readonly data?: Uint8Array }
  /** Ask on with AUTH 0x18; only from `Exchange.step`. */
  | { readonly do: "continue"; readonly data?: Uint8Array }
  /** Keep out. `log` stays in the log; `tell` is sent as Reason String. */
  | { readonly do: "refuse"; readonly because: Refusal; readonly log?: string; readonly tell?: string }
  /** Not this provider's kind of credential: ask the next one. A bad credential of its kind is a refusal, never a skip. */
  | { readonly do: "skip" };

/** Why a client is kept out. Each has one reason code in MQTT 5.0 and one return code in 3.1.1 (see gate.ts). */
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
  /** A Topic Filter without `$share/`; it has to cover what is asked for, wildcards included. */
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
  /** Longest Session Expiry Interval granted to this client, seconds. */
  readonly sessionExpiryIntervalMax?: number;
  readonly attributes?: Readonly<Record<string, string>>;
  /** Name of the provider that accepted, filled in by the host: a session belongs to provider and id together. */
  readonly provider?: string;
}

/** A `PrincipalInit` that the host accepted. */
export type Principal = PrincipalInit;

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
  readonly peer: { readonly address: string; readonly listener: string };
  /** Set in a re-authentication: who the client is now. The new principal must have the same id. */
  readonly current: Principal | undefined;
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
  close?(): void | Promise<void>;
}

/** What a plugin module exports as its default. */
export interface AuthPlugin<Config = unknown> {
  readonly apiVersion: 1;
  readonly name: string;
  /** Throwing refuses the start with this error's text. */
  create(config: Config, host: PluginHostServices): Provider | Promise<Provider>;
}

/** What the host lends a plugin. */
export interface PluginHostServices {
  log(level: "debug" | "info" | "warn", event: string, fields?: Readonly<Record<string, string | number>>): void;
  /** Milliseconds since 1970. */
  nowMs(): number;
}

/** The part of AbortSignal that the contract needs; the core names no platform type. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}
