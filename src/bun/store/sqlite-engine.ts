/**
 * The engine on bun:sqlite: one file with its WAL, one connection for as long as it is open. Synchronous; a broker has it in
 * a Worker (store-worker.ts).
 *
 * Invariant: a call of `apply` is one transaction. When it returns, and "fsync" was asked for, everything is on the disk; when
 * it throws, nothing of it will ever be. What came and went within one call never touches the disk.
 *
 * Sources: SQLite's "Write-Ahead Logging" and "PRAGMA Statements".
 */
import { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { RecordFault, readRecords } from "../../core/store/read-records.ts";
import { RecordWriter } from "../../core/store/record-writer.ts";
import type { Durability, StoreEngine, StoreLoad } from "../../core/store/store-engine.ts";
import type { RecordSink } from "../../core/store/store-record.ts";
import { ChangeWriter } from "./change-writer.ts";
import { GatheredChanges, type KeptState } from "./gathered-changes.ts";
import { type ClockRow, clockColumns, clockRow } from "./kept-rows.ts";
import { createPrivateFile } from "./private-file.ts";
import { readAhead } from "./read-ahead.ts";
import { StoreFault, storeFault } from "./store-fault.ts";
import { type DroppedRows, StoreReader } from "./store-reader.ts";
import { bringUpToDate, checkIdentity, checkSchema } from "./store-schema.ts";
import { finalizeStatements, prepareStatements, type StoreStatements, valuesOf } from "./store-statements.ts";
import { Sweeper } from "./sweeper.ts";
import { walDamage } from "./wal-damage.ts";

export interface SqliteEngineOptions {
  /** Milliseconds since 1970. */
  readonly wallMs?: () => number;
  /** Rows that are removed for good in one transaction, of what is no longer referred to. */
  readonly sweepRowsMax?: number;
  /** Pages in the WAL above which `isCheckpointDue`. */
  readonly walPagesMax?: number;
}

const PAGE_BYTES = 8192;
/** Writing back holds up the next transaction: often and little of it, so that no acknowledgement waits for long. */
const WAL_BYTES_MAX = 4 * 1024 * 1024;
/** What is left of a WAL that has grown beyond it, once it is written back. */
const WAL_BYTES_KEPT = 4 * WAL_BYTES_MAX;
const CACHE_KIB = 16 * 1024;
/** `PRAGMA synchronous`, as SQLite says it. */
const FULL = 2;
/** Another process may hold the file for a moment, to look at it or to copy it. */
const BUSY_MS = 2000;
const SWEEP_ROWS_MAX = 256;
/** Free pages are kept for what comes next: as many as this, and a quarter of the file. */
const FREE_PAGES_KEPT = 1024;

export class SqliteEngine implements StoreEngine {
  readonly path: string;
  readonly #db: Database;
  readonly #sql: StoreStatements;
  readonly #sweeper: Sweeper;
  readonly #reader: StoreReader;
  readonly #writer: ChangeWriter;
  readonly #kept: KeptState;
  readonly #wallMs: () => number;
  readonly #sweepRowsMax: number;
  readonly #walPagesMax: number;
  /** Nothing of a session at or before this place waits, by session; for those that have lost their oldest message. */
  readonly #waitsBehind = new Map<number, number>();
  #clock: ClockRow;
  #isClockWritten = true;
  #isFull = true;
  /** Whether transactions were written that no sync has followed. */
  #isUnsynced = false;
  /** So many pages in the WAL make it due to be written back. */
  #walPagesDue: number;

  /** Opens a store, or makes one. Throws a StoreFault. */
  constructor(path: string, options: SqliteEngineOptions = {}) {
    this.path = path;
    this.#wallMs = options.wallMs ?? Date.now;
    this.#sweepRowsMax = options.sweepRowsMax ?? SWEEP_ROWS_MAX;
    this.#walPagesMax = options.walPagesMax ?? WAL_BYTES_MAX / PAGE_BYTES;
    this.#walPagesDue = this.#walPagesMax;
    this.#db = opened(path);
    let sql: StoreStatements | undefined;
    try {
      prepareFile(this.#db, path);
      this.#sql = sql = prepareStatements(this.#db);
      this.#clock = keptClock(this.#sql, path);
      this.#sweeper = new Sweeper(this.#sql);
      this.#reader = new StoreReader(this.#sql, this.#sweeper, path);
      this.#reader.check();
      this.#writer = new ChangeWriter(this.#sql, this.#sweeper);
      // What a power failure has left half written behind the end of the WAL goes, not to be taken for damage one day.
      this.checkpoint("truncate");
    } catch (error) {
      if (sql !== undefined) finalizeStatements(sql);
      this.#db.close(true);
      throw storeFault(error, `opening ${path}`);
    }
    this.#kept = {
      hasSession: (sessionNumber) => this.#reader.sessions.has(sessionNumber),
      hasPlace: (sessionNumber, sequence) => this.#sql.place.values(sessionNumber, sequence).length > 0,
      waiting: (sessionNumber, afterSequence) => this.#waiting(sessionNumber, afterSequence),
    };
  }

  /** Damaged rows that were left out so far. */
  get dropped(): Readonly<DroppedRows> {
    return this.#reader.dropped;
  }

  apply(batches: readonly Uint8Array[], durability: Durability): void {
    const changes = this.#gather(batches);
    const time = { brokerMs: changes.brokerMs, wallMs: this.#wallMs() };
    // A clock that nothing depends on may wait for the next transaction; what was written before may not wait to be synced.
    const isToSync = durability === "fsync" && this.#isUnsynced;
    if (changes.isEmpty && !isToSync) {
      this.#clock = { ...this.#clock, ...time };
      this.#isClockWritten = false;
      return;
    }
    this.#synchronous(durability);
    // Only now: what is to be written may have changed with how.
    const clock = { ...this.#clock, ...time };
    this.#transaction("writing", () => {
      this.#writer.write(changes);
      this.#sweeper.sweep(this.#sweepRowsMax);
      this.#sweeper.releaseMessages();
      this.#sql.putClock.run(...clockColumns(clock));
    });
    this.#clock = clock;
    this.#isClockWritten = true;
    this.#isUnsynced = durability !== "fsync";
    this.#note(changes);
  }

  load(sink: RecordSink): StoreLoad {
    const rows = this.loadRows(sink);
    for (;;) {
      const { done, value } = rows.next();
      if (done === true) return value;
    }
  }

  /** As `load`, a few rows with every step; nothing may be applied before the end. */
  *loadRows(sink: RecordSink): Generator<void, StoreLoad> {
    try {
      yield* this.#reader.load(sink);
    } catch (error) {
      throw storeFault(error, `reading ${this.path}`);
    }
    const { brokerMs, wallMs } = this.#clock;
    let sessionNumberMax = this.#sweeper.sessionNumberMax;
    for (const sessionNumber of this.#reader.sessions) sessionNumberMax = Math.max(sessionNumberMax, sessionNumber);
    // Numbers of messages mean something within a batch only: a store gives them numbers of its own.
    return { brokerMs, wallMs, sessionNumberMax, messageNumberMax: 0 };
  }

  /** Changes to gather for batches that cannot be applied yet; of use until the next transaction. */
  noChanges(): GatheredChanges {
    return new GatheredChanges(this.#kept);
  }

  /** `ahead`: changes that are to be seen though they are not written. */
  page(
    sessionNumber: number,
    afterSequence: number,
    messagesMax: number,
    bytesMax: number,
    ahead?: GatheredChanges,
  ): Uint8Array<ArrayBuffer> {
    const writer = new RecordWriter();
    const change = ahead?.sessions.get(sessionNumber);
    try {
      this.#reader.page(sessionNumber, afterSequence, messagesMax, bytesMax, writer, change);
    } catch (error) {
      throw storeFault(error, `reading ${this.path}`);
    }
    return writer.take();
  }

  /** Whether the WAL is due to be written back, even while there is other work. */
  get isCheckpointDue(): boolean {
    return this.#walPages() > this.#walPagesDue;
  }

  /** Writes back what it can: a disk without room has to be found by a transaction, which can be tried again. */
  checkpoint(how: "checkpoint" | "truncate" = "checkpoint"): void {
    try {
      this.#sql[how].values();
    } catch (error) {
      const fault = storeFault(error, `writing back ${this.path}`);
      if (fault.kind !== "full" && fault.kind !== "locked") throw fault;
    }
    // Whoever reads the file, to copy it, keeps pages in the WAL: no use in asking again after every transaction.
    this.#walPagesDue = this.#walPages() + this.#walPagesMax;
  }

  /** A piece of what can wait for a moment in which nothing else is to do; answers whether there is more. */
  idle(): boolean {
    if (this.#sweeper.hasWork) {
      this.#transaction("sweeping", () => {
        this.#sweeper.sweep(this.#sweepRowsMax);
        this.#sweeper.releaseMessages();
        this.#sweeper.recount();
      });
      return true;
    }
    const [pages, free] = this.#sql.pages.values()[0] as [number, number];
    if (free > FREE_PAGES_KEPT && free > pages / 4) {
      this.#guarded("giving free pages back", () => this.#sql.vacuum.values());
      return true;
    }
    if (this.#walPages() > 0) this.checkpoint();
    return false;
  }

  /** Writes back what is in the WAL and lets go of the file, even where that fails. */
  close(): void {
    try {
      if (!this.#isClockWritten || this.#clock.hasUnsynced) {
        this.#synchronous("fsync");
        this.#clock = { ...this.#clock, hasUnsynced: false };
        this.#transaction("closing", () => this.#sql.putClock.run(...clockColumns(this.#clock)));
      }
      this.checkpoint("truncate");
    } finally {
      finalizeStatements(this.#sql);
      this.#db.close(true);
    }
  }

  #gather(batches: readonly Uint8Array[]): GatheredChanges {
    const changes = new GatheredChanges(this.#kept);
    try {
      for (const batch of batches) readRecords(batch, changes);
    } catch (error) {
      throw error instanceof RecordFault ? error : storeFault(error, `reading ${this.path}`);
    }
    return changes;
  }

  #note(changes: GatheredChanges): void {
    for (const { sessionNumber, isLive, isWiped, row, progressed } of changes.sessions.values()) {
      if (!isLive) this.#reader.sessions.delete(sessionNumber);
      else if (row !== null) this.#reader.sessions.add(sessionNumber);
      if (isWiped) this.#waitsBehind.delete(sessionNumber);
      for (const { progress } of progressed?.values() ?? []) {
        if (progress === 0) this.#waitsBehind.delete(sessionNumber);
      }
    }
  }

  #waiting(sessionNumber: number, afterSequence: number): readonly number[] {
    const after = Math.max(afterSequence, this.#waitsBehind.get(sessionNumber) ?? -1);
    const sequences = this.#sql.waiting.values(sessionNumber, after).map(([sequence]) => sequence as number);
    if (afterSequence <= 0 && sequences.length > 0) this.#waitsBehind.set(sessionNumber, sequences[0]! - 1);
    return sequences;
  }

  #synchronous(durability: Durability): void {
    const isFull = durability === "fsync";
    if (isFull === this.#isFull) return;
    if (!this.#clock.hasUnsynced) this.#announceUnsynced();
    // Takes effect when it is compiled, not when it is run: never to be prepared.
    this.#db.run(`PRAGMA synchronous = ${isFull ? "FULL" : "NORMAL"}`);
    this.#isFull = isFull;
  }

  /** Says in the file itself, ahead of them, that transactions may be missing after a power failure. */
  #announceUnsynced(): void {
    const clock = { ...this.#clock, hasUnsynced: true };
    this.#transaction("writing", () => this.#sql.putClock.run(...clockColumns(clock)));
    this.#clock = clock;
    this.checkpoint();
  }

  #transaction(doing: string, work: () => void): void {
    try {
      this.#sql.begin.run();
      work();
      this.#sql.commit.run();
      this.#sweeper.committed();
    } catch (error) {
      this.#sweeper.rolledBack();
      this.#rollBack();
      throw storeFault(error, `${doing} ${this.path}`);
    }
  }

  #rollBack(): void {
    // Some errors have rolled back by themselves; others leave nothing that could be rolled back.
    try {
      if (this.#db.inTransaction) this.#sql.rollback.run();
    } catch {
      // The error that led here says more.
    }
  }

  #guarded(doing: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      throw storeFault(error, `${doing} ${this.path}`);
    }
  }

  /** Pages in the WAL that are not written back. */
  #walPages(): number {
    const [, pages, writtenBack] = this.#sql.walFrames.values()[0] as [number, number, number];
    return pages - writtenBack;
  }
}

