/** The store in its Worker: the contract suite through the port, the order of answers, and what becomes of folders and files. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, type SqliteStore, type StoreOptions } from "../../src/bun/store/sqlite-store.ts";
import { StoreFault } from "../../src/bun/store/store-fault.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { StoreClient } from "../support/store-client.ts";
import { aMessage, aPlace, aSession, batchOf } from "../support/store-snapshot.ts";
import { storeContract } from "./engine-contract.ts";

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "rqtt-store-")), "data");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true, force: true }));

const put = (sessionNumber: number, sequence: number) =>
  batchOf((writer) => writer.queuePut(aPlace(sessionNumber, sequence), aMessage("t", `message ${sequence}`)));
const session = (sessionNumber: number) => batchOf((writer) => writer.sessionPut(aSession(sessionNumber)));

async function open(options: Partial<StoreOptions> = {}): Promise<[SqliteStore, StoreClient]> {
  const client = new StoreClient();
  return [await openStore({ folder, events: client.events, ...options }), client];
}

async function refusal(options: Partial<StoreOptions> = {}): Promise<StoreFault> {
  try {
    const [store] = await open(options);
    await store.close();
  } catch (error) {
    if (error instanceof StoreFault) return error;
    throw error;
  }
  throw new Error("expected the store to be refused");
}

storeContract("SqliteStore", async (wallMs) => {
  let [store, client] = await open();
  const snapshot = async () => {
    const kept = await client.snapshot(store);
    // The Worker has a clock of its own.
    return { ...kept, clock: { ...kept.clock, wallMs: kept.clock.wallMs === 0 ? 0 : wallMs() } };
  };
  return {
    apply: (batches) => client.untilCommitted(batches.map((batch) => client.commit(store, batch)).at(-1)!),
    snapshot,
    numbers: () => store.load(IGNORING_SINK),
    page: (...asked) => client.untilPaged(client.page(store, ...asked)),
    reopen: async () => {
      await store.close();
      [store, client] = await open();
    },
    close: () => store.close(),
  };
});

describe("answers", () => {
  test("come in the order of the orders; a page sees the commits before it and none behind it", async () => {
    const [store, client] = await open();
    client.commit(store, session(1));
    client.commit(store, put(1, 1));
    const first = client.page(store, 1);
    client.commit(store, put(1, 2));
    const second = client.page(store, 1);
    const last = client.commit(store, put(1, 3));
    await client.untilCommitted(last);
    expect((await client.untilPaged(first)).map(({ sequence }) => sequence)).toEqual([1]);
    expect((await client.untilPaged(second)).map(({ sequence }) => sequence)).toEqual([1, 2]);
    const said = client.order.filter((what) => !["committed 1", "committed 2"].includes(what));
    expect(said).toEqual([`paged ${first}`, "committed 3", `paged ${second}`, "committed 4"]);
    expect(client.order.indexOf("committed 2")).toBeLessThan(client.order.indexOf(`paged ${first}`));
    await store.close();
  });

  test("closing lets everything be done that was asked for, and nothing that is asked for later", async () => {
    const [store, client] = await open();
    client.commit(store, session(1));
    for (let sequence = 1; sequence <= 500; sequence++) client.commit(store, put(1, sequence));
    const closed = store.close();
    client.commit(store, put(1, 501));
    await closed;
    await store.close();
    expect(client.committed.at(-1)).toBe(501);
    const [again, reader] = await open();
    const all = await reader.untilPaged(reader.page(again, 1));
    expect(all.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 500 }, (_, at) => at + 1));
    await again.close();
  });

  test("rows come in pieces, and a sink that throws ends the load", async () => {
    const [store, client] = await open();
    const principal = "x".repeat(10_000);
    client.commit(
      store,
      batchOf((writer) => {
        for (let number = 1; number <= 200; number++) writer.sessionPut(aSession(number, { principal }));
      }),
    );
    await client.untilCommitted(1);
    let count = 0;
    const load = await store.load({ ...IGNORING_SINK, sessionPut: () => void count++ });
    expect([count, load.sessionNumberMax]).toEqual([200, 200]);
    const bad = store.load({
      ...IGNORING_SINK,
      sessionPut() {
        throw new Error("the sink has had enough");
      },
    });
    // `rejects` would wait without letting the Worker's messages in.
    expect(String(await bad.catch((error: unknown) => error))).toBe("Error: the sink has had enough");
    await store.close();
  });

  test("a slow disk holds up answers, not the event loop", async () => {
    const [store, client] = await open({ trouble: { delayMs: 50 } });
    client.commit(store, session(1));
    let turns = 0;
    const turn = (): void => {
      if (turns++ < 2000) client.commit(store, put(1, turns));
      if ((client.committed.at(-1) ?? 0) < 2001) setTimeout(turn, 1);
    };
    turn();
    await client.untilCommitted(2001);
    // A loop that waited for the disk would have had a transaction in every turn.
    expect(client.committed.length).toBeLessThan(turns / 5);
    await store.close();
    expect(store.pendingBytes).toBe(0);
  }, 20_000);
});

describe("trouble", () => {
  test("a disk without room: the batch waits, is tried again, and nothing is lost", async () => {
    const [store, client] = await open({ trouble: { failAs: "full", failAfter: 1, failTimes: 1 } });
    await client.untilCommitted(client.commit(store, session(1)));
    client.commit(store, put(1, 1));
    await client.until(() => client.space.length > 0);
    const last = client.commit(store, put(1, 2));
    await client.untilCommitted(last);
    await client.until(() => client.space.length > 1);
    expect(client.space).toEqual([true, false]);
    expect((await client.untilPaged(client.page(store, 1))).map(({ sequence }) => sequence)).toEqual([1, 2]);
    await store.close();
  });

  test("a disk without room: what waits is read as it will be", async () => {
    const [store, client] = await open({ trouble: { failAs: "full", failAfter: 2 } });
    await client.untilCommitted(client.commit(store, session(1)));
    await client.untilCommitted(
      client.commit(
        store,
        batchOf((writer) => {
          for (const sequence of [1, 2, 3]) writer.queuePut(aPlace(1, sequence), aMessage("t", `message ${sequence}`));
        }),
      ),
    );
    client.commit(store, put(1, 4));
    await client.until(() => client.space.length > 0);
    const ask = async (after: number) =>
      (await client.untilPaged(client.page(store, 1, after, 3))).map(({ sequence }) => sequence);
    expect(await ask(-1)).toEqual([1, 2, 3]);
    client.commit(
      store,
      batchOf((writer) => writer.queueDelete(1, 2)),
    );
    expect(await ask(0)).toEqual([1, 3, 4]);
    client.commit(store, put(1, 5));
    expect(await ask(3)).toEqual([4, 5]);
    expect(client.committed).toEqual([1, 2]);
    await store.close();
  });

  test("a disk without room does not keep the broker from ending", async () => {
    const [store, client] = await open({ trouble: { failAs: "full", failAfter: 1 } });
    await client.untilCommitted(client.commit(store, session(1)));
    const records = put(1, 1);
    const bytes = records.length;
    client.commit(store, records);
    await client.until(() => client.space.length > 0);
    expect(store.pendingBytes).toBe(bytes);
    await store.close();
    expect(client.committed).toEqual([1]);
    const [again, reader] = await open();
    expect(await reader.untilPaged(reader.page(again, 1))).toEqual([]);
    await again.close();
  });

  test("a broken disk is told once; nothing is committed afterwards, and nothing tried again", async () => {
    const [store, client] = await open({ trouble: { failAs: "broken", failAfter: 1, failTimes: 1 } });
    await client.untilCommitted(client.commit(store, session(1)));
    client.commit(store, put(1, 1));
    await client.until(() => client.faults.length > 0);
    client.commit(store, put(1, 2));
    client.page(store, 1);
    await store.close();
    expect(client.order).toEqual(["committed 1", "failed"]);
    expect(client.faults[0]).toMatchObject({ name: "StoreFault", kind: "broken" });
    expect(String(await store.load(IGNORING_SINK).catch((error: unknown) => error))).toContain("trouble made to order");
  });

  test("a batch that is no records is a failure, not an exception", async () => {
    const [store, client] = await open();
    client.commit(store, Uint8Array.of(99));
    await client.until(() => client.faults.length > 0);
    expect(client.faults[0]!.message).toContain("expected a record, found kind 99");
    await store.close();
  });
});

describe("the folder", () => {
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

  test("it and everything in it is for its owner, whatever the umask", async () => {
    for (const umask of [0o000, 0o277]) {
      const before = process.umask(umask);
      try {
        const [store, client] = await open();
        await client.untilCommitted(client.commit(store, session(1)));
        expect(mode(folder)).toBe("700");
        const modes = Object.fromEntries(readdirSync(folder).map((name) => [name, mode(join(folder, name))]));
        expect(modes).toEqual({ "lock.db": "600", "store.db": "600", "store.db-shm": "600", "store.db-wal": "600" });
        await store.close();
      } finally {
        process.umask(before);
        rmSync(folder, { recursive: true });
      }
    }
  });

  test("one that others may look into is refused, with the line to type", async () => {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    chmodSync(folder, 0o755);
    const fault = await refusal();
    expect(fault.kind).toBe("unsafe");
    expect(fault.message).toEndWith(`expected mode 700, found 755; type: chmod 700 ${folder}`);
    chmodSync(folder, 0o700);
    await (await open())[0].close();
    for (const name of ["store.db", "lock.db"]) {
      chmodSync(join(folder, name), 0o640);
      expect((await refusal()).message).toEndWith(
        `expected mode 600, found 640; type: chmod 600 ${join(folder, name)}`,
      );
      chmodSync(join(folder, name), 0o600);
    }
  });

  test("a second store on it is refused until the first one is closed", async () => {
    const [store] = await open();
    const fault = await refusal();
    expect(fault.kind).toBe("locked");
    expect(fault.message).toBe(
      `${folder} is in use by another broker; stop that one, or give this one a folder of its own`,
    );
    await store.close();
    await (await open())[0].close();
  });

  test("what is no store is refused and left as it is, or set aside when that was asked for", async () => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, "store.db"), "no store ".repeat(1000), { mode: 0o600 });
    const fault = await refusal();
    expect(fault.kind).toBe("corrupt");
    expect(readFileSync(join(folder, "store.db"), "utf8")).toBe("no store ".repeat(1000));
    const [store, client] = await open({ setAside: true });
    expect(store.setAside).toMatch(/\/corrupt-\d{4}-\d\d-\d\dT[\d-]+Z$/u);
    expect(mode(store.setAside!)).toBe("700");
    expect(readFileSync(join(store.setAside!, "store.db"), "utf8")).toBe("no store ".repeat(1000));
    await client.untilCommitted(client.commit(store, session(1)));
    await store.close();
    const [again] = await open({ setAside: true });
    expect(again.setAside).toBeNull();
    await again.close();
  });
});
