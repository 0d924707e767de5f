/**
 * What "fsync" and "written" leave behind: a WAL with a hole in it is a power failure after the one, and damage after the other.
 * What is asked to be synced covers what was only written before it.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { StoreFault } from "../../src/bun/store/store-fault.ts";
import { walDamage } from "../../src/bun/store/wal-damage.ts";
import type { Durability } from "../../src/core/store/store-engine.ts";
import { aMessage, aPlace, aSession, batchOf, snapshot } from "../support/store-snapshot.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rqtt-store-"));
  path = join(folder, "store.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const put = (sequence: number) =>
  batchOf((writer) => {
    if (sequence === 1) writer.sessionPut(aSession(1));
    writer.queuePut(aPlace(1, sequence), aMessage("t", `${sequence}`));
  });

/** Files as a process leaves them that ends after these transactions; the path of the copy. */
function leaveBehind(durabilities: readonly Durability[]): string {
  const engine = new SqliteEngine(path);
  for (const [at, durability] of durabilities.entries()) engine.apply([put(at + 1)], durability);
  const copy = join(folder, "copy.db");
  for (const end of ["", "-wal"]) copyFileSync(path + end, copy + end);
  engine.close();
  return copy;
}

/** Destroys a part of the WAL: `share` of its length from its beginning. */
function tear(copy: string, share: number): void {
  const wal = readFileSync(`${copy}-wal`);
  wal.fill(0, Math.floor(wal.length * share), Math.floor(wal.length * share) + 5_000);
  writeFileSync(`${copy}-wal`, wal);
}

test("a hole in a WAL of transactions that were synced one by one is damage: refused, and nothing is touched", () => {
  const copy = leaveBehind(Array.from({ length: 10 }, () => "fsync" as const));
  tear(copy, 0.5);
  const before = readFileSync(`${copy}-wal`);
  let fault: unknown;
  try {
    new SqliteEngine(copy).close();
  } catch (error) {
    fault = error;
  }
  expect(fault).toBeInstanceOf(StoreFault);
  expect(fault).toMatchObject({ kind: "corrupt" });
  expect(String(fault)).toMatch(
    /copy\.db-wal is damaged, and transactions that were acknowledged lie behind: frame \d+/u,
  );
  expect(readFileSync(`${copy}-wal`)).toEqual(before);
});

test("damage in the last transaction is the end of the WAL, as after a power failure", () => {
  const copy = leaveBehind(Array.from({ length: 10 }, () => "fsync" as const));
  const wal = readFileSync(`${copy}-wal`);
  writeFileSync(`${copy}-wal`, wal.fill(0, wal.length - 5_000));
  const engine = new SqliteEngine(copy);
  expect(snapshot(engine).waiting).toHaveLength(9);
  engine.close();
});

test("a hole among transactions that were only written is a power failure: what is before it is kept", () => {
  const copy = leaveBehind(["fsync", ...Array.from({ length: 9 }, () => "written" as const)]);
  expect(walDamage(`${copy}-wal`)).toBeNull();
  tear(copy, 0.5);
  expect(walDamage(`${copy}-wal`)).toMatch(/^frame \d+ of it is damaged$/u);
  const engine = new SqliteEngine(copy);
  const { length } = snapshot(engine).waiting;
  expect(length).toBeGreaterThan(0);
  expect(length).toBeLessThan(10);
  // Once it is closed, what is in it is synced, and the next hole is damage again.
  engine.close();
  const again = new SqliteEngine(copy);
  for (let sequence = 11; sequence <= 20; sequence++) again.apply([put(sequence)], "fsync");
  const second = join(folder, "second.db");
  for (const end of ["", "-wal"]) copyFileSync(copy + end, second + end);
  again.close();
  tear(second, 0.5);
  expect(() => new SqliteEngine(second)).toThrow(/is damaged/u);
});

test("a batch that changes nothing is a promise about those before it, and otherwise no transaction", () => {
  const engine = new SqliteEngine(path);
  /** Whether the WAL changes. */
  const writes = (batch: Uint8Array, durability: Durability): boolean => {
    const before = readFileSync(`${path}-wal`);
    engine.apply([batch], durability);
    return !readFileSync(`${path}-wal`).equals(before);
  };
  const nothing = () => batchOf(() => {});
  expect(writes(put(1), "written")).toBe(true);
  expect(writes(nothing(), "written")).toBe(false);
  expect(writes(nothing(), "fsync")).toBe(true);
  expect(writes(nothing(), "fsync")).toBe(false);
  expect(writes(put(2), "fsync")).toBe(true);
  expect(writes(nothing(), "fsync")).toBe(false);
  engine.close();
});
