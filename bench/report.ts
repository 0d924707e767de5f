/**
 * Measurements as text: one table per scenario and window, and under it what rqtt is to each peer, what a transport costs,
 * which bounds were met, and who was unable to take part.
 */
import { type Comparison, OWN_NAME } from "./compare.ts";
import { boundText } from "./figure.ts";
import type { Measurement } from "./measurement.ts";
import { deliveriesPerMessage, type Scenario } from "./scenarios.ts";
import { aligned, megabytes, whole } from "./text-table.ts";
import { transportFigures, wantedFigures } from "./wanted.ts";

export interface Row extends Comparison {
  readonly scenario: Scenario;
  readonly messages: number;
  readonly window: number;
}

interface Column {
  readonly title: string;
  cell(measurement: Measurement): string;
}

/** Below this the generator may have set the pace; the broker's CPU time per message is good all the same. */
const HEADROOM_MIN = 0.05;

export function reportRow(row: Row): string {
  const { title, cells } = scenarioTable(row);
  return [`${row.scenario.name}: ${title}`, ...aligned(cells), ...scenarioNotes(row), ""].join("\n");
}

/** The first row of cells holds the titles. */
export function scenarioTable(row: Row): { readonly title: string; readonly cells: readonly (readonly string[])[] } {
  const columns = columnsOf(row.scenario);
  const cells = [columns.map((column) => column.title)];
  for (const measurement of row.measurements) cells.push(columns.map((column) => column.cell(measurement)));
  return { title: heading(row), cells };
}

export function scenarioNotes(row: Row): string[] {
  return [...comparisons(row), ...verdicts(row), ...warnings(row)];
}

/** Whether anything in the rows is a reason for an exit status of 1. */
export function hasFailed(rows: readonly Row[]): boolean {
  return rows.some(({ measurements }) => measurements.some(({ failures }) => failures.length > 0));
}

export function brokerLabel({ broker, version }: Measurement): string {
  return `${broker} ${version}`;
}

function heading({ scenario, messages, window, measurements }: Row): string {
  const runs = measurements[0]?.runs ?? 0;
  const size = `${whole(messages)} messages of ${whole(scenario.payloadBytes)} bytes`;
  return `${scenario.summary}; ${size}, window ${whole(window)}, median of ${runs}`;
}

function columnsOf(scenario: Scenario): Column[] {
  const perDelivery = deliveriesPerMessage(scenario) > 1;
  const unit = perDelivery ? "delivery" : "message";
  return [
    { title: "broker", cell: (of) => brokerLabel(of) },
    ...(scenario.transport === "tcp" ? [] : [{ title: "over", cell: (of: Measurement) => of.transport }]),
    { title: `CPU µs/${unit}`, cell: (of) => cpuMicros(of, scenario).toFixed(2) },
    {
      title: perDelivery ? "deliveries/s" : "messages/s",
      cell: (of) => whole(perDelivery ? of.deliveriesPerSecond : of.messagesPerSecond),
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
  const micros = (value: number | undefined) => `${whole(value ?? 0)} µs`;
  return [
    { title: "p50", cell: ({ latency }) => micros(latency?.p50Micros) },
    { title: "p90", cell: ({ latency }) => micros(latency?.p90Micros) },
    { title: "p99", cell: ({ latency }) => micros(latency?.p99Micros) },
    { title: "p99.9", cell: ({ latency }) => micros(latency?.p999Micros) },
  ];
}

function comparisons({ scenario, measurements }: Row): string[] {
  return measurements
    .filter((peer) => peer.broker !== OWN_NAME)
    .flatMap((peer) => {
      const own = measurements.find(({ broker, transport }) => broker === OWN_NAME && transport === peer.transport);
      if (own === undefined) return [];
      const cpu = cpuMicros(peer, scenario) / cpuMicros(own, scenario);
      const rate = own.messagesPerSecond / peer.messagesPerSecond;
      const over = scenario.transport === "tcp" ? "" : ` over ${peer.transport}`;
      return `${brokerLabel(peer)} costs ${cpu.toFixed(1)} × the CPU of rqtt${over}; rqtt moves ${rate.toFixed(1)} × the messages/s`;
    });
}

function verdicts({ scenario, window, messages, measurements }: Row): string[] {
  // A short run is compilation for a good part.
  const inShort = messages < scenario.messages ? " in a short run" : "";
  const figures = [...transportFigures(scenario, measurements), ...wantedFigures(scenario, window, measurements)];
  return figures.map(({ name, unit, value, bound, isMet }) => {
    const verdict = bound === null ? "" : `, wanted ${boundText(bound)}: ${isMet ? "met" : "MISSED"}${inShort}`;
    return `${name}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}${verdict}`;
  });
}

function warnings({ measurements, unable }: Row): string[] {
  const failures = measurements.flatMap(({ broker, failures }) => failures.map((text) => `FAILED ${broker}: ${text}`));
  const tight = measurements.filter((measurement) => measurement.generatorHeadroom < HEADROOM_MIN);
  return [
    ...failures,
    ...unable.map(({ broker, version, reason }) => `note: ${broker} ${version} cannot do this: ${reason}`),
    ...tight.map((measurement) => `note: the load generator was at its limit against ${brokerLabel(measurement)}`),
  ];
}

function cpuMicros(measurement: Measurement, scenario: Scenario): number {
  return deliveriesPerMessage(scenario) > 1 ? measurement.cpuMicrosPerDelivery : measurement.cpuMicrosPerMessage;
}
