/** One message to all its receivers (MQTT 5.0 section 3.3.4). */
import type { ApplicationMessage } from "../application-message.ts";
import type { Session } from "../session/session.ts";
import type { Receiver } from "../session/subscription.ts";
import { type Outbound, Outcome } from "./outbound.ts";
import { own } from "./own.ts";

/** How many copies were taken, and how many a full queue refused. */
export interface Tally {
  matched: number;
  taken: number;
  refused: number;
}

/** Delivers to every receiver, `publisher`'s own No Local subscriptions excepted [MQTT-3.8.3-3]; adds to `tally`. */
export function fanOut(
  outbound: Outbound,
  receivers: readonly Receiver[],
  message: ApplicationMessage,
  publisher: Session | null,
  nowMs: number,
  tally: Tally,
): void {
  const count = receivers.length;
  if (count > 1) outbound.beginFanOut();
  for (let at = 0; at < count; at++) {
    const listed = receivers[at]!;
    const receiver = listed.session === publisher ? listed.forOwn : listed;
    if (receiver === null) continue;
    tally.matched++;
    // Owned once, by the first receiver that keeps it.
    if (!message.owned && message.qos > 0 && receiver.qos > 0) message = own(message);
    // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    const outcome = outbound.deliver(receiver, message, message.retain && receiver.retainAsPublished, nowMs);
    if (outcome === Outcome.Taken) tally.taken++;
    else if (outcome === Outcome.Refused) tally.refused++;
  }
  if (count > 1) outbound.endFanOut();
}
