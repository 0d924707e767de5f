/**
 * What the host lends a plugin (`PluginHostServices`): bounded fetching, limiting, files, secrets, the log.
 *
 * Invariant: nothing here waits without a deadline, reads without a bound, or leaves anything behind after `close`.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { FetchAnswer, FetchInit, PluginHostServices, Principal, SecretReference } from "../core/gate/provider.ts";
import type { Log } from "../core/ports.ts";

const FETCH_TIMEOUT_MS = 5_000;
const FETCH_BYTES_MAX = 256 * 1024;
/** An editor writes a file in several steps; the last one counts. */
const FILE_SETTLE_MS = 100;
/** For changes that the system does not tell. */
const FILE_POLL_MS = 5_000;

/** The queue of a limiter is full: the client is told to come again. */
export class BusyError extends Error {
  constructor() {
    super("too many jobs are waiting");
    this.name = "BusyError";
  }
}

export interface ServicesOptions {
  readonly plugin: string;
  readonly log: Log;
  /** Where relative paths begin. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly drop: (where: (principal: Principal, clientId: string) => boolean, why: string) => number;
}

export interface Services extends PluginHostServices {
  /** Has the plugin look at its files a last time, so that no change is lost with it. */
  lastLook(): Promise<void>;
  /** Ends the watching of files. */
  close(): void;
}

export function createServices(options: ServicesOptions): Services {
  const { plugin, log, folder, env, drop } = options;
  const watches = new Set<Watch>();
  const readFile = (path: string): Promise<Uint8Array> => Bun.file(resolve(folder, path)).bytes();
  const failed = (error: unknown): void => {
    log.write("warn", "file-watch-failed", { plugin, error: error instanceof Error ? error.name : "not an Error" });
  };
  return {
    log: (level, event, fields = {}) => log.write(level, event, { ...fields, plugin }),
    nowMs: Date.now,
    fetch: boundedFetch,
    limiter: createLimiter,
    readFile,
    secret: (reference) => readSecret(reference, env, readFile),
    async fileMode(path) {
      if (process.platform === "win32") return undefined;
      return (await stat(resolve(folder, path))).mode & 0o777;
    },
    watchFile(path, changed) {
      const one = watchOne(resolve(folder, path), changed, failed);
      watches.add(one);
      return () => {
        watches.delete(one);
        one.stop();
      };
    },
    drop,
    async lastLook() {
      await Promise.all([...watches].map((one) => one.lastLook()));
    },
    close() {
      for (const one of watches) one.stop();
      watches.clear();
    },
  };
}

async function readSecret(
  reference: SecretReference,
  env: ServicesOptions["env"],
  readFile: (path: string) => Promise<Uint8Array>,
): Promise<string> {
  if ("file" in reference) return new TextDecoder().decode(await readFile(reference.file)).replace(/\r?\n$/u, "");
  const value = env[reference.env];
  if (value === undefined || value === "") throw new Error(`environment variable ${reference.env} is not set`);
  return value;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d+){3}$/u.test(hostname);
}

/** HTTPS, or HTTP to loopback; one deadline for headers and body; the body bounded; redirects not followed. */
export async function boundedFetch(url: string, init: FetchInit = {}): Promise<FetchAnswer> {
  const { protocol, hostname } = new URL(url);
  if (protocol !== "https:" && !(protocol === "http:" && isLoopback(hostname))) {
    throw new Error(`${protocol}//${hostname}: expected https, or http to loopback`);
  }
  const { signal, bytesMax = FETCH_BYTES_MAX, timeoutMs = FETCH_TIMEOUT_MS } = init;
  const timeout = AbortSignal.timeout(timeoutMs);
  const abort = signal instanceof AbortSignal ? AbortSignal.any([timeout, signal]) : timeout;
  const response = await fetch(url, {
    method: init.method ?? "GET",
    headers: { ...init.headers },
    body: init.body ?? null,
    redirect: "manual",
    signal: abort,
  });
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers.entries()),
    text: await readBounded(response, bytesMax, hostname),
  };
}

async function readBounded(response: Response, bytesMax: number, hostname: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  const reader = response.body?.getReader();
  if (reader === undefined) return text;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > bytesMax) {
      await reader.cancel();
      throw new Error(`${hostname} answered more than ${bytesMax} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** A job that waits longer is given up: the client would be gone before its turn came. */
const WAIT_MS_MAX = 2_000;

/** At most `running` jobs at once, at most `waiting` behind them for at most two seconds, first come first served. */
export function createLimiter(
  running: number,
  waiting: number,
  waitMsMax = WAIT_MS_MAX,
): <T>(job: () => Promise<T>) => Promise<T> {
  let free = running;
  const queue = new Set<() => void>();
  const turn = (): Promise<void> =>
    new Promise((go, giveUp) => {
      const begin = (): void => {
        clearTimeout(timer);
        queue.delete(begin);
        go();
      };
      const timer = setTimeout(() => {
        queue.delete(begin);
        giveUp(new BusyError());
      }, waitMsMax);
      queue.add(begin);
    });
  return async (job) => {
    if (free > 0) free--;
    else if (queue.size >= waiting) throw new BusyError();
    else await turn();
    try {
      return await job();
    } finally {
      const [next] = queue;
      if (next === undefined) free++;
      else next();
    }
  };
}

/** One file that is looked after. */
interface Watch {
  stop(): void;
  /** Tells the plugin of whatever has changed by now. */
  lastLook(): Promise<void>;
}

/**
 * Watches the folder, since a file that is replaced is another file under the same name, and may hang together with others
 * (a link that is turned to a new folder); looks itself now and then, since a folder may be replaced too.
 */
function watchOne(path: string, changed: () => void | Promise<void>, failed: (error: unknown) => void): Watch {
  let settle: ReturnType<typeof setTimeout> | undefined;
  let seen = signatureOf(path);
  const tell = async (): Promise<void> => {
    seen = signatureOf(path);
    try {
      await changed();
    } catch (error) {
      failed(error);
    }
  };
  const look = (): void => {
    if (signatureOf(path) === seen) return;
    clearTimeout(settle);
    settle = setTimeout(() => void tell(), FILE_SETTLE_MS);
  };
  const poll = setInterval(look, FILE_POLL_MS).unref();
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(path), { persistent: false }, look);
    watcher.on("error", failed);
  } catch (error) {
    // Without events of the system the polling does it, slower.
    failed(error);
  }
  return {
    stop() {
      clearTimeout(settle);
      clearInterval(poll);
      watcher?.close();
    },
    lastLook: tell,
  };
}

/** What changes when a file is written to or replaced. */
function signatureOf(path: string): string {
  try {
    const { ino, mtimeMs, ctimeMs, size } = statSync(path);
    return `${ino} ${mtimeMs} ${ctimeMs} ${size}`;
  } catch {
    return "none";
  }
}
