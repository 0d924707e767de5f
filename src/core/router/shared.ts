/**
 * Shared Subscriptions (MQTT 5.0 section 4.8.2): whose turn it is.
 *
 * Round robin over the members that can take a message now; then over connected ones that cannot; then, for messages
 * that may be queued, over the ones that are away.
 */
import type { ShareGroup, Subscription } from "../session/subscription.ts";

/** How ready a member is: 2 can send at once, 1 is connected, 0 is away. */
function readiness(member: Subscription): 0 | 1 | 2 {
  const { session } = member;
  const { connection } = session;
  if (connection === null) return 0;
  return connection.congested || session.hasBacklog || session.sentCount >= connection.sendQuota ? 1 : 2;
}

/**
 * Picks the member that receives the next message, or `null`. `queueable`: whether a member that is away may be
 * chosen, to receive it on return. `except`: a member that is not to be chosen.
 */
export function pickMember(group: ShareGroup, queueable: boolean, except: Subscription | null): Subscription | null {
  const { members } = group;
  let best: Subscription | null = null;
  let bestReadiness = queueable ? -1 : 0;
  let bestAt = 0;
  for (let step = 0; step < members.length; step++) {
    const at = (group.next + step) % members.length;
    const member = members[at]!;
    if (member === except) continue;
    const ready = readiness(member);
    if (ready <= bestReadiness) continue;
    best = member;
    bestAt = at;
    bestReadiness = ready;
    if (ready === 2) break;
  }
  if (best !== null) group.next = (bestAt + 1) % members.length;
  return best;
}
