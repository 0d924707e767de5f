/** The store that fails on purpose keeps the contract while nothing is asked of it, and fails as it is told to. */
import { describe, expect, test } from "bun:test";
import type { Durability } from "../../src/core/store/store-engine.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { FaultyStore } from "../support/faulty-store.ts";
import { StoreClient } from "../support/store-client.ts";
import { allWaiting, aMessage, aPlace, aSession, batchOf, snapshot } from "../support/store-snapshot.ts";
import { storeContract } from "./engine-contract.ts";

storeContract("FaultyStore", (wallMs) => {
  const client = new StoreClient();
  let store = new FaultyStore(client.events, { wallMs });
  return {
    apply(batches) {
      for (const batch of batches) client.commit(store, batch);
      store.settle();
    },
    snapshot: () => snapshot(store.engine),
    numbers: () => store.load(IGNORING_SINK),
    page(...asked) {
      const request = client.page(store, ...asked);
      store.settle();
      return client.untilPaged(request);
    },
    async reopen() {
      store = new FaultyStore(client.events, { wallMs, engine: store.crash({ power: true }) });
    },
    close() {},
  };
});

describe("trouble", () => {
  const newStore = (durabilities: readonly Durability[] = []) => {
    const client = new StoreClient();
    const store = new FaultyStore(client.events);
    client.commit(
      store,
      batchOf((writer) => writer.sessionPut(aSession(1))),
    );
    store.settle();
    for (const [at, durability] of durabilities.entries()) {
      const records = batchOf((writer) => writer.queuePut(aPlace(1, at + 1), aMessage("t", "m")));
      client.commit(store, records, durability);
    }
    return { client, store };
  };
  const sequences = (engine: Parameters<typeof allWaiting>[0]) => allWaiting(engine, 1).map(({ sequence }) => sequence);

  test("nothing is said before it settles, and then as much as it settles", () => {
    const { client, store } = newStore(["fsync", "fsync", "fsync"]);
    const request = client.page(store, 1);
    expect(client.committed).toEqual([1]);
    expect(store.pending).toBe(4);
    store.settle(2);
    expect(client.committed).toEqual([1, 3]);
    store.settle();
    expect(client.order).toEqual(["committed 1", "committed 3", "committed 4", `paged ${request}`]);
  });

  test("a process that ends keeps what was committed, and as much of the rest as had reached the disk", () => {
    for (const survivors of [0, 1, 2]) {
      const { client, store } = newStore(["written", "fsync", "written"]);
      store.settle(1);
      const found = store.crash({ survivors });
      expect(sequences(found)).toEqual([1, 2, 3].slice(0, 1 + survivors));
      store.settle();
      expect(client.committed).toEqual([1, 2]);
    }
  });

  test("a power failure takes what was written and not synced since", () => {
    for (const survivors of [0, 1]) {
      const { store } = newStore(["written", "fsync", "written", "written"]);
      for (let times = 0; times < 4; times++) store.settle(1);
      expect(sequences(store.crash({ power: true, survivors }))).toEqual([1, 2, 3].slice(0, 2 + survivors));
    }
  });

  test("without room nothing is lost: it waits", () => {
    const { client, store } = newStore(["fsync"]);
    store.full();
    store.settle();
    expect(client.order).toEqual(["committed 1", "space true"]);
    store.full(false);
    store.settle();
    expect(client.order).toEqual(["committed 1", "space true", "space false", "committed 2"]);
  });

  test("a failure is told once, and nothing after it is done", () => {
    const { client, store } = newStore(["fsync"]);
    store.fail();
    store.settle();
    client.commit(
      store,
      batchOf(() => {}),
    );
    store.settle();
    expect(client.order).toEqual(["committed 1", "failed"]);
    expect(client.faults[0]).toMatchObject({ name: "StoreFault", kind: "broken" });
    expect(sequences(store.engine)).toEqual([]);
  });
});
