/**
 * The part of a session's queue that only the store has: beyond a window, messages that wait take no memory.
 *
 * Messages come back a page at a time, when the window has room and a client is there to take them. While a page is under way
 * nothing of it is dropped behind its back: what has given up its place meanwhile is taken away when it comes.
 */
import { ApplicationMessage } from "../application-message.ts";
import { Delivery } from "../session/inflight.ts";
import type { Journal } from "../session/journal.ts";
import { QueueTail } from "../session/queue-tail.ts";
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
/** What is read at once, for everybody else has to wait until it is handled: a few milliseconds. */
const PAGE_MESSAGES = 1_024;
const PAGE_BYTES = 1024 * 1024;

/** What stands for a Topic Name that the store gives back. */
export interface TopicNames {
  ofBytes(bytes: Uint8Array): ApplicationMessage["topicName"];
}

/** A message of a page. */
interface Found {
  readonly session: Session;
  readonly tail: QueueTail;
  readonly row: QueuedRow;
  readonly message: MessageRow;
  readonly nowMs: number;
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
    const { queue, tail, connection } = session;
    if (tail !== null && tail.count > 0) return true;
    if (queue === null) return false;
    const messagesMax = connection === null ? WINDOW_MESSAGES_AWAY : WINDOW_MESSAGES;
    const bytesMax = connection === null ? WINDOW_BYTES_AWAY : WINDOW_BYTES;
    return queue.length >= messagesMax || queue.bytes + delivery.message.sizeBytes > bytesMax;
  }

  /** A message that has just been recorded waits in the store alone. */
  add(session: Session, { storeSequence, message }: Delivery): void {
    const tail = (session.tail ??= new QueueTail());
    if (tail.count === 0) tail.afterSequence = storeSequence - 1;
    tail.lastSequence = storeSequence;
    grow(tail, message);
    session.queuedBytes += message.sizeBytes;
  }

  /** What is beyond the window of a client that is away goes back to where the store alone has it. */
  shrink(session: Session): void {
    const { queue, storeNumber } = session;
    // The page that is on its way comes behind what is in memory now.
    if (queue === null || storeNumber === 0 || (session.tail?.request ?? 0) !== 0) return;
    while (queue.length > WINDOW_MESSAGES_AWAY || (queue.length > 1 && queue.bytes > WINDOW_BYTES_AWAY)) {
      const { storeSequence, message, mayBeRepeated } = queue.pop()!;
      const tail = (session.tail ??= new QueueTail());
      if (tail.count === 0) tail.lastSequence = storeSequence;
      tail.afterSequence = storeSequence - 1;
      grow(tail, message);
      if (mayBeRepeated) tail.repeatsLeft++;
    }
  }

  /** The first of the tail gives up its place; its size is not known here, the average stands for it. */
  dropOldest(session: Session, tail: QueueTail): void {
    const bytes = Math.floor(tail.bytes / tail.count);
    tail.count--;
    tail.bytes -= bytes;
    session.queuedBytes -= bytes;
    // It may be among what is found: counted here, it must not be counted again.
    if (tail.isSearch) this.#abandonSearch(tail);
    // What is on its way is taken away when it has come: the store must not drop another one for it.
    if (tail.request !== 0) tail.given++;
    else this.#journal.oldestDropped(session, tail.afterSequence);
    if (tail.count === 0) this.#settle(session, tail);
  }

  /** Asks for the next page where there is one, room for it, and a client. */
  refill(session: Session, tail: QueueTail): void {
    if (tail.count === 0 || tail.request !== 0 || !hasRoom(session)) return;
    tail.isSearch = false;
    this.#ask(session, tail, tail.afterSequence, PAGE_MESSAGES, PAGE_BYTES);
  }

  /** The queue is full: looks for messages that have expired, where there may be some. Their places are free a little later. */
  search(session: Session, nowMs: number): void {
    const { tail } = session;
    if (tail === null || tail.count === 0 || tail.request !== 0 || tail.nextExpiryMs > nowMs) return;
    tail.isSearch = true;
    tail.foundExpiryMs = Number.POSITIVE_INFINITY;
    this.#ask(session, tail, tail.afterSequence, WINDOW_MESSAGES_AWAY, WINDOW_BYTES_AWAY);
  }

  #abandonSearch(tail: QueueTail): void {
    this.#requests.delete(tail.request);
    tail.request = 0;
    tail.isSearch = false;
  }

  #ask(session: Session, tail: QueueTail, afterSequence: number, messagesMax: number, bytesMax: number): void {
    tail.pageAfter = afterSequence;
    tail.request = this.#journal.page({ session, tail, messagesMax, bytesMax });
    this.#requests.set(tail.request, session);
  }

  /** The session has ended. */
  forget(session: Session): void {
    if (session.tail !== null) this.#requests.delete(session.tail.request);
    session.tail = null;
  }

  /** A page has come; answers whose it is, or undefined where nobody waits for it any more. */
  take(request: number, records: Uint8Array, nowMs: number): Session | undefined {
    const session = this.#requests.get(request);
    if (session === undefined) return undefined;
    this.#requests.delete(request);
    const tail = session.tail!;
    tail.request = 0;
    let last = tail.pageAfter;
    const handle = tail.isSearch ? this.#look : this.#load;
    readRecords(records, {
      ...IGNORING_SINK,
      queuePut: (row, message) => {
        last = row.sequence;
        handle.call(this, { session, tail, row, message, nowMs });
      },
    });
    for (; tail.given > 0; tail.given--) this.#journal.oldestDropped(session, last);
    // What was counted and is not there was damaged.
    if (last === tail.pageAfter) last = tail.pageThrough;
    if (tail.isSearch) this.#searched(session, tail, last);
    else if (last > tail.afterSequence) tail.afterSequence = last;
    if (tail.count === 0 || tail.afterSequence >= tail.lastSequence) this.#settle(session, tail);
    if (session.connection === null) this.shrink(session);
    return session;
  }

  /** One message of a page that is to be sent. */
  #load({ session, tail, row, message: kept, nowMs }: Found): void {
    const { sequence } = row;
    if (tail.given > 0) {
      tail.given--;
      this.#journal.placeGone(session, sequence);
      return;
    }
    if (sequence <= tail.afterSequence || sequence > tail.lastSequence) return;
    tail.afterSequence = sequence;
    const delivery = this.delivery(session, row, kept);
    const { message } = delivery;
    // A count that is wrong, for there are damaged ones, must not make an end before the end.
    if (tail.count > 1 || sequence === tail.lastSequence) tail.count--;
    tail.bytes -= message.sizeBytes;
    session.queuedBytes -= message.sizeBytes;
    const mayBeRepeated = tail.repeatsLeft > 0;
    if (mayBeRepeated) tail.repeatsLeft--;
    if (message.expiresAtMs <= nowMs) {
      this.#statistics.dropped.expired++;
      this.#journal.dequeued(session, delivery);
    } else if (tail.isUnchecked && session.grant.maySubscribe(message.topicName.text, "", 0) === -1) {
      this.#statistics.dropped.notAuthorized++;
      this.#journal.dequeued(session, delivery);
    } else {
      // Sent at QoS 2, it would be under way.
      delivery.mayBeRepeated = mayBeRepeated && delivery.qos === 1;
      session.enqueue(delivery);
    }
  }

  /** One message of a page that is searched. */
  #look({ session, tail, row, message: kept, nowMs }: Found): void {
    if (kept.expiresAtMs > nowMs) {
      tail.foundExpiryMs = Math.min(tail.foundExpiryMs, kept.expiresAtMs);
      return;
    }
    if (tail.count === 0) return;
    const bytes = kept.topicName.length + kept.properties.length + kept.payload.length;
    tail.count--;
    tail.bytes -= bytes;
    session.queuedBytes -= bytes;
    this.#statistics.dropped.expired++;
    this.#journal.placeGone(session, row.sequence);
  }

  /** Goes on with a search, unless there is a client that takes messages, or nothing behind this place. */
  #searched(session: Session, tail: QueueTail, last: number): void {
    if (last >= tail.lastSequence) tail.nextExpiryMs = tail.foundExpiryMs;
    else if (!hasRoom(session) && tail.count > 0)
      this.#ask(session, tail, last, WINDOW_MESSAGES_AWAY, WINDOW_BYTES_AWAY);
  }

  /** The tail is empty: whatever the averages left over is nothing. */
  #settle(session: Session, tail: QueueTail): void {
    session.queuedBytes -= tail.bytes;
    tail.bytes = 0;
    tail.count = 0;
    tail.afterSequence = tail.lastSequence;
    tail.nextExpiryMs = Number.POSITIVE_INFINITY;
    tail.repeatsLeft = 0;
    tail.isUnchecked = false;
    if (tail.request === 0) session.tail = null;
  }

  /** A delivery as it was, out of what is kept of it. */
  delivery(session: Session, row: QueuedRow, kept: MessageRow): Delivery {
    const { qos, retain, subscriptionIdentifiers, sharedFilter, sequence } = row;
    const shareGroup = sharedFilter === "" ? null : groupOf(session, sharedFilter);
    const message = this.message(kept);
    const delivery = new Delivery(message, qos, retain, subscriptionIdentifiers, shareGroup);
    delivery.storeSequence = sequence;
    delivery.state = row.progress;
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

/** Whether there is a client, and room for a page in its window. */
function hasRoom({ connection, queue }: Session): boolean {
  if (connection === null) return false;
  return queue === null || (queue.length <= WINDOW_MESSAGES / 2 && queue.bytes <= WINDOW_BYTES / 2);
}

function grow(tail: QueueTail, { sizeBytes, expiresAtMs }: ApplicationMessage): void {
  tail.count++;
  tail.bytes += sizeBytes;
  if (expiresAtMs < tail.nextExpiryMs) tail.nextExpiryMs = expiresAtMs;
}

function groupOf(session: Session, sharedFilter: string): ShareGroup | null {
  return session.subscriptions?.get(sharedFilter)?.shareGroup ?? null;
}
