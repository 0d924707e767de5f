/**
 * The auth benchmarks' command: what authorisation and logins cost, against the bounds that were set for them.
 *
 *   bun run bench auth [PART...] [--runs N] [--messages N] [--json]
 *
 * PART is `grant`, `seed`, `flood` or `logins`; without one all are run, in some minutes. Brokers are fresh processes and take
 * turns run by run, and what is compared was measured in turn, so that other work on the machine falls on both.
 */
import { type Algorithm, newIssuer, rqttWithPasswords, rqttWithTokens } from "./auth-brokers.ts";
import { PUBLISHER_RULES, SEED_RULES } from "./auth-grant.ts";
import type { LoginBatch, LoginPlan } from "./auth-logins.ts";
import type { PingPongPlan, PingPongTurn } from "./auth-ping-pong.ts";
import { type Broker, type RunningBroker, startBroker } from "./broker-process.ts";
import { rqtt } from "./brokers.ts";
import { figure, judged, type PartResult, reportPart } from "./figure.ts";
import { type LoadOptions, medianOf, type Run, runOnce } from "./measurement.ts";
import { runMicro } from "./micro.ts";
import type { Login } from "./packet-bytes.ts";
import { startProgram } from "./program.ts";
import { progressBar } from "./progress-bar.ts";
import { scenarioNamed } from "./scenarios.ts";

export interface AuthOptions {
  readonly runs: number;
  /** Of one run of the seed benchmark. */
  readonly messages: number;
  readonly table: boolean;
  readonly signal: AbortSignal;
}

const CACHED_NANOS_MAX = 100;
const UNCACHED_NANOS_MAX = 400;
const SEED_RATIO_MAX = 1.1;
const FLOOD_RATIO_MAX = 2;
const LOGINS_PER_CPU_SECOND_MIN = 5_000;

const FLOOD_LOGINS_PER_SECOND = 1_000;
const FLOOD_TURN_SECONDS = 5;
const FLOOD_TURN_LIMIT_SECONDS = 60;
/** As many as the broker counts users, so that none is blocked for another's failures. */
const FLOOD_USERS = 10_000;
const LOGINS = 10_000;
const LOGINS_OPEN_MAX = 50;
const LOGINS_LIMIT_SECONDS = 120;
const TOKENS = 1_000;

const PARTS: Readonly<Record<string, (options: AuthOptions) => PartResult | Promise<PartResult>>> = {
  grant: measureGrant,
  seed: measureSeed,
  flood: measureFlood,
  logins: measureLogins,
};

