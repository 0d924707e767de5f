/**
 * The host services that a plugin under test is lent: a clock that is moved by hand, files and environment that the test
 * wrote, a log that is kept, and the real limiter and fetch, or the test's own fetch.
 *
 * Knows what is still under way, so that a test can tell whether a plugin left something behind.
 */
import { boundedFetch, createLimiter } from "../bun/plugin-services.ts";
import type { PluginHostServices, Principal } from "../core/gate/provider.ts";
import type { Log, LogFields, LogLevel } from "../core/ports.ts";

/** What a plugin finds around itself. Nothing of this machine is in it unless the test puts it there. */
export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  /** By the very paths that the settings name. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Default: the host's own, which reaches loopback services of the test. */
  readonly fetch?: PluginHostServices["fetch"];
  /** When the clock begins, milliseconds since 1970. Default: now. */
  readonly nowMs?: number;
}

export interface LoggedLine {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
  /** Level, event and fields in one line, for searching. */
  readonly text: string;
}

export class LentServices {
  nowMs: number;
  readonly logged: LoggedLine[] = [];
  readonly log: Log = { write: (level, event, fields) => this.#write(level, event, fields) };
  /** Calls of `fetch` so far. */
  fetchCount = 0;
  /** Calls of `fetch` and jobs of limiters that have not ended. */
  underWay = 0;
  readonly #surroundings: Surroundings;
  readonly #files: Map<string, Uint8Array>;
  readonly #watchers = new Map<string, Set<() => void | Promise<void>>>();

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.nowMs = surroundings.nowMs ?? Date.now();
    this.#files = new Map(Object.entries(surroundings.files ?? {}).map(([path, content]) => [path, bytesOf(content)]));
  }

  /** What `create` gets. `drop` ends connections of the harness's broker. */
  lend(plugin: string, drop: (where: (principal: Principal, clientId: string) => boolean, why: string) => number) {
    const services: PluginHostServices = {
      log: (level, event, fields = {}) => this.#write(level, event, { ...fields, plugin }),
      nowMs: () => this.nowMs,
      fetch: (url, init) => {
        this.fetchCount++;
        return this.#count(() => (this.#surroundings.fetch ?? boundedFetch)(url, init));
      },
      limiter: (running, waiting) => {
        const limit = createLimiter(running, waiting);
        return (job) => this.#count(() => limit(job));
      },
      secret: async (reference) => {
        if ("file" in reference) return new TextDecoder().decode(this.#file(reference.file)).replace(/\r?\n$/u, "");
        const value = this.#surroundings.env?.[reference.env];
        if (value === undefined || value === "") throw new Error(`environment variable ${reference.env} is not set`);
        return value;
      },
      readFile: async (path) => this.#file(path).slice(),
      fileMode: async (path) => {
        this.#file(path);
        return 0o600;
      },
      watchFile: (path, changed) => this.#watch(path, changed),
      drop,
    };
    return services;
  }

  /** Writes a file and tells whoever watches it, at once. */
  writeFile(path: string, content: string | Uint8Array): void {
    this.#files.set(path, bytesOf(content));
    for (const changed of [...(this.#watchers.get(path) ?? [])]) void changed();
  }

  /** As when the chain is replaced or the broker stops: files are watched no longer. */
  close(): void {
    this.#watchers.clear();
  }

  #file(path: string): Uint8Array {
    const content = this.#files.get(path);
    if (content === undefined) throw new Error(`no such file: ${path}`);
    return content;
  }

  #watch(path: string, changed: () => void | Promise<void>): () => void {
    const watchers = this.#watchers.get(path) ?? new Set();
    this.#watchers.set(path, watchers.add(changed));
    return () => void watchers.delete(changed);
  }

  async #count<T>(job: () => Promise<T>): Promise<T> {
    this.underWay++;
    try {
      return await job();
    } finally {
      this.underWay--;
    }
  }

  #write(level: LogLevel, event: string, fields: LogFields): void {
    const values = Object.entries(fields).map(([key, value]) => ` ${key}=${value}`);
    this.logged.push({ level, event, fields, text: `${level} ${event}${values.join("")}` });
  }
}

export function bytesOf(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? new TextEncoder().encode(data) : data;
}
