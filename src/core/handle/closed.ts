/**
 * The end of a Network Connection and of a Session (MQTT 5.0 sections 3.1.2.5, 3.1.3.2.2, 4.1).
 *
 * A connection ends once, whoever ends it; what the session owes to others (Will, shared deliveries, expiry) is settled
 * here and nowhere else.
 */
import { type Connection, ConnectionState } from "../connection/connection.ts";
import { Deadline } from "../deadlines.ts";
import { pickMember } from "../router/shared.ts";
import { type Delivery, DeliveryState } from "../session/inflight.ts";
import { NEVER_EXPIRES, type Session } from "../session/session.ts";
import type { Subscription } from "../session/subscription.ts";
import type { BrokerState } from "../state.ts";
import { routeMessage } from "./route-message.ts";

/** Ends a connection; `keepWill` is false after a DISCONNECT that discards the Will [MQTT-3.14.4-3]. */
export function endConnection(state: BrokerState, connection: Connection, keepWill: boolean): void {
  if (connection.state === ConnectionState.Closed) return;
  if (connection.state !== ConnectionState.Connected) state.countOut(connection.wire.remoteAddress);
  connection.state = ConnectionState.Closed;
  state.deadlines.remove(connection.deadline);
  if (connection.principalDeadline !== null) state.deadlines.remove(connection.principalDeadline);
  endExchange(state, connection);
  connection.held = null;
  connection.heldBytes = 0;
  connection.connect = null;
  connection.inboundAliases = null;
  connection.outboundAliases = null;
  const { session } = connection;
  connection.session = null;
  if (session !== null) leaveSession(state, session, keepWill);
}

/** Forgets a running exchange; a verdict that comes later is ignored. */
function endExchange(state: BrokerState, connection: Connection): void {
  const { exchange } = connection;
  if (exchange === null) return;
  state.awaitingVerdict.delete(exchange.requestId);
  state.deadlines.remove(exchange.deadline);
  connection.exchange = null;
  state.ports.auth.abandon(exchange.id);
}

function leaveSession(state: BrokerState, session: Session, keepWill: boolean): void {
  session.connection = null;
  state.outbound.suspend(session);
  session.inflight.trim();
  if (!keepWill) session.will = null;
  if (session.expiryInterval === 0) {
    endSession(state, session);
    return;
  }
  if (session.will !== null) {
    const { delayInterval } = session.will;
    if (delayInterval === 0) {
      publishWill(state, session);
    } else {
      session.willDeadline ??= new Deadline<Session>("will", session);
      state.deadlines.set(session.willDeadline, state.nowMs + delayInterval * 1000);
    }
  }
  if (session.expiryInterval !== NEVER_EXPIRES) {
    session.expiryDeadline ??= new Deadline<Session>("session", session);
    state.deadlines.set(session.expiryDeadline, state.nowMs + session.expiryInterval * 1000);
  }
  state.journal.away(session);
  handShareOn(state, session, false);
  state.outbound.tails.shrink(session);
  state.offline.add(session);
  if (state.offline.size > state.config.limits.offlineSessionsMax) {
    for (const longestAway of state.offline) {
      endSession(state, longestAway);
      break;
    }
  }
}

/** Ends a session that has no connection: its Will is due now at the latest [MQTT-3.1.2-8] [MQTT-4.1.0-2]. */
export function endSession(state: BrokerState, session: Session): void {
  state.sessions.delete(session.clientId);
  state.offline.delete(session);
  if (session.expiryDeadline !== null) state.deadlines.remove(session.expiryDeadline);
  if (session.willDeadline !== null) state.deadlines.remove(session.willDeadline);
  if (session.subscriptions !== null) {
    for (const subscription of session.subscriptions.values()) state.router.remove(subscription);
    session.subscriptions = null;
  }
  handShareOn(state, session, true);
  state.statistics.dropped.sessionEnded += session.inflight.count + session.queueLength;
  // A cached route may know the session a while longer; it must not keep its messages.
  session.queue = null;
  state.outbound.tails.forget(session);
  session.replays = null;
  session.searches = null;
  session.inflight.clear();
  publishWill(state, session);
  state.journal.sessionGone(session);
}

/** Publishes the Will, once [MQTT-3.1.2-10]; with the rights its client has now. */
export function publishWill(state: BrokerState, session: Session): void {
  const { will } = session;
  if (will === null) return;
  session.will = null;
  state.journal.willGone(session);
  const { message, messageExpiryInterval } = will;
  if (!session.grant.mayPublish(message.topicName.text, message.qos, message.retain)) {
    state.statistics.dropped.notAuthorized++;
    state.ports.log.write("warn", "will-refused", { clientId: session.clientId, topicName: message.topicName.text });
    return;
  }
  if (messageExpiryInterval >= 0) message.expiresAtMs = state.nowMs + messageExpiryInterval * 1000;
  routeMessage(state, state.topics.ofText(message.topicName.text), message, session);
}

/**
 * Hands what a leaving member of Shared Subscriptions has not finished to other members (section 4.8.2): QoS 1 under way and
 * whatever is still queued. While the session lives on, only to members that are connected. QoS 2 under way stays
 * [MQTT-4.8.2-4] and ends with the session [MQTT-4.8.2-5].
 */
function handShareOn(state: BrokerState, session: Session, ended: boolean): void {
  const isShared = ({ shareGroup, state }: Delivery): boolean =>
    shareGroup !== null && state === DeliveryState.AwaitPuback;
  for (const delivery of session.inflight.inOrder(isShared)) {
    const member = successor(state, delivery, session, ended);
    if (member === null) continue;
    state.outbound.finish(session, delivery);
    handOn(state, delivery, member);
  }
  const { queue } = session;
  if (queue === null) return;
  queue.extract((delivery) => {
    const member = successor(state, delivery, session, ended);
    if (member === null) return false;
    state.outbound.discard(session, delivery);
    // Handed over one by one, so that each choice sees what the one before has filled.
    handOn(state, delivery, member);
    return true;
  });
}

/** Who takes over a delivery of a share; nobody if it has expired, is not shared, or nobody has room: then it stays. */
function successor(state: BrokerState, delivery: Delivery, session: Session, ended: boolean): Subscription | null {
  const { shareGroup, message } = delivery;
  if (shareGroup === null || message.expiresAtMs <= state.nowMs) return null;
  const own = session.subscriptions?.get(`$share/${shareGroup.shareName}/${shareGroup.topicFilter}`) ?? null;
  const member = pickMember(shareGroup, message.qos, own, !ended);
  return member !== null && state.outbound.hasRoom(member, message) ? member : null;
}

function handOn({ journal, outbound, nowMs }: BrokerState, { message }: Delivery, member: Subscription): void {
  const { isFull } = journal;
  // What the store has already takes no more room in another place.
  journal.isFull = false;
  try {
    outbound.deliver(member, message, message.retain && member.retainAsPublished, nowMs);
  } finally {
    journal.isFull = isFull;
  }
}
