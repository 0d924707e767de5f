/**
 * How cost grows: one load at several sizes, rqtt and its peers beside each other at each size.
 *
 *   bun run bench curves [NAME...] [--quick] [--size N...] [--runs N] [--peer NAME[=PATH]...] [--results FOLDER] [--json]
 *
 * NAME is `subscribers`, `filters`, `connections`, `payload` or `rate`; without one all are drawn. A broker that could not do
 * one size is not asked for the larger ones.
 */
import type { Broker } from "./broker-process.ts";
import { type Comparison, compare } from "./compare.ts";
import type { LoadOptions, Measurement } from "./measurement.ts";
import { type Scenario, scenarioNamed } from "./scenarios.ts";

export interface Curve {
  readonly name: string;
  readonly title: string;
  /** What each point does, in a line. */
  readonly load: string;
  /** What the sizes count. */
  readonly unit: string;
  readonly costPer: "message" | "delivery";
  readonly sizes: readonly number[];
  readonly quickSizes: readonly number[];
  options(size: number, quick: boolean): LoadOptions;
}

export interface CurvePoint extends Comparison {
  readonly size: number;
}

export interface CurveResult {
  readonly name: string;
  readonly quick: boolean;
  readonly runs: number;
  readonly points: readonly CurvePoint[];
}

export interface CurveOptions {
  readonly brokers: readonly Broker[];
  readonly runs: number;
  readonly quick: boolean;
  /** Instead of the curve's own, when there are any. */
  readonly sizes: readonly number[];
  readonly signal: AbortSignal;
}

/** Queues of rqtt as long as those that peers are given, so that a load beyond the limit is late and not lost. */
export const CURVE_SETTINGS = ["limits.queueMessagesMax=100000000", "limits.queueBytesMax=17179869184"];

/** A broker that moves less than this share of what is sent to it has reached its limit. */
const SATURATED_SHARE = 0.9;
const BYTES_IN_FLIGHT = 1024 * 1024;

function optionsFor(scenario: Scenario, messages: number, window: number): LoadOptions {
  return { scenario, messages, window, protocolLevel: "4", warmUpMessages: 0, filtersHeld: 0 };
}

const SUBSCRIBERS: Curve = {
  name: "subscribers",
  title: "Cost of a delivery by number of subscribers",
  load: "1 publisher, every subscriber gets every message, QoS 0, 16 bytes, window 100",
  unit: "subscribers",
  costPer: "delivery",
  sizes: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
  quickSizes: [1, 10, 100, 1000],
  options: (size, quick) => {
    const deliveries = quick ? 100_000 : 1_000_000;
    const scenario = { ...scenarioNamed("fan-out"), subscribers: size };
    return optionsFor(scenario, Math.max(quick ? 200 : 1_000, Math.round(deliveries / size)), 100);
  },
};

const FILTERS: Curve = {
  name: "filters",
  title: "Cost of a message by number of Topic Filters",
  load: "other clients hold the filters, up to 1,000 each; 1 publisher, 1 subscriber to #, QoS 0, a new topic every message",
  unit: "filters",
  costPer: "message",
  sizes: [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
  quickSizes: [1, 1_000, 100_000],
  options: (size, quick) => {
    // Beside the filters in the tree: the walk goes down to where most of them branch off.
    const scenario = { ...scenarioNamed("new-topics"), place: "site/0/device" };
    return { ...optionsFor(scenario, quick ? 50_000 : 300_000, 1_000), filtersHeld: size };
  },
};

const CONNECTIONS: Curve = {
  name: "connections",
  title: "Cost of a message by number of busy connections",
  load: "half of them publish, each to one of the others, QoS 1, 16 bytes, window 10 each",
  unit: "connections",
  costPer: "message",
  sizes: [2, 10, 50, 200, 1_000, 5_000, 15_000],
  quickSizes: [2, 50, 2_000],
  options: (size, quick) => {
    const pairs = Math.max(1, Math.floor(size / 2));
    const scenario = { ...scenarioNamed("pairs"), publishers: pairs, subscribers: pairs };
    const messages = Math.max(quick ? 50_000 : 300_000, pairs * 10);
    return optionsFor(scenario, messages, 10);
  },
};

const PAYLOAD: Curve = {
  name: "payload",
  title: "Cost of a message by payload",
  load: "1 publisher, 1 subscriber, QoS 1; window 1,000, less where that would be more than 1 MB under way",
  unit: "bytes",
  costPer: "message",
  sizes: [16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576],
  quickSizes: [16, 1_024, 65_536, 1_048_576],
  options: (size, quick) => {
    const scenario = { ...scenarioNamed("seed"), payloadBytes: size };
    const window = Math.max(2, Math.min(1_000, Math.floor(BYTES_IN_FLIGHT / size)));
    const bytes = quick ? 64e6 : 512e6;
    return optionsFor(scenario, Math.round(Math.min(quick ? 50_000 : 300_000, Math.max(100, bytes / size))), window);
  },
};

const RATE: Curve = {
  name: "rate",
  title: "Latency by message rate",
  load: "1 publisher sends what is due every millisecond, 1 subscriber, QoS 1, 16 bytes",
  unit: "messages/s",
  costPer: "message",
  sizes: [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000],
  quickSizes: [1_000, 10_000, 100_000],
  options: (size, quick) => {
    const scenario = { ...scenarioNamed("latency"), ratePerSecond: size };
    // With fewer it is compilation that sets the percentiles of a broker that compiles itself while it runs.
    const warmUpMessages = Math.min(1_000_000, Math.max(20_000, size));
    return { ...optionsFor(scenario, size * (quick ? 1 : 3), 10_000), warmUpMessages };
  },
};

export const CURVES: readonly Curve[] = [SUBSCRIBERS, FILTERS, CONNECTIONS, PAYLOAD, RATE];

export function curvesNamed(names: readonly string[]): readonly Curve[] {
  const known = CURVES.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no curve is named ${unknown}; there are ${known.join(", ")}`);
  return names.length === 0 ? CURVES : CURVES.filter(({ name }) => names.includes(name));
}

export async function measureCurve(curve: Curve, options: CurveOptions): Promise<CurveResult> {
  const { brokers, runs, quick, signal } = options;
  const points: CurvePoint[] = [];
  let able = brokers;
  const usual = quick ? curve.quickSizes : curve.sizes;
  for (const size of options.sizes.length > 0 ? options.sizes : usual) {
    const load = curve.options(size, quick);
    const contenders = able.map((broker) => ({ broker, options: load }));
    if (contenders.length === 0) break;
    const point = { size, ...(await compare(contenders, runs, signal)) };
    points.push(point);
    able = able.filter((broker) => canGoOn(broker, point));
  }
  return { name: curve.name, quick, runs, points };
}

function canGoOn({ name, version }: Broker, { measurements }: CurvePoint): boolean {
  const own = measurements.find((measurement) => measurement.broker === name && measurement.version === version);
  return own !== undefined && own.failures.length === 0 && !isSaturated(own);
}

/** Whether a broker took clearly longer than it took to send. */
export function isSaturated({ ratePerSecond, messagesPerSecond }: Measurement): boolean {
  return ratePerSecond !== null && messagesPerSecond < ratePerSecond * SATURATED_SHARE;
}
