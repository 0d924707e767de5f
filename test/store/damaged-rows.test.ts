/** Rows that are damaged one by one, behind the store's back: what is dropped, what is counted, what is mended, what is refused. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { openStore } from "../../src/bun/store/sqlite-store.ts";
import { auditStore } from "../../src/bun/store/store-audit.ts";
import type { RecordWriter } from "../../src/core/store/record-writer.ts";
import { StoreClient } from "../support/store-client.ts";
import {
  allWaiting,
  aMessage,
  aPlace,
  aSession,
  aSubscription,
  aWill,
  batchOf,
  snapshot,
} from "../support/store-snapshot.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "rqtt-store-")), "data");
  mkdirSync(folder, { mode: 0o700 });
  chmodSync(folder, 0o700);
  path = join(folder, "store.db");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true, force: true }));

const SHARED = "s".repeat(5_000);

/** Three sessions with four messages of their own each and one that all wait for; and one of everything else. */
function fill(): void {
  const engine = new SqliteEngine(path);
  apply(engine, (writer) => {
    for (const session of [1, 2, 3]) {
      writer.sessionPut(aSession(session));
      writer.subscriptionPut(aSubscription(session, "f/#"));
      for (const sequence of [1, 2, 3, 5]) writer.queuePut(aPlace(session, sequence), aMessage("t", `${sequence}`));
    }
    writer.messagePut(1, aMessage("t", SHARED));
    for (const session of [1, 2, 3]) writer.queueRef(aPlace(session, 4), 1);
    writer.inboundPut(1, 9);
    writer.retainedPut(aMessage("t", "retained"));
    writer.willPut(aWill(1), aMessage("t", "will"));
  });
  engine.close();
}

function apply(engine: SqliteEngine, write: (writer: RecordWriter) => void): void {
  engine.apply([batchOf(write)], "fsync");
}

function damage(statement: string): void {
  const db = new Database(path);
  db.run(statement);
  db.close(true);
}

function mend(engine: SqliteEngine): void {
  while (engine.idle());
  engine.close();
  expect(auditStore(folder).problems).toEqual([]);
}

const sequences = (engine: SqliteEngine, session: number) =>
  allWaiting(engine, session).map(({ sequence }) => sequence);
const NONE = { queued: 0, retained: 0, wills: 0, inbound: 0 };

test("a damaged message is passed over, counted once, and removed", () => {
  fill();
  damage("UPDATE queue SET body = zeroblob(20) WHERE session = 1 AND sequence = 2");
  const engine = new SqliteEngine(path);
  for (let times = 0; times < 2; times++) expect(sequences(engine, 1)).toEqual([1, 3, 4, 5]);
  expect(sequences(engine, 2)).toEqual([1, 2, 3, 4, 5]);
  expect(engine.dropped).toEqual({ ...NONE, queued: 1 });
  mend(engine);
});

test("a page has as many messages as were asked for, damaged ones or not", () => {
  fill();
  damage("UPDATE queue SET weight = 3 WHERE session = 1 AND sequence < 3");
  const engine = new SqliteEngine(path);
  expect(allWaiting(engine, 1, 1).map(({ sequence }) => sequence)).toEqual([3, 4, 5]);
  mend(engine);
});

test("the last place of a queue, which new ones come behind, is one that can be believed", () => {
  fill();
  damage(`UPDATE queue SET sequence = ${2 ** 52} WHERE session = 1 AND sequence = 5`);
  const engine = new SqliteEngine(path);
  expect(snapshot(engine).tails[0]).toMatchObject({ sessionNumber: 1, count: 4, lastSequence: 4 });
  expect(engine.dropped).toEqual({ ...NONE, queued: 1 });
  mend(engine);
});

