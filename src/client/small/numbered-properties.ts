/** The properties of MQTT 5.0 section 2.2.2.2 by Property Identifier: their types, and how each is written. */

/** The properties of one packet. Absent means absent, not the default. */
export interface NumberedProperties {
  /** Payload Format Indicator: 1 says UTF-8. */
  1?: number;
  /** Message Expiry Interval, seconds. */
  2?: number;
  /** Content Type. */
  3?: string;
  /** Response Topic. */
  8?: string;
  /** Correlation Data. */
  9?: Uint8Array;
  /** Subscription Identifiers of a message; the client chooses those of its subscriptions. */
  11?: number[];
  /** Session Expiry Interval, seconds. */
  17?: number;
  /** Assigned Client Identifier. */
  18?: string;
  /** Server Keep Alive, seconds. */
  19?: number;
  /** Authentication Method. */
  21?: string;
  /** Authentication Data. */
  22?: Uint8Array;
  /** Request Problem Information. */
  23?: number;
  /** Will Delay Interval, seconds. */
  24?: number;
  /** Request Response Information. */
  25?: number;
  /** Response Information. */
  26?: string;
  /** Server Reference. */
  28?: string;
  /** Reason String. */
  31?: string;
  /** Receive Maximum. */
  33?: number;
  /** Topic Alias Maximum. */
  34?: number;
  /** Topic Alias. */
  35?: number;
  /** Maximum QoS. */
  36?: number;
  /** Retain Available. */
  37?: number;
  /** User Properties. */
  38?: [string, string][];
  /** Maximum Packet Size, bytes. */
  39?: number;
  /** Wildcard Subscription Available. */
  40?: number;
  /** Subscription Identifiers Available. */
  41?: number;
  /** Shared Subscription Available. */
  42?: number;
}

/**
 * By Property Identifier: an integer of 1, 2 or 4 bytes, 5 Binary Data, 6 a UTF-8 string, and what there may be several of:
 * 7 a Variable Byte Integer, 8 a pair of strings; 0 is no property.
 */
export const PROPERTY_KINDS = "0146000065070000046206514160600602221184111";
