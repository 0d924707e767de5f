/**
 * CPU time and memory of another process, read from /proc (Linux).
 *
 * CPU time is that of all its threads, user and system, to the nanosecond where the kernel keeps scheduler statistics,
 * else in ticks of 10 ms. A thread is read every half second, so one that ends in between loses that much at most.
 * Average memory is the mean of samples of the resident set while the meter runs; peak memory is the kernel's own
 * high-water mark since the process started, which no sampling can miss. A process that ends meanwhile is no error here:
 * the load it was under notices that.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";

const TICK_MICROS = 10_000;
const SAMPLE_INTERVAL_MS = 50;
const SAMPLES_PER_THREAD_SCAN = 10;
const HAS_SCHEDULER_STATISTICS = existsSync("/proc/self/schedstat");

export interface ProcessUse {
  readonly cpuMicros: number;
  readonly memoryAverageBytes: number;
  readonly memoryPeakBytes: number;
}

export class ProcessMeter {
  private readonly pid: number;
  private readonly microsByThread = new Map<string, number>();
  private cpuStartMicros = 0;
  private memorySum = 0;
  private memorySamples = 0;
  private memoryPeakBytes = 0;
  private timer: Timer | null = null;

  constructor(pid: number) {
    this.pid = pid;
  }

  start(): void {
    this.sample();
    this.timer = setInterval(() => this.sample(), SAMPLE_INTERVAL_MS);
    this.cpuStartMicros = this.cpuMicros();
  }

  stop(): ProcessUse {
    const cpuMicros = this.cpuMicros() - this.cpuStartMicros;
    this.sample();
    if (this.timer !== null) clearInterval(this.timer);
    return {
      cpuMicros,
      memoryAverageBytes: Math.round(this.memorySum / Math.max(this.memorySamples, 1)),
      memoryPeakBytes: this.memoryPeakBytes,
    };
  }

  private sample(): void {
    const memory = residentMemory(this.pid);
    if (memory === null) return;
    this.memorySum += memory.nowBytes;
    this.memoryPeakBytes = memory.peakBytes;
    if (++this.memorySamples % SAMPLES_PER_THREAD_SCAN === 0) this.cpuMicros();
  }

  /** Adds up every thread ever seen, as it was when it was last seen. */
  private cpuMicros(): number {
    if (!HAS_SCHEDULER_STATISTICS) return tickedCpuMicros(this.pid);
    const folder = `/proc/${this.pid}/task`;
    for (const thread of existsSync(folder) ? readdirSync(folder) : []) {
      const micros = threadMicros(`${folder}/${thread}`);
      if (micros !== null) this.microsByThread.set(thread, micros);
    }
    return this.microsByThread.values().reduce((sum, micros) => sum + micros, 0);
  }
}

/** Resident set of a process now and at its highest; null when the process has ended. */
export function residentMemory(pid: number): { nowBytes: number; peakBytes: number } | null {
  const path = `/proc/${pid}/status`;
  const status = existsSync(path) ? readFileSync(path, "utf8") : "";
  const bytesOf = (field: string) =>
    1024 * Number(status.match(new RegExp(`${field}:\\s+(\\d+) kB`))?.[1] ?? Number.NaN);
  const memory = { nowBytes: bytesOf("VmRSS"), peakBytes: bytesOf("VmHWM") };
  return Number.isNaN(memory.nowBytes) ? null : memory;
}

const SETTLED_WITHIN_MS = 2_000;
const SETTLED_SHARE = 0.002;
const SETTLE_LIMIT_MS = 20_000;
const SETTLE_INTERVAL_MS = 200;

/** Resident set once it hardly changes any more, or after a while as it is then. Throws when the process has ended. */
export async function settledMemoryBytes(pid: number): Promise<number> {
  const samples: number[] = [];
  for (let waitedMs = 0; ; waitedMs += SETTLE_INTERVAL_MS) {
    const memory = residentMemory(pid);
    if (memory === null) throw new Error("the broker has ended");
    samples.push(memory.nowBytes);
    const recent = samples.slice(-SETTLED_WITHIN_MS / SETTLE_INTERVAL_MS);
    const spread = Math.max(...recent) - Math.min(...recent);
    const isSettled = waitedMs >= SETTLED_WITHIN_MS && spread <= memory.nowBytes * SETTLED_SHARE;
    if (isSettled || waitedMs >= SETTLE_LIMIT_MS) return memory.nowBytes;
    await Bun.sleep(SETTLE_INTERVAL_MS);
  }
}

/** CPU time of the calling thread alone; of the whole process where the kernel does not tell. */
export function threadCpuMicros(): number {
  if (HAS_SCHEDULER_STATISTICS) return threadMicros("/proc/thread-self") ?? 0;
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Null for a thread that has ended since it was listed. */
function threadMicros(folder: string): number | null {
  try {
    return Number(readFileSync(`${folder}/schedstat`, "utf8").split(" ")[0]) / 1000;
  } catch {
    return null;
  }
}

function tickedCpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the name in parentheses and may hold spaces; the fields that count follow it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const userTicks = Number(fields[11]);
  const systemTicks = Number(fields[12]);
  return (userTicks + systemTicks) * TICK_MICROS;
}
