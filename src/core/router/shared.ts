/**
 * Shared Subscriptions (MQTT 5.0 section 4.8.2): whose turn it is.
 *
 * Round robin over the members that can take a message now; then over connected ones that cannot; then, for messages
 * that may be queued, over the ones that are away.
 */
import type { QoS } from "../codec/packet.ts";
import type { ShareGroup, Subscription } from "../session/subscription.ts";

/** How ready a member is: 2 can send at once, 1 is connected, 0 is away. */
function readiness(member: Subscription): 0 | 1 | 2 {
  const { session } = member;
  const { connection } = session;
  if (connection === null) return 0;
  return connection.congested || session.hasBacklog || session.sentCount >= connection.sendQuota ? 1 : 2;
}

/**
 * Picks the member that receives the next message of this QoS, or `null`. A member that is away is chosen last, and only if
 * the message can wait for it: at QoS 0, its own or the message's, it would be lost. `except` is not chosen;
 * `presentOnly`: nobody who is away is.
 */
export function pickMember(
  group: ShareGroup,
  qos: QoS,
  except: Subscription | null,
  presentOnly: boolean,
): Subscription | null {
  const { members } = group;
  let best: Subscription | null = null;
  let bestReadiness = -1;
  let bestAt = 0;
  for (let step = 0; step < members.length; step++) {
    const at = (group.next + step) % members.length;
    const member = members[at]!;
    if (member === except) continue;
    const ready = readiness(member);
    if (ready <= bestReadiness) continue;
    if (ready === 0 && (presentOnly || qos === 0 || member.qos === 0)) continue;
    best = member;
    bestAt = at;
    bestReadiness = ready;
    if (ready === 2) break;
  }
  if (best !== null) group.next = (bestAt + 1) % members.length;
  return best;
}
