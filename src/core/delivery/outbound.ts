/**
 * From "this receiver gets this message" to bytes in its outbox or a place in its queue (MQTT 5.0 sections 4.3, 4.9).
 *
 * Order: deliveries that are sent again, then retained messages still to come, then the queue. A new QoS 1 or 2 message
 * goes straight out only if nothing of this waits and the window is open [MQTT-3.3.4-9]; QoS 0 never waits.
 */
import type { ApplicationMessage } from "../application-message.ts";
import type { QoS } from "../codec/packet.ts";
import { publishFirstByte } from "../codec/publish.ts";
import { type HopProperties, writePublish } from "../codec/publish-view.ts";
import { writePubrel } from "../codec/pubrel.ts";
import type { Connection } from "../connection/connection.ts";
import type { BrokerConfig } from "../limits.ts";
import { Delivery, DeliveryState } from "../session/inflight.ts";
import type { Journal } from "../session/journal.ts";
import type { Session } from "../session/session.ts";
import type { Receiver } from "../session/subscription.ts";
import type { Statistics } from "../statistics.ts";
import { Frames } from "./frames.ts";
import type { Outboxes } from "./outbox.ts";
import { own } from "./own.ts";
import { Tails, type TopicNames } from "./tail.ts";

const NO_BYTES = new Uint8Array(0);
/** A payload of this size goes to the transport by itself: a second write costs less than copying it. */
export const DIRECT_PAYLOAD_BYTES = 64 * 1024;
/** Nodes of the retained store looked at in one turn, for all sessions together; about a millisecond. */
const SEARCH_STEPS_PER_TURN = 10_000;

/** What became of one copy. */
export const Outcome = { Taken: 0, Dropped: 1, Refused: 2 } as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

export class Outbound {
  readonly #config: BrokerConfig;
  readonly #outboxes: Outboxes;
  readonly #statistics: Statistics;
  readonly #journal: Journal;
  readonly #frames = new Frames();
  /** What of the queues is in the store alone. */
  readonly tails: Tails;
  #searchStepsLeft = SEARCH_STEPS_PER_TURN;
  readonly #unfinished = new Set<Session>();
  readonly #hop: HopProperties = { messageExpiryInterval: -1, topicAlias: 0, subscriptionIdentifiers: null };

  constructor(
    config: BrokerConfig,
    outboxes: Outboxes,
    journal: Journal,
    statistics: Statistics,
    topicNames: TopicNames,
  ) {
    this.#config = config;
    this.#outboxes = outboxes;
    this.#journal = journal;
    this.#statistics = statistics;
    this.tails = new Tails(journal, statistics, topicNames);
  }

  /** Until `endFanOut`, one message goes to many receivers: it is encoded once per layout. */
  beginFanOut(): void {
    this.#frames.open();
  }

  endFanOut(): void {
    this.#frames.close();
  }

  /** Hands one copy of an owned message (or, at QoS 0, a borrowed one) to a receiver. */
  deliver(receiver: Receiver, message: ApplicationMessage, retain: boolean, nowMs: number): Outcome {
    const { session } = receiver;
    const { connection, grant } = session;
    if (grant.deniesDeliveries && !grant.mayReceive(message.topicName.text)) {
      this.#statistics.dropped.notAuthorized++;
      return Outcome.Dropped;
    }
    // [MQTT-3.8.4-8]
    const qos = message.qos < receiver.qos ? message.qos : receiver.qos;
    if (qos === 0) return this.#deliverQos0(connection, receiver, message, retain, nowMs);
    const { subscriptionIdentifiers, shareGroup } = receiver;
    const delivery = new Delivery(own(message), qos, retain, subscriptionIdentifiers, shareGroup);
    return this.handOver(session, delivery, nowMs);
  }

