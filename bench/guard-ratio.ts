/** What the guard demands of a comparison: a ratio of CPU time, found and wanted, and what that says. */
import { type Comparison, OWN_NAME } from "./compare.ts";
import type { Measurement } from "./measurement.ts";

export interface Demand {
  readonly scenario: string;
  /** CPU time of the peer to that of rqtt, per message, at least. */
  readonly ratioMin: number;
}

export interface Judgement {
  readonly isMet: boolean;
  readonly text: string;
}

/** A lost message, or a broker without a result, is never good enough. */
export function judge({ scenario, ratioMin }: Demand, { measurements, unable }: Comparison): Judgement {
  const failure = measurements.flatMap(({ broker, failures }) => failures.map((text) => `${broker}: ${text}`))[0];
  if (failure !== undefined) return { isMet: false, text: `${scenario}: FAILED, ${failure}` };
  const own = measurements.find(({ broker }) => broker === OWN_NAME);
  const peer = measurements.find(({ broker }) => broker !== OWN_NAME);
  if (own === undefined || peer === undefined) {
    const why = unable.map(({ broker, reason }) => `${broker} cannot do this: ${reason}`).join("; ");
    return { isMet: false, text: `${scenario}: FAILED, nothing to compare; ${why}` };
  }
  const ratio = peer.cpuMicrosPerMessage / own.cpuMicrosPerMessage;
  // Written so that a ratio that is no number is not met.
  const isMet = ratio >= ratioMin;
  const found = `${scenario}: ${peer.broker} costs ${ratio.toFixed(2)} × the CPU of rqtt`;
  const costs = `(${micros(peer)} and ${micros(own)} µs per message, median of ${own.runs})`;
  return { isMet, text: `${found} ${costs}, wanted at least ${ratioMin}: ${isMet ? "met" : "FAILED"}` };
}

function micros({ cpuMicrosPerMessage }: Measurement): string {
  return cpuMicrosPerMessage.toPrecision(3);
}
