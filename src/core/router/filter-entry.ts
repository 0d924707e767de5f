/**
 * One Topic Filter that somebody is subscribed to, with its ordinary subscriptions and its Shared Subscriptions.
 *
 * There may be a million of them with one subscription each, so that one needs no list. Subscriptions know their place: taking
 * one out costs the same among a million.
 */
import type { ShareGroup, Subscription } from "../session/subscription.ts";

export class FilterEntry {
  /** Of the level by which the tree finds it; kept by the tree. */
  hash = 0;
  /** In UTF-8, a character for each byte: for most filters the very string that was subscribed to. */
  readonly filter: string;
  /** Ordinary ones; a list only of two or more. */
  subscribers: Subscription | Subscription[] | null = null;
  /** By share name. */
  groups: Map<string, ShareGroup> | null = null;

  constructor(filter: string) {
    this.filter = filter;
  }

  get isEmpty(): boolean {
    return this.subscribers === null && this.groups === null;
  }

  add(subscription: Subscription): void {
    const { subscribers } = this;
    if (Array.isArray(subscribers)) {
      append(subscribers, subscription);
    } else if (subscribers === null) {
      subscription.index = 0;
      this.subscribers = subscription;
    } else {
      subscription.index = 1;
      this.subscribers = [subscribers, subscription];
    }
  }

  remove(subscription: Subscription): void {
    const { subscribers } = this;
    if (subscription.shareGroup !== null) {
      this.#removeShared(subscription, subscription.shareGroup);
    } else if (!Array.isArray(subscribers)) {
      this.subscribers = null;
    } else {
      takeOut(subscribers, subscription);
      if (subscribers.length === 1) this.subscribers = subscribers[0]!;
    }
  }

  /** Adds to the Shared Subscription of that name; `topicFilter` is without `$share/`. */
  addShared(subscription: Subscription, shareName: string, topicFilter: string): void {
    const groups = (this.groups ??= new Map());
    let group = groups.get(shareName);
    if (group === undefined) {
      group = { shareName, topicFilter, members: [], next: 0 };
      groups.set(shareName, group);
    }
    subscription.shareGroup = group;
    append(group.members, subscription);
  }

  #removeShared(subscription: Subscription, group: ShareGroup): void {
    const { members, shareName } = group;
    takeOut(members, subscription);
    if (group.next >= members.length) group.next = 0;
    if (members.length > 0) return;
    this.groups!.delete(shareName);
    if (this.groups!.size === 0) this.groups = null;
  }
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
