/**
 * From a topic to whoever receives a message published to it (MQTT 5.0 sections 3.3.4 and 4.7).
 *
 * A session whose subscriptions overlap receives one copy, at the highest QoS that matches, with the identifiers of all
 * of them [MQTT-3.3.4-2] [MQTT-3.3.4-4]. Routes are cached on the topic and good for one version of the subscriptions.
 */
import type { QoS } from "../codec/packet.ts";
import { encodeUtf8 } from "../codec/utf8.ts";
import type { Session } from "../session/session.ts";
import type { Receiver, ShareGroup, Subscription } from "../session/subscription.ts";
import type { Topic } from "./topic-table.ts";
import { type MatchVisitor, TopicTree, type TreeNode } from "./topic-tree.ts";

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
  readonly #nodes: TreeNode[] = [];
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
    const node = this.#tree.node(encodeUtf8(subscription.topicFilter));
    if (shareName === "") {
      append((node.subscriptions ??= []), subscription);
    } else {
      const groups = (node.groups ??= new Map());
      let group = groups.get(shareName);
      if (group === undefined) {
        group = { shareName, topicFilter: subscription.topicFilter, members: [], next: 0 };
        groups.set(shareName, group);
      }
      subscription.shareGroup = group;
      append(group.members, subscription);
    }
    this.subscriptionCount++;
    this.#version++;
  }

  remove(subscription: Subscription): void {
    const node = this.#tree.find(encodeUtf8(subscription.topicFilter))!;
    const { shareGroup } = subscription;
    if (shareGroup === null) {
      takeOut(node.subscriptions!, subscription);
      if (node.subscriptions!.length === 0) node.subscriptions = null;
    } else {
      const { members } = shareGroup;
      takeOut(members, subscription);
      if (shareGroup.next >= members.length) shareGroup.next = 0;
      if (members.length === 0) {
        node.groups!.delete(shareGroup.shareName);
        if (node.groups!.size === 0) node.groups = null;
      }
    }
    this.#tree.prune(node);
    this.subscriptionCount--;
    this.#version++;
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

  visit(node: TreeNode): void {
    this.#nodes.push(node);
  }

  #build(topic: Topic): Route {
    const nodes = this.#nodes;
    nodes.length = 0;
    this.#tree.match(topic.bytes, this);
    if (nodes.length === 0) return NO_ROUTE;
    // One filter matches: its own list will do, since a session is in it once.
    if (nodes.length === 1) {
      const node = nodes[0]!;
      if (node.route === null || node.routeVersion !== this.#version) {
        const groups = node.groups === null ? NO_GROUPS : [...node.groups.values()];
        node.route = { receivers: node.subscriptions ?? NO_RECEIVERS, groups };
        node.routeVersion = this.#version;
      }
      return node.route;
    }
    const receivers: Receiver[] = [];
    const groups: ShareGroup[] = [];
    const stamp = ++this.#stamp;
    for (const node of nodes) {
      if (node.groups !== null) for (const group of node.groups.values()) groups.push(group);
      if (node.subscriptions === null) continue;
      for (const subscription of node.subscriptions) addReceiver(receivers, subscription, stamp);
    }
    return { receivers, groups };
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

function append(list: Subscription[], subscription: Subscription): void {
  subscription.index = list.length;
  list.push(subscription);
}

/** Removes in constant time: the last one takes the place. */
function takeOut(list: Subscription[], subscription: Subscription): void {
  const last = list.pop()!;
  if (last === subscription) return;
  list[subscription.index] = last;
  last.index = subscription.index;
}
