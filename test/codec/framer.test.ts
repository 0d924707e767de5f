/**
 * The framer: any split of the bytes gives the same packets, what is too large is refused before it is kept, and the work
 * is linear in the bytes, however they arrive.
 */
import { describe, expect, test } from "bun:test";
import { Framer } from "../../src/core/codec/framer.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { Random } from "../fuzz/random.ts";
import { ANY_PACKET_BYTES } from "./one-packet.ts";
import { concatenate, framed, hex, variableByteInteger } from "./packet-row.ts";
import { DECODED_ROWS, REFUSED_ROWS } from "./packet-table.ts";

/** Rows above this are cut at chosen places only. */
const SMALL_BYTES = 512;
const SEED = 5;

const notation = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Packets of the table, each kind of bytes once. */
const PACKETS: readonly Uint8Array[] = [...new Map(DECODED_ROWS.map(({ bytes }) => [notation(bytes), bytes])).values()];
const SMALL: readonly Uint8Array[] = PACKETS.filter(({ length }) => length <= SMALL_BYTES);

/** The packets that come out when these chunks go in, one read after the other. */
function packetsFrom(chunks: readonly Uint8Array[], framer = new Framer(ANY_PACKET_BYTES)): string[] {
  const packets: string[] = [];
  for (const chunk of chunks) {
    framer.feed(chunk);
    while (framer.next()) {
      const { bytes, packetStart, bodyStart, bodyEnd } = framer;
      if (!(packetStart < bodyStart && bodyStart <= bodyEnd && bodyEnd <= bytes.length)) throw new Error("cursors");
      packets.push(notation(bytes.subarray(packetStart, bodyEnd)));
    }
  }
  if (framer.heldBytes !== 0) throw new Error(`${framer.heldBytes} bytes left over`);
  return packets;
}

