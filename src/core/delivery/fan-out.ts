/** One message to all its receivers (MQTT 5.0 section 3.3.4). */
import type { ApplicationMessage } from "../application-message.ts";
import type { Session } from "../session/session.ts";
import type { Receiver } from "../session/subscription.ts";
import { DIRECT_PAYLOAD_BYTES, type Outbound, Outcome } from "./outbound.ts";
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
  if (receivers.length === 1) {
    deliverOne(outbound, receivers[0]!, message, publisher, nowMs, tally);
    return;
  }
  outbound.beginFanOut();
  try {
    for (const receiver of receivers) message = deliverOne(outbound, receiver, message, publisher, nowMs, tally);
  } finally {
    // Whatever happens: the next message must not find this one's frames.
    outbound.endFanOut();
  }
}

/** Delivers one copy; answers the message, owned from then on if this receiver keeps it. */
function deliverOne(
  outbound: Outbound,
  listed: Receiver,
  message: ApplicationMessage,
  publisher: Session | null,
  nowMs: number,
  tally: Tally,
): ApplicationMessage {
  const receiver = listed.session === publisher ? listed.forOwn : listed;
  if (receiver === null) return message;
  tally.matched++;
  const isKept = message.qos > 0 && receiver.qos > 0;
  if (!message.owned && (isKept || message.payloadBytes >= DIRECT_PAYLOAD_BYTES)) message = own(message);
  // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
  const outcome = outbound.deliver(receiver, message, message.retain && receiver.retainAsPublished, nowMs);
  if (outcome === Outcome.Taken) tally.taken++;
  else if (outcome === Outcome.Refused) tally.refused++;
  return message;
}
