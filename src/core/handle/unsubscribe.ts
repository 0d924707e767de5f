/** UNSUBSCRIBE (MQTT 5.0 section 3.10.4): exact filters are removed; deliveries already begun are finished [MQTT-3.10.4-3]. */
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { parseTopicFilter } from "../codec/topic.ts";
import { decodeUnsubscribe } from "../codec/unsubscribe.ts";
import type { Connection } from "../connection/connection.ts";
import type { Session } from "../session/session.ts";
import { type Subscription, subscriptionWeight } from "../session/subscription.ts";
import type { BrokerState } from "../state.ts";
import { answer } from "./answer.ts";

export function handleUnsubscribe(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const { packetId, topicFilters } = decodeUnsubscribe(reader, flags, connection.protocolLevel);
  const session = connection.session!;
  const reasonCodes = topicFilters.map((filter) => unsubscribe(state, session, filter));
  answer(state, connection, { type: "unsuback", packetId, reasonCodes, properties: {} }); // [MQTT-3.10.4-4]
}

function unsubscribe(state: BrokerState, session: Session, filter: string): number {
  const subscription = session.subscriptions?.get(filter);
  if (subscription !== undefined) {
    removeSubscription(state, session, subscription);
    return ReasonCode.Success;
  }
  const isFilter = parseTopicFilter(filter, state.config.limits.topicLevelsMax) !== undefined;
  return isFilter ? ReasonCode.NoSubscriptionExisted : ReasonCode.TopicFilterInvalid;
}

/** Takes a subscription out of session and router, and the retained messages it still waits for. */
export function removeSubscription(state: BrokerState, session: Session, subscription: Subscription): void {
  const subscriptions = session.subscriptions!;
  subscriptions.delete(subscription.filter);
  session.subscriptionBytes -= subscriptionWeight(subscription.filter);
  if (subscriptions.size === 0) session.subscriptions = null;
  state.router.remove(subscription);
  state.journal.subscriptionGone(subscription);
  // [MQTT-3.10.4-2]
  session.searches?.delete(subscription);
  session.replays?.delete(subscription);
  if (session.replays?.size === 0) session.replays = null;
}
