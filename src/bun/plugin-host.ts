/**
 * The plugin host: a chain of providers behind the core's AuthHost port.
 *
 * Invariant: every request gets exactly one verdict, by the rules of provider-call.ts. Nothing here decides about rights.
 *
 * A chain may be replaced at any time: what runs ends with the chain it began with, which is closed when the last call is over
 * and, where sessions are judged anew (recheck.ts), nobody needs its judgement any more.
 */
import type { AbortSignalLike, ConnectRequest, Exchange, Verdict } from "../core/gate/provider.ts";
import type { AuthHost, AuthRequest, Log } from "../core/ports.ts";
import { type ChainLink, closeChain } from "./plugin-chain.ts";
import type { ProviderReport } from "./plugin-meter.ts";
import { isThenable, ProviderCalls, refusal } from "./provider-call.ts";
import { type JudgedSessions, Recheck } from "./recheck.ts";

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
  /** Resolves when the chain was replaced and nothing runs on it any more. */
  readonly ended: Promise<void>;
  #uses = 0;
  #isRetired = false;
  #end: () => void = () => {};

  constructor(links: readonly ChainLink[]) {
    this.links = links;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get isInUse(): boolean {
    return this.#uses > 0;
  }

  use(): void {
    this.#uses++;
  }

  release(): void {
    this.#uses--;
    this.#look();
  }

  retire(): void {
    this.#isRetired = true;
    this.#look();
  }

  #look(): void {
    if (this.#isRetired && this.#uses === 0) this.#end();
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
  /** Chains that were replaced and have not ended what they began. */
  readonly #ending = new Set<RunningChain>();
  readonly #replacing = new Set<Promise<void>>();
  #recheck: Recheck | undefined;
  readonly #log: Log;
  readonly #sink: VerdictSink;
  readonly #calls: ProviderCalls;
  readonly #exchanges = new Map<number, RunningExchange>();
  /** Ends what runs for an exchange, without an answer. */
  readonly #aborts = new Map<number, () => void>();

  constructor(links: readonly ChainLink[], options: HostOptions) {
    this.#chain = new RunningChain(links);
    this.#log = options.log;
    this.#sink = options.sink;
    this.#calls = new ProviderCalls(options.log, options.callDeadlineMs);
  }

  /**
   * From now on clients are asked by `links`. Resolves when the old chain has ended what it began and is closed; where
   * `sessions` are given, when they have been judged anew too, or another chain has come to judge them.
   */
  replace(links: readonly ChainLink[], sessions?: JudgedSessions): Promise<void> {
    const replaced = this.#replace(links, sessions).finally(() => this.#replacing.delete(replaced));
    this.#replacing.add(replaced);
    return replaced;
  }

  async #replace(links: readonly ChainLink[], sessions: JudgedSessions | undefined): Promise<void> {
    const old = this.#chain;
    this.#chain = new RunningChain(links);
    this.#recheck?.stop();
    if (old.isInUse) {
      this.#ending.add(old);
      void old.ended.then(() => this.#ending.delete(old));
    }
    old.retire();
    try {
      if (sessions !== undefined) await this.#judge(sessions);
    } finally {
      await old.ended;
      await closeChain(old.links, this.#log);
    }
  }

  /** Whom an earlier chain lets in while this one judges is judged when the earlier one has ended. */
  async #judge(sessions: JudgedSessions): Promise<void> {
    const chain = this.#chain;
    const recheck = new Recheck(chain.links, this.#calls, sessions, this.#log);
    const earlier = [...this.#ending].map(({ ended }) => ended);
    this.#recheck = recheck;
    chain.use();
    try {
      await recheck.run(earlier.length === 0 ? undefined : Promise.all(earlier));
    } finally {
      chain.release();
    }
  }

  /** Ends everything that runs and closes the chain, and those that were replaced before. */
  async close(): Promise<void> {
    for (const exchangeId of [...this.#exchanges.keys(), ...this.#aborts.keys()]) this.abandon(exchangeId);
    const closed = this.replace([]);
    await Promise.allSettled(this.#replacing);
    await closed;
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
      this.#calls.logFailure(running.link, error);
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
      this.#calls.logFailure(link, error);
      // An exchange that only says no keeps the way of a verdict the same.
      exchange = { step: () => refusal("unavailable", "the provider threw") };
    }
    const running = { link, exchange, chain };
    chain.use();
    this.#exchanges.set(request.exchangeId, running);
    return running;
  }

  /** Calls a provider; a verdict that is there at once is answered, a later one goes to `later`, exactly once. */
  #call(
    chain: RunningChain,
    link: ChainLink,
    { exchangeId, authenticationMethod }: AuthRequest,
    run: (signal: AbortSignalLike) => Verdict | Promise<Verdict>,
    later: (verdict: Verdict) => void,
  ): Verdict | undefined {
    const begun = this.#calls.begin(link, {
      // Only a client that named a method can be asked on.
      mayContinue: authenticationMethod !== undefined,
      run,
      later: (verdict) => {
        this.#aborts.delete(exchangeId);
        try {
          later(verdict);
        } finally {
          chain.release();
        }
      },
    });
    if ("do" in begun) return begun;
    chain.use();
    this.#aborts.set(exchangeId, () => {
      this.#aborts.delete(exchangeId);
      begun.abandon();
      chain.release();
    });
    return undefined;
  }
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
