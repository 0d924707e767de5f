/**
 * The tables of a store, how a file becomes one, and how an older one is brought up to date.
 *
 * Invariant: the version in the file says which steps were taken; steps are taken in one transaction, so that a store is of
 * one version or of another. A step that a release has taken is never changed: the next version is a further step.
 *
 * Tables that are read by session are clustered by it. Bodies come last, so that whoever reads the columns before them
 * stays off the pages that large ones spill onto. Rows of a session that is not there are nothing: they are being swept.
 */
import { Database } from "bun:sqlite";
import { StoreFault } from "./store-fault.ts";
import { valuesOf } from "./store-statements.ts";

/** "rqtt", where SQLite files say whose they are. */
const APPLICATION_ID = 0x72717474;

const TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name";

/** Takes a store from the version of its index to the next. */
export type SchemaStep = (db: Database) => void;

function firstVersion(db: Database): void {
  db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
  db.run(`CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    broker_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    has_unsynced INTEGER NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT`);
  db.run(`CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    is_connected INTEGER NOT NULL,
    expiry_interval INTEGER NOT NULL,
    requested_expiry_interval INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    principal TEXT NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT`);
  db.run(`CREATE TABLE subscription (
    session INTEGER NOT NULL,
    filter TEXT NOT NULL,
    options INTEGER NOT NULL,
    identifiers TEXT,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (session, filter)
  ) STRICT, WITHOUT ROWID`);
  db.run(`CREATE TABLE queue (
    session INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    state INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    message INTEGER,
    options INTEGER NOT NULL,
    place TEXT,
    checksum INTEGER NOT NULL,
    body BLOB,
    PRIMARY KEY (session, sequence)
  ) STRICT, WITHOUT ROWID`);
  db.run(`CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT`);
  // Apart from the message, so that counting does not rewrite it. No row: one place refers to it.
  db.run(`CREATE TABLE reference (
    message INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT`);
  db.run(`CREATE TABLE inbound (
    session INTEGER NOT NULL,
    packet_id INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
  ) STRICT, WITHOUT ROWID`);
  db.run(`CREATE TABLE retained (
    topic_name BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (topic_name)
  ) STRICT, WITHOUT ROWID`);
  db.run(`CREATE TABLE will (
    session INTEGER PRIMARY KEY,
    delay_interval INTEGER NOT NULL,
    message_expiry_interval INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT`);
}

/** Version 0 is an empty file. */
export const SCHEMA_STEPS: readonly SchemaStep[] = [firstVersion];

/** Refuses what is no store, or one of a later version, before anything in it changes. */
export function checkIdentity(db: Database, path: string, steps: readonly SchemaStep[] = SCHEMA_STEPS): void {
  const version = pragma(db, "user_version");
  const application = pragma(db, "application_id");
  const isEmpty = valuesOf(db, "SELECT 1 FROM sqlite_schema LIMIT 1").length === 0;
  if (isEmpty ? version !== 0 : application !== APPLICATION_ID) {
    throw new StoreFault(
      "corrupt",
      `${path} is no store of rqtt, or a damaged one: expected application_id 0x72717474, found 0x${application.toString(16)}`,
    );
  }
  if (version > steps.length) {
    throw new StoreFault(
      "newer",
      `${path} was written by a later version of rqtt: its schema is ${version}, this one knows up to ${steps.length}; start the later version, or give this one a folder of its own`,
    );
  }
}

/** Takes the steps that are left, in one transaction. */
export function bringUpToDate(db: Database, steps: readonly SchemaStep[] = SCHEMA_STEPS): void {
  const version = pragma(db, "user_version");
  if (version === steps.length) return;
  db.run("BEGIN IMMEDIATE");
  try {
    for (const step of steps.slice(version)) step(db);
    db.run(`PRAGMA user_version = ${steps.length}`);
    db.run("COMMIT");
  } catch (error) {
    if (db.inTransaction) db.run("ROLLBACK");
    throw error;
  }
}

/** Whether the tables are those that the steps make: damage here would show as anything. */
export function checkSchema(db: Database, path: string, steps: readonly SchemaStep[] = SCHEMA_STEPS): void {
  const model = new Database(":memory:");
  try {
    for (const step of steps) step(model);
    const tables = (of: Database): string => JSON.stringify(valuesOf(of, TABLES));
    if (tables(db) !== tables(model))
      throw new StoreFault("corrupt", `${path}: its tables are not those of schema ${steps.length}`);
  } finally {
    model.close();
  }
}

function pragma(db: Database, name: string): number {
  return valuesOf(db, `PRAGMA ${name}`)[0]![0] as number;
}
