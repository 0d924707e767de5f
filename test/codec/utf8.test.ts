/** UTF-8 Encoded Strings (MQTT 5.0 section 1.5.4, MQTT 3.1.1 section 1.5.3): against the platform's own decoder. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { checkUtf8, decodeUtf8, encodeUtf8, encodeUtf8Into, utf8Length } from "../../src/core/codec/utf8.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { decodeOutcome } from "./one-packet.ts";
import { concatenate, hex, ILL_FORMED } from "./packet-row.ts";
import { REFUSED_ROWS } from "./packet-table.ts";

const SEED = 154;
const platform = new TextDecoder("utf-8", { ignoreBOM: true });
const platformEncoder = new TextEncoder();

/** What is wrong with `bytes`: the statement, or `undefined` where nothing is. */
function complaint(bytes: Uint8Array): string | undefined {
  try {
    checkUtf8(bytes, 0, bytes.length);
    return undefined;
  } catch (error) {
    if (error instanceof PeerError && error.reasonCode === 0x81) return error.statement;
    throw error;
  }
}

/** Whether the platform finds `bytes` well-formed; U+FFFD itself must not be in them. */
const platformAccepts = (bytes: Uint8Array): boolean => !platform.decode(bytes).includes("\u{fffd}");

/** Bytes on both sides of every border of Unicode's table of well-formed sequences, without zero and BD (of U+FFFD). */
const BORDERS = [
  0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef,
  0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
];