test("a queue of which nothing is left", () => {
  fill();
  damage("UPDATE queue SET state = state + 8 WHERE session = 1");
  const engine = new SqliteEngine(path);
  expect(snapshot(engine).tails.map(({ sessionNumber }) => sessionNumber)).toEqual([2, 3]);
  expect(engine.dropped).toEqual({ ...NONE, queued: 5 });
  mend(engine);
});

test("a shared message that is damaged is missing everywhere", () => {
  fill();
  damage("UPDATE message SET body = zeroblob(20)");
  const engine = new SqliteEngine(path);
  expect([1, 2, 3].map((session) => sequences(engine, session))).toEqual(Array.from({ length: 3 }, () => [1, 2, 3, 5]));
  expect(engine.dropped).toEqual({ ...NONE, queued: 3 });
  mend(engine);
});

test("a message with the number of another one is not taken for it", () => {
  fill();
  const engine = new SqliteEngine(path);
  apply(engine, (writer) => writer.queuePut(aPlace(3, 6), aMessage("t", "another".repeat(1_000))));
  engine.close();
  damage("UPDATE message SET number = -number");
  damage("UPDATE message SET number = 3 + number");
  const again = new SqliteEngine(path);
  for (const session of [1, 2, 3]) expect(sequences(again, session)).toEqual([1, 2, 3, 5]);
  mend(again);
});

test("a count of places that is damaged loses no message", () => {
  fill();
  damage("UPDATE reference SET count = 1");
  const engine = new SqliteEngine(path);
  apply(engine, (writer) => writer.queueDelete(1, 4));
  expect(sequences(engine, 2)).toContain(4);
  while (engine.idle());
  apply(engine, (writer) => writer.queueDelete(2, 4));
  expect(allWaiting(engine, 3)[3]!.message.payload).toBe(SHARED);
  apply(engine, (writer) => writer.queueDelete(3, 4));
  mend(engine);
});

test("retained messages, Wills and Packet Identifiers are dropped and counted", () => {
  fill();
  damage("UPDATE retained SET body = zeroblob(20)");
  damage("UPDATE will SET due_at_ms = 3");
  damage("UPDATE inbound SET packet_id = 8");
  const engine = new SqliteEngine(path);
  // It cannot become due: nobody knows what it says.
  apply(engine, (writer) => writer.willDue(1, 5));
  expect(snapshot(engine)).toMatchObject({ retained: [], wills: [], inbound: [] });
  expect(engine.dropped).toEqual({ queued: 0, retained: 1, wills: 1, inbound: 1 });
  mend(engine);
});

describe("refused", () => {
  test.each([
    ["UPDATE session SET client_id = 'another' WHERE number = 2", "a session does not fit its checksum"],
    ["UPDATE session SET is_connected = 0", "a session does not fit its checksum"],
    ["UPDATE subscription SET filter = '#' WHERE session = 3", "a subscription does not fit its checksum"],
    ["UPDATE subscription SET options = 2", "a subscription does not fit its checksum"],
    ["UPDATE clock SET wall_ms = 1", "its clock does not fit its checksum"],
    ["DROP TABLE reference", "its tables are not those of schema 1"],
    ["CREATE INDEX mine ON queue (weight)", "its tables are not those of schema 1"],
  ])("%s", (statement, expected) => {
    fill();
    damage(statement);
    expect(() => new SqliteEngine(path)).toThrow(expected);
  });
});

test("the store in its Worker says how many rows it has dropped", async () => {
  fill();
  damage("UPDATE retained SET body = zeroblob(20)");
  damage("UPDATE queue SET body = zeroblob(20) WHERE sequence = 3");
  const client = new StoreClient();
  const store = await openStore({ folder, events: client.events });
  const { retained, waiting } = await client.snapshot(store);
  expect([retained.length, waiting.length]).toEqual([0, 12]);
  await client.until(() => client.dropped.at(-1)?.queued === 3);
  expect(client.dropped.at(-1)).toEqual({ ...NONE, queued: 3, retained: 1 });
  await store.close();
});
