/** What the small client is asked for and what it answers: options, messages, subscriptions, the client. Types only. */
import type { ClientState, Payload, StateListener } from "../client-options.ts";
import type { NumberedProperties } from "./numbered-properties.ts";

export interface SmallOptions {
  /** Default: the server chooses one. */
  readonly clientId?: string;
  /** An empty one is not sent. */
  readonly username?: string;
  /** An empty one is not sent. */
  readonly password?: Payload;
  readonly will?: SmallWill;
  /** Seconds; the server may choose another number. Default: 60. */
  readonly keepAlive?: number;
  /** Whether the first connection begins a new session. Default: true. */
  readonly cleanStart?: boolean;
  /** Seconds that the session outlives a connection. Default: 300, and `close()` ends it; given, it is kept. */
  readonly expiry?: number;
  /** QoS 1 messages that may wait here without an acknowledgement. Default: 64. */
  readonly receiveMaximum?: number;
  /** Largest packet accepted. Default: 1 MiB. */
  readonly packetBytesMax?: number;
  /** Operations that may wait, for a connection or for the server's Receive Maximum; over it: 0x97. Default: 1000. */
  readonly queueMax?: number;
  /** Longest wait for an answer, of a connection attempt too. Default: 30,000. */
  readonly deadlineMs?: number;
  /** First wait before connecting again; it doubles up to `retryMsMax`. 0: never again. Default: 1,000. */
  readonly retryMs?: number;
  readonly retryMsMax?: number;
  /** More properties of CONNECT; a Topic Alias Maximum or an Authentication Method allows what this client refuses. */
  readonly properties?: NumberedProperties;
  /** Closes the client, connected or not. */
  readonly signal?: AbortSignal;
}

export interface SmallWill {
  readonly topic: string;
  readonly payload?: Payload;
  readonly qos?: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly properties?: NumberedProperties;
}

/** How long to wait for the answer of one operation. */
export interface SmallWait {
  readonly signal?: AbortSignal | undefined;
  readonly deadlineMs?: number | undefined;
}

export interface SmallPublishOptions extends SmallWait {
  readonly qos?: 0 | 1;
  readonly retain?: boolean;
  readonly properties?: NumberedProperties;
}

/** What a server said; to a PUBLISH of QoS 0 it says nothing but success. */
export interface SmallAnswer {
  readonly reasonCode: number;
  readonly properties: NumberedProperties;
}

export interface SmallSubscribeOptions extends SmallWait {
  /** Default: 0. */
  readonly qos?: 0 | 1;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: 0 | 1 | 2;
  /** Properties of SUBSCRIBE besides its identifier. */
  readonly properties?: NumberedProperties;
  /** Messages that may wait for the reader before one of QoS 0 is dropped and counted, at least 1. Default: 256. */
  readonly buffer?: number;
  /** `auto` (default): acknowledged when the reader asks for the next one; `manual`: by `message.ack()`. */
  readonly ack?: "auto" | "manual";
}

export interface SmallMessage {
  readonly topic: string;
  readonly bytes: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly properties: NumberedProperties;
  text(): string;
  /** Acknowledges it, once; nothing at QoS 0. */
  ack(): void;
}

export interface SmallSubscription extends AsyncIterableIterator<SmallMessage, undefined> {
  readonly filter: string;
  /** Granted by the server. */
  readonly qos: number;
  /** QoS 0 messages that found no room. */
  readonly dropped: number;
  next(): Promise<IteratorResult<SmallMessage, undefined>>;
  /** Leaving a `for await` loop unsubscribes. */
  return(): Promise<IteratorResult<SmallMessage, undefined>>;
  /** Resolves when the server has acknowledged it; messages that were not read are given up. */
  unsubscribe(): Promise<unknown>;
  [Symbol.asyncIterator](): this;
}

export interface SmallClient {
  readonly state: ClientState;
  /** As the server knows it. */
  readonly clientId: string;
  /** Whether the server had the session when the connection was made. */
  readonly sessionPresent: boolean;
  /** What the server said in its last CONNACK. */
  readonly properties: NumberedProperties;
  onstate?: StateListener | null;
  /** Resolves when it was sent (QoS 0) or acknowledged, with the server's reason code; rejects with an MqttError. */
  publish(topic: string, payload?: Payload, options?: SmallPublishOptions): Promise<SmallAnswer>;
  /** Resolves when the server has granted it. Iterate over the answer; leaving the loop unsubscribes. */
  subscribe(filter: string, options?: SmallSubscribeOptions): Promise<SmallSubscription>;
  /** Ends the client with a DISCONNECT: what still waits is rejected, subscriptions end. */
  close(): void;
}

/** The client as its parts see it. */
export type OpenClient = { -readonly [Name in keyof SmallClient]: SmallClient[Name] } & {
  /** Whether this was not the first attempt to connect again: the session may be one's that was not answered, and empty. */
  isInDoubt?: boolean;
};
