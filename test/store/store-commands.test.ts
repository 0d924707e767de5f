/** The commands about a store, as processes, on stores at rest, in use, left by a crash, and damaged. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { openStore } from "../../src/bun/store/sqlite-store.ts";
import { ROOT } from "../support/repository.ts";
import { StoreClient } from "../support/store-client.ts";
import { aMessage, aPlace, aSession, aWill, batchOf, snapshot } from "../support/store-snapshot.ts";

let home: string;
let folder: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "rqtt-store-"));
  folder = join(home, "data");
  mkdirSync(folder, { mode: 0o700 });
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const COMMANDS = JSON.stringify(join(ROOT, "src", "commands", "run-command.ts"));
const RUN = `import { runCommand } from ${COMMANDS}; process.exit(await runCommand(process.argv.slice(1)));`;

async function rqtt(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([process.execPath, "-e", RUN, ...argv], { cwd: home, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}

/** Two sessions, twenty messages of their own, one that both wait for, a retained one, a Will. */
const filled = () =>
  batchOf((writer) => {
    for (const session of [1, 2]) {
      writer.sessionPut(aSession(session));
      for (let sequence = 1; sequence <= 10; sequence++) {
        writer.queuePut(aPlace(session, sequence), aMessage("t", `${session}/${sequence} ${"m".repeat(500)}`));
      }
    }
    writer.messagePut(1, aMessage("t", "s".repeat(5_000)));
    for (const session of [1, 2]) writer.queueRef(aPlace(session, 11), 1);
    writer.retainedPut(aMessage("t", "retained"));
    writer.willPut(aWill(1), aMessage("t", "will"));
  });

function fill(): void {
  const engine = new SqliteEngine(join(folder, "store.db"));
  engine.apply([filled()], "fsync");
  engine.close();
}

/** Changes rows behind the store's back. */
function damage(...statements: string[]): void {
  const db = new Database(join(folder, "store.db"));
  for (const statement of statements) db.run(statement);
  db.close();
}

describe("store check", () => {
  test("a store at rest", async () => {
    fill();
    expect(await rqtt("store", "check")).toEqual({
      code: 0,
      stdout: "./data is well: 2 sessions, 22 queued messages\n",
      stderr: "",
    });
  });

  test("a store in use, and one that a process was torn away from", async () => {
    const client = new StoreClient();
    const store = await openStore({ folder, events: client.events });
    await client.untilCommitted(client.commit(store, filled()));
    expect(await rqtt("store", "check", "--store", folder)).toMatchObject({ code: 0 });
    const torn = join(home, "torn");
    mkdirSync(torn, { mode: 0o700 });
    for (const name of ["store.db", "store.db-wal"]) await copyFile(join(folder, name), join(torn, name));
    await store.close();
    expect(await rqtt("store", "check", "--store", torn)).toMatchObject({
      code: 0,
      stdout: `${torn} is well: 2 sessions, 22 queued messages\n`,
    });
  });

  test.each([
    ["UPDATE queue SET body = zeroblob(10) WHERE session = 1 AND sequence = 3", "1 queued messages do not fit"],
    ["UPDATE queue SET state = state + 4 WHERE session = 1 AND sequence < 3", "2 queued messages do not fit"],
    ["UPDATE message SET body = zeroblob(10)", "2 queued messages do not fit"],
    ["UPDATE retained SET body = zeroblob(10)", "1 retained messages do not fit"],
    ["UPDATE will SET due_at_ms = 5", "1 Wills do not fit"],
    ["UPDATE session SET client_id = 'another' WHERE number = 2", "a session does not fit its checksum"],
    ["UPDATE reference SET count = 3", "1 messages are referred to by another number of places than they count"],
    ["DELETE FROM queue WHERE sequence = 11", "1 messages have no place in any queue"],
    ["CREATE TABLE guest (a)", "its tables are not those of schema 1"],
    ["PRAGMA application_id = 5", "is no store of rqtt, or a damaged one"],
  ])("%s", async (statement, expected) => {
    fill();
    damage(statement);
    const { code, stdout } = await rqtt("store", "check");
    expect(stdout).toInclude(expected);
    expect(code).toBe(1);
  });

  test("a file that is damaged below its rows", async () => {
    fill();
    const path = join(folder, "store.db");
    const bytes = Buffer.from(await Bun.file(path).bytes());
    // What a page says of itself.
    for (let at = 3 * 8192; at < bytes.length; at += 8192) bytes.fill(0xff, at, at + 8);
    writeFileSync(path, bytes);
    expect(await rqtt("store", "check")).toMatchObject({ code: 1 });
  });
});

test("store stats", async () => {
  fill();
  const { code, stdout } = await rqtt("store", "stats");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^session +2 +8\.0 KiB$/mu);
  expect(stdout).toMatch(/^queue +22 +\d+\.\d KiB$/mu);
  expect(stdout).toMatch(/^message +1 +8\.0 KiB$/mu);
  expect(stdout).toMatch(/^data\/store\.db: \d+\.\d KiB$/mu);
});

describe("store backup", () => {
  test("a copy of a store in use, for its owner alone, that a broker starts from", async () => {
    const client = new StoreClient();
    const store = await openStore({ folder, events: client.events });
    await client.untilCommitted(client.commit(store, filled()));
    const before = await client.snapshot(store);
    const target = join(home, "copy.db");
    expect(await rqtt("store", "backup", target, "--store", folder)).toMatchObject({ code: 0, stderr: "" });
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(readdirSync(home).sort()).toEqual(["copy.db", "data"]);
    // The broker goes on meanwhile.
    await client.untilCommitted(
      client.commit(
        store,
        batchOf((writer) => writer.sessionDelete(1)),
      ),
    );
    await store.close();
    const copied = join(home, "copied");
    mkdirSync(copied, { mode: 0o700 });
    await copyFile(target, join(copied, "store.db"));
    chmodSync(join(copied, "store.db"), 0o600);
    const engine = new SqliteEngine(join(copied, "store.db"));
    expect(snapshot(engine)).toEqual(before);
    engine.close();
    expect(await rqtt("store", "check", "--store", copied)).toMatchObject({ code: 0 });
  });

  test("refuses to overwrite, and leaves nothing half done", async () => {
    fill();
    writeFileSync(join(home, "copy.db"), "mine");
    const taken = await rqtt("store", "backup", "copy.db");
    expect(taken).toMatchObject({ code: 2, stdout: "" });
    expect(taken.stderr).toInclude("copy.db exists; name another target, or remove it");
    expect(await Bun.file(join(home, "copy.db")).text()).toBe("mine");
    const nowhere = await rqtt("store", "backup", "none/copy.db");
    expect(nowhere).toMatchObject({ code: 2, stdout: "" });
    expect(nowhere.stderr).toInclude("none/copy.db.unfinished");
    expect(readdirSync(home).sort()).toEqual(["copy.db", "data"]);
  });
});

describe("what is wrong is said", () => {
  test.each([
    [["store", "check"], "expected a store in ./data, found no data/store.db; type: --store FOLDER"],
    [["store", "stats", "--store", "none"], "expected a store in none, found no none/store.db"],
    [["store", "check", "now"], "expected no more words"],
    [["store", "backup"], "expected one TARGET"],
    [["store", "backup", "a", "b"], "expected one TARGET"],
    [["store", "check", "--folder", "x"], "unknown flag --folder; expected one of --store"],
    [["store", "mend"], "store mend: no such command"],
  ])("%j", async (argv, expected) => {
    const { code, stdout, stderr } = await rqtt(...argv);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toInclude(expected);
  });
});
