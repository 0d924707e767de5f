/**
 * What it costs that acknowledgements wait for the disk.
 *
 *   bun run bench durable [PART...] [--runs N] [--quick] [--json]
 *
 * PART is `speed` (a subscriber whose session is kept is there: as fast as it goes), `rate` (60,000 messages a second, how long
 * acknowledgements take), `away` (nobody is there: everything goes to disk, then the subscriber comes and takes it) or
 * `clean` (the seed benchmark, whose sessions end with their connections, with a store beside one in memory) or `slow` (every
 * sync takes 50 ms longer, by strace; another client's pings tell whether anybody waits for the disk who need not). `speed` and
 * `away` have Debian's mosquitto beside them where there is one, told to save every change.
 */
import { type Broker, startBroker } from "./broker-process.ts";
import { rqttWith } from "./brokers.ts";
import type { DurablePlan, DurableResult } from "./durable-load.ts";
import { type Bound, type Figure, figure, judged, type PartResult, reportPart } from "./figure.ts";
import { type LoadOptions, median, runOnce } from "./measurement.ts";
import { mosquittoThatSaves, PEERS } from "./peers.ts";
import type { DotPlot } from "./plot.ts";
import { startProgram } from "./program.ts";
import { progressBar } from "./progress-bar.ts";
import { scenarioNamed } from "./scenarios.ts";

export interface DurableOptions {
  readonly runs: number;
  /** A tenth of everything. */
  readonly quick: boolean;
  readonly table: boolean;
  readonly signal: AbortSignal;
}

const MESSAGES = 500_000;
/** Of a broker that saves everything with every change: what it takes a minute for. */
const SAVING_MESSAGES = 2_000;
const RATE_PER_SECOND = 60_000;
const RATE_SECONDS = 10;
/** At a fixed rate what is late is counted, and a program that compiles itself is late at first. */
const WARM_UP_SECONDS = 1;
const PAYLOAD_BYTES = 256;
const WINDOW = 1_000;
const LIMIT_SECONDS = 240;
const PER_SECOND_MIN = 60_000;
const P99_MILLIS_MAX = 15;
const PEER_RATIO_MIN = 10;
const CLEAN_RATIO_MAX = 1.03;
/** Short runs, of which one or the other is a tenth off: so many more of them, and the ratio of their medians. */
const CLEAN_TURNS_PER_RUN = 5;
const SLOW_SYNC_MILLIS = 50;
const SLOW_RATE_PER_SECOND = 10_000;
const STALL_MILLIS_MAX = 20;

/** Room for everything that waits, as the peers have it. */
const ROOM = ["--set", "limits.queueMessagesMax=10000000", "--set", "limits.queueBytesMax=10000000000"];

const PARTS: Readonly<Record<string, (options: DurableOptions) => Promise<PartResult>>> = {
  speed: (options) => measureSpeed(options, false),
  rate: measureRate,
  away: (options) => measureSpeed(options, true),
  clean: measureClean,
  slow: measureSlow,
};

