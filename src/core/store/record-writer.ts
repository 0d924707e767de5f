/**
 * Writes records: rows into bytes, one behind the other, as read-records.ts reads them. Nothing is checked here; what is
 * written was checked when it came in.
 *
 * Numbers are big-endian; times, sequences and message numbers take seven bytes (up to 2^53), texts of clients two bytes of
 * length, everything that may be larger four.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { encodeUtf8 } from "../codec/utf8.ts";
import { Writer } from "../codec/writer.ts";
import {
  type DeliveryProgress,
  type MessageRow,
  NO_TIME,
  type QueuedRow,
  type QueueTailRow,
  RecordKind,
  type RecordSink,
  type SessionRow,
  type SubscriptionRow,
  type WillRow,
} from "./store-record.ts";

const RECORDS_BYTES_FIRST = 4 * 1024;
const HIGH = 2 ** 32;

/** A row's message out of the broker. */
export function messageRow(message: ApplicationMessage): MessageRow {
  const { properties, propertiesStart, propertiesEnd, payload, payloadStart, payloadEnd } = message;
  return {
    topicName: message.topicName.bytes,
    qos: message.qos,
    retain: message.retain,
    expiresAtMs: timeOf(message.expiresAtMs),
    publisherId: message.publisherId,
    properties: properties.subarray(propertiesStart, propertiesEnd),
    payload: payload.subarray(payloadStart, payloadEnd),
  };
}

/** A deadline as a record has it: whole milliseconds, "never" for what is infinite. */
export function timeOf(atMs: number): number {
  return atMs === Number.POSITIVE_INFINITY ? NO_TIME : Math.ceil(atMs);
}

export class RecordWriter implements RecordSink {
  #writer = new Writer(RECORDS_BYTES_FIRST);

  get length(): number {
    return this.#writer.length;
  }

