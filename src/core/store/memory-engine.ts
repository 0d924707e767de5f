/**
 * The reference engine: what a store keeps, in maps. It survives nothing; tests hold other engines against it, and a
 * simulation keeps it while the broker above is thrown away.
 *
 * Invariant: a batch that cannot be read changes nothing.
 */
import { readRecords } from "./read-records.ts";
import { RecordWriter } from "./record-writer.ts";
import type { Durability, StoreEngine, StoreLoad } from "./store-engine.ts";
import {
  type DeliveryProgress,
  IGNORING_SINK,
  type MessageRow,
  type QueuedRow,
  type RecordSink,
  type SessionRow,
  type SubscriptionRow,
  type WillRow,
} from "./store-record.ts";

interface KeptDelivery {
  row: QueuedRow;
  readonly message: MessageRow;
  /** Of a message that several sessions wait for. */
  readonly messageNumber: number;
}

interface KeptSession {
  row: SessionRow;
  readonly subscriptions: Map<string, SubscriptionRow>;
  /** By sequence, in order. */
  readonly queue: Map<number, KeptDelivery>;
  readonly inbound: Set<number>;
  will: { row: WillRow; readonly message: MessageRow } | null;
}

export interface MemoryEngineOptions {
  /** Milliseconds since 1970. */
  readonly wallMs?: () => number;
}

const ALONE = 0;

export class MemoryEngine implements StoreEngine {
  readonly #sessions = new Map<number, KeptSession>();
  readonly #retained = new Map<string, MessageRow>();
  readonly #wallMs: () => number;
  #clock = { brokerMs: 0, wallMs: 0 };
  readonly #sink: RecordSink;

