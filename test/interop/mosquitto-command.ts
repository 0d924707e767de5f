/**
 * mosquitto_pub, mosquitto_sub and mosquitto_rr as child processes, with what they print parsed.
 *
 * Invariant: `startSubscriber` resolves when the broker has answered the SUBSCRIBE, so nothing published after it can be missed;
 * every process started here is ended by `endCommands`.
 */
import type { BrokerProcess } from "../support/broker-process.ts";
import { type LineProcess, startLineProcess } from "../support/line-process.ts";

export interface MosquittoTarget {
  readonly name: string;
  /** As `-V` takes it. */
  readonly version: "mqttv31" | "mqttv311" | "mqttv5";
}

/** One message as mosquitto_sub prints it with `%j`. */
export interface PrintedMessage {
  readonly topic: string;
  readonly qos: number;
  readonly retain: number;
  readonly payload: string;
  readonly properties?: Readonly<Record<string, unknown>>;
}

export interface Subscriber {
  readonly process: LineProcess;
  next(): Promise<PrintedMessage>;
  take(count: number): Promise<readonly PrintedMessage[]>;
  /** Every message so far. */
  messages(): readonly PrintedMessage[];
}

const MESSAGE = "message ";
const open = new Set<LineProcess>();

/** Undefined when the programs can run, else why not. */
export function missingMosquittoClients(): string | undefined {
  const names = ["mosquitto_pub", "mosquitto_sub", "mosquitto_rr", "stdbuf"].filter((name) => Bun.which(name) === null);
  return names.length === 0 ? undefined : `${names.join(", ")} not installed (Debian: mosquitto-clients, coreutils)`;
}

export function startCommand(
  program: "mosquitto_pub" | "mosquitto_sub" | "mosquitto_rr",
  broker: BrokerProcess,
  target: MosquittoTarget,
  flags: readonly string[],
  input = false,
): LineProcess {
  // Without stdbuf the lines of -d wait in a buffer until the program ends.
  const command = [
    "stdbuf",
    "-oL",
    program,
    "-h",
    "127.0.0.1",
    "-p",
    String(broker.tcpPort),
    "-V",
    target.version,
    ...flags,
  ];
  const child = startLineProcess(command, { cwd: broker.folder, input });
  open.add(child);
  return child;
}

/** Runs mosquitto_pub to its end and answers with what it printed; fails unless it exits with 0. */
export async function publish(
  broker: BrokerProcess,
  target: MosquittoTarget,
  flags: readonly string[],
  input?: string,
): Promise<readonly string[]> {
  const child = startCommand("mosquitto_pub", broker, target, flags, input !== undefined);
  if (input !== undefined) {
    child.write(input);
    child.endInput();
  }
  const code = await child.exited;
  if (code !== 0) throw new Error(`mosquitto_pub ${flags.join(" ")}: code ${code}\n${child.stderr()}`);
  return child.lines;
}

/** Starts mosquitto_sub and waits for its SUBACK. */
export async function startSubscriber(
  broker: BrokerProcess,
  target: MosquittoTarget,
  flags: readonly string[],
): Promise<Subscriber> {
  // -d prints the packets, line by line; -W ends a process that nobody is left to end.
  const child = startCommand("mosquitto_sub", broker, target, ["-d", "-W", "300", "-F", `${MESSAGE}%j`, ...flags]);
  // A resumed session may deliver before the SUBACK; those lines are still to be read by `next`.
  const early: string[] = [];
  await child.line((line) => {
    if (line.startsWith(MESSAGE)) early.push(line);
    return line.startsWith("Subscribed ");
  });
  const parse = (line: string): PrintedMessage => {
    const message: PrintedMessage = JSON.parse(line.slice(MESSAGE.length));
    // An empty payload is printed as null.
    return { ...message, payload: message.payload ?? "" };
  };
  const next = async (): Promise<PrintedMessage> =>
    parse(early.shift() ?? (await child.line((line) => line.startsWith(MESSAGE))));
  return {
    process: child,
    next,
    take: async (count) => {
      const messages: PrintedMessage[] = [];
      while (messages.length < count) messages.push(await next());
      return messages;
    },
    messages: () => child.lines.filter((line) => line.startsWith(MESSAGE)).map(parse),
  };
}

export async function endCommands(): Promise<void> {
  const children = [...open];
  open.clear();
  for (const child of children) child.signal("SIGKILL");
  await Promise.all(children.map((child) => child.exited));
}
