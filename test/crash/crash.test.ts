/**
 * The broker of this repository, killed and started again under load: nothing that it acknowledged may be lost, doubled or mixed up.
 *
 * Waits for a broker that keeps its state: while `--store FOLDER` is refused as not yet possible, there is nothing to judge.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLineProcess } from "../support/line-process.ts";
import { BrokerProcess, type BrokerProgram, brokerCommand, brokerEnvironment, RQTT_MAIN } from "./broker-under-test.ts";
import { runCampaign } from "./campaign.ts";
import { POINTS } from "./kill-points.ts";
import { isKept, reportText } from "./report.ts";

const TEST_TIMEOUT_MS = 120_000;
const KILLS = 20;
const MISTAKE_IN_CONFIGURATION = 2;

function programIn(folder: string): BrokerProgram {
  return { main: RQTT_MAIN, store: join(folder, "store"), durability: null, folder };
}

async function keepsState(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "rqtt-crash-"));
  const child = startLineProcess(brokerCommand(programIn(folder), 0), { cwd: folder, env: brokerEnvironment() });
  try {
    await child.line((line) => line.startsWith("rqtt ready"));
    return true;
  } catch {
    // Any other failure is one that the test below has to show.
    return !((await child.exited) === MISTAKE_IN_CONFIGURATION && child.stderr().startsWith("rqtt: store: "));
  } finally {
    child.signal("SIGKILL");
    await child.exited;
    rmSync(folder, { recursive: true, force: true });
  }
}

test.skipIf(!(await keepsState()))(
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
