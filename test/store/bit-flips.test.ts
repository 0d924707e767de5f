/**
 * Bits that flip in the files of a store, one by one, at places that a seed chooses: what is read is right, or is missing and
 * counted, or the store is refused and says why. Never a crash, never a row that nobody wrote.
 */
import { expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { auditStore } from "../../src/bun/store/store-audit.ts";
import { StoreFault } from "../../src/bun/store/store-fault.ts";
import {
  aMessage,
  aPlace,
  aSession,
  aSubscription,
  aWill,
  batchOf,
  type Snapshot,
  snapshot,
} from "../support/store-snapshot.ts";

const SEED = Number(process.env["RQTT_TEST_SEED"] ?? 20_261_123);
const FLIPS = Number(process.env["RQTT_TEST_FLIPS"] ?? 1_000);
const WALL_MS = () => 0;

/** The same numbers for the same seed: xorshift. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** A store with a bit of everything, half of it in the file and half in the WAL, as a process leaves it that is killed. */
function leaveBehind(folder: string): Snapshot {
  const path = join(folder, "live.db");
  const engine = new SqliteEngine(path, { wallMs: WALL_MS });
  let sequence = 0;
  const fill = (first: number, last: number): void => {
    for (let session = first; session <= last; session++) {
      engine.apply(
        [
          batchOf((writer) => {
            writer.sessionPut(aSession(session));
            writer.subscriptionPut(aSubscription(session, `f/${session}/#`));
            for (const size of [5, 200, 300, 400, 800, 1_200, 1_700, 9_000]) {
              const payload = `${session} ${++sequence} ${"m".repeat(size)}`;
              writer.queuePut(
                aPlace(session, sequence, { progress: size === 5 ? 1 : 0, packetId: size === 5 ? 1 : 0 }),
                aMessage(`t/${session}`, payload),
              );
            }
            writer.messagePut(session, aMessage("shared", `shared ${session} ${"s".repeat(4_000)}`));
            for (let other = 1; other <= session; other += 3) writer.queueRef(aPlace(other, ++sequence), session);
            writer.inboundPut(session, session);
            writer.retainedPut(aMessage(`r/${session}`, `retained ${session} ${"r".repeat(session * 100)}`));
            writer.willPut(aWill(session), aMessage(`w/${session}`, `will ${session}`));
          }),
        ],
        "fsync",
      );
    }
  };
  fill(1, 9);
  engine.checkpoint();
  fill(10, 12);
  for (const end of ["", "-wal"]) copyFileSync(path + end, join(folder, `store.db${end}`));
  const whole = snapshot(engine, { pageMessages: 1000 });
  engine.close();
  return whole;
}

type Outcome = "fine" | "dropped" | "refused" | "older";

test(`${FLIPS} bits, seed ${SEED}`, () => {
  const home = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "rqtt-flips-"));
  try {
    const whole = leaveBehind(home);
    const [store, wal] = ["store.db", "store.db-wal"].map((name) => readFileSync(join(home, name)));
    const lastTransaction = lastTransactionOf(wal!);
    const random = randomNumbers(SEED);
    const outcomes: Record<Outcome, number> = { fine: 0, dropped: 0, refused: 0, older: 0 };
    const folder = join(home, "flipped");
    mkdirSync(folder);
    for (let flip = 0; flip < FLIPS; flip++) {
      const at = random(store!.length + wal!.length);
      const bit = random(8);
      const isWal = at >= store!.length;
      const file = isWal ? wal! : store!;
      const offset = isWal ? at - store!.length : at;
      file[offset]! ^= 1 << bit;
      writeFileSync(join(folder, "store.db"), store!);
      writeFileSync(join(folder, "store.db-wal"), wal!);
      rmSync(join(folder, "store.db-shm"), { force: true });
      const where = `${isWal ? "wal" : "db"} byte ${offset} bit ${bit}`;
      const outcome = outcomeOf(join(folder, "store.db"), whole, where);
      if (outcome === "older" && !(isWal && offset >= lastTransaction))
        throw new Error(`${where}: transactions are missing`);
      outcomes[outcome]++;
      file[offset]! ^= 1 << bit;
    }
    expect(outcomes.refused).toBeGreaterThan(0);
    expect(outcomes.dropped).toBeGreaterThan(0);
    expect(outcomes.fine).toBeGreaterThan(0);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}, 300_000);

/** Where the frames begin that are behind the last end of a transaction but one. */
function lastTransactionOf(wal: Buffer): number {
  const frame = 24 + 8192;
  const ends: number[] = [];
  for (let at = 32; at + frame <= wal.length; at += frame) {
    if (wal.readUInt32BE(at + 8) !== wal.readUInt32BE(16)) break;
    if (wal.readUInt32BE(at + 4) !== 0) ends.push(at + frame);
  }
  return ends.at(-2)!;
}

function outcomeOf(path: string, whole: Snapshot, where: string): Outcome {
  let engine: SqliteEngine;
  try {
    engine = new SqliteEngine(path, { wallMs: WALL_MS });
  } catch (error) {
    return refused(error, where);
  }
  try {
    const found = snapshot(engine, { pageMessages: 1000 });
    const missing = missingFrom(whole, found, where);
    const { queued, retained, wills, inbound } = engine.dropped;
    const dropped = queued + retained + wills + inbound;
    // It has to be of use, too.
    engine.apply([batchOf((writer) => writer.retainedPut(aMessage("new", "new")))], "fsync");
    while (engine.idle());
    engine.close();
    if (missing === 0 && dropped === 0) return "fine";
    if (found.sessions.length < whole.sessions.length) return "older";
    if (missing !== dropped) throw new Error(`${where}: ${missing} rows are missing, ${dropped} were counted`);
    const { problems } = auditStore(dirname(path));
    if (problems.length > 0) throw new Error(`${where}: still ${problems.join("; ")}`);
    return "dropped";
  } catch (error) {
    try {
      engine.close();
    } catch (second) {
      refused(second, where);
    }
    return refused(error, where);
  }
}

function refused(error: unknown, where: string): Outcome {
  if (error instanceof StoreFault && error.kind === "corrupt" && error.message.length > 20) return "refused";
  throw new Error(`${where}: ${String(error)}`);
}

/** How many rows are missing; a row that nobody wrote is an error. */
function missingFrom(whole: Snapshot, found: Snapshot, where: string): number {
  let missing = 0;
  for (const kind of ["sessions", "subscriptions", "inbound", "wills", "underWay", "waiting", "retained"] as const) {
    const written = new Set(whole[kind].map((row) => JSON.stringify(row)));
    for (const row of found[kind]) {
      if (!written.delete(JSON.stringify(row)))
        throw new Error(`${where}: nobody wrote ${kind} ${JSON.stringify(row).slice(0, 200)}`);
    }
    missing += written.size;
  }
  return missing;
}
