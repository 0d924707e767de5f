/**
 * Everybody who is in, judged anew by a chain that has replaced another one.
 *
 * Invariant: at most `ASKED_MAX` questions at once, each with the deadline and the meter of any call; a turn of the event loop
 * looks at `LOOKED_AT_PER_TURN` sessions at most, however quickly the providers answer. Who was let in by this very chain is not
 * asked about. Fails closed: who cannot be judged does not stay connected.
 */
import type { Principal, Provider, RecheckRequest, Verdict } from "../core/gate/provider.ts";
import type { Judgement, Rejudged, SessionPrincipal } from "../core/handle/rejudge.ts";
import type { Log } from "../core/ports.ts";
import { type AskedLink, brokerAheadMs, type CallUnderWay, type ProviderCalls } from "./provider-call.ts";

/** What the broker offers for it. */
export interface JudgedSessions {
  /** Whoever has rights to a session; read bit by bit. */
  principals(): Iterable<SessionPrincipal>;
  rejudge(clientId: string, asked: Principal, judgement: Judgement): Rejudged;
}

export type RecheckCounts = Record<Rejudged, number>;

type RecheckedLink = AskedLink & { readonly provider: Provider };

const ASKED_MAX = 64;
const LOOKED_AT_PER_TURN = 64;

export class Recheck {
  readonly #links: ReadonlyMap<string, RecheckedLink>;
  readonly #generation: number | undefined;
  readonly #calls: ProviderCalls;
  readonly #sessions: JudgedSessions;
  readonly #log: Log;
  readonly #counts: RecheckCounts = { kept: 0, changed: 0, out: 0, anew: 0, unjudged: 0, gone: 0 };
  /** Asked about, and still of an earlier chain: not asked about again. */
  readonly #unjudged = new Set<Principal>();
  /** Calls that run, each with what ends the waiting for it. */
  readonly #underWay = new Map<CallUnderWay, () => void>();
  readonly #stopped = Promise.withResolvers<void>();
  #isStopped = false;
  #left: Iterator<SessionPrincipal> | undefined;
  #looksLeft = 0;
  #nextTurn: Promise<void> | undefined;

  constructor(links: readonly RecheckedLink[], calls: ProviderCalls, sessions: JudgedSessions, log: Log) {
    this.#links = new Map(links.map((link) => [link.name, link]));
    this.#generation = links[0]?.generation;
    this.#calls = calls;
    this.#sessions = sessions;
    this.#log = log;
  }

  /** Resolves when everybody is judged, those included who were let in by earlier chains until `earlier`; or when stopped. */
  async run(earlier?: Promise<unknown>): Promise<void> {
    await this.#judgeAll();
    if (earlier !== undefined) {
      await Promise.race([earlier, this.#stopped.promise]);
      await this.#judgeAll();
    }
    const { kept, changed, out, anew, unjudged } = this.#counts;
    const event = this.#isStopped ? "sessions-recheck-stopped" : "sessions-rechecked";
    this.#log.write("info", event, { kept, changed, out, anew, unjudged });
  }

  /** Another chain has taken over, and with it the judging; what runs is abandoned. */
  stop(): void {
    this.#isStopped = true;
    for (const [call, end] of this.#underWay) {
      call.abandon();
      end();
    }
    this.#underWay.clear();
    this.#stopped.resolve();
  }

  async #judgeAll(): Promise<void> {
    this.#left = this.#sessions.principals()[Symbol.iterator]();
    await Promise.all(Array.from({ length: ASKED_MAX }, () => this.#judgeSome()));
  }

  /** Judges one after the other, as long as there is somebody left. */
  async #judgeSome(): Promise<void> {
    for (;;) {
      while (this.#looksLeft === 0) await this.#turnOver();
      if (this.#isStopped) return;
      this.#looksLeft--;
      const next = this.#left?.next();
      if (next === undefined || next.done === true) return;
      const { clientId, principal } = next.value;
      if (this.#isJudged(principal)) continue;
      const judging = this.#judgementOf(clientId, principal);
      const judgement = judging instanceof Promise ? await judging : judging;
      if (this.#isStopped || judgement === undefined) return;
      const became = this.#sessions.rejudge(clientId, principal, judgement);
      this.#counts[became]++;
      if (became === "unjudged") this.#unjudged.add(principal);
    }
  }

  /** Whether this chain has let it in or judged it, or has tried to. */
  #isJudged(principal: Principal): boolean {
    const isOurs = this.#generation !== undefined && principal.generation === this.#generation;
    return isOurs || this.#unjudged.has(principal);
  }

  /** Lets the event loop do everything else that is ready. */
  #turnOver(): Promise<void> {
    this.#nextTurn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#nextTurn = undefined;
        this.#looksLeft = LOOKED_AT_PER_TURN;
        resolve();
      });
    });
    return this.#nextTurn;
  }

  /** `undefined`: stopped meanwhile. */
  #judgementOf(clientId: string, principal: Principal): Judgement | Promise<Judgement | undefined> {
    const link = this.#links.get(principal.provider ?? "");
    if (link === undefined) return { do: "out", why: "its provider is not in the chain any more" };
    if (link.provider.recheck === undefined) return judgementOf(undefined, principal);
    const verdict = this.#ask(link, clientId, principal);
    if (!(verdict instanceof Promise)) return judgementOf(verdict, principal);
    return verdict.then((late) => (late === undefined ? undefined : judgementOf(late, principal)));
  }

  #ask(link: RecheckedLink, clientId: string, principal: Principal): Verdict | Promise<Verdict | undefined> {
    const { promise, resolve } = Promise.withResolvers<Verdict | undefined>();
    const request = recheckRequest(clientId, principal);
    const begun = this.#calls.begin(link, {
      mayContinue: false,
      run: (signal) => link.provider.recheck!(request, signal),
      later: (verdict) => {
        this.#underWay.delete(begun as CallUnderWay);
        resolve(verdict);
      },
    });
    if ("do" in begun) return begun;
    this.#underWay.set(begun, () => resolve(undefined));
    return promise;
  }
}

/** A copy, which the provider may do with as it likes; its expiry by the clock that providers know. */
function recheckRequest(clientId: string, principal: Principal): RecheckRequest {
  const { expiresAtMs } = principal;
  if (expiresAtMs === undefined) return { clientId, principal: { ...principal } };
  return { clientId, principal: { ...principal, expiresAtMs: expiresAtMs - brokerAheadMs() } };
}

/** What a verdict on somebody who is in amounts to; `undefined`: the provider cannot judge anew. */
export function judgementOf(verdict: Verdict | undefined, { evidence }: Principal): Judgement {
  if (verdict === undefined) return { do: "anew", why: "its provider cannot judge it anew" };
  if (verdict.do === "accept") {
    const { principal } = verdict;
    return { do: "stay", principal: evidence === undefined ? principal : { evidence, ...principal } };
  }
  if (verdict.do !== "refuse") return { do: "out", why: "its provider does not know it any more" };
  const { because, log = "" } = verdict;
  const why = log === "" ? because : `${because}: ${log}`;
  return { do: because === "unavailable" || because === "busy" ? "anew" : "out", why };
}