/** Before SQLite opens the file, which would make the part in front of the damage all there is. */
function refuseDamagedWal(path: string): void {
  const wal = `${path}-wal`;
  const damage = walDamage(wal);
  if (damage === null || mayMissTransactions(path)) return;
  throw new StoreFault("corrupt", `${wal} is damaged, and transactions that were acknowledged lie behind: ${damage}`);
}

/** Whether a power failure may have taken transactions that were not to be synced: then it looks like damage. */
function mayMissTransactions(path: string): boolean {
  let db: Database | undefined;
  try {
    db = new Database(path, { readonly: true });
    return valuesOf(db, "SELECT has_unsynced FROM clock")[0]?.[0] === 1;
  } catch {
    return false;
  } finally {
    db?.close(true);
  }
}

function opened(path: string): Database {
  try {
    createPrivateFile(path);
    refuseDamagedWal(path);
    readAhead(path);
    return new Database(path, { readwrite: true, create: false, strict: true });
  } catch (error) {
    throw storeFault(error, `opening ${path}`);
  }
}

function prepareFile(db: Database, path: string): void {
  const set = (pragma: string): unknown => valuesOf(db, `PRAGMA ${pragma}`)[0]?.[0];
  set(`busy_timeout = ${BUSY_MS}`);
  if (statSync(path).size === 0) {
    // Of a file that has no page yet.
    set(`page_size = ${PAGE_BYTES}`);
    set("auto_vacuum = INCREMENTAL");
  }
  checkIdentity(db, path);
  set("trusted_schema = OFF");
  set("cell_size_check = ON");
  set(`cache_size = -${CACHE_KIB}`);
  const mode = set("journal_mode = WAL");
  if (mode !== "wal")
    throw new StoreFault("broken", `${path}: expected SQLite to keep a WAL, it keeps ${String(mode)}`);
  set("synchronous = FULL");
  if (set("synchronous") !== FULL) throw new StoreFault("broken", `${path}: SQLite does not take synchronous = FULL`);
  set("wal_autocheckpoint = 0");
  set(`journal_size_limit = ${WAL_BYTES_KEPT}`);
  bringUpToDate(db);
  const problems = valuesOf(db, "PRAGMA quick_check(3)").flat();
  if (problems[0] !== "ok") throw new StoreFault("corrupt", `${path} is damaged: ${problems.join("; ")}`);
  checkSchema(db, path);
}

function keptClock(sql: StoreStatements, path: string): ClockRow {
  const columns = sql.clock.values()[0];
  if (columns === undefined) return { brokerMs: 0, wallMs: 0, hasUnsynced: false };
  const clock = clockRow(columns);
  if (clock === null) throw new StoreFault("corrupt", `${path}: its clock does not fit its checksum`);
  return clock;
}
