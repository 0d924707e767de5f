/**
 * The plugin host: a chain of providers behind the core's AuthHost port.
 *
 * Invariant: every request gets exactly one verdict, and it is the provider's own only if it came in time and in the right
 * form. A throw, a rejection, a hang, junk, and an answer after the deadline are "refuse, unavailable"; they are logged
 * without the credentials, and they never reach the event loop. Nothing here decides about rights.
 */
import type {
  AbortSignalLike,
  AuthPlugin,
  ConnectRequest,
  Exchange,
  PluginHostServices,
  Principal,
  Provider,
  Refusal,
  Verdict,
} from "../core/gate/provider.ts";
import type { AuthHost, AuthRequest, Log } from "../core/ports.ts";

/** One call of a provider. */
export const CALL_DEADLINE_MS = 5_000;

/** A provider as the chain has it. */
export interface ChainLink {
  readonly name: string;
  readonly provider: Provider;
}

export interface PluginUse {
  readonly plugin: AuthPlugin;
  readonly config?: unknown;
}

/** Takes the verdict of a request that `ask` did not answer at once. */
export type VerdictSink = (requestId: number, verdict: Verdict) => void;

interface Running {
  readonly link: ChainLink;
  readonly exchange: Exchange;
}

const REFUSALS: readonly Refusal[] = [
  "bad-credentials",
  "not-authorized",
  "client-id",
  "banned",
  "unavailable",
  "busy",
  "bad-method",
];

/** Creates the providers of a chain, in order; if one cannot be created the earlier ones are closed and it rejects. */
export async function createChain(uses: readonly PluginUse[], log: Log): Promise<ChainLink[]> {
  const chain: ChainLink[] = [];
  try {
    for (const { plugin, config } of uses) {
      if (plugin.apiVersion !== 1)
        throw new Error(`plugin ${plugin.name}: apiVersion ${plugin.apiVersion}, expected 1`);
      const provider = await plugin.create(config, services(plugin.name, log));
      checkMethods(chain, plugin.name, provider);
      chain.push({ name: plugin.name, provider });
    }
    return chain;
  } catch (error) {
    await closeChain(chain, log);
    throw error;
  }
}

export async function closeChain(chain: readonly ChainLink[], log: Log): Promise<void> {
  for (const { name, provider } of chain) {
    try {
      await provider.close?.();
    } catch (error) {
      log.write("warn", "plugin-close-failed", { plugin: name, error: String(error) });
    }
  }
}

function checkMethods(chain: readonly ChainLink[], name: string, provider: Provider): void {
  for (const method of provider.methods ?? []) {
    const owner = chain.find((link) => link.provider.methods?.includes(method));
    if (owner !== undefined)
      throw new Error(`plugins ${owner.name} and ${name} both want Authentication Method ${method}`);
  }
}

function services(name: string, log: Log): PluginHostServices {
  return {
    log: (level, event, fields = {}) => log.write(level, event, { ...fields, plugin: name }),
    nowMs: Date.now,
  };
}

export class PluginHost implements AuthHost {
  readonly #chain: readonly ChainLink[];
  readonly #log: Log;
  readonly #sink: VerdictSink;
  readonly #exchanges = new Map<number, Running>();
  /** Aborts what runs for an exchange. */
  readonly #aborts = new Map<number, AbortController>();

  constructor(chain: readonly ChainLink[], log: Log, sink: VerdictSink) {
    this.#chain = chain;
    this.#log = log;
    this.#sink = sink;
  }

  ask(request: AuthRequest): Verdict | undefined {
    return request.authenticationMethod === undefined
      ? this.#connect(request, connectRequest(request), 0)
      : this.#step(request, request.authenticationMethod);
  }

  abandon(exchangeId: number): void {
    const running = this.#exchanges.get(exchangeId);
    this.#exchanges.delete(exchangeId);
    this.#aborts.get(exchangeId)?.abort();
    this.#aborts.delete(exchangeId);
    if (running === undefined) return;
    try {
      running.exchange.abort?.();
    } catch (error) {
      this.#failed(running.link, error);
    }
  }

  /** Asks the providers from `at` on until one does not skip; answers at once as long as they do. */
  #connect(request: AuthRequest, question: ConnectRequest, at: number): Verdict | undefined {
    for (let next = at; next < this.#chain.length; next++) {
      const link = this.#chain[next]!;
      const { provider } = link;
      if (provider.connect === undefined) continue;
      const verdict = this.#call(
        link,
        request,
        (signal) => provider.connect!(question, signal),
        (late) => {
          const answer = late.do === "skip" ? this.#connect(request, question, next + 1) : late;
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
    if (running === undefined) return refusal("bad-method", `no provider for Authentication Method ${method}`);
    const { link, exchange } = running;
    const finish = (verdict: Verdict): Verdict => {
      if (verdict.do !== "continue") this.#exchanges.delete(request.exchangeId);
      return verdict.do === "skip" ? refusal("unavailable", "skip in an exchange") : verdict;
    };
    const verdict = this.#call(
      link,
      request,
      (signal) => exchange.step(request.authenticationData, signal),
      (late) => this.#sink(request.id, finish(late)),
    );
    return verdict === undefined ? undefined : finish(verdict);
  }

