/**
 * The store of retained messages, against a map and a naive matcher: what a search finds while the store stays as it is, what it
 * must and must not find while it changes, and what the store says it weighs.
 */
import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { RetainedStore, type RetainedWalk } from "../../src/core/router/retained.ts";
import type { RetainedEntry } from "../../src/core/router/retained-entry.ts";
import { Random } from "../fuzz/random.ts";
import { ownedMessage } from "../support/owned-message.ts";
import { naiveMatch } from "../support/topic-model.ts";

const SEEDS = Array.from({ length: 30 }, (_, at) => at + 1);
const LEVELS = ["a", "b", "c", "", "$x"];

function randomName(random: Random): string {
  return Array.from({ length: random.between(1, 4) }, () => random.pick(LEVELS)).join("/") || "a";
}

function randomFilter(random: Random): string {
  const levels = Array.from({ length: random.between(1, 4) }, () => random.pick([...LEVELS, "+", "+"]));
  if (random.oneIn(2)) levels[levels.length - 1] = "#";
  return levels.join("/") || "+";
}

function search(walk: RetainedWalk): RetainedEntry[] {
  const found: RetainedEntry[] = [];
  for (let entry = walk.next(); entry !== undefined; entry = walk.next()) if (entry !== null) found.push(entry);
  return found;
}

function namesOf(entries: readonly RetainedEntry[]): string[] {
  return entries.map(({ message }) => message.topicName.text).sort();
}

/** What a message weighs: its bytes, and 200 for each level of its Topic Name. */
function weightOf(topicName: string, payload: string): number {
  return topicName.length + payload.length + 200 * topicName.split("/").length;
}

/** Names that part widely in one level, for searches by their last one. */
function wideName(random: Random): string {
  const last = random.pick(["b", "c", "c", "c", `${random.below(100)}`]);
  return `${random.pick(["a", "$x", "", "a/a"])}/${random.below(30)}/${last}`;
}

function wideFilter(random: Random): string {
  const first = random.pick(["a", "$x", "", "+", "+/+", "a/+"]);
  return `${first}/${random.pick(["+", "+", "7"])}/${random.pick(["b", "c", "", "17", "none"])}`;
}

const SHAPES = [
  ["narrow", randomName, randomFilter],
  ["wide", wideName, wideFilter],
] as const;
const CASES = SHAPES.flatMap(([shape, name, filter]) => SEEDS.map((seed) => [shape, seed, name, filter] as const));

test.each(CASES)(
  "random storing and deleting, then every kind of search: %s names, seed %d",
  (_shape, seed, name, filter) => {
    const random = new Random(seed);
    const store = new RetainedStore();
    const model = new Map<string, string>();
    for (let step = 0; step < 400; step++) {
      const topicName = name(random);
      if (random.oneIn(3)) {
        expect(store.delete(topicName)?.message.topicName.text).toBe(model.has(topicName) ? topicName : undefined);
        model.delete(topicName);
      } else {
        const payload = "x".repeat(random.between(1, 50));
        const message = ownedMessage(topicName, payload);
        const before = store.bytes;
        const growth = store.growthBy(message);
        const entry = store.set(message);
        expect([entry.message, store.get(topicName), store.bytes - before]).toEqual([message, entry, growth]);
        model.set(topicName, payload);
      }
      const weight = [...model].reduce((sum, [name, payload]) => sum + weightOf(name, payload), 0);
      expect([store.count, store.bytes]).toEqual([model.size, weight]);
      if (step % 10 > 0) continue;
      const topicFilter = filter(random);
      const expected = [...model.keys()].filter((name) => naiveMatch(topicFilter, name)).sort();
      expect(namesOf(search(store.walk(topicFilter)))).toEqual(expected);
    }
    for (const topicName of [...model.keys()]) store.delete(topicName);
    expect([store.count, store.bytes, search(store.walk("#"))]).toEqual([0, 0, []]);
  },
);

