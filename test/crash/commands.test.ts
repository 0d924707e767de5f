/**
 * The two commands as they are typed, with the double as the broker: they pass one that keeps its promise, and fail one that does not.
 *
 * What the broker of this repository does under them is crash.test.ts.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startLineProcess } from "../support/line-process.ts";

const TEST_TIMEOUT_MS = 60_000;
const DOUBLE = join(import.meta.dir, "double-process.ts");
const mayTrace = Bun.spawnSync(["sh", "-c", "strace -f -yy -o /dev/null true"]).exitCode === 0;

interface Ended {
  readonly code: number;
  readonly said: string;
}

async function typed(program: string, ...args: readonly string[]): Promise<Ended> {
  const child = startLineProcess([process.execPath, join(import.meta.dir, program), ...args]);
  const code = await child.exited;
  const said = [...child.lines, child.stderr()].join("\n");
  const kept = / kept in (\S+)/u.exec(said)?.[1];
  if (kept !== undefined) rmSync(kept, { recursive: true, force: true });
  return { code, said };
}

describe("test:crash", () => {
  const few = [
    "--program",
    DOUBLE,
    "--kills",
    "3",
    "--seconds-between",
    "0.05-0.2",
    "--publishers",
    "2",
    "--seed",
    "1",
  ];

  test.concurrent(
    "passes a broker that keeps its state, and leaves nothing behind",
    async () => {
      const { code, said } = await typed("run.ts", ...few);
      expect(said).toContain("seed 1, 4 kills, ");
      expect(said).toContain("kept: nothing that was acknowledged was lost");
      expect(existsSync(/(\S*rqtt-crash-\S+)/u.exec(said)![1]!)).toBe(false);
      expect(code).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  test.concurrent.each([
    ["--store", "memory"],
    ["--durability", "memory"],
  ])(
    "fails a broker with %s %s, and says where the journal is",
    async (flag, value) => {
      const { code, said } = await typed("run.ts", ...few, flag, value);
      expect(said).toMatch(/^ *[1-9]\d* {2}acknowledged messages that did not arrive$/mu);
      expect(said).toMatch(/^ *[1-9]\d* {2}sessions that should have been present/mu);
      expect(said).toMatch(/^journal and store are kept in \S+/mu);
      expect(code).toBe(1);
    },
    TEST_TIMEOUT_MS,
  );

  test.concurrent(
    "passes a broker without state on disk when only connections are cut",
    async () => {
      const { code, said } = await typed("run.ts", ...few, "--store", "memory", "--cut-connections");
      expect(said).toContain("kept: nothing that was acknowledged was lost");
      expect(code).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  test.concurrent(
    "fails a broker that ends by itself",
    async () => {
      const { code, said } = await typed("run.ts", ...few, "--program", join(import.meta.dir, "elapsed.ts"));
      expect(said).toContain("1  times that the broker ended by itself");
      expect(code).toBe(1);
    },
    TEST_TIMEOUT_MS,
  );

  test.concurrent.each([
    [["--kills", "many"], "--kills many: expected a whole number from 1 to 1000000"],
    [["--qos", "3"], "--qos 3: expected 1, 2, both"],
    [["--seconds-between", "2-1"], "--seconds-between 2-1: expected two numbers, as in 0.2-1.5"],
    [["--durability", "some"], "--durability some: expected fsync, written, memory"],
    [["--program", "no-such-file"], "--program no-such-file: there is no such file"],
  ])(
    "refuses %p",
    async (args, complaint) => {
      const { code, said } = await typed("run.ts", ...args);
      expect(said).toContain(`${complaint}\nusage: bun run test:crash`);
      expect(code).toBe(2);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("test:power", () => {
  const few = ["--program", DOUBLE, "--messages", "5", "--cuts", "1"];

  test.skipIf(!mayTrace).concurrent(
    "passes a broker that syncs first",
    async () => {
      const { code, said } = await typed("power-loss.ts", ...few);
      expect(said).toMatch(/^left after their sync: (\d+) of \1 packets$/mu);
      expect(said).toMatch(/^losses of power: 3, with [1-9]\d* acknowledged messages to be found; 0 complaints$/mu);
      expect(code).toBe(0);
    },
    TEST_TIMEOUT_MS,
  );

  test.skipIf(!mayTrace).concurrent.each(["late", "written"])(
    "fails a broker that syncs %s",
    async (durability) => {
      const { code, said } = await typed("power-loss.ts", ...few, "--durability", durability);
      expect(said).toMatch(/^left after their sync: 0 of [1-9]\d* packets$/mu);
      expect(said).toContain("  TOO EARLY  PUBACK: written at line ");
      expect(code).toBe(1);
    },
    TEST_TIMEOUT_MS,
  );

  test.concurrent(
    "refuses what it cannot do",
    async () => {
      const { code, said } = await typed("power-loss.ts", "--messages", "4");
      expect(said).toContain("--messages 4: expected a number from 5 to 5000\nusage: bun run test:power");
      expect(code).toBe(2);
    },
    TEST_TIMEOUT_MS,
  );
});
