/**
 * What a turn changes of the state that outlives the process, as records for the store.
 *
 * Order is everything: records stand in the order of what happened, a turn's are one batch, and batches are numbered by
 * tickets. `changes` is raised by every record that an acknowledgement has to wait for; what is lazy (a PUBACK of a client,
 * a connection that ends) leaves it alone, since doing it again after a crash is harmless.
 *
 * Invariant: nothing is recorded of a session without a `storeNumber`; without a store no session has one.
 */
import type { ApplicationMessage } from "../application-message.ts";
import type { PrincipalInit } from "../gate/provider.ts";
import type { Store } from "../ports.ts";
import { messageRow, RecordWriter, timeOf } from "../store/record-writer.ts";
import type { Durability } from "../store/store-engine.ts";
import { NO_TIME, type QueuedRow } from "../store/store-record.ts";
import { type Delivery, DeliveryState } from "./inflight.ts";
import type { QueueTail } from "./queue-tail.ts";
import type { Session } from "./session.ts";
import type { Subscription } from "./subscription.ts";

/** A message that the store is to keep for a session. */
interface Place {
  readonly session: Session;
  readonly delivery: Delivery;
}

/** A batch that the store has not confirmed. */
interface Batch {
  readonly ticket: number;
  readonly bytes: number;
}

/** Milliseconds since 1970. */
interface Clock {
  readonly nowMs: number;
}

/** Messages of a session that are to be read from the store. */
export interface PageWish {
  readonly session: Session;
  readonly tail: QueueTail;
  readonly messagesMax: number;
  readonly bytesMax: number;
}

/** Numbers a millisecond has; they are never used up, and what was numbered in an earlier run is lower. */
const NUMBERS_PER_MS = 1024;

export class Journal {
  readonly #store: Store | undefined;
  readonly #records = new RecordWriter();
  /** Raised by everything that an acknowledgement waits for. */
  changes = 0;
  /** Of the batch that is being written. */
  ticket = 1;
  /** Everything up to here is safe. */
  committedTicket = 0;
  /** Bytes of batches that are not. */
  backlogBytes = 0;
  /** The disk is nearly full: nothing is added. */
  isFull = false;
  lastSessionNumber = 0;
  /** The batch in which a session ended last. */
  #lastEndTicket = 0;
  #lastNumber: number;
  #backlog: Batch[] = [];
  #durability: Durability = "written";
  #isAwaited = false;
  /** The message whose receivers are being gathered: it is written once for all of them. */
  #message: ApplicationMessage | null = null;
  #places: Place[] = [];
  #wishes: PageWish[] = [];
  #lastRequest = 0;

  readonly #clock: Clock;

  constructor(store: Store | undefined, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#lastNumber = Math.floor(clock.nowMs) * NUMBERS_PER_MS;
  }

  get isOn(): boolean {
    return this.#store !== undefined;
  }

  /** Whether a session has ended that would be back after a crash now. */
  get mayRevive(): boolean {
    return this.#lastEndTicket > this.committedTicket;
  }

  /** Numbers up to here are taken. */
  passed(number: number): void {
    this.#lastNumber = Math.max(this.#lastNumber, number);
  }

  /** Numbers that were given by then are taken, known or not. */
  passedUntil(nowMs: number): void {
    this.passed((Math.floor(nowMs) + 1) * NUMBERS_PER_MS);
  }

  /** Somebody waits for this turn's records, and for no less than this. */
  demand(durability: Durability): void {
    this.#isAwaited = true;
    if (durability === "fsync") this.#durability = durability;
  }

  /** Begins to keep a session, with all there is of it. */
  adopt(session: Session): void {
    session.storeNumber = ++this.lastSessionNumber;
    this.session(session);
    for (const subscription of session.subscriptions?.values() ?? []) this.subscription(subscription);
    for (const packetId of session.inboundQos2?.keys() ?? []) this.inbound(session, packetId);
    for (const delivery of session.inflight.inOrder()) this.queued(session, delivery);
    for (const delivery of session.queue?.all() ?? []) this.queued(session, delivery);
  }

