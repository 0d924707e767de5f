/**
 * The broker of this repository, killed and started again under load: nothing that it acknowledged may be lost, doubled or mixed up.
 * Nor may an acknowledgement leave before it is on disk, which kills cannot show and a trace of system calls can.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLineProcess } from "../support/line-process.ts";
import { BrokerProcess, type BrokerProgram, RQTT_MAIN } from "./broker-under-test.ts";
import { runCampaign } from "./campaign.ts";
import { POINTS } from "./kill-points.ts";
import { isKept, reportText } from "./report.ts";

const TEST_TIMEOUT_MS = 120_000;
const KILLS = 20;

function programIn(folder: string): BrokerProgram {
  return { main: RQTT_MAIN, store: join(folder, "store"), durability: null, folder };
}

test(
  `${KILLS} kills under load at QoS 1 and 2`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "rqtt-crash-"));
    const seed = Math.floor(Math.random() * 1_000_000);
    const outcome = await runCampaign(
      {
        kills: KILLS,
        qos: "both",
        seed,
        betweenMs: [100, 500],
        rate: 1000,
        publishers: 4,
        quietMs: 1500,
        patienceMs: 100,
        startMs: 200,
        journalPath: join(folder, "journal.txt.gz"),
        isEnough: () => false,
        progress: () => {},
      },
      new BrokerProcess(programIn(folder)),
    );
    if (!isKept(outcome)) throw new Error(`${reportText(outcome, seed)}\njournal and store are kept in ${folder}`);
    expect(outcome.journal.ackedCount).toBe(outcome.journal.sentCount);
    // Kills have found every step of both handshakes, both ways.
    const exchanged = POINTS.filter((point) => point.startsWith("publisher") || point.startsWith("subscriber"));
    expect(exchanged.filter((point) => outcome.points.hits.get(point)!.exchanges === 0)).toEqual([]);
    rmSync(folder, { recursive: true, force: true });
  },
  TEST_TIMEOUT_MS,
);

const mayTrace = Bun.spawnSync(["sh", "-c", "strace -f -yy -o /dev/null true"]).exitCode === 0;

test.skipIf(!mayTrace)(
  "no acknowledgement leaves before its sync, and what a loss of power leaves has everything that was acknowledged",
  async () => {
    const child = startLineProcess([process.execPath, join(import.meta.dir, "power-loss.ts"), "--messages", "12"]);
    const code = await child.exited;
    expect(child.lines.join("\n")).toMatch(
      /^losses of power: \d+, with [1-9]\d* acknowledged messages to be found; 0 complaints$/mu,
    );
    expect(child.lines.at(-1)).toBe("kept: nothing was acknowledged before it was on disk");
    expect(code).toBe(0);
  },
  TEST_TIMEOUT_MS,
);
