/**
 * The store of a running broker: a folder on disk, behind the `Store` port. The work is done in a Worker (store-worker.ts);
 * the main thread posts and is answered, and never waits for a disk.
 *
 * Invariant: one batch is under way while the next one gathers. What is asked for is done in the order in which it was asked
 * for. After `failed` nothing is ever committed, and nobody is told that it was.
 */
import type { Store } from "../../core/ports.ts";
import { readRecords } from "../../core/store/read-records.ts";
import type { Durability, StoreLoad } from "../../core/store/store-engine.ts";
import type { RecordSink } from "../../core/store/store-record.ts";
import { StoreFault } from "./store-fault.ts";
import type { CommitOrder, PageOrder, PlainFault, StoreAnswer, StoreOrder, StoreTrouble } from "./store-messages.ts";
import type { DroppedRows } from "./store-reader.ts";

/** What a store has to say; never during a call of it. */
export interface StoreEvents {
  /** This ticket's records, and those before them, will survive what was asked for. */
  committed(ticket: number): void;
  paged(request: number, records: Uint8Array): void;
  /** The disk is nearly full, or has room again. What was committed stays under way and is tried again until there is room. */
  space(isFull: boolean): void;
  /** It is over: the broker has to end. Told once. */
  failed(fault: StoreFault): void;
  /** Damaged rows were found and left out: how many so far, since the store was opened. */
  dropped?(rows: Readonly<DroppedRows>): void;
}

export interface StoreOptions {
  readonly folder: string;
  readonly events: StoreEvents;
  /** A corrupt store is moved into a folder beside it, and an empty one takes its place. */
  readonly setAside?: boolean;
  /** Below so many free bytes the disk is full; without it 256 MiB, or a twentieth of a smaller disk, 16 MiB at least. */
  readonly spareBytes?: number;
  /** For tests. */
  readonly trouble?: StoreTrouble;
}

/** What goes into one transaction at most, not to keep the first waiting for the last. */
const BATCH_BYTES_MAX = 8 * 1024 * 1024;

/** Opens the store of a folder, or makes one. Rejects with a StoreFault. */
export function openStore(options: StoreOptions): Promise<SqliteStore> {
  return new Promise((opened, refused) => {
    const store: SqliteStore = new SqliteStore(options, {
      opened: () => opened(store),
      refused: (fault) => refused(fault),
    });
  });
}

interface Opening {
  opened(): void;
  refused(fault: StoreFault): void;
}

interface Loading {
  readonly sink: RecordSink;
  readonly loaded: (load: StoreLoad) => void;
  readonly failed: (fault: Error) => void;
}

export class SqliteStore implements Store {
  readonly #events: StoreEvents;
  readonly #worker: Worker;
  #opening: Opening | null;
  #loading: Loading | null = null;
  #waiting: (CommitOrder | PageOrder)[] = [];
  #waitingBytes = 0;
  #isUnderWay = false;
  #underWayBytes = 0;
  #isClosing = false;
  #fault: StoreFault | null = null;
  #setAside: string | null = null;
  readonly #ended: Promise<void>;

