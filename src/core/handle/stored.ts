/**
 * What the store says: a batch is safe, messages were read, the disk is full; and what it gives back at the start.
 *
 * A broker that starts takes over everything as it was, then treats clients that were connected as having left just now: their
 * sessions begin to expire, and their Wills are due after their delay (MQTT 5.0 sections 3.1.2.5, 3.1.2.11.2 and 4.1).
 */

import { parseTopicFilter } from "../codec/topic.ts";
import type { Connection } from "../connection/connection.ts";
import { Deadline } from "../deadlines.ts";
import { Grant } from "../gate/grant.ts";
import type { Principal } from "../gate/provider.ts";
import { QueueTail } from "../session/queue-tail.ts";
import { NEVER_EXPIRES, Session } from "../session/session.ts";
import { Subscription, subscriptionWeight } from "../session/subscription.ts";
import type { BrokerState } from "../state.ts";
import type { StoreLoad } from "../store/store-engine.ts";
import {
  IGNORING_SINK,
  NO_TIME,
  type QueueTailRow,
  type RecordSink,
  type SessionRow,
  type SubscriptionRow,
} from "../store/store-record.ts";
import { ownerOf } from "./accept.ts";
import { endSession } from "./closed.ts";
import { handleAllDue } from "./due.ts";
import { NO_RIGHTS, NOBODY } from "./revoke.ts";
import { publishStatistics } from "./sys.ts";

/** Part of the backlog's bound at which clients are read from again. */
const BACKLOG_RESUME = 0.5;

/** A batch is safe: what waited for it is sent. Answers connections whose output was held up by nothing else. */
export function takeCommitted(state: BrokerState, ticket: number): readonly Connection[] {
  const { journal, awaitingStore, config } = state;
  journal.committed(ticket);
  const relieved = state.outboxes.release();
  if (awaitingStore.size > 0 && journal.backlogBytes <= config.limits.storeBacklogBytesMax * BACKLOG_RESUME) {
    for (const connection of awaitingStore) {
      // Its PINGREQ could not be read either.
      connection.lastReceivedMs = state.nowMs;
      if (!connection.congested) connection.wire.resume();
    }
    awaitingStore.clear();
  }
  return relieved;
}

/** A client that has just made the store's backlog too large is not read from until it is smaller. */
export function awaitStore(state: BrokerState, connection: Connection): void {
  if (state.journal.backlogBytes <= state.config.limits.storeBacklogBytesMax) return;
  state.awaitingStore.add(connection);
  connection.wire.pause();
}

/** What the store remembers, put back in place. */
export class Restoration {
  readonly #state: BrokerState;
  readonly #byNumber = new Map<number, Session>();
  readonly #connected: Session[] = [];
  readonly #willsDue = new Map<Session, number>();
  readonly #searching: Subscription[] = [];
  /** By the permissions they are made of: thousands of clients often have the same rights. */
  readonly #grants = new Map<string, Grant>();
  readonly sink: RecordSink;
  /** Retained messages put back. */
  retained = 0;

  constructor(state: BrokerState) {
    this.#state = state;
    this.sink = {
      ...IGNORING_SINK,
      sessionPut: (row) => this.#session(row),
      subscriptionPut: (row) => this.#subscription(row),
      queuePut: (row, message) => {
        const session = this.#byNumber.get(row.sessionNumber);
        if (session === undefined) return;
        const delivery = state.outbound.tails.delivery(session, row, message);
        state.journal.passed(row.sequence);
        if (session.inflight.restore(delivery, row.packetId)) session.queuedBytes += delivery.message.sizeBytes;
      },
      queueTail: (row) => this.#tail(row),
      inboundPut: (sessionNumber, packetId) => {
        const session = this.#byNumber.get(sessionNumber);
        if (session !== undefined) (session.inboundQos2 ??= new Map()).set(packetId, session.connectionNumber);
      },
      retainedPut: (kept) => {
        this.retained++;
        const entry = state.retained.set(state.outbound.tails.message(kept));
        if (kept.expiresAtMs !== NO_TIME) state.deadlines.set(entry.deadline, kept.expiresAtMs);
      },
      willPut: ({ sessionNumber, delayInterval, messageExpiryInterval, dueAtMs }, kept) => {
        const session = this.#byNumber.get(sessionNumber);
        if (session === undefined) return;
        session.will = { message: state.outbound.tails.message(kept), delayInterval, messageExpiryInterval };
        this.#willsDue.set(session, dueAtMs);
      },
    };
  }

  /** Sessions put back. */
  get sessions(): number {
    return this.#byNumber.size;
  }

