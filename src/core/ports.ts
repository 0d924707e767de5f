/**
 * What the core asks of its host: a way to send bytes, an authority to ask, a place to log, unique ids.
 *
 * Rules: a port never calls back into the broker during a call; a port never throws; what takes time is asked for here
 * and comes back as one of the broker's inputs (`verdict`, `drained`, `closed`).
 */
import type { QoS } from "./codec/packet.ts";
import type { PeerCertificate, Principal, UpgradeRequest, Verdict } from "./gate/provider.ts";
import type { Durability } from "./store/store-engine.ts";

/** One Network Connection, as far as the core knows it. */
export interface Wire {
  /** Address of the peer for logs and providers; "in-process" where there is none. */
  readonly remoteAddress: string;
  /** URL of the listener that accepted it. */
  readonly listener: string;
  /** What the listener verified of the client's certificate. */
  readonly certificate?: PeerCertificate | undefined;
  /** What a WebSocket client's upgrade request said. */
  readonly upgrade?: UpgradeRequest | undefined;
  /** What acknowledgements promise on its listener; without it, what they promise everywhere. */
  readonly durability?: Durability | undefined;
  /**
   * Takes MQTT bytes for the peer. The view dies when the call returns, unless they are `lasting`: then nobody changes them
   * any more, and they may be kept as they are. Answers the bytes that the peer has not taken yet, these and earlier ones; a
   * positive answer promises a later `drained`.
   */
  send(bytes: Uint8Array, lasting: boolean): number;
  /** `send` of a head, which dies, and of a payload behind it, which lasts; for a transport that gains by having both. */
  sendWithPayload?(head: Uint8Array, payload: Uint8Array): number;
  /** Stops and restarts reading; bytes already read may still arrive after a pause. */
  pause(): void;
  resume(): void;
  /** Sends what was taken, then closes. `reasonCode` tells why, for transports that can say so. `closed` follows in any case. */
  close(reasonCode: number): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean>>;

export interface Log {
  write(level: LogLevel, event: string, fields: LogFields): void;
}

/** What the gate asks about a client. One request is one step: CONNECT, or one AUTH packet of an exchange. */
export interface AuthRequest {
  /** Names the step in the later `verdict`; never used twice by one broker. */
  readonly id: number;
  /** The same number in all steps of one exchange; a re-authentication has a new one. */
  readonly exchangeId: number;
  readonly phase: "connect" | "continue" | "reauthenticate";
  readonly protocolLevel: 3 | 4 | 5;
  readonly clientId: string;
  readonly cleanStart: boolean;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly authenticationMethod: string | undefined;
  readonly authenticationData: Uint8Array | undefined;
  readonly userProperties: readonly (readonly [string, string])[];
  readonly will: { readonly topicName: string; readonly qos: QoS; readonly retain: boolean } | undefined;
  readonly remoteAddress: string;
  readonly listener: string;
  /** What the listener verified of the client's certificate. */
  readonly certificate?: PeerCertificate | undefined;
  /** What a WebSocket client's upgrade request said. */
  readonly upgrade?: UpgradeRequest | undefined;
  /** Who the client already is, in a re-authentication. */
  readonly current: Principal | undefined;
}

/** The authority behind the gate. Views in a request are its own to keep. */
export interface AuthHost {
  /** Answers at once, or `undefined` and later calls the broker's `verdict` input with the request's id. */
  ask(request: AuthRequest): Verdict | undefined;
  /** The connection behind an exchange is gone or its time is up; a later verdict will be ignored. */
  abandon(exchangeId: number): void;
}

/** Unique names; the core has no random source of its own. */
export interface Ids {
  /** A Client Identifier that nobody else has: at least 96 random bits, 1 to 23 characters of 0-9a-zA-Z. */
  clientId(): string;
  /** 32 random bits, asked for once: keeps hash tables out of the reach of peers that know the code. */
  seed(): number;
}

/**
 * Where Session State and retained messages outlive the broker; store/store-engine.ts says what is done with the records.
 * Both calls are answered by inputs of the broker, in the order of the calls.
 */
export interface Store {
  /**
   * Takes a turn's records, which are the store's from now on. Later `committed(ticket)`, when they and everything before
   * them will survive what `durability` names.
   */
  commit(records: Uint8Array<ArrayBuffer>, ticket: number, durability: Durability): void;
  /** Asks for waiting messages of a session, as `StoreEngine.page`; later `paged(request, records)`. */
  page(request: number, sessionNumber: number, afterSequence: number, messagesMax: number, bytesMax: number): void;
}

export interface Ports {
  readonly auth: AuthHost;
  readonly log: Log;
  readonly ids: Ids;
  /** Without one nothing outlives the broker. */
  readonly store?: Store | undefined;
}
