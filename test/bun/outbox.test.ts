/** Bytes that wait for a transport: in order, each once, whatever it takes at a time; what lasts is not copied. */
import { describe, expect, test } from "bun:test";
import { firstWrite, PendingBytes, writeWithPayload } from "../../src/bun/outbox.ts";
import { Random } from "../fuzz/random.ts";

const KB = 1024;
const SEEDS = Array.from({ length: 40 }, (_, at) => at + 1);

/** Takes everything, as a transport that is never full. */
function drainAll(pending: PendingBytes): Uint8Array[] {
  const offered: Uint8Array[] = [];
  pending.drainInto((bytes) => {
    offered.push(bytes);
    return bytes.length;
  });
  return offered;
}

/** Bytes that follow on each other, so that a hole, a doubling or a swap shows. */
class Source {
  sent = 0;

  take(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at++) bytes[at] = Source.byteAt(this.sent++);
    return bytes;
  }

  static byteAt(at: number): number {
    return (at ^ (at >> 8) ^ (at >> 16)) & 0xff;
  }
}

/** Sizes where something changes: none, one, around a block, and far above it. */
const SIZES = [0, 1, 2, 100, 4 * KB, 16 * KB - 1, 16 * KB, 16 * KB + 1, 40 * KB, 100 * KB];

test.each(SEEDS)("random pieces, lasting or not, taken in random amounts: seed %d", (seed) => {
  const random = new Random(seed);
  const pending = new PendingBytes();
  const source = new Source();
  let received = 0;
  let wrong = 0;
  const take = (budget: number): void => {
    pending.drainInto((bytes) => {
      const taken = Math.min(bytes.length, budget, random.oneIn(3) ? random.below(bytes.length + 1) : bytes.length);
      for (let at = 0; at < taken; at++) if (bytes[at] !== Source.byteAt(received++)) wrong++;
      budget -= taken;
      // A transport that takes nothing says 0 or less.
      return taken === 0 && random.oneIn(2) ? -1 : taken;
    });
  };
  for (let step = 0; step < 300; step++) {
    if (random.below(100) < 55) {
      const lasting = random.oneIn(3);
      const piece = source.take(random.oneIn(4) ? random.below(60 * KB) : random.pick(SIZES));
      pending.push(piece, lasting);
      // What does not last is gone when the call has returned.
      if (!lasting) piece.fill(0xee);
    } else {
      take(random.oneIn(10) ? Number.POSITIVE_INFINITY : random.below(80 * KB));
    }
    expect(pending.length).toBe(source.sent - received);
  }
  take(0);
  while (pending.length > 0) take(Number.POSITIVE_INFINITY);
  expect([received, wrong]).toEqual([source.sent, 0]);
});

describe("what lasts", () => {
  const payload = new Source().take(64 * KB);

  test("is offered as it is, not as a copy, alone and between small pieces", () => {
    const alone = new PendingBytes();
    alone.push(payload, true);
    expect(drainAll(alone).map(({ buffer }) => buffer)).toEqual([payload.buffer]);
    const pending = new PendingBytes();
    pending.push(Uint8Array.of(1, 2, 3), false);
    pending.push(payload, true);
    pending.push(Uint8Array.of(4), false);
    pending.push(payload.subarray(KB), true);
    const offered = drainAll(pending);
    expect(offered.map(({ length }) => length)).toEqual([3, payload.length, 1, payload.length - KB]);
    expect(offered.map(({ buffer }) => buffer === payload.buffer)).toEqual([false, true, false, true]);
  });

  test("is never written to", () => {
    const pending = new PendingBytes();
    const kept = payload.slice();
    pending.push(kept, true);
    pending.push(new Uint8Array(10).fill(0xee), false);
    pending.push(kept.subarray(0, 20 * KB), true);
    pending.push(new Uint8Array(30 * KB).fill(0xee), false);
    expect(Buffer.from(kept).equals(Buffer.from(payload))).toBe(true);
  });

  test("and is small is gathered with its neighbours", () => {
    const pending = new PendingBytes();
    for (let at = 0; at < 100; at++) pending.push(Uint8Array.of(at), true);
    expect(drainAll(pending).map((bytes) => [...bytes])).toEqual([Array.from({ length: 100 }, (_, at) => at)]);
  });
});

