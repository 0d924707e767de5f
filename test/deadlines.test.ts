/** The heap of deadlines, against a list: the earliest comes first, moved and removed ones never come at their old time. */
import { expect, test } from "bun:test";
import { Deadline, Deadlines } from "../src/core/deadlines.ts";
import { Random } from "./fuzz/random.ts";

const SEEDS = Array.from({ length: 20 }, (_, at) => at + 1);

test.each(SEEDS)("random setting, moving, removing and popping: seed %d", (seed) => {
  const random = new Random(seed);
  const deadlines = new Deadlines();
  const all = Array.from({ length: random.pick([1, 2, 3, 50, 200]) }, (_, at) => new Deadline("session", at));
  const model = new Map<Deadline, number>();
  const nextAtMs = (): number => Math.min(Number.POSITIVE_INFINITY, ...model.values());
  // Few different moments, so that many are equal.
  const moments = random.pick([5, 1000]);
  for (let step = 0; step < 4000; step++) {
    const deadline = random.pick(all);
    const choice = random.below(10);
    if (choice < 6) {
      const atMs = random.below(moments);
      deadlines.set(deadline, atMs);
      model.set(deadline, atMs);
      expect(deadline.atMs).toBe(atMs);
    } else if (choice < 8) {
      deadlines.remove(deadline);
      model.delete(deadline);
      expect(deadline.index).toBe(-1);
    } else {
      const nowMs = random.below(moments);
      const due = deadlines.popDue(nowMs);
      if (nextAtMs() > nowMs) {
        expect(due).toBeUndefined();
      } else {
        expect(model.get(due!)).toBe(nextAtMs());
        expect(due!.index).toBe(-1);
        model.delete(due!);
      }
    }
    expect([deadlines.size, deadlines.nextAtMs]).toEqual([model.size, nextAtMs()]);
  }
  const rest: number[] = [];
  for (let due = deadlines.popDue(moments); due !== undefined; due = deadlines.popDue(moments)) rest.push(due.atMs);
  expect(rest).toEqual([...model.values()].sort((a, b) => a - b));
  expect(deadlines.nextAtMs).toBe(Number.POSITIVE_INFINITY);
});

test("one that is due at this very moment is due, one a millisecond later is not", () => {
  const deadlines = new Deadlines();
  const deadline = new Deadline("session", 0);
  deadlines.set(deadline, 1000);
  expect(deadlines.popDue(999)).toBeUndefined();
  expect(deadlines.popDue(1000)).toBe(deadline);
  expect(deadlines.popDue(1000)).toBeUndefined();
});

test("one that is set while due ones are popped comes when it is due, and each comes once", () => {
  const deadlines = new Deadlines();
  const all = Array.from({ length: 10 }, (_, at) => new Deadline("session", at));
  for (const deadline of all) deadlines.set(deadline, 5);
  const came: unknown[] = [];
  for (let due = deadlines.popDue(5); due !== undefined; due = deadlines.popDue(5)) {
    came.push(due.target);
    deadlines.set(due, 6);
  }
  expect([...came].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect([deadlines.size, deadlines.nextAtMs]).toEqual([10, 6]);
});

test("removing what is not in it changes nothing", () => {
  const deadlines = new Deadlines();
  const [inside, outside] = [new Deadline("session", 0), new Deadline("session", 1)];
  deadlines.set(inside, 1);
  deadlines.remove(outside);
  deadlines.remove(inside);
  deadlines.remove(inside);
  expect(deadlines.size).toBe(0);
});
