/**
 * The broker's clock goes on from its store's: in a process of its own for each case, since the clock is the process's.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { ROOT } from "../support/repository.ts";

const TURN = join(ROOT, "src", "bun", "turn.ts");
const DAY_MS = 86_400_000;

/** How far the broker's clock is ahead of the wall clock after it went on from a store's, in milliseconds. */
async function aheadAfter(brokerAheadMs: number, wallAgoMs: number): Promise<number> {
  const script = `
    const { continueClock, nowMs } = await import(${JSON.stringify(TURN)});
    const wallMs = Date.now();
    continueClock({ brokerMs: wallMs + ${brokerAheadMs}, wallMs: wallMs - ${wallAgoMs} });
    console.log(nowMs() - Date.now());
  `;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  const [text] = await Promise.all([child.stdout.text(), child.exited]);
  return Number(text);
}

test.each([
  ["nothing was set: it is the wall clock", -5_000, 5_000, 0],
  ["the wall clock was set back by a day while the broker ran", DAY_MS, 0, DAY_MS],
  ["the wall clock was set forward by a day while the broker ran", -DAY_MS, 0, -DAY_MS],
  ["the wall clock was set back while nothing ran: no time has passed", 0, -DAY_MS, 0],
  [
    "an hour has passed since the store was written, by a clock that had been set",
    -DAY_MS,
    3_600_000,
    3_600_000 - DAY_MS,
  ],
])("%s", async (_name, brokerAheadMs, wallAgoMs, expected) => {
  const ahead = await aheadAfter(brokerAheadMs, wallAgoMs);
  // Less than what counts as a step.
  expect(Math.abs(ahead - expected)).toBeLessThan(1_000);
});
