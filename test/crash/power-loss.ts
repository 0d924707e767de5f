/**
 * The power loss test as a command: the real broker under strace, and what it told its clients held against what it had synced; then
 * its files as a loss of power would leave them, opened by the broker and emptied.
 *
 * Exit codes: 0 nothing left before its sync and nothing acknowledged is missing, 1 otherwise, 2 for a wrong argument. Where
 * strace is missing, or may not trace, it says so and ends with 0.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type LineProcess, startLineProcess } from "../support/line-process.ts";
import {
  BrokerProcess,
  type BrokerProgram,
  brokerCommand,
  brokerEnvironment,
  freePort,
  RQTT_MAIN,
} from "./broker-under-test.ts";
import { Dialogue } from "./dialogue.ts";
import { elapsed } from "./elapsed.ts";
import { holdPowerSession, type MarkedMessage, type PowerSession } from "./power-session.ts";
import { CUTS, type Cut, StoreFiles } from "./store-files.ts";
import { isNamed, judgeOrder, packetsOf, type TracedPacket } from "./sync-order.ts";
import { readTrace, STRING_BYTES_MAX, TRACED } from "./system-calls.ts";
import { PUBACK, PUBREC, SUBACK } from "./wire.ts";

const USAGE =
  "usage: bun run test:power [--messages N] [--cuts N] [--durability fsync|written] [--program FILE] [--keep]";
const EXAMPLES_MAX = 10;
/** What a session still has to say after its last message. */
const LAST_MS = 100;

interface Arguments {
  readonly messages: number;
  readonly cuts: number;
  readonly durability: string | null;
  readonly main: string;
  readonly keep: boolean;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      messages: { type: "string", default: "40" },
      cuts: { type: "string", default: "12" },
      durability: { type: "string" },
      program: { type: "string", default: RQTT_MAIN },
      keep: { type: "boolean", default: false },
    },
  });
  const [messages, cuts] = [Number(values.messages), Number(values.cuts)];
  if (!Number.isInteger(messages) || !Number.isInteger(cuts))
    throw new Error("--messages and --cuts: expected whole numbers");
  if (!(messages >= 5 && messages <= 5000))
    throw new Error(`--messages ${values.messages}: expected a number from 5 to 5000`);
  if (!(cuts >= 0 && cuts <= 1000)) throw new Error(`--cuts ${values.cuts}: expected a number from 0 to 1000`);
  const main = resolve(values.program);
  if (!existsSync(main)) throw new Error(`--program ${values.program}: there is no such file`);
  return { messages, cuts, durability: values.durability ?? null, main, keep: values.keep };
}

/** Null where strace is there and may trace. */
function obstacleToTracing(): string | null {
  if (Bun.which("strace") === null) return "strace is not installed (Debian: strace)";
  const { exitCode, stderr } = Bun.spawnSync(["strace", "-f", "-yy", "-o", "/dev/null", "true"]);
  return exitCode === 0 ? null : `strace cannot trace here (${stderr.toString().trim().split("\n").at(-1)})`;
}

/** Holds the dialogue with a broker under strace, which is killed at the end. */
async function traced(
  program: BrokerProgram,
  port: number,
  tracePath: string,
  messages: number,
): Promise<PowerSession> {
  const strace = ["strace", "-f", "-qq", "-yy", "-xx", "-s", `${STRING_BYTES_MAX}`, "-o", tracePath];
  const command = [...strace, "-e", `trace=${TRACED.join(",")}`, ...brokerCommand(program, port)];
  const child = startLineProcess(command, { cwd: program.folder, env: brokerEnvironment() });
  try {
    await child.line((line) => line.startsWith("rqtt ready"));
    return await holdPowerSession(port, messages);
  } finally {
    killTraced(child);
    await child.exited;
  }
}

/** strace ends when the broker has. */
function killTraced({ pid }: LineProcess): void {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    for (const broker of children) if (broker !== "") process.kill(Number(broker), "SIGKILL");
  } catch {
    // Both have ended already.
  }
}

/** One loss of power: which sync was the last, what of the time after it reached the disk, and what must be there. */
interface Loss {
  readonly at: number;
  readonly cut: Cut;
  readonly acknowledged: readonly MarkedMessage[];
}

/** Spread over the time from the first subscription to the end. */
function lossesOf(
  store: StoreFiles,
  sent: readonly TracedPacket[],
  { keeperSuback, messages }: PowerSession,
  count: number,
): Loss[] {
  const suback = sent.find((packet) => isNamed(packet, { ...keeperSuback, type: SUBACK }));
  const candidates = store.syncs.flatMap(({ left }, at) => (suback !== undefined && left > suback.entered ? [at] : []));
  // The last one always, and others at equal distances before it.
  const places = Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * candidates.length) / count) - 1);
  const chosen = new Set(places.map((place) => candidates[place]).filter((at) => at !== undefined));
  return [...chosen].flatMap((at) => {
    // The power may have gone just before the next sync had ended; all that left until then was acknowledged.
    const before = store.syncs[at + 1]?.left ?? Number.POSITIVE_INFINITY;
    const acknowledged = messages.filter(({ clientPort, packetId, qos }) => {
      const name = { clientPort, packetId, type: qos === 1 ? PUBACK : PUBREC };
      return sent.some((packet) => isNamed(packet, name) && packet.entered < before);
    });
    return CUTS.map((cut) => ({ at, cut, acknowledged }));
  });
}