  /** Sends a delivery at once or queues it; used for new ones and for those that another session gave up. */
  handOver(session: Session, delivery: Delivery, nowMs: number): Outcome {
    const { connection } = session;
    if (
      connection !== null &&
      !session.hasBacklog &&
      this.#isOpen(connection, session) &&
      session.queuedBytes < this.#config.limits.queueBytesMax
    ) {
      session.queuedBytes += delivery.message.sizeBytes;
      const isSent = this.#sendFirst(connection, session, delivery, nowMs);
      if (isSent && session.storeNumber !== 0 && !this.#journal.isFull) this.#journal.queued(session, delivery);
      return Outcome.Taken;
    }
    return this.#enqueue(session, delivery, nowMs);
  }

  /** Whether a receiver would take a message now: at once, or into its queue. QoS 0 is taken by whoever reads. */
  hasRoom({ session, qos }: Receiver, message: ApplicationMessage): boolean {
    if (Math.min(qos, message.qos) === 0) return session.connection?.congested === false;
    const { queueMessagesMax, queueBytesMax } = this.#config.limits;
    return session.queueLength < queueMessagesMax && session.queuedBytes + message.sizeBytes <= queueBytesMax;
  }

  #deliverQos0(
    connection: Connection | null,
    receiver: Receiver,
    message: ApplicationMessage,
    retain: boolean,
    nowMs: number,
  ): Outcome {
    if (connection === null) return Outcome.Dropped;
    if (connection.congested) {
      this.#statistics.dropped.congested++;
      receiver.session.droppedMessages++;
      return Outcome.Dropped;
    }
    this.#writePublish(connection, message, 0, 0, false, retain, receiver.subscriptionIdentifiers, nowMs);
    return Outcome.Taken;
  }

