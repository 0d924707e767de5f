/**
 * One call of a provider: its deadline, its meter, and what its answer counts as.
 *
 * Invariant: every call that begins has one verdict, unless it is abandoned, and it is the provider's own only if it came in
 * time and in the right form. A throw, a rejection, a hang, junk, and an answer after the deadline are "refuse, unavailable";
 * they are logged without the credentials, and they never reach the event loop.
 */
import type { AbortSignalLike, Refusal, Verdict } from "../core/gate/provider.ts";
import type { Log } from "../core/ports.ts";
import type { ChainLink } from "./plugin-chain.ts";
import { nowMs as brokerNowMs } from "./turn.ts";
import { readVerdict } from "./verdict-reader.ts";

const CALL_DEADLINE_MS = 5_000;

/** What a call needs to know of the provider it asks. */
export type AskedLink = Pick<ChainLink, "name" | "generation" | "meter">;

/** A call whose verdict will come. */
export interface CallUnderWay {
  /** Nobody waits any more: no verdict comes, and the provider's signal is aborted. */
  abandon(): void;
}

export interface ProviderCall {
  /** "continue" is an answer only where the client can be asked on. */
  readonly mayContinue: boolean;
  run(signal: AbortSignalLike): Verdict | Promise<Verdict>;
  /** Takes the verdict of a call that `begin` did not answer at once. */
  later(verdict: Verdict): void;
}

export class ProviderCalls {
  readonly #log: Log;
  readonly #deadlineMs: number;

  constructor(log: Log, deadlineMs = CALL_DEADLINE_MS) {
    this.#log = log;
    this.#deadlineMs = deadlineMs;
  }

  /** Calls a provider; a verdict that is there at once is answered. */
  begin(link: AskedLink, call: ProviderCall): Verdict | CallUnderWay {
    const startedAtMs = performance.now();
    if (!link.meter.admits(startedAtMs)) return refusal("unavailable", "the provider has failed too often");
    const abort = new AbortController();
    try {
      const answer: unknown = call.run(abort.signal);
      if (!isThenable(answer)) return this.#checked(link, call, answer, startedAtMs);
      return this.#await(link, call, abort, Promise.resolve(answer), startedAtMs);
    } catch (error) {
      return this.#failed(link, error, startedAtMs);
    }
  }

  /** Only the kind of error is logged: its text may quote what the client sent. */
  logFailure({ name }: AskedLink, error: unknown): void {
    this.#log.write("error", "plugin-failed", { plugin: name, error: kindOf(error) });
  }

  #await(
    link: AskedLink,
    call: ProviderCall,
    abort: AbortController,
    answer: Promise<unknown>,
    startedAtMs: number,
  ): CallUnderWay {
    let isOpen = true;
    /** Ends the waiting; answers false where it had ended before. */
    const end = (): boolean => {
      if (!isOpen) return false;
      isOpen = false;
      clearTimeout(timer);
      return true;
    };
    const finish = (verdict: () => Verdict): void => {
      if (end()) call.later(verdict());
    };
    // Behind everything that runs: what the signal's listeners throw the runtime reports as uncaught, and it must not look
    // as if the core had thrown it.
    const tell = (): void => queueMicrotask(() => abort.abort());
    const timer = setTimeout(() => {
      const late = new Error(`no answer within ${this.#deadlineMs} ms`);
      finish(() => this.#failed(link, late, startedAtMs));
      tell();
    }, this.#deadlineMs);
    answer.then(
      (value) => finish(() => this.#checked(link, call, value, startedAtMs)),
      (error) => finish(() => this.#failed(link, error, startedAtMs)),
    );
    return {
      abandon() {
        if (!end()) return;
        link.meter.abandoned();
        tell();
      },
    };
  }

  /** The verdict if it is one, as a copy that nobody else can change, with the provider's name on its principal. */
  #checked(link: AskedLink, { mayContinue }: ProviderCall, value: unknown, startedAtMs: number): Verdict {
    let verdict: Verdict | undefined;
    try {
      verdict = readVerdict(value, mayContinue);
    } catch (error) {
      return this.#failed(link, error, startedAtMs);
    }
    if (verdict === undefined) return this.#failed(link, new Error(NO_VERDICT), startedAtMs);
    const nowMs = performance.now();
    link.meter.record(verdict.do, nowMs - startedAtMs, nowMs);
    if (verdict.do !== "accept") return verdict;
    const principal = { ...verdict.principal, provider: link.name, generation: link.generation };
    if (principal.expiresAtMs === undefined) return { ...verdict, principal };
    return { ...verdict, principal: { ...principal, expiresAtMs: principal.expiresAtMs + brokerAheadMs() } };
  }

  #failed(link: AskedLink, error: unknown, startedAtMs: number): Verdict {
    const nowMs = performance.now();
    // "Busy" is an answer: the provider is well, there is too much to do.
    if (error instanceof Error && error.name === "BusyError") {
      link.meter.record("refuse", nowMs - startedAtMs, nowMs);
      return refusal("busy", "too many clients are waiting for this provider");
    }
    link.meter.record("failed", nowMs - startedAtMs, nowMs);
    this.logFailure(link, error);
    return refusal("unavailable", "the provider failed");
  }
}

/** Providers speak of the wall clock, the broker's clock does not step: by how much the two differ now. */
export function brokerAheadMs(): number {
  return brokerNowMs() - Date.now();
}

const NO_VERDICT = "an answer that is no verdict";

/** What an error is called, without what it says; whatever a plugin throws, asking it throws nothing. */
function kindOf(error: unknown): string {
  try {
    if (!(error instanceof Error)) return "not an Error";
    const { message, name } = error;
    if (message === NO_VERDICT || message.startsWith("no answer within")) return message;
    const code: unknown = "code" in error ? error.code : undefined;
    return typeof code === "string" ? `${name} ${code}` : name;
  } catch {
    return "an Error that cannot be read";
  }
}

export function refusal(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}
