/**
 * Looks at a store without changing it, also while a broker has it: whether every row fits its checksum and every reference
 * its message, and what lies where.
 *
 * Invariant: the connection is read-only, and what is said is true of one moment.
 */
import { Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { IGNORING_SINK } from "../../core/store/store-record.ts";
import { StoreFault, storeFault } from "./store-fault.ts";
import { STORE_FILES, storePath } from "./store-folder.ts";
import { type DroppedRows, StoreReader } from "./store-reader.ts";
import { checkIdentity, checkSchema } from "./store-schema.ts";
import { finalizeStatements, prepareStatements, valuesOf } from "./store-statements.ts";
import { Sweeper } from "./sweeper.ts";

const PAGE_MESSAGES = 256;
const PAGE_BYTES = 8 * 1024 * 1024;
const PROBLEMS_MAX = 20;
const BUSY_MS = 2000;

const TABLES = ["session", "subscription", "queue", "message", "reference", "inbound", "retained", "will"] as const;

/** Messages that count other places than they have, and messages without any. */
const REFERENCES = `WITH referred AS (SELECT message, count(*) AS places FROM queue WHERE message IS NOT NULL GROUP BY message)
  SELECT (SELECT count(*) FROM referred LEFT JOIN reference USING (message) WHERE places <> coalesce(count, 1)),
    (SELECT count(*) FROM message WHERE number NOT IN (SELECT message FROM referred))`;

export interface Audit {
  /** Empty: all is well. */
  readonly problems: readonly string[];
  readonly sessions: number;
  readonly messages: number;
}

export interface TableSize {
  readonly table: string;
  readonly rows: number;
  /** Of its pages, those in the WAL included. */
  readonly bytes: number;
}

export interface StoreSize {
  readonly tables: readonly TableSize[];
  readonly freeBytes: number;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
}

/** Opens the store of a folder to read it; throws a StoreFault. */
export function readStore<Result>(folder: string, read: (db: Database, path: string) => Result): Result {
  const path = storePath(folder);
  if (!existsSync(path)) {
    throw new StoreFault("broken", `expected a store in ${folder}, found no ${path}; type: --store FOLDER`);
  }
  let db: Database | undefined;
  try {
    db = new Database(path, { readonly: true, strict: true });
    db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    checkIdentity(db, path);
    return read(db, path);
  } catch (error) {
    throw storeFault(error, `reading ${path}`);
  } finally {
    db?.close(true);
  }
}

/** All that is read is of one moment, however long it takes and whatever a broker does meanwhile. */
function readMoment<Result>(folder: string, read: (db: Database, path: string) => Result): Result {
  return readStore(folder, (db, path) => {
    db.run("BEGIN");
    try {
      return read(db, path);
    } finally {
      db.run("ROLLBACK");
    }
  });
}

export function auditStore(folder: string): Audit {
  return readMoment(folder, (db, path) => {
    const problems = valuesOf(db, `PRAGMA integrity_check(${PROBLEMS_MAX})`).flat().map(String);
    if (problems[0] === "ok") problems.length = 0;
    const sql = prepareStatements(db);
    const reader = new StoreReader(sql, new Sweeper(sql), path);
    let messages = 0;
    try {
      checkSchema(db, path);
      reader.check();
      for (const _ of reader.load({ ...IGNORING_SINK, queuePut: () => void messages++ }));
      for (const sessionNumber of reader.sessions) messages += readQueue(reader, sessionNumber);
    } catch (error) {
      problems.push(storeFault(error, `reading ${path}`).message);
    } finally {
      finalizeStatements(sql);
    }
    problems.push(...droppedProblems(reader.dropped), ...referenceProblems(db));
    return { problems, sessions: reader.sessions.size, messages };
  });
}

export function measureStore(folder: string): StoreSize {
  return readMoment(folder, (db) => {
    const one = (sql: string, ...bindings: string[]): number =>
      (valuesOf(db, sql, ...bindings)[0]?.[0] as number | undefined) ?? 0;
    const tables = TABLES.map((table) => ({
      table,
      rows: one(`SELECT count(*) FROM ${table}`),
      bytes: one("SELECT pgsize FROM dbstat WHERE aggregate = TRUE AND name = ?", table),
    }));
    const freeBytes =
      one("SELECT freelist_count FROM pragma_freelist_count") * one("SELECT page_size FROM pragma_page_size");
    const files = STORE_FILES.map((name) => storePath(folder) + name)
      .filter((path) => existsSync(path))
      .map((path) => ({ path, bytes: statSync(path).size }));
    return { tables, freeBytes, files };
  });
}

function readQueue(reader: StoreReader, sessionNumber: number): number {
  let [count, after] = [0, -1];
  for (let before = -1; before !== count; ) {
    before = count;
    reader.page(sessionNumber, after, PAGE_MESSAGES, PAGE_BYTES, {
      ...IGNORING_SINK,
      queuePut({ sequence }) {
        after = sequence;
        count++;
      },
    });
  }
  return count;
}

function droppedProblems(dropped: DroppedRows): string[] {
  const names = {
    queued: "queued messages",
    retained: "retained messages",
    wills: "Wills",
    inbound: "Packet Identifiers",
  };
  return Object.entries(names)
    .filter(([kind]) => dropped[kind as keyof DroppedRows] > 0)
    .map(
      ([kind, name]) =>
        `${dropped[kind as keyof DroppedRows]} ${name} do not fit their checksum; a broker will drop them`,
    );
}

function referenceProblems(db: Database): string[] {
  const [wrong, alone] = valuesOf(db, REFERENCES)[0] as [number, number];
  return [
    ...(wrong > 0 ? [`${wrong} messages are referred to by another number of places than they count`] : []),
    ...(alone > 0 ? [`${alone} messages have no place in any queue`] : []),
  ];
}