test("many small pieces are gathered into few", () => {
  const pending = new PendingBytes();
  for (let at = 0; at < 64 * KB; at += 64) pending.push(new Uint8Array(64), false);
  expect(pending.length).toBe(64 * KB);
  expect(drainAll(pending).length).toBeLessThanOrEqual(5);
});

test("a transport that takes less than all is not offered more at once", () => {
  const pending = new PendingBytes();
  for (let at = 0; at < 3; at++) pending.push(new Uint8Array(20 * KB), true);
  let calls = 0;
  pending.drainInto(({ length }) => {
    calls++;
    return calls === 2 ? length - 1 : length;
  });
  expect([calls, pending.length]).toEqual([2, 20 * KB + 1]);
});

test("nothing waits: nothing is offered", () => {
  const pending = new PendingBytes();
  expect(drainAll(pending)).toEqual([]);
  pending.push(new Uint8Array(0), false);
  expect([drainAll(pending), pending.length]).toEqual([[], 0]);
});

describe("a head and its payload", () => {
  /** Where a transport may stop: at the ends of head and payload, next to them, and in the middle. */
  function limits(head: number, whole: number): number[] {
    const chosen = [0, 1, head - 1, head, head + 1, head + 20 * KB, whole - 17 * KB, whole - 1, whole, whole + 1];
    return [...new Set(chosen.filter((limit) => limit >= 0))];
  }

  const CASES = [
    [1, 64 * KB],
    [20, 64 * KB],
    [16 * KB, 64 * KB],
    [16 * KB + 1, 64 * KB],
    [20, 128 * KB],
    [20, 128 * KB + 1],
    [60 * KB, 300 * KB],
  ] as const;

  test.each(CASES)(
    "of %d and %d bytes arrive in order and whole, wherever the transport stops",
    (headBytes, payloadBytes) => {
      const whole = headBytes + payloadBytes;
      for (const limit of limits(headBytes, whole)) {
        const source = new Source();
        const [head, payload] = [source.take(headBytes), source.take(payloadBytes)];
        const received: Uint8Array[] = [];
        let writes = 0;
        let room = limit;
        const take = (bytes: Uint8Array): number => {
          writes++;
          const taken = Math.min(room, bytes.length);
          room -= taken;
          received.push(bytes.slice(0, taken));
          return taken;
        };
        const pending = writeWithPayload({ write: take }, head, payload);
        expect(writes).toBeLessThanOrEqual(2);
        expect(pending?.length ?? 0).toBe(Math.max(0, whole - limit));
        // Another one, of other bytes, before the first is through; the head is gone as well.
        head.fill(0xee);
        firstWrite(new Uint8Array(10).fill(0xee), new Uint8Array(64 * KB).fill(0xee));
        if (pending !== null) {
          const rest = drainAll(pending);
          const fromPayload = rest.filter(({ buffer }) => buffer === payload.buffer);
          const left = Math.min(payloadBytes, whole - limit);
          if (left >= 16 * KB) expect(fromPayload.map(({ length }) => length)).toEqual([left]);
          received.push(...rest);
        }
        const expected = new Source().take(whole);
        expect(Buffer.compare(Buffer.concat(received), expected)).toBe(0);
        expect(Buffer.compare(payload, expected.subarray(headBytes))).toBe(0);
      }
    },
  );

  test("are one write where the payload is short, and otherwise two of which none copies the payload", () => {
    const offered: Uint8Array[] = [];
    const to = { write: (bytes: Uint8Array) => offered.push(bytes) && bytes.length };
    const [short, long] = [new Uint8Array(128 * KB), new Uint8Array(128 * KB + 1)];
    expect(writeWithPayload(to, new Uint8Array(20), short)).toBeNull();
    expect(writeWithPayload(to, new Uint8Array(20), long)).toBeNull();
    expect(offered.map(({ length }) => length)).toEqual([20 + short.length, 20, long.length]);
    expect(offered[2]).toBe(long);
  });

  test("are not waited for once the connection is gone", () => {
    for (const size of [64 * KB, 200 * KB]) {
      expect(writeWithPayload({ write: () => -1 }, new Uint8Array(20), new Uint8Array(size))).toBeNull();
    }
    let calls = 0;
    const goesAway = { write: ({ length }: Uint8Array) => (calls++ === 0 ? length : -1) };
    expect(writeWithPayload(goesAway, new Uint8Array(20), new Uint8Array(200 * KB))).toBeNull();
  });
});
