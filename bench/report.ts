/**
 * Measurements as text: one table per scenario and window, and under it what rqtt is to each peer.
 */
import type { Measurement } from "./measurement.ts";
import { deliveriesPerMessage, type Scenario } from "./scenarios.ts";

export interface Row {
  readonly scenario: Scenario;
  readonly messages: number;
  readonly window: number;
  readonly measurements: readonly Measurement[];
}

interface Column {
  readonly title: string;
  cell(measurement: Measurement): string;
}

/** Below this the generator may have set the pace; the broker's CPU time per message is good all the same. */
const HEADROOM_MIN = 0.05;

export function reportRow(row: Row): string {
  const columns = columnsOf(row.scenario);
  const cells = [columns.map((column) => column.title)];
  for (const measurement of row.measurements) cells.push(columns.map((column) => column.cell(measurement)));
  return [heading(row), ...aligned(cells), ...comparisons(row), ...warnings(row), ""].join("\n");
}

function heading({ scenario, messages, window, measurements }: Row): string {
  const runs = measurements[0]?.runs ?? 0;
  const size = `${number(messages)} messages of ${number(scenario.payloadBytes)} bytes`;
  return `${scenario.name}: ${scenario.summary}; ${size}, window ${number(window)}, median of ${runs}`;
}

function columnsOf(scenario: Scenario): Column[] {
  const perDelivery = deliveriesPerMessage(scenario) > 1;
  const unit = perDelivery ? "delivery" : "message";
  return [
    { title: "broker", cell: (of) => `${of.broker} ${of.version}` },
    { title: `CPU µs/${unit}`, cell: (of) => cpuMicros(of, scenario).toFixed(2) },
    {
      title: perDelivery ? "deliveries/s" : "messages/s",
      cell: (of) => number(perDelivery ? of.deliveriesPerSecond : of.messagesPerSecond),
    },
    ...(scenario.ratePerSecond === null ? [] : latencyColumns()),
    { title: "memory at start", cell: (of) => megabytes(of.memoryStartBytes) },
    { title: "average", cell: (of) => megabytes(of.memoryAverageBytes) },
    { title: "peak", cell: (of) => megabytes(of.memoryPeakBytes) },
    { title: "total time", cell: (of) => `${of.seconds.toFixed(2)} s` },
    { title: "generator headroom", cell: (of) => `${Math.round(of.generatorHeadroom * 100)} %` },
  ];
}

function latencyColumns(): Column[] {
  return [
    { title: "p50", cell: (of) => `${number(of.latencyP50Micros ?? 0)} µs` },
    { title: "p99", cell: (of) => `${number(of.latencyP99Micros ?? 0)} µs` },
  ];
}

function comparisons({ scenario, measurements }: Row): string[] {
  const own = measurements.find((measurement) => measurement.broker === "rqtt");
  if (own === undefined) return [];
  return measurements
    .filter((measurement) => measurement !== own)
    .map((peer) => {
      const cpu = cpuMicros(peer, scenario) / cpuMicros(own, scenario);
      const rate = own.messagesPerSecond / peer.messagesPerSecond;
      return `${peer.broker} ${peer.version} costs ${cpu.toFixed(1)} × the CPU of rqtt; rqtt moves ${rate.toFixed(1)} × the messages/s`;
    });
}

function warnings({ measurements }: Row): string[] {
  const failures = measurements.flatMap(({ broker, failures }) => failures.map((text) => `FAILED ${broker}: ${text}`));
  const tight = measurements.filter((measurement) => measurement.generatorHeadroom < HEADROOM_MIN);
  return [...failures, ...tight.map(({ broker }) => `note: the load generator was at its limit against ${broker}`)];
}

function cpuMicros(measurement: Measurement, scenario: Scenario): number {
  return deliveriesPerMessage(scenario) > 1 ? measurement.cpuMicrosPerDelivery : measurement.cpuMicrosPerMessage;
}

function aligned(rows: readonly string[][]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("   "),
  );
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
