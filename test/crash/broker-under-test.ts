/**
 * The broker that is judged: a program that can be killed at any moment and started again on the same folder.
 *
 * Invariant: a process started here is ended by its own id, at the latest when this process ends. A process that ends without having
 * been killed is an error of the run, with what it wrote.
 */
import { join } from "node:path";
import { type LineProcess, startLineProcess } from "../support/line-process.ts";

/** The broker ended, or does nothing any more: the run cannot go on. */
export class BrokerFailure extends Error {}

export interface BrokerUnderTest {
  readonly port: number;
  /** Resolves when it is ready for clients, or was killed before; rejects with a BrokerFailure. */
  start(): Promise<void>;
  /** At once, without a chance to do anything more. */
  kill(): void;
  /** Resolves when a killed broker is gone. */
  gone(): Promise<void>;
  /** What the broker wrote before it ended without having been killed; empty: it did not. */
  endedWith(): string;
}

export interface BrokerProgram {
  /** The program, which takes the flags of rqtt. */
  readonly main: string;
  /** "memory", or the folder that keeps the state. */
  readonly store: string;
  /** Of `--set durability=...`; null: what the program does by itself. */
  readonly durability: string | null;
  readonly folder: string;
}

export const RQTT_MAIN = join(import.meta.dir, "..", "..", "src", "main.ts");
const READY = "rqtt ready";
const READY_LIMIT_MS = 30_000;
/** Below the ports that the kernel gives to outgoing connections, one of which could otherwise connect to itself. */
const PORT_MIN = 15_000;
const PORT_MAX = 32_000;

export function brokerCommand({ main, store, durability }: BrokerProgram, port: number): string[] {
  const command = [process.execPath, "--no-orphans", main, "--listen", `mqtt://127.0.0.1:${port}`, "--store", store];
  return durability === null ? command : [...command, "--set", `durability=${durability}`];
}

/** The broker refuses RQTT_ variables that it does not know, and those it knows would change what is judged. */
export function brokerEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RQTT_")));
}

export class BrokerProcess implements BrokerUnderTest {
  readonly port = freePort();
  readonly #program: BrokerProgram;
  #child: LineProcess | null = null;
  #wasKilled = false;
  #ended = "";

  constructor(program: BrokerProgram) {
    this.#program = program;
  }

  async start(): Promise<void> {
    this.#wasKilled = false;
    const child = startLineProcess(brokerCommand(this.#program, this.port), {
      cwd: this.#program.folder,
      env: brokerEnvironment(),
    });
    this.#child = child;
    void child.exited.then((code) => {
      if (this.#child === child && !this.#wasKilled)
        this.#ended = `the broker ended with code ${code}\n${child.stderr()}`;
    });
    const timer = setTimeout(() => child.signal("SIGKILL"), READY_LIMIT_MS);
    try {
      await child.line((line) => line.startsWith(READY));
    } catch (error) {
      if (!this.#wasKilled) throw new BrokerFailure(error instanceof Error ? error.message : String(error));
    } finally {
      clearTimeout(timer);
    }
  }

  kill(): void {
    this.#wasKilled = true;
    this.#child?.signal("SIGKILL");
  }

  async gone(): Promise<void> {
    await this.#child?.exited;
  }

  endedWith(): string {
    return this.#ended;
  }
}

export function freePort(): number {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    try {
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
      return port;
    } catch {
      // Somebody has it already.
    }
  }
}