export async function runDurable(names: readonly string[], options: DurableOptions): Promise<PartResult[]> {
  const known = Object.keys(PARTS);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no part is named ${unknown}; there are ${known.join(", ")}`);
  const results: PartResult[] = [];
  for (const name of names.length === 0 ? known : names) {
    const result = judged(await PARTS[name](options));
    results.push(result);
    if (options.table) process.stdout.write(`${reportPart(result)}\n`);
  }
  return results;
}

function kept(durability: string): Broker {
  return rqttWith(`rqtt, ${durability}`, () => ["--set", `durability=${durability}`, ...ROOM], null, "data");
}

function savingPeer(): Broker | null {
  const path = PEERS.find(({ name }) => name === "mosquitto")?.find() ?? null;
  return path === null ? null : mosquittoThatSaves(path);
}

type Load = Pick<DurablePlan, "messages" | "ratePerSecond" | "isSubscriberAway"> & Partial<DurablePlan>;

async function run(broker: Broker, load: Load, signal: AbortSignal): Promise<DurableResult> {
  const running = await startBroker(broker);
  try {
    const { port, pid } = running;
    const usual = { payloadBytes: PAYLOAD_BYTES, window: WINDOW, warmUpMessages: 0, pings: false };
    const plan: DurablePlan = { ...usual, ...load, port, brokerPid: pid };
    return await startProgram<DurableResult>("durable-load.ts", plan, { limitSeconds: LIMIT_SECONDS, signal }).result;
  } finally {
    await running.stop();
  }
}

/** Runs of each broker in turn. */
async function inTurns(
  brokers: readonly Broker[],
  { runs, signal }: DurableOptions,
  loadOf: (broker: Broker) => Load,
): Promise<DurableResult[][]> {
  const results: DurableResult[][] = brokers.map(() => []);
  for (let turn = 0; turn < runs; turn++) {
    for (const [at, broker] of brokers.entries()) {
      const bar = progressBar(`durable, run ${turn + 1} of ${runs}, ${broker.name}`);
      bar.show(0);
      results[at].push(await run(broker, loadOf(broker), signal));
      bar.clear();
    }
  }
  return results;
}

function failuresOf(broker: Broker, runs: readonly DurableResult[]): string[] {
  return runs.flatMap(({ faults }) => {
    const isWhole = Object.values(faults).every((count) => count === 0);
    return isWhole ? [] : [`${broker.name}: ${JSON.stringify(faults)}`];
  });
}

async function measureSpeed(options: DurableOptions, isSubscriberAway: boolean): Promise<PartResult> {
  const peer = savingPeer();
  const own = [kept("fsync"), kept("written")];
  const brokers = peer === null ? own : [...own, peer];
  const scale = options.quick ? 0.1 : 1;
  const loadOf = (broker: Broker): Load => ({
    messages: Math.round((broker === peer ? SAVING_MESSAGES : MESSAGES) * scale),
    ratePerSecond: null,
    isSubscriberAway,
  });
  const results = await inTurns(brokers, options, loadOf);
  const figures: Figure[] = brokers.flatMap((broker, at) => {
    const { messages } = loadOf(broker);
    const runs = results[at];
    const atLeast = broker === own[0] && !isSubscriberAway ? { atLeast: PER_SECOND_MIN } : null;
    const drained = runs.map(({ drainSeconds }) => messages / drainSeconds);
    return [
      figure(
        `${broker.name}: acknowledged`,
        "messages/s",
        runs.map(({ seconds }) => messages / seconds),
        atLeast,
      ),
      figure(
        `${broker.name}: CPU`,
        "µs/message",
        runs.map((one) => one.broker.cpuMicros / messages),
      ),
      figure(
        `${broker.name}: peak memory`,
        "MB",
        runs.map((one) => one.broker.memoryPeakBytes / 1e6),
      ),
      ...(isSubscriberAway ? [figure(`${broker.name}: taken afterwards`, "messages/s", drained)] : []),
    ];
  });
  if (peer !== null) {
    const speed = (one: DurableResult, broker: Broker): number => loadOf(broker).messages / one.seconds;
    const ratios = results[0].map((one, at) => speed(one, own[0]) / speed(results[2][at], peer));
    figures.push(figure("rqtt, fsync, to mosquitto saving every change", "×", ratios, { atLeast: PEER_RATIO_MIN }));
  }
  const failures = brokers.flatMap((broker, at) => failuresOf(broker, results[at]));
  const plot = plotOf(isSubscriberAway ? "durable-away" : "durable-speed", {
    title: `Durable messages a second, subscriber ${isSubscriberAway ? "away" : "there"}`,
    subtitle: `${PAYLOAD_BYTES} bytes, QoS 1, window ${WINDOW}; more is better`,
    xLabel: "messages/s",
    rows: ["acknowledged", "taken afterwards"].map((name) => rowOf(name, figures, brokers)),
  });
  return { part: isSubscriberAway ? "durable, away" : "durable, speed", figures, failures, detail: results, plot };
}

type PartPlot = NonNullable<PartResult["plot"]>;

function plotOf(name: string, plot: DotPlot): PartPlot {
  return { name, ...plot, rows: plot.rows.filter(({ dots }) => dots.length > 0) };
}

/** The figures of this name, a dot for each broker. */
function rowOf(name: string, figures: readonly Figure[], brokers: readonly Broker[]): DotPlot["rows"][number] {
  const dots = brokers.flatMap((broker) => {
    const found = figures.find((one) => one.name === `${broker.name}: ${name}`);
    return found === undefined ? [] : [{ series: broker.name, value: found.value }];
  });
  return { name, dots };
}

async function measureRate(options: DurableOptions): Promise<PartResult> {
  const brokers = [kept("fsync"), kept("written")];
  const seconds = RATE_SECONDS * (options.quick ? 0.1 : 1) + WARM_UP_SECONDS;
  const messages = RATE_PER_SECOND * seconds;
  const warmUpMessages = RATE_PER_SECOND * WARM_UP_SECONDS;
  const results = await inTurns(brokers, options, () => ({
    messages,
    warmUpMessages,
    ratePerSecond: RATE_PER_SECOND,
    isSubscriberAway: false,
  }));
  const figures = brokers.flatMap((broker, at) => {
    const of = (pick: (one: DurableResult) => number) => results[at].map(pick);
    const bound = at === 0 ? { atMost: P99_MILLIS_MAX } : null;
    return [
      figure(
        `${broker.name}: acknowledged`,
        "messages/s",
        of(({ seconds }) => messages / seconds),
      ),
      figure(
        `${broker.name}: p50`,
        "ms",
        of(({ acknowledgement }) => acknowledgement.p50Micros / 1000),
      ),
      figure(
        `${broker.name}: p99`,
        "ms",
        of(({ acknowledgement }) => acknowledgement.p99Micros / 1000),
        bound,
      ),
    ];
  });
  const failures = brokers.flatMap((broker, at) => failuresOf(broker, results[at]));
  const plot = plotOf("durable-rate", {
    title: `Acknowledgements at ${RATE_PER_SECOND.toLocaleString("en")} messages a second`,
    subtitle: "from when a message was due until its PUBACK was read; less is better",
    xLabel: "ms",
    rows: ["p50", "p99"].map((name) => rowOf(name, figures, brokers)),
  });
  return {
    plot,
    part: `durable, ${RATE_PER_SECOND.toLocaleString("en")} a second`,
    figures,
    failures,
    detail: results,
  };
}

/** The same broker, whose every sync is late. Traced by a process beside it, so that its own id stays its own. */
function withSlowDisk(broker: Broker, strace: string): Broker {
  const late = ["-e", "trace=fdatasync,fsync", "-e", `inject=fdatasync,fsync:delay_enter=${SLOW_SYNC_MILLIS * 1000}`];
  const traced = [strace, "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", ...late];
  return {
    ...broker,
    name: `${broker.name}, slow disk`,
    command: (listener, folder) => [...traced, ...broker.command(listener, folder)],
  };
}

/** Who waits for a slow disk: acknowledgements have to, a ping must not. */
async function measureSlow(options: DurableOptions): Promise<PartResult> {
  const part = `durable, syncs of ${SLOW_SYNC_MILLIS} ms`;
  const strace = Bun.which("strace");
  if (strace === null) return { part, figures: [], notes: ["strace is not installed"], failures: [], detail: null };
  const quick = kept("fsync");
  const brokers = [quick, withSlowDisk(quick, strace)];
  const messages = SLOW_RATE_PER_SECOND * RATE_SECONDS * (options.quick ? 0.1 : 1);
  const load = {
    messages,
    ratePerSecond: SLOW_RATE_PER_SECOND,
    isSubscriberAway: true,
    window: 4 * WINDOW,
    pings: true,
  };
  const results = await inTurns(brokers, options, () => load);
  const figures = brokers.flatMap(({ name }, at) => {
    const millis = (label: string, pick: (one: DurableResult) => number, bound: Bound | null = null) =>
      figure(
        `${name}: ${label}`,
        "ms",
        results[at].map((one) => pick(one) / 1000),
        bound,
      );
    return [
      millis("acknowledged, p50", ({ acknowledgement }) => acknowledgement.p50Micros),
      millis("acknowledged, p99", ({ acknowledgement }) => acknowledgement.p99Micros),
      millis("ping, p50", ({ ping }) => ping!.p50Micros),
      millis("ping, p99", ({ ping }) => ping!.p99Micros),
      millis("ping, longest", ({ ping }) => ping!.maxMicros, at === 1 ? { atMost: STALL_MILLIS_MAX } : null),
    ];
  });
  const plot = plotOf("durable-slow", {
    title: `Who waits for syncs of ${SLOW_SYNC_MILLIS} ms`,
    subtitle: `${SLOW_RATE_PER_SECOND.toLocaleString("en")} messages a second to a session that is away; less is better`,
    xLabel: "ms",
    rows: ["acknowledged, p50", "acknowledged, p99", "ping, p50", "ping, p99", "ping, longest"].map((name) =>
      rowOf(name, figures, brokers),
    ),
  });
  const failures = brokers.flatMap((broker, at) => failuresOf(broker, results[at]));
  return { part, figures, failures, detail: results, plot };
}

/** The seed benchmark: nothing in it is kept, so a store may not slow it down. */
async function measureClean({ runs, quick, signal }: DurableOptions): Promise<PartResult> {
  const scenario = scenarioNamed("seed");
  const memory = rqttWith("rqtt in memory", () => [], null);
  const stored = rqttWith("rqtt with a store", () => [], null, "data");
  const figures: Figure[] = [];
  for (const window of scenario.windows) {
    const messages = quick ? scenario.messages / 10 : scenario.messages;
    const options: LoadOptions = { scenario, messages, window, protocolLevel: "4", warmUpMessages: 0, filtersHeld: 0 };
    const micros: Record<string, number[]> = { [memory.name]: [], [stored.name]: [] };
    for (let turn = 0; turn < runs * CLEAN_TURNS_PER_RUN; turn++) {
      for (const broker of turn % 2 === 0 ? [memory, stored] : [stored, memory]) {
        const bar = progressBar(`durable clean ${window}, ${broker.name}`);
        const { load } = await runOnce(broker, options, bar.show, signal);
        micros[broker.name].push(load.broker!.cpuMicros / load.messages);
        bar.clear();
      }
    }
    const ratio = median(micros[stored.name]) / median(micros[memory.name]);
    figures.push(
      figure(`window ${window}, in memory`, "CPU µs/message", micros[memory.name]),
      figure(`window ${window}, with a store`, "CPU µs/message", micros[stored.name]),
      figure(`window ${window}, store to memory`, "ratio of CPU", [ratio], { atMost: CLEAN_RATIO_MAX }),
    );
  }
  return { part: "durable, clean sessions", figures, failures: [], detail: null };
}