/** Starts the broker on what the disk holds, and answers what is wrong with what it still delivers. */
async function recover(program: BrokerProgram, store: StoreFiles, loss: Loss, keeperId: string): Promise<string[]> {
  const folder = join(program.folder, `${loss.cut}-${loss.at}`);
  const copy = join(folder, basename(program.store));
  mkdirSync(copy, { recursive: true, mode: 0o700 });
  for (const [path, bytes] of store.stateAt(loss.at, loss.cut)) {
    const target = join(copy, path.slice(program.store.length + 1));
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    writeFileSync(target, bytes, { mode: 0o600 });
  }
  const broker = new BrokerProcess({ ...program, store: copy, folder });
  try {
    await broker.start();
    return complaintsAbout(await drained(broker.port, keeperId), loss);
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  } finally {
    broker.kill();
    await broker.gone();
  }
}

/** Payloads that the keeper receives; null: its session is gone. */
async function drained(port: number, keeperId: string): Promise<string[] | null> {
  const keeper = await Dialogue.open(port, keeperId, false);
  if (!keeper.sessionPresent) return null;
  const payloads: string[] = [];
  for (let quiet = 0; quiet < 2; quiet++) {
    await keeper.ping();
    const publishes = await keeper.takePublishes();
    payloads.push(...publishes.map(({ payload }) => new TextDecoder().decode(payload)));
    if (publishes.length > 0) quiet = -1;
    await elapsed(LAST_MS / 2);
  }
  keeper.end();
  return payloads;
}

function complaintsAbout(payloads: readonly string[] | null, { acknowledged }: Loss): string[] {
  if (payloads === null) return ["the session is gone"];
  const missing = acknowledged.filter(({ marker }) => !payloads.includes(marker));
  const complaints = missing.map(({ marker, qos }) => `${marker} at QoS ${qos} is missing`);
  if (new Set(payloads).size < payloads.length) complaints.push("a message is there twice");
  return complaints;
}

async function judge(given: Arguments, folder: string): Promise<boolean> {
  const program: BrokerProgram = {
    main: given.main,
    store: join(folder, "store"),
    durability: given.durability,
    folder,
  };
  const port = freePort();
  const tracePath = join(folder, "trace.txt");
  const session = await traced(program, port, tracePath, given.messages);
  const calls = readTrace(readFileSync(tracePath, "latin1"));
  const store = new StoreFiles(calls, program.store);
  const sent = packetsOf(calls, port, "sent");
  const order = judgeOrder(store, sent, packetsOf(calls, port, "received"), session.expectations);
  const writes = store.changes.filter(({ bytes }) => bytes.length > 0).length;
  console.log(`traced: ${calls.length} calls, ${writes} writes to the store, ${store.syncs.length} syncs`);
  const total = session.expectations.length;
  console.log(`left after their sync: ${total - order.faults.length} of ${total} packets`);
  for (const [name, count] of order.checked) console.log(`${`${count}`.padStart(8)}  ${name}`);
  for (const fault of order.faults.slice(0, EXAMPLES_MAX)) console.log(`  TOO EARLY  ${fault}`);

  const losses = lossesOf(store, sent, session, given.cuts);
  const complaints: string[] = [];
  let checked = 0;
  for (const loss of losses) {
    const found = await recover(program, store, loss, session.keeperId);
    complaints.push(...found.map((text) => `${loss.cut} after sync ${loss.at + 1}: ${text}`));
    checked += loss.acknowledged.length;
  }
  console.log(
    `losses of power: ${losses.length}, with ${checked} acknowledged messages to be found; ${complaints.length} complaints`,
  );
  for (const complaint of complaints.slice(0, EXAMPLES_MAX)) console.log(`  MISSING    ${complaint}`);
  // A trace in which nothing was found, and no loss that could have shown anything, prove nothing.
  const hasShown = order.checked.size > 0 && (given.cuts === 0 || checked > 0);
  return hasShown && order.faults.length === 0 && complaints.length === 0;
}

async function main(): Promise<number> {
  let given: Arguments;
  try {
    given = readArguments();
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    return 2;
  }
  const obstacle = obstacleToTracing();
  if (obstacle !== null) {
    console.log(`${obstacle}; nothing was tested`);
    return 0;
  }
  const folder = mkdtempSync(join(tmpdir(), "rqtt-power-"));
  let isWell = false;
  try {
    isWell = await judge(given, folder);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
  }
  console.log(isWell ? "kept: nothing was acknowledged before it was on disk" : "BROKEN");
  if (isWell && !given.keep) rmSync(folder, { recursive: true, force: true });
  else console.log(`trace and files are kept in ${folder}`);
  return isWell ? 0 : 1;
}

process.exitCode = await main();
