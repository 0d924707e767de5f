/**
 * A disk that is full: a small file system in memory, mounted for the test where that is allowed. What was acknowledged stays,
 * what was not waits, and everything goes on when there is room again.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "../../src/bun/store/sqlite-store.ts";
import { StoreClient } from "../support/store-client.ts";
import { aMessage, aPlace, aSession, batchOf } from "../support/store-snapshot.ts";

const DISK = "12m";
const FILLER_BYTES = 5 * 1024 * 1024;
/** A little less than a twentieth of it. */
const LEFT_BYTES = 500 * 1024;
const MESSAGE_BYTES = 30_000;

const home = mkdtempSync(join(tmpdir(), "rqtt-full-"));
const disk = join(home, "disk");
mkdirSync(disk);
const isMounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${DISK},mode=0700`, "rqtt-test", disk]).success;
if (!isMounted) console.warn("no right to mount a file system: a full disk is not looked at");

describe.skipIf(!isMounted)("a full disk", () => {
  const filler = join(disk, "filler");
  beforeAll(() => writeFileSync(filler, new Uint8Array(FILLER_BYTES)));
  afterAll(() => {
    Bun.spawnSync(["umount", "-l", disk]);
    rmSync(home, { recursive: true, force: true });
  });

  const put = (sequence: number) =>
    batchOf((writer) => {
      if (sequence === 1) writer.sessionPut(aSession(1));
      writer.queuePut(aPlace(1, sequence), aMessage("t", new Uint8Array(MESSAGE_BYTES).fill(sequence)));
    });

  test("is told ahead of time, holds back what does not fit, and goes on when there is room", async () => {
    const folder = join(disk, "data");
    const client = new StoreClient();
    // Nothing is spared: it is SQLite that has to find the disk full.
    let store = await openStore({ folder, events: client.events, spareBytes: 1 });
    const acknowledged = async (): Promise<number> => {
      for (let sequence = client.committed.length + 1; ; sequence++) {
        const ticket = client.commit(store, put(sequence));
        await client.until(() => client.space.length > 0 || client.committed.at(-1) === ticket);
        if (client.space.length > 0) return ticket - 1;
      }
    };
    const before = await acknowledged();
    expect(before).toBeGreaterThan(20);
    expect(client.space).toEqual([true]);
    expect(client.committed.at(-1)).toBe(before);
    const behind = client.commit(store, put(before + 2));
    rmSync(filler);
    await client.untilCommitted(behind);
    await client.until(() => client.space.length === 2);
    expect(client.space).toEqual([true, false]);
    expect(client.faults).toEqual([]);
    await store.close();

    // The usual part is spared: a twentieth of this small disk.
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(filler, new Uint8Array(bavail * bsize - LEFT_BYTES));
    const again = new StoreClient();
    store = await openStore({ folder, events: again.events });
    await again.until(() => again.space.length > 0);
    expect(again.space).toEqual([true]);
    const waiting = await again.untilPaged(again.page(store, 1, -1, 1_000, 100_000_000));
    expect(waiting.map(({ sequence }) => sequence)).toEqual(Array.from({ length: before + 2 }, (_, at) => at + 1));
    for (const { sequence, message } of waiting) expect(message.payload.charCodeAt(9_999)).toBe(sequence % 256);
    // What is spared is enough to take out of the queue what is in it.
    for (let sequence = 1; sequence <= before; sequence++) {
      again.commit(
        store,
        batchOf((writer) => writer.queueDelete(1, sequence)),
      );
    }
    await again.untilCommitted(before);
    expect((await again.untilPaged(again.page(store, 1))).map(({ sequence }) => sequence)).toEqual([
      before + 1,
      before + 2,
    ]);
    await store.close();
  }, 60_000);

  test("lets what waits be read, and what is drained before it was written needs no room", async () => {
    const folder = join(disk, "drained");
    const client = new StoreClient();
    rmSync(filler, { force: true });
    rmSync(join(disk, "data"), { recursive: true, force: true });
    const store = await openStore({ folder, events: client.events, spareBytes: 1 });
    let last = 0;
    while (client.space.length === 0) {
      const ticket = client.commit(store, put(++last));
      await client.until(() => client.space.length > 0 || client.committed.at(-1) === ticket);
    }
    const behind = client.commit(store, put(last + 1));
    const waiting = await client.untilPaged(client.page(store, 1, -1, 10_000, 100_000_000));
    expect(waiting.map(({ sequence }) => sequence)).toEqual(Array.from({ length: last + 1 }, (_, at) => at + 1));
    expect(client.committed.at(-1)).toBe(last - 1);
    for (const sequence of [last, last + 1]) {
      client.commit(
        store,
        batchOf((writer) => writer.queueDelete(1, sequence)),
      );
    }
    await client.untilCommitted(behind + 2);
    expect(client.space).toEqual([true]);
    const left = await client.untilPaged(client.page(store, 1, last - 3));
    expect(left.map(({ sequence }) => sequence)).toEqual([last - 2, last - 1]);
    expect(client.faults).toEqual([]);
    await store.close();
  }, 60_000);
});
