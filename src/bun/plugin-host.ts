/**
 * The plugin host: a chain of providers behind the core's AuthHost port.
 *
 * Invariant: every request gets exactly one verdict, and it is the provider's own only if it came in time and in the right
 * form. A throw, a rejection, a hang, junk, and an answer after the deadline are "refuse, unavailable"; they are logged
 * without the credentials, and they never reach the event loop. Nothing here decides about rights.
 *
 * A chain may be replaced at any time: what runs ends with the chain it began with, which is closed when the last call is over.
 */
import type { AbortSignalLike, ConnectRequest, Exchange, Refusal, Verdict } from "../core/gate/provider.ts";
import type { AuthHost, AuthRequest, Log } from "../core/ports.ts";
import { type ChainLink, closeChain } from "./plugin-chain.ts";
import type { ProviderReport } from "./plugin-meter.ts";
import { nowMs as brokerNowMs } from "./turn.ts";
import { readVerdict } from "./verdict-reader.ts";

/** One call of a provider. */
export const CALL_DEADLINE_MS = 5_000;

/** Takes the verdict of a request that `ask` did not answer at once. */
export type VerdictSink = (requestId: number, verdict: Verdict) => void;

interface HostOptions {
  readonly log: Log;
  readonly sink: VerdictSink;
  /** Milliseconds; for tests. */
  readonly callDeadlineMs?: number;
}

/** A chain and what still runs on it. */
class RunningChain {
  readonly links: readonly ChainLink[];
  uses = 0;
  retired: (() => void) | null = null;

  constructor(links: readonly ChainLink[]) {
    this.links = links;
  }

  release(): void {
    if (--this.uses === 0) this.retired?.();
  }
}

/** One exchange under way, from its first step to its last. */
interface RunningExchange {
  readonly link: ChainLink;
  readonly exchange: Exchange;
  readonly chain: RunningChain;
}

export class PluginHost implements AuthHost {
  #chain: RunningChain;
  readonly #log: Log;
  readonly #sink: VerdictSink;
  readonly #callDeadlineMs: number;
  readonly #exchanges = new Map<number, RunningExchange>();
  /** Ends what runs for an exchange, without an answer. */
  readonly #aborts = new Map<number, () => void>();

  constructor(links: readonly ChainLink[], options: HostOptions) {
    this.#chain = new RunningChain(links);
    this.#log = options.log;
    this.#sink = options.sink;
    this.#callDeadlineMs = options.callDeadlineMs ?? CALL_DEADLINE_MS;
  }

  /** From now on clients are asked by `links`; resolves when the old chain has ended what it began and is closed. */
  async replace(links: readonly ChainLink[]): Promise<void> {
    const old = this.#chain;
    this.#chain = new RunningChain(links);
    if (old.uses > 0) {
      await new Promise<void>((resolve) => {
        old.retired = resolve;
      });
    }
    await closeChain(old.links, this.#log);
  }

  /** Ends everything that runs and closes the chain. */
  async close(): Promise<void> {
    for (const exchangeId of [...this.#exchanges.keys(), ...this.#aborts.keys()]) this.abandon(exchangeId);
    await this.replace([]);
  }

  report(): ProviderReport[] {
    return this.#chain.links.map(({ meter }) => meter.report());
  }

  ask(request: AuthRequest): Verdict | undefined {
    return request.authenticationMethod === undefined
      ? this.#connect(this.#chain, request, connectRequest(request), 0)
      : this.#step(request, request.authenticationMethod);
  }

  abandon(exchangeId: number): void {
    const running = this.#exchanges.get(exchangeId);
    this.#aborts.get(exchangeId)?.();
    if (running === undefined) return;
    this.#exchanges.delete(exchangeId);
    try {
      running.exchange.abort?.();
    } catch (error) {
      this.#logFailure(running.link, error);
    }
    running.chain.release();
  }

  /** Asks the providers from `at` on until one does not skip; answers at once as long as they do. */
  #connect(chain: RunningChain, request: AuthRequest, question: ConnectRequest, at: number): Verdict | undefined {
    for (let next = at; next < chain.links.length; next++) {
      const link = chain.links[next]!;
      const { provider } = link;
      if (provider.connect === undefined) continue;
      const verdict = this.#call(
        chain,
        link,
        request,
        (signal) => provider.connect!(question, signal),
        (late) => {
          const answer = late.do === "skip" ? this.#connect(chain, request, question, next + 1) : late;
          if (answer !== undefined) this.#sink(request.id, answer);
        },
      );
      if (verdict === undefined || verdict.do !== "skip") return verdict;
    }
    return refusal("not-authorized", "no provider knows this kind of credential");
  }

  /** One step of an enhanced authentication, by the provider that owns the method. */
  #step(request: AuthRequest, method: string): Verdict | undefined {
    const running = this.#exchanges.get(request.exchangeId) ?? this.#begin(request, method);
    if (running === undefined) return refusal("bad-method", "no provider for this Authentication Method");
    const { link, exchange, chain } = running;
    const finish = (verdict: Verdict): Verdict => {
      if (verdict.do === "continue") return verdict;
      if (this.#exchanges.delete(request.exchangeId)) chain.release();
      return verdict.do === "skip" ? refusal("unavailable", "skip in an exchange") : verdict;
    };
    const verdict = this.#call(
      chain,
      link,
      request,
      (signal) => exchange.step(request.authenticationData, signal),
      (late) => this.#sink(request.id, finish(late)),
    );
    return verdict === undefined ? undefined : finish(verdict);
  }