export async function runAuth(names: readonly string[], options: AuthOptions): Promise<readonly PartResult[]> {
  const known = Object.keys(PARTS);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no auth benchmark is named ${unknown}; there are ${known.join(", ")}`);
  const results: PartResult[] = [];
  for (const name of names.length === 0 ? known : names) {
    const result = judged(await PARTS[name](options));
    results.push(result);
    if (options.table) process.stdout.write(`${reportPart(result)}\n`);
  }
  return results;
}

/** (1) What a PUBLISH pays for being asked about. */
function measureGrant({ runs }: AuthOptions): PartResult {
  const bounds = { "grant/publish-cached": CACHED_NANOS_MAX, "grant/publish-uncached": UNCACHED_NANOS_MAX };
  const figures = Object.entries(bounds).map(([name, atMost]) => {
    const values = Array.from({ length: runs }, () => runMicro([name], { runs: 1, table: false })[0]).map((result) =>
      result.kind === "time" ? result.cpuNanos : Number.NaN,
    );
    return figure(`${name} with 8 rules`, "CPU ns", values, { atMost });
  });
  return { part: "grant", figures, failures: [], detail: null };
}

/** (2) The seed benchmark with a token and eight rules, beside the same without. */
async function measureSeed({ runs, messages, signal }: AuthOptions): Promise<PartResult> {
  const issuer = await newIssuer("EdDSA");
  const closed = rqttWithTokens("rqtt with jwt", issuer, SEED_RULES, await issuer.login("client"));
  const scenario = scenarioNamed("seed");
  const figures = [];
  const measurements = [];
  for (const window of scenario.windows) {
    const options: LoadOptions = { scenario, messages, window, protocolLevel: "4", warmUpMessages: 0, filtersHeld: 0 };
    const open: Run[] = [];
    const guarded: Run[] = [];
    for (let run = 0; run < runs; run++) {
      const turns = [
        async () => open.push(await runShown(rqtt(), options, signal)),
        async () => guarded.push(await runShown(closed, options, signal)),
      ];
      for (const turn of run % 2 === 0 ? turns : turns.toReversed()) await turn();
    }
    const micros = (run: Run) => run.load.broker!.cpuMicros / run.load.messages;
    const ratios = guarded.map((run, n) => micros(run) / micros(open[n]));
    figures.push(
      figure(`window ${window}, open`, "CPU µs/message", open.map(micros)),
      figure(`window ${window}, jwt and 8 rules`, "CPU µs/message", guarded.map(micros)),
      figure(`window ${window}, jwt to open`, "ratio of CPU", ratios, { atMost: SEED_RATIO_MAX }),
    );
    measurements.push(medianOf(rqtt(), open), medianOf(closed, guarded));
  }
  const failures = measurements.flatMap(({ broker, failures }) => failures.map((text) => `${broker}: ${text}`));
  return { part: "seed", figures, failures, detail: measurements };
}

async function runShown(broker: Broker, options: LoadOptions, signal: AbortSignal): Promise<Run> {
  const bar = progressBar(`auth seed ${options.window}, ${broker.name}`);
  try {
    return await runOnce(broker, options, bar.show, signal);
  } finally {
    bar.clear();
  }
}

interface Flood {
  readonly name: string;
  readonly broker: Broker;
  readonly logins: readonly Login[] | null;
  readonly bound: { readonly atMost: number } | null;
}

/** (3) Round trips of connected clients while others guess passwords. */
async function measureFlood({ runs, signal }: AuthOptions): Promise<PartResult> {
  const guesses = Array.from({ length: FLOOD_USERS }, (_, n) => ({ username: `nobody-${n}`, password: "guessed" }));
  const bound = { atMost: FLOOD_RATIO_MAX };
  const floods: Flood[] = [
    { name: "as configured", broker: await rqttWithPasswords("rqtt", ""), logins: guesses, bound },
    {
      name: "every address hashed",
      broker: await rqttWithPasswords("rqtt without back-off", "failuresPerAddressMax = 0"),
      logins: guesses,
      bound,
    },
    { name: "for comparison: all let in", broker: rqtt(), logins: null, bound: null },
  ];
  const figures = [];
  const failures: string[] = [];
  const detail: Record<string, readonly PingPongTurn[]> = {};
  for (const { name, broker, logins, bound } of floods) {
    const turns = await withBroker(broker, ({ port, pid }) => {
      const flood = { logins, perSecond: FLOOD_LOGINS_PER_SECOND };
      const { login } = broker;
      const plan: PingPongPlan = { port, brokerPid: pid, login, turns: runs, turnSeconds: FLOOD_TURN_SECONDS, flood };
      const limitSeconds = 30 + runs * FLOOD_TURN_LIMIT_SECONDS;
      return startProgram<PingPongTurn[]>("auth-ping-pong.ts", plan, { limitSeconds, signal }).result;
    });
    detail[name] = turns;
    failures.push(...turns.flatMap((turn) => loginFailures(name, turn.logins, logins === null)));
    const of = (pick: (turn: PingPongTurn) => number) => turns.map(pick);
    const rates = of(({ logins }) => logins.logins / logins.startedSeconds);
    figures.push(
      figure(`${name}: logins`, "per second", rates),
      figure(
        `${name}: p99 quiet`,
        "µs",
        of(({ quiet }) => quiet.p99Micros),
      ),
      figure(
        `${name}: p99 flooded`,
        "µs",
        of(({ flood }) => flood.p99Micros),
      ),
      figure(
        `${name}: p99`,
        "flooded to quiet",
        of(({ flood, quiet }) => flood.p99Micros / quiet.p99Micros),
        bound,
      ),
    );
  }
  return { part: "flood", figures, failures, detail };
}

/** (4) What a login with a token costs the broker, connection and all. */
async function measureLogins({ runs, signal }: AuthOptions): Promise<PartResult> {
  const kinds = [
    await tokenLogins("EdDSA"),
    await tokenLogins("RS256"),
    { name: "open", broker: rqtt(), logins: null },
  ];
  const batches = new Map<string, LoginBatch[][]>(kinds.map(({ name }) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const { name, broker, logins } of kinds) {
      const measured = await withBroker(broker, ({ port, pid }) => {
        const counts = [LOGINS, LOGINS];
        const limitSeconds = LOGINS_LIMIT_SECONDS;
        const common = { port, brokerPid: pid, logins, batches: counts, openMax: LOGINS_OPEN_MAX, perSecond: null };
        return startProgram<LoginBatch[]>("auth-logins.ts", common satisfies LoginPlan, { limitSeconds, signal })
          .result;
      });
      batches.get(name)!.push(measured);
    }
  }
  const figures = kinds.flatMap(({ name }) =>
    ["first", "second"].map((which, at) => {
      const rates = batches.get(name)!.map((run) => run[at].logins / run[at].brokerCpuSeconds);
      const bound = name === "open" ? null : { atLeast: LOGINS_PER_CPU_SECOND_MIN };
      return figure(`${name}, ${which} ${LOGINS.toLocaleString("en")}`, "logins/CPU s", rates, bound);
    }),
  );
  const failures = [...batches].flatMap(([name, runs]) => runs.flat().flatMap((one) => loginFailures(name, one, true)));
  return { part: "logins", figures, failures, detail: Object.fromEntries(batches) };
}

async function tokenLogins(algorithm: Algorithm) {
  const issuer = await newIssuer(algorithm);
  const logins: Login[] = [];
  for (let n = 0; n < TOKENS; n++) logins.push(await issuer.login(`client-${n}`));
  return { name: algorithm, broker: rqttWithTokens(algorithm, issuer, PUBLISHER_RULES, null), logins };
}

function loginFailures(name: string, batch: LoginBatch, letIn: boolean): string[] {
  const { accepted, logins, unanswered, refused } = batch;
  const isRight = letIn ? accepted === logins : accepted === 0 && unanswered === 0;
  if (isRight) return [];
  return [
    `${name}: of ${logins} logins ${accepted} let in, refused ${JSON.stringify(refused)}, ${unanswered} unanswered`,
  ];
}

async function withBroker<T>(broker: Broker, use: (running: RunningBroker) => Promise<T>): Promise<T> {
  const running = await startBroker(broker);
  try {
    return await use(running);
  } finally {
    await running.stop();
  }
}
