/**
 * Reads records, as record-writer.ts writes them, into a sink, in order.
 *
 * What is read comes from the broker itself or from a store that has checked it; anything else than records is a bug or
 * damage, and throws. Views that a sink gets are dead when it returns.
 */
import { decodeUtf8 } from "../codec/utf8.ts";
import {
  type DeliveryProgress,
  type MessageRow,
  type QueuedRow,
  type QueueTailRow,
  RecordKind,
  type RecordSink,
  type SessionRow,
  type SubscriptionRow,
  type WillRow,
} from "./store-record.ts";

const HIGH = 2 ** 32;
/** A message's record begins with the length of its Topic Name and ends with its payload. */
const TOPIC_LENGTH_BYTES = 2;

/** Bytes that are no records. */
export class RecordFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RecordFault";
  }
}

export function readRecords(bytes: Uint8Array, sink: RecordSink): void {
  const reader = new RecordReader(bytes);
  while (!reader.isAtEnd) readRecord(reader, sink);
}

/** The bytes of a message that `readRecords` has just handed over, as its record has them: a view, for `readMessage`. */
export function messageBytes({ topicName, payload }: MessageRow): Uint8Array {
  const start = topicName.byteOffset - TOPIC_LENGTH_BYTES;
  return new Uint8Array(topicName.buffer, start, payload.byteOffset + payload.length - start);
}

/** Reads what `messageBytes` took out of a record. */
export function readMessage(bytes: Uint8Array): MessageRow {
  const reader = new RecordReader(bytes);
  const message = reader.message();
  if (!reader.isAtEnd) throw new RecordFault("expected the end of a message");
  return message;
}

function readRecord(reader: RecordReader, sink: RecordSink): void {
  const kind = reader.u8();
  switch (kind) {
    case RecordKind.Time:
      return sink.time(reader.u53());
    case RecordKind.SessionPut:
      return sink.sessionPut(reader.session());
    case RecordKind.SessionAway:
      return sink.sessionAway(reader.u32(), reader.u32(), reader.u53());
    case RecordKind.SessionDelete:
      return sink.sessionDelete(reader.u32());
    case RecordKind.SubscriptionPut:
      return sink.subscriptionPut(reader.subscription());
    case RecordKind.SubscriptionDelete:
      return sink.subscriptionDelete(reader.u32(), reader.text());
    case RecordKind.QueuePut:
      return sink.queuePut(reader.queued(), reader.message());
    case RecordKind.MessagePut:
      return sink.messagePut(reader.u53(), reader.message());
    case RecordKind.QueueRef:
      return sink.queueRef(reader.queued(), reader.u53());
    case RecordKind.QueueProgress:
      return sink.queueProgress(reader.u32(), reader.u53(), (reader.u8() & 3) as DeliveryProgress, reader.u16());
    case RecordKind.QueueDelete:
      return sink.queueDelete(reader.u32(), reader.u53());
    case RecordKind.QueueDropOldest:
      return sink.queueDropOldest(reader.u32(), reader.u53());
    case RecordKind.QueueTail:
      return sink.queueTail(reader.tail());
    case RecordKind.InboundPut:
      return sink.inboundPut(reader.u32(), reader.u16());
    case RecordKind.InboundDelete:
      return sink.inboundDelete(reader.u32(), reader.u16());
    case RecordKind.RetainedPut:
      return sink.retainedPut(reader.message());
    case RecordKind.RetainedDelete:
      return sink.retainedDelete(reader.bytes(reader.u16()));
    case RecordKind.WillPut:
      return sink.willPut(reader.will(), reader.message());
    case RecordKind.WillDue:
      return sink.willDue(reader.u32(), reader.u53());
    case RecordKind.WillDelete:
      return sink.willDelete(reader.u32());
    default:
      throw new RecordFault(`expected a record, found kind ${kind}`);
  }
}

class RecordReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    if (this.#at >= this.#bytes.length) throw new RecordFault("records end in the middle of one");
    return this.#bytes[this.#at++]!;
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8();
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16();
  }

  u53(): number {
    return (this.u8() * 0x10000 + this.u16()) * HIGH + this.u32();
  }

  bytes(count: number): Uint8Array {
    const start = this.#at;
    if (count > this.#bytes.length - start) throw new RecordFault("records end in the middle of one");
    this.#at += count;
    return this.#bytes.subarray(start, this.#at);
  }

  text(): string {
    const bytes = this.bytes(this.u16());
    return decodeUtf8(bytes, 0, bytes.length);
  }

  longText(): string {
    const bytes = this.bytes(this.u32());
    return decodeUtf8(bytes, 0, bytes.length);
  }

  identifiers(): readonly number[] | null {
    const count = this.u16();
    return count === 0 ? null : Array.from({ length: count }, () => this.u32());
  }

  session(): SessionRow {
    const sessionNumber = this.u32();
    const isConnected = this.u8() === 1;
    const clientId = this.text();
    const principal = this.longText();
    const expiryInterval = this.u32();
    const requestedExpiryInterval = this.u32();
    const expiresAtMs = this.u53();
    return { sessionNumber, isConnected, clientId, principal, expiryInterval, requestedExpiryInterval, expiresAtMs };
  }

  subscription(): SubscriptionRow {
    const sessionNumber = this.u32();
    const filter = this.text();
    const options = this.u8();
    return {
      sessionNumber,
      filter,
      qos: qosOf(options),
      noLocal: (options & 4) !== 0,
      retainAsPublished: (options & 8) !== 0,
      isSearching: (options & 16) !== 0,
      subscriptionIdentifiers: this.identifiers(),
    };
  }

  queued(): QueuedRow {
    const sessionNumber = this.u32();
    const sequence = this.u53();
    const flags = this.u8();
    return {
      sessionNumber,
      sequence,
      qos: qosOf(flags),
      retain: (flags & 4) !== 0,
      progress: ((flags >> 4) & 3) as DeliveryProgress,
      packetId: this.u16(),
      subscriptionIdentifiers: this.identifiers(),
      sharedFilter: this.text(),
    };
  }

  tail(): QueueTailRow {
    const sessionNumber = this.u32();
    return { sessionNumber, count: this.u53(), bytes: this.u53(), lastSequence: this.u53() };
  }

  will(): WillRow {
    const sessionNumber = this.u32();
    const delayInterval = this.u32();
    const messageExpiryInterval = this.u53() - 1;
    return { sessionNumber, delayInterval, messageExpiryInterval, dueAtMs: this.u53() };
  }

  message(): MessageRow {
    const topicName = this.bytes(this.u16());
    const flags = this.u8();
    const expiresAtMs = this.u53();
    const publisherId = this.text();
    const properties = this.bytes(this.u32());
    const payload = this.bytes(this.u32());
    return {
      topicName,
      qos: qosOf(flags),
      retain: (flags & 4) !== 0,
      expiresAtMs,
      publisherId,
      properties,
      payload,
    };
  }
}

function qosOf(flags: number): 0 | 1 | 2 {
  const qos = flags & 3;
  if (qos === 3) throw new RecordFault("expected a QoS of 0, 1 or 2, found 3");
  return qos as 0 | 1 | 2;
}