  #enqueue(session: Session, delivery: Delivery, nowMs: number): Outcome {
    const { limits, queueOverflow } = this.#config;
    const size = delivery.message.sizeBytes;
    if (session.storeNumber !== 0 && this.#journal.isFull) {
      this.#statistics.dropped.diskFull++;
      session.droppedMessages++;
      return Outcome.Refused;
    }
    const isFull = (): boolean =>
      session.queueLength >= limits.queueMessagesMax || session.queuedBytes + size > limits.queueBytesMax;
    if (isFull()) this.#dropExpired(session, nowMs);
    // What would not fit even into an empty queue displaces nobody.
    const waitingBytes = (session.queue?.bytes ?? 0) + (session.tail?.bytes ?? 0);
    const fits = session.queuedBytes - waitingBytes + size <= limits.queueBytesMax;
    while (isFull()) {
      const gives = queueOverflow === "drop-oldest" && fits && this.#dropOldest(session);
      this.#statistics.dropped.queueFull++;
      session.droppedMessages++;
      if (gives) continue;
      this.tails.search(session, nowMs);
      return Outcome.Refused;
    }
    const isForStore = this.tails.takes(session, delivery);
    this.#journal.queued(session, delivery);
    if (isForStore) this.tails.add(session, delivery);
    else session.enqueue(delivery);
    return Outcome.Taken;
  }

  /** The oldest message that waits gives up its place; answers false where there is none. */
  #dropOldest(session: Session): boolean {
    const oldest = session.queue?.shift();
    if (oldest !== undefined) this.discard(session, oldest);
    else if (session.tail !== null && session.tail.count > 0) this.tails.dropOldest(session, session.tail);
    else return false;
    return true;
  }

  /** A message that was taken out of the queue is not going to be sent. */
  discard(session: Session, delivery: Delivery): void {
    session.queuedBytes -= delivery.message.sizeBytes;
    this.#journal.dequeued(session, delivery);
  }

  /** Expired messages give their places back; looked for only when there are some. */
  #dropExpired(session: Session, nowMs: number): void {
    const { queue } = session;
    if (queue === null || queue.nextExpiryMs > nowMs) return;
    for (const expired of queue.extract((delivery) => delivery.message.expiresAtMs <= nowMs)) {
      this.discard(session, expired);
      this.#statistics.dropped.expired++;
    }
  }

  /** First sending of a delivery whose bytes are counted: a new Packet Identifier. Answers false where it does not fit. */
  #sendFirst(connection: Connection, session: Session, delivery: Delivery, nowMs: number): boolean {
    session.inflight.add(delivery);
    delivery.state = delivery.qos === 1 ? DeliveryState.AwaitPuback : DeliveryState.AwaitPubrec;
    if (session.storeNumber !== 0) {
      // Forgotten, it would be sent again under another identifier, and come twice.
      if (delivery.qos === 2) this.#outboxes.hold(connection);
      this.#journal.progress(session, delivery);
    }
    if (!this.#writeDelivery(connection, delivery, delivery.mayBeRepeated, nowMs)) {
      // [MQTT-3.1.2-25]: too large for this client counts as delivered.
      this.finish(session, delivery);
      return false;
    }
    delivery.sent = true;
    session.sentCount++;
    return true;
  }

  #writeDelivery(connection: Connection, delivery: Delivery, dup: boolean, nowMs: number): boolean {
    const { message, qos, packetId, retain, subscriptionIdentifiers } = delivery;
    return this.#writePublish(connection, message, qos, packetId, dup, retain, subscriptionIdentifiers, nowMs);
  }

  #writePublish(
    connection: Connection,
    message: ApplicationMessage,
    qos: QoS,
    packetId: number,
    dup: boolean,
    retain: boolean,
    subscriptionIdentifiers: readonly number[] | null,
    nowMs: number,
  ): boolean {
    const { packetBytesMax, outboundAliases } = connection;
    const writer = this.#outboxes.writer(connection);
    let topicBytes = message.topicName.bytes;
    let hop: HopProperties | null = null;
    let isNewAlias = false;
    if (connection.protocolLevel === 5) {
      hop = this.#hop;
      hop.subscriptionIdentifiers = subscriptionIdentifiers;
      hop.messageExpiryInterval =
        // [MQTT-3.3.2-6]; rounded up, so that a message is never said to have expired while it has not.
        message.expiresAtMs === Number.POSITIVE_INFINITY
          ? -1
          : Math.max(0, Math.ceil((message.expiresAtMs - nowMs) / 1000));
      hop.topicAlias = 0;
      if (outboundAliases !== null) {
        hop.topicAlias = outboundAliases.assign(message.topicName);
        isNewAlias = hop.topicAlias !== 0 && outboundAliases.isNew;
        if (hop.topicAlias !== 0 && !isNewAlias) topicBytes = NO_BYTES;
      }
    }
    const firstByte = publishFirstByte(qos, dup, retain);
    const isDirect = message.payloadBytes >= DIRECT_PAYLOAD_BYTES;
    const isShared = subscriptionIdentifiers === null && (hop === null || hop.topicAlias === 0);
    const written =
      this.#frames.isOpen && isShared && !isDirect
        ? this.#frames.write(writer, firstByte, packetId, message, hop, packetBytesMax)
        : writePublish(writer, firstByte, packetId, topicBytes, message, hop, packetBytesMax, !isDirect);
    if (!written) {
      if (isNewAlias) outboundAliases!.withdraw(message.topicName);
      this.#statistics.dropped.tooLarge++;
      return false;
    }
    if (isDirect) this.#outboxes.sendPayload(connection, own(message));
    else this.#outboxes.wrote(connection, writer);
    this.#statistics.publishSent++;
    return true;
  }

  /** Ends a delivery that is in flight: acknowledged, or given up. */
  finish(session: Session, delivery: Delivery): void {
    session.inflight.remove(delivery);
    session.queuedBytes -= delivery.message.sizeBytes;
    if (delivery.storeSequence !== 0) this.#journal.dequeued(session, delivery);
    if (delivery.sent) {
      delivery.sent = false;
      session.sentCount--;
    }
  }

  /** The connection is gone: nothing uses its quota any more. */
  suspend(session: Session): void {
    if (session.sentCount > 0) for (const delivery of session.inflight.inOrder()) delivery.sent = false;
    session.sentCount = 0;
    session.resend = null;
  }

  /** Makes everything that was under way ready to be sent again on a new connection, in order [MQTT-4.4.0-1]. */
  resume(session: Session): void {
    const deliveries = session.inflight.inOrder();
    session.resend = deliveries.length === 0 ? null : deliveries;
    session.resendAt = 0;
  }

  /** Sends what waits, as far as window and socket allow. */
  pump(session: Session, nowMs: number): void {
    const { connection } = session;
    if (connection === null) return;
    if (session.resend !== null && !this.#pumpResend(connection, session, nowMs)) return;
    if (session.replays !== null && !this.#pumpReplays(connection, session, nowMs)) return;
    if (session.queue !== null) this.#pumpQueue(connection, session, nowMs);
    if (session.tail !== null) this.tails.refill(session, session.tail);
    if (session.beginSearches()) this.pump(session, nowMs);
  }

  #isOpen(connection: Connection, session: Session): boolean {
    // What waits for PUBCOMP from an earlier connection takes no quota of this one, but it takes an identifier.
    const hasIdentifier = session.inflight.count < this.#config.limits.inflightMax;
    return !connection.congested && hasIdentifier && session.sentCount < connection.sendQuota;
  }

  #pumpResend(connection: Connection, session: Session, nowMs: number): boolean {
    const resend = session.resend!;
    let at = session.resendAt;
    for (; at < resend.length; at++) {
      const delivery = resend[at]!;
      if (session.inflight.get(delivery.packetId) !== delivery) continue; // acknowledged meanwhile
      if (connection.congested) break;
      if (delivery.state === DeliveryState.AwaitPubcomp) {
        // [MQTT-4.3.3-6]: after PUBREL never PUBLISH again; PUBREL needs no quota.
        writePubrel(this.#outboxes.writer(connection), delivery.packetId);
        continue;
      }
      if (session.sentCount >= connection.sendQuota) break;
      if (session.grant.deniesDeliveries && !session.grant.mayReceive(delivery.message.topicName.text)) {
        this.#statistics.dropped.notAuthorized++;
        this.finish(session, delivery);
        continue;
      }
      if (!this.#writeDelivery(connection, delivery, true, nowMs)) {
        this.finish(session, delivery);
        continue;
      }
      delivery.sent = true;
      session.sentCount++;
    }
    session.resendAt = at;
    if (at === resend.length) session.resend = null;
    return session.resend === null;
  }

  #pumpQueue(connection: Connection, session: Session, nowMs: number): void {
    const queue = session.queue!;
    while (queue.length > 0) {
      if (!this.#isOpen(connection, session)) return;
      const delivery = queue.shift()!;
      const { message } = delivery;
      if (message.expiresAtMs <= nowMs) {
        // [MQTT-3.3.2-5]
        this.discard(session, delivery);
        this.#statistics.dropped.expired++;
      } else if (session.grant.deniesDeliveries && !session.grant.mayReceive(message.topicName.text)) {
        this.discard(session, delivery);
        this.#statistics.dropped.notAuthorized++;
      } else {
        this.#sendFirst(connection, session, delivery, nowMs);
      }
    }
    session.queue = null;
  }

  /** Sends retained messages to new subscriptions; they are older than anything in the queue [MQTT-4.6.0-5]. */
  #pumpReplays(connection: Connection, session: Session, nowMs: number): boolean {
    const replays = session.replays!;
    for (const replay of replays.values()) {
      const { subscription, search, sequenceMax } = replay;
      for (;;) {
        if (!this.#isOpen(connection, session) || session.queuedBytes >= this.#config.limits.queueBytesMax)
          return false;
        if (this.#searchStepsLeft === 0) {
          this.#unfinished.add(session);
          return false;
        }
        this.#searchStepsLeft--;
        const entry = search.next();
        if (entry === undefined) break;
        if (entry === null || entry.sequence > sequenceMax || entry.message.expiresAtMs <= nowMs) continue;
        const { message } = entry;
        if (subscription.noLocal && message.publisherId === session.clientId) continue; // [MQTT-3.8.3-3]
        this.#sendRetained(connection, subscription, message, nowMs);
      }
      replays.delete(subscription);
      if (replay.isStored) this.#journal.searched(subscription);
    }
    session.replays = null;
    return true;
  }

  /** Ends a turn; answers whether searches for retained messages were put down and want another one. */
  endTurn(): boolean {
    this.#searchStepsLeft = SEARCH_STEPS_PER_TURN;
    return this.#unfinished.size > 0;
  }

  /** The sessions whose searches were put down; each is to be pumped. */
  takeUnfinished(): Session[] {
    const sessions = [...this.#unfinished];
    this.#unfinished.clear();
    return sessions;
  }

  #sendRetained(connection: Connection, receiver: Receiver, message: ApplicationMessage, nowMs: number): void {
    const { session, subscriptionIdentifiers } = receiver;
    if (session.grant.deniesDeliveries && !session.grant.mayReceive(message.topicName.text)) {
      this.#statistics.dropped.notAuthorized++;
      return;
    }
    const qos = message.qos < receiver.qos ? message.qos : receiver.qos;
    if (qos === 0) {
      this.#writePublish(connection, message, 0, 0, false, true, subscriptionIdentifiers, nowMs);
      return;
    }
    session.queuedBytes += message.sizeBytes;
    const delivery = new Delivery(message, qos, true, subscriptionIdentifiers, null);
    const isSent = this.#sendFirst(connection, session, delivery, nowMs);
    if (isSent && session.storeNumber !== 0) this.#journal.queued(session, delivery);
  }
}
