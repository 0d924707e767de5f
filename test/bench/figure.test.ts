/** Figures of the auth benchmarks: the median counts, and a bound is met up to itself. */
import { expect, test } from "bun:test";
import { figure, judged, reportPart } from "../../bench/figure.ts";

test.each([
  [{ atMost: 2 }, [1, 9, 2], true],
  [{ atMost: 2 }, [1, 2.01, 9], false],
  [{ atLeast: 5 }, [5, 1, 9], true],
  [{ atLeast: 5 }, [4.99, 1, 9], false],
  [null, [1], null],
])("%j of %j", (bound, runs, isMet) => {
  expect(figure("name", "unit", runs, bound).isMet).toBe(isMet);
});

test("a figure that could not be measured meets no bound", () => {
  expect(figure("name", "unit", [Number.NaN], { atMost: 2 }).isMet).toBe(false);
});

test("a part with a failure meets no bound", () => {
  const figures = [figure("good", "ns", [1], { atMost: 2 }), figure("free", "ns", [1])];
  const result = { part: "part", figures, failures: [], detail: null };
  expect(judged(result).figures.map(({ isMet }) => isMet)).toEqual([true, null]);
  expect(judged({ ...result, failures: ["lost"] }).figures.map(({ isMet }) => isMet)).toEqual([false, null]);
});

test("what was missed and what failed is said in the table", () => {
  const figures = [figure("good", "ns", [1], { atMost: 2 }), figure("bad", "ns", [3], { atMost: 2 })];
  const lines = reportPart({ part: "part", figures, failures: ["somebody was let in"], detail: null }).split("\n");
  expect(lines[1]).toEndWith("≤ 2 met");
  expect(lines[2]).toEndWith("≤ 2 MISSED");
  expect(lines[3]).toBe("FAILED somebody was let in");
});