  #begin(request: AuthRequest, method: string): Running | undefined {
    const link = this.#chain.find(({ provider }) => provider.methods?.includes(method) === true);
    if (link?.provider.exchange === undefined) return undefined;
    let running: Running;
    try {
      running = { link, exchange: link.provider.exchange(connectRequest(request)) };
    } catch (error) {
      this.#failed(link, error);
      // An exchange that only says no keeps the way of a verdict the same.
      running = { link, exchange: { step: () => refusal("unavailable", "the provider threw") } };
    }
    this.#exchanges.set(request.exchangeId, running);
    return running;
  }

  /** Calls a provider; a verdict that is there at once is answered, a later one goes to `later`, exactly once. */
  #call(
    link: ChainLink,
    request: AuthRequest,
    call: (signal: AbortSignalLike) => Verdict | Promise<Verdict>,
    later: (verdict: Verdict) => void,
  ): Verdict | undefined {
    const abort = new AbortController();
    try {
      const answer: unknown = call(abort.signal);
      if (!(answer instanceof Promise)) return this.#checked(link, answer);
      this.#aborts.set(request.exchangeId, abort);
      this.#await(link, request, abort, answer, later);
      return undefined;
    } catch (error) {
      this.#failed(link, error);
      return refusal("unavailable", "the provider threw");
    }
  }

  #await(
    link: ChainLink,
    request: AuthRequest,
    abort: AbortController,
    answer: Promise<unknown>,
    later: (verdict: Verdict) => void,
  ): void {
    let isOpen = true;
    const close = (verdict: Verdict): void => {
      if (!isOpen) return;
      isOpen = false;
      clearTimeout(timer);
      if (this.#aborts.get(request.exchangeId) === abort) this.#aborts.delete(request.exchangeId);
      later(verdict);
    };
    const timer = setTimeout(() => {
      this.#failed(link, new Error(`no answer within ${CALL_DEADLINE_MS} ms`));
      close(refusal("unavailable", "the provider took too long"));
      abort.abort();
    }, CALL_DEADLINE_MS);
    answer.then(
      (value) => close(this.#checked(link, value)),
      (error) => {
        if (isOpen) this.#failed(link, error);
        close(refusal("unavailable", "the provider threw"));
      },
    );
  }

  /** The verdict if it is one, with the provider's name on its principal. */
  #checked(link: ChainLink, value: unknown): Verdict {
    const verdict = value as Verdict | null | undefined;
    const { provider } = link;
    switch (verdict?.do) {
      case "skip":
        return verdict;
      case "refuse":
        if (REFUSALS.includes(verdict.because)) return verdict;
        break;
      case "continue":
        if (isBytes(verdict.data) && provider.exchange !== undefined) return verdict;
        break;
      case "accept":
        if (isBytes(verdict.data) && isPrincipal(verdict.principal)) {
          return { ...verdict, principal: { ...verdict.principal, provider: link.name } };
        }
        break;
    }
    this.#failed(link, new Error("an answer that is no verdict"));
    return refusal("unavailable", "the provider's answer is no verdict");
  }

  #failed(link: ChainLink, error: unknown): void {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : "not an Error";
    this.#log.write("error", "plugin-failed", { plugin: link.name, error: text });
  }
}

function refusal(because: Refusal, log: string): Verdict {
  return { do: "refuse", because, log };
}

function isBytes(data: unknown): boolean {
  return data === undefined || data instanceof Uint8Array;
}

function isPrincipal(value: unknown): value is Principal {
  const principal = value as Principal | null | undefined;
  if (typeof principal?.id !== "string" || principal.id === "") return false;
  const { permissions, expiresAtMs } = principal;
  if (expiresAtMs !== undefined && !Number.isFinite(expiresAtMs)) return false;
  return permissions === "everything" || Array.isArray(permissions?.allow);
}

function connectRequest(request: AuthRequest): ConnectRequest {
  return {
    protocolLevel: request.protocolLevel,
    clientId: request.clientId,
    cleanStart: request.cleanStart,
    username: request.username,
    password: request.password,
    authenticationMethod: request.authenticationMethod,
    userProperties: request.userProperties,
    will: request.will,
    peer: { address: request.remoteAddress, listener: request.listener },
    current: request.current,
  };
}
