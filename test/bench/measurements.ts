/** Measurements that nobody measured, for tests of what is made of them. */
import type { Circumstances } from "../../bench/circumstances.ts";
import type { Measurement } from "../../bench/measurement.ts";

export function measurementOf(
  broker: string,
  cpuMicrosPerMessage: number,
  rest: Partial<Measurement> = {},
): Measurement {
  return {
    broker,
    version: "1.0",
    transport: "tcp",
    ratePerSecond: null,
    runs: 3,
    cpuMicrosPerMessage,
    cpuMicrosPerDelivery: cpuMicrosPerMessage / 100,
    messagesPerSecond: 100_000,
    deliveriesPerSecond: 10_000_000,
    memoryStartBytes: 40e6,
    memoryAverageBytes: 50e6,
    memoryPeakBytes: 60e6,
    seconds: 10,
    latency: null,
    generatorCpuMicrosPerMessage: 0.1,
    generatorHeadroom: 0.5,
    failures: [],
    ...rest,
  };
}

export const SOMEWHERE: Circumstances = {
  date: "2026-11-23T10:00:00.000Z",
  machine: { cpu: "A processor", cores: 2, memoryBytes: 8 * 2 ** 30, platform: "linux", bun: "1.4.5" },
  commit: "abc1234",
  command: "bun run bench",
};
