/**
 * The codec against the npm package `mqtt-packet`, byte for byte and packet for packet, over the byte table.
 *
 * Where the two differ is written down here with the reason. The lists are exact: a difference that is not listed fails,
 * and so does a listed one that is gone.
 */
import { describe, expect, test } from "bun:test";
import { decodeWithOther, encodeWithOther } from "./other-codec.ts";
import { DECODED_ROWS, ENCODED_ROWS, REFUSED_ROWS } from "./packet-table.ts";

interface Difference {
  /** Names of rows. */
  readonly rows: RegExp;
  readonly reason: string;
}

const ENCODED_OTHERWISE: readonly Difference[] = [
  {
    rows: /^v5 connect: password without a user name$/,
    reason: "MQTT 5.0 allows a password alone (3.1.2.9); the other codec asks for a user name at every level.",
  },
  {
    rows: /^v3 connack: session present, not said$/,
    reason: "MQTT 3.1 reserves the byte that MQTT 3.1.1 made Session Present; the other codec sets it at level 3 too.",
  },
  {
    rows: /^v[34] suback: every failure is 0x80$/,
    reason: "[MQTT311-3.9.3-2] allows no other failure than 0x80; the other codec writes what it is given.",
  },
  {
    rows: /^v5 (?:puback|pubrec|pubrel|pubcomp|disconnect): (?:reason code (?!0x00|and)|with Will Message$)/,
    reason:
      "The Property Length may be left off behind a reason code (3.4.2.2.1, 3.14.2.2.1); the other codec writes it.",
  },
  {
    rows: /^v5 disconnect: normal, without a body$/,
    reason: "A normal DISCONNECT needs no body (3.14.2.1); the other codec writes both bytes of it.",
  },
  {
    rows: /^v5 auth: success without a body$/,
    reason: "Success without properties needs no body (3.15.2.1); the other codec writes both bytes of it.",
  },
  {
    rows: /: User Properties keep order and repetition$/,
    reason: "The other codec keeps User Properties in an object: names that repeat move together.",
  },
];

const DECODED_OTHERWISE: readonly Difference[] = [
  {
    rows: /^v3 connect: flagged (?:user name|password) left off$/,
    reason: "MQTT 3.1 lets the Remaining Length take precedence over the flags; the other codec wants the fields.",
  },
  {
    rows: /^v3 connack: reserved byte 1$/,
    reason: "MQTT 3.1 reserves the byte that MQTT 3.1.1 made Session Present; the other codec reads it at level 3 too.",
  },
  {
    rows: /^v3 (?:pubrel|subscribe|unsubscribe): repeated with DUP$/,
    reason: "MQTT 3.1 lets clients repeat these with DUP; the other codec holds level 3 to the flags of MQTT 3.1.1.",
  },
  {
    rows: /^v5 auth: success without a body$/,
    reason: "Success without properties needs no body (3.15.2.1); the other codec wants a reason code.",
  },
  {
    rows: /: User Properties keep order and repetition$/,
    reason: "The other codec keeps User Properties in an object: names that repeat move together.",
  },
  {
    rows: /^v5 disconnect: reason code 0x8c, /,
    reason: "Section 2.4 gives 0x8C to DISCONNECT, section 3.14.2.1 does not; the other codec goes by the latter.",
  },
];

