/**
 * Subscriptions (MQTT 5.0 section 3.8.3.1 and 4.8) and what delivery needs to know of whoever receives a message.
 */
import type { QoS } from "../codec/packet.ts";
import type { Session } from "./session.ts";

/**
 * One copy of a message goes to one receiver: a subscription, or what several overlapping subscriptions of one session
 * come to (highest QoS, all identifiers).
 */
export interface Receiver {
  readonly session: Session;
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  /** Replaced, never changed: deliveries keep the list they began with. */
  readonly subscriptionIdentifiers: readonly number[] | null;
  readonly shareGroup: ShareGroup | null;
  /** Who receives what the session itself published: this receiver, less its No Local subscriptions; `null`: nobody. */
  readonly forOwn: Receiver | null;
}

/** The members of one Shared Subscription; router/shared.ts owns its rules. */
export interface ShareGroup {
  readonly shareName: string;
  readonly topicFilter: string;
  readonly members: Subscription[];
  /** Index of the member whose turn is next. */
  next: number;
}

/** What a level of a Topic Filter costs in memory, roughly: a node and its place in the parent. */
const LEVEL_BYTES = 200;

/** What a subscription weighs in a bounded session. */
export function subscriptionWeight(filter: string): number {
  let levels = 1;
  for (let at = filter.indexOf("/"); at !== -1; at = filter.indexOf("/", at + 1)) levels++;
  return filter.length + levels * LEVEL_BYTES;
}

const SHARE_PREFIX = "$share/";

export class Subscription implements Receiver {
  readonly session: Session;
  /** As subscribed to, `$share/name/` included: the key in the session. */
  readonly filter: string;
  qos: QoS;
  noLocal: boolean;
  retainAsPublished: boolean;
  subscriptionIdentifiers: readonly number[] | null;
  shareGroup: ShareGroup | null = null;
  /** Place in the list of its tree node or share group; kept by the router. */
  index = -1;

  constructor(session: Session, filter: string) {
    this.session = session;
    this.filter = filter;
    this.qos = 0;
    this.noLocal = false;
    this.retainAsPublished = false;
    this.subscriptionIdentifiers = null;
  }

  /** What topics are matched with. Not kept: there may be a million of them. */
  get topicFilter(): string {
    const { filter } = this;
    return filter.startsWith(SHARE_PREFIX) ? filter.slice(filter.indexOf("/", SHARE_PREFIX.length) + 1) : filter;
  }

  get forOwn(): Receiver | null {
    return this.noLocal ? null : this;
  }
}
