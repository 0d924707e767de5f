/**
 * The index of subscriptions, against a list and a naive matcher: what it finds while filters come and go, and that what it takes up
 * goes by the filters that are left, whatever was there before.
 */
import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { Branch, type Child } from "../../src/core/router/branch.ts";
import { FilterEntry } from "../../src/core/router/filter-entry.ts";
import { TopicTree } from "../../src/core/router/topic-tree.ts";
import { Session } from "../../src/core/session/session.ts";
import { Subscription } from "../../src/core/session/subscription.ts";
import { Random } from "../fuzz/random.ts";
import { naiveMatch } from "../support/topic-model.ts";
import { toBytes } from "../support/world.ts";

const SEEDS = Array.from({ length: 20 }, (_, at) => at + 1);
const LEVELS = ["a", "b", "ab", "", "$x", "é", "水", "😀", "\u0080", "Ã©"];
const SESSION = new Session("c", "", {} as Session["grant"], { id: "c", permissions: "everything" });

function randomName(random: Random): string {
  return Array.from({ length: random.between(1, 5) }, () => random.pick(LEVELS)).join("/") || "a";
}

function randomFilter(random: Random): string {
  const levels = Array.from({ length: random.between(1, 5) }, () => random.pick([...LEVELS, "+", "+", "+"]));
  if (random.oneIn(3)) levels[levels.length - 1] = "#";
  return levels.join("/") || "+";
}

function subscriptionTo(topicFilter: string, shareName = ""): Subscription {
  const filter = shareName === "" ? topicFilter : `$share/${shareName}/${topicFilter}`;
  return new Subscription(SESSION, filter);
}

/** The subscriptions that are found, ordinary and shared, each as often as it is. */
function match(tree: TopicTree, topicName: string): Subscription[] {
  const found: Subscription[] = [];
  tree.match(toBytes(topicName), {
    visit({ subscribers, groups }) {
      if (subscribers !== null) found.push(...(Array.isArray(subscribers) ? subscribers : [subscribers]));
      for (const group of groups?.values() ?? []) found.push(...group.members);
    },
  });
  return found;
}

function filtersOf(subscriptions: readonly Subscription[]): string[] {
  return subscriptions.map(({ filter }) => filter).sort();
}

/** All that hangs on a branch, as nested objects; literal levels in no order. */
function shapeOf(child: Child | null): unknown {
  if (child === null) return null;
  if (child instanceof FilterEntry) return child.filter;
  const literals = (child.table ?? []).filter((below) => below !== undefined).map(shapeOf);
  const [plus, multi, own] = [child.plus, child.multi, child.own].map(shapeOf);
  return { plus, multi, own, literals: literals.map((shape) => JSON.stringify(shape)).sort() };
}

function branchesOf(child: Child | null): Branch[] {
  if (!(child instanceof Branch)) return [];
  return [child, ...[child.plus, ...(child.table ?? [])].flatMap((below) => branchesOf(below ?? null))];
}

describe.each(SEEDS)("filters that come and go: seed %d", (seed) => {
  const random = new Random(seed);
  const tree = new TopicTree(8, seed);
  const present: Subscription[] = [];

  test("each topic finds the subscriptions that match it, each once", () => {
    for (let step = 0; step < 1000; step++) {
      // Towards the end they go until none is left.
      if (random.below(1000) < step) {
        const [gone] = present.splice(random.below(present.length), 1);
        if (gone !== undefined) tree.remove(gone.topicFilter, gone);
      } else {
        const topicFilter = randomFilter(random);
        const shareName = random.pick(["", "", "", "g", "h"]);
        const subscription = subscriptionTo(topicFilter, shareName);
        tree.add(topicFilter, subscription, shareName);
        present.push(subscription);
      }
      const topicName = randomName(random);
      const expected = present.filter(({ topicFilter }) => naiveMatch(topicFilter, topicName));
      expect(filtersOf(match(tree, topicName))).toEqual(filtersOf(expected));
    }
  });

  test("what is left is as if nothing else had ever been there", () => {
    const fresh = new TopicTree(8, seed);
    for (const { topicFilter } of present) fresh.add(topicFilter, subscriptionTo(topicFilter), "");
    expect(shapeOf(tree.root)).toEqual(shapeOf(fresh.root));
    for (const left of present.splice(0)) tree.remove(left.topicFilter, left);
    expect(shapeOf(tree.root)).toEqual(shapeOf(new TopicTree(8, seed).root));
  });
});

test("the same subscriptions are found once more than half of them have left one filter, in any order", () => {
  const random = new Random(7);
  const tree = new TopicTree(8, 1);
  const present = new Set<Subscription>();
  for (let at = 0; at < 500; at++) {
    const subscription = subscriptionTo("a/+");
    tree.add("a/+", subscription, "");
    present.add(subscription);
    if (random.oneIn(3) || at > 480) {
      const gone = random.pick([...present]);
      tree.remove("a/+", gone);
      present.delete(gone);
    }
    expect(new Set(match(tree, "a/b"))).toEqual(present);
  }
});

