/**
 * Everything that a store engine has, in an order of its own, so that two engines can be compared; and rows to fill one with.
 *
 * Invariant: bytes are copied and rows are flattened to plain values; what a snapshot holds does not change with the engine.
 */
import { readRecords } from "../../src/core/store/read-records.ts";
import { RecordWriter } from "../../src/core/store/record-writer.ts";
import type { StoreClock, StoreEngine } from "../../src/core/store/store-engine.ts";
import {
  IGNORING_SINK,
  type MessageRow,
  NO_TIME,
  type QueuedRow,
  type QueueTailRow,
  type RecordSink,
  type SessionRow,
  type SubscriptionRow,
  type WillRow,
} from "../../src/core/store/store-record.ts";

export interface PlainMessage extends Omit<MessageRow, "topicName" | "properties" | "payload"> {
  readonly topicName: string;
  readonly properties: string;
  readonly payload: string;
}

export interface PlainDelivery extends QueuedRow {
  readonly message: PlainMessage;
}

export interface Snapshot {
  readonly sessions: readonly SessionRow[];
  readonly subscriptions: readonly SubscriptionRow[];
  readonly inbound: readonly (readonly [number, number])[];
  readonly wills: readonly (WillRow & { readonly message: PlainMessage })[];
  /** In order within each session. */
  readonly underWay: readonly PlainDelivery[];
  readonly tails: readonly QueueTailRow[];
  /** Through `page`, in order within each session. */
  readonly waiting: readonly PlainDelivery[];
  readonly retained: readonly PlainMessage[];
  readonly clock: StoreClock;
}

export function plainMessage(message: MessageRow): PlainMessage {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
  const { topicName, properties, payload } = message;
  return { ...message, topicName: text(topicName), properties: text(properties), payload: text(payload) };
}

export interface SnapshotOptions {
  /** Messages asked for at a time. */
  readonly pageMessages?: number;
}

export function snapshot(engine: StoreEngine, { pageMessages = 3 }: SnapshotOptions = {}): Snapshot {
  const rows = new LoadedRows();
  const { brokerMs, wallMs } = engine.load(rows.sink);
  const waiting = rows.sessions.flatMap(({ sessionNumber }) => allWaiting(engine, sessionNumber, pageMessages));
  return rows.snapshot({ brokerMs, wallMs }, waiting);
}

/** What a load hands over, put in order. */
export class LoadedRows {
  readonly #sessions: SessionRow[] = [];
  readonly #subscriptions: SubscriptionRow[] = [];
  readonly #inbound: [number, number][] = [];
  readonly #wills: (WillRow & { readonly message: PlainMessage })[] = [];
  readonly #underWay: PlainDelivery[] = [];
  readonly #tails: QueueTailRow[] = [];
  readonly #retained: PlainMessage[] = [];

  readonly sink: RecordSink = {
    ...IGNORING_SINK,
    sessionPut: (row) => void this.#sessions.push(row),
    subscriptionPut: (row) => void this.#subscriptions.push(row),
    inboundPut: (sessionNumber, packetId) => void this.#inbound.push([sessionNumber, packetId]),
    willPut: (row, message) => void this.#wills.push({ ...row, message: plainMessage(message) }),
    queuePut: (row, message) => void this.#underWay.push({ ...row, message: plainMessage(message) }),
    queueTail: (row) => void this.#tails.push(row),
    retainedPut: (message) => void this.#retained.push(plainMessage(message)),
  };

  /** In the order of their numbers. */
  get sessions(): readonly SessionRow[] {
    return this.#sessions.sort(bySession);
  }

  snapshot(clock: StoreClock, waiting: readonly PlainDelivery[]): Snapshot {
    return {
      sessions: this.sessions,
      subscriptions: this.#subscriptions.sort(byText((row) => `${row.sessionNumber} ${row.filter}`)),
      inbound: this.#inbound.sort(([a, b], [c, d]) => a - c || b - d),
      wills: this.#wills.sort(bySession),
      underWay: this.#underWay.sort(bySession),
      tails: this.#tails.sort(bySession),
      waiting,
      retained: this.#retained.sort(byText((row) => row.topicName)),
      clock,
    };
  }
}

function bySession(a: { readonly sessionNumber: number }, b: { readonly sessionNumber: number }): number {
  return a.sessionNumber - b.sessionNumber;
}

function byText<Row>(text: (row: Row) => string): (a: Row, b: Row) => number {
  return (a, b) => (text(a) < text(b) ? -1 : 1);
}

/** Every message of a session that waits, page by page. */
export function allWaiting(engine: StoreEngine, sessionNumber: number, pageMessages = 100): PlainDelivery[] {
  const all: PlainDelivery[] = [];
  for (;;) {
    const page = deliveriesOf(engine.page(sessionNumber, all.at(-1)?.sequence ?? -1, pageMessages, 1_000_000));
    if (page.length === 0) return all;
    all.push(...page);
  }
}

export function deliveriesOf(records: Uint8Array): PlainDelivery[] {
  const deliveries: PlainDelivery[] = [];
  readRecords(records, {
    ...IGNORING_SINK,
    queuePut: (row, message) => void deliveries.push({ ...row, message: plainMessage(message) }),
  });
  return deliveries;
}

/** A batch of records: its time, and what `write` adds. */
export function batchOf(write: (writer: RecordWriter) => void, nowMs = 1_000): Uint8Array<ArrayBuffer> {
  const writer = new RecordWriter();
  writer.time(nowMs);
  write(writer);
  return writer.take();
}

export function aSession(sessionNumber: number, more: Partial<SessionRow> = {}): SessionRow {
  return {
    sessionNumber,
    clientId: `client-${sessionNumber}`,
    principal: `{"name":"user ${sessionNumber}"}`,
    expiryInterval: 3600,
    requestedExpiryInterval: 7200,
    expiresAtMs: NO_TIME,
    isConnected: true,
    ...more,
  };
}

export function aSubscription(
  sessionNumber: number,
  filter: string,
  more: Partial<SubscriptionRow> = {},
): SubscriptionRow {
  return {
    sessionNumber,
    filter,
    qos: 1,
    noLocal: false,
    retainAsPublished: false,
    isSearching: false,
    subscriptionIdentifiers: null,
    ...more,
  };
}

export function aPlace(sessionNumber: number, sequence: number, more: Partial<QueuedRow> = {}): QueuedRow {
  return {
    sessionNumber,
    sequence,
    qos: 1,
    retain: false,
    subscriptionIdentifiers: null,
    sharedFilter: "",
    progress: 0,
    packetId: 0,
    ...more,
  };
}

export function aWill(sessionNumber: number, more: Partial<WillRow> = {}): WillRow {
  return { sessionNumber, delayInterval: 10, messageExpiryInterval: -1, dueAtMs: NO_TIME, ...more };
}

export function aMessage(topicName: string, payload: string | Uint8Array, more: Partial<MessageRow> = {}): MessageRow {
  return {
    topicName: Buffer.from(topicName),
    qos: 1,
    retain: false,
    expiresAtMs: NO_TIME,
    publisherId: "publisher",
    properties: Uint8Array.of(1, 0),
    payload: typeof payload === "string" ? Buffer.from(payload) : payload,
    ...more,
  };
}
