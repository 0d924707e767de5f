/**
 * A store that does what its test says: it holds everything until it is told to settle, loses what was not synced, has no
 * room, fails. It keeps its rows in the reference engine.
 *
 * Invariant: it behaves as the store on disk may behave. Orders are carried out in order, commits beside each other in one go
 * and answered with the last ticket; nothing is said during a call of the port; after a failure or a crash nothing is said.
 */
import type { StoreEvents } from "../../src/bun/store/sqlite-store.ts";
import { StoreFault } from "../../src/bun/store/store-fault.ts";
import type { Store } from "../../src/core/ports.ts";
import { MemoryEngine } from "../../src/core/store/memory-engine.ts";
import { readRecords } from "../../src/core/store/read-records.ts";
import { RecordWriter } from "../../src/core/store/record-writer.ts";
import type { Durability, StoreEngine, StoreLoad } from "../../src/core/store/store-engine.ts";
import type { MessageRow, QueuedRow, RecordSink } from "../../src/core/store/store-record.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";

interface Commit {
  readonly kind: "commit";
  readonly records: Uint8Array<ArrayBuffer>;
  readonly ticket: number;
  readonly durability: Durability;
}

interface Page {
  readonly kind: "page";
  readonly request: number;
  readonly asked: readonly [number, number, number, number];
}

export interface Crash {
  /** How many of the batches that were not safe have reached the disk nevertheless, the oldest first. Without it none. */
  readonly survivors?: number;
  /** The power fails: batches that were written without being synced are not safe either. */
  readonly power?: boolean;
}

export interface FaultyStoreOptions {
  /** Milliseconds since 1970. */
  readonly wallMs?: () => number;
  /** What a crash has left, or a store filled beforehand. */
  readonly engine?: MemoryEngine;
}

export class FaultyStore implements Store {
  readonly #events: StoreEvents;
  /** Where its rows are, to look at. */
  readonly engine: MemoryEngine;
  /** What a power failure leaves, and what it may take. */
  readonly #synced: MemoryEngine;
  #unsynced: Uint8Array<ArrayBuffer>[] = [];
  #pending: (Commit | Page)[] = [];
  #isFull = false;
  #isFullTold = false;
  #fault: StoreFault | null = null;
  #isOver = false;

  constructor(
    events: StoreEvents,
    { wallMs = () => 0, engine = new MemoryEngine({ wallMs }) }: FaultyStoreOptions = {},
  ) {
    this.#events = events;
    this.engine = engine;
    this.#synced = copyOf(engine, wallMs);
  }

  /** What was asked for and is not carried out yet. */
  get pending(): number {
    return this.#pending.length;
  }

  commit(records: Uint8Array<ArrayBuffer>, ticket: number, durability: Durability): void {
    if (!this.#isOver) this.#pending.push({ kind: "commit", records, ticket, durability });
  }

  page(request: number, ...asked: [number, number, number, number]): void {
    if (!this.#isOver) this.#pending.push({ kind: "page", request, asked });
  }

  load(sink: RecordSink): StoreLoad {
    return this.engine.load(sink);
  }

  /** Carries out what was asked for so far, or the first `count` of it, and says so. A slow disk is one that rarely settles. */
  settle(count: number = this.#pending.length): void {
    if (this.#isOver) return;
    if (this.#fault !== null) {
      this.#isOver = true;
      this.#pending = [];
      return this.#events.failed(this.#fault);
    }
    this.#tellSpace();
    // What the events ask for is for another time.
    for (let left = Math.min(count, this.#pending.length); left > 0 && !this.#isOver; ) {
      const order = this.#pending[0]!;
      if (order.kind === "page") {
        this.#pending.shift();
        left--;
        this.#events.paged(order.request, this.engine.page(...order.asked));
        continue;
      }
      if (this.#isFull) return;
      left -= this.#commitUpTo(left);
    }
  }

  /** The disk has no room, or has it again: commits wait, and what is behind them. Told when it settles. */
  full(isFull = true): void {
    this.#isFull = isFull;
  }

  /** The disk fails when it settles next: nothing that is pending is ever committed. */
  fail(kind: "broken" | "corrupt" = "broken"): void {
    this.#fault = new StoreFault(kind, "a failure made to order");
  }

  /** The process ends here. Answers what the next one finds; to be handed to a store of its own. */
  crash({ survivors = 0, power = false }: Crash = {}): MemoryEngine {
    this.#isOver = true;
    const unsafe = this.#pending.flatMap((order) => (order.kind === "commit" ? [order.records] : []));
    if (power) unsafe.unshift(...this.#unsynced);
    const found = power ? this.#synced : this.engine;
    for (const records of unsafe.slice(0, survivors)) found.apply([records], "fsync");
    return found;
  }

  #commitUpTo(count: number): number {
    const end = this.#pending.slice(0, count).findIndex(({ kind }) => kind === "page");
    const commits = this.#pending.splice(0, end === -1 ? count : end) as Commit[];
    const batches = commits.map(({ records }) => records);
    this.engine.apply(batches, "fsync");
    this.#unsynced.push(...batches);
    if (commits.some(({ durability }) => durability === "fsync")) {
      this.#synced.apply(this.#unsynced, "fsync");
      this.#unsynced = [];
    }
    this.#events.committed(commits.at(-1)!.ticket);
    return commits.length;
  }

  #tellSpace(): void {
    if (this.#isFull === this.#isFullTold) return;
    this.#isFullTold = this.#isFull;
    this.#events.space(this.#isFull);
  }
}

/** Another engine with the same rows; messages that several sessions wait for are no longer shared. */
export function copyOf(engine: StoreEngine, wallMs: () => number): MemoryEngine {
  const rows = new RecordWriter();
  const places: [QueuedRow, MessageRow][] = [];
  const sessions: number[] = [];
  const keep = (row: QueuedRow, { topicName, properties, payload, ...rest }: MessageRow): void => {
    const views = { topicName: topicName.slice(), properties: properties.slice(), payload: payload.slice() };
    places.push([row, { ...rest, ...views }]);
  };
  const clock = engine.load({
    ...IGNORING_SINK,
    sessionPut(row) {
      sessions.push(row.sessionNumber);
      rows.sessionPut(row);
    },
    subscriptionPut: (row) => rows.subscriptionPut(row),
    inboundPut: (sessionNumber, packetId) => rows.inboundPut(sessionNumber, packetId),
    willPut: (row, message) => rows.willPut(row, message),
    retainedPut: (message) => rows.retainedPut(message),
    queuePut: keep,
  });
  for (const sessionNumber of sessions) {
    readRecords(engine.page(sessionNumber, -1, Infinity, Infinity), { ...IGNORING_SINK, queuePut: keep });
  }
  // The reference engine has places in the order in which they came, which is that of their sequences.
  for (const [row, message] of places.sort(([a], [b]) => a.sequence - b.sequence)) rows.queuePut(row, message);
  const time = new RecordWriter();
  time.time(clock.brokerMs);
  let isCopied = false;
  const copy = new MemoryEngine({ wallMs: () => (isCopied ? wallMs() : clock.wallMs) });
  copy.apply([time.take(), rows.take()], "memory");
  isCopied = true;
  return copy;
}
