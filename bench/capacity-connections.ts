/** Memory per idle connection, over TCP and over WebSocket, and how many CONNECT a second a broker takes. */
import type { LoginBatch, LoginPlan } from "./auth-logins.ts";
import { type RunningBroker, startBroker } from "./broker-process.ts";
import type { CapacityRun, Sample } from "./capacity.ts";
import type { HoldPlan } from "./holder.ts";
import { settledMemoryBytes } from "./process-meter.ts";
import { type RunningProgram, startProgram } from "./program.ts";
import type { Transport } from "./wire.ts";

const CONNECTIONS = 15_000;
/** Of the broker alone it would be one; each generator has descriptors and memory of its own to spare. */
const GENERATORS = 3;
const IDLE_LIMIT_SECONDS = 120;
const IDLE_BYTES_MAX = { tcp: 4_096, ws: 8_192 } as const;

const CONNECTS = 20_000;
/** Below the 100 that a listening socket of mosquitto lets wait. */
const CONNECTS_OPEN_MAX = 64;
const CONNECTS_LIMIT_SECONDS = 120;
const CONNECTS_PER_SECOND_MIN = 10_000;

export async function measureIdle(run: CapacityRun): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const transport of ["tcp", "ws"] as const) {
    if (!run.broker.transports.includes(transport)) continue;
    try {
      samples.push(...(await idleOver(run, transport)));
    } catch (error) {
      run.unable(`idle over ${transport}`, error as Error);
    }
  }
  return samples;
}

async function idleOver(
  { broker, scale, signal }: CapacityRun,
  transport: keyof typeof IDLE_BYTES_MAX,
): Promise<Sample[]> {
  const each = Math.round((CONNECTIONS * scale) / GENERATORS);
  const running = await startBroker(broker, transport);
  const holders: RunningProgram<never>[] = [];
  async function holdMore(programs: number): Promise<number> {
    for (let n = 0; n < programs; n++) {
      const clientFirst = holders.length * each;
      holders.push(hold(running, { transport, clientFirst, clients: each, subscriptionsEach: 0 }, signal));
    }
    await Promise.all(holders.map(({ begun }) => begun));
    return settledMemoryBytes(running.pid);
  }
  try {
    const atStart = await settledMemoryBytes(running.pid);
    const afterFirst = await holdMore(1);
    const afterAll = await holdMore(GENERATORS - 1);
    const clients = each * GENERATORS;
    const name = `${clients.toLocaleString("en")} idle over ${transport}, memory each`;
    const bound = { atMost: IDLE_BYTES_MAX[transport] };
    const marginal = (afterAll - afterFirst) / (clients - each);
    return [
      { name, unit: "bytes", value: (afterAll - atStart) / clients, bound },
      // Without what the first ones bring with them once and for all, such as compiled code.
      { name: `${name} of the last two thirds`, unit: "bytes", value: marginal, bound: null },
    ];
  } finally {
    await endAll(running, holders);
  }
}

/** Starts a program that holds what it is told to. */
export function hold(
  { port }: RunningBroker,
  { transport, ...rest }: Omit<HoldPlan, "endpoint"> & { readonly transport: Transport },
  signal: AbortSignal,
): RunningProgram<never> {
  const plan: HoldPlan = { endpoint: { transport, port }, ...rest };
  return startProgram("holder.ts", plan, { limitSeconds: IDLE_LIMIT_SECONDS, signal });
}

export async function endAll(broker: RunningBroker, programs: readonly RunningProgram<unknown>[]): Promise<void> {
  await Promise.allSettled(programs.map((program) => program.stop()));
  await broker.stop();
}

/** One connection after the other, some at once: TCP, CONNECT, CONNACK, DISCONNECT, closed. */
export async function measureConnects({ broker, scale, signal }: CapacityRun): Promise<Sample[]> {
  const running = await startBroker(broker);
  try {
    const count = Math.round((CONNECTS * scale) / 2);
    const plan: LoginPlan = {
      port: running.port,
      brokerPid: running.pid,
      logins: null,
      batches: [count, count],
      openMax: CONNECTS_OPEN_MAX,
      perSecond: null,
    };
    const bounds = { limitSeconds: CONNECTS_LIMIT_SECONDS, signal };
    const batches = await startProgram<LoginBatch[]>("auth-logins.ts", plan, bounds).result;
    return batches.flatMap((batch, n) => {
      if (batch.accepted !== batch.logins) {
        throw new Error(`${batch.accepted} of ${batch.logins} connections were let in, ${batch.unanswered} unanswered`);
      }
      const which = `${n === 0 ? "first" : "next"} ${count.toLocaleString("en")}`;
      return [
        {
          name: `${which} CONNECT, by the clock`,
          unit: "per second",
          value: count / batch.seconds,
          bound: { atLeast: CONNECTS_PER_SECOND_MIN },
        },
        {
          name: `${which} CONNECT, by CPU`,
          unit: "per CPU second",
          value: count / batch.brokerCpuSeconds,
          bound: null,
        },
        { name: `${which} CONNECT, generator headroom`, unit: "%", value: 100 * batch.generatorHeadroom, bound: null },
      ];
    });
  } finally {
    await running.stop();
  }
}
