/** Reader and writer: the data representation of MQTT 5.0 section 1.5, and memory that grows under a packet. */
import { describe, expect, test } from "bun:test";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { skipString } from "../../src/core/codec/publish-view.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { varintLength, Writer } from "../../src/core/codec/writer.ts";
import { hex } from "./packet-row.ts";

/** Section 1.5.5, table 1-1: the borders of each size. */
const VARIABLE_BYTE_INTEGERS: readonly (readonly [number, string])[] = [
  [0, "00"],
  [1, "01"],
  [127, "7f"],
  [128, "80 01"],
  [321, "c1 02"],
  [16_383, "ff 7f"],
  [16_384, "80 80 01"],
  [2_097_151, "ff ff 7f"],
  [2_097_152, "80 80 80 01"],
  [268_435_455, "ff ff ff 7f"],
];

const written = (write: (writer: Writer) => void): Uint8Array => {
  const writer = new Writer(1);
  write(writer);
  return writer.view().slice();
};

function refusal(read: () => unknown): PeerError {
  try {
    read();
  } catch (error) {
    if (error instanceof PeerError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("Variable Byte Integer", () => {
  test("[MQTT-1.5.5-1] written with the fewest bytes", () => {
    for (const [value, bytes] of VARIABLE_BYTE_INTEGERS) {
      expect(written((writer) => writer.varint(value))).toEqual(hex(bytes));
      expect(varintLength(value)).toBe(hex(bytes).length);
    }
  });

  test("read back", () => {
    for (const [value, bytes] of VARIABLE_BYTE_INTEGERS) {
      const reader = new Reader(hex(`${bytes} ff`));
      expect(reader.varint()).toBe(value);
      expect(reader.remaining).toBe(1);
    }
  });

  test("[MQTT-1.5.5-1] over-long forms are malformed", () => {
    for (const bytes of ["80 00", "ff 00", "80 80 00", "ff ff 00", "80 80 80 00", "ff ff ff 00"]) {
      expect(refusal(() => new Reader(hex(bytes)).varint())).toMatchObject({
        reasonCode: 0x81,
        statement: "MQTT-1.5.5-1",
      });
    }
  });

  test("more than four bytes are malformed, and so is an end in the middle", () => {
    for (const bytes of ["80 80 80 80 01", "ff ff ff ff 7f", "80 80 80 80 00"]) {
      expect(refusal(() => new Reader(hex(bytes)).varint())).toMatchObject({ reasonCode: 0x81, statement: "1.5.5" });
    }
    for (const bytes of ["", "80", "80 80", "80 80 80"]) {
      expect(refusal(() => new Reader(hex(bytes)).varint()).reasonCode).toBe(0x81);
    }
  });
});

describe("integers and data", () => {
  test("are big-endian", () => {
    expect(written((writer) => writer.u8(0xab))).toEqual(hex("ab"));
    expect(written((writer) => writer.u16(0x1234))).toEqual(hex("12 34"));
    expect(written((writer) => writer.u32(0x89abcdef))).toEqual(hex("89 ab cd ef"));
    expect(written((writer) => writer.u32(0xffffffff))).toEqual(hex("ff ff ff ff"));
    const reader = new Reader(hex("ab 12 34 89 ab cd ef ff ff ff ff"));
    expect([reader.u8(), reader.u16(), reader.u32(), reader.u32()]).toEqual([0xab, 0x1234, 0x89abcdef, 0xffffffff]);
  });

  test("Binary Data has at most 65535 bytes", () => {
    for (const length of [0, 1, 47, 48, 49, 65_535]) {
      const data = Uint8Array.from({ length }, (_, index) => index);
      const bytes = written((writer) => writer.binary(data));
      expect(bytes.length).toBe(length + 2);
      expect(Buffer.compare(new Reader(bytes).binary(), data)).toBe(0);
    }
    expect(() => new Writer().binary(new Uint8Array(65_536))).toThrow(RangeError);
  });

  test("raw copies a range of its source, by loop and by call", () => {
    const source = Uint8Array.from({ length: 200 }, (_, index) => index);
    for (const [start, end] of [
      [0, 0],
      [0, 48],
      [0, 49],
      [3, 51],
      [3, 52],
      [0, 200],
      [199, 200],
    ] as const) {
      expect(written((writer) => writer.raw(source, start, end))).toEqual(source.slice(start, end));
    }
  });

  test("running short of bytes is malformed, whatever is read", () => {
    const reads: readonly (readonly [string, (reader: Reader) => unknown])[] = [
      ["", (reader) => reader.u8()],
      ["00", (reader) => reader.u16()],
      ["00 00 00", (reader) => reader.u32()],
      ["00", (reader) => reader.string()],
      ['00 02 "a"', (reader) => reader.string()],
      ['00 02 "a"', (reader) => skipString(reader)],
      ['00 02 "a"', (reader) => reader.binary()],
      ['00 02 "a"', (reader) => reader.skipBinary()],
    ];
    for (const [bytes, read] of reads) {
      // What lies behind the packet is not read.
      const memory = hex(`${bytes} 61 61 61 61`);
      expect(refusal(() => read(new Reader(memory, 0, hex(bytes).length)))).toMatchObject({ reasonCode: 0x81 });
    }
  });

  test("bytes left over are malformed", () => {
    const reader = new Reader(hex("01 02"));
    reader.u8();
    expect(refusal(() => reader.finish())).toMatchObject({ reasonCode: 0x81 });
    expect(Array.from(reader.rest())).toEqual([2]);
    reader.finish();
  });

  test("skipping a string checks it, skipping Binary Data does not", () => {
    const reader = new Reader(hex("00 02 c0 80 00 01 61"));
    expect(refusal(() => skipString(new Reader(hex("00 02 c0 80"))))).toMatchObject({ statement: "MQTT-1.5.4-1" });
    reader.skipBinary();
    skipString(reader);
    expect(reader.remaining).toBe(0);
  });

  test("a reader can be bound again", () => {
    const reader = new Reader();
    expect(reader.remaining).toBe(0);
    reader.bind(hex("01 02 03 04"), 1, 3);
    expect([reader.u8(), reader.u8(), reader.remaining]).toEqual([2, 3, 0]);
  });
});

describe("the writer's memory", () => {
  test("a length is closed over what was written, in its shortest form, whatever is free behind it", () => {
    for (const count of [0, 1, 2, 3, 4, 126, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152]) {
      const data = Uint8Array.from({ length: count }, (_, index) => index % 251);
      const expected = Buffer.concat([written((writer) => writer.varint(count)), data]);
      for (const free of [0, 1, 2, 3, 4, 5, 8]) {
        const writer = new Writer(10 + 1 + count + free);
        writer.length = 10;
        const mark = writer.openLength();
        writer.raw(data, 0, count);
        writer.closeLength(mark);
        const same = Buffer.compare(writer.view().subarray(10), expected) === 0;
        expect({ count, free, same }).toEqual({ count, free, same: true });
      }
    }
  });

  test("lengths within lengths", () => {
    for (const [outer, inner] of [
      [0, 0],
      [1, 1],
      [2, 0],
      [0, 2],
      [100, 27],
      [100, 28],
      [0, 127],
      [0, 128],
      [120, 128],
    ] as const) {
      for (let free = 0; free < 8; free++) {
        const writer = new Writer(outer + inner + 2 + free);
        const mark = writer.begin(0x30);
        writer.raw(new Uint8Array(outer).fill(1), 0, outer);
        const list = writer.openLength();
        writer.raw(new Uint8Array(inner).fill(2), 0, inner);
        writer.closeLength(list);
        writer.finish(mark);
        const reader = new Reader(writer.view());
        expect(reader.u8()).toBe(0x30);
        expect(reader.varint()).toBe(reader.remaining);
        for (let i = 0; i < outer; i++) expect(reader.u8()).toBe(1);
        expect(reader.varint()).toBe(reader.remaining);
        expect(Array.from(reader.rest())).toEqual(Array(inner).fill(2));
      }
    }
  });

  test("growing keeps what was written, and clearing keeps the memory", () => {
    const writer = new Writer(4);
    for (let i = 0; i < 1000; i++) writer.u8(i % 256);
    expect(Array.from(writer.view())).toEqual(Array.from({ length: 1000 }, (_, index) => index % 256));
    const memory = writer.bytes;
    writer.clear();
    expect(writer.view().length).toBe(0);
    writer.u8(7);
    expect(writer.bytes).toBe(memory);
  });

  test("reserving makes room for as much as was asked", () => {
    const writer = new Writer(2);
    writer.u8(1);
    writer.reserve(1000);
    expect(writer.bytes.length).toBeGreaterThanOrEqual(1001);
    expect(Array.from(writer.view())).toEqual([1]);
  });
});
