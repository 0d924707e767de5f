/**
 * Every bound of the broker, in one place, each with its unit and default.
 *
 * Invariant: nothing a peer can make grow is without a line in `Limits`; each line has a test that reaches it.
 * Numbers that the specification lets a server announce (CONNACK properties) are under `Capabilities`.
 */
import type { RuleSet } from "./gate/provider.ts";
import type { Durability } from "./store/store-engine.ts";

/** Filters that nobody may publish or subscribe to. */
export type Ceiling = Required<Pick<RuleSet, "deny">>;

/** Bounds that the broker enforces. A name ends in what it counts; `Ms` is milliseconds, `Bytes` bytes on the wire. */
export interface Limits {
  /** Largest MQTT packet accepted, header included; announced as Maximum Packet Size. Over it: 0x95. */
  readonly packetBytesMax: number;
  /** Largest packet accepted before a client is authenticated (CONNECT, AUTH). Over it: close. */
  readonly connectBytesMax: number;
  /** Levels in a Topic Name or Topic Filter. Over it: 0x90 for names, 0x8F for filters. */
  readonly topicLevelsMax: number;
  /** Topic Filters in one SUBSCRIBE or UNSUBSCRIBE. Over it: 0x97. */
  readonly filtersPerPacketMax: number;
  /** Subscriptions held by one Session. Over it: SUBACK 0x97. */
  readonly subscriptionsPerClientMax: number;
  /** Memory that the subscriptions of one Session may take: their filters, and 200 bytes a level. Over it: SUBACK 0x97. */
  readonly subscriptionBytesMax: number;
  /** User Properties in one packet. Over it: 0x97. */
  readonly userPropertiesMax: number;
  /** Unacknowledged QoS 1 and 2 PUBLISH packets accepted from one client; announced as Receive Maximum. Over it: 0x93. */
  readonly receiveMaximum: number;
  /** Unacknowledged QoS 1 and 2 PUBLISH packets sent to one client, whatever larger number it offers. */
  readonly inflightMax: number;
  /** Messages waiting for one Session, online or away, besides those in flight. Over it: the overflow policy. */
  readonly queueMessagesMax: number;
  /** Bytes of messages in flight and waiting for one Session. Over it: the overflow policy. */
  readonly queueBytesMax: number;
  /** Topic Aliases a client may set on one connection; announced as Topic Alias Maximum. */
  readonly topicAliasMaximum: number;
  /** Topic Aliases the broker sets towards one client, whatever larger number it offers. */
  readonly topicAliasOutboundMax: number;
  /** Topic Names that the aliases of one connection stand for, each way. Over it: 0x97 from a client, no more are set by us. */
  readonly topicAliasBytesMax: number;
  /** Network Connections open at once. Over it: the transport closes the newcomer. */
  readonly connectionsMax: number;
  /** Network Connections that have not finished CONNECT. Over it: the newcomer is closed. */
  readonly unauthenticatedMax: number;
  /** The same of one address; many clients may share one behind a gateway. */
  readonly unauthenticatedPerAddressMax: number;
  /** From accepting a Network Connection to its CONNACK, enhanced authentication included. */
  readonly connectDeadlineMs: number;
  /** One re-authentication exchange, from AUTH 0x19 to AUTH 0x00. */
  readonly authDeadlineMs: number;
  /** AUTH packets from a client in one exchange. Over it: the exchange fails. */
  readonly authRoundsMax: number;
  /** Bytes held for a client that waits for a verdict. Over it: 0x97 and close. */
  readonly heldInputBytesMax: number;
  /** Bytes a slow client may leave unread before its deliveries wait (QoS 1, 2) or are dropped (QoS 0). */
  readonly outboundHighWaterBytes: number;
  /** Where deliveries to a slow client start again. */
  readonly outboundLowWaterBytes: number;
  /** Sessions kept without a connection. Over it: the one that has been away longest is ended. */
  readonly offlineSessionsMax: number;
  /**
   * Bytes that the store has not confirmed. Over it: whoever adds to them is not read from until they are half. Over twice as
   * many: 0x89 to whoever comes with a session that is kept.
   */
  readonly storeBacklogBytesMax: number;
  /** Retained messages. Over it: 0x97 for a new topic. */
  readonly retainedMessagesMax: number;
  /** Memory that retained messages may take: their bytes, and 200 a level of the Topic Name. Over it: 0x97. */
  readonly retainedBytesMax: number;
}

