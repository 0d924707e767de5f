/** The contract suite against both engines, and what only they can be asked: a batch that cannot be read. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { MemoryEngine } from "../../src/core/store/memory-engine.ts";
import type { StoreEngine } from "../../src/core/store/store-engine.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { aMessage, aPlace, aSession, batchOf, deliveriesOf, snapshot } from "../support/store-snapshot.ts";
import { type StoreUnderTest, storeContract } from "./engine-contract.ts";

const folder = mkdtempSync(join(tmpdir(), "rqtt-store-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const newPath = (): string => join(folder, `${++files}.db`);

function underTest(open: () => StoreEngine, keeps: boolean): StoreUnderTest {
  let engine = open();
  const store: StoreUnderTest = {
    apply: (batches) => engine.apply(batches, "fsync"),
    snapshot: () => snapshot(engine),
    numbers: () => engine.load(IGNORING_SINK),
    page: async (...asked) => deliveriesOf(engine.page(...asked)),
    close: () => engine.close(),
  };
  const reopen = async (): Promise<void> => {
    engine.close();
    engine = open();
  };
  return keeps ? { ...store, reopen } : store;
}

storeContract("MemoryEngine", (wallMs) => underTest(() => new MemoryEngine({ wallMs }), false));
storeContract("SqliteEngine", (wallMs) => {
  const path = newPath();
  return underTest(() => new SqliteEngine(path, { wallMs }), true);
});

test.each([
  ["MemoryEngine", () => new MemoryEngine()],
  ["SqliteEngine", () => new SqliteEngine(newPath(), { wallMs: () => 0 })],
] as const)("%s: a batch that cannot be read changes nothing, nor do those of its call", (_name, open) => {
  const engine = open();
  engine.apply([batchOf((writer) => writer.sessionPut(aSession(1)))], "fsync");
  const before = snapshot(engine);
  const good = batchOf((writer) => writer.queuePut(aPlace(1, 1), aMessage("t", "m")));
  for (const bad of [good.subarray(0, -1), Uint8Array.of(...good, 99)]) {
    expect(() => engine.apply([good, bad], "fsync")).toThrow(/record/);
    expect(snapshot(engine)).toEqual(before);
  }
  engine.apply([good], "fsync");
  expect(snapshot(engine).waiting).toHaveLength(1);
  engine.close();
});
