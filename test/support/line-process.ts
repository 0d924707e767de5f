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
  /** As `line`, of standard error. */
  stderrLine(fits: (line: string) => boolean): Promise<string>;
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

/** Lines as they come, and whoever waits for one of them. */
class LineWaiter {
  readonly #lines: string[];
  readonly #ended: () => Error | undefined;
  #read = 0;
  #waiter: Waiter | undefined;

  constructor(lines: string[], ended: () => Error | undefined) {
    this.#lines = lines;
    this.#ended = ended;
  }

  take(line: string): void {
    this.#lines.push(line);
    this.search();
  }

  wait(fits: (line: string) => boolean): Promise<string> {
    return new Promise((found, failed) => {
      if (this.#waiter !== undefined) throw new Error("one wait for a line at a time");
      this.#waiter = { fits, found, failed };
      this.search();
    });
  }

  search(): void {
    while (this.#waiter !== undefined && this.#read < this.#lines.length) {
      const line = this.#lines[this.#read++]!;
      if (!this.#waiter.fits(line)) continue;
      const { found } = this.#waiter;
      this.#waiter = undefined;
      found(line);
    }
    const ended = this.#ended();
    if (this.#waiter === undefined || ended === undefined) return;
    const { failed } = this.#waiter;
    this.#waiter = undefined;
    failed(ended);
  }
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
  let ended: Error | undefined;
  const output = new LineWaiter(lines, () => ended);
  const complaints = new LineWaiter(errors, () => ended);

  const finish = async (): Promise<number> => {
    await Promise.all([
      readLines(child.stdout, (line) => output.take(line)),
      readLines(child.stderr, (line) => complaints.take(line)),
    ]);
    const code = await child.exited;
    running.delete(child.pid);
    const said = [...lines.slice(-20), ...errors.slice(-20)].map((line) => line.slice(0, 500)).join("\n");
    ended = new Error(`${command.join(" ").slice(0, 500)} ended with code ${code}\n${said}`);
    output.search();
    complaints.search();
    return code;
  };

  return {
    pid: child.pid,
    exited: finish(),
    lines,
    line: (fits) => output.wait(fits),
    stderrLine: (fits) => complaints.wait(fits),
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