  /** The session as it is now: who it belongs to, whether its client is connected, its Will. */
  session(session: Session): void {
    if (session.storeNumber === 0) return;
    const { storeNumber: sessionNumber, clientId, expiryInterval, requestedExpiryInterval } = session;
    const isConnected = session.connection !== null;
    const expiresAtMs = isConnected ? NO_TIME : expiryOf(session);
    this.#change().sessionPut({
      sessionNumber,
      clientId,
      principal: JSON.stringify(keptPrincipal(session)),
      expiryInterval,
      requestedExpiryInterval,
      expiresAtMs,
      isConnected,
    });
    this.will(session);
  }

  will(session: Session): void {
    const { will, storeNumber: sessionNumber } = session;
    if (sessionNumber === 0) return;
    if (will === null) {
      this.#change().willDelete(sessionNumber);
      return;
    }
    const { message, delayInterval, messageExpiryInterval } = will;
    const row = { sessionNumber, delayInterval, messageExpiryInterval, dueAtMs: willDueOf(session) };
    this.#change().willPut(row, messageRow(message));
  }

  /** The client has left; deadlines are set. */
  away(session: Session): void {
    if (session.storeNumber === 0) return;
    const { storeNumber, expiryInterval, will } = session;
    const records = this.#open();
    records.sessionAway(storeNumber, expiryInterval, expiryOf(session));
    if (will === null) records.willDelete(storeNumber);
    else records.willDue(storeNumber, willDueOf(session));
  }

  /** The Will is published or will never be; what it became is in the same batch. */
  willGone(session: Session): void {
    if (session.storeNumber !== 0) this.#open().willDelete(session.storeNumber);
  }

  sessionGone(session: Session): void {
    if (session.storeNumber === 0) return;
    this.#lastEndTicket = this.ticket;
    this.#change().sessionDelete(session.storeNumber);
    session.storeNumber = 0;
  }

  subscription(subscription: Subscription): void {
    const { session, filter, qos, noLocal, retainAsPublished, subscriptionIdentifiers } = subscription;
    const sessionNumber = session.storeNumber;
    if (sessionNumber === 0) return;
    const isSearching = session.replays?.has(subscription) === true || session.searches?.has(subscription) === true;
    const options = { qos, noLocal, retainAsPublished, isSearching, subscriptionIdentifiers };
    this.#change().subscriptionPut({ sessionNumber, filter, ...options });
  }

  /** All retained messages were sent for it. Nobody waits for that: they may come again. */
  searched(subscription: Subscription): void {
    const { changes } = this;
    this.subscription(subscription);
    this.changes = changes;
  }

  subscriptionGone({ session, filter }: Subscription): void {
    if (session.storeNumber !== 0) this.#change().subscriptionDelete(session.storeNumber, filter);
  }

  /** A message waits for the session, or is under way to it. */
  queued(session: Session, delivery: Delivery): void {
    if (session.storeNumber === 0) return;
    if (this.#message !== delivery.message) {
      this.#writePlaces();
      this.#message = delivery.message;
    }
    this.changes++;
    delivery.storeSequence = ++this.#lastNumber;
    this.#places.push({ session, delivery });
  }

  /** A delivery has gone a step further, which at QoS 2 must not be forgotten. */
  progress(session: Session, delivery: Delivery): void {
    const { storeSequence, state, packetId } = delivery;
    if (storeSequence === 0 || session.storeNumber === 0) return;
    if (delivery.qos === 2) this.changes++;
    this.#open().queueProgress(session.storeNumber, storeSequence, state, packetId);
  }

  /** A delivery is over, or given up. */
  dequeued(session: Session, delivery: Delivery): void {
    if (delivery.storeSequence === 0 || session.storeNumber === 0) return;
    this.#open().queueDelete(session.storeNumber, delivery.storeSequence);
    delivery.storeSequence = 0;
  }

  /** The same of a message that only the store has. */
  placeGone({ storeNumber }: Session, sequence: number): void {
    if (storeNumber !== 0) this.#open().queueDelete(storeNumber, sequence);
  }

  /** The first message behind this place that only the store has gives up its own. */
  oldestDropped({ storeNumber }: Session, afterSequence: number): void {
    if (storeNumber !== 0) this.#open().queueDropOldest(storeNumber, afterSequence);
  }

  inbound(session: Session, packetId: number): void {
    if (session.storeNumber !== 0) this.#change().inboundPut(session.storeNumber, packetId);
  }

  inboundGone(session: Session, packetId: number): void {
    if (session.storeNumber !== 0) this.#change().inboundDelete(session.storeNumber, packetId);
  }

  retained(message: ApplicationMessage): void {
    if (this.isOn) this.#change().retainedPut(messageRow(message));
  }

  retainedGone(message: ApplicationMessage): void {
    if (this.isOn) this.#change().retainedDelete(message.topicName.bytes);
  }

  /** Asks for messages that only the store has, once this turn's records are on their way. */
  page(wish: PageWish): number {
    this.#wishes.push(wish);
    return ++this.#lastRequest;
  }

  /** Ends a turn: its records leave as one batch. */
  endTurn(): void {
    const store = this.#store;
    if (store === undefined) return;
    this.#writePlaces();
    // Whoever waits is answered, whatever there was to write.
    if (this.#isAwaited) this.#open();
    if (this.#records.length > 0) {
      const records = this.#records.take();
      this.backlogBytes += records.length;
      this.#backlog.push({ ticket: this.ticket, bytes: records.length });
      const durability = this.#durability;
      this.#durability = "written";
      this.#isAwaited = false;
      store.commit(records, this.ticket++, durability);
      this.#lastNumber = Math.max(this.#lastNumber, Math.floor(this.#clock.nowMs) * NUMBERS_PER_MS);
    }
    if (this.#wishes.length === 0) return;
    const wishes = this.#wishes;
    this.#wishes = [];
    for (const { session, tail, messagesMax, bytesMax } of wishes) {
      if (session.tail !== tail) continue;
      tail.pageThrough = this.#lastNumber;
      store.page(tail.request, session.storeNumber, tail.pageAfter, messagesMax, bytesMax);
    }
  }

  committed(ticket: number): void {
    this.committedTicket = ticket;
    let count = 0;
    for (const batch of this.#backlog) {
      if (batch.ticket > ticket) break;
      this.backlogBytes -= batch.bytes;
      count++;
    }
    this.#backlog.splice(0, count);
  }

  #change(): RecordWriter {
    this.changes++;
    return this.#open();
  }

  /** Where the next record goes; what was gathered before it stands in front of it. */
  #open(): RecordWriter {
    if (this.#places.length > 0) this.#writePlaces();
    return this.#begun();
  }

  /** A batch begins with the time. */
  #begun(): RecordWriter {
    const records = this.#records;
    if (records.length === 0) records.time(this.#clock.nowMs);
    return records;
  }

  #writePlaces(): void {
    const places = this.#places;
    const message = this.#message;
    this.#message = null;
    if (places.length === 0 || message === null) return;
    this.#places = [];
    const records = this.#begun();
    if (places.length === 1) {
      records.queuePut(rowOf(places[0]!), messageRow(message));
      return;
    }
    const messageNumber = ++this.#lastNumber;
    records.messagePut(messageNumber, messageRow(message));
    for (const place of places) records.queueRef(rowOf(place), messageNumber);
  }
}

