/**
 * What the host lends a plugin (`PluginHostServices`): bounded fetching, limiting, files, secrets, the log.
 *
 * Invariant: nothing here waits without a deadline, reads without a bound, or leaves anything behind after `close`.
 */
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import type { FetchAnswer, FetchInit, PluginHostServices, Principal, SecretReference } from "../core/gate/provider.ts";
import type { Log } from "../core/ports.ts";

const FETCH_TIMEOUT_MS = 5_000;
const FETCH_BYTES_MAX = 256 * 1024;
/** An editor writes a file in several steps; the last one counts. */
const FILE_SETTLE_MS = 100;

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
  /** Ends the watching of files. */
  close(): void;
}

export function createServices(options: ServicesOptions): Services {
  const { plugin, log, folder, env, drop } = options;
  const watchers = new Set<() => void>();
  const readFile = (path: string): Promise<Uint8Array> => Bun.file(resolve(folder, path)).bytes();
  return {
    log: (level, event, fields = {}) => log.write(level, event, { ...fields, plugin }),
    nowMs: Date.now,
    fetch: boundedFetch,
    limiter: createLimiter,
    readFile,
    secret: (reference) => readSecret(reference, env, readFile),
    watchFile(path, changed) {
      const stop = watchOne(resolve(folder, path), changed);
      const end = (): void => {
        watchers.delete(end);
        stop();
      };
      watchers.add(end);
      return end;
    },
    drop,
    close() {
      for (const end of watchers) end();
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

/** At most `running` jobs at once, at most `waiting` behind them, first come first served. */
export function createLimiter(running: number, waiting: number): <T>(job: () => Promise<T>) => Promise<T> {
  let free = running;
  const queue: (() => void)[] = [];
  return async (job) => {
    if (free === 0) {
      if (queue.length >= waiting) throw new BusyError();
      await new Promise<void>((resolveTurn) => queue.push(resolveTurn));
    } else {
      free--;
    }
    try {
      return await job();
    } finally {
      const next = queue.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}

/** Watches the folder, since a file that is replaced is another file under the same name. */
function watchOne(path: string, changed: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const name = basename(path);
  const watcher: FSWatcher = watch(dirname(path), { persistent: false }, (_event, file) => {
    if (file !== null && file !== name) return;
    clearTimeout(timer);
    timer = setTimeout(changed, FILE_SETTLE_MS);
  });
  watcher.on("error", () => {});
  return () => {
    clearTimeout(timer);
    watcher.close();
  };
}
