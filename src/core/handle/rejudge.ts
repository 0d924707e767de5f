/**
 * A session judged anew, after the authority's rules have changed: its principal's rights are replaced in place, or taken.
 *
 * Invariant: only the principal that the authority was asked about is touched. A session that has ended meanwhile, that
 * somebody was let in to anew, or whose client has authenticated again has a principal that was judged since.
 */
import { Deadline } from "../deadlines.ts";
import type { Principal } from "../gate/provider.ts";
import type { Session } from "../session/session.ts";
import type { BrokerState } from "../state.ts";
import { adoptPrincipal, expiryIntervalMax, mayUseClientId, ownerOf } from "./accept.ts";
import { dropSession, hasPrincipal, revokeUncovered } from "./revoke.ts";

/** What the authority says of somebody whom it let in before: may stay as this principal, may not, or cannot tell. */
export type Judgement =
  | { readonly do: "stay"; readonly principal: Principal }
  | { readonly do: "out"; readonly why: string }
  | { readonly do: "anew"; readonly why: string };

/**
 * What became of it: the same rights as before, others, none. Where the authority cannot tell, a client that is there has to
 * come in anew, and one that is away is unjudged until it does. "gone": it was not the asked one's any more.
 */
export type Rejudged = "kept" | "changed" | "out" | "anew" | "unjudged" | "gone";

export interface SessionPrincipal {
  readonly clientId: string;
  readonly principal: Principal;
}

/** Whoever has rights to a session, there or away. Sessions may come and go between two steps. */
export function* sessionPrincipals({ sessions }: BrokerState): Generator<SessionPrincipal, void> {
  for (const session of sessions.values()) {
    const { clientId, principal } = session;
    if (hasPrincipal(session)) yield { clientId, principal };
  }
}

export function rejudge(state: BrokerState, clientId: string, asked: Principal, judgement: Judgement): Rejudged {
  const session = state.sessions.get(clientId);
  if (session === undefined || session.principal !== asked) return "gone";
  if (judgement.do === "anew") {
    if (session.connection === null) return "unjudged";
    dropSession(state, session, judgement.why, false);
    return "anew";
  }
  if (judgement.do === "out") return out(state, session, judgement.why);
  const wrong = misfit(session, judgement.principal);
  if (wrong !== undefined) return out(state, session, wrong);
  try {
    return stay(state, session, judgement.principal);
  } catch (error) {
    state.ports.log.write("error", "bug", { where: "rejudge", error: String(error) });
    return out(state, session, "its rights could not be put in force");
  }
}

/** Why this principal cannot have the session; undefined where it can. */
function misfit(session: Session, principal: Principal): string | undefined {
  if (ownerOf(principal) !== session.owner) return "another identity";
  if (!mayUseClientId(principal, session.clientId)) return "not with this client id";
  return Number.isNaN(principal.expiresAtMs) ? "principal not usable" : undefined;
}

function out(state: BrokerState, session: Session, why: string): Rejudged {
  dropSession(state, session, why, true);
  return "out";
}

function stay(state: BrokerState, session: Session, principal: Principal): Rejudged {
  const { grant: before, expiryInterval } = session;
  adoptPrincipal(state, session, principal);
  shortenExpiry(state, session, expiryIntervalMax(state, principal));
  const isSame = session.grant.equals(before);
  if (!isSame) revokeUncovered(state, session);
  if (!isSame || session.expiryInterval !== expiryInterval) state.journal.session(session);
  return isSame ? "kept" : "changed";
}

/** A session that is away has to end within what its client is granted now, counted from now. */
function shortenExpiry(state: BrokerState, session: Session, seconds: number): void {
  if (session.expiryInterval <= seconds) return;
  session.expiryInterval = seconds;
  if (session.connection !== null) return;
  session.expiryDeadline ??= new Deadline<Session>("session", session);
  const { expiryDeadline } = session;
  const latestMs = state.nowMs + seconds * 1000;
  if (expiryDeadline.index === -1 || expiryDeadline.atMs > latestMs) state.deadlines.set(expiryDeadline, latestMs);
}
