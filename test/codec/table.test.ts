/** The codec against the byte table: decoding, encoding, refusing; and the table against what it promises to hold. */
import { describe, expect, test } from "bun:test";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { PROPERTIES, type Properties, WILL_PROPERTIES } from "../../src/core/codec/property.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { REASON_CODES } from "../../src/core/codec/reason-code-name.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { decodeBytes, decodeOutcome, encodeBytes } from "./one-packet.ts";
import { concatenate, framed, hex } from "./packet-row.ts";
import { DECODED_ROWS, ENCODED_ROWS, PACKET_ROWS, REFUSED_ROWS } from "./packet-table.ts";

/** Rows above this are left to the tests that do not try every byte of them. */
const SMALL_BYTES = 512;

const typeOf = (bytes: Uint8Array): number => bytes[0]! >> 4;
const notation = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** A value, short enough to be read in a failure. */
function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes ${notation(value)}`.slice(0, 600);
  if (value instanceof PeerError) return `0x${value.reasonCode.toString(16)} ${value.statement}: ${value.message}`;
  return Bun.inspect(value).replaceAll(/\s+/g, " ").slice(0, 600);
}

/** The rows whose result is not the expected one, with both. */
function wrongRows<R extends { readonly name: string }>(
  rows: readonly R[],
  result: (row: R) => unknown,
  expected: (row: R) => unknown,
): { name: string; got: string; expected: string }[] {
  return rows
    .map((row) => ({ name: row.name, got: result(row), expected: expected(row) }))
    .filter(({ got, expected: wanted }) => !Bun.deepEquals(got, wanted, true))
    .map(({ name, got, expected: wanted }) => ({ name, got: shown(got), expected: shown(wanted) }));
}

function refusal(bytes: Uint8Array, level: ProtocolLevel): unknown {
  const outcome = decodeOutcome(bytes, level);
  if (!(outcome instanceof PeerError)) return outcome;
  return { reasonCode: outcome.reasonCode, statement: outcome.statement };
}

describe.each(Object.entries(PacketType))("%s", (_, type) => {
  const ofType = ({ bytes }: { readonly bytes: Uint8Array }): boolean => typeOf(bytes) === type;

  test("decode", () => {
    const rows = DECODED_ROWS.filter(ofType);
    expect(
      wrongRows(
        rows,
        ({ bytes, level }) => decodeOutcome(bytes, level),
        ({ packet }) => packet,
      ),
    ).toEqual([]);
  });

  test("encode", () => {
    const rows = ENCODED_ROWS.filter(ofType);
    expect(
      wrongRows(
        rows,
        ({ packet, level }) => encodeBytes(packet, level),
        ({ bytes }) => bytes,
      ),
    ).toEqual([]);
  });

  test("refuse", () => {
    const rows = REFUSED_ROWS.filter(ofType);
    const wrong = wrongRows(
      rows,
      ({ bytes, level }) => refusal(bytes, level),
      ({ reasonCode, statement }) => ({ reasonCode, statement }),
    );
    expect(wrong).toEqual([]);
  });
});

test("type 0 is refused", () => {
  const rows = REFUSED_ROWS.filter(({ bytes }) => typeOf(bytes) === 0);
  expect(rows.length).toBeGreaterThan(0);
  for (const { bytes, level, reasonCode, statement } of rows) {
    expect(decodeOutcome(bytes, level)).toMatchObject({ reasonCode, statement });
  }
});

test("a packet is the same bytes wherever it falls in the writer's memory", () => {
  const wrong: { name: string; bytesFree: number; got: string }[] = [];
  for (const { name, bytes, level, packet } of ENCODED_ROWS) {
    if (bytes.length > SMALL_BYTES) continue;
    const expected = notation(encodeBytes(packet, level));
    for (let bytesFree = 0; bytesFree <= Math.min(bytes.length + 4, 40); bytesFree++) {
      const writer = new Writer(64 + bytesFree);
      writer.length = 64;
      encodePacket(writer, packet, level);
      const got = notation(writer.view().subarray(64));
      if (got !== expected) wrong.push({ name, bytesFree, got });
    }
  }
  expect({ count: wrong.length, first: wrong.slice(0, 10) }).toEqual({ count: 0, first: [] });
});

/** Packets whose last field is of any length, or may be left off: a shorter body may be another packet. */
const OPEN_ENDED: readonly Packet["type"][] = [
  "publish",
  "puback",
  "pubrec",
  "pubrel",
  "pubcomp",
  "subscribe",
  "suback",
  "unsubscribe",
  "unsuback",
  "disconnect",
  "auth",
];

test("a body that ends early is malformed, or the packet that its bytes say", () => {
  for (const { name, bytes, level, packet } of DECODED_ROWS) {
    if (bytes.length > SMALL_BYTES) continue;
    const body = bytes.subarray(bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1);
    for (let length = 0; length < body.length; length++) {
      const cut = framed(bytes[0]!, body.subarray(0, length));
      const outcome = decodeOutcome(cut, level);
      if (outcome instanceof PeerError) {
        expect([0x81, 0x82, 0x84]).toContain(outcome.reasonCode);
        continue;
      }
      // MQTT 3.1 lets a CONNECT end before the user name and password that it flags.
      const openEnded = OPEN_ENDED.includes(packet.type) || (level === 3 && packet.type === "connect");
      expect({ name, length, openEnded }).toEqual({ name, length, openEnded: true });
      expect(decodeBytes(encodeBytes(outcome, level), level)).toStrictEqual(outcome);
    }
  }
});

test("a body with a byte more is malformed, or a packet with a longer last field", () => {
  const mayGrow: readonly Packet["type"][] = ["publish", "suback", "unsuback"];
  for (const { name, bytes, level, packet } of DECODED_ROWS) {
    if (bytes.length > SMALL_BYTES || mayGrow.includes(packet.type)) continue;
    const body = bytes.subarray(bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1);
    const outcome = decodeOutcome(framed(bytes[0]!, body, Uint8Array.of(0xff)), level);
    expect({ name, refused: outcome instanceof PeerError }).toEqual({ name, refused: true });
  }
});

test("payload and binary properties are views of the bytes, nothing is copied", () => {
  const bytes = hex('30 0d 00 01 "t" 05 09 00 02 01 02 "data"');
  const reader = new Reader(bytes, 2, bytes.length);
  const packet = decodePacket(bytes[0]!, reader, 5);
  if (packet.type !== "publish") throw new Error("not a PUBLISH");
  expect(packet.payload.buffer).toBe(bytes.buffer);
  expect(packet.properties.correlationData!.buffer).toBe(bytes.buffer);
});

test("decoding stays within the bounds that the reader is bound to, and reads up to them", () => {
  const rows = DECODED_ROWS.filter(({ bytes }) => bytes.length <= SMALL_BYTES);
  const within = (bytes: Uint8Array, level: ProtocolLevel): unknown => {
    const bodyStart = bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1;
    const around = concatenate(new Uint8Array(7).fill(0xff), bytes, new Uint8Array(7).fill(0x01));
    const reader = new Reader(around, 7 + bodyStart, 7 + bytes.length);
    try {
      const packet = decodePacket(bytes[0]!, reader, level);
      return { packet, offset: reader.offset - 7 };
    } catch (error) {
      return error;
    }
  };
  const wrong = wrongRows(
    rows,
    ({ bytes, level }) => within(bytes, level),
    ({ bytes, packet }) => ({ packet, offset: bytes.length }),
  );
  expect(wrong).toEqual([]);
});

describe("bounds on repeated things", () => {
  const bounded = (bytes: Uint8Array, userPropertiesMax: number, filtersMax: number): Packet | PeerError => {
    const reader = new Reader(bytes, 2, bytes.length);
    reader.userPropertiesMax = userPropertiesMax;
    reader.filtersMax = filtersMax;
    try {
      return decodePacket(bytes[0]!, reader, 5);
    } catch (error) {
      if (error instanceof PeerError) return error;
      throw error;
    }
  };
  const list = "0f 26 00 00 00 00 26 00 00 00 00 26 00 00 00 00";

  test.each([
    ["connect", framed(0x10, hex(`00 04 "MQTT" 05 02 00 00 ${list} 00 00`))],
    ["Will", framed(0x10, hex(`00 04 "MQTT" 05 06 00 00 00 00 00 ${list} 00 01 "w" 00 00`))],
    ["publish", framed(0x30, hex(`00 01 "t" ${list}`))],
    ["puback", framed(0x40, hex(`00 01 00 ${list}`))],
    ["subscribe", framed(0x82, hex(`00 01 ${list} 00 01 "f" 00`))],
    ["disconnect", framed(0xe0, hex(`00 ${list}`))],
  ])("%s: as many User Properties as allowed, and one more", (_, bytes) => {
    expect(bounded(bytes, 3, 10)).not.toBeInstanceOf(PeerError);
    expect(bounded(bytes, 2, 10)).toMatchObject({ reasonCode: 0x97 });
  });

  test("the User Properties of a CONNECT and of its Will are counted apart", () => {
    const both = framed(0x10, hex(`00 04 "MQTT" 05 06 00 00 ${list} 00 00 ${list} 00 01 "w" 00 00`));
    expect(bounded(both, 3, 10)).not.toBeInstanceOf(PeerError);
  });

  test.each([
    ["subscribe", framed(0x82, hex('00 01 00 00 01 "f" 00 00 01 "g" 00'))],
    ["unsubscribe", framed(0xa2, hex('00 01 00 00 01 "f" 00 01 "g"'))],
  ])("%s: as many Topic Filters as allowed, and one more", (_, bytes) => {
    expect(bounded(bytes, 10, 2)).not.toBeInstanceOf(PeerError);
    expect(bounded(bytes, 10, 1)).toMatchObject({ reasonCode: 0x97 });
  });
});

describe("the table", () => {
  test("names every row once", () => {
    const seen = new Set<string>();
    const twice = [...PACKET_ROWS, ...REFUSED_ROWS].filter(({ name }) => seen.has(name) || !seen.add(name));
    expect(twice.map(({ name }) => name)).toEqual([]);
  });

  test("has every packet type at every level that knows it, both ways", () => {
    for (const rows of [DECODED_ROWS, ENCODED_ROWS]) {
      const have = new Set(rows.map(({ level, packet }) => `${level} ${packet.type}`));
      const want = Object.keys(PacketType).flatMap((name) =>
        [3, 4, 5].filter((level) => name !== "AUTH" || level === 5).map((level) => `${level} ${name.toLowerCase()}`),
      );
      expect([...have].sort()).toEqual(want.sort());
    }
  });

  test("has every property in every packet that may carry it", () => {
    const have = new Set<string>();
    const note = (type: number, properties: Properties) => {
      for (const name of Object.keys(properties)) have.add(`${type} ${name}`);
    };
    for (const { level, bytes, packet } of DECODED_ROWS) {
      if (level !== 5) continue;
      if ("properties" in packet) note(typeOf(bytes), packet.properties);
      if (packet.type === "connect" && packet.will !== undefined) note(WILL_PROPERTIES, packet.will.properties);
    }
    const want = PROPERTIES.flatMap(({ name, packets }) =>
      [...Array(16).keys()].filter((type) => (packets & (1 << type)) !== 0).map((type) => `${type} ${name}`),
    );
    expect([...have].sort()).toEqual(want.sort());
  });

  test("has every reason code in every packet that may carry it", () => {
    const have = new Set<string>();
    for (const { level, bytes, packet } of DECODED_ROWS) {
      if (level !== 5) continue;
      if ("reasonCode" in packet) have.add(`${typeOf(bytes)} ${packet.reasonCode}`);
      if ("reasonCodes" in packet) for (const code of packet.reasonCodes) have.add(`${typeOf(bytes)} ${code}`);
    }
    const want = REASON_CODES.flatMap(({ code, packets }) =>
      [...Array(16).keys()].filter((type) => (packets & (1 << type)) !== 0).map((type) => `${type} ${code}`),
    );
    expect([...have].sort()).toEqual(want.sort());
  });
});
