/**
 * A process that is killed while it writes: what it said was acknowledged is there for the next one, in order and whole, and
 * the folder, which nobody else got before, is free at once.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "../../src/bun/store/sqlite-store.ts";
import { StoreFault } from "../../src/bun/store/store-fault.ts";
import { startLineProcess } from "../support/line-process.ts";
import { ROOT } from "../support/repository.ts";
import { StoreClient } from "../support/store-client.ts";

const KILLS = Number(process.env["RQTT_TEST_KILLS"] ?? 6);
const WRITER = join(ROOT, "test", "support", "store-writer.ts");
/** As the writer keeps them. */
const KEPT = 130;

test(
  `${KILLS} kills`,
  async () => {
    const folder = join(mkdtempSync(join(tmpdir(), "rqtt-crash-")), "data");
    try {
      let acked = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        const durability = kill % 3 === 2 ? "written" : "fsync";
        const writer = startLineProcess([process.execPath, WRITER, folder, durability, "50"]);
        const until = acked + 1 + ((kill * 379) % 1000);
        await writer.line((line) => Number(line.slice("acked ".length)) >= until);
        expect(await refusal(folder)).toBe("locked");
        writer.signal("SIGKILL");
        expect(await writer.exited).toBe(137);
        acked = Number(writer.lines.at(-1)!.slice("acked ".length));
        acked = await lookAt(folder, acked);
      }
    } finally {
      rmSync(join(folder, ".."), { recursive: true, force: true });
    }
  },
  20_000 + KILLS * 5_000,
);

/** Why nobody else gets the folder meanwhile. */
async function refusal(folder: string): Promise<string> {
  try {
    await (await openStore({ folder, events: new StoreClient().events })).close();
    return "nothing";
  } catch (error) {
    return error instanceof StoreFault ? error.kind : String(error);
  }
}

/** Answers the last sequence that is there. */
async function lookAt(folder: string, acked: number): Promise<number> {
  const client = new StoreClient();
  const store = await openStore({ folder, events: client.events });
  const { tails, sessions } = await client.snapshot(store);
  expect(sessions).toHaveLength(1);
  const waiting = await client.untilPaged(client.page(store, 1));
  await store.close();
  const last = waiting.at(-1)!.sequence;
  expect(last).toBeGreaterThanOrEqual(acked);
  expect(tails).toMatchObject([{ count: Math.min(KEPT, last), lastSequence: last }]);
  const expected = Array.from({ length: Math.min(KEPT, last) }, (_, at) => last - Math.min(KEPT, last) + 1 + at);
  expect(waiting.map(({ sequence }) => sequence)).toEqual(expected);
  for (const { sequence, message } of waiting) {
    expect(message.payload).toBe(`message ${sequence};${"m".repeat(sequence % 400)}`);
  }
  return last;
}
