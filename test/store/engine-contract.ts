/**
 * What every store does with records, whatever it keeps them in: one suite for all of them. A store behind the asynchronous
 * port answers with promises, an engine at once.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { RecordWriter } from "../../src/core/store/record-writer.ts";
import type { StoreLoad } from "../../src/core/store/store-engine.ts";
import { NO_TIME } from "../../src/core/store/store-record.ts";
import {
  aMessage,
  aPlace,
  aSession,
  aSubscription,
  aWill,
  batchOf,
  type PlainDelivery,
  plainMessage,
  type Snapshot,
} from "../support/store-snapshot.ts";

export interface StoreUnderTest {
  apply(batches: readonly Uint8Array<ArrayBuffer>[]): void | Promise<void>;
  snapshot(): Snapshot | Promise<Snapshot>;
  numbers(): StoreLoad | Promise<StoreLoad>;
  page(sessionNumber: number, afterSequence: number, messagesMax: number, bytesMax: number): Promise<PlainDelivery[]>;
  /** Puts it away and takes it up again, with what it keeps over that. Without it the store keeps nothing beyond itself. */
  reopen?(): Promise<void>;
  close(): void | Promise<void>;
}

type Write = (writer: RecordWriter) => void;

export function storeContract(
  name: string,
  open: (wallMs: () => number) => StoreUnderTest | Promise<StoreUnderTest>,
): void {
  describe(name, () => {
    let store: StoreUnderTest;
    let wallMs = 0;
    beforeEach(async () => {
      wallMs = 50_000;
      store = await open(() => wallMs);
    });
    afterEach(() => store.close());

    /** One call with a batch for each writer. */
    const apply = async (...writers: Write[]): Promise<void> => store.apply(writers.map((write) => batchOf(write)));
    const snapshot = async (): Promise<Snapshot> => {
      const kept = await store.snapshot();
      await store.reopen?.();
      expect(await store.snapshot()).toEqual(kept);
      return kept;
    };
    const sequences = async (sessionNumber: number): Promise<number[]> =>
      (await store.page(sessionNumber, -1, 1000, 1_000_000)).map(({ sequence }) => sequence);

    test("an empty store has nothing, and every number is free", async () => {
      expect(await snapshot()).toEqual({
        sessions: [],
        subscriptions: [],
        inbound: [],
        wills: [],
        underWay: [],
        tails: [],
        waiting: [],
        retained: [],
        clock: { brokerMs: 0, wallMs: 0 },
      });
      expect(await store.numbers()).toEqual({ brokerMs: 0, wallMs: 0, sessionNumberMax: 0, messageNumberMax: 0 });
    });

    test("the clock is that of the last batch", async () => {
      await store.apply([batchOf((writer) => writer.sessionPut(aSession(1)), 1_000), batchOf(() => {}, 2_000)]);
      expect((await snapshot()).clock).toEqual({ brokerMs: 2_000, wallMs: 50_000 });
      wallMs = 60_000;
      await store.apply([batchOf(() => {}, 3_000)]);
      expect((await snapshot()).clock).toEqual({ brokerMs: 3_000, wallMs: 60_000 });
    });

    test("a session with everything it says", async () => {
      const row = aSession(4_000_000_000, {
        clientId: "gr\u00fcn\u{1f600}\ufeff",
        principal: `{"name":"${"x".repeat(70_000)}"}`,
        expiryInterval: 0xffffffff,
        requestedExpiryInterval: 0,
        expiresAtMs: NO_TIME - 1,
        isConnected: false,
      });
      await apply((writer) => writer.sessionPut(row));
      expect((await snapshot()).sessions).toEqual([row]);
      expect((await store.numbers()).sessionNumberMax).toBeGreaterThanOrEqual(4_000_000_000);
    });

    test("a session put again keeps what belongs to it", async () => {
      await apply(everythingOf(1));
      const before = await store.snapshot();
      await apply((writer) => writer.sessionPut(aSession(1, { clientId: "another" })));
      const sessions = [aSession(1, { clientId: "another" })];
      expect(await snapshot()).toEqual({ ...before, sessions });
    });

    test("a client that leaves changes three things of its session", async () => {
      await apply((writer) => writer.sessionPut(aSession(1)));
      await apply((writer) => writer.sessionAway(1, 60, 99_000));
      const away = aSession(1, { expiryInterval: 60, expiresAtMs: 99_000, isConnected: false });
      expect((await snapshot()).sessions).toEqual([away]);
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.sessionAway(1, 61, 98_000);
      });
      expect((await snapshot()).sessions).toEqual([{ ...away, expiryInterval: 61, expiresAtMs: 98_000 }]);
    });

    test("a deleted session takes everything with it, and nobody else's", async () => {
      await apply(everythingOf(1), everythingOf(2));
      await apply((writer) => writer.sessionDelete(1));
      await apply((writer) => {
        writer.sessionPut(aSession(3));
        writer.queuePut(aPlace(3, 1), aMessage("t", "third"));
        writer.sessionDelete(3);
      });
      const { sessions, subscriptions, inbound, wills, underWay, tails, waiting } = await snapshot();
      const owners = [sessions, subscriptions, wills, underWay, tails, waiting].map((rows) => [
        ...new Set(rows.map(({ sessionNumber }) => sessionNumber)),
      ]);
      expect(owners).toEqual([[2], [2], [2], [2], [2], [2]]);
      expect(inbound).toEqual([[2, 5]]);
    });

    test("a large session is gone at once as well", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (let sequence = 1; sequence <= 2000; sequence++)
          writer.queuePut(aPlace(1, sequence), aMessage("t", "gone"));
      });
      await apply((writer) => writer.sessionDelete(1));
      expect(await snapshot()).toMatchObject({ sessions: [], tails: [], waiting: [] });
      expect(await sequences(1)).toEqual([]);
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.queuePut(aPlace(1, 3000), aMessage("t", "new"));
      });
      expect(await sequences(1)).toEqual([3000]);
    });

    test("records for sessions and places that are not there are nothing", async () => {
      await apply((writer) => writer.sessionPut(aSession(1)));
      const before = await store.snapshot();
      await apply((writer) => {
        everythingWithout(2)(writer);
        writer.sessionAway(2, 1, 1);
        writer.sessionDelete(2);
        writer.subscriptionDelete(1, "no");
        writer.queueProgress(1, 9, 1, 1);
        writer.queueDelete(1, 9);
        writer.queueDropOldest(1, 0);
        writer.queueDropOldest(2, 0);
        writer.queueRef(aPlace(1, 10), 77);
        writer.inboundDelete(1, 9);
        writer.retainedDelete(Buffer.from("no"));
        writer.willDue(1, 5);
        writer.willDelete(1);
      });
      expect(await snapshot()).toEqual(before);
    });

    test("subscriptions are kept by filter", async () => {
      const options = {
        qos: 2,
        noLocal: true,
        retainAsPublished: true,
        subscriptionIdentifiers: [1, 268_435_455],
      } as const;
      const rows = [aSubscription(1, "$share/gr\u00fcn/#", options), aSubscription(1, "a/+"), aSubscription(1, "b")];
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.subscriptionPut(aSubscription(1, "a/+", { qos: 0 }));
        for (const row of rows) writer.subscriptionPut(row);
      });
      expect((await snapshot()).subscriptions).toEqual(rows);
      await apply((writer) => {
        writer.subscriptionPut(aSubscription(1, "b", { qos: 2 }));
        writer.subscriptionDelete(1, "a/+");
      });
      expect((await snapshot()).subscriptions).toEqual([rows[0]!, aSubscription(1, "b", { qos: 2 })]);
    });

    test("a message with everything it says", async () => {
      const place = aPlace(1, NO_TIME - 1, {
        qos: 2,
        retain: true,
        subscriptionIdentifiers: [7, 8],
        sharedFilter: "$share/gr\u00fcn/t",
      });
      const payload = Uint8Array.from({ length: 100_000 }, (_, at) => at);
      const message = aMessage("\u{1f600}/t", payload, {
        qos: 2,
        retain: true,
        expiresAtMs: 5,
        publisherId: "gr\u00fcn",
      });
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.queuePut(place, message);
        writer.retainedPut(message);
        writer.willPut(aWill(1, { messageExpiryInterval: 0xffffffff, dueAtMs: 12 }), message);
      });
      const plain = plainMessage(message);
      const { waiting, retained, wills } = await snapshot();
      expect(waiting).toEqual([{ ...place, message: plain }]);
      expect(retained).toEqual([plain]);
      expect(wills).toEqual([{ ...aWill(1, { messageExpiryInterval: 0xffffffff, dueAtMs: 12 }), message: plain }]);
    });

    test("a message without payload and properties", async () => {
      const message = aMessage("t", "", { properties: new Uint8Array(0), publisherId: "" });
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.queuePut(aPlace(1, 1), message);
      });
      expect((await snapshot()).waiting).toEqual([{ ...aPlace(1, 1), message: plainMessage(message) }]);
    });

    test("pages begin behind a place and end with the bound that is met first, after one message at least", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.sessionPut(aSession(2));
        for (let at = 1; at <= 9; at++) {
          writer.queuePut(aPlace(1, at * 10), aMessage("tt", `${"m".repeat(5)}${at}`));
          writer.queuePut(aPlace(2, at * 10), aMessage("tt", "other"));
        }
      });
      const page = async (afterSequence: number, messagesMax: number, bytesMax: number): Promise<number[]> =>
        (await store.page(1, afterSequence, messagesMax, bytesMax)).map(({ sequence }) => sequence);
      await store.reopen?.();
      expect(await page(-1, 3, 1_000)).toEqual([10, 20, 30]);
      expect(await page(30, 2, 1_000)).toEqual([40, 50]);
      expect(await page(85, 100, 1_000)).toEqual([90]);
      expect(await page(90, 100, 1_000)).toEqual([]);
      // Each weighs 2 + 2 + 6.
      expect(await page(-1, 100, 10)).toEqual([10]);
      expect(await page(-1, 100, 11)).toEqual([10, 20]);
      expect(await page(-1, 100, 1)).toEqual([10]);
    });

    test("deliveries under way are loaded whole, the rest as a number and a weight", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (let sequence = 1; sequence <= 5; sequence++) writer.queuePut(aPlace(1, sequence), aMessage("t", "12345"));
        writer.queuePut(aPlace(1, 6, { progress: 1, packetId: 6 }), aMessage("t", "sent at once"));
      });
      await apply((writer) => {
        writer.queueProgress(1, 1, 2, 65_535);
        writer.queueProgress(1, 2, 1, 3);
        writer.queueProgress(1, 2, 3, 4);
      });
      const { underWay, tails, waiting } = await snapshot();
      expect(underWay.map(({ sequence, progress, packetId }) => [sequence, progress, packetId])).toEqual([
        [1, 2, 65_535],
        [2, 3, 4],
        [6, 1, 6],
      ]);
      expect(underWay[0]!.message.payload).toBe("12345");
      expect(tails).toEqual([{ sessionNumber: 1, count: 3, bytes: 3 * (1 + 2 + 5), lastSequence: 5 }]);
      expect(waiting.map(({ sequence }) => sequence)).toEqual([3, 4, 5]);
    });

    test("a delivery that goes back waits again, in its place", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (const sequence of [1, 2, 3]) writer.queuePut(aPlace(1, sequence), aMessage("t", `${sequence}`));
      });
      await apply((writer) => writer.queueProgress(1, 2, 1, 7));
      expect(await sequences(1)).toEqual([1, 3]);
      await apply((writer) => writer.queueProgress(1, 2, 0, 0));
      expect(await sequences(1)).toEqual([1, 2, 3]);
    });

    test("the oldest that waits is dropped, not one that is under way", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (let sequence = 1; sequence <= 6; sequence++) writer.queuePut(aPlace(1, sequence), aMessage("t", "m"));
        writer.queueProgress(1, 1, 1, 1);
      });
      await apply((writer) => {
        writer.queueDropOldest(1, 0);
        writer.queueProgress(1, 3, 1, 2);
        writer.queueDropOldest(1, 0);
      });
      expect(await sequences(1)).toEqual([5, 6]);
      await apply((writer) => writer.queueProgress(1, 1, 0, 0));
      await apply((writer) => writer.queueDropOldest(1, 0));
      expect(await sequences(1)).toEqual([5, 6]);
      await apply((writer) => {
        writer.queuePut(aPlace(1, 7), aMessage("t", "m"));
        writer.queueProgress(1, 3, 0, 0);
        for (let times = 0; times < 3; times++) writer.queueDropOldest(1, 0);
      });
      expect(await sequences(1)).toEqual([7]);
      await apply((writer) => {
        writer.queueDropOldest(1, 0);
        writer.queueDropOldest(1, 0);
      });
      expect((await snapshot()).tails).toEqual([]);
    });

    test("the oldest behind a place is dropped, whatever waits before it", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (let sequence = 1; sequence <= 6; sequence++) writer.queuePut(aPlace(1, sequence), aMessage("t", "m"));
      });
      await apply((writer) => writer.queueDropOldest(1, 2));
      expect(await sequences(1)).toEqual([1, 2, 4, 5, 6]);
      await apply((writer) => {
        writer.queueDropOldest(1, 4);
        writer.queueDropOldest(1, 1);
        writer.queuePut(aPlace(1, 7), aMessage("t", "m"));
        writer.queuePut(aPlace(1, 8), aMessage("t", "m"));
        writer.queueDropOldest(1, 7);
        writer.queueDropOldest(1, 9);
      });
      expect(await sequences(1)).toEqual([1, 4, 6, 7]);
      await apply((writer) => writer.queueDropOldest(1, 0));
      await apply((writer) => writer.queueDropOldest(1, 4));
      await apply((writer) => writer.queueDropOldest(1, 0));
      expect(await sequences(1)).toEqual([7]);
    });

    test("more are dropped at once than are looked at in one go", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (let sequence = 1; sequence <= 300; sequence++) writer.queuePut(aPlace(1, sequence), aMessage("t", "m"));
      });
      await apply((writer) => {
        for (let times = 0; times < 298; times++) writer.queueDropOldest(1, 0);
      });
      expect(await sequences(1)).toEqual([299, 300]);
    });

    test.each(["a small one", "m".repeat(1_000), "m".repeat(10_000)])(
      "a message for several sessions stays until the last has it: %#",
      async (payload) => {
        await apply((writer) => {
          for (const session of [1, 2, 3]) writer.sessionPut(aSession(session));
          writer.messagePut(9, aMessage("t", payload));
          for (const session of [1, 2, 3]) writer.queueRef(aPlace(session, 20 + session), 9);
        });
        const waiting = async (): Promise<number[]> =>
          (await snapshot()).waiting
            .filter(({ message }) => message.payload === payload)
            .map((row) => row.sessionNumber);
        expect(await waiting()).toEqual([1, 2, 3]);
        await apply((writer) => writer.queueDelete(2, 22));
        expect(await waiting()).toEqual([1, 3]);
        await apply((writer) => writer.queueProgress(1, 21, 1, 5));
        await apply((writer) => writer.queueDropOldest(3, 0));
        expect(await waiting()).toEqual([]);
        expect((await snapshot()).underWay.map(({ message }) => message.payload)).toEqual([payload]);
        await apply((writer) => writer.sessionDelete(1));
        expect((await snapshot()).underWay).toEqual([]);
      },
    );

    test("a message's number means nothing in another batch", async () => {
      await apply(
        (writer) => {
          writer.sessionPut(aSession(1));
          writer.messagePut(1, aMessage("t", "first"));
        },
        (writer) => writer.queueRef(aPlace(1, 1), 1),
      );
      expect((await snapshot()).waiting).toEqual([]);
    });

    test("Packet Identifiers of QoS 2 PUBLISH packets", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        for (const packetId of [1, 65_535, 1]) writer.inboundPut(1, packetId);
      });
      expect((await snapshot()).inbound).toEqual([
        [1, 1],
        [1, 65_535],
      ]);
      await apply((writer) => {
        writer.inboundDelete(1, 1);
        writer.inboundPut(1, 2);
        writer.inboundPut(1, 3);
        writer.inboundDelete(1, 3);
      });
      expect((await snapshot()).inbound).toEqual([
        [1, 2],
        [1, 65_535],
      ]);
    });

    test("retained messages are kept by the bytes of their topic", async () => {
      await apply((writer) => {
        for (const topic of ["a", "A", "\u00e9", "e\u0301"]) writer.retainedPut(aMessage(topic, "old"));
        writer.retainedPut(aMessage("a", "new"));
      });
      await apply((writer) => {
        writer.retainedPut(aMessage("A", "newer"));
        writer.retainedDelete(Buffer.from("\u00e9"));
      });
      const text = (topic: string): string => Buffer.from(topic).toString("latin1");
      expect((await snapshot()).retained.map(({ topicName, payload }) => [topicName, payload])).toEqual([
        ["A", "newer"],
        ["a", "new"],
        [text("e\u0301"), "old"],
      ]);
    });

    test("a Will becomes due, is replaced, and goes", async () => {
      await apply((writer) => {
        writer.sessionPut(aSession(1));
        writer.willPut(aWill(1), aMessage("t", "first"));
      });
      await apply((writer) => writer.willDue(1, 777));
      expect((await snapshot()).wills).toMatchObject([{ dueAtMs: 777, message: { payload: "first" } }]);
      await apply((writer) => {
        writer.willPut(aWill(1), aMessage("t", "second"));
        writer.willDue(1, 888);
      });
      expect((await snapshot()).wills).toMatchObject([{ dueAtMs: 888, message: { payload: "second" } }]);
      await apply((writer) => writer.willDelete(1));
      expect((await snapshot()).wills).toEqual([]);
    });
  });
}

/** A session and one of everything that a session has. */
function everythingOf(sessionNumber: number): Write {
  return (writer) => {
    writer.sessionPut(aSession(sessionNumber));
    everythingWithout(sessionNumber)(writer);
  };
}

function everythingWithout(sessionNumber: number): Write {
  return (writer) => {
    writer.subscriptionPut(aSubscription(sessionNumber, "a/#"));
    writer.queuePut(aPlace(sessionNumber, 1, { progress: 1, packetId: 1 }), aMessage("t", "under way"));
    writer.queuePut(aPlace(sessionNumber, 2), aMessage("t", "waits"));
    writer.inboundPut(sessionNumber, 5);
    writer.willPut(aWill(sessionNumber), aMessage("t", "will"));
  };
}
