/**
 * The Worker that has a store: the only connection that writes, for as long as the broker runs. It blocks on the disk so that
 * the main thread never does.
 *
 * Invariant: orders are carried out in the order in which they came; while commits wait for room, pages show what they will
 * have changed. After a failure of the disk nothing is ever carried out again. It ends by itself, when it has been told to close and has nothing left to wait for.
 */
import { readRecords } from "../../core/store/read-records.ts";
import { RecordWriter } from "../../core/store/record-writer.ts";
import type { Durability, StoreLoad } from "../../core/store/store-engine.ts";
import { diskSize, FreeSpace } from "./free-space.ts";
import type { GatheredChanges } from "./gathered-changes.ts";
import { SqliteEngine } from "./sqlite-engine.ts";
import { StoreFault, storeFault } from "./store-fault.ts";
import { claimFolder, type FolderLock, setAside, storePath } from "./store-folder.ts";
import type { CommitOrder, OpenOrder, PageOrder, StoreAnswer, StoreOrder, StoreTrouble } from "./store-messages.ts";

declare const self: {
  onmessage: ((event: { readonly data: StoreOrder }) => void) | null;
  postMessage(answer: StoreAnswer, transfer?: ArrayBuffer[]): void;
};

const LOAD_BYTES_AT_ONCE = 256 * 1024;
const TICK_MS = 1000;
/** Between two pieces of idle work, so that orders get in between. */
const IDLE_PIECE_MS = 5;
const STRENGTH: readonly Durability[] = ["memory", "written", "fsync"];

class StoreWorker {
  readonly #engine: SqliteEngine;
  readonly #lock: FolderLock;
  readonly #space: FreeSpace;
  readonly #trouble: StoreTrouble;
  readonly #ticks = setInterval(() => this.#tick(), TICK_MS);
  #idle: ReturnType<typeof setTimeout> | undefined;
  #orders: (CommitOrder | PageOrder)[] = [];
  /** Commits that found no room, and what has come since; all are tried together. */
  #held: CommitOrder[] = [];
  /** What those will have changed. */
  #heldChanges: GatheredChanges | undefined;
  #hasWorked = false;
  #hasFailed = false;
  #transactions = 0;
  #droppedTold = 0;
  #loading: { readonly rows: Generator<void, StoreLoad>; readonly writer: RecordWriter } | null = null;