describe("decoding", () => {
  test("[MQTT-1.5.4-1] [MQTT311-1.5.3-1] ill-formed sequences are malformed: borders of the table, up to three bytes", () => {
    const wrong: string[] = [];
    const accepted = [0, 0];
    for (const first of BORDERS) {
      for (const second of BORDERS) {
        for (const third of BORDERS) {
          for (const bytes of [
            Uint8Array.of(first),
            Uint8Array.of(first, second),
            Uint8Array.of(first, second, third),
          ]) {
            const well = platformAccepts(bytes);
            if ((complaint(bytes) === undefined) !== well) wrong.push(Buffer.from(bytes).toString("hex"));
            accepted[well ? 1 : 0]!++;
          }
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(Math.min(...accepted)).toBeGreaterThan(100);
  });

  test("[MQTT-1.5.4-1] [MQTT311-1.5.3-1] the same with four bytes, wherever the first three are no sequence of their own", () => {
    const wrong: string[] = [];
    for (const first of [0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5]) {
      for (const second of BORDERS) {
        for (const third of [0x41, 0x7f, 0x80, 0xbf, 0xc0]) {
          for (const fourth of [0x41, 0x7f, 0x80, 0xbf, 0xc0]) {
            const bytes = Uint8Array.of(first, second, third, fourth);
            if ((complaint(bytes) === undefined) !== platformAccepts(bytes))
              wrong.push(Buffer.from(bytes).toString("hex"));
          }
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("[MQTT-1.5.4-1] [MQTT311-1.5.3-1] every surrogate is malformed, its neighbours are not", () => {
    for (let point = 0xd7ff; point <= 0xe000; point++) {
      const bytes = Uint8Array.of(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
      expect(complaint(bytes)).toBe(point >= 0xd800 && point <= 0xdfff ? "MQTT-1.5.4-1" : undefined);
    }
  });

  test("[MQTT-1.5.4-2] [MQTT311-1.5.3-2] U+0000 is malformed at every place", () => {
    for (const text of ["\0", "\0abc", "ab\0c", "abc\0", "\u{1f600}\0", "abcdefghijk\0lm"]) {
      const bytes = platformEncoder.encode(text);
      expect(complaint(bytes)).toBe("MQTT-1.5.4-2");
      expect(() => decodeUtf8(bytes, 0, bytes.length)).toThrow(PeerError);
    }
  });

  test("[MQTT-1.5.4-3] [MQTT311-1.5.3-3] EF BB BF is kept, at the start and everywhere", () => {
    const decode = (bytes: Uint8Array): string => decodeUtf8(bytes, 0, bytes.length);
    expect(decode(hex("ef bb bf"))).toBe("\u{feff}");
    expect(decode(hex('ef bb bf "a" ef bb bf'))).toBe("\u{feff}a\u{feff}");
    expect(decode(hex("ef bb bf ef bb bf"))).toBe("\u{feff}\u{feff}");
    expect(encodeUtf8("\u{feff}a")).toEqual(hex('ef bb bf "a"'));
  });

  test("sequences are not continued behind the end of the string", () => {
    for (const [name, bytes] of ILL_FORMED.filter(([kind]) => kind.includes("cut after"))) {
      const cut = hex(bytes);
      const around = concatenate(cut, new Uint8Array(4).fill(0x80));
      expect(() => decodeUtf8(around, 0, cut.length)).toThrow(PeerError);
      expect(() => checkUtf8(around, 0, cut.length)).toThrow(PeerError);
      expect(name).not.toBe("");
    }
  });

  test("the borders of a string are offsets, not the ends of the memory", () => {
    const bytes = hex('ff ff "abc" c3 a9 ff 00');
    expect(decodeUtf8(bytes, 2, 7)).toBe("abc\u00e9");
    expect(decodeUtf8(bytes, 3, 5)).toBe("bc");
    expect(decodeUtf8(bytes, 2, 2)).toBe("");
    expect(decodeUtf8(bytes, 9, 9)).toBe("");
  });

  test("decoding and checking agree with each other and with the platform on any bytes", () => {
    const run = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.constantFrom(...BORDERS, 0xbd, 0x00), { maxLength: 12 }).map((bytes) => Uint8Array.from(bytes)),
    );
    fc.assert(
      fc.property(run, fc.string({ unit: "binary", maxLength: 20 }), (noise, text) => {
        const bytes = concatenate(platformEncoder.encode(text), noise);
        const statement = complaint(bytes);
        if (statement === undefined) {
          expect(decodeUtf8(bytes, 0, bytes.length)).toBe(platform.decode(bytes));
        } else {
          expect(() => decodeUtf8(bytes, 0, bytes.length)).toThrow(PeerError);
          expect(bytes.includes(0) || platform.decode(bytes).includes("\u{fffd}")).toBe(true);
        }
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });
});

describe("both ways", () => {
  test("[MQTT-1.5.4-1] every code point that may stand in a string goes out and comes back as the platform has it", () => {
    const block = 0x400;
    for (let from = 1; from <= 0x10ffff; from += block) {
      const points = Array.from({ length: block }, (_, index) => from + index);
      const text = points
        .filter((point) => point <= 0x10ffff && (point < 0xd800 || point > 0xdfff))
        .map((point) => String.fromCodePoint(point))
        .join("");
      const bytes = encodeUtf8(text);
      expect(Buffer.compare(bytes, platformEncoder.encode(text))).toBe(0);
      expect(utf8Length(text)).toBe(bytes.length);
      expect(decodeUtf8(bytes, 0, bytes.length) === text).toBe(true);
    }
  });

  test("strings of every length around the steps of the decoder", () => {
    for (const unit of ["a", "\u00e9", "\u6f22", "\u{1f600}"]) {
      for (const length of [0, 1, 7, 8, 9, 15, 16, 17, 63, 4095, 4096, 4097, 8191, 8192, 8193, 16_383]) {
        for (const text of [unit.repeat(length), `a${unit.repeat(length)}`, `${unit.repeat(length)}z`]) {
          const bytes = encodeUtf8(text);
          expect(decodeUtf8(bytes, 0, bytes.length) === text).toBe(true);
        }
      }
    }
  });
});

describe("encoding", () => {
  test("[MQTT-1.5.4-1] a lone surrogate cannot be written", () => {
    for (const text of ["\ud800", "a\udfff", "\ud800a", "\udc00\ud800", "\ud83d\ud83d\ude00", "abc\udbff"]) {
      expect(() => encodeUtf8(text)).toThrow(RangeError);
      expect(() => new Writer().string(text)).toThrow(RangeError);
    }
  });

  test("[MQTT-1.5.4-2] U+0000 cannot be written", () => {
    for (const text of ["\0", "a\0b", "\u{1f600}\0"]) {
      expect(() => new Writer().string(text)).toThrow(RangeError);
    }
  });

  test("encoding begins where it is told and says where it ended", () => {
    const bytes: Uint8Array = new Uint8Array(8).fill(0xff);
    expect(encodeUtf8Into("\u00e9a", bytes, 2)).toBe(5);
    expect(bytes).toEqual(hex('ff ff c3 a9 "a" ff ff ff'));
  });

  test("[MQTT-4.7.3-3] a string of 65535 bytes can be written and read, one of 65536 cannot be written", () => {
    for (const [unit, size] of [
      ["a", 1],
      ["\u00e9", 2],
      ["\u6f22", 3],
      ["\u{1f600}", 4],
    ] as const) {
      const most = unit.repeat(Math.floor(65_535 / size)) + "a".repeat(65_535 % size);
      const writer = new Writer();
      writer.string(most);
      expect(writer.length).toBe(65_537);
      expect(new Reader(writer.view()).string() === most).toBe(true);
      expect(() => new Writer().string(`${most}a`)).toThrow(RangeError);
    }
  });
});

/** The strings of packets, by what their rows are called. */
const FIELDS_FROM_311: readonly (readonly [field: string, found: RegExp])[] = [
  ["Client Identifier", /^v[45] connect: .* in the Client Identifier$/],
  ["Will Topic", /^v[45] connect: .* in the Will Topic$/],
  ["User Name", /^v[45] connect: .* in the user name$/],
  ["Topic Name", /^v[45] publish: .* in the Topic Name$/],
  ["Topic Filter of SUBSCRIBE", /^v[45] subscribe: .* in the Topic Filter$/],
  ["Topic Filter of UNSUBSCRIBE", /^v[45] unsubscribe: .* in the Topic Filter$/],
];
const FIELDS_OF_5: readonly (readonly [field: string, found: RegExp])[] = [
  ["Reason String", /^v5 \w+: .* in reasonString$/],
  ["Response Topic", /^v5 .*: .* in responseTopic$/],
  ["Content Type", /^v5 .*: .* in contentType$/],
  ["Authentication Method", /^v5 .*: .* in authenticationMethod$/],
  ["Assigned Client Identifier", /^v5 .*: .* in assignedClientIdentifier$/],
  ["Response Information", /^v5 .*: .* in responseInformation$/],
  ["Server Reference", /^v5 .*: .* in serverReference$/],
];

describe("strings in packets", () => {
  /** Expects the rows of this name and statement to be malformed, and at least `rowsMin` of them at each level. */
  function expectMalformed(found: RegExp, statement: string, levels: readonly number[], rowsMin: number): void {
    const rows = REFUSED_ROWS.filter((row) => row.statement === statement && found.test(row.name));
    for (const level of levels)
      expect(rows.filter((row) => row.level === level).length).toBeGreaterThanOrEqual(rowsMin);
    for (const { bytes, level } of rows) {
      expect(decodeOutcome(bytes, level)).toMatchObject({ reasonCode: 0x81, statement });
    }
  }

  test.each(FIELDS_FROM_311)("[MQTT-1.5.4-1] [MQTT311-1.5.3-1] %s: ill-formed UTF-8 is malformed", (_, found) => {
    expectMalformed(found, "MQTT-1.5.4-1", [4, 5], 15);
  });

  test.each(FIELDS_FROM_311)("[MQTT-1.5.4-2] [MQTT311-1.5.3-2] %s: U+0000 is malformed", (_, found) => {
    expectMalformed(found, "MQTT-1.5.4-2", [4, 5], 2);
  });

  test.each(FIELDS_OF_5)("[MQTT-1.5.4-1] %s: ill-formed UTF-8 is malformed", (_, found) => {
    expectMalformed(found, "MQTT-1.5.4-1", [5], 15);
  });

  test.each(FIELDS_OF_5)("[MQTT-1.5.4-2] %s: U+0000 is malformed", (_, found) => {
    expectMalformed(found, "MQTT-1.5.4-2", [5], 2);
  });

  test.each(["name", "value"])("[MQTT-1.5.7-1] the %s of a User Property is held to the rules of strings", (part) => {
    const found = new RegExp(`^v5 .*: .* in the ${part} of a User Property$`);
    // Fourteen property lists may carry one.
    expectMalformed(found, "MQTT-1.5.4-1", [5], 14 * 15);
    expectMalformed(found, "MQTT-1.5.4-2", [5], 14 * 2);
  });
});
