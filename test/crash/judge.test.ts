/** The judge is judged: a broker that keeps its promise is let off, and each way of breaking it is found under its name. */
import { describe, expect, test } from "bun:test";
import { type CampaignOptions, type Outcome, runCampaign } from "./campaign.ts";
import { PLANNED_FAULTS, type PlannedFault } from "./double-faults.ts";
import { DoubleServer } from "./double-server.ts";
import type { QosChoice } from "./plan.ts";
import { isKept, reportText } from "./report.ts";

const TEST_TIMEOUT_MS = 30_000;

/** What is lost is found at the end; everything else as it happens, and then the run has shown what it has to. */
const KILLS = 5;
const KILLS_MAX = 100;

function judge(fault: PlannedFault | null, qos: QosChoice = "both"): Promise<Outcome> {
  const found = fault?.found ?? [];
  const options: CampaignOptions = {
    kills: fault === null || found.includes("lost") ? KILLS : KILLS_MAX,
    isEnough: ({ faults }) => found.some((name) => faults.has(name)),
    qos,
    seed: 1,
    betweenMs: [60, 140],
    rate: 3000,
    publishers: 2,
    quietMs: 100,
    patienceMs: 20,
    startMs: 0,
    journalPath: null,
    progress: () => {},
  };
  const double = new DoubleServer(fault);
  return runCampaign(options, double).finally(() => double.close());
}

/** With it a failure says what the judge found. */
function faultsOf(outcome: Outcome): string {
  return [...outcome.journal.faults]
    .map(([fault, { count, examples }]) => `${fault} ${count}: ${examples[0]}`)
    .join("\n");
}

describe("a broker that keeps its promise", () => {
  test.concurrent.each(["1", "2", "both"] as const)(
    "is let off, QoS %s",
    async (qos) => {
      const outcome = await judge(null, qos);
      expect(faultsOf(outcome)).toBe("");
      expect(isKept(outcome)).toBe(true);
      expect(outcome.kills).toBe(KILLS + 1);
      expect(outcome.journal.ackedCount).toBe(outcome.journal.sentCount);
      expect(reportText(outcome, 1)).toEndWith("kept: nothing that was acknowledged was lost, doubled or mixed up");
    },
    TEST_TIMEOUT_MS,
  );
});

describe("a broker of which", () => {
  test.concurrent.each(PLANNED_FAULTS.map((fault) => [fault.name, fault] as const))(
    "%s",
    async (_, fault) => {
      const outcome = await judge(fault);
      expect(faultsOf(outcome)).toMatch(new RegExp(`^(?:${fault.found.join("|")}) `, "mu"));
      expect(isKept(outcome)).toBe(false);
      expect(reportText(outcome, 1)).toContain("BROKEN");
    },
    TEST_TIMEOUT_MS,
  );
});