/** Rules that the other codec does not check, or not everywhere. All rules that are not here it checks in every row. */
const LEFT_OUT: readonly (readonly [statement: string, refuses: "none" | "some", reason: string])[] = [
  ["MQTT-1.5.4-1", "none", "ill-formed UTF-8 becomes replacement characters"],
  ["MQTT-1.5.4-2", "some", "U+0000 is a character like others, refused only where it makes a Protocol Name wrong"],
  ["MQTT-1.5.5-1", "some", "over-long integers are read; a row is refused where its packet is wrong in another way"],
  ["2.2.2.2", "some", "properties may stand in any packet, repeat and have any value; only unknown ones are refused"],
  ["4.13.1", "some", "a field that is cut reads as -1 or as the bytes behind it, surplus bytes are dropped"],
  ["MQTT-2.2.1-3", "none", "Packet Identifier 0 is a number like others"],
  ["MQTT-2.2.1-5", "none", "Packet Identifier 0 is a number like others"],
  ["MQTT-2.2.1-6", "none", "Packet Identifier 0 is a number like others"],
  [
    "MQTT-3.1.2-2",
    "some",
    "names and levels of MQTT 3.1 and 3.1.1 may be mixed, and bit 7 of the level marks a bridge",
  ],
  ["MQTT-3.1.2-12", "none", "Will QoS 3 is read"],
  ["MQTT311-3.1.2-22", "none", "a password without a user name is read at every level"],
  ["3.1.2.11.10", "none", "Authentication Data without a method is read"],
  ["MQTT-3.2.2-6", "none", "Session Present with a refusal is read"],
  ["MQTT-3.2.2-8", "none", "any reason code of CONNACK is read"],
  ["MQTT-3.3.1-2", "none", "DUP at QoS 0 is read"],
  ["MQTT-3.3.2-2", "none", "wildcards in a Topic Name are read"],
  ["MQTT-3.3.2-8", "none", "Topic Alias 0 is read"],
  ["MQTT-3.3.2-14", "none", "wildcards in a Response Topic are read"],
  ["MQTT-3.8.3-2", "none", "a SUBSCRIBE without a Topic Filter is read"],
  ["MQTT-3.10.3-2", "none", "an UNSUBSCRIBE without a Topic Filter is read"],
  ["MQTT-4.7.3-1", "none", "an empty Topic Name is read"],
];

/** Rows that differ without being listed, and rows that are listed without differing; listed twice counts as not listed. */
function unexpected<R extends { readonly name: string }>(
  rows: readonly R[],
  list: readonly Difference[],
  differs: (row: R) => boolean,
): { notListed: string[]; gone: string[] } {
  const notListed: string[] = [];
  const gone: string[] = [];
  for (const row of rows) {
    const listed = list.filter(({ rows: names }) => names.test(row.name)).length === 1;
    if (differs(row) === listed) continue;
    (listed ? gone : notListed).push(row.name);
  }
  return { notListed, gone };
}

const unused = <R extends { readonly name: string }>(rows: readonly R[], list: readonly Difference[]): RegExp[] =>
  list.map(({ rows: names }) => names).filter((names) => !rows.some(({ name }) => names.test(name)));

describe("mqtt-packet", () => {
  test("writes the same bytes, but for the listed differences", () => {
    const differs = ({ packet, level, bytes }: (typeof ENCODED_ROWS)[number]): boolean =>
      !Bun.deepEquals(encodeWithOther(packet, level), bytes, true);
    expect(unexpected(ENCODED_ROWS, ENCODED_OTHERWISE, differs)).toEqual({ notListed: [], gone: [] });
    expect(unused(ENCODED_ROWS, ENCODED_OTHERWISE)).toEqual([]);
  });

  test("reads the same packets, but for the listed differences", () => {
    const differs = ({ packet, level, bytes }: (typeof DECODED_ROWS)[number]): boolean =>
      !Bun.deepEquals(decodeWithOther(bytes, level), packet, true);
    expect(unexpected(DECODED_ROWS, DECODED_OTHERWISE, differs)).toEqual({ notListed: [], gone: [] });
    expect(unused(DECODED_ROWS, DECODED_OTHERWISE)).toEqual([]);
  });

  test("refuses the same bytes, but for the rules that it leaves out", () => {
    const refuses = new Map<string, Set<boolean>>();
    for (const { bytes, level, statement } of REFUSED_ROWS) {
      const seen = refuses.get(statement) ?? new Set();
      refuses.set(statement, seen.add(decodeWithOther(bytes, level) === undefined));
    }
    const leftOut = [...refuses]
      .filter(([, seen]) => seen.has(false))
      .map(([statement, seen]) => `${statement} ${seen.has(true) ? "some" : "none"}`);
    expect(leftOut.sort()).toEqual(LEFT_OUT.map(([statement, how]) => `${statement} ${how}`).sort());
  });
});
