/**
 * Providers that read a user file, as tests start them: a file in a folder of its own, a clock moved by hand, a limiter that
 * counts, the lines of the log, and who was dropped.
 *
 * Invariant: everything opened here is gone after `closeUserFiles`.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hash } from "@node-rs/argon2";
import { createServices } from "../../src/bun/plugin-services.ts";
import type {
  AbortSignalLike,
  AuthPlugin,
  ConnectRequest,
  PluginHostServices,
  Principal,
  PrincipalInit,
  Provider,
  Verdict,
} from "../../src/core/gate/provider.ts";

const open = new Set<() => void | Promise<void>>();

export async function closeUserFiles(): Promise<void> {
  const closers = [...open].reverse();
  open.clear();
  for (const close of closers) await close();
}

/** Lines of a log, and a wait for the next one of a kind. */
export class LogLines {
  readonly lines: string[] = [];
  #waits: { event: string; resolve: (line: string) => void }[] = [];

  write(level: string, event: string, fields: object): void {
    const line = `${level} ${event} ${JSON.stringify(fields)}`;
    this.lines.push(line);
    for (const wait of this.#waits.filter((waiting) => waiting.event === event)) wait.resolve(line);
    this.#waits = this.#waits.filter((waiting) => waiting.event !== event);
  }

  next(event: string): Promise<string> {
    return new Promise((resolve) => this.#waits.push({ event, resolve }));
  }
}

export class UserFile {
  readonly folder = mkdtempSync(join(tmpdir(), "rqtt-users-"));
  readonly path = join(this.folder, "users");
  readonly log = new LogLines();
  readonly clock = { nowMs: 1_800_000_000_000 };
  /** Live principals, for `drop` to look at. */
  readonly live: Principal[] = [];
  readonly dropped: string[] = [];
  readonly jobs = { started: 0, running: 0, runningMax: 0 };
  /** When set, every job waits for it before it starts. */
  gate: Promise<void> | undefined;

  constructor(text: string) {
    this.write(text);
    open.add(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  write(text: string | Uint8Array, mode = 0o600): void {
    writeFileSync(this.path, text);
    chmodSync(this.path, mode);
  }

  async provider<C>(plugin: AuthPlugin<C>, settings: object = {}): Promise<Provider> {
    const checked = await plugin.config!["~standard"].validate({ file: "users", ...settings });
    if (checked.issues !== undefined) throw new Error(checked.issues.map(({ message }) => message).join("; "));
    const services = createServices({
      plugin: plugin.name,
      log: this.log,
      folder: this.folder,
      env: { SALT_KEY: "a long random text" },
      drop: (where) => {
        const gone = this.live.filter((principal) => where(principal, ""));
        this.dropped.push(...gone.map(({ id }) => id));
        return gone.length;
      },
    });
    open.add(() => services.close());
    const host: PluginHostServices = {
      ...services,
      nowMs: () => this.clock.nowMs,
      limiter: (running, waiting) => this.#counted(services.limiter(running, waiting)),
    };
    const provider = await plugin.create(checked.value, host);
    open.add(() => provider.close?.());
    return provider;
  }

  /** A new text, and the log's word on it. */
  async replace(text: string | Uint8Array, event = "user-file-loaded"): Promise<string> {
    const said = this.log.next(event);
    this.write(text);
    return said;
  }

  #counted(limited: ReturnType<PluginHostServices["limiter"]>): ReturnType<PluginHostServices["limiter"]> {
    return (job) =>
      limited(async () => {
        this.jobs.started++;
        this.jobs.runningMax = Math.max(this.jobs.runningMax, ++this.jobs.running);
        try {
          await this.gate;
          return await job();
        } finally {
          this.jobs.running--;
        }
      });
  }
}

/** A hash that costs next to nothing. */
export function cheapHash(password: string | Uint8Array, timeCost = 1): Promise<string> {
  return hash(password, { memoryCost: 64, timeCost, parallelism: 1 });
}

export function connectRequest(changes: Partial<ConnectRequest> & { readonly address?: string } = {}): ConnectRequest {
  const { address = "192.0.2.1", ...rest } = changes;
  return {
    protocolLevel: 5,
    clientId: "c",
    cleanStart: true,
    username: undefined,
    password: undefined,
    authenticationMethod: undefined,
    userProperties: [],
    will: undefined,
    current: undefined,
    peer: { address, listener: "mqtt://127.0.0.1:1883" },
    ...rest,
  };
}

export const LIVE_SIGNAL: AbortSignalLike = { aborted: false, addEventListener() {}, removeEventListener() {} };

export async function logIn(
  provider: Provider,
  username: string | undefined,
  password: string | Uint8Array | undefined,
  address?: string,
  signal: AbortSignalLike = LIVE_SIGNAL,
): Promise<Verdict> {
  const bytes = typeof password === "string" ? new TextEncoder().encode(password) : password;
  const request = connectRequest({ username, password: bytes, ...(address === undefined ? {} : { address }) });
  return provider.connect!(request, signal);
}

/** The word of a refusal, or "accept", "skip", "continue". */
export function wordOf(verdict: Verdict): string {
  return verdict.do === "refuse" ? verdict.because : verdict.do;
}

export function principalOf(verdict: Verdict): PrincipalInit {
  if (verdict.do !== "accept") throw new Error(`not let in: ${JSON.stringify(verdict)}`);
  return verdict.principal;
}
