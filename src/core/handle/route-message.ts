/**
 * What happens to a message that the gate has let through (MQTT 5.0 sections 3.3.1.3, 3.3.4, 4.8.2): kept as retained
 * if it says so, one copy to every session that is subscribed, one to a member of every share.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { fanOut, type Tally } from "../delivery/fan-out.ts";
import { Outcome } from "../delivery/outbound.ts";
import { own } from "../delivery/own.ts";
import { pickMember } from "../router/shared.ts";
import type { Topic } from "../router/topic-table.ts";
import type { Session } from "../session/session.ts";
import type { Receiver } from "../session/subscription.ts";
import type { BrokerState } from "../state.ts";

/**
 * Routes a message; answers the reason code for its publisher: 0x00, 0x10 where nobody is subscribed, 0x97 where no
 * queue or store had room. `publisher` is null for messages of the broker's own.
 */
export function routeMessage(
  state: BrokerState,
  topic: Topic,
  message: ApplicationMessage,
  publisher: Session | null,
): number {
  if (message.retain) {
    message = own(message);
    if (!retain(state, message, publisher !== null)) {
      state.statistics.dropped.retainedFull++;
      if (message.qos > 0 || !state.journal.isFull) return ReasonCode.QuotaExceeded;
    }
  }
  const { receivers, groups } = state.router.routeOf(topic);
  if (receivers.length === 0 && groups.length === 0) return ReasonCode.NoMatchingSubscribers;
  // Owned once, not once for every share that keeps it.
  if (groups.length > 0 && message.qos > 0) message = own(message);
  const tally: Tally = { matched: 0, taken: 0, refused: 0 };
  if (receivers.length > 0) fanOut(state.outbound, receivers, message, publisher, state.nowMs, tally);
  for (const group of groups) {
    const member = pickMember(group, message.qos, null, false);
    if (member === null) continue;
    tally.matched++;
    const retainFlag = message.retain && member.retainAsPublished;
    const outcome = state.outbound.deliver(member, message, retainFlag, state.nowMs);
    if (outcome === Outcome.Taken) tally.taken++;
    else if (outcome === Outcome.Refused) tally.refused++;
  }
  if (tally.matched === 0) return ReasonCode.NoMatchingSubscribers;
  return tally.taken === 0 && tally.refused > 0 ? ReasonCode.QuotaExceeded : ReasonCode.Success;
}

/** Whether a message could be acknowledged only once the store has it: somebody who may be away is to get it, or anybody later. */
export function mustBeStored(state: BrokerState, topic: Topic, message: ApplicationMessage): boolean {
  if (message.qos === 0) return false;
  // One that takes a retained message away makes room.
  if (message.retain && message.payloadBytes > 0) return true;
  const { receivers, groups } = state.router.routeOf(topic);
  const isKept = ({ session, qos }: Receiver): boolean => session.storeNumber !== 0 && qos > 0;
  return receivers.some(isKept) || groups.some(({ members }) => members.some(isKept));
}

/** Stores, replaces or deletes the topic's retained message; answers false where there is no room for it. */
function retain(state: BrokerState, message: ApplicationMessage, isKept: boolean): boolean {
  const { retained, deadlines, config, journal } = state;
  const topicName = message.topicName.text;
  const known = retained.get(topicName);
  if (message.payloadBytes === 0) {
    // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
    if (known !== undefined) {
      retained.delete(topicName);
      deadlines.remove(known.deadline);
      if (isKept) journal.retainedGone(message);
    }
    return true;
  }
  if (isKept && journal.isFull) return false;
  const growth = retained.growthBy(message);
  if (known === undefined && retained.count >= config.limits.retainedMessagesMax) return false;
  if (growth > 0 && retained.bytes + growth > config.limits.retainedBytesMax) return false;
  const entry = retained.set(message);
  if (message.expiresAtMs === Number.POSITIVE_INFINITY) deadlines.remove(entry.deadline);
  else deadlines.set(entry.deadline, message.expiresAtMs);
  // What the broker says of itself is said anew by the next one.
  if (isKept) journal.retained(message);
  return true;
}
