/**
 * Memory per subscription, the slowest matches among a million filters, and what a SUBSCRIBE to few of many retained messages
 * takes.
 */
import { startBroker } from "./broker-process.ts";
import type { CapacityRun, Sample } from "./capacity.ts";
import { endAll, hold } from "./capacity-connections.ts";
import type { MatchPlan, MatchTimes } from "./capacity-match.ts";
import type { RetainedAnswers, RetainedPlan, RetainedStored } from "./capacity-retained.ts";
import { OWN_NAME } from "./compare.ts";
import { median } from "./measurement.ts";
import { settledMemoryBytes } from "./process-meter.ts";
import { startProgram } from "./program.ts";

const CLIENTS = 1_000;
const SUBSCRIPTIONS_EACH = 1_000;
const SUBSCRIPTION_BYTES_MAX = 500;
const MATCHES = 200_000;
const MATCH_P99_MICROS_MAX = 20;
const MATCH_LIMIT_SECONDS = 120;

const RETAINED = 1_000_000;
/** The smaller store beside which the larger one has to show that the total does not matter. */
const RETAINED_FEW_SHARE = 0.01;
const RETAINED_MATCHES = 100;
const RETAINED_SUBSCRIBES = 31;
const RETAINED_LIMIT_SECONDS = 300;
const RETAINED_RATIO_MAX = 2;

/** Limits of rqtt that would refuse what is measured here. */
export const CAPACITY_SETTINGS = ["limits.retainedMessagesMax=2000000", "limits.retainedBytesMax=8589934592"];

export async function measureSubscriptions(run: CapacityRun): Promise<Sample[]> {
  const { broker, scale, signal } = run;
  const running = await startBroker(broker);
  const clients = Math.round(CLIENTS * scale);
  const count = clients * SUBSCRIPTIONS_EACH;
  const before = await settledMemoryBytes(running.pid);
  const plan = { transport: "tcp", clientFirst: 0, clients, subscriptionsEach: SUBSCRIPTIONS_EACH } as const;
  const holder = hold(running, plan, signal);
  const samples: Sample[] = [];
  try {
    await holder.begun;
    const bytes = ((await settledMemoryBytes(running.pid)) - before) / count;
    const name = `${count.toLocaleString("en")} subscriptions, memory each`;
    samples.push({ name, unit: "bytes", value: bytes, bound: { atMost: SUBSCRIPTION_BYTES_MAX } });
  } finally {
    await endAll(running, [holder]);
  }
  return broker.name === OWN_NAME ? [...samples, ...(await matchSamples(count, signal))] : samples;
}

/** In memory, so of rqtt alone. */
async function matchSamples(filters: number, signal: AbortSignal): Promise<Sample[]> {
  const plan: MatchPlan = { filters, matches: MATCHES };
  const bounds = { limitSeconds: MATCH_LIMIT_SECONDS, signal };
  const { p50Micros, p99Micros, p999Micros } = await startProgram<MatchTimes>("capacity-match.ts", plan, bounds).result;
  const name = `a match among ${filters.toLocaleString("en")} filters`;
  return [
    { name: `${name}, p50`, unit: "µs", value: p50Micros, bound: null },
    { name: `${name}, p99`, unit: "µs", value: p99Micros, bound: { atMost: MATCH_P99_MICROS_MAX } },
    { name: `${name}, p99.9`, unit: "µs", value: p999Micros, bound: null },
  ];
}

export async function measureRetained(run: CapacityRun): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const others of ["elsewhere", "beside"] as const) {
    const many = Math.round(RETAINED * run.scale);
    const few = Math.round(many * RETAINED_FEW_SHARE);
    const small = await retained(run, few, others);
    const large = await retained(run, many, others);
    const of = `${RETAINED_MATCHES} of ${many.toLocaleString("en")} retained, the others ${others}`;
    samples.push(
      { name: `${of}, answered in`, unit: "ms", value: large.milliseconds, bound: null },
      { name: `${of}, broker CPU`, unit: "ms", value: large.cpuMilliseconds, bound: null },
      {
        name: `${of}, to ${RETAINED_MATCHES} of ${few.toLocaleString("en")}`,
        unit: "× the time",
        value: large.milliseconds / small.milliseconds,
        bound: { atMost: RETAINED_RATIO_MAX },
      },
    );
    if (others === "beside") continue;
    samples.push(
      {
        name: `${many.toLocaleString("en")} retained, memory each`,
        unit: "bytes",
        value: large.bytesEach,
        bound: null,
      },
      { name: "retained messages stored", unit: "per second", value: large.storedPerSecond, bound: null },
    );
  }
  return samples;
}

async function retained({ broker, signal }: CapacityRun, messages: number, others: RetainedPlan["others"]) {
  const running = await startBroker(broker);
  try {
    const before = await settledMemoryBytes(running.pid);
    const plan: RetainedPlan = {
      endpoint: { transport: "tcp", port: running.port },
      brokerPid: running.pid,
      messages,
      matches: RETAINED_MATCHES,
      others,
      subscribes: RETAINED_SUBSCRIBES,
    };
    const bounds = { limitSeconds: RETAINED_LIMIT_SECONDS, signal };
    const program = startProgram<RetainedAnswers>("capacity-retained.ts", plan, bounds);
    const answers = await program.result;
    const stored = (await program.begun) as RetainedStored;
    const after = await settledMemoryBytes(running.pid);
    return {
      milliseconds: median(answers.milliseconds),
      cpuMilliseconds: answers.brokerCpuMilliseconds,
      storedPerSecond: messages / stored.seconds,
      bytesEach: (after - before) / messages,
    };
  } finally {
    await running.stop();
  }
}
