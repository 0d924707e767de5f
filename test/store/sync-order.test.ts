/**
 * The order of system calls: no acknowledgement is said before the WAL was synced behind the message that it acknowledges.
 * strace watches a process that writes; killing one cannot tell what is synced from what is only written.
 */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLineProcess } from "../support/line-process.ts";
import { ROOT } from "../support/repository.ts";

const WRITER = join(ROOT, "test", "support", "store-writer.ts");
const MESSAGES = 120;
const mayTrace = Bun.which("strace") !== null && Bun.spawnSync(["strace", "-o", "/dev/null", "true"]).success;
if (!mayTrace) console.warn("no strace, or no right to use it: the order of system calls is not looked at");

describe.skipIf(!mayTrace)("every acknowledgement", () => {
  test('comes behind the sync of its message, with "fsync"', async () => {
    const { acked, early } = await trace("fsync", "20");
    expect(acked).toBe(MESSAGES);
    expect(early).toEqual([]);
  }, 60_000);

  test('comes too early for that with "written": the trace can tell', async () => {
    const { acked, early } = await trace("written", "1");
    expect(acked).toBe(MESSAGES);
    expect(early.length).toBeGreaterThan(MESSAGES / 2);
  }, 60_000);
});

/** Runs the writer, and answers the acknowledgements whose messages were not synced yet. */
async function trace(durability: string, window: string): Promise<{ acked: number; early: number[] }> {
  const home = mkdtempSync(join(tmpdir(), "rqtt-trace-"));
  try {
    const log = join(home, "calls");
    const strace = ["strace", "-f", "-y", "-s", "10000", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o", log];
    const writer = [process.execPath, WRITER, join(home, "data"), durability, window, `${MESSAGES}`];
    expect(await startLineProcess([...strace, ...writer]).exited).toBe(0);
    return earlyAcks(readFileSync(log, "latin1"));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

function earlyAcks(log: string): { acked: number; early: number[] } {
  /** Messages in the WAL by how far they are: written, then being synced by a thread, then synced. */
  const written = new Set<number>();
  const syncing = new Map<string, number[]>();
  const synced = new Set<number>();
  const early: number[] = [];
  let acked = 0;
  const finished = (thread: string): void => {
    for (const message of syncing.get(thread) ?? []) synced.add(message);
    syncing.delete(thread);
  };
  for (const line of log.split("\n")) {
    const thread = /^\d+/u.exec(line)?.[0] ?? "";
    if (/ pwrite64\(\d+<[^>]*store\.db-wal>/u.test(line)) {
      for (const [, message] of line.matchAll(/message (\d+);/gu))
        if (!synced.has(Number(message))) written.add(Number(message));
    } else if (/ f(?:data)?sync\(\d+<[^>]*store\.db-wal>/u.test(line)) {
      syncing.set(thread, [...written]);
      if (line.includes(" = 0")) finished(thread);
    } else if (/<\.\.\. f(?:data)?sync resumed>.* = 0/u.test(line)) finished(thread);
    else if (/ write\(1<[^>]*>, "acked /u.test(line)) {
      for (const [, message] of line.matchAll(/acked (\d+)/gu)) {
        for (; acked < Number(message); acked++) if (!synced.has(acked + 1)) early.push(acked + 1);
      }
    }
  }
  return { acked, early };
}
