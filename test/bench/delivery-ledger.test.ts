/** The load generator's ledger: each way in which a delivery can go wrong is reported, as itself and as nothing else. */
import { describe, expect, test } from "bun:test";
import {
  type DeliveryFaults,
  DeliveryLedger,
  MISSING_MAX,
  markPayload,
  PAYLOAD_BYTES_MIN,
} from "../../bench/delivery-ledger.ts";

const PAYLOAD_BYTES = 16;
const NO_FAULTS: DeliveryFaults = { lost: 0, duplicated: 0, reordered: 0, corrupt: 0 };

function payload(sequence: number, publisher = 0, length = PAYLOAD_BYTES): Uint8Array {
  const bytes = new Uint8Array(length);
  markPayload(bytes, 0, length, publisher, sequence);
  return bytes;
}

function take(ledger: DeliveryLedger, bytes: Uint8Array): number {
  return ledger.take(bytes, 0, bytes.length);
}

/** What one subscriber reports that was sent `sent` messages by one publisher and received these, in this order. */
function received(sent: number, sequences: readonly number[]): DeliveryFaults {
  const ledger = new DeliveryLedger(0, 1, PAYLOAD_BYTES);
  for (const sequence of sequences) take(ledger, payload(sequence));
  return ledger.faults(sent);
}

test("everything once and in order is no fault", () => {
  expect(received(5, [0, 1, 2, 3, 4])).toEqual(NO_FAULTS);
  expect(received(0, [])).toEqual(NO_FAULTS);
});

describe("loss", () => {
  test.each([
    ["the first", [1, 2, 3, 4], 1],
    ["one in the middle", [0, 1, 3, 4], 1],
    ["several apart", [0, 2, 4], 2],
    ["the last", [0, 1, 2, 3], 1],
    ["a row at both ends", [2, 3], 3],
    ["all", [], 5],
  ])("%s", (_, sequences, lost) => {
    expect(received(5, sequences)).toEqual({ ...NO_FAULTS, lost });
  });

  test("does not stall whoever waits for the newest message", () => {
    const ledger = new DeliveryLedger(0, 1, PAYLOAD_BYTES);
    take(ledger, payload(0));
    take(ledger, payload(9));
    expect(ledger.reachedCount).toBe(10);
    expect(ledger.faults(10)).toEqual({ ...NO_FAULTS, lost: 8 });
  });
});

describe("duplicates", () => {
  test.each([
    ["at once", [0, 0, 1, 2], 1],
    ["later", [0, 1, 2, 0], 1],
    ["of the newest", [0, 1, 2, 2], 1],
    ["several times", [0, 1, 1, 1, 2], 2],
    ["of everything, as after a resumed session", [0, 1, 2, 0, 1, 2], 3],
  ])("%s", (_, sequences, duplicated) => {
    expect(received(3, sequences)).toEqual({ ...NO_FAULTS, duplicated });
  });

  test("do not count as progress", () => {
    const ledger = new DeliveryLedger(0, 1, PAYLOAD_BYTES);
    for (const sequence of [0, 1, 1, 0]) take(ledger, payload(sequence));
    expect(ledger.reachedCount).toBe(2);
  });
});

describe("reordering", () => {
  test.each([
    ["two neighbours", [0, 2, 1, 3], 1],
    ["one that is late", [1, 2, 3, 0], 1],
    ["all backwards", [3, 2, 1, 0], 3],
  ])("%s", (_, sequences, reordered) => {
    expect(received(4, sequences)).toEqual({ ...NO_FAULTS, reordered });
  });

  test("one that comes late and then again is reordered and duplicated", () => {
    expect(received(3, [0, 2, 1, 1])).toEqual({ ...NO_FAULTS, reordered: 1, duplicated: 1 });
  });

  test("one that never comes after being overtaken is lost, not reordered", () => {
    expect(received(4, [0, 3, 2])).toEqual({ ...NO_FAULTS, lost: 1, reordered: 1 });
  });
});