  constructor({ wallMs = () => 0 }: MemoryEngineOptions = {}) {
    this.#wallMs = wallMs;
    this.#sink = memorySink(this.#sessions, this.#retained, (brokerMs) => {
      this.#clock = { brokerMs, wallMs: this.#wallMs() };
    });
  }

  apply(batches: readonly Uint8Array[], _durability: Durability): void {
    for (const batch of batches) readRecords(batch, IGNORING_SINK);
    for (const batch of batches) readRecords(batch, this.#sink);
  }

  load(sink: RecordSink): StoreLoad {
    let [sessionNumberMax, messageNumberMax] = [0, 0];
    for (const [sessionNumber, session] of this.#sessions) {
      sessionNumberMax = Math.max(sessionNumberMax, sessionNumber);
      sink.sessionPut(session.row);
      for (const subscription of session.subscriptions.values()) sink.subscriptionPut(subscription);
      for (const packetId of session.inbound) sink.inboundPut(sessionNumber, packetId);
      if (session.will !== null) sink.willPut(session.will.row, session.will.message);
      let [count, bytes, lastSequence] = [0, 0, 0];
      for (const { row, message, messageNumber } of session.queue.values()) {
        messageNumberMax = Math.max(messageNumberMax, messageNumber);
        if (row.progress !== 0) {
          sink.queuePut(row, message);
        } else {
          count++;
          bytes += sizeOf(message);
          lastSequence = row.sequence;
        }
      }
      if (count > 0) sink.queueTail({ sessionNumber, count, bytes, lastSequence });
    }
    for (const message of this.#retained.values()) sink.retainedPut(message);
    return { ...this.#clock, sessionNumberMax, messageNumberMax };
  }

  page(sessionNumber: number, afterSequence: number, messagesMax: number, bytesMax: number): Uint8Array {
    const writer = new RecordWriter();
    let [count, bytes] = [0, 0];
    for (const { row, message } of this.#sessions.get(sessionNumber)?.queue.values() ?? []) {
      if (row.sequence <= afterSequence || row.progress !== 0) continue;
      if (count >= messagesMax || bytes >= bytesMax) break;
      writer.queuePut(row, message);
      count++;
      bytes += sizeOf(message);
    }
    return writer.take();
  }

  close(): void {}
}

function sizeOf({ topicName, properties, payload }: MessageRow): number {
  return topicName.length + properties.length + payload.length;
}

function keep(message: MessageRow): MessageRow {
  const { topicName, properties, payload } = message;
  return { ...message, topicName: topicName.slice(), properties: properties.slice(), payload: payload.slice() };
}

/** Latin-1 of a topic's bytes: a name for a map, one to one. */
function nameOf(topicName: Uint8Array): string {
  let name = "";
  for (const byte of topicName) name += String.fromCharCode(byte);
  return name;
}

function memorySink(
  sessions: Map<number, KeptSession>,
  retained: Map<string, MessageRow>,
  time: (nowMs: number) => void,
): RecordSink {
  const shared = new Map<number, MessageRow>();
  const change = (sessionNumber: number, how: (session: KeptSession) => void): void => {
    const session = sessions.get(sessionNumber);
    if (session !== undefined) how(session);
  };
  const add = (row: QueuedRow, message: MessageRow, messageNumber: number): void =>
    change(row.sessionNumber, ({ queue }) => void queue.set(row.sequence, { row, message, messageNumber }));
  return {
    time(nowMs) {
      // Places of a message follow it in the same batch.
      shared.clear();
      time(nowMs);
    },
    sessionPut(row) {
      const known = sessions.get(row.sessionNumber);
      if (known !== undefined) known.row = row;
      else {
        const empty = { subscriptions: new Map(), queue: new Map(), inbound: new Set<number>(), will: null };
        sessions.set(row.sessionNumber, { row, ...empty });
      }
    },
    sessionAway: (sessionNumber, expiryInterval, expiresAtMs) =>
      change(sessionNumber, (session) => {
        session.row = { ...session.row, expiryInterval, expiresAtMs, isConnected: false };
      }),
    sessionDelete: (sessionNumber) => void sessions.delete(sessionNumber),
    subscriptionPut: (row) => change(row.sessionNumber, (session) => void session.subscriptions.set(row.filter, row)),
    subscriptionDelete: (sessionNumber, filter) =>
      change(sessionNumber, (session) => void session.subscriptions.delete(filter)),
    queuePut: (row, message) => add(row, keep(message), ALONE),
    messagePut: (messageNumber, message) => void shared.set(messageNumber, keep(message)),
    queueRef(row, messageNumber) {
      const message = shared.get(messageNumber);
      if (message !== undefined) add(row, message, messageNumber);
    },
    queueProgress: (sessionNumber, sequence, progress, packetId) =>
      change(sessionNumber, ({ queue }) => go(queue.get(sequence), progress, packetId)),
    queueDelete: (sessionNumber, sequence) => change(sessionNumber, ({ queue }) => void queue.delete(sequence)),
    queueDropOldest: (sessionNumber, afterSequence) =>
      change(sessionNumber, ({ queue }) => dropOldest(queue, afterSequence)),
    queueTail() {},
    inboundPut: (sessionNumber, packetId) => change(sessionNumber, ({ inbound }) => void inbound.add(packetId)),
    inboundDelete: (sessionNumber, packetId) => change(sessionNumber, ({ inbound }) => void inbound.delete(packetId)),
    retainedPut: (message) => void retained.set(nameOf(message.topicName), keep(message)),
    retainedDelete: (topicName) => void retained.delete(nameOf(topicName)),
    willPut: (row, message) =>
      change(row.sessionNumber, (session) => {
        session.will = { row, message: keep(message) };
      }),
    willDue: (sessionNumber, dueAtMs) =>
      change(sessionNumber, ({ will }) => {
        if (will !== null) will.row = { ...will.row, dueAtMs };
      }),
    willDelete: (sessionNumber) =>
      change(sessionNumber, (session) => {
        session.will = null;
      }),
  };
}

function go(delivery: KeptDelivery | undefined, progress: DeliveryProgress, packetId: number): void {
  if (delivery !== undefined) delivery.row = { ...delivery.row, progress, packetId };
}

function dropOldest(queue: Map<number, KeptDelivery>, afterSequence: number): void {
  for (const [sequence, { row }] of queue) {
    if (row.progress !== 0 || sequence <= afterSequence) continue;
    queue.delete(sequence);
    return;
  }
}
