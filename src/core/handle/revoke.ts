/**
 * Rights that a session has lost are taken back: subscriptions, messages that wait for it, its Will (re-authentication, rules
 * that have changed, and a session resumed by a client that may do less than before). What a client has received cannot be
 * taken back.
 */
import { ReasonCode } from "../codec/reason-code.ts";
import { Grant } from "../gate/grant.ts";
import type { Principal } from "../gate/provider.ts";
import { DeliveryState } from "../session/inflight.ts";
import type { Session } from "../session/session.ts";
import type { BrokerState } from "../state.ts";
import { disconnect } from "./answer.ts";
import { removeSubscription } from "./unsubscribe.ts";

/** Brings a session down to its present grant; every revocation is a line in the log. */
export function revokeUncovered(state: BrokerState, session: Session): void {
  const { grant } = session;
  if (grant.allowsEverything) return;
  revokeSubscriptions(state, session);
  const isLost = (topicName: string): boolean => grant.maySubscribe(topicName, "", 0) === -1;
  let messages = 0;
  for (const delivery of session.queue?.extract(({ message }) => isLost(message.topicName.text)) ?? []) {
    state.outbound.discard(session, delivery);
    messages++;
  }
  // What only the store has is looked at when it is read.
  if (session.tail !== null) session.tail.isUnchecked = true;
  for (const delivery of session.inflight.inOrder()) {
    // Past PUBREC the client has it, and on a live connection it has left: the handshake is finished.
    const hasLeft = delivery.sent || delivery.state === DeliveryState.AwaitPubcomp;
    if (hasLeft || !isLost(delivery.message.topicName.text)) continue;
    state.outbound.finish(session, delivery);
    messages++;
  }
  if (messages > 0) {
    state.statistics.dropped.notAuthorized += messages;
    state.ports.log.write("info", "messages-revoked", { clientId: session.clientId, messages });
  }
  const { will } = session;
  if (will === null) return;
  const { topicName, qos, retain } = will.message;
  if (grant.mayPublish(topicName.text, qos, retain)) return;
  session.will = null;
  state.journal.will(session);
  state.ports.log.write("info", "will-revoked", { clientId: session.clientId, topicName: topicName.text });
}

/** Removes the subscriptions that the grant no longer covers, and lowers the QoS of the others to what it grants. */
function revokeSubscriptions(state: BrokerState, session: Session): void {
  if (session.subscriptions === null) return;
  for (const subscription of [...session.subscriptions.values()]) {
    const { topicFilter, shareGroup, qos, filter } = subscription;
    const granted = session.grant.maySubscribe(topicFilter, shareGroup?.shareName ?? "", qos);
    if (granted === -1) {
      removeSubscription(state, session, subscription);
      state.ports.log.write("info", "subscription-revoked", { clientId: session.clientId, filter });
    } else if (granted !== qos) {
      subscription.qos = granted;
      state.router.touch();
      state.journal.subscription(subscription);
    }
  }
}

export const NOBODY: Principal = { id: "nobody", permissions: { allow: [] } };
export const NO_RIGHTS = new Grant(NOBODY, "", { deny: [] });

/** Ends the connections of the principals that `where` picks; `revoke` takes their sessions' rights first. */
export function dropPrincipals(
  state: BrokerState,
  where: (principal: Principal, clientId: string) => boolean,
  why: string,
  revoke: boolean,
): number {
  let count = 0;
  for (const session of [...state.sessions.values()]) {
    const { principal, clientId, connection } = session;
    if (!hasPrincipal(session) || !where(principal, clientId)) continue;
    dropSession(state, session, why, revoke);
    if (connection !== null) count++;
  }
  return count;
}

/** Whether somebody has rights to this session: they were withdrawn otherwise, and nobody has been let in since. */
export function hasPrincipal({ principal }: Session): boolean {
  return principal !== NOBODY;
}

/** Ends a session's connection, where there is one; `revoke` takes the session's rights first. */
export function dropSession(state: BrokerState, session: Session, why: string, revoke: boolean): void {
  const { principal, clientId, connection } = session;
  if (revoke) {
    session.grant = NO_RIGHTS;
    session.principal = NOBODY;
    revokeUncovered(state, session);
    state.journal.session(session);
  }
  const event = connection === null ? "rights-withdrawn" : "dropped";
  if (connection !== null || revoke) state.ports.log.write("info", event, { clientId, principal: principal.id, why });
  if (connection === null) return;
  disconnect(state, connection, ReasonCode.NotAuthorized, revoke ? "rights were withdrawn" : "log in again");
}
