/**
 * One provider behind the core's AuthHost port, as the host would have it: what is no verdict, a throw and silence keep the
 * client out as "unavailable". Time is the test's: the deadline of a call passes when the clock is moved.
 *
 * Beside the verdict it keeps what the provider really said, for tests that want to know.
 */

import { connectRequest } from "../bun/plugin-host.ts";
import type {
  ConnectRequest,
  Exchange,
  Peer,
  Provider,
  RecheckRequest,
  Refusal,
  Verdict,
} from "../core/gate/provider.ts";
import type { AuthHost, AuthRequest } from "../core/ports.ts";
import type { LentServices } from "./lent-services.ts";
import { type Asked, verdictForm } from "./verdict-form.ts";

/** One call of `connect` or `step`; the contract's own bound. */
const CALL_DEADLINE_MS = 5_000;

/** Exchanges are counted from one. */
const NO_EXCHANGE = 0;

/** What a provider said when it was asked, before anybody judged it. */
export interface Said {
  /** What it returned, or what its promise became. */
  readonly answer?: unknown;
  /** What it threw, or what its promise was rejected with. */
  readonly error?: unknown;
  readonly threw: boolean;
  /** What the host would take for no verdict. */
  readonly invalid: readonly string[];
  /** What the host would ignore though it was meant for something. */
  readonly odd: readonly string[];
}

/** Who is being asked about: told by the harness, since a request does not say which client it is of. */
export interface Asking {
  readonly peer: Peer;
  said: Said | undefined;
  verdict: Verdict | undefined;
}

interface Waiting {
  readonly exchangeId: number;
  readonly deadlineMs: number;
  readonly abort: AbortController;
  end(said: Said): void;
}

export class ProviderUnderTest implements AuthHost {
  /** The client whose packet is being handled. `undefined`: the harness's own, which may do everything. */
  asking: Asking | undefined;
  readonly #name: string;
  #provider: Provider;
  readonly #services: LentServices;
  readonly #sink: (requestId: number, verdict: Verdict) => void;
  readonly #exchanges = new Map<number, Exchange>();
  readonly #waiting = new Set<Waiting>();

  constructor(
    name: string,
    provider: Provider,
    services: LentServices,
    sink: (requestId: number, verdict: Verdict) => void,
  ) {
    this.#name = name;
    this.#provider = provider;
    this.#services = services;
    this.#sink = sink;
  }

