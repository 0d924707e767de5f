/**
 * Session State (MQTT 5.0 section 4.1): what outlives the Network Connection.
 *
 * Invariant: `connection` is the one connection that speaks for the session, or null while the client is away; whoever
 * replaces it ends the old one first. Tables are made when first needed: most sessions of a large broker are silent.
 */

import type { ApplicationMessage } from "../application-message.ts";
import type { QoS } from "../codec/packet.ts";
import type { Connection } from "../connection/connection.ts";
import type { Deadline } from "../deadlines.ts";
import type { Grant } from "../gate/grant.ts";
import type { Principal } from "../gate/provider.ts";
import { type Delivery, Inflight } from "./inflight.ts";
import { OutboundQueue } from "./outbound-queue.ts";
import type { QueueTail } from "./queue-tail.ts";
import type { Subscription } from "./subscription.ts";
import type { Will } from "./will.ts";

/** Session Expiry Interval that means never (section 3.1.2.11.2). */
export const NEVER_EXPIRES = 0xffffffff;

/** A PUBLISH or SUBSCRIBE that was refused. */
export type Refused =
  | { readonly what: "publish"; readonly topicName: string; readonly qos: QoS; readonly retain: boolean }
  | { readonly what: "subscribe"; readonly topicFilter: string; readonly shareName: string };

/** A search for retained messages, put down and taken up again; see router/retained.ts. */
export interface RetainedSearch {
  next(): { readonly message: ApplicationMessage; readonly sequence: number } | null | undefined;
}

/** Retained messages still to be sent for one subscription. */
export interface RetainedReplay {
  readonly subscription: Subscription;
  readonly search: RetainedSearch;
  /** What was stored later has been delivered as it came. */
  readonly sequenceMax: number;
  /** The store knows that there is something left. */
  isStored: boolean;
}

export class Session {
  readonly clientId: string;
  /** Provider and principal that the session belongs to. */
  readonly owner: string;
  connection: Connection | null = null;
  grant: Grant;
  /** Who was let in to it last. */
  principal: Principal;
  /** Seconds, as granted. */
  expiryInterval = 0;
  /** Seconds, as CONNECT asked for. */
  requestedExpiryInterval = 0;
  will: Will | null = null;
  subscriptions: Map<string, Subscription> | null = null;
  /** What the subscriptions weigh. */
  subscriptionBytes = 0;
  readonly inflight = new Inflight();
  /** Deliveries under way that are to be sent again on the present connection, oldest first. */
  resend: Delivery[] | null = null;
  /** The first of `resend` that has not been sent again. */
  resendAt = 0;
  queue: OutboundQueue | null = null;
  /** By subscription, oldest first: subscribing again begins anew. */
  replays: Map<Subscription, RetainedReplay> | null = null;
  /** Those that the last broker has not ended: they begin anew when nothing is queued any more, which may be older. */
  searches: Map<Subscription, () => RetainedReplay> | null = null;
  /** Deliveries whose PUBLISH uses send quota of the present connection (section 4.9). */
  sentCount = 0;
  /** Bytes of messages in flight and queued. */
  queuedBytes = 0;
  /** QoS 2 Packet Identifiers of the client between PUBLISH and PUBREL, each with the number of the connection it came on. */
  inboundQos2: Map<number, number> | null = null;
  /** Raised with every connection: quotas do not outlive one (section 4.9). */
  connectionNumber = 0;
  /** Those of `inboundQos2` that came on the present connection. */
  inboundQos2Count = 0;
  expiryDeadline: Deadline<Session> | null = null;
  willDeadline: Deadline<Session> | null = null;
  droppedMessages = 0;
  /** What the gate refused last, for whoever asks why. */
  lastRefusal: Refused | null = null;
  /** What the store knows the session by; 0: it ends with this process. */
  storeNumber = 0;
  /** Messages of its queue that only the store has, behind those in `queue`. */
  tail: QueueTail | null = null;
  /** Stamp and place that the router uses to find overlapping subscriptions. */
  routeStamp = 0;
  routeIndex = 0;

  constructor(clientId: string, owner: string, grant: Grant, principal: Principal) {
    this.clientId = clientId;
    this.owner = owner;
    this.grant = grant;
    this.principal = principal;
  }

  /** Messages that wait, wherever they are. */
  get queueLength(): number {
    return (this.queue === null ? 0 : this.queue.length) + (this.tail === null ? 0 : this.tail.count);
  }

  /** Whether something waits that has to go out before anything newer. */
  get hasBacklog(): boolean {
    return this.queueLength > 0 || this.resend !== null || this.replays !== null;
  }

  /** Begins the searches that wait for an empty queue; answers whether there are some. */
  beginSearches(): boolean {
    if (this.searches === null || this.queueLength > 0) return false;
    for (const [subscription, begin] of this.searches) (this.replays ??= new Map()).set(subscription, begin());
    this.searches = null;
    return this.replays !== null;
  }

  enqueue(delivery: Delivery): void {
    (this.queue ??= new OutboundQueue()).push(delivery);
    this.queuedBytes += delivery.message.sizeBytes;
  }
}