  constructor(engine: SqliteEngine, lock: FolderLock, { folder, spareBytes, trouble }: OpenOrder) {
    this.#engine = engine;
    this.#lock = lock;
    this.#trouble = trouble;
    this.#space = new FreeSpace(
      () => diskSize(folder),
      spareBytes,
      (isFull) => tell({ kind: "space", isFull }),
    );
    this.#space.look();
    this.#tellDropped();
  }

  load(): void {
    const writer = this.#loading?.writer ?? new RecordWriter();
    this.#loading ??= { rows: this.#engine.loadRows(writer), writer };
    const { rows } = this.#loading;
    let load: StoreLoad | null = null;
    while (load === null && writer.length < LOAD_BYTES_AT_ONCE) {
      const { done, value } = rows.next();
      if (done === true) load = value;
    }
    if (load !== null) {
      this.#loading = null;
      this.#tellDropped();
      this.#rest(TICK_MS);
    }
    const records = writer.take();
    tell({ kind: "rows", records, load }, [records.buffer]);
  }

  work(orders: readonly (CommitOrder | PageOrder)[]): void {
    this.#orders = this.#orders.concat(orders);
    clearTimeout(this.#idle);
    this.#hasWorked = true;
    if (this.#held.length === 0) this.#go();
    else this.#goOnWithoutSpace();
  }

  close(): void {
    if (!this.#hasFailed && this.#held.length > 0) this.#commit(this.#held);
    clearInterval(this.#ticks);
    clearTimeout(this.#idle);
    // What has failed is not touched again, not even to be closed; the lock goes with the process.
    if (this.#hasFailed) return;
    try {
      this.#engine.close();
    } catch (error) {
      if (storeFault(error, "closing").kind !== "full") throw error;
    }
    this.#lock.release();
  }

  fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    clearInterval(this.#ticks);
    clearTimeout(this.#idle);
    const { kind, message } = storeFault(error, "working on the store");
    tell({ kind: "failed", fault: { kind, message } });
  }

  #go(): void {
    if (this.#hasFailed) return;
    while (this.#orders.length > 0) {
      const end = this.#orders.findIndex(({ kind }) => kind === "page");
      if (end === 0) {
        this.#page(this.#orders.shift() as PageOrder);
        continue;
      }
      // Up to the next page in one transaction.
      const commits = this.#orders.splice(0, end === -1 ? this.#orders.length : end) as CommitOrder[];
      if (!this.#commit(commits)) return this.#hold(commits);
    }
    this.#done();
  }

  #done(): void {
    tell({ kind: "done" });
    if (this.#engine.isCheckpointDue) this.#engine.checkpoint();
    this.#rest(TICK_MS);
  }

  #page({ request, sessionNumber, afterSequence, messagesMax, bytesMax }: PageOrder): void {
    const records = this.#engine.page(sessionNumber, afterSequence, messagesMax, bytesMax, this.#heldChanges);
    tell({ kind: "paged", request, records }, [records.buffer]);
    this.#tellDropped();
  }

  /** Commits in one transaction; false: there was no room. */
  #commit(commits: readonly CommitOrder[]): boolean {
    const strength = commits.reduce((most, { durability }) => Math.max(most, STRENGTH.indexOf(durability)), 0);
    try {
      this.#makeTrouble();
      this.#engine.apply(
        commits.map(({ records }) => records),
        STRENGTH[strength]!,
      );
    } catch (error) {
      if (!(error instanceof StoreFault) || error.kind !== "full") throw error;
      this.#space.met(true);
      return false;
    }
    tell({ kind: "committed", ticket: commits.at(-1)!.ticket });
    this.#space.met(false);
    this.#space.wrote(commits.reduce((sum, { records }) => sum + records.length, 0));
    return true;
  }

  /** Commits wait for the next tick, and take the later ones with them: what is drained meanwhile needs no room any more. */
  #hold(commits: CommitOrder[]): void {
    this.#heldChanges = this.#engine.noChanges();
    for (const commit of commits) this.#holdOne(commit);
    this.#goOnWithoutSpace();
  }

  #holdOne(commit: CommitOrder): void {
    this.#held.push(commit);
    readRecords(commit.records, this.#heldChanges!);
  }

  #goOnWithoutSpace(): void {
    if (this.#hasFailed) return;
    for (const order of this.#orders.splice(0)) {
      if (order.kind === "page") this.#page(order);
      else this.#holdOne(order);
    }
    tell({ kind: "done" });
  }

  #tryHeld(): void {
    // Pages of the WAL that have been written back may do for what comes next.
    this.#engine.checkpoint("truncate");
    if (!this.#commit(this.#held)) return;
    this.#held = [];
    this.#heldChanges = undefined;
    this.#rest(TICK_MS);
  }

  #tick(): void {
    this.#guarded(() => {
      if (this.#held.length > 0) this.#tryHeld();
      this.#space.second(this.#hasWorked);
      this.#hasWorked = false;
    });
  }

  /** Does what can wait, piece by piece, until there is something else to do. */
  #rest(afterMs: number): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      this.#guarded(() => {
        if (this.#isIdleDone()) return;
        this.#rest(IDLE_PIECE_MS);
      });
    }, afterMs);
  }

  #isIdleDone(): boolean {
    try {
      return !this.#engine.idle();
    } catch (error) {
      if (error instanceof StoreFault && error.kind === "full") return true;
      throw error;
    }
  }

  #tellDropped(): void {
    const { queued, retained, wills, inbound } = this.#engine.dropped;
    const dropped = queued + retained + wills + inbound;
    if (dropped === this.#droppedTold) return;
    this.#droppedTold = dropped;
    tell({ kind: "dropped", rows: { queued, retained, wills, inbound } });
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }

  #makeTrouble(): void {
    const { delayMs = 0, failAfter = Infinity, failAs, failTimes = Infinity } = this.#trouble;
    if (delayMs > 0) Bun.sleepSync(delayMs);
    const at = this.#transactions++ - failAfter;
    if (failAs !== undefined && at >= 0 && at < failTimes)
      throw new StoreFault(failAs, `trouble made to order: ${failAs}`);
  }
}

let worker: StoreWorker | undefined;

self.onmessage = ({ data: order }) => {
  try {
    if (order.kind === "open") worker = open(order);
    else if (order.kind === "load") worker!.load();
    else if (order.kind === "work") worker!.work(order.orders);
    else {
      // Without anybody to listen to, and without a timer, the Worker ends.
      self.onmessage = null;
      worker!.close();
      tell({ kind: "closed" });
    }
  } catch (error) {
    if (worker !== undefined) return worker.fail(error);
    const { kind, message } = storeFault(error, "opening the store");
    self.onmessage = null;
    tell({ kind: "refused", fault: { kind, message } });
  }
};

function open(order: OpenOrder): StoreWorker {
  const lock = claimFolder(order.folder);
  try {
    const { engine, movedTo } = openEngine(order);
    tell({ kind: "opened", setAside: movedTo });
    return new StoreWorker(engine, lock, order);
  } catch (error) {
    lock.release();
    throw error;
  }
}

function openEngine(order: OpenOrder): { engine: SqliteEngine; movedTo: string | null } {
  const path = storePath(order.folder);
  try {
    return { engine: new SqliteEngine(path), movedTo: null };
  } catch (error) {
    if (!order.setAside || !(error instanceof StoreFault) || error.kind !== "corrupt") throw error;
    const movedTo = setAside(order.folder, Date.now());
    return { engine: new SqliteEngine(path), movedTo };
  }
}

function tell(answer: StoreAnswer, transfer?: ArrayBuffer[]): void {
  self.postMessage(answer, transfer);
}
