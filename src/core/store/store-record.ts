/**
 * What a store keeps, as rows, and the one interface through which rows travel: `RecordSink`.
 *
 * The core writes records (record-writer.ts), a store reads them (read-records.ts) and applies them; what a store loads
 * comes back through the same interface. Sessions are named by a number of the broker's own (`sessionNumber`), messages
 * that wait for one by their place in its queue (`sequence`), both never used twice while anything of them is kept.
 * Times are milliseconds since 1970 by the broker's clock; `NO_TIME` stands for "never".
 */
import type { QoS } from "../codec/packet.ts";

/** "Never", in a record. */
export const NO_TIME = Number.MAX_SAFE_INTEGER;

/** A message as it is kept: views over the record, dead when the sink returns. */
export interface MessageRow {
  readonly topicName: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly expiresAtMs: number;
  readonly publisherId: string;
  /** End-to-end properties without their length. */
  readonly properties: Uint8Array;
  readonly payload: Uint8Array;
}

export interface SessionRow {
  readonly sessionNumber: number;
  readonly clientId: string;
  /** The principal as JSON: who the session belongs to, and what it may do. */
  readonly principal: string;
  /** Seconds, as granted. */
  readonly expiryInterval: number;
  /** Seconds, as CONNECT asked for. */
  readonly requestedExpiryInterval: number;
  /** When it ends; `NO_TIME`: its client is connected, or it never does. */
  readonly expiresAtMs: number;
  readonly isConnected: boolean;
}

export interface SubscriptionRow {
  readonly sessionNumber: number;
  /** As subscribed to, `$share/name/` included. */
  readonly filter: string;
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly subscriptionIdentifiers: readonly number[] | null;
  /** Retained messages are still to be sent for it. */
  readonly isSearching: boolean;
}

/** How far a delivery is: waiting, or sent and waiting for PUBACK, PUBREC, PUBCOMP (as `DeliveryState`). */
export type DeliveryProgress = 0 | 1 | 2 | 3;

/** One message that waits for one session. */
export interface QueuedRow {
  readonly sessionNumber: number;
  /** Place in the session's queue, ascending. */
  readonly sequence: number;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIdentifiers: readonly number[] | null;
  /** The Shared Subscription it came by, as subscribed to; "" if by none. */
  readonly sharedFilter: string;
  readonly progress: DeliveryProgress;
  /** 0 while it waits. */
  readonly packetId: number;
}

export interface WillRow {
  readonly sessionNumber: number;
  /** Seconds. */
  readonly delayInterval: number;
  /** Seconds from publication; -1: none. */
  readonly messageExpiryInterval: number;
  /** When it is to be published; `NO_TIME` while its client is connected. */
  readonly dueAtMs: number;
}

/** What is known of a queue without looking at its messages. */
export interface QueueTailRow {
  readonly sessionNumber: number;
  readonly count: number;
  /** What the messages weigh, by `ApplicationMessage.sizeBytes`. */
  readonly bytes: number;
  /** Of the last message that waits: new ones come behind it. */
  readonly lastSequence: number;
}

/** Where records go: into a store, or out of it into a broker that starts. */
export interface RecordSink {
  /** The broker's clock when the batch was made; the first record of every batch. */
  time(nowMs: number): void;
  /** A new session, or what has changed of a known one; its subscriptions and messages stay. */
  sessionPut(row: SessionRow): void;
  /** Its client has left. */
  sessionAway(sessionNumber: number, expiryInterval: number, expiresAtMs: number): void;
  /** It and everything that belongs to it is gone. */
  sessionDelete(sessionNumber: number): void;
  subscriptionPut(row: SubscriptionRow): void;
  subscriptionDelete(sessionNumber: number, filter: string): void;
  /** A message for one session alone. */
  queuePut(row: QueuedRow, message: MessageRow): void;
  /** A message for several sessions: it once, then in the same batch each of its places. Messages are numbered upwards. */
  messagePut(messageNumber: number, message: MessageRow): void;
  queueRef(row: QueuedRow, messageNumber: number): void;
  /** A delivery has gone on. */
  queueProgress(sessionNumber: number, sequence: number, progress: DeliveryProgress, packetId: number): void;
  queueDelete(sessionNumber: number, sequence: number): void;
  /** The first message that waits behind this place, and is not under way, gives up its own. */
  queueDropOldest(sessionNumber: number, afterSequence: number): void;
  /** Only out of a store: messages that wait and are read later, with `page`. */
  queueTail(row: QueueTailRow): void;
  /** A QoS 2 Packet Identifier of the client between PUBLISH and PUBREL. */
  inboundPut(sessionNumber: number, packetId: number): void;
  inboundDelete(sessionNumber: number, packetId: number): void;
  /** Replaces the retained message of its topic. */
  retainedPut(message: MessageRow): void;
  retainedDelete(topicName: Uint8Array): void;
  willPut(row: WillRow, message: MessageRow): void;
  willDue(sessionNumber: number, dueAtMs: number): void;
  willDelete(sessionNumber: number): void;
}

/** Takes everything and does nothing: for reading a batch to its end before a byte of it counts, or a part of one. */
export const IGNORING_SINK: RecordSink = {
  time() {},
  sessionPut() {},
  sessionAway() {},
  sessionDelete() {},
  subscriptionPut() {},
  subscriptionDelete() {},
  queuePut() {},
  messagePut() {},
  queueRef() {},
  queueProgress() {},
  queueDelete() {},
  queueDropOldest() {},
  queueTail() {},
  inboundPut() {},
  inboundDelete() {},
  retainedPut() {},
  retainedDelete() {},
  willPut() {},
  willDue() {},
  willDelete() {},
};

/** First byte of each record. */
export const RecordKind = {
  Time: 1,
  SessionPut: 2,
  SessionAway: 3,
  SessionDelete: 4,
  SubscriptionPut: 5,
  SubscriptionDelete: 6,
  QueuePut: 7,
  MessagePut: 8,
  QueueRef: 9,
  QueueProgress: 10,
  QueueDelete: 11,
  QueueDropOldest: 12,
  QueueTail: 13,
  InboundPut: 14,
  InboundDelete: 15,
  RetainedPut: 16,
  RetainedDelete: 17,
  WillPut: 18,
  WillDue: 19,
  WillDelete: 20,
} as const;