function cut(bytes: Uint8Array, ...at: readonly number[]): Uint8Array[] {
  const ends = [...at, bytes.length];
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

/** Feeds an incomplete packet; answers the number of bytes held back. */
function heldOf(framer: Framer, chunk: Uint8Array): number {
  framer.feed(chunk);
  if (framer.next()) throw new Error("a packet too early");
  return framer.heldBytes;
}

function refusalOf(framer: Framer, chunk: Uint8Array): PeerError | undefined {
  try {
    framer.feed(chunk);
    while (framer.next());
    return undefined;
  } catch (error) {
    if (error instanceof PeerError) return error;
    throw error;
  }
}

describe("any split of the bytes gives the same packets", () => {
  test("every small packet of the table, cut at every byte", () => {
    for (const packet of SMALL) {
      const whole = [notation(packet)];
      for (let at = 0; at <= packet.length; at++) expect(packetsFrom(cut(packet, at))).toEqual(whole);
    }
  });

  test("large packets, cut around their header, in the middle and at the end", () => {
    for (const packet of PACKETS.filter(({ length }) => length > SMALL_BYTES)) {
      const whole = notation(packet);
      for (const at of [1, 2, 3, 4, 5, 6, packet.length >> 1, packet.length - 1]) {
        expect(packetsFrom(cut(packet, at))[0] === whole).toBe(true);
      }
    }
  });

  test("packets glued in pairs and cut at every byte", () => {
    const random = new Random(SEED);
    for (const [index, first] of SMALL.entries()) {
      for (const second of [SMALL[(index + 1) % SMALL.length]!, random.pick(SMALL)]) {
        const pair = [notation(first), notation(second)];
        const glued = concatenate(first, second);
        expect(packetsFrom([glued])).toEqual(pair);
        const cuts = Array.from({ length: glued.length }, (_, at) => packetsFrom(cut(glued, at)));
        expect(cuts.every((packets) => packets.length === 2 && packets[0] === pair[0] && packets[1] === pair[1])).toBe(
          true,
        );
      }
    }
  });

  test("the whole table in one stream: at once, in random chunks, with empty chunks between, byte by byte", () => {
    const stream = concatenate(...PACKETS.filter(({ length }) => length < 70_000));
    const whole = PACKETS.filter(({ length }) => length < 70_000).map(notation);
    expect(packetsFrom([stream])).toEqual(whole);
    const random = new Random(SEED);
    for (const largest of [2, 7, 100, 5_000]) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < stream.length; ) {
        const end = Math.min(at + random.between(0, largest), stream.length);
        chunks.push(stream.subarray(at, end));
        at = end;
      }
      expect(packetsFrom(chunks)).toEqual(whole);
    }
    expect(packetsFrom(Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  test("a packet is not touched by what arrives after the call that asked for more", () => {
    const framer = new Framer(100);
    const chunk = hex("40 02 12");
    framer.feed(chunk);
    expect(framer.next()).toBe(false);
    chunk.fill(0xff);
    framer.feed(hex("34 c0 00"));
    expect(framer.next()).toBe(true);
    expect(notation(framer.bytes.subarray(framer.packetStart, framer.bodyEnd))).toBe("40021234");
    expect(framer.next()).toBe(true);
    expect(notation(framer.bytes.subarray(framer.packetStart, framer.bodyEnd))).toBe("c000");
    expect(framer.next()).toBe(false);
  });

  test("a packet that arrives whole is not copied", () => {
    const framer = new Framer(ANY_PACKET_BYTES);
    const large = framed(0x30, hex('00 01 "t"'), new Uint8Array(200));
    const chunk = concatenate(hex("c0 00"), large, hex("40 02"));
    framer.feed(chunk);
    for (const start of [0, 2]) {
      expect(framer.next()).toBe(true);
      expect([framer.bytes === chunk, framer.packetStart]).toEqual([true, start]);
    }
    expect([framer.bodyStart, framer.bodyEnd]).toEqual([5, 2 + large.length]);
    expect(framer.next()).toBe(false);
    expect(framer.heldBytes).toBe(2);
  });

  test("release lets go of the last chunk and keeps the bytes of an incomplete packet", () => {
    const framer = new Framer(100);
    framer.feed(hex("c0 00 40 02 12"));
    while (framer.next());
    framer.release();
    expect(framer.bytes.length).toBe(0);
    framer.feed(hex("34"));
    expect(framer.next()).toBe(true);
    expect(notation(framer.bytes.subarray(framer.packetStart, framer.bodyEnd))).toBe("40021234");
  });
});

/** Lets `work` run and answers the lengths of the byte arrays it makes, as they are made. */
function watchAllocations(seen: (length: number) => void, work: () => void): void {
  const original = globalThis.Uint8Array;
  globalThis.Uint8Array = new Proxy(original, {
    construct(target, [length], newTarget) {
      if (typeof length === "number") seen(length);
      return Reflect.construct(target, [length], newTarget === globalThis.Uint8Array ? target : newTarget) as object;
    },
  });
  try {
    work();
  } finally {
    globalThis.Uint8Array = original;
  }
}

describe("a packet in pieces", () => {
  test("is gathered in memory of exactly its size, which is nobody else's from then on", () => {
    const random = new Random(SEED);
    for (let round = 0; round < 300; round++) {
      const framer = new Framer(ANY_PACKET_BYTES);
      const packets = Array.from({ length: 6 }, (_, at) =>
        framed(0x30, new Uint8Array(random.between(64, 60_000)).fill(round + at)),
      );
      const stream = concatenate(...packets);
      const given: Uint8Array[] = [];
      for (let at = 0; at < stream.length; ) {
        const end = Math.min(stream.length, at + random.between(1, random.oneIn(2) ? 500 : 40_000));
        const chunk = stream.slice(at, end);
        framer.feed(chunk);
        while (framer.next()) {
          expect(framer.isGathered).toBe(framer.bytes !== chunk);
          if (!framer.isGathered) {
            given.push(framer.bytes.slice(framer.packetStart, framer.bodyEnd));
            continue;
          }
          expect([framer.packetStart, framer.bodyEnd]).toEqual([0, framer.bytes.length]);
          given.push(framer.bytes);
        }
        framer.release();
        chunk.fill(0xee);
        at = end;
      }
      expect(new Set(given.map(({ buffer }) => buffer)).size).toBe(packets.length);
      for (const [at, packet] of packets.entries()) expect(Buffer.compare(given[at]!, packet)).toBe(0);
    }
  });

  test.each([0.001, 0.01, 0.1, 0.3, 1])(
    "is given room for what has arrived, at most four times as much, whatever it announces: pieces up to %d of it",
    (share) => {
      const random = new Random(SEED);
      for (const length of [200, 5_000, 70_000, 3_000_000]) {
        const packet = framed(0x30, new Uint8Array(length));
        const framer = new Framer(ANY_PACKET_BYTES);
        let made = 0;
        for (let at = 0; at < packet.length; ) {
          const end = Math.min(packet.length, at + random.between(1, Math.ceil(packet.length * share)));
          const chunk = packet.subarray(at, end);
          watchAllocations(
            (bytes) => {
              made += bytes;
              expect(bytes).toBeLessThanOrEqual(Math.max(64, 4 * end));
            },
            () => {
              framer.feed(chunk);
              framer.next();
            },
          );
          at = end;
        }
        expect(framer.bodyEnd).toBe(packet.length);
        expect(made).toBeLessThan(2 * packet.length + 128);
      }
    },
  );

  test("that has only announced itself is given next to nothing", () => {
    const framer = new Framer(ANY_PACKET_BYTES);
    let made = 0;
    watchAllocations(
      (bytes) => {
        made += bytes;
      },
      () => {
        for (const byte of hex("30 ff ff ff 7f 00 01")) {
          framer.feed(Uint8Array.of(byte));
          framer.next();
        }
      },
    );
    expect(framer.heldBytes).toBe(7);
    expect(made).toBeLessThanOrEqual(128);
  });
});

describe("bytes that wait", () => {
  test("what was fed and not looked at can be taken, as a copy, and fed again", () => {
    const framer = new Framer(100);
    const chunk = hex("40 02 12 34 c0 00 40 02");
    framer.feed(chunk);
    expect(framer.next()).toBe(true);
    const unread = framer.takeUnread();
    chunk.fill(0xff);
    expect(notation(unread)).toBe("c0004002");
    expect([framer.takeUnread().length, framer.next()]).toEqual([0, false]);
    expect(packetsFrom([unread, hex("56 78")], framer)).toEqual(["c000", "40025678"]);
  });

  test("taking leaves the bytes that are held back in their place", () => {
    const framer = new Framer(100);
    expect(heldOf(framer, hex("40 02"))).toBe(2);
    framer.feed(hex("12 34 c0 00"));
    expect(framer.next()).toBe(true);
    expect(notation(framer.takeUnread())).toBe("c000");
    expect(framer.heldBytes).toBe(0);
  });
});

describe("what is refused", () => {
  test("is refused in the same way byte by byte, and after the same packets", () => {
    const outcome = (chunks: readonly Uint8Array[]): unknown => {
      const framer = new Framer(ANY_PACKET_BYTES);
      let packets = 0;
      for (const chunk of chunks) {
        try {
          framer.feed(chunk);
          while (framer.next()) packets++;
        } catch (error) {
          if (!(error instanceof PeerError)) throw error;
          return { packets, reasonCode: error.reasonCode, statement: error.statement };
        }
      }
      return { packets };
    };
    const wrong = REFUSED_ROWS.filter(({ bytes }) => {
      const pieces = Array.from(bytes, (byte) => Uint8Array.of(byte));
      return bytes.length <= SMALL_BYTES && !Bun.deepEquals(outcome([bytes]), outcome(pieces));
    });
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });

  const OVER_LONG = ["80 00", "ff 00", "80 80 00", "81 80 80 00"];
  const FIVE_BYTES = ["80 80 80 80 01", "ff ff ff ff 00", "80 80 80 80"];

  test("[MQTT-1.5.5-1] a Remaining Length in more bytes than it needs", () => {
    for (const length of OVER_LONG) {
      const bytes = concatenate(hex("30"), hex(length));
      expect(refusalOf(new Framer(1000), bytes)).toMatchObject({ reasonCode: 0x81, statement: "MQTT-1.5.5-1" });
    }
  });

  test("a Remaining Length of more than four bytes, as soon as the fourth says so", () => {
    for (const length of FIVE_BYTES) {
      const bytes = concatenate(hex("30"), hex(length));
      expect(refusalOf(new Framer(ANY_PACKET_BYTES), bytes)).toMatchObject({ reasonCode: 0x81, statement: "2.1.4" });
    }
  });

  test("both of them byte by byte, and nothing but the header is held", () => {
    for (const length of [...OVER_LONG, ...FIVE_BYTES]) {
      const framer = new Framer(ANY_PACKET_BYTES);
      const refusals = Array.from(concatenate(hex("30"), hex(length)), (byte) =>
        refusalOf(framer, Uint8Array.of(byte)),
      );
      expect(refusals.find((refusal) => refusal !== undefined)?.reasonCode).toBe(0x81);
      expect(framer.heldBytes).toBeLessThanOrEqual(5);
    }
  });

  test("the four-byte lengths at the border are not", () => {
    const framer = new Framer(ANY_PACKET_BYTES);
    framer.feed(hex("30 80 80 80 01 00"));
    expect(framer.next()).toBe(false);
    const largest = new Framer(ANY_PACKET_BYTES);
    largest.feed(hex("30 ff ff ff 7f 00"));
    expect(largest.next()).toBe(false);
    expect(largest.heldBytes).toBe(6);
  });

  test.each([2, 10, 129, 130, 131, 1000, 16_386, 16_387, 16_388, 70_000])(
    "packets of up to %d bytes are accepted, one byte more is refused before anything of it is kept",
    (packetBytesMax) => {
      const total = (remaining: number): number => 1 + variableByteInteger(remaining).length + remaining;
      let remaining = 0;
      while (total(remaining + 1) <= packetBytesMax) remaining++;
      const allowed = framed(0x30, new Uint8Array(remaining));
      expect(packetsFrom([allowed], new Framer(packetBytesMax)).length).toBe(1);
      expect(packetsFrom(cut(allowed, 1, 2), new Framer(packetBytesMax)).length).toBe(1);

      const header = framed(0x30, new Uint8Array(remaining + 1)).subarray(
        0,
        1 + variableByteInteger(remaining + 1).length,
      );
      const first = concatenate(header, new Uint8Array(1));
      for (const chunks of [[first], cut(first, 1), Array.from(first, (byte) => Uint8Array.of(byte))]) {
        const framer = new Framer(packetBytesMax);
        const refusal = chunks.map((chunk) => refusalOf(framer, chunk)).find((refused) => refused !== undefined);
        expect(refusal).toMatchObject({ reasonCode: 0x95 });
        expect(framer.heldBytes).toBeLessThanOrEqual(header.length);
      }
    },
  );

  test("a large length with megabytes behind it is refused without keeping them", () => {
    const framer = new Framer(1000);
    const chunk = concatenate(hex("30 ff ff ff 7f"), new Uint8Array(2_000_000));
    expect(refusalOf(framer, chunk)).toMatchObject({ reasonCode: 0x95 });
    expect(framer.heldBytes).toBe(0);
  });

  test("the bound may change between packets", () => {
    const framer = new Framer(4);
    framer.feed(hex("40 02 12 34"));
    expect(framer.next()).toBe(true);
    framer.packetBytesMax = 10;
    framer.feed(hex("30 08 00 01 61 00 00 00 00 00"));
    expect(framer.next()).toBe(true);
  });
});

/** Counts what `work` copies with `set`, the only way to move more than one byte at a time. */
function countCopies(work: () => void): { calls: number; bytes: number } {
  const prototype = Object.getPrototypeOf(Uint8Array.prototype) as {
    set(source: ArrayLike<number>, offset?: number): void;
  };
  const set = prototype.set;
  const count = { calls: 0, bytes: 0 };
  prototype.set = function counted(this: unknown, source: ArrayLike<number>, offset?: number): void {
    count.calls++;
    count.bytes += source.length;
    set.call(this, source, offset);
  };
  try {
    work();
  } finally {
    prototype.set = set;
  }
  return count;
}

describe("the work is linear", () => {
  const MEBIBYTE = 1024 * 1024;
  const packet = framed(0x30, hex('00 01 "t"'), new Uint8Array(MEBIBYTE).fill(0x2a));

  test("a packet of 1 MiB, byte by byte: memory follows what has arrived, and is moved a logarithmic number of times", () => {
    const framer = new Framer(ANY_PACKET_BYTES);
    const held: number[] = [];
    let taken = 0;
    const copies = countCopies(() => {
      for (let at = 0; at < packet.length; at++) {
        framer.feed(packet.subarray(at, at + 1));
        while (framer.next()) taken += framer.bodyEnd - framer.packetStart;
        if (framer.heldBytes !== at + 1) held.push(at);
      }
    });
    expect(taken).toBe(packet.length);
    // Everything is held until the last byte, and nothing behind it.
    expect(held).toEqual([packet.length - 1]);
    expect(copies.bytes).toBeLessThan(2 * packet.length);
    expect(copies.calls).toBeLessThanOrEqual(Math.ceil(Math.log2(packet.length)));
    expect(framer.bytes.length).toBeLessThan(2 * packet.length);
  });

  test.each([2, 3, 1000, 65_536])(
    "a packet of 1 MiB in chunks of %d bytes: each byte is moved at most three times",
    (size) => {
      const framer = new Framer(ANY_PACKET_BYTES);
      let taken = 0;
      const copies = countCopies(() => {
        for (let at = 0; at < packet.length; at += size) {
          framer.feed(packet.subarray(at, at + size));
          while (framer.next()) taken += framer.bodyEnd - framer.packetStart;
        }
      });
      expect(taken).toBe(packet.length);
      expect(copies.bytes).toBeLessThan(3 * packet.length);
    },
  );

  test("many small packets in one chunk: only the incomplete last one is moved", () => {
    const stream = concatenate(...Array<Uint8Array>(10_000).fill(hex("40 02 12 34")), hex("40 02 12"));
    const framer = new Framer(100);
    let count = 0;
    const copies = countCopies(() => {
      framer.feed(stream);
      while (framer.next()) count++;
    });
    expect(count).toBe(10_000);
    expect(framer.heldBytes).toBe(3);
    expect(copies.bytes).toBeLessThanOrEqual(3);
  });
});
