/**
 * Hashes of levels: whatever the seed, names as they are given to devices spread over a table as random numbers would.
 */
import { describe, expect, test } from "bun:test";
import { Branch, findLiteral, insertLiteral } from "../../src/core/router/branch.ts";
import { FilterEntry } from "../../src/core/router/filter-entry.ts";
import { finished, LevelHash } from "../../src/core/router/level-hash.ts";
import { Random } from "../fuzz/random.ts";
import { toBytes } from "../support/world.ts";

const NAMES = 2048;

/** Ways to name devices; each is a different name for every number. */
const NAMINGS: readonly (readonly [string, (n: number) => string])[] = [
  ["counted", (n) => `${n}`],
  ["counted, of one length", (n) => `${n}`.padStart(8, "0")],
  ["counted behind a prefix", (n) => `device-${n}`],
  ["counted before a suffix", (n) => `${n}-temperature`],
  ["counted in steps", (n) => `${n * 4096}`],
  ["hexadecimal", (n) => (0xa0b1_c200_0000 + n).toString(16)],
  ["letters", (n) => [...n.toString(16)].map((digit) => String.fromCharCode(97 + Number.parseInt(digit, 16))).join("")],
];

/** Seeds that are themselves bad multipliers for a hash of this kind: zero, few bits, one less than a power of two. */
const POOR_SEEDS = [0, 1, 2, 0x10000, 0x10001, 0x1ffff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
const random = new Random(1);
const OTHER_SEEDS = Array.from({ length: 40 }, () => random.below(0x1_0000_0000));

/** How many slots are looked at to find each of the names in a branch's table, on average and at worst. */
function probes(seed: number, naming: (n: number) => string): { average: number; most: number } {
  const hash = new LevelHash(seed);
  const branch = new Branch(0, new Uint8Array(0));
  for (let n = 0; n < NAMES; n++) {
    const entry = new FilterEntry(naming(n));
    entry.hash = hash.of(toBytes(entry.filter), 0, entry.filter.length);
    insertLiteral(branch, entry);
  }
  const table = branch.table!;
  let [sum, most] = [0, 0];
  for (const [slot, child] of table.entries()) {
    if (child === undefined) continue;
    const count = ((slot - child.hash) & (table.length - 1)) + 1;
    sum += count;
    most = Math.max(most, count);
  }
  expect(table.length).toBe(2 * NAMES);
  return { average: sum / NAMES, most };
}

describe.each(NAMINGS)("names %s", (_name, naming) => {
  // Half full and at random it would be 1.5 on average.
  test.each([...POOR_SEEDS, ...OTHER_SEEDS])("are found at once under the seed %d", (seed) => {
    const { average, most } = probes(seed, naming);
    expect(average).toBeLessThan(1.8);
    expect(most).toBeLessThan(60);
  });
});

test("no two seeds that are alike lead to the same hashes", () => {
  const bytes = toBytes("device-1");
  const hashes = POOR_SEEDS.map((seed) => new LevelHash(seed).of(bytes, 0, bytes.length));
  expect(new Set(hashes).size).toBe(POOR_SEEDS.length);
});

test("byte by byte comes to the same as all at once", () => {
  const hash = new LevelHash(5);
  const bytes = toBytes("a level");
  let running = hash.basis;
  for (const byte of bytes) running = Math.imul(running ^ byte, hash.multiplier);
  expect(finished(running)).toBe(hash.of(bytes, 0, bytes.length));
  expect(hash.of(toBytes("x/a level/y"), 2, 9)).toBe(hash.of(bytes, 0, bytes.length));
});

test("names whose hashes are equal are still told apart", () => {
  const branch = new Branch(0, new Uint8Array(0));
  const names = ["one", "two", "three"];
  const entries = names.map((name) => new FilterEntry(name));
  for (const entry of entries) {
    entry.hash = 12345;
    insertLiteral(branch, entry);
  }
  for (const [at, name] of names.entries()) {
    expect(findLiteral(branch, 0, 12345, toBytes(name), 0, name.length)).toBe(entries[at]!);
  }
  expect(findLiteral(branch, 0, 12345, toBytes("four"), 0, 4)).toBe(null);
});
