/** Plots: values have their place on a logarithmic axis, ticks are where they should be, and what is drawn is well-formed. */
import { describe, expect, test } from "bun:test";
import { logScale, ticksOf } from "../../bench/log-scale.ts";
import { dotPlot, formatBytes, formatNumber, linePlot } from "../../bench/plot.ts";

describe("a logarithmic axis", () => {
  test.each([
    [[1, 1000], 1, 1000],
    [[0.17, 4.3], 0.1, 5],
    [[2, 15_000], 2, 20_000],
    [[16, 1_048_576], 10, 2_000_000],
    [[0.3, 0.7], 0.2, 1],
    [[5], 2.5, 10],
    [[0.001, 0.02], 0.001, 0.02],
    [[1e-3, 1e9], 1e-3, 1e9],
  ])("of %j goes from %d to %d", (values, min, max) => {
    const scale = logScale(values);
    expect(scale.min).toBeCloseTo(min, 12);
    expect(scale.max).toBeCloseTo(max, 12);
  });

  test("has its ends at 0 and 1, equal ratios at equal distances, and all values within", () => {
    const scale = logScale([1, 10_000]);
    expect([1, 10, 100, 1000, 10_000].map(scale.at)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    for (const value of [0.37, 12.5, 999, 31_415]) {
      const at = logScale([0.37, 12.5, 999, 31_415]).at(value);
      expect(at).toBeGreaterThanOrEqual(0);
      expect(at).toBeLessThanOrEqual(1);
    }
  });

  test.each([[[]], [[0]], [[-1, 1]], [[Number.NaN]], [[Number.POSITIVE_INFINITY, 1]]])(
    "has no place for %j",
    (values) => {
      expect(() => logScale(values)).toThrow("no logarithmic axis");
    },
  );

  test("has numbers at powers of ten, and at 2 and 5 where there are few of those", () => {
    const labels = (values: number[]) =>
      ticksOf(logScale(values))
        .filter(({ isLabelled }) => isLabelled)
        .map(({ value }) => formatNumber(value));
    expect(labels([1, 1000])).toEqual(["1", "10", "100", "1k"]);
    expect(labels([2, 15_000])).toEqual(["10", "100", "1k", "10k"]);
    expect(labels([0.2, 5])).toEqual(["0.2", "0.5", "1", "2", "5"]);
    expect(labels([5])).toEqual(["5", "10"]);
    expect(ticksOf(logScale([1, 1000])).map(({ value }) => value)).toEqual([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  });
});

test.each([
  [0.05, "0.05", "0.05 B"],
  [16, "16", "16 B"],
  [1000, "1k", "1000 B"],
  [1024, "1.02k", "1 KB"],
  [65_536, "65.5k", "64 KB"],
  [1_000_000, "1M", "977 KB"],
  [1_048_576, "1.05M", "1 MB"],
])("%d is written short", (value, number, bytes) => {
  expect(formatNumber(value)).toBe(number);
  expect(formatBytes(value)).toBe(bytes);
});

/** Every tag that is opened is closed; good enough for what is written here without any other nesting. */
function expectWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name, rest] of svg.matchAll(/<(\/?)([a-z]+)([^<>]*)>/gu)) {
    if (close === "/") expect(open.pop()).toBe(name);
    else if (!rest!.endsWith("/")) open.push(name!);
  }
  expect(open).toEqual([]);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/u);
  expect(svg.replaceAll(/&(?:amp|lt|gt|quot);/gu, "")).not.toContain("&");
}

const line = {
  title: 'A "title" < & >',
  subtitle: "and more",
  xLabel: "size",
  yLabel: "µs",
  series: [
    {
      name: "one & only",
      points: [
        { x: 100, y: 10 },
        { x: 1, y: 1 },
        { x: 10, y: 100 },
      ],
    },
    { name: "two", points: [{ x: 10, y: 10 }] },
  ],
};

test("lines go from left to right, higher values higher up", () => {
  const svg = linePlot(line);
  expectWellFormed(svg);
  const points = /<polyline points="([^"]+ [^"]+ [^"]+)"/u.exec(svg)![1]!.split(" ");
  const [first, second, third] = points.map((point) => point.split(",").map(Number));
  expect(second![0]! - first![0]!).toBeCloseTo(third![0]! - second![0]!, 1);
  expect(second![0]!).toBeGreaterThan(first![0]!);
  expect(second![1]!).toBeLessThan(third![1]!);
  expect(third![1]!).toBeLessThan(first![1]!);
});

test("both schemes have colours for every series, more series than colours included", () => {
  const series = Array.from({ length: 9 }, (_, n) => ({ name: `broker ${n}`, points: [{ x: 1, y: n + 1 }] }));
  const svg = linePlot({ ...line, series });
  expectWellFormed(svg);
  for (let n = 0; n < 7; n++) expect(svg.match(new RegExp(`\\.s${n}\\{`, "gu"))).toHaveLength(2);
  expect(svg).toContain("prefers-color-scheme:dark");
});

test("rows of dots, one of them with a single dot", () => {
  const rows = [
    {
      name: "seed",
      dots: [
        { series: "a", value: 1 },
        { series: "b", value: 10 },
      ],
    },
    { name: "seed-ws", dots: [{ series: "b", value: 2 }] },
  ];
  const svg = dotPlot({ title: "t", subtitle: "s", xLabel: "µs", rows });
  expectWellFormed(svg);
  expect(svg.match(/<circle/gu)).toHaveLength(1 + 1);
  expect(svg.match(/<rect x=/gu)).toHaveLength(2 + 1);
});