/** Whose the session is and what it may do. Claims and the like stay out of the store: the rules are filled in. */
function keptPrincipal({ principal, owner, grant }: Session): PrincipalInit {
  const { username, clientId, sessionExpiryIntervalMax } = principal;
  // Of its owner, also while nobody has rights to it.
  const [provider = "", ...rest] = owner.split("\u0000");
  return {
    id: rest.join("\u0000"),
    permissions: grant.filled,
    ...(provider === "" ? {} : { provider }),
    ...(username === undefined ? {} : { username }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(sessionExpiryIntervalMax === undefined ? {} : { sessionExpiryIntervalMax }),
  };
}

function rowOf({ session, delivery }: Place): QueuedRow {
  const { qos, retain, subscriptionIdentifiers, shareGroup, state, packetId } = delivery;
  return {
    sessionNumber: session.storeNumber,
    sequence: delivery.storeSequence,
    qos,
    retain,
    subscriptionIdentifiers,
    sharedFilter: shareGroup === null ? "" : `$share/${shareGroup.shareName}/${shareGroup.topicFilter}`,
    progress: state,
    packetId: state === DeliveryState.Queued ? 0 : packetId,
  };
}

function expiryOf({ expiryDeadline }: Session): number {
  return expiryDeadline === null || expiryDeadline.index === -1 ? NO_TIME : timeOf(expiryDeadline.atMs);
}

function willDueOf({ willDeadline }: Session): number {
  return willDeadline === null || willDeadline.index === -1 ? NO_TIME : timeOf(willDeadline.atMs);
}