  /** Everything was given: clients that were connected have left now. */
  finish({ brokerMs, sessionNumberMax, messageNumberMax }: StoreLoad, nowMs: number): void {
    const state = this.#state;
    const { journal } = state;
    state.nowMs = nowMs;
    state.startedAtMs = nowMs;
    journal.lastSessionNumber = sessionNumberMax;
    journal.passed(messageNumberMax);
    journal.passedUntil(brokerMs);
    for (const [session, dueAtMs] of this.#willsDue) if (dueAtMs !== NO_TIME) this.#willAt(session, dueAtMs);
    for (const { inflight } of this.#byNumber.values()) inflight.restored();
    for (const subscription of this.#searching) this.#searchAgain(subscription);
    for (const session of this.#connected) this.#leave(session);
    // Before the first client is let in: what has expired meanwhile is nobody's any more.
    handleAllDue(state);
    if (state.config.sysIntervalMs > 0) publishStatistics(state);
  }

  #session(row: SessionRow): void {
    const state = this.#state;
    const { clientId, sessionNumber, expiryInterval, requestedExpiryInterval, expiresAtMs } = row;
    const kept = JSON.parse(row.principal) as Principal;
    const { principal, grant } = this.#rightsOf(kept);
    const session = new Session(clientId, ownerOf(kept), grant, principal);
    session.storeNumber = sessionNumber;
    session.expiryInterval = expiryInterval;
    session.requestedExpiryInterval = requestedExpiryInterval;
    this.#byNumber.set(sessionNumber, session);
    state.sessions.set(clientId, session);
    state.offline.add(session);
    if (row.isConnected) this.#connected.push(session);
    else if (expiresAtMs !== NO_TIME) this.#expireAt(session, expiresAtMs);
  }

  /** Withdrawn rights stay withdrawn, until somebody is let in. */
  #rightsOf(principal: Principal): { readonly principal: Principal; readonly grant: Grant } {
    const { permissions } = principal;
    const hasNone = permissions !== "everything" && permissions.allow.length === 0;
    if (hasNone) return { principal: NOBODY, grant: NO_RIGHTS };
    return { principal, grant: this.#grantOf(principal) };
  }

  #grantOf(principal: Principal): Grant {
    const key = JSON.stringify(principal.permissions);
    let grant = this.#grants.get(key);
    if (grant === undefined) {
      grant = new Grant(principal, "", this.#state.config.ceiling, true);
      this.#grants.set(key, grant);
    }
    return grant;
  }

  #subscription(row: SubscriptionRow): void {
    const state = this.#state;
    const session = this.#byNumber.get(row.sessionNumber);
    const parsed = parseTopicFilter(row.filter, state.config.limits.topicLevelsMax);
    // A filter that is deeper than what is allowed now.
    if (session === undefined || parsed === undefined) return;
    const subscription = new Subscription(session, row.filter);
    subscription.qos = row.qos;
    subscription.noLocal = row.noLocal;
    subscription.retainAsPublished = row.retainAsPublished;
    subscription.subscriptionIdentifiers = row.subscriptionIdentifiers;
    (session.subscriptions ??= new Map()).set(row.filter, subscription);
    session.subscriptionBytes += subscriptionWeight(row.filter);
    state.router.add(subscription, parsed.shareName);
    if (row.isSearching) this.#searching.push(subscription);
  }

  #searchAgain(subscription: Subscription): void {
    const { retained } = this.#state;
    const begin = () => {
      const search = retained.walk(subscription.topicFilter);
      return { subscription, search, sequenceMax: retained.sequence, isStored: true };
    };
    (subscription.session.searches ??= new Map()).set(subscription, begin);
  }

  #tail({ sessionNumber, count, bytes, lastSequence }: QueueTailRow): void {
    const session = this.#byNumber.get(sessionNumber);
    if (session === undefined) return;
    this.#state.journal.passed(lastSequence);
    const tail = new QueueTail();
    tail.count = count;
    tail.bytes = bytes;
    tail.lastSequence = lastSequence;
    tail.nextExpiryMs = Number.NEGATIVE_INFINITY;
    tail.isUnchecked = true;
    session.tail = tail;
    session.queuedBytes += bytes;
  }

  #leave(session: Session): void {
    const state = this.#state;
    const { will, expiryInterval } = session;
    // What was on its way when the process ended may have arrived.
    if (session.tail !== null) session.tail.repeatsLeft = state.config.limits.inflightMax;
    if (will !== null) this.#willAt(session, state.nowMs + will.delayInterval * 1000);
    if (expiryInterval === 0) endSession(state, session);
    else {
      if (expiryInterval !== NEVER_EXPIRES) this.#expireAt(session, state.nowMs + expiryInterval * 1000);
      state.journal.away(session);
    }
  }

  #willAt(session: Session, atMs: number): void {
    session.willDeadline ??= new Deadline<Session>("will", session);
    this.#state.deadlines.set(session.willDeadline, atMs);
  }

  #expireAt(session: Session, atMs: number): void {
    session.expiryDeadline ??= new Deadline<Session>("session", session);
    this.#state.deadlines.set(session.expiryDeadline, atMs);
  }
}
