/**
 * A child process that is followed line by line.
 *
 * Invariant: whoever waits here waits for a line or for the exit of the process, never for an amount of time, and a process that
 * ends too early turns the wait into an error that carries what it wrote. No child outlives the test runner.
 */

export interface LineProcess {
  readonly pid: number;
  /** Exit code; 128 + n when signal n ended the process. Resolves after everything written was read. */
  readonly exited: Promise<number>;
  /** Every line of standard output so far. */
  readonly lines: readonly string[];
  /** The next unread line that fits; lines before it are passed over. Rejects when the process ends without one. */
  line(fits: (line: string) => boolean): Promise<string>;
  /** What it wrote on standard error so far. */
  stderr(): string;
  /** Write to standard input, which must have been asked for. */
  write(text: string | Uint8Array): void;
  endInput(): void;
  signal(name: NodeJS.Signals): void;
}

export interface LineProcessOptions {
  readonly cwd?: string;
  /** The whole environment; without it that of the test runner. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Keep standard input open for `write`; without it the process reads an end of file. */
  readonly input?: boolean;
}

interface Waiter {
  readonly fits: (line: string) => boolean;
  readonly found: (line: string) => void;
  readonly failed: (error: Error) => void;
}

const running = new Map<number, { kill(signal: NodeJS.Signals): void }>();

process.on("exit", () => {
  for (const child of running.values()) child.kill("SIGKILL");
});

async function readLines(stream: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = pieces.pop() ?? "";
    for (const piece of pieces) take(piece);
  }
  rest += decoder.decode();
  if (rest.length > 0) take(rest);
}

export function startLineProcess(command: readonly string[], options: LineProcessOptions = {}): LineProcess {
  const child = Bun.spawn([...command], {
    cwd: options.cwd,
    env: { ...(options.env ?? process.env) },
    stdin: options.input === true ? "pipe" : "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.set(child.pid, child);

  const lines: string[] = [];
  const errors: string[] = [];
  let read = 0;
  let ended: Error | undefined;
  let waiter: Waiter | undefined;

  const search = (): void => {
    while (waiter !== undefined && read < lines.length) {
      const line = lines[read++]!;
      if (!waiter.fits(line)) continue;
      const { found } = waiter;
      waiter = undefined;
      found(line);
    }
    if (waiter === undefined || ended === undefined) return;
    const { failed } = waiter;
    waiter = undefined;
    failed(ended);
  };

  const finish = async (): Promise<number> => {
    const output = readLines(child.stdout, (line) => {
      lines.push(line);
      search();
    });
    await Promise.all([output, readLines(child.stderr, (line) => errors.push(line))]);
    const code = await child.exited;
    running.delete(child.pid);
    const said = [...lines.slice(-20), ...errors.slice(-20)].map((line) => line.slice(0, 500)).join("\n");
    ended = new Error(`${command.join(" ").slice(0, 500)} ended with code ${code}\n${said}`);
    search();
    return code;
  };

  return {
    pid: child.pid,
    exited: finish(),
    lines,
    line: (fits) =>
      new Promise((found, failed) => {
        if (waiter !== undefined) throw new Error("one wait for a line at a time");
        waiter = { fits, found, failed };
        search();
      }),
    stderr: () => errors.join("\n"),
    write: (text) => {
      if (child.stdin === undefined) throw new Error("started without standard input");
      child.stdin.write(text);
      child.stdin.flush();
    },
    endInput: () => void child.stdin?.end(),
    signal: (name) => child.kill(name),
  };
}