test("a level is cut where the filter has it, even behind wildcards that stand for longer levels", () => {
  const tree = new TopicTree(8, 1);
  const filters = ["+/b/c/d", "+/b/c/e", "+/+/c/+/f", "+/+/c/+/g", "+/long level/c", "a/b/c/d/#"];
  for (const filter of filters) tree.add(filter, subscriptionTo(filter), "");
  const found = (topicName: string) => filtersOf(match(tree, topicName));
  expect(found("a long level/b/c/d")).toEqual(["+/b/c/d"]);
  expect(found("/b/c/e")).toEqual(["+/b/c/e"]);
  expect(found("a long level//c/another/g")).toEqual(["+/+/c/+/g"]);
  expect(found("/long level/c")).toEqual(["+/long level/c"]);
  expect(found("a/b/c/d")).toEqual(["+/b/c/d", "a/b/c/d/#"]);
  expect(found("a/b/c/d/e/f/g/h")).toEqual(["a/b/c/d/#"]);
  for (const none of ["a", "a/b", "a/b/c", "a/b/c/", "a/b/c/d2", "a/b/c/d/e/f/g/h2/"]) {
    expect(found(none)).toEqual(none.startsWith("a/b/c/d/") ? ["a/b/c/d/#"] : []);
  }
});

test("depth is no matter: tens of thousands of levels, literal and with wildcards", () => {
  const levels = 30_000;
  const tree = new TopicTree(levels, 1);
  const behind = (level: string, last: string) => `${`${level}/`.repeat(levels - 1)}${last}`;
  const filters = [behind("+", "a"), behind("+", "b"), behind("a", "a"), behind("a", "b"), behind("a", "#")];
  const subscriptions = filters.map((filter) => subscriptionTo(filter));
  for (const subscription of subscriptions) tree.add(subscription.filter, subscription, "");
  const found = match(tree, behind("a", "a"));
  expect(new Set(found)).toEqual(new Set([0, 2, 4].map((at) => subscriptions[at]!)));
  expect(found).toHaveLength(3);
  for (const subscription of subscriptions) tree.remove(subscription.filter, subscription);
  expect(branchesOf(tree.root)).toEqual([tree.root]);
});

describe("memory", () => {
  test("a filter that shares nothing with others takes no branch, however many levels it has", () => {
    const tree = new TopicTree(128, 1);
    for (let at = 0; at < 100; at++) {
      const filter = `${at}/${"level/".repeat(100)}end`;
      tree.add(filter, subscriptionTo(filter), "");
    }
    expect(branchesOf(tree.root)).toEqual([tree.root]);
  });

  test("tables are at most half full and at least an eighth, when filters have come and when most have gone", () => {
    const tree = new TopicTree(8, 1);
    const subscriptions = Array.from({ length: 5000 }, (_, at) => subscriptionTo(`${at % 3}/${at % 700}/${at}`));
    const expectFitting = (): void => {
      for (const { table, tableCount } of branchesOf(tree.root)) {
        if (table === null) continue;
        expect(table.filter((child) => child !== undefined).length).toBe(tableCount);
        expect(tableCount * 2).toBeLessThanOrEqual(table.length);
        expect(table.length).toBeLessThanOrEqual(Math.max(2, tableCount * 8));
      }
    };
    for (const subscription of subscriptions) tree.add(subscription.topicFilter, subscription, "");
    expectFitting();
    for (const subscription of subscriptions.splice(0, 4900)) tree.remove(subscription.topicFilter, subscription);
    expectFitting();
    for (const { topicFilter } of subscriptions) expect(match(tree, topicFilter)).toHaveLength(1);
  });

  test("a long filter that has gone is not kept by the levels that others share with it", () => {
    const tree = new TopicTree(8, 1);
    const count = 200;
    const bytesEach = 60_000;
    const add = (filter: string): Subscription => {
      const subscription = subscriptionTo(filter);
      tree.add(filter, subscription, "");
      return subscription;
    };
    Bun.gc(true);
    const before = heapStats().heapSize;
    for (let at = 0; at < count; at++) {
      // One from which a branch is made, one for which there is a branch, one that makes a branch of another.
      const long = [add(`${at}/x${"x".repeat(bytesEach)}`)];
      add(`${at}/a`);
      long.push(add(`${at}/y${"x".repeat(bytesEach)}`));
      add(`${at}/b/a`);
      long.push(add(`${at}/b/${"x".repeat(bytesEach)}`));
      add(`${at}/b/b`);
      for (const { topicFilter } of [...long]) tree.remove(topicFilter, long.shift()!);
    }
    Bun.gc(true);
    expect(heapStats().heapSize - before).toBeLessThan((count * bytesEach) / 4);
    expect(branchesOf(tree.root)).toHaveLength(2 * count + 1);
  });
});
