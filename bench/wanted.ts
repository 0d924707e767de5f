/**
 * The bounds that rqtt is held against on two shared cores, and what a transport may cost beside TCP.
 *
 * Absolute figures drift with the machine, so a bound that is missed is told and is no failure; the guard (`guard.ts`) goes
 * by ratios to a peer in the same run.
 */
import { OWN_NAME } from "./compare.ts";
import { type Bound, type Figure, figure } from "./figure.ts";
import type { Measurement } from "./measurement.ts";
import { deliveriesPerMessage, type Scenario } from "./scenarios.ts";

/** CPU µs per message, or per delivery where a message has many, by scenario and window. */
const CPU_MICROS_MAX: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  seed: { 100: 1.3, 1000: 0.8 },
  qos0: { 1000: 0.5 },
  qos2: { 100: 2 },
  "fan-out": { 100: 0.25 },
  "fan-in": { 100: 1.5 },
  pairs: { 100: 2.2 },
  "new-topics": { 1000: 1.2 },
  payload: { 100: 15 },
};
const LATENCY_P50_MICROS_MAX = 70;
const LATENCY_P99_MICROS_MAX = 250;
const MEMORY_START_MEGABYTES_MAX = 60;
const MEMORY_SEED_MEGABYTES_MAX = 110;
const WEBSOCKET_RATIO_MAX = 1.6;

export function wantedFigures(scenario: Scenario, window: number, measurements: readonly Measurement[]): Figure[] {
  const own = measurements.find(({ broker, transport }) => broker === OWN_NAME && transport === "tcp");
  if (own === undefined || scenario.transport !== "tcp") return [];
  const perDelivery = deliveriesPerMessage(scenario) > 1;
  const cpuMax = CPU_MICROS_MAX[scenario.name]?.[window];
  const figures: Figure[] = [];
  if (cpuMax !== undefined) {
    const unit = perDelivery ? "µs/delivery" : "µs/message";
    const micros = perDelivery ? own.cpuMicrosPerDelivery : own.cpuMicrosPerMessage;
    figures.push(figure("rqtt, CPU", unit, [micros], { atMost: cpuMax }));
  }
  if (scenario.name === "latency" && own.latency !== null) {
    figures.push(
      figure("rqtt, p50", "µs", [own.latency.p50Micros], { atMost: LATENCY_P50_MICROS_MAX }),
      figure("rqtt, p99", "µs", [own.latency.p99Micros], { atMost: LATENCY_P99_MICROS_MAX }),
    );
  }
  if (scenario.name === "seed") {
    const [start, peak] = [own.memoryStartBytes, own.memoryPeakBytes].map((bytes) => bytes / 1e6);
    figures.push(
      figure("rqtt, memory at start", "MB", [start], { atMost: MEMORY_START_MEGABYTES_MAX }),
      figure("rqtt, memory at its peak", "MB", [peak], { atMost: MEMORY_SEED_MEGABYTES_MAX }),
    );
  }
  return figures;
}

/** CPU per message over the scenario's transport to that over TCP, broker by broker. */
export function transportFigures(scenario: Scenario, measurements: readonly Measurement[]): Figure[] {
  const { transport } = scenario;
  return measurements
    .filter((one) => one.transport === transport && transport !== "tcp")
    .flatMap((one) => {
      const tcp = measurements.find(
        ({ broker, version, transport }) => broker === one.broker && version === one.version && transport === "tcp",
      );
      if (tcp === undefined) return [];
      const bound: Bound | null =
        one.broker === OWN_NAME && transport === "ws" ? { atMost: WEBSOCKET_RATIO_MAX } : null;
      const ratio = one.cpuMicrosPerMessage / tcp.cpuMicrosPerMessage;
      return figure(`${one.broker} ${one.version}, ${transport} to tcp`, "× the CPU", [ratio], bound);
    });
}
