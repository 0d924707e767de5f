/**
 * Generators as processes of their own: a plan goes in as JSON on standard input, the result comes out
 * as the last line of standard output. Credentials thus appear in no command line.
 *
 * Invariant: a program ends with whoever started it, by signal, and in any case when its limit of time is over.
 */
import { join } from "node:path";

export interface RunningProgram<Result> {
  /** Resolves with the first line, at the latest at the end: the program is at work. */
  readonly begun: Promise<unknown>;
  readonly result: Promise<Result>;
  /** Ends a program that has no end of its own. Fails when it has ended by itself. */
  stop(): Promise<void>;
}

export interface ProgramBounds {
  readonly limitSeconds: number;
  readonly signal: AbortSignal;
  /** Stands for other machines: it takes only what of the cores the others leave. */
  readonly givesWay?: boolean;
}

/** The least weight that the scheduler gives, for all threads of a program. */
const GIVING_WAY = ["nice", "-n", "19"];

/** `file` is one of this folder. */
export function startProgram<Result>(
  file: string,
  plan: object,
  { limitSeconds, signal, givesWay = false }: ProgramBounds,
): RunningProgram<Result> {
  const child = Bun.spawn([...(givesWay ? GIVING_WAY : []), process.execPath, join(import.meta.dir, file)], {
    stdin: new Blob([JSON.stringify(plan)]),
    stdout: "pipe",
    stderr: "pipe",
    signal,
    timeout: limitSeconds * 1000,
    killSignal: "SIGTERM",
  });
  const begun = Promise.withResolvers<unknown>();
  async function read(): Promise<Result> {
    const complaint = child.stderr.text();
    let output = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      output += decoder.decode(chunk, { stream: true });
      if (output.includes("\n")) begun.resolve(JSON.parse(output.slice(0, output.indexOf("\n"))));
    }
    const status = await child.exited;
    if (status === 0) return JSON.parse(output.trim().split("\n").at(-1)!) as Result;
    throw new Error(`${file} ended with status ${status}: ${(await complaint).trim()}`);
  }
  const result = read();
  result.catch((error) => begun.reject(error));
  begun.promise.catch(() => {});
  async function stop(): Promise<void> {
    if (child.exitCode !== null) await result;
    child.kill("SIGTERM");
    await child.exited;
  }
  return { begun: begun.promise, result, stop };
}

/** For the program's side: the plan it was started with. */
export async function readPlan<Plan>(): Promise<Plan> {
  return JSON.parse(await Bun.stdin.text()) as Plan;
}

export function printLine(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