  #begin(request: AuthRequest, method: string): RunningExchange | undefined {
    const chain = this.#chain;
    const link = chain.links.find(({ provider }) => provider.methods?.includes(method) === true);
    if (link?.provider.exchange === undefined) return undefined;
    let exchange: Exchange;
    try {
      exchange = link.provider.exchange(connectRequest(request));
      // An exchange is there at once; of one that is promised only the rejection is taken, so that nobody else meets it.
      if (isThenable(exchange)) Promise.resolve(exchange).catch(() => {});
    } catch (error) {
      this.#logFailure(link, error);
      // An exchange that only says no keeps the way of a verdict the same.
      exchange = { step: () => refusal("unavailable", "the provider threw") };
    }
    const running = { link, exchange, chain };
    chain.uses++;
    this.#exchanges.set(request.exchangeId, running);
    return running;
  }

  /** Calls a provider; a verdict that is there at once is answered, a later one goes to `later`, exactly once. */
  #call(
    chain: RunningChain,
    link: ChainLink,
    request: AuthRequest,
    call: (signal: AbortSignalLike) => Verdict | Promise<Verdict>,
    later: (verdict: Verdict) => void,
  ): Verdict | undefined {
    const startedAtMs = performance.now();
    if (!link.meter.admits(startedAtMs)) return refusal("unavailable", "the provider has failed too often");
    const abort = new AbortController();
    try {
      const answer: unknown = call(abort.signal);
      if (!isThenable(answer)) return this.#checked(link, request, answer, startedAtMs);
      this.#await(chain, link, request, abort, Promise.resolve(answer), startedAtMs, later);
      return undefined;
    } catch (error) {
      return this.#failed(link, error, startedAtMs);
    }
  }

  #await(
    chain: RunningChain,
    link: ChainLink,
    request: AuthRequest,
    abort: AbortController,
    answer: Promise<unknown>,
    startedAtMs: number,
    later: (verdict: Verdict) => void,
  ): void {
    const { exchangeId } = request;
    let isOpen = true;
    chain.uses++;
    /** Ends the waiting; answers false where it had ended before. */
    const end = (): boolean => {
      if (!isOpen) return false;
      isOpen = false;
      clearTimeout(timer);
      this.#aborts.delete(exchangeId);
      return true;
    };
    const finish = (verdict: () => Verdict): void => {
      if (!end()) return;
      try {
        later(verdict());
      } finally {
        chain.release();
      }
    };
    const timer = setTimeout(() => {
      const late = new Error(`no answer within ${this.#callDeadlineMs} ms`);
      finish(() => this.#failed(link, late, startedAtMs));
      this.#abort(abort);
    }, this.#callDeadlineMs);
    this.#aborts.set(exchangeId, () => {
      if (!end()) return;
      link.meter.abandoned();
      chain.release();
      this.#abort(abort);
    });
    answer.then(
      (value) => finish(() => this.#checked(link, request, value, startedAtMs)),
      (error) => finish(() => this.#failed(link, error, startedAtMs)),
    );
  }

  /**
   * Tells the provider that nobody waits any more. Behind everything that runs: what its listeners throw the runtime reports
   * as uncaught, and it must not look as if the core had thrown it.
   */
  #abort(abort: AbortController): void {
    queueMicrotask(() => abort.abort());
  }

  /** The verdict if it is one, as a copy that nobody else can change, with the provider's name on its principal. */
  #checked(link: ChainLink, request: AuthRequest, value: unknown, startedAtMs: number): Verdict {
    let verdict: Verdict | undefined;
    try {
      // Only a client that named a method can be asked on.
      verdict = readVerdict(value, request.authenticationMethod !== undefined);
    } catch (error) {
      return this.#failed(link, error, startedAtMs);
    }
    if (verdict === undefined) return this.#failed(link, new Error(NO_VERDICT), startedAtMs);
    const nowMs = performance.now();
    link.meter.record(verdict.do, nowMs - startedAtMs, nowMs);
    if (verdict.do !== "accept") return verdict;
    const { principal } = verdict;
    if (principal.expiresAtMs === undefined) return { ...verdict, principal: { ...principal, provider: link.name } };
    // Providers speak of the wall clock, the broker's clock does not step: what is left is carried over.
    const expiresAtMs = brokerNowMs() + (principal.expiresAtMs - Date.now());
    return { ...verdict, principal: { ...principal, provider: link.name, expiresAtMs } };
  }

  #failed(link: ChainLink, error: unknown, startedAtMs: number): Verdict {
    const nowMs = performance.now();
    // "Busy" is an answer: the provider is well, there is too much to do.
    if (error instanceof Error && error.name === "BusyError") {
      link.meter.record("refuse", nowMs - startedAtMs, nowMs);
      return refusal("busy", "too many clients are waiting for this provider");
    }
    link.meter.record("failed", nowMs - startedAtMs, nowMs);
    this.#logFailure(link, error);
    return refusal("unavailable", "the provider failed");
  }

  /** Only the kind of error is logged: its text may quote what the client sent. */
  #logFailure(link: ChainLink, error: unknown): void {
    this.#log.write("error", "plugin-failed", { plugin: link.name, error: kindOf(error) });
  }
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

function refusal(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}

/** What a provider is asked, from what the core asks. */
export function connectRequest(request: AuthRequest): ConnectRequest {
  const { certificate, upgrade } = request;
  return {
    protocolLevel: request.protocolLevel,
    clientId: request.clientId,
    cleanStart: request.cleanStart,
    username: request.username,
    password: request.password,
    authenticationMethod: request.authenticationMethod,
    userProperties: request.userProperties,
    will: request.will,
    peer: {
      address: request.remoteAddress,
      listener: request.listener,
      ...(certificate === undefined ? {} : { certificate }),
      ...(upgrade === undefined ? {} : { upgrade }),
    },
    current: request.current,
  };
}
