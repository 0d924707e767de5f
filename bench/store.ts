/**
 * The store by itself, without a broker and without sockets: what it commits in a second and how long a commit takes, and
 * how soon a large one is ready. Everything is synced; the folder should be on the disk that is to be judged.
 *
 *   bun bench/store.ts [PART...] [--folder FOLDER] [--messages N] [--runs N] [--json]
 *
 * PART is `fill` (as fast as it takes them, in commits of 100 and of 1,000 messages), `pace` (60,000 messages a second as
 * they come, each taken out of the queue 20 ms later), `load` (a start with 100,000 sessions and a million queued messages),
 * `sync` (how long the disk takes to sync 64 KiB, to judge the rest by). Without one all are run.
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openStore, type SqliteStore } from "../src/bun/store/sqlite-store.ts";
import { RecordWriter } from "../src/core/store/record-writer.ts";
import { IGNORING_SINK, type MessageRow, NO_TIME, type QueuedRow } from "../src/core/store/store-record.ts";
import { median } from "./measurement.ts";

export interface StoreBenchmarkOptions {
  readonly folder: string;
  /** Of one run of `fill`. */
  readonly messages: number;
  readonly runs: number;
  readonly table: boolean;
}

export interface StoreFigure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly runs: readonly number[];
}

const PAYLOAD_BYTES = 256;
const FILL_SESSIONS = 10;
const PACE_PER_SECOND = 60_000;
const PACE_SECONDS = 5;
const PACE_KEPT_MS = 20;
const LOAD_SESSIONS = 100_000;
const LOAD_MESSAGES = 1_000_000;
const SYNC_BYTES = 64 * 1024;
const SYNCS = 300;

type Measured = Readonly<Record<string, readonly [value: number, unit: string]>>;

const PARTS: Readonly<Record<string, (options: StoreBenchmarkOptions, folder: string) => Promise<Measured>>> = {
  sync: measureSync,
  fill: measureFill,
  pace: measurePace,
  load: measureLoad,
};

