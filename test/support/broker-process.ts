/**
 * The real broker as a process of its own, on free loopback ports, for tests that need sockets, signals or exit codes.
 *
 * Invariant: `startBroker` resolves when every listener accepts (the ready line) and rejects with what the process wrote when it
 * ends before that. Each broker has its own temporary folder, which is its working directory and goes away with it.
 * RQTT_TEST_BROKER=mosquitto runs the same tests against Debian's mosquitto: the way to tell a wrong test from a wrong broker.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LineProcess, startLineProcess } from "./line-process.ts";

export interface BrokerProcess {
  readonly pid: number;
  readonly tcpUrl: string;
  readonly tcpPort: number;
  readonly wsUrl: string;
  readonly wsPort: number;
  /** Its working directory; removed when the process has ended. */
  readonly folder: string;
  /** Exit code, however the process ends. */
  readonly exited: Promise<number>;
  readonly stdoutLines: readonly string[];
  stderr(): string;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number>;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface BrokerProcessOptions {
  /** Listener URLs; a port of 0 is replaced by a free one. */
  readonly listeners?: readonly string[];
  /** `memory`, or a folder. */
  readonly store?: string;
  /** Configuration values by path, given as `--set path=value`. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Flags after all others. */
  readonly flags?: readonly string[];
  /** Added to the environment of the test runner, of which no RQTT_ variable is passed on. */
  readonly env?: Readonly<Record<string, string>>;
}

export const brokerUnderTest: "rqtt" | "mosquitto" =
  process.env["RQTT_TEST_BROKER"] === "mosquitto" ? "mosquitto" : "rqtt";

const MAIN = join(import.meta.dir, "..", "..", "src", "main.ts");
/** 128 + SIGKILL. */
const KILLED = 137;
const READY = "rqtt ready";
const DEFAULT_LISTENERS = ["mqtt://127.0.0.1:0", "ws://127.0.0.1:0/mqtt"];

export async function startBroker(options: BrokerProcessOptions = {}): Promise<BrokerProcess> {
  if (brokerUnderTest === "mosquitto") return startMosquitto();
  const folder = await mkdtemp(join(tmpdir(), "rqtt-test-"));
  // --no-orphans: the broker ends when the test runner does, even when that was killed.
  const command = [process.execPath, "--no-orphans", MAIN];
  for (const listener of options.listeners ?? DEFAULT_LISTENERS) command.push("--listen", listener);
  command.push("--store", options.store ?? "memory");
  for (const [path, value] of Object.entries(options.settings ?? {})) command.push("--set", `${path}=${value}`);
  command.push(...(options.flags ?? []));
  const child = startLineProcess(command, { cwd: folder, env: { ...cleanEnvironment(), ...options.env } });
  return whenReady(child, folder, async () => {
    const line = await child.line((text) => text.startsWith(READY));
    return line.slice(READY.length).trim().split(/\s+/);
  });
}

/** The broker refuses RQTT_ variables that it does not know, and those it knows would change what is tested. */
function cleanEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("RQTT_")));
}

/** Debian's mosquitto with the same two listeners, everything in memory. */
export async function startMosquitto(): Promise<BrokerProcess> {
  const folder = await mkdtemp(join(tmpdir(), "rqtt-test-"));
  const [tcpPort, wsPort] = await freePorts();
  const configFile = join(folder, "mosquitto.conf");
  const config = [
    `listener ${tcpPort} 127.0.0.1`,
    `listener ${wsPort} 127.0.0.1`,
    "protocol websockets",
    "allow_anonymous true",
    "persistence false",
    "max_queued_messages 20000",
    "log_dest stderr",
    "user root",
  ];
  await writeFile(configFile, `${config.join("\n")}\n`);
  // It logs line by line on standard error only; `exec` keeps the process id.
  const child = startLineProcess(["sh", "-c", 'exec /usr/sbin/mosquitto -c "$0" 2>&1', configFile], { cwd: folder });
  return whenReady(child, folder, async () => {
    await child.line((text) => text.endsWith(" running"));
    return [`mqtt://127.0.0.1:${tcpPort}`, `ws://127.0.0.1:${wsPort}/mqtt`];
  });
}

async function whenReady(
  child: LineProcess,
  folder: string,
  listeners: () => Promise<readonly string[]>,
): Promise<BrokerProcess> {
  const exited = child.exited.then(async (code) => {
    await rm(folder, { recursive: true, force: true });
    return code;
  });
  const end = (signal: NodeJS.Signals): Promise<number> => {
    child.signal(signal);
    return exited;
  };
  try {
    const urls = await listeners();
    const tcpUrl = urls.find((url) => url.startsWith("mqtt://")) ?? "";
    const wsUrl = urls.find((url) => url.startsWith("ws://")) ?? "";
    return {
      pid: child.pid,
      tcpUrl,
      tcpPort: portOf(tcpUrl),
      wsUrl,
      wsPort: portOf(wsUrl),
      folder,
      exited,
      stdoutLines: child.lines,
      stderr: child.stderr,
      stop: () => end("SIGTERM"),
      kill: async () => void (await end("SIGKILL")),
    };
  } catch (error) {
    await end("SIGKILL");
    throw error;
  }
}

function portOf(url: string): number {
  return url === "" ? 0 : Number(new URL(url).port);
}

/**
 * For `beforeEach` of a suite that shares one broker: the same broker as long as it answers. A test that times out takes every child
 * process of the runner with it; the next test then gets a new broker instead of the blame.
 */
export async function sameOrNewBroker(current: BrokerProcess | undefined): Promise<BrokerProcess> {
  if (current !== undefined) {
    if (await answers(current.tcpPort)) return current;
    await current.kill();
    const code = await current.exited;
    if (code !== KILLED)
      throw new Error(`the broker of the test before this ended with code ${code}\n${current.stderr()}`);
  }
  return startBroker();
}

/** MQTT 3.1.1, Clean Session, no client id. */
const CONNECT = Uint8Array.of(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 0);

/** Waits for a CONNACK: the port of a process that is being killed still accepts for a moment. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1", () => socket.write(CONNECT));
    socket.once("data", () => {
      resolve(true);
      socket.destroy();
    });
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}

/** Two ports that were free a moment ago, both held until both are known so that they differ. */
async function freePorts(): Promise<readonly [number, number]> {
  const servers = [createServer(), createServer()] as const;
  const [first, second] = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once("error", reject);
          server.listen(0, "127.0.0.1", () => {
            const address = server.address();
            if (address === null || typeof address === "string") reject(new Error("no port"));
            else resolve(address.port);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  return [first!, second!];
}