/** What the broker tells clients it can do (MQTT 5.0 section 3.2.2.3). */
export interface Capabilities {
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  readonly wildcardSubscriptionAvailable: boolean;
  readonly subscriptionIdentifiersAvailable: boolean;
  readonly sharedSubscriptionAvailable: boolean;
  /** Longest Session Expiry Interval granted, seconds; 0xFFFFFFFF means a session may be kept for ever. */
  readonly sessionExpiryIntervalMax: number;
  /** Longest Keep Alive granted, seconds; also replaces a Keep Alive of 0 from a v5 client. 0 leaves clients their own value. */
  readonly serverKeepAliveMax: number;
  /** Prefix of the Response Information given to clients that ask for it; the client id is appended. Empty: none is given. */
  readonly responseInformationPrefix: string;
  /** Server Reference sent with 0x9C and 0x9D. Empty: none. */
  readonly serverReference: string;
}

/** What happens to a message for a full queue: the new one goes, or the oldest waiting one. */
export type QueueOverflow = "drop-newest" | "drop-oldest";

export const DEFAULT_LIMITS: Limits = {
  packetBytesMax: 2 * 1024 * 1024,
  connectBytesMax: 128 * 1024,
  topicLevelsMax: 128,
  filtersPerPacketMax: 1024,
  subscriptionsPerClientMax: 20_000,
  subscriptionBytesMax: 32 * 1024 * 1024,
  userPropertiesMax: 1000,
  receiveMaximum: 1000,
  inflightMax: 4096,
  queueMessagesMax: 10_000,
  queueBytesMax: 32 * 1024 * 1024,
  topicAliasMaximum: 256,
  topicAliasOutboundMax: 256,
  topicAliasBytesMax: 256 * 1024,
  connectionsMax: 100_000,
  unauthenticatedMax: 5_000,
  unauthenticatedPerAddressMax: 2_500,
  connectDeadlineMs: 10_000,
  authDeadlineMs: 10_000,
  authRoundsMax: 8,
  heldInputBytesMax: 1024 * 1024,
  outboundHighWaterBytes: 1024 * 1024,
  outboundLowWaterBytes: 256 * 1024,
  offlineSessionsMax: 1_000_000,
  storeBacklogBytesMax: 64 * 1024 * 1024,
  retainedMessagesMax: 1_000_000,
  retainedBytesMax: 1024 * 1024 * 1024,
};

export const DEFAULT_CAPABILITIES: Capabilities = {
  maximumQos: 2,
  retainAvailable: true,
  wildcardSubscriptionAvailable: true,
  subscriptionIdentifiersAvailable: true,
  sharedSubscriptionAvailable: true,
  sessionExpiryIntervalMax: 0xffffffff,
  serverKeepAliveMax: 0,
  responseInformationPrefix: "response/",
  serverReference: "",
};

/** What the core is configured with. */
export interface BrokerConfig {
  readonly limits: Limits;
  readonly capabilities: Capabilities;
  readonly queueOverflow: QueueOverflow;
  /** What acknowledgements promise where there is a store and a listener says nothing else. */
  readonly durability: Durability;
  /** Rules denied to everybody, whatever a provider allows. */
  readonly ceiling: Ceiling;
  /** What a refused PUBLISH does to its client: nothing but a reason code, or the end of its connection. */
  readonly denyAction: "ignore" | "disconnect";
  /** How often the $SYS topics are published; 0 never. */
  readonly sysIntervalMs: number;
  /** What $SYS/broker/version says. */
  readonly version: string;
}

export const DEFAULT_BROKER_CONFIG: BrokerConfig = {
  limits: DEFAULT_LIMITS,
  capabilities: DEFAULT_CAPABILITIES,
  queueOverflow: "drop-newest",
  durability: "fsync",
  ceiling: { deny: [] },
  denyAction: "ignore",
  sysIntervalMs: 10_000,
  version: "rqtt",
};