  /** Everything written so far, as a buffer of its own; the writer is empty again. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#writer.view().slice();
    this.#writer.clear();
    if (this.#writer.bytes.length > 1024 * 1024) this.#writer = new Writer(RECORDS_BYTES_FIRST);
    return bytes as Uint8Array<ArrayBuffer>;
  }

  time(nowMs: number): void {
    this.#writer.u8(RecordKind.Time);
    this.#u53(Math.floor(nowMs));
  }

  sessionPut(row: SessionRow): void {
    this.#begin(RecordKind.SessionPut, row.sessionNumber);
    const writer = this.#writer;
    writer.u8(row.isConnected ? 1 : 0);
    writer.string(row.clientId);
    this.#bytes(encodeUtf8(row.principal));
    writer.u32(row.expiryInterval);
    writer.u32(row.requestedExpiryInterval);
    this.#u53(row.expiresAtMs);
  }

  sessionAway(sessionNumber: number, expiryInterval: number, expiresAtMs: number): void {
    this.#begin(RecordKind.SessionAway, sessionNumber);
    this.#writer.u32(expiryInterval);
    this.#u53(expiresAtMs);
  }

  sessionDelete(sessionNumber: number): void {
    this.#begin(RecordKind.SessionDelete, sessionNumber);
  }

  subscriptionPut(row: SubscriptionRow): void {
    this.#begin(RecordKind.SubscriptionPut, row.sessionNumber);
    this.#writer.string(row.filter);
    this.#writer.u8(row.qos | (row.noLocal ? 4 : 0) | (row.retainAsPublished ? 8 : 0) | (row.isSearching ? 16 : 0));
    this.#identifiers(row.subscriptionIdentifiers);
  }

  subscriptionDelete(sessionNumber: number, filter: string): void {
    this.#begin(RecordKind.SubscriptionDelete, sessionNumber);
    this.#writer.string(filter);
  }

  queuePut(row: QueuedRow, message: MessageRow): void {
    this.#queued(RecordKind.QueuePut, row);
    this.#message(message);
  }

  messagePut(messageNumber: number, message: MessageRow): void {
    this.#writer.u8(RecordKind.MessagePut);
    this.#u53(messageNumber);
    this.#message(message);
  }

  queueRef(row: QueuedRow, messageNumber: number): void {
    this.#queued(RecordKind.QueueRef, row);
    this.#u53(messageNumber);
  }

  queueProgress(sessionNumber: number, sequence: number, progress: DeliveryProgress, packetId: number): void {
    this.#begin(RecordKind.QueueProgress, sessionNumber);
    this.#u53(sequence);
    this.#writer.u8(progress);
    this.#writer.u16(packetId);
  }

  queueDelete(sessionNumber: number, sequence: number): void {
    this.#begin(RecordKind.QueueDelete, sessionNumber);
    this.#u53(sequence);
  }

  queueDropOldest(sessionNumber: number, afterSequence: number): void {
    this.#begin(RecordKind.QueueDropOldest, sessionNumber);
    this.#u53(afterSequence);
  }

  queueTail(row: QueueTailRow): void {
    this.#begin(RecordKind.QueueTail, row.sessionNumber);
    this.#u53(row.count);
    this.#u53(row.bytes);
    this.#u53(row.lastSequence);
  }

  inboundPut(sessionNumber: number, packetId: number): void {
    this.#begin(RecordKind.InboundPut, sessionNumber);
    this.#writer.u16(packetId);
  }

  inboundDelete(sessionNumber: number, packetId: number): void {
    this.#begin(RecordKind.InboundDelete, sessionNumber);
    this.#writer.u16(packetId);
  }

  retainedPut(message: MessageRow): void {
    this.#writer.u8(RecordKind.RetainedPut);
    this.#message(message);
  }

  retainedDelete(topicName: Uint8Array): void {
    this.#writer.u8(RecordKind.RetainedDelete);
    this.#writer.binary(topicName);
  }

  willPut(row: WillRow, message: MessageRow): void {
    this.#begin(RecordKind.WillPut, row.sessionNumber);
    this.#writer.u32(row.delayInterval);
    // One more than it is, so that "none" is 0.
    this.#u53(row.messageExpiryInterval + 1);
    this.#u53(row.dueAtMs);
    this.#message(message);
  }

  willDue(sessionNumber: number, dueAtMs: number): void {
    this.#begin(RecordKind.WillDue, sessionNumber);
    this.#u53(dueAtMs);
  }

  willDelete(sessionNumber: number): void {
    this.#begin(RecordKind.WillDelete, sessionNumber);
  }

  #begin(kind: number, sessionNumber: number): void {
    this.#writer.u8(kind);
    this.#writer.u32(sessionNumber);
  }

  #queued(kind: number, row: QueuedRow): void {
    this.#begin(kind, row.sessionNumber);
    this.#u53(row.sequence);
    const writer = this.#writer;
    writer.u8(row.qos | (row.retain ? 4 : 0) | (row.progress << 4));
    writer.u16(row.packetId);
    this.#identifiers(row.subscriptionIdentifiers);
    writer.string(row.sharedFilter);
  }

  #message(message: MessageRow): void {
    const writer = this.#writer;
    writer.binary(message.topicName);
    writer.u8(message.qos | (message.retain ? 4 : 0));
    this.#u53(message.expiresAtMs);
    writer.string(message.publisherId);
    this.#bytes(message.properties);
    this.#bytes(message.payload);
  }

  #identifiers(identifiers: readonly number[] | null): void {
    this.#writer.u16(identifiers?.length ?? 0);
    for (const identifier of identifiers ?? []) this.#writer.u32(identifier);
  }

  #bytes(bytes: Uint8Array): void {
    this.#writer.u32(bytes.length);
    this.#writer.raw(bytes, 0, bytes.length);
  }

  #u53(value: number): void {
    const high = Math.floor(value / HIGH);
    this.#writer.u8(high >>> 16);
    this.#writer.u16(high & 0xffff);
    this.#writer.u32(value % HIGH);
  }
}