test.each(CASES)(
  "a search during which the store changes finds what was there all the time, once: %s names, seed %d",
  (_shape, seed, name, filter) => {
    const random = new Random(seed);
    const store = new RetainedStore();
    const present = new Set<string>();
    const change = (topicName: string, isDeleted: boolean): void => {
      if (isDeleted) {
        store.delete(topicName);
        present.delete(topicName);
      } else {
        store.set(ownedMessage(topicName, "x"));
        present.add(topicName);
      }
    };
    for (let at = 0; at < 100; at++) change(name(random), false);
    for (let round = 0; round < 20; round++) {
      const topicFilter = random.pick([
        "#",
        "+/#",
        "a/#",
        "+/+",
        "+/b/#",
        "+",
        "a/+/c",
        filter(random),
        filter(random),
      ]);
      const sequenceMax = store.sequence;
      const walk = store.walk(topicFilter);
      /** Names whose message has not been touched since the search began. */
      const untouched = new Set(present);
      const found: string[] = [];
      for (let entry = walk.next(); entry !== undefined; entry = walk.next()) {
        if (entry !== null) {
          const topicName = entry.message.topicName.text;
          // What is found is what is stored now, never what was.
          expect(store.get(topicName)).toBe(entry);
          if (entry.sequence <= sequenceMax) found.push(topicName);
        }
        if (random.oneIn(2)) continue;
        const topicName = name(random);
        untouched.delete(topicName);
        change(topicName, random.oneIn(2));
      }
      const expected = [...untouched].filter((name) => naiveMatch(topicFilter, name));
      for (const topicName of expected) expect(found).toContain(topicName);
      expect(new Set(found).size).toBe(found.length);
      for (const topicName of found) expect(naiveMatch(topicFilter, topicName)).toBe(true);
      expect([walk.next(), walk.next()]).toEqual([undefined, undefined]);
    }
  },
);

test("a search by the last level ends, though with each of its steps one more message comes that it would find", () => {
  const store = new RetainedStore();
  for (let at = 0; at < 100; at++) store.set(ownedMessage(`a/${at}/${at < 10 ? "b" : "c"}`, "x"));
  const walk = store.walk("a/+/b");
  let steps = 0;
  while (walk.next() !== undefined && steps < 1000) store.set(ownedMessage(`a/new${steps++}/b`, "x"));
  expect(steps).toBeLessThan(1000);
});

