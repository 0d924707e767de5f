/** The index of retained messages by their last level, against a list. */
import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { LastLevels } from "../../src/core/router/last-levels.ts";
import { RetainedEntry } from "../../src/core/router/retained-entry.ts";
import { Random } from "../fuzz/random.ts";
import { ownedMessage } from "../support/owned-message.ts";

const LEVELS = ["a", "b", ""];

function all(index: LastLevels, level: string): RetainedEntry[] {
  const found: RetainedEntry[] = [];
  for (let entry = index.after(level, 0); entry !== undefined; entry = index.after(level, entry.number))
    found.push(entry);
  return found;
}

test.each(Array.from({ length: 20 }, (_, at) => at + 1))("entries that come and go stay in order: seed %d", (seed) => {
  const random = new Random(seed);
  const index = new LastLevels();
  const model = new Map<string, RetainedEntry[]>(LEVELS.map((level) => [level, []]));
  for (let step = 1; step <= 600; step++) {
    const level = random.pick(LEVELS);
    const entries = model.get(level)!;
    // They grow for a while, shrink until nearly none is left, and grow again.
    if (random.below(300) < step % 300) {
      const [gone] = entries.splice(random.below(entries.length), 1);
      if (gone !== undefined) index.remove(level, gone);
    } else {
      const entry = new RetainedEntry(ownedMessage(level, "x"), step);
      entries.push(entry);
      index.add(level, entry);
    }
    expect(index.countOf(level)).toBe(entries.length);
    if (step % 10 === 0) for (const [each, expected] of model) expect(all(index, each)).toEqual(expected);
    const number = random.below(step);
    expect(index.after(level, number)).toBe(entries.find((entry) => entry.number > number)!);
  }
});

test("a search knows its place by a number: whatever is taken out, it goes on behind it", () => {
  const index = new LastLevels();
  const entries = Array.from({ length: 100 }, (_, at) => new RetainedEntry(ownedMessage("b", "x"), at + 1));
  for (const entry of entries) index.add("b", entry);
  for (const entry of entries.slice(0, 90)) index.remove("b", entry);
  expect(index.after("b", 50)).toBe(entries[90]!);
  expect(index.after("b", 95)).toBe(entries[95]!);
  for (const entry of entries.slice(90)) index.remove("b", entry);
  expect([index.after("b", 95), index.countOf("b")]).toEqual([undefined, 0]);
});

test("what comes and goes leaves nothing behind for ever, though others stay", () => {
  const index = new LastLevels();
  const message = ownedMessage("b", "x");
  for (const number of [1, 2]) index.add("b", new RetainedEntry(message, number));
  Bun.gc(true);
  const before = heapStats().heapSize;
  const times = 500_000;
  for (let at = 0; at < times; at++) {
    const passing = new RetainedEntry(message, 3 + at);
    index.add("b", passing);
    index.remove("b", passing);
  }
  Bun.gc(true);
  // A number that is left takes eight bytes.
  expect(heapStats().heapSize - before).toBeLessThan(times * 4);
  expect(index.countOf("b")).toBe(2);
});
