/**
 * The part of a session's queue that only the store has: beyond a window, messages that wait take no memory.
 *
 * Invariant: the tail is behind everything in `session.queue`, and `session.loadedSequence` is where it begins. Messages come
 * back a page at a time, when the window has room and a client is there to take them.
 */
import { ApplicationMessage } from "../application-message.ts";
import type { Connection } from "../connection/connection.ts";
import { Delivery, DeliveryState } from "../session/inflight.ts";
import type { Journal } from "../session/journal.ts";
import type { Session } from "../session/session.ts";
import type { ShareGroup } from "../session/subscription.ts";
import type { Statistics } from "../statistics.ts";
import { readRecords } from "../store/read-records.ts";
import { IGNORING_SINK, type MessageRow, NO_TIME, type QueuedRow } from "../store/store-record.ts";

/** Messages of one session that wait in memory; the others wait in the store. Less of one whose client is away. */
const WINDOW_MESSAGES = 4_096;
const WINDOW_MESSAGES_AWAY = 256;
const WINDOW_BYTES = 4 * 1024 * 1024;
const WINDOW_BYTES_AWAY = 256 * 1024;

/** What stands for a Topic Name that the store gives back. */
export interface TopicNames {
  ofBytes(bytes: Uint8Array): ApplicationMessage["topicName"];
}

export class Tails {
  readonly #journal: Journal;
  readonly #statistics: Statistics;
  readonly #topics: TopicNames;
  readonly #requests = new Map<number, Session>();

  constructor(journal: Journal, statistics: Statistics, topics: TopicNames) {
    this.#journal = journal;
    this.#statistics = statistics;
    this.#topics = topics;
  }

  /** Whether one more message of the session has to wait in the store alone. */
  takes(session: Session, delivery: Delivery): boolean {
    if (session.storeNumber === 0) return false;
    if (session.tailCount > 0) return true;
    const { queue, connection } = session;
    if (queue === null) return false;
    const messagesMax = connection === null ? WINDOW_MESSAGES_AWAY : WINDOW_MESSAGES;
    const bytesMax = connection === null ? WINDOW_BYTES_AWAY : WINDOW_BYTES;
    return queue.length >= messagesMax || queue.bytes + delivery.message.sizeBytes > bytesMax;
  }

  /** A message that has just been recorded waits in the store alone. */
  add(session: Session, delivery: Delivery): void {
    if (session.tailCount === 0) session.loadedSequence = delivery.storeSequence - 1;
    session.tailCount++;
    session.tailBytes += delivery.message.sizeBytes;
    session.queuedBytes += delivery.message.sizeBytes;
  }

  /** The first of the tail gives up its place; its size is not known here, the average stands for it. */
  dropOldest(session: Session): void {
    const bytes = Math.floor(session.tailBytes / session.tailCount);
    session.tailCount--;
    session.tailBytes -= bytes;
    session.queuedBytes -= bytes;
    this.#journal.oldestDropped(session);
    if (session.tailCount === 0) this.#settle(session);
  }

  /** Asks for the next page where there is one, room for it, and a client. */
  refill(session: Session, connection: Connection | null): void {
    if (session.tailCount === 0 || session.pageRequest !== 0 || connection === null) return;
    const waiting = session.queue?.length ?? 0;
    if (waiting > WINDOW_MESSAGES / 2) return;
    const wish = { session, messagesMax: WINDOW_MESSAGES - waiting, bytesMax: WINDOW_BYTES };
    session.pageRequest = this.#journal.page(wish);
    this.#requests.set(session.pageRequest, session);
  }

  /** A page has come; answers whose it is, or undefined where nobody waits for it any more. */
  take(request: number, records: Uint8Array): Session | undefined {
    const session = this.#requests.get(request);
    this.#requests.delete(request);
    if (session === undefined || session.pageRequest !== request) return undefined;
    session.pageRequest = 0;
    let count = 0;
    readRecords(records, {
      ...IGNORING_SINK,
      queuePut: (row, message) => {
        count++;
        this.#load(session, row, message);
      },
    });
    // What was counted and is not there was damaged or has been dropped by the store.
    if (count === 0) session.tailCount = 0;
    if (session.tailCount === 0) this.#settle(session);
    return session;
  }

  #load(session: Session, row: QueuedRow, kept: MessageRow): void {
    if (session.tailCount === 0) return;
    session.loadedSequence = row.sequence;
    const delivery = this.delivery(session, row, kept);
    const bytes = delivery.message.sizeBytes;
    session.tailCount--;
    session.tailBytes -= bytes;
    session.queuedBytes -= bytes;
    if (session.checksTail && session.grant.maySubscribe(delivery.message.topicName.text, "", 0) === -1) {
      this.#statistics.dropped.notAuthorized++;
      this.#journal.dequeued(session, delivery);
      return;
    }
    delivery.mayBeRepeated = session.repeatsLeft > 0;
    if (session.repeatsLeft > 0) session.repeatsLeft--;
    session.enqueue(delivery);
  }

  /** The tail is empty: whatever the averages left over is nothing. */
  #settle(session: Session): void {
    session.queuedBytes -= session.tailBytes;
    session.tailBytes = 0;
    session.checksTail = false;
    session.repeatsLeft = 0;
  }

  /** A delivery as it was, out of what is kept of it. */
  delivery(session: Session, row: QueuedRow, kept: MessageRow): Delivery {
    const { qos, retain, subscriptionIdentifiers, sharedFilter, sequence } = row;
    const shareGroup = sharedFilter === "" ? null : groupOf(session, sharedFilter);
    const message = this.message(kept);
    const delivery = new Delivery(message, qos, retain, subscriptionIdentifiers, shareGroup);
    delivery.storeSequence = sequence;
    if (row.progress !== DeliveryState.Queued) {
      delivery.state = row.progress;
      delivery.storedPacketId = row.packetId;
    }
    return delivery;
  }

  /** An owned message, out of what is kept of it. */
  message(kept: MessageRow): ApplicationMessage {
    const { topicName, qos, retain, expiresAtMs, publisherId, properties, payload } = kept;
    const bytes = new Uint8Array(properties.length + payload.length);
    bytes.set(properties, 0);
    bytes.set(payload, properties.length);
    const message = new ApplicationMessage();
    message.topicName = this.#topics.ofBytes(topicName);
    message.qos = qos;
    message.retain = retain;
    message.expiresAtMs = expiresAtMs === NO_TIME ? Number.POSITIVE_INFINITY : expiresAtMs;
    message.publisherId = publisherId;
    message.properties = bytes;
    message.propertiesEnd = properties.length;
    message.payload = bytes;
    message.payloadStart = properties.length;
    message.payloadEnd = bytes.length;
    message.owned = true;
    return message;
  }
}

function groupOf(session: Session, sharedFilter: string): ShareGroup | null {
  return session.subscriptions?.get(sharedFilter)?.shareGroup ?? null;
}
