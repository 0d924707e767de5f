/** The outcome of a run as text, and whether the broker kept its promise. */
import type { Outcome } from "./campaign.ts";
import { FAULTS, type Fault } from "./journal.ts";
import { POINTS } from "./kill-points.ts";

/** A run in which next to nothing happened has shown nothing. */
export function isKept({ journal }: Outcome): boolean {
  return journal.faults.size === 0 && journal.ackedCount > 0 && journal.arrivedCount > 0;
}

export function reportText(outcome: Outcome, seed: number): string {
  const { journal, kills, killsAtStart, restartsMs, retainedLooks, durationMs } = outcome;
  const lines = [
    "",
    `seed ${seed}, ${kills} kills, ${killsAtStart} more at start, ${(durationMs / 1000).toFixed(1)} s`,
    `messages: ${journal.sentCount} sent, ${journal.ackedCount} acknowledged, ${journal.arrivedCount} received`,
    `received again: ${journal.repeatedCount} at QoS 1; ${journal.resentCount} at QoS 2 under their open identifier, ${journal.resentWithoutDupCount} of these without DUP`,
    `retained messages: ${retainedLooks} newcomers looked at all of them`,
    `restart, ms: ${spread(restartsMs)}`,
    "",
    ...pointLines(outcome),
    "",
    ...(Object.keys(FAULTS) as Fault[]).flatMap((fault) => faultLines(outcome, fault)),
    "",
    isKept(outcome) ? "kept: nothing that was acknowledged was lost, doubled or mixed up" : brokenText(outcome),
  ];
  return lines.join("\n");
}

function brokenText({ journal }: Outcome): string {
  return journal.faults.size > 0 ? `BROKEN: ${journal.faultCount} faults` : "BROKEN: no message came through";
}

function faultLines({ journal }: Outcome, fault: Fault): string[] {
  const found = journal.faults.get(fault);
  const lines = [`${`${found?.count ?? 0}`.padStart(8)}  ${FAULTS[fault]}`];
  return found === undefined ? lines : [...lines, ...found.examples.map((example) => `            ${example}`)];
}

function pointLines({ points, kills }: Outcome): string[] {
  const lines = [`last packet that had passed    kills of ${`${kills}`.padStart(4)}   exchanges   killed at it`];
  for (const point of POINTS) {
    const { kills: hitKills, exchanges, armed } = points.hits.get(point)!;
    lines.push(
      `  ${point.padEnd(30)}${`${hitKills}`.padStart(11)}${`${exchanges}`.padStart(12)}${`${armed}`.padStart(15)}`,
    );
  }
  return lines;
}

function spread(values: readonly number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return "none";
  const at = (share: number): string => sorted[Math.round(share * (sorted.length - 1))]!.toFixed(0);
  return `min ${at(0)}, median ${at(0.5)}, max ${at(1)} (${sorted.length} starts)`;
}
