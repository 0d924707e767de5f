/** Versions of a store: older ones are brought up to date in one transaction, newer ones and strangers are refused untouched. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { StoreFault } from "../../src/bun/store/store-fault.ts";
import {
  bringUpToDate,
  checkIdentity,
  checkSchema,
  SCHEMA_STEPS,
  type SchemaStep,
} from "../../src/bun/store/store-schema.ts";
import { valuesOf } from "../../src/bun/store/store-statements.ts";
import { aMessage, batchOf, snapshot } from "../support/store-snapshot.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rqtt-store-"));
  path = join(folder, "store.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const filled = () => batchOf((writer) => writer.retainedPut(aMessage("t", "kept")));

function fill(): void {
  const engine = new SqliteEngine(path);
  engine.apply([filled()], "fsync");
  engine.close();
}

function inDatabase<Result>(work: (db: Database) => Result): Result {
  const db = new Database(path);
  try {
    return work(db);
  } finally {
    db.close(true);
  }
}

/** A version that there is not: retained messages have an author. */
const nextStep: SchemaStep = (db) => {
  db.run("ALTER TABLE retained ADD COLUMN author TEXT");
  db.run("UPDATE retained SET author = 'somebody'");
};
const failingStep: SchemaStep = (db) => {
  nextStep(db);
  db.run("UPDATE nowhere SET author = 'nobody'");
};

test("a store of an older version is brought up to date, with what is in it", () => {
  fill();
  inDatabase((db) => {
    const steps = [...SCHEMA_STEPS, nextStep];
    checkIdentity(db, path, steps);
    bringUpToDate(db, steps);
    expect(valuesOf(db, "PRAGMA user_version")).toEqual([[steps.length]]);
    expect(valuesOf(db, "SELECT CAST(topic_name AS TEXT), author FROM retained")).toEqual([["t", "somebody"]]);
    checkSchema(db, path, steps);
    bringUpToDate(db, steps);
  });
});

test("steps are taken together or not at all", () => {
  fill();
  inDatabase((db) => {
    expect(() => bringUpToDate(db, [...SCHEMA_STEPS, failingStep])).toThrow("no such table: nowhere");
    expect(valuesOf(db, "PRAGMA user_version")).toEqual([[SCHEMA_STEPS.length]]);
    checkSchema(db, path);
  });
  const engine = new SqliteEngine(path);
  expect(snapshot(engine).retained).toHaveLength(1);
  engine.close();
});

test("a store of a later version is refused, and left as it is", () => {
  fill();
  inDatabase((db) => db.run("PRAGMA user_version = 7"));
  const before = readFileSync(path);
  const fault = refusal();
  expect(fault.kind).toBe("newer");
  expect(fault.message).toBe(
    `${path} was written by a later version of rqtt: its schema is 7, this one knows up to 1; ` +
      "start the later version, or give this one a folder of its own",
  );
  expect(readFileSync(path)).toEqual(before);
});

test.each(["CREATE TABLE theirs (a)", "PRAGMA user_version = 1"])("somebody else's database: %s", (statement) => {
  inDatabase((db) => db.run(statement));
  const before = readFileSync(path);
  const fault = refusal();
  expect(fault.kind).toBe("corrupt");
  expect(fault.message).toInclude(
    "is no store of rqtt, or a damaged one: expected application_id 0x72717474, found 0x0",
  );
  expect(readFileSync(path)).toEqual(before);
});

function refusal(): StoreFault {
  try {
    new SqliteEngine(path).close();
  } catch (error) {
    if (error instanceof StoreFault) return error;
    throw error;
  }
  throw new Error("expected the store to be refused");
}
