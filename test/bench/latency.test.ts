/** Percentiles by nearest rank. */
import { expect, test } from "bun:test";
import { latencyOf, percentile } from "../../bench/latency.ts";

const hundred = Float64Array.from({ length: 100 }, (_, n) => n + 1);

test.each([
  [0.001, 1],
  [0.01, 1],
  [0.5, 50],
  [0.505, 51],
  [0.99, 99],
  [0.999, 100],
  [1, 100],
])("of 1 to 100, share %d is %d", (share, expected) => {
  expect(percentile(hundred, share)).toBe(expected);
});

test("of one value it is that value; of none there is none", () => {
  expect(percentile(Float64Array.of(7), 0.5)).toBe(7);
  expect(percentile(new Float64Array(0), 0.5)).toBeNaN();
});

test("delays in any order become microseconds", () => {
  const delaysMs = Float64Array.from({ length: 1000 }, (_, n) => (((n * 7) % 1000) + 1) / 1000);
  expect(latencyOf(delaysMs)).toEqual({
    p50Micros: 500,
    p90Micros: 900,
    p99Micros: 990,
    p999Micros: 999,
    maxMicros: 1000,
  });
});
