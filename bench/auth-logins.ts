/**
 * A program that logs in again and again: TCP connection, CONNECT, CONNACK, DISCONNECT, closed. Its plan says how many, how
 * many at once or how many a second, with which credentials, and whether they are to be let in.
 *
 * CONNECT packets are encoded before it begins. The first line says that a login was answered, the second is the result.
 */
import type { Socket } from "bun";
import { DISCONNECT, encodeConnect, type Login } from "./packet-bytes.ts";
import { ProcessMeter, threadCpuMicros } from "./process-meter.ts";
import { printLine, readPlan } from "./program.ts";

export interface LoginPlan {
  readonly port: number;
  readonly brokerPid: number;
  /** Taken in turn; null: logins without username and password. */
  readonly logins: readonly Login[] | null;
  /** Measured one after the other. */
  readonly batches: readonly number[];
  readonly openMax: number;
  /** null: as many as the broker takes, `openMax` at once. */
  readonly perSecond: number | null;
}

export interface LoginBatch {
  readonly logins: number;
  readonly seconds: number;
  /** Until the last one was begun. */
  readonly startedSeconds: number;
  readonly brokerCpuSeconds: number;
  /** Share of the time in which this program's main thread had nothing to do. */
  readonly generatorHeadroom: number;
  readonly accepted: number;
  /** How often each code of a CONNACK came, 0 apart. */
  readonly refused: Readonly<Record<string, number>>;
  /** Closed without an answer, or never connected. */
  readonly unanswered: number;
  readonly endedAtMs: number;
}

/** A connection and the packet it begins with. */
interface Attempt {
  readonly connect: Uint8Array;
  answered: boolean;
}

const STALL_LIMIT_MS = 20_000;
const CONNACK = 0x20;
const ACCEPTED = 0;
const PROTOCOL_LEVEL = 4;
/** Client Identifiers go round, so that a program of any length has all its packets beforehand. */
const PACKETS = 10_000;

class LoginRun {
  started = 0;
  startedMs = 0;
  ended = 0;
  accepted = 0;
  unanswered = 0;
  readonly refused: Record<string, number> = {};
  private readonly plan: LoginPlan;
  private readonly packets: readonly Uint8Array[];
  private readonly count: number;
  private readonly done = Promise.withResolvers<void>();
  private readonly onAnswer: () => void;

  constructor(plan: LoginPlan, packets: readonly Uint8Array[], count: number, onAnswer: () => void) {
    this.plan = plan;
    this.packets = packets;
    this.count = count;
    this.onAnswer = onAnswer;
  }

  async run(): Promise<void> {
    const { openMax, perSecond } = this.plan;
    const watch = this.watchProgress();
    const startMs = performance.now();
    const pace = perSecond === null ? null : setInterval(() => this.startDue(startMs, perSecond), 1);
    if (pace === null) for (let n = 0; n < Math.min(openMax, this.count); n++) this.startNext();
    try {
      await this.done.promise;
    } finally {
      clearInterval(watch);
      if (pace !== null) clearInterval(pace);
    }
  }

  private watchProgress(): Timer {
    let last = -1;
    let movedMs = performance.now();
    return setInterval(() => {
      if (this.ended !== last) movedMs = performance.now();
      else if (performance.now() - movedMs > STALL_LIMIT_MS) this.done.reject(new Error("no login came to its end"));
      last = this.ended;
    }, 500);
  }

  private startDue(startMs: number, perSecond: number): void {
    const due = Math.min(this.count, Math.floor(((performance.now() - startMs) / 1000) * perSecond));
    while (this.started < due && this.started - this.ended < this.plan.openMax) this.startNext();
  }

  private startNext(): void {
    this.startedMs = performance.now();
    const attempt: Attempt = { connect: this.packets[this.started++ % this.packets.length], answered: false };
    const socket = {
      open: (socket: Socket<Attempt>) => void socket.write(socket.data.connect),
      data: (socket: Socket<Attempt>, chunk: Uint8Array) => this.answer(socket, chunk),
      close: (socket: Socket<Attempt>) => this.closed(socket.data),
      error: (socket: Socket<Attempt>) => void socket.end(),
      connectError: () => {},
    };
    Bun.connect<Attempt>({ hostname: "127.0.0.1", port: this.plan.port, data: attempt, socket }).catch(() =>
      this.closed(attempt),
    );
  }

  private answer(socket: Socket<Attempt>, chunk: Uint8Array): void {
    const attempt = socket.data;
    if (attempt.answered || chunk.length < 4 || chunk[0] !== CONNACK) return void socket.end();
    attempt.answered = true;
    const code = chunk[3];
    if (code === ACCEPTED) {
      this.accepted++;
      socket.write(DISCONNECT);
    } else {
      this.refused[code] = (this.refused[code] ?? 0) + 1;
    }
    socket.end();
    this.onAnswer();
  }

  private closed(attempt: Attempt): void {
    if (!attempt.answered) this.unanswered++;
    if (++this.ended === this.count) this.done.resolve();
    else if (this.plan.perSecond === null && this.started < this.count) this.startNext();
  }
}

function packetsOf(logins: LoginPlan["logins"]): Uint8Array[] {
  return Array.from({ length: PACKETS }, (_, n) => {
    const login = logins === null ? null : logins[n % logins.length];
    return encodeConnect(`bench-login-${n}`, PROTOCOL_LEVEL, login);
  });
}

async function runBatch(
  plan: LoginPlan,
  packets: Uint8Array[],
  count: number,
  onAnswer: () => void,
): Promise<LoginBatch> {
  const meter = new ProcessMeter(plan.brokerPid);
  const run = new LoginRun(plan, packets, count, onAnswer);
  meter.start();
  const threadStartMicros = threadCpuMicros();
  const startMs = performance.now();
  await run.run();
  const seconds = (performance.now() - startMs) / 1000;
  const generatorHeadroom = 1 - (threadCpuMicros() - threadStartMicros) / 1e6 / seconds;
  const brokerCpuSeconds = meter.stop().cpuMicros / 1e6;
  const startedSeconds = (run.startedMs - startMs) / 1000;
  const { accepted, refused, unanswered } = run;
  return {
    logins: count,
    seconds,
    startedSeconds,
    brokerCpuSeconds,
    generatorHeadroom,
    accepted,
    refused,
    unanswered,
    endedAtMs: Date.now(),
  };
}

async function main(): Promise<void> {
  const plan = await readPlan<LoginPlan>();
  const packets = packetsOf(plan.logins);
  let isBegun = false;
  const begin = () => {
    if (!isBegun) printLine("begun");
    isBegun = true;
  };
  const batches: LoginBatch[] = [];
  for (const count of plan.batches) batches.push(await runBatch(plan, packets, count, begin));
  printLine(batches);
}

if (import.meta.main) {
  await main();
  process.exit(0);
}
