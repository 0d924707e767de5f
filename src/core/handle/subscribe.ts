/**
 * SUBSCRIBE (MQTT 5.0 section 3.8.4): one reason code per filter, then the retained messages.
 *
 * What the broker announced it cannot do is a Protocol Error; what this client may not do is a reason code in SUBACK.
 */

import type { QoS } from "../codec/packet.ts";
import { PeerError, protocolError } from "../codec/peer-error.ts";
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { decodeSubscribe, type SubscribeFilter } from "../codec/subscribe.ts";
import { type ParsedFilter, parseTopicFilter } from "../codec/topic.ts";
import type { Connection } from "../connection/connection.ts";
import type { Session } from "../session/session.ts";
import { Subscription, subscriptionWeight } from "../session/subscription.ts";
import type { BrokerState } from "../state.ts";
import { answer } from "./answer.ts";

export function handleSubscribe(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const packet = decodeSubscribe(reader, flags, connection.protocolLevel);
  const session = connection.session!;
  const identifiers = packet.properties.subscriptionIdentifiers ?? null;
  if (identifiers !== null && !state.config.capabilities.subscriptionIdentifiersAvailable) {
    throw new PeerError(ReasonCode.SubscriptionIdentifiersNotSupported, "3.2.2.3.12", "a Subscription Identifier");
  }
  const { topicLevelsMax } = state.config.limits;
  const parsed = packet.filters.map((filter) => parseTopicFilter(filter.topicFilter, topicLevelsMax));
  // Everything that ends the connection is found before anything is changed.
  for (let at = 0; at < parsed.length; at++) checkFilter(state, connection, packet.filters[at]!, parsed[at]);
  const replay: { subscription: Subscription; isNew: boolean; retainHandling: 0 | 1 | 2 }[] = [];
  const reasonCodes = packet.filters.map((filter, at) => {
    const parsedFilter = parsed[at];
    if (parsedFilter === undefined) return ReasonCode.TopicFilterInvalid;
    const granted = grantedQos(state, connection, session, filter, parsedFilter);
    if (granted >= 0x80) return granted;
    const isNew = session.subscriptions?.has(filter.topicFilter) !== true;
    const subscription = subscribe(state, session, filter, parsedFilter, granted as QoS, identifiers);
    if (parsedFilter.shareName === "") replay.push({ subscription, isNew, retainHandling: filter.retainHandling });
    return granted;
  });
  const { packetId } = packet;
  answer(state, connection, { type: "suback", packetId, reasonCodes, properties: {} }); // [MQTT-3.8.4-1]
  for (const { subscription, isNew, retainHandling } of replay) {
    // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
    if (retainHandling === 2 || (retainHandling === 1 && !isNew)) continue;
    if (state.retained.count === 0) continue;
    const search = state.retained.walk(subscription.topicFilter);
    const replays = (session.replays ??= new Map());
    replays.delete(subscription);
    replays.set(subscription, { subscription, search, sequenceMax: state.retained.sequence, isStored: false });
  }
  if (session.replays === null) return;
  state.outbound.pump(session, state.nowMs);
  // SUBACK has promised them: what is left is sent even if this process ends now.
  for (const replay of session.replays?.values() ?? []) {
    if (replay.isStored) continue;
    replay.isStored = true;
    state.journal.subscription(replay.subscription);
  }
}

function checkFilter(
  state: BrokerState,
  connection: Connection,
  filter: SubscribeFilter,
  parsed: ParsedFilter | undefined,
): void {
  if (parsed === undefined) return;
  const { capabilities } = state.config;
  if (parsed.shareName !== "" && filter.noLocal) {
    throw protocolError("MQTT-3.8.3-4", "No Local on a Shared Subscription");
  }
  if (connection.protocolLevel !== 5) return; // told apart by SUBACK 0x80
  if (parsed.hasWildcard && !capabilities.wildcardSubscriptionAvailable) {
    throw new PeerError(ReasonCode.WildcardSubscriptionsNotSupported, "3.2.2.3.11", "a wildcard subscription");
  }
  if (parsed.shareName !== "" && !capabilities.sharedSubscriptionAvailable) {
    throw new PeerError(ReasonCode.SharedSubscriptionsNotSupported, "3.2.2.3.13", "a shared subscription");
  }
}

/** The QoS granted, or the reason why not. */
function grantedQos(
  state: BrokerState,
  connection: Connection,
  session: Session,
  filter: SubscribeFilter,
  parsed: ParsedFilter,
): number {
  const { limits, capabilities } = state.config;
  if (connection.protocolLevel !== 5) {
    if (parsed.hasWildcard && !capabilities.wildcardSubscriptionAvailable) return ReasonCode.UnspecifiedError;
    if (parsed.shareName !== "" && !capabilities.sharedSubscriptionAvailable) return ReasonCode.UnspecifiedError;
  }
  const granted = session.grant.maySubscribe(parsed.topicFilter, parsed.shareName, filter.qos);
  if (granted === -1) {
    const { topicFilter, shareName } = parsed;
    session.lastRefusal = { what: "subscribe", topicFilter, shareName };
    return ReasonCode.NotAuthorized;
  }
  if (session.storeNumber !== 0 && state.journal.isFull) return ReasonCode.QuotaExceeded;
  const { subscriptions } = session;
  if (subscriptions?.has(filter.topicFilter) !== true) {
    const isFull = (subscriptions?.size ?? 0) >= limits.subscriptionsPerClientMax;
    const isHeavy = session.subscriptionBytes + subscriptionWeight(filter.topicFilter) > limits.subscriptionBytesMax;
    if (isFull || isHeavy) return ReasonCode.QuotaExceeded;
  }
  return Math.min(granted, capabilities.maximumQos); // [MQTT-3.2.2-10]
}

/** Makes the subscription, or replaces the options of the one with this very filter [MQTT-3.8.4-3]. */
function subscribe(
  state: BrokerState,
  session: Session,
  filter: SubscribeFilter,
  parsed: ParsedFilter,
  qos: QoS,
  identifiers: readonly number[] | null,
): Subscription {
  const subscriptions = (session.subscriptions ??= new Map());
  const known = subscriptions.get(filter.topicFilter);
  if (known !== undefined) session.searches?.delete(known);
  const subscription = known ?? new Subscription(session, filter.topicFilter);
  subscription.qos = qos;
  subscription.noLocal = filter.noLocal;
  subscription.retainAsPublished = filter.retainAsPublished;
  subscription.subscriptionIdentifiers = identifiers;
  if (known === undefined) {
    subscriptions.set(filter.topicFilter, subscription);
    session.subscriptionBytes += subscriptionWeight(filter.topicFilter);
    state.router.add(subscription, parsed.shareName);
  } else {
    state.router.touch();
  }
  state.journal.subscription(subscription);
  return subscription;
}
