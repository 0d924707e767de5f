/** What a client is asked for: the options of a connection, a PUBLISH and a SUBSCRIBE, and what comes back. Types only. */
import type { QoS } from "../core/codec/packet.ts";
import type { Properties } from "../core/codec/property-table.ts";
import type { MqttError } from "./mqtt-error.ts";

/** Text travels as UTF-8. */
export type Payload = string | Uint8Array;

export type ClientState = "connecting" | "online" | "offline" | "closed";

export interface ClientOptions {
  /** Default: the server chooses one, where it speaks MQTT 5.0; otherwise a random one. */
  readonly clientId?: string;
  readonly username?: string;
  readonly password?: Payload;
  /** Fetches a token for each connection, and to renew it in the session before it expires. */
  readonly token?: () => Promise<string>;
  /** The Authentication Method that tokens are sent with (default `OAUTH2-JWT`); `""` sends them as the password. */
  readonly authMethod?: string;
  readonly will?: WillOptions;
  /** Seconds; the server may choose another number. Default: 60. */
  readonly keepAlive?: number;
  /** Whether the first connection begins a new session. Default: true. */
  readonly cleanStart?: boolean;
  /** Seconds that the session outlives a connection. Default: 300, and `close()` ends it; given, it is kept. */
  readonly expiry?: number;
  /** QoS 1 and 2 messages that may wait here without an acknowledgement. Default: 64. */
  readonly receiveMaximum?: number;
  /** Largest packet accepted. Default: 1 MiB. */
  readonly packetBytesMax?: number;
  /** Topic Aliases that the server may set; and at most as many are set towards it. Default: 16. */
  readonly topicAliasMaximum?: number;
  /** Operations that may wait, for a connection or for the server's Receive Maximum; over it: 0x97. Default: 1000. */
  readonly queueMax?: number;
  /** Longest wait for an answer, of a connection attempt too. Default: 30,000. */
  readonly deadlineMs?: number;
  /** First wait before connecting again; it doubles up to `retryMsMax`. 0: never again. Default: 1,000. */
  readonly retryMs?: number;
  readonly retryMsMax?: number;
  /** More properties of CONNECT. */
  readonly properties?: Properties;
  /** 4 is MQTT 3.1.1. Default: 5. */
  readonly protocolLevel?: 4 | 5;
  /** Where answers to requests are expected. Default: a random topic. */
  readonly responseTopic?: string;
  /** Closes the client, connected or not. */
  readonly signal?: AbortSignal;
}

export interface WillOptions {
  readonly topic: string;
  readonly payload?: Payload;
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: Properties;
}

/** How long to wait for the answer of one operation. */
export interface WaitOptions {
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
}

export interface PublishOptions extends WaitOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: Properties;
}

/** What a server said to a PUBLISH; QoS 0 and MQTT 3.1.1 have nothing but success. */
export interface Published {
  readonly reasonCode: number;
  readonly properties: Properties;
}

export interface SubscribeOptions extends WaitOptions {
  /** Default: 0. */
  readonly qos?: QoS;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: 0 | 1 | 2;
  /** Properties of SUBSCRIBE besides its identifier. */
  readonly properties?: Properties;
  /** Where so many messages wait for the reader, those of QoS 0 are dropped and counted. At least 1. Default: 256. */
  readonly buffer?: number;
  /** `auto` (default): acknowledged when the reader asks for the next one; `manual`: by `message.ack()`. */
  readonly ack?: "auto" | "manual";
}

export interface CloseOptions {
  /** 0x04 asks for the Will. Default: 0. */
  readonly reasonCode?: number;
  readonly properties?: Properties;
}

export type StateListener = (state: ClientState, error?: MqttError) => void;
