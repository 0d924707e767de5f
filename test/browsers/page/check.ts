/** What a check is, and how all of them are run: several at a time, the ones that hold up the page by themselves at the end. */
import type { CheckResult, Environment } from "../report.ts";
import { Dialogue } from "./dialogue.ts";

/** What checks have to do with. */
export interface Scene {
  readonly environment: Environment;
  /** URL of a broker: its port by name, or a number. */
  url(broker: "open" | "refusing" | "listed" | "login" | number): string;
  /** Asks the page's server for something. */
  ask(path: string, values?: Readonly<Record<string, string | number>>): Promise<Response>;
}

export interface Check {
  readonly name: string;
  readonly cites: readonly string[];
  /** Throws what is wrong; may answer a text that says what was seen. */
  readonly run: (scene: Scene) => Promise<unknown>;
  /** Runs when nothing else does. */
  readonly alone?: boolean;
}

export interface CheckGroup {
  readonly name: string;
  readonly checks: readonly Check[];
}

const LANES = 6;
const CHECK_MS_MAX = 12_000;
/** What has not begun by then fails, so that there is a report even where every wait is in vain. */
const RUN_MS_MAX = 40_000;

export function expectEqual(found: unknown, expected: unknown, what: string): void {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: found ${left}, expected ${right}`);
}

export function expectTrue(is: boolean, what: string): void {
  if (!is) throw new Error(what);
}

/**
 * The connection ends with this close code. Whether the browser calls that clean depends on whether its own half of the closing
 * handshake was on its way before the server's end of the TCP connection reached it: told, and not judged.
 */
export async function expectEnd(dialogue: Dialogue, closeCode: number): Promise<string> {
  const { code, wasClean } = await dialogue.end();
  expectEqual(code, closeCode, "close code");
  return wasClean ? "" : "wasClean is false";
}

/** The connection ends with DISCONNECT of this reason and the close code that says the same. */
export async function expectDisconnect(dialogue: Dialogue, reasonCode: number): Promise<string> {
  const packet = await dialogue.take("disconnect");
  expectEqual(packet.reasonCode, reasonCode, "reason code of DISCONNECT");
  return expectEnd(dialogue, 4000 + reasonCode);
}

/** The handshake fails: no page learns more about it than that. */
export async function expectRefused(url: string, protocols: string | string[] | undefined): Promise<void> {
  const dialogue = new Dialogue(url, protocols);
  const { opened, code } = await dialogue.end();
  if (opened) throw new Error(`the WebSocket opened, subprotocol <${dialogue.socket.protocol}>`);
  expectEqual(code, 1006, "close code");
}

export interface RunEvents {
  started(check: Check): void;
  ended(check: Check, result: CheckResult): void;
}

export async function runChecks(
  groups: readonly CheckGroup[],
  scene: Scene,
  events: RunEvents,
): Promise<readonly CheckResult[]> {
  const results = new Map<Check, CheckResult>();
  const untilMs = performance.now() + RUN_MS_MAX;
  const all = groups.flatMap((group) => group.checks.map((check) => ({ group: group.name, check })));
  const run = async ({ group, check }: (typeof all)[number]) => {
    events.started(check);
    const result = await runOne(group, check, scene, untilMs);
    results.set(check, result);
    events.ended(check, result);
  };
  const together = all.filter(({ check }) => check.alone !== true);
  const lane = async () => {
    for (let next = together.shift(); next !== undefined; next = together.shift()) await run(next);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  for (const one of all) if (one.check.alone === true) await run(one);
  return all.map(({ check }) => results.get(check)!);
}

async function runOne(group: string, check: Check, scene: Scene, untilMs: number): Promise<CheckResult> {
  const startedMs = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${CHECK_MS_MAX / 1000} s`)), CHECK_MS_MAX);
  });
  let status: CheckResult["status"] = "passed";
  let detail = "";
  try {
    if (startedMs > untilMs) throw new Error(`not run: ${RUN_MS_MAX / 1000} s are over`);
    const seen = await Promise.race([check.run(scene), late]);
    detail = typeof seen === "string" ? seen : "";
  } catch (error) {
    status = "failed";
    detail = error instanceof Error ? error.message : String(error);
  }
  clearTimeout(timer);
  const milliseconds = Math.round(performance.now() - startedMs);
  return { cites: check.cites, group, name: check.name, status, milliseconds, detail };
}
