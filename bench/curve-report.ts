/** A curve as tables and plots: what a size costs each broker, and for rates the percentiles of latency. */
import { OWN_NAME } from "./compare.ts";
import { type Curve, type CurvePoint, type CurveResult, curvesNamed, isSaturated } from "./curves.ts";
import type { Latency } from "./latency.ts";
import type { Measurement } from "./measurement.ts";
import { formatBytes, formatNumber, type LinePlot, linePlot, type Series } from "./plot.ts";
import { brokerLabel } from "./report.ts";
import { whole } from "./text-table.ts";

export interface PlotFile {
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

type Figure = (measurement: Measurement) => number | null;

const PERCENTILES: readonly (readonly [string, (latency: Latency) => number])[] = [
  ["p50", ({ p50Micros }) => p50Micros],
  ["p90", ({ p90Micros }) => p90Micros],
  ["p99", ({ p99Micros }) => p99Micros],
  ["p99.9", ({ p999Micros }) => p999Micros],
];

export function curveOf(result: CurveResult): Curve {
  return curvesNamed([result.name])[0];
}

/** The first row holds the titles. */
export function curveTable(result: CurveResult): string[][] {
  const curve = curveOf(result);
  const labels = labelsOf(result.points);
  const isRate = curve.name === "rate";
  const cell = (of: Measurement) => {
    const cost = `${rounded(costOf(curve, of))} µs`;
    if (of.latency === null) return cost;
    const percentiles = PERCENTILES.map(([, pick]) => whole(pick(of.latency!))).join(" / ");
    return `${percentiles}${isSaturated(of) ? " (saturated)" : ""}`;
  };
  const titles = labels.map((label) => `${label}, ${isRate ? "µs" : `CPU per ${curve.costPer}`}`);
  const rows = result.points.map(({ size, measurements }) => [
    formatSize(curve, size),
    ...labels.map((label) => {
      const of = measurements.find((measurement) => brokerLabel(measurement) === label);
      return of === undefined ? "" : cell(of);
    }),
  ]);
  return [[curve.unit, ...titles], ...rows];
}

/** Who was unable, who lost something, and whom the generator could not load to the full. */
export function curveNotes(result: CurveResult): string[] {
  const curve = curveOf(result);
  return result.points.flatMap(({ size, measurements, unable }) => {
    const where = `${formatSize(curve, size)} ${curve.unit === "bytes" ? "" : curve.unit}`.trim();
    return [
      ...unable.map(({ broker, version, reason }) => `${broker} ${version} cannot do ${where}: ${reason}`),
      ...measurements.flatMap((of) => of.failures.map((text) => `FAILED ${brokerLabel(of)} at ${where}: ${text}`)),
    ];
  });
}

export function curveHasFailed({ points }: CurveResult): boolean {
  return points.some(({ measurements }) => measurements.some(({ failures }) => failures.length > 0));
}

export function curvePlots(result: CurveResult): PlotFile[] {
  const curve = curveOf(result);
  const cost = plotOf(curve, result, "", {
    title: curve.title,
    yLabel: `CPU µs per ${curve.costPer}`,
    series: seriesOf(result.points, (of) => costOf(curve, of)),
  });
  if (curve.name !== "rate") return [cost];
  const own = result.points.flatMap(({ size, measurements }) =>
    measurements.filter(({ broker }) => broker === OWN_NAME).map(({ latency }) => ({ size, latency })),
  );
  const percentiles = PERCENTILES.map(([name, pick]) => ({
    name,
    points: own.flatMap(({ size, latency }) => (latency === null ? [] : [{ x: size, y: pick(latency) }])),
  }));
  const p99 = seriesOf(result.points, ({ latency }) => latency?.p99Micros ?? null);
  return [
    plotOf(curve, result, "-p99", { title: "p99 of latency by message rate", yLabel: "µs", series: p99 }),
    plotOf(curve, result, "-percentiles", {
      title: "Latency of rqtt by message rate",
      yLabel: "µs",
      series: percentiles,
    }),
    { ...cost, title: "Cost of a message by message rate" },
  ].filter(({ svg }) => svg !== "");
}

function plotOf(
  curve: Curve,
  result: CurveResult,
  suffix: string,
  rest: Pick<LinePlot, "title" | "yLabel" | "series">,
): PlotFile {
  const name = `curve-${curve.name}${suffix}.svg`;
  const series = rest.series.filter(({ points }) => points.length > 0);
  if (series.length === 0) return { name, title: rest.title, svg: "" };
  const isBytes = curve.unit === "bytes";
  const svg = linePlot({
    ...rest,
    title: curve.name === "rate" && suffix === "" ? "Cost of a message by message rate" : rest.title,
    series,
    subtitle: curve.load,
    xLabel: isBytes ? "payload" : curve.unit,
    ...(isBytes ? { formatX: formatBytes, ticksX: result.points.map(({ size }) => size) } : {}),
  });
  return { name, title: rest.title, svg };
}

function seriesOf(points: readonly CurvePoint[], figure: Figure): Series[] {
  return labelsOf(points).map((label) => ({
    name: label,
    points: points.flatMap(({ size, measurements }) => {
      const of = measurements.find((measurement) => brokerLabel(measurement) === label);
      const y = of === undefined || of.failures.length > 0 ? null : figure(of);
      return y === null ? [] : [{ x: size, y }];
    }),
  }));
}

function labelsOf(points: readonly CurvePoint[]): string[] {
  return [...new Set(points.flatMap(({ measurements }) => measurements.map(brokerLabel)))];
}

function costOf(curve: Curve, of: Measurement): number {
  return curve.costPer === "delivery" ? of.cpuMicrosPerDelivery : of.cpuMicrosPerMessage;
}

/** Three digits that count. */
function rounded(value: number): string {
  return value >= 100 ? whole(value) : value.toPrecision(3);
}

function formatSize(curve: Curve, size: number): string {
  return curve.unit === "bytes" ? formatBytes(size) : formatNumber(size);
}