  ask(request: AuthRequest): Verdict | undefined {
    const { asking } = this;
    if (asking === undefined) return { do: "accept", principal: { id: "observer", permissions: "everything" } };
    const { exchangeId, authenticationMethod: method, authenticationData: data } = request;
    const question = questionOf(request, asking.peer);
    if (method === undefined) {
      if (this.#provider.connect === undefined) return this.#noted(asking, { do: "skip" });
      return this.#call(request, asking, "connect", (signal) => this.#provider.connect!(question, signal));
    }
    if (this.#provider.methods?.includes(method) !== true) {
      return this.#noted(asking, refusal("bad-method", "no provider for this Authentication Method"));
    }
    return this.#call(request, asking, "step", (signal) => {
      const exchange = this.#exchanges.get(exchangeId) ?? this.#provider.exchange!(question);
      this.#exchanges.set(exchangeId, exchange);
      return exchange.step(data, signal);
    });
  }

  abandon(exchangeId: number): void {
    const exchange = this.#exchanges.get(exchangeId);
    this.#exchanges.delete(exchangeId);
    for (const waiting of this.#waiting) {
      if (waiting.exchangeId !== exchangeId) continue;
      this.#waiting.delete(waiting);
      waiting.abort.abort();
    }
    try {
      exchange?.abort?.();
    } catch (error) {
      this.#logFailure(error);
    }
  }

  /** From now on clients are asked about by this provider. */
  replace(provider: Provider): void {
    this.#provider = provider;
  }

  /** What the provider says of somebody who is in; `undefined` where it cannot judge anew. */
  async recheck(request: RecheckRequest): Promise<Verdict | undefined> {
    if (this.#provider.recheck === undefined) return undefined;
    const abort = new AbortController();
    const { promise, resolve } = Promise.withResolvers<Said>();
    const waiting: Waiting = {
      exchangeId: NO_EXCHANGE,
      deadlineMs: this.#services.nowMs + CALL_DEADLINE_MS,
      abort,
      end: (what) => {
        this.#waiting.delete(waiting);
        resolve(what);
      },
    };
    this.#waiting.add(waiting);
    void recheckDirectly(this.#provider, request, abort.signal).then(waiting.end);
    return this.#verdictIn(await promise);
  }

  /** When the next call is out of time; Infinity: none waits. */
  get nextDeadlineMs(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...[...this.#waiting].map(({ deadlineMs }) => deadlineMs));
  }

  /** The clock has been moved: calls that are out of time are ended. */
  expire(): void {
    for (const waiting of this.#waiting) {
      if (waiting.deadlineMs > this.#services.nowMs) continue;
      waiting.end(thrown(new Error(`no answer within ${CALL_DEADLINE_MS} ms`)));
      waiting.abort.abort();
    }
  }

  #call(
    request: AuthRequest,
    asking: Asking,
    from: Asked,
    call: (signal: AbortSignal) => unknown,
  ): Verdict | undefined {
    const { id, exchangeId } = request;
    const abort = new AbortController();
    let answer: unknown;
    try {
      answer = call(abort.signal);
    } catch (error) {
      return this.#judged(exchangeId, asking, thrown(error));
    }
    if (!isThenable(answer)) return this.#judged(exchangeId, asking, said(answer, from));
    const deadlineMs = this.#services.nowMs + CALL_DEADLINE_MS;
    const waiting: Waiting = {
      exchangeId,
      deadlineMs,
      abort,
      end: (late) => {
        if (this.#waiting.delete(waiting)) this.#sink(id, this.#judged(exchangeId, asking, late));
      },
    };
    this.#waiting.add(waiting);
    answer.then(
      (value) => waiting.end(said(value, from)),
      (error) => waiting.end(thrown(error)),
    );
    return undefined;
  }

  #judged(exchangeId: number, asking: Asking, what: Said): Verdict {
    asking.said = what;
    const verdict = this.#verdictIn(what);
    if (verdict.do !== "continue") this.#exchanges.delete(exchangeId);
    return this.#noted(asking, verdict);
  }

  #verdictIn(what: Said): Verdict {
    const { answer, error, threw, invalid } = what;
    if (threw && error instanceof Error && error.name === "BusyError") return refusal("busy", "too many are waiting");
    if (threw) this.#logFailure(error);
    if (threw) return refusal("unavailable", "the provider failed");
    if (invalid.length > 0) {
      this.#services.log.write("error", "plugin-failed", { plugin: this.#name, error: invalid.join("; ") });
      return refusal("unavailable", "the provider's answer is no verdict");
    }
    const verdict = answer as Verdict;
    if (verdict.do !== "accept") return verdict;
    return { ...verdict, principal: { ...verdict.principal, provider: this.#name } };
  }

  #noted(asking: Asking, verdict: Verdict): Verdict {
    asking.verdict = verdict;
    return verdict;
  }

  /** As in the host only the kind of error is logged; a test finds the error itself in what was said. */
  #logFailure(error: unknown): void {
    const kind = error instanceof Error ? error.name : "not an Error";
    this.#services.log.write("error", "plugin-failed", { plugin: this.#name, error: kind });
  }
}

/** Asks a provider directly: `connect`, or the first step of an exchange where the request names a method. */
export async function askDirectly(
  provider: Provider,
  request: ConnectRequest,
  data: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Said> {
  const from = request.authenticationMethod === undefined ? "connect" : "step";
  try {
    if (from === "step") return said(await provider.exchange?.(request).step(data, signal), from);
    return said(provider.connect === undefined ? { do: "skip" } : await provider.connect(request, signal), from);
  } catch (error) {
    return thrown(error);
  }
}

/** Asks a provider that can directly: what it says of somebody who is in. */
export async function recheckDirectly(provider: Provider, request: RecheckRequest, signal: AbortSignal): Promise<Said> {
  try {
    return said(await provider.recheck?.(request, signal), "recheck");
  } catch (error) {
    return thrown(error);
  }
}

function said(answer: unknown, from: Asked): Said {
  return { answer, threw: false, ...verdictForm(answer, from) };
}

function thrown(error: unknown): Said {
  return { error, threw: true, invalid: [], odd: [] };
}

function questionOf(request: AuthRequest, peer: Peer): ConnectRequest {
  return { ...connectRequest(request), peer };
}

function refusal(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}
