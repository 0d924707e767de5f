/** Delays and their percentiles, by nearest rank: the smallest delay that so large a share of all does not exceed. */

/** When each message was due, and how long it took. Index 0 is the message with `sequenceFirst`. */
export interface LatencyRecord {
  readonly sequenceFirst: number;
  readonly dueMs: Float64Array;
  readonly delaysMs: Float64Array;
}

export interface Latency {
  readonly p50Micros: number;
  readonly p90Micros: number;
  readonly p99Micros: number;
  readonly p999Micros: number;
  readonly maxMicros: number;
}

export function latencyOf(delaysMs: Float64Array): Latency {
  const sorted = delaysMs.toSorted();
  const at = (share: number) => Math.round(percentile(sorted, share) * 1000);
  return {
    p50Micros: at(0.5),
    p90Micros: at(0.9),
    p99Micros: at(0.99),
    p999Micros: at(0.999),
    maxMicros: at(1),
  };
}

/** `sorted` rises; `share` is above 0 and at most 1. NaN for nothing at all. */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
}
