/**
 * The crash test as a command: the real broker, killed and started again under load, and judged by what it had acknowledged.
 *
 * Exit codes: 0 the promise was kept, 1 it was not, or the broker failed, 2 for a wrong argument.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { BrokerProcess, RQTT_MAIN } from "./broker-under-test.ts";
import { runCampaign } from "./campaign.ts";
import { CutConnections } from "./cut-connections.ts";
import type { QosChoice } from "./plan.ts";
import { isKept, reportText } from "./report.ts";

const USAGE = `usage: bun run test:crash [--kills N] [--qos 1|2|both] [--seed S] [--durability fsync|written|memory]
       [--seconds-between A-B] [--store memory] [--rate MESSAGES_PER_SECOND] [--publishers N] [--program FILE] [--keep]
       [--stop-at-fault] [--cut-connections]`;

interface Arguments {
  readonly kills: number;
  readonly qos: QosChoice;
  readonly seed: number;
  readonly durability: string | null;
  readonly betweenMs: readonly [number, number];
  readonly store: string | null;
  readonly rate: number;
  readonly publishers: number;
  readonly main: string;
  readonly keep: boolean;
  readonly stopAtFault: boolean;
  /** Instead of kills. */
  readonly cutConnections: boolean;
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/u.test(text) || value < min || value > max)
    throw new Error(`--${name} ${text}: expected a whole number from ${min} to ${max}`);
  return value;
}

function choice<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((known) => known === text);
  if (found === undefined) throw new Error(`--${name} ${text}: expected ${choices.join(", ")}`);
  return found;
}

function secondsBetween(text: string): readonly [number, number] {
  const [, least = "", most = least] = /^(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?$/u.exec(text) ?? [];
  if (least === "" || Number(most) < Number(least))
    throw new Error(`--seconds-between ${text}: expected two numbers, as in 0.2-1.5`);
  return [Math.round(Number(least) * 1000), Math.round(Number(most) * 1000)];
}

function readArguments(): Arguments {
  const text = (fallback: string) => ({ type: "string", default: fallback }) as const;
  const { values } = parseArgs({
    options: {
      kills: text("20"),
      qos: text("both"),
      seed: text(`${Math.floor(Math.random() * 1_000_000)}`),
      durability: { type: "string" },
      "seconds-between": text("0.2-1.5"),
      store: { type: "string" },
      rate: text("1500"),
      publishers: text("4"),
      program: text(RQTT_MAIN),
      keep: { type: "boolean", default: false },
      "cut-connections": { type: "boolean", default: false },
      "stop-at-fault": { type: "boolean", default: false },
    },
  });
  const main = resolve(values.program);
  if (!existsSync(main)) throw new Error(`--program ${values.program}: there is no such file`);
  return {
    kills: whole("kills", values.kills, 1, 1_000_000),
    qos: choice("qos", values.qos, ["1", "2", "both"]),
    seed: whole("seed", values.seed, 0, 2 ** 31 - 1),
    durability:
      values.durability === undefined ? null : choice("durability", values.durability, ["fsync", "written", "memory"]),
    betweenMs: secondsBetween(values["seconds-between"]),
    store: values.store === undefined ? null : choice("store", values.store, ["memory"]),
    rate: whole("rate", values.rate, 1, 1_000_000),
    publishers: whole("publishers", values.publishers, 1, 100),
    main,
    keep: values.keep,
    stopAtFault: values["stop-at-fault"],
    cutConnections: values["cut-connections"],
  };
}

async function main(): Promise<number> {
  let given: Arguments;
  try {
    given = readArguments();
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), "rqtt-crash-"));
  const store = given.store ?? join(folder, "store");
  const broker = new BrokerProcess({ main: given.main, store, durability: given.durability, folder });
  const relay = given.cutConnections ? new CutConnections(broker) : null;
  console.log(`seed ${given.seed}, broker on port ${broker.port}, ${folder}`);
  let isWell = false;
  try {
    const outcome = await runCampaign(
      {
        ...given,
        quietMs: 2000,
        patienceMs: 150,
        startMs: given.cutConnections ? 0 : 300,
        journalPath: join(folder, "journal.txt.gz"),
        isEnough: ({ faults }) => given.stopAtFault && faults.size > 0,
        progress: (text) => console.log(text),
      },
      relay ?? broker,
    );
    isWell = isKept(outcome);
    console.log(reportText(outcome, given.seed));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
  } finally {
    await relay?.end();
  }
  if (isWell && !given.keep) rmSync(folder, { recursive: true, force: true });
  else console.log(`journal and store are kept in ${folder} (zcat journal.txt.gz)`);
  return isWell ? 0 : 1;
}

process.exitCode = await main();