  constructor({ folder, events, setAside = false, spareBytes, trouble = {} }: StoreOptions, opening: Opening) {
    this.#events = events;
    this.#opening = opening;
    this.#worker = new Worker(new URL("./store-worker.ts", import.meta.url).href);
    this.#worker.onmessage = ({ data }: MessageEvent<StoreAnswer>) => this.#heard(data);
    this.#worker.onerror = ({ message }) => this.#fail({ kind: "broken", message: `the store's Worker: ${message}` });
    this.#ended = new Promise((ended) => {
      this.#worker.addEventListener("close", () => {
        if (!this.#isClosing) this.#fail({ kind: "broken", message: "the store's Worker has ended" });
        ended();
      });
    });
    this.#post({ kind: "open", folder, setAside, spareBytes, trouble });
  }

  /** Where a corrupt store was moved to when this one was opened; null: there was none. */
  get setAside(): string | null {
    return this.#setAside;
  }

  /** Bytes of records that were taken and are not committed yet: what a slow disk costs in memory. */
  get pendingBytes(): number {
    return this.#waitingBytes + this.#underWayBytes;
  }

  /** Hands over everything that is kept, as `StoreEngine.load`. Before the first commit. */
  load(sink: RecordSink): Promise<StoreLoad> {
    return new Promise((loaded, failed) => {
      if (this.#fault !== null) return failed(this.#fault);
      this.#loading = { sink, loaded, failed };
      this.#post({ kind: "load" });
    });
  }

  commit(records: Uint8Array<ArrayBuffer>, ticket: number, durability: Durability): void {
    this.#order({ kind: "commit", records, ticket, durability });
  }

  page(request: number, sessionNumber: number, afterSequence: number, messagesMax: number, bytesMax: number): void {
    this.#order({ kind: "page", request, sessionNumber, afterSequence, messagesMax, bytesMax });
  }

  /** Lets everything that was asked for be done first, unless the disk is full; nothing may be asked for afterwards. */
  close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      while (this.#waiting.length > 0) this.#post(...this.#nextWork());
      this.#post({ kind: "close" });
    }
    return this.#ended;
  }

  #order(order: CommitOrder | PageOrder): void {
    if (this.#fault !== null || this.#isClosing) return;
    this.#waiting.push(order);
    if (order.kind === "commit") this.#waitingBytes += order.records.length;
    this.#send();
  }

  #send(): void {
    if (this.#isUnderWay || this.#waiting.length === 0) return;
    this.#isUnderWay = true;
    this.#post(...this.#nextWork());
  }

  #nextWork(): [StoreOrder, ArrayBuffer[]] {
    let [count, bytes] = [0, 0];
    const buffers: ArrayBuffer[] = [];
    while (count < this.#waiting.length && bytes < BATCH_BYTES_MAX) {
      const order = this.#waiting[count++]!;
      if (order.kind === "page") continue;
      bytes += order.records.length;
      buffers.push(order.records.buffer);
    }
    this.#waitingBytes -= bytes;
    this.#underWayBytes += bytes;
    return [{ kind: "work", orders: this.#waiting.splice(0, count) }, buffers];
  }

  #post(order: StoreOrder, buffers: ArrayBuffer[] = []): void {
    this.#worker.postMessage(order, buffers);
  }

  #heard(answer: StoreAnswer): void {
    switch (answer.kind) {
      case "opened":
        this.#setAside = answer.setAside;
        return this.#opened();
      case "refused":
        return this.#fail(answer.fault);
      case "rows":
        return this.#rows(answer.records, answer.load);
      case "committed":
        return this.#events.committed(answer.ticket);
      case "paged":
        return this.#events.paged(answer.request, answer.records);
      case "done":
        this.#isUnderWay = false;
        this.#underWayBytes = 0;
        return this.#send();
      case "dropped":
        return this.#events.dropped?.(answer.rows);
      case "space":
        return this.#events.space(answer.isFull);
      case "failed":
        return this.#fail(answer.fault);
      case "closed":
        return;
    }
  }

  #opened(): void {
    const opening = this.#opening;
    this.#opening = null;
    opening?.opened();
  }

  #rows(records: Uint8Array, load: StoreLoad | null): void {
    const loading = this.#loading;
    if (loading === null) return;
    // The Worker reads on while these are taken in.
    if (load === null) this.#post({ kind: "load" });
    try {
      readRecords(records, loading.sink);
    } catch (error) {
      this.#loading = null;
      return loading.failed(error as Error);
    }
    if (load === null) return;
    this.#loading = null;
    loading.loaded(load);
  }

  #fail({ kind, message }: PlainFault): void {
    if (this.#fault !== null) return;
    const fault = new StoreFault(kind, message);
    this.#fault = fault;
    this.#waiting = [];
    this.#waitingBytes = this.#underWayBytes = 0;
    const [opening, loading] = [this.#opening, this.#loading];
    this.#opening = null;
    this.#loading = null;
    if (opening !== null) {
      this.#isClosing = true;
      opening.refused(fault);
    } else if (loading !== null) loading.failed(fault);
    else this.#events.failed(fault);
  }
}
