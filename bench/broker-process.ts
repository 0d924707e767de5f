/**
 * A broker under test as a process of its own: a free loopback port, a temporary folder, ready, and gone afterwards.
 *
 * Invariant: every process started here is ended by its own id, at the latest when this process exits.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import type { Login } from "./packet-bytes.ts";
import type { Transport } from "./wire.ts";

const READY_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 3_000;

/** How to start one broker program. */
export interface Broker {
  readonly name: string;
  readonly version: string;
  readonly transports: readonly Transport[];
  /** Writes what configuration the program needs into `folder` and answers its command line. */
  command(listener: Listener, folder: string): string[];
  /** Start of the line on standard output that means ready; without one, ready means that it accepts a connection. */
  readonly readyLine: string | null;
  /** What clients have to say to be let in; null: nothing. */
  readonly login: Login | null;
}

/** What a broker is to listen on; always loopback. */
export interface Listener {
  readonly transport: Transport;
  readonly port: number;
}

export interface RunningBroker {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Each with its folder. */
const running = new Map<Subprocess, string>();

/** Fails when the program does not come up, with the last lines of what it said. */
export async function startBroker(broker: Broker, transport: Transport = "tcp"): Promise<RunningBroker> {
  if (!broker.transports.includes(transport)) throw new Error(`${broker.name} is not set up for ${transport} here`);
  const folder = mkdtempSync(join(tmpdir(), "rqtt-bench-"));
  const port = freePort();
  const errorPath = join(folder, "stderr.log");
  const child = Bun.spawn(broker.command({ transport, port }, folder), {
    cwd: folder,
    stdin: "ignore",
    stdout: broker.readyLine === null ? "ignore" : "pipe",
    stderr: Bun.file(errorPath),
  });
  running.set(child, folder);
  async function stop(): Promise<void> {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    await child.exited;
    clearTimeout(timer);
    running.delete(child);
    rmSync(folder, { recursive: true, force: true });
  }
  const ready = broker.readyLine === null ? accepts(port) : printsLine(child, broker.readyLine);
  const failed = child.exited.then((status) => `ended with status ${status}`);
  const late = Bun.sleep(READY_LIMIT_MS).then(() => `was not ready after ${READY_LIMIT_MS / 1000} seconds`);
  const problem = await Promise.race([ready, failed, late]);
  if (problem === null) return { port, pid: child.pid, stop };
  const said = readFileSync(errorPath, "utf8").trim().split("\n").slice(-5).join("\n");
  await stop();
  throw new Error(`${broker.name} ${problem}${said === "" ? "" : `\n${said}`}`);
}

/** For a process that must exit now: leaves nothing behind that was started here. */
export function killBrokers(): void {
  for (const [child, folder] of running) {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  return port;
}

async function accepts(port: number): Promise<null> {
  for (;;) {
    try {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
      socket.end();
      return null;
    } catch {
      await Bun.sleep(20);
    }
  }
}

/** Waits for the line, and goes on reading so that the pipe never fills. */
async function printsLine(child: Subprocess, start: string): Promise<null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  async function read(): Promise<void> {
    let text = "";
    let seen = false;
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout as ReadableStream<Uint8Array>) {
      if (seen) continue;
      text += decoder.decode(chunk, { stream: true });
      seen = text.split("\n").some((line) => line.startsWith(start));
      if (seen) resolve(null);
    }
  }
  void read();
  return promise;
}