describe("corruption", () => {
  function takenInstead(bytes: Uint8Array): DeliveryFaults {
    const ledger = new DeliveryLedger(0, 2, PAYLOAD_BYTES);
    take(ledger, payload(0));
    take(ledger, payload(0, 1));
    expect(take(ledger, bytes)).toBe(-1);
    expect(ledger.reachedCount).toBe(2);
    return ledger.faults(1);
  }

  function damaged(at: number): Uint8Array {
    const bytes = payload(1);
    bytes[at] ^= 0x80;
    return bytes;
  }

  test.each([0, 4, 7, PAYLOAD_BYTES - 4, PAYLOAD_BYTES - 1])("byte %i is damaged", (at) => {
    expect(takenInstead(damaged(at))).toEqual({ ...NO_FAULTS, corrupt: 1 });
  });

  test("one byte too few or too many, or none at all", () => {
    for (const length of [PAYLOAD_BYTES - 1, PAYLOAD_BYTES + 1, PAYLOAD_BYTES_MIN, 0]) {
      const bytes = length < PAYLOAD_BYTES_MIN ? new Uint8Array(length) : payload(1, 0, length);
      expect(takenInstead(bytes)).toEqual({ ...NO_FAULTS, corrupt: 1 });
    }
  });

  test("a publisher that there is not, above and below", () => {
    expect(takenInstead(payload(1, 2))).toEqual({ ...NO_FAULTS, corrupt: 1 });
    const ledger = new DeliveryLedger(7, 1, PAYLOAD_BYTES);
    expect(take(ledger, payload(0, 6))).toBe(-1);
    expect(ledger.faults(0)).toEqual({ ...NO_FAULTS, corrupt: 1 });
  });

  test("an intact mark with a sequence number that no run reaches", () => {
    for (const sequence of [0xffff_ffff, 0x8000_0000, MISSING_MAX + 2]) {
      expect(takenInstead(payload(sequence))).toEqual({ ...NO_FAULTS, corrupt: 1 });
    }
  });

  test("after it the run goes on where it was", () => {
    const ledger = new DeliveryLedger(0, 1, PAYLOAD_BYTES);
    for (const sequence of [0, 0xffff_ffff, 1, 2]) take(ledger, payload(sequence));
    expect(ledger.reachedCount).toBe(3);
    expect(ledger.faults(3)).toEqual({ ...NO_FAULTS, corrupt: 1 });
  });

  test("jumps that are each small enough, but leave too much missing together", () => {
    const ledger = new DeliveryLedger(0, 2, PAYLOAD_BYTES);
    const half = MISSING_MAX / 2;
    expect(take(ledger, payload(half))).toBe(half);
    expect(take(ledger, payload(half + 1, 1))).toBe(-1);
    expect(take(ledger, payload(half, 1))).toBe(half);
    expect(take(ledger, payload(half + 2))).toBe(-1);
    expect(take(ledger, payload(half + 1))).toBe(half + 1);
    expect(ledger.faults(half + 1)).toEqual({ ...NO_FAULTS, lost: MISSING_MAX, corrupt: 2 });
  });

  test("the message that it should have been is missing", () => {
    const ledger = new DeliveryLedger(0, 1, PAYLOAD_BYTES);
    take(ledger, payload(0));
    take(ledger, damaged(4));
    take(ledger, payload(2));
    expect(ledger.faults(3)).toEqual({ ...NO_FAULTS, lost: 1, corrupt: 1 });
  });

  test("what the reader found by itself is added", () => {
    const ledger = new DeliveryLedger(0, 1, PAYLOAD_BYTES);
    ledger.countCorrupt();
    expect(ledger.faults(0)).toEqual({ ...NO_FAULTS, corrupt: 1 });
  });
});

describe("several publishers", () => {
  test("each has its own order, however they mix", () => {
    const ledger = new DeliveryLedger(10, 3, PAYLOAD_BYTES);
    for (const [publisher, sequence] of [
      [12, 0],
      [10, 0],
      [10, 1],
      [11, 0],
      [12, 1],
      [11, 1],
    ]) {
      expect(take(ledger, payload(sequence, publisher))).toBe(sequence);
    }
    expect(ledger.reachedCount).toBe(6);
    expect(ledger.faults(2)).toEqual(NO_FAULTS);
  });

  test("a fault of one is not made good by another", () => {
    const ledger = new DeliveryLedger(0, 2, PAYLOAD_BYTES);
    take(ledger, payload(1, 0));
    take(ledger, payload(0, 1));
    take(ledger, payload(1, 1));
    expect(ledger.faults(2)).toEqual({ ...NO_FAULTS, lost: 1 });
  });

  test("the same message missing from two is missing twice, and one that comes late is that one only", () => {
    const ledger = new DeliveryLedger(0, 2, PAYLOAD_BYTES);
    take(ledger, payload(1, 0));
    take(ledger, payload(1, 1));
    expect(ledger.faults(2)).toEqual({ ...NO_FAULTS, lost: 2 });
    take(ledger, payload(0, 1));
    expect(ledger.faults(2)).toEqual({ ...NO_FAULTS, lost: 1, reordered: 1 });
  });
});

test("a payload is read where it stands, whatever is around it", () => {
  const packet = new Uint8Array(PAYLOAD_BYTES + 20).fill(0xff);
  markPayload(packet, 10, 10 + PAYLOAD_BYTES, 3, 0x1234);
  expect([...packet.subarray(0, 10), ...packet.subarray(10 + PAYLOAD_BYTES)]).toEqual(new Array(20).fill(0xff));
  const ledger = new DeliveryLedger(3, 1, PAYLOAD_BYTES);
  expect(ledger.take(packet, 10, 10 + PAYLOAD_BYTES)).toBe(0x1234);
});