describe("what a search costs", () => {
  function stepsOf(walk: RetainedWalk): number {
    let steps = 0;
    while (walk.next() !== undefined) steps++;
    return steps;
  }

  const store = new RetainedStore();
  for (let at = 0; at < 1000; at++) store.set(ownedMessage(`r/${at % 10}/${at}`, "x"));

  test("a filter without a wildcard costs its levels", () => {
    expect(stepsOf(store.walk("r/1/1"))).toBeLessThanOrEqual(4);
    expect(stepsOf(store.walk("none/at/all"))).toBeLessThanOrEqual(4);
  });

  test("a wildcard costs what is under it", () => {
    expect(stepsOf(store.walk("r/1/#"))).toBeLessThan(3 * 110);
    expect(stepsOf(store.walk("r/+/none"))).toBeLessThan(3 * 20);
    expect(stepsOf(store.walk("#"))).toBeLessThan(3 * 1020);
  });

  /** Messages under `a/<n>`, every so many of them with another last level than the rest. */
  function beside(total: number, every: number): RetainedStore {
    const store = new RetainedStore();
    for (let at = 0; at < total; at++) store.set(ownedMessage(`a/${at}/${at % every === 0 ? "b" : "c"}`, "x"));
    return store;
  }

  test.each(["a/+/b", "+/+/b", "a/+/none"])("%s costs its matches, whatever lies beside them", (topicFilter) => {
    const few = beside(100, 10);
    const many = beside(5000, 500);
    const matches = topicFilter.endsWith("b") ? 10 : 0;
    expect([few, many].map((store) => search(store.walk(topicFilter)).length)).toEqual([matches, matches]);
    expect(stepsOf(many.walk(topicFilter))).toBeLessThan(20);
    expect(stepsOf(few.walk(topicFilter))).toBeLessThan(20);
  });

  test.each(["a/+/c", "+/1/c", "+/+/c"])(
    "%s costs its places, where more messages end in the same level",
    (topicFilter) => {
      const store = new RetainedStore();
      for (let at = 0; at < 2000; at++) store.set(ownedMessage(`other/levels/${at}/c`, "x"));
      for (let at = 0; at < 10; at++) store.set(ownedMessage(`a/${at}/c`, "x"));
      expect(stepsOf(store.walk(topicFilter))).toBeLessThan(60);
    },
  );

  test("finding out which way is cheaper costs no more than that way", () => {
    const store = new RetainedStore();
    for (let at = 0; at < 2000; at++) store.set(ownedMessage(`a/${at}/${at % 50}/${at % 100 === 0 ? "b" : "c"}`, "x"));
    expect(search(store.walk("a/+/+/b"))).toHaveLength(20);
    expect(stepsOf(store.walk("a/+/+/b"))).toBeLessThan(3 * 20 + 10);
  });

  test("a search by the last level that has gone nearly everywhere still ends soon", () => {
    const store = beside(3000, 2);
    for (let at = 0; at < 3000; at += 2) if (at !== 1500) store.delete(`a/${at}/b`);
    expect(namesOf(search(store.walk("a/+/b")))).toEqual(["a/1500/b"]);
    expect(stepsOf(store.walk("a/+/b"))).toBeLessThan(10);
  });

  test("each step of it is small: no message waits for a long one", () => {
    const walk = store.walk("#");
    let without = 0;
    let longest = 0;
    for (let entry = walk.next(); entry !== undefined; entry = walk.next()) {
      without = entry === null ? without + 1 : 0;
      longest = Math.max(longest, without);
    }
    expect(longest).toBeLessThan(10);
  });
});

describe("order of storing", () => {
  test("every message stored is later than all before it, one in place of another too", () => {
    const store = new RetainedStore();
    const first = store.set(ownedMessage("a", "1"));
    const second = store.set(ownedMessage("b", "1"));
    expect([first.sequence, second.sequence, store.sequence]).toEqual([1, 2, 2]);
    expect(store.set(ownedMessage("a", "2"))).toBe(first);
    expect([first.sequence, store.sequence, store.count]).toEqual([3, 3, 2]);
  });

  test("one that was deleted and is stored again is found by an earlier search as later", () => {
    const store = new RetainedStore();
    store.set(ownedMessage("a/1", "old"));
    store.set(ownedMessage("a/2", "old"));
    const sequenceMax = store.sequence;
    const walk = store.walk("a/+");
    while (walk.next() === null);
    store.delete("a/1");
    store.set(ownedMessage("a/1", "new"));
    const rest = search(walk);
    expect(namesOf(rest.filter(({ sequence }) => sequence <= sequenceMax))).toEqual(["a/2"]);
  });
});

test("a long Topic Name that has gone is not kept by the names that share a level with it", () => {
  const store = new RetainedStore();
  const count = 200;
  const bytesEach = 60_000;
  const long = "x".repeat(bytesEach);
  /** So long that a part of a string is worth a reference. */
  const level = (at: number): string => `a level that is not short, number ${at}`;
  Bun.gc(true);
  const before = heapStats().heapSize;
  for (let at = 0; at < count; at++) {
    // As the first of its level, as the second, and as the one whose next level makes a node.
    const gone = [`${level(at)}/${long}`, `${level(at)}/b/${level(at)}/${long}`, `${long}/${level(at)}`];
    for (const topicName of [gone[0]!, `${level(at)}/a`, gone[1]!, `${level(at)}/b/${level(at)}/a`, gone[2]!]) {
      store.set(ownedMessage(topicName, "x"));
    }
    store.set(ownedMessage(`${at}/${level(at)}`, "x"));
    for (const topicName of gone) store.delete(topicName);
  }
  Bun.gc(true);
  expect(store.count).toBe(3 * count);
  expect(heapStats().heapSize - before).toBeLessThan((count * bytesEach) / 4);
});