export async function runStore(
  names: readonly string[],
  options: StoreBenchmarkOptions,
): Promise<readonly StoreFigure[]> {
  const known = Object.keys(PARTS);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no store benchmark is named ${unknown}; there are ${known.join(", ")}`);
  const figures: StoreFigure[] = [];
  for (const part of names.length === 0 ? known : names) {
    const runs: Measured[] = [];
    for (let run = 0; run < options.runs; run++)
      runs.push(await inFolder(options.folder, (folder) => PARTS[part]!(options, folder)));
    for (const [name, [, unit]] of Object.entries(runs[0]!)) {
      const values = runs.map((measured) => measured[name]![0]);
      const figure = { name: `${part}: ${name}`, unit, value: median(values), runs: values };
      figures.push(figure);
      if (options.table) process.stdout.write(`${lineOf(figure)}\n`);
    }
  }
  return figures;
}

function lineOf({ name, unit, value, runs }: StoreFigure): string {
  const range = runs.length > 1 ? `${text(Math.min(...runs))} to ${text(Math.max(...runs))}` : "";
  return `${`${name}, ${unit}`.padEnd(58)}${text(value).padStart(12)}${range.padStart(24)}`.trimEnd();
}

function text(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 2 : 0 });
}

async function inFolder<Result>(home: string, measure: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(home, "rqtt-bench-store-"));
  try {
    return await measure(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A store, and how long each of its commits has taken so far. */
class TimedStore {
  readonly latenciesMs: number[] = [];
  readonly #begunMs: number[] = [];
  #acked = 0;
  #answered: () => void = () => {};
  #store!: SqliteStore;

  static async open(folder: string): Promise<TimedStore> {
    const timed = new TimedStore();
    timed.#store = await openStore({
      folder: join(folder, "data"),
      events: {
        committed: (ticket) => timed.#committed(ticket),
        paged() {},
        space() {},
        failed(fault) {
          throw fault;
        },
      },
    });
    return timed;
  }

  get store(): SqliteStore {
    return this.#store;
  }

  get unanswered(): number {
    return this.#begunMs.length - this.#acked;
  }

  commit(records: Uint8Array<ArrayBuffer>): void {
    this.#begunMs.push(performance.now());
    this.#store.commit(records, this.#begunMs.length, "fsync");
  }

  async untilUnanswered(most: number): Promise<void> {
    while (this.unanswered > most) await new Promise<void>((answered) => (this.#answered = answered));
  }

  latencies(): Measured {
    const sorted = this.latenciesMs.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
    return { "commit p50": [at(0.5), "ms"], "commit p99": [at(0.99), "ms"], "commit slowest": [at(1), "ms"] };
  }

  #committed(ticket: number): void {
    const nowMs = performance.now();
    for (; this.#acked < ticket; this.#acked++) this.latenciesMs.push(nowMs - this.#begunMs[this.#acked]!);
    this.#answered();
  }
}

/** Writes messages round robin to sessions, one sequence after the other. */
class QueueFiller {
  readonly writer = new RecordWriter();
  readonly #sessions: number;
  readonly #message: MessageRow;
  #sequence = 0;

  constructor(sessions: number) {
    this.#sessions = sessions;
    const payload = crypto.getRandomValues(new Uint8Array(PAYLOAD_BYTES));
    const topicName = Buffer.from("devices/17/temperature");
    const properties = new Uint8Array(0);
    this.#message = {
      topicName,
      qos: 1,
      retain: false,
      expiresAtMs: NO_TIME,
      publisherId: "publisher",
      properties,
      payload,
    };
    this.writer.time(1);
  }

  sessions(first: number, last: number): void {
    for (let sessionNumber = first; sessionNumber <= last; sessionNumber++) {
      this.writer.sessionPut({
        sessionNumber,
        clientId: `client-${sessionNumber}`,
        principal: "{}",
        expiryInterval: 0xffffffff,
        requestedExpiryInterval: 0xffffffff,
        expiresAtMs: NO_TIME,
        isConnected: false,
      });
      this.writer.subscriptionPut({
        sessionNumber,
        filter: `devices/${sessionNumber}/#`,
        qos: 1,
        noLocal: false,
        retainAsPublished: false,
        isSearching: false,
        subscriptionIdentifiers: null,
      });
    }
  }

  put(count: number): void {
    for (let put = 0; put < count; put++) this.writer.queuePut(this.#place(++this.#sequence), this.#message);
  }

  /** The oldest that is still in a queue, of those at least this far behind. */
  deleteBehind(behind: number, count: number): void {
    for (let sequence = this.#sequence - behind - count + 1; sequence <= this.#sequence - behind; sequence++) {
      if (sequence > 0) this.writer.queueDelete(1 + (sequence % this.#sessions), sequence);
    }
  }

  take(): Uint8Array<ArrayBuffer> {
    const records = this.writer.take();
    this.writer.time(1);
    return records;
  }

  #place(sequence: number): QueuedRow {
    const sessionNumber = 1 + (sequence % this.#sessions);
    const fixed = {
      qos: 1,
      retain: false,
      subscriptionIdentifiers: null,
      sharedFilter: "",
      progress: 0,
      packetId: 0,
    } as const;
    return { sessionNumber, sequence, ...fixed };
  }
}

async function measureSync(_options: StoreBenchmarkOptions, folder: string): Promise<Measured> {
  const file = openSync(join(folder, "synced"), "w");
  const bytes = new Uint8Array(SYNC_BYTES);
  const tookMs = Array.from({ length: SYNCS }, (_, at) => {
    writeSync(file, bytes, 0, bytes.length, at * SYNC_BYTES);
    const beganMs = performance.now();
    fsyncSync(file);
    return performance.now() - beganMs;
  }).sort((a, b) => a - b);
  closeSync(file);
  return { p50: [tookMs[SYNCS / 2]!, "ms"], p99: [tookMs[Math.floor(SYNCS * 0.99)]!, "ms"] };
}

async function measureFill({ messages }: StoreBenchmarkOptions, folder: string): Promise<Measured> {
  const measured: Record<string, readonly [number, string]> = {};
  for (const [size, unanswered] of [
    [100, 1],
    [100, 4],
    [1_000, 1],
    [1_000, 2],
  ] as const) {
    const figures = await inFolder(folder, async (home) => {
      const timed = await TimedStore.open(home);
      const filler = new QueueFiller(FILL_SESSIONS);
      filler.sessions(1, FILL_SESSIONS);
      timed.commit(filler.take());
      const beganMs = performance.now();
      for (let sent = 0; sent < messages; sent += size) {
        filler.put(size);
        timed.commit(filler.take());
        await timed.untilUnanswered(unanswered - 1);
      }
      await timed.untilUnanswered(0);
      const seconds = (performance.now() - beganMs) / 1000;
      await timed.store.close();
      return { messages: [messages / seconds, "per second"] as const, ...timed.latencies() };
    });
    for (const [name, figure] of Object.entries(figures))
      measured[`${size} in a commit, ${unanswered} ahead, ${name}`] = figure;
  }
  return measured;
}

async function measurePace(_options: StoreBenchmarkOptions, folder: string): Promise<Measured> {
  const timed = await TimedStore.open(folder);
  const filler = new QueueFiller(FILL_SESSIONS);
  filler.sessions(1, FILL_SESSIONS);
  timed.commit(filler.take());
  const beganMs = performance.now();
  let sent = 0;
  for (let passedMs = 0; passedMs < PACE_SECONDS * 1000; passedMs = performance.now() - beganMs) {
    const due = Math.floor((passedMs * PACE_PER_SECOND) / 1000) - sent;
    if (due > 0) {
      filler.put(due);
      filler.deleteBehind((PACE_PER_SECOND * PACE_KEPT_MS) / 1000, due);
      timed.commit(filler.take());
      sent += due;
    }
    await new Promise((turn) => setTimeout(turn, 1));
  }
  await timed.untilUnanswered(0);
  const seconds = (performance.now() - beganMs) / 1000;
  await timed.store.close();
  return { messages: [sent / seconds, "per second"], ...timed.latencies() };
}

/** The load happens in a process of its own, to see its memory. */
async function measureLoad(_options: StoreBenchmarkOptions, folder: string): Promise<Measured> {
  const timed = await TimedStore.open(folder);
  const filler = new QueueFiller(LOAD_SESSIONS);
  for (let first = 1; first <= LOAD_SESSIONS; first += 1_000) {
    filler.sessions(first, first + 999);
    timed.commit(filler.take());
    await timed.untilUnanswered(2);
  }
  for (let put = 0; put < LOAD_MESSAGES; put += 1_000) {
    filler.put(1_000);
    timed.commit(filler.take());
    await timed.untilUnanswered(2);
  }
  await timed.store.close();
  const { size } = statSync(join(folder, "data", "store.db"));
  const child = Bun.spawnSync([process.execPath, import.meta.path, "--loads", join(folder, "data")]);
  if (!child.success) throw new Error(child.stderr.toString());
  return { "size of the file": [size / 1e6, "MB"], ...(JSON.parse(child.stdout.toString()) as Measured) };
}

async function loadAndTell(folder: string): Promise<void> {
  const beganMs = performance.now();
  const ignored = { committed() {}, paged() {}, space() {}, failed() {} };
  const store = await openStore({ folder, events: ignored });
  const openedMs = performance.now();
  let [sessions, waiting] = [0, 0];
  await store.load({
    ...IGNORING_SINK,
    sessionPut: () => void sessions++,
    queueTail: ({ count }) => void (waiting += count),
  });
  const loadedMs = performance.now();
  await store.close();
  if (sessions !== LOAD_SESSIONS || waiting !== LOAD_MESSAGES)
    throw new Error(`${sessions} sessions, ${waiting} messages`);
  const measured: Measured = {
    "opened and checked": [openedMs - beganMs, "ms"],
    loaded: [loadedMs - openedMs, "ms"],
    "memory at its peak": [process.resourceUsage().maxRSS / 1e3, "MB"],
  };
  console.log(JSON.stringify(measured));
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      folder: { type: "string", default: tmpdir() },
      messages: { type: "string", default: "300000" },
      runs: { type: "string", default: "3" },
      json: { type: "boolean", default: false },
      loads: { type: "string" },
    },
  });
  if (values.loads !== undefined) await loadAndTell(values.loads);
  else {
    const { folder, json } = values;
    const options = { folder, messages: Number(values.messages), runs: Number(values.runs), table: !json };
    const figures = await runStore(positionals, options);
    if (json) console.log(JSON.stringify(figures, null, 2));
  }
}
