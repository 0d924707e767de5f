/**
 * A program with ten connected clients, five pairs: one sends a ping at QoS 1, the other answers with a pong, at a fixed rate.
 * It measures round trips in turns, with nothing else going on and while bad logins come in.
 *
 * A round trip counts from the moment its ping was written to the moment its pong was read. The bad logins are a process of
 * their own, so that this one measures the broker and not itself.
 */
import type { LoginBatch, LoginPlan } from "./auth-logins.ts";
import { Link, type PacketSink, PUBACK } from "./link.ts";
import { encodePublish, type Login, type PublishLayout } from "./packet-bytes.ts";
import { printLine, readPlan, startProgram } from "./program.ts";

export interface PingPongPlan {
  readonly port: number;
  readonly brokerPid: number;
  readonly login: Login | null;
  readonly turns: number;
  readonly turnSeconds: number;
  readonly flood: { readonly logins: readonly Login[] | null; readonly perSecond: number };
}

export interface RoundTrips {
  readonly count: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly maxMicros: number;
}

export interface PingPongTurn {
  readonly quiet: RoundTrips;
  readonly flood: RoundTrips;
  readonly logins: LoginBatch;
}

const PAIRS = 5;
const PINGS_PER_SECOND = 500;
const PROTOCOL_LEVEL = 4;
const PAYLOAD_BYTES = 8;
const PACKET_IDS = 60_000;
const WARM_UP_SECONDS = 2;
/** How long logins go on before and after what is measured. */
const FLOOD_MARGIN_SECONDS = 1;
const FLOOD_LIMIT_SECONDS = 60;
const ANSWER_LIMIT_MS = 10_000;

/** One client: sends numbers to its own topic and tells which numbers come back on the other. */
class Player implements PacketSink {
  onNumber: (number: number) => void = () => {};
  private readonly link: Link;
  private readonly layout: PublishLayout;

  constructor(link: Link, topicName: string) {
    this.link = link;
    this.layout = encodePublish(topicName, 1, new Uint8Array(PAYLOAD_BYTES), 1, PROTOCOL_LEVEL);
    link.sink = this;
  }

  send(number: number): void {
    const { bytes, packetIdAt, payloadAt } = this.layout;
    const view = new DataView(bytes.buffer);
    view.setUint16(packetIdAt, (number % PACKET_IDS) + 1);
    view.setUint32(payloadAt, number);
    if (this.link.write(bytes, 0, bytes.length) < bytes.length) throw new Error("the broker does not read");
  }

  publish(bytes: Uint8Array, _firstByte: number, start: number, end: number): void {
    const packetIdAt = start + 2 + ((bytes[start] << 8) | bytes[start + 1]);
    this.link.answer(PUBACK, (bytes[packetIdAt] << 8) | bytes[packetIdAt + 1]);
    this.onNumber(new DataView(bytes.buffer, bytes.byteOffset + end - PAYLOAD_BYTES).getUint32(0));
  }

  acknowledged(): void {}

  readEnd(): void {
    this.link.flush();
  }
}

/** All pairs; numbers count through, and pair n sends every fifth of them. */
class Game {
  private readonly pingers: readonly Player[];
  private sent = 0;
  private answered = 0;
  private readonly sentMs: number[] = [];
  private delaysMs: number[] = [];

  private constructor(pingers: readonly Player[]) {
    this.pingers = pingers;
    for (const pinger of pingers) pinger.onNumber = (number) => this.arrived(number);
  }

  static async start(port: number, login: Login | null): Promise<Game> {
    const pingers: Player[] = [];
    for (let n = 0; n < PAIRS; n++) {
      pingers.push(await playerOf(port, login, n, "ping", "pong"));
      const ponger = await playerOf(port, login, n, "pong", "ping");
      ponger.onNumber = (number) => ponger.send(number);
    }
    return new Game(pingers);
  }

  /** Sends for `seconds` and waits for the answers. */
  async play(seconds: number): Promise<RoundTrips> {
    this.delaysMs = [];
    const firstNumber = this.sent;
    const startMs = performance.now();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setInterval(() => {
      const elapsed = Math.min(seconds, (performance.now() - startMs) / 1000);
      const due = firstNumber + Math.floor(elapsed * PINGS_PER_SECOND);
      while (this.sent < due) this.sendNext();
      if (elapsed === seconds) resolve();
    }, 1);
    await promise;
    clearInterval(timer);
    await this.allAnswered();
    return percentiles(this.delaysMs);
  }

  private sendNext(): void {
    const number = this.sent++;
    this.sentMs[number] = performance.now();
    this.pingers[number % PAIRS].send(number);
  }

  private arrived(number: number): void {
    this.delaysMs.push(performance.now() - this.sentMs[number]);
    this.answered++;
  }

  private async allAnswered(): Promise<void> {
    const limitMs = performance.now() + ANSWER_LIMIT_MS;
    while (this.answered < this.sent) {
      if (performance.now() > limitMs) throw new Error(`${this.sent - this.answered} pings were not answered`);
      await Bun.sleep(5);
    }
    if (this.answered > this.sent) throw new Error("more pongs than pings");
  }
}

async function playerOf(port: number, login: Login | null, pair: number, own: string, other: string): Promise<Player> {
  const link = await Link.connect({ transport: "tcp", port }, `bench-${own}-${pair}`, PROTOCOL_LEVEL, login);
  const player = new Player(link, `bench/${own}/${pair}`);
  await link.subscribe([`bench/${other}/${pair}`], 1);
  return player;
}

function percentiles(delaysMs: readonly number[]): RoundTrips {
  const sorted = delaysMs.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.ceil(sorted.length * share) - 1] * 1000);
  return { count: sorted.length, p50Micros: at(0.5), p99Micros: at(0.99), maxMicros: at(1) };
}

async function playFlooded(game: Game, plan: PingPongPlan): Promise<Pick<PingPongTurn, "flood" | "logins">> {
  const { port, brokerPid, turnSeconds } = plan;
  const { logins, perSecond } = plan.flood;
  const count = Math.round(perSecond * (turnSeconds + 2 * FLOOD_MARGIN_SECONDS));
  const loginPlan: LoginPlan = { port, brokerPid, logins, batches: [count], openMax: 1000, perSecond };
  const flooding = startProgram<LoginBatch[]>("auth-logins.ts", loginPlan, {
    limitSeconds: FLOOD_LIMIT_SECONDS,
    signal: abort.signal,
    // Who guesses passwords does it from elsewhere, and takes no cores from the clients that are measured.
    givesWay: true,
  });
  await flooding.begun;
  await game.play(FLOOD_MARGIN_SECONDS);
  const flood = await game.play(turnSeconds);
  const endMs = Date.now();
  const [batch] = await flooding.result;
  if (batch.endedAtMs < endMs) throw new Error("the logins ended before the measurement did");
  return { flood, logins: batch };
}

const abort = new AbortController();

async function main(): Promise<void> {
  process.on("exit", () => abort.abort());
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
  const plan = await readPlan<PingPongPlan>();
  const game = await Game.start(plan.port, plan.login);
  printLine("begun");
  await game.play(WARM_UP_SECONDS);
  const turns: PingPongTurn[] = [];
  for (let turn = 0; turn < plan.turns; turn++) {
    const quiet = await game.play(plan.turnSeconds);
    turns.push({ quiet, ...(await playFlooded(game, plan)) });
  }
  printLine(turns);
}

if (import.meta.main) {
  await main();
  process.exit(0);
}
