/**
 * The engine on disk does what the reference engine does: random records, several batches to a call, with idle work and with
 * the file closed and opened again in between.
 */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { SqliteEngine } from "../../src/bun/store/sqlite-engine.ts";
import { auditStore } from "../../src/bun/store/store-audit.ts";
import { MemoryEngine } from "../../src/core/store/memory-engine.ts";
import { RecordScript, randomCalls } from "../support/random-records.ts";
import { snapshot } from "../support/store-snapshot.ts";

const RUNS = Number(process.env["RQTT_TEST_RUNS"] ?? 300);

/** What happens between two calls. */
const between = fc.array(fc.constantFrom("nothing", "nothing", "nothing", "idle", "open again"), { maxLength: 12 });

/** Random ones, and those that found something once. */
const SEEDS = [null, 2_110_861_229, -1_420_807_369];

test.each(SEEDS)(
  "applying batches together leaves what applying their records one by one leaves: seed %p",
  (seed) => {
    // Nothing here is about syncing: memory does, where there is some that looks like a disk.
    const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "rqtt-store-"));
    let [run, wallMs] = [0, 0];
    const options = { wallMs: () => wallMs, sweepRowsMax: 2 };
    const property = fc.property(randomCalls, between, (calls, breaks) => {
      const home = join(folder, `${++run}`);
      mkdirSync(home);
      const path = join(home, "store.db");
      const script = new RecordScript();
      const reference = new MemoryEngine(options);
      let engine = new SqliteEngine(path, options);
      try {
        for (const [at, call] of calls.entries()) {
          wallMs += 11;
          const batches = call.map((steps) => script.batch(steps));
          for (const batch of batches) reference.apply([batch], "fsync");
          engine.apply(batches, at % 3 === 0 ? "written" : "fsync");
          if (breaks[at] === "idle") engine.idle();
          if (breaks[at] === "open again") {
            engine.close();
            engine = new SqliteEngine(path, options);
          }
          expect(snapshot(engine)).toEqual(snapshot(reference));
        }
        while (engine.idle());
        expect(snapshot(engine)).toEqual(snapshot(reference));
        expect(auditStore(home).problems).toEqual([]);
        expect(engine.dropped).toEqual({ queued: 0, retained: 0, wills: 0, inbound: 0 });
      } finally {
        engine.close();
      }
    });
    try {
      fc.assert(property, { numRuns: RUNS, ...(seed === null ? {} : { seed }) });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
