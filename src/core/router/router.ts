/**
 * From a topic to whoever receives a message published to it (MQTT 5.0 sections 3.3.4 and 4.7).
 *
 * A session whose subscriptions overlap receives one copy, at the highest QoS that matches, with the identifiers of all
 * of them [MQTT-3.3.4-2] [MQTT-3.3.4-4]. Routes are cached on the topic and good for one version of the subscriptions.
 */
import type { QoS } from "../codec/packet.ts";
import type { Session } from "../session/session.ts";
import type { Receiver, ShareGroup, Subscription } from "../session/subscription.ts";
import type { FilterEntry } from "./filter-entry.ts";
import type { Topic } from "./topic-table.ts";
import { type MatchVisitor, TopicTree } from "./topic-tree.ts";

/** Receivers that cached routes may list in all; beyond it the caches start afresh. */
const CACHED_RECEIVERS_MAX = 1_000_000;

export interface Route {
  readonly receivers: readonly Receiver[];
  readonly groups: readonly ShareGroup[];
}

const NO_GROUPS: readonly ShareGroup[] = [];
const NO_RECEIVERS: readonly Receiver[] = [];
const NO_ROUTE: Route = { receivers: NO_RECEIVERS, groups: NO_GROUPS };

/** What overlapping subscriptions of one session come to. */
class Overlap implements Receiver {
  readonly session: Session;
  qos: QoS = 0;
  retainAsPublished = false;
  subscriptionIdentifiers: number[] | null = null;
  readonly shareGroup = null;
  forOwn: Overlap | null = null;

  constructor(session: Session) {
    this.session = session;
  }

  add(subscription: Subscription): void {
    this.#merge(subscription);
    if (!subscription.noLocal) (this.forOwn ??= new Overlap(this.session)).#merge(subscription);
  }

  #merge(subscription: Subscription): void {
    if (subscription.qos > this.qos) this.qos = subscription.qos;
    this.retainAsPublished ||= subscription.retainAsPublished;
    if (subscription.subscriptionIdentifiers !== null) {
      (this.subscriptionIdentifiers ??= []).push(...subscription.subscriptionIdentifiers);
    }
  }
}

export class Router implements MatchVisitor {
  readonly #tree: TopicTree;
  readonly #forgetRoutes: () => void;
  /** Changes whenever a cached route could have become wrong. */
  #version = 0;
  #cachedReceivers = 0;
  #stamp = 0;
  readonly #entries: FilterEntry[] = [];
  /** The filter that was the only one to match last, and its route: topics that are new come to one filter in a row. */
  #onlyEntry: FilterEntry | null = null;
  #onlyRoute: Route = NO_ROUTE;
  /** Ordinary and shared subscriptions held. */
  subscriptionCount = 0;

  /** `forgetRoutes` takes the cached routes off all topics, so that they hold nothing any more. */
  constructor(levelsMax: number, seed: number, forgetRoutes: () => void) {
    this.#forgetRoutes = forgetRoutes;
    this.#tree = new TopicTree(levelsMax, seed);
  }

  /** A subscription's options changed in place. */
  touch(): void {
    this.#version++;
  }

  /** Adds a subscription that is not in the tree; `shareName` is "" for an ordinary one. */
  add(subscription: Subscription, shareName: string): void {
    this.#tree.add(subscription.topicFilter, subscription, shareName);
    this.subscriptionCount++;
    this.#forgetAll();
  }

  remove(subscription: Subscription): void {
    this.#tree.remove(subscription.topicFilter, subscription);
    this.subscriptionCount--;
    this.#forgetAll();
  }

  #forgetAll(): void {
    this.#version++;
    this.#onlyEntry = null;
    this.#onlyRoute = NO_ROUTE;
  }

  /** Who receives a message published to `topic` now. Valid until the next subscription or unsubscription. */
  routeOf(topic: Topic): Route {
    if (topic.routeVersion === this.#version && topic.route !== null) return topic.route;
    const route = this.#build(topic);
    if (!topic.isKept) return route;
    this.#cachedReceivers += route.receivers.length;
    if (this.#cachedReceivers > CACHED_RECEIVERS_MAX) {
      this.#cachedReceivers = route.receivers.length;
      this.#version++;
      this.#forgetRoutes();
    }
    topic.route = route;
    topic.routeVersion = this.#version;
    return route;
  }

  visit(entry: FilterEntry): void {
    this.#entries.push(entry);
  }

  #build(topic: Topic): Route {
    const entries = this.#entries;
    entries.length = 0;
    this.#tree.match(topic.bytes, this);
    if (entries.length === 0) return NO_ROUTE;
    if (entries.length === 1) return this.#routeOfOne(entries[0]!);
    const receivers: Receiver[] = [];
    const groups: ShareGroup[] = [];
    const stamp = ++this.#stamp;
    for (const entry of entries) {
      if (entry.groups !== null) for (const group of entry.groups.values()) groups.push(group);
      const { subscribers } = entry;
      if (subscribers === null) continue;
      if (!Array.isArray(subscribers)) addReceiver(receivers, subscribers, stamp);
      else for (const subscription of subscribers) addReceiver(receivers, subscription, stamp);
    }
    return { receivers, groups };
  }

  /** One filter matches: its own list will do, since a session is in it once. */
  #routeOfOne(entry: FilterEntry): Route {
    if (entry === this.#onlyEntry) return this.#onlyRoute;
    const { subscribers } = entry;
    const receivers = subscribers === null ? NO_RECEIVERS : Array.isArray(subscribers) ? subscribers : [subscribers];
    const groups = entry.groups === null ? NO_GROUPS : [...entry.groups.values()];
    this.#onlyEntry = entry;
    this.#onlyRoute = { receivers, groups };
    return this.#onlyRoute;
  }
}

function addReceiver(receivers: Receiver[], subscription: Subscription, stamp: number): void {
  const { session } = subscription;
  if (session.routeStamp !== stamp) {
    session.routeStamp = stamp;
    session.routeIndex = receivers.length;
    receivers.push(subscription);
    return;
  }
  const before = receivers[session.routeIndex]!;
  if (before instanceof Overlap) {
    before.add(subscription);
    return;
  }
  const overlap = new Overlap(session);
  overlap.add(before as Subscription);
  overlap.add(subscription);
  receivers[session.routeIndex] = overlap;
}
