/**
 * The part of the contract that is about clients who are in: what `recheck` answers, and what it does with strange evidence.
 *
 * Nothing has changed between the login and the question, so whoever was let in may stay, unless the provider cannot tell.
 */
import type { Principal, Provider } from "../core/gate/provider.ts";
import { recheckDirectly, type Said } from "./provider-under-test.ts";

export interface RecheckBench {
  readonly provider: Provider;
  /** As the provider let it in. */
  readonly principal: Principal;
  readonly clientId: string;
  /** Which client it is, for complaints. */
  readonly where: string;
  readonly complain: (complaint: string) => void;
}

/** What another plugin of the same name, or an earlier version of this one, may have left as evidence. */
const STRANGE_EVIDENCE: readonly (string | undefined)[] = [
  undefined,
  "",
  "{",
  "null",
  "[]",
  "0",
  '{"__proto__":{"id":"x"}}',
  "\u{1f511}\0",
  "x".repeat(16_384),
];

export async function checkRecheck(bench: RecheckBench): Promise<void> {
  const { provider, principal, where, complain } = bench;
  if (provider.recheck === undefined) return;
  const plainly = `${where}: recheck`;
  const said = await ask(bench, principal);
  checkAnswer(bench, said, plainly);
  const { do: word, because } = Object(said.answer) as { do?: unknown; because?: unknown };
  const cannotTell = word === "refuse" && (because === "unavailable" || because === "busy");
  if (!said.threw && word !== "accept" && !cannotTell) complain(`${plainly}: ${word} for a client just let in`);
  for (const evidence of STRANGE_EVIDENCE) {
    const { evidence: _evidence, ...rest } = principal;
    const strange = evidence === undefined ? rest : { ...rest, evidence };
    checkAnswer(bench, await ask(bench, strange), `${plainly} with evidence ${JSON.stringify(evidence)?.slice(0, 40)}`);
  }
}

function ask({ provider, clientId }: RecheckBench, principal: Principal): Promise<Said> {
  return recheckDirectly(provider, { clientId, principal: { ...principal } }, new AbortController().signal);
}

function checkAnswer({ principal, complain }: RecheckBench, said: Said, named: string): void {
  const { answer, error, threw, invalid, odd } = said;
  const isBusy = error instanceof Error && error.name === "BusyError";
  if (threw && !isBusy)
    complain(`${named}: throws${error instanceof Error ? ` (${error.name}: ${error.message})` : ""}`);
  for (const complaint of [...invalid, ...odd]) complain(`${named}: ${complaint}`);
  const { principal: again } = Object(answer) as { principal?: { id?: unknown } };
  if (again !== undefined && again.id !== principal.id) complain(`${named}: accepts with another id`);
}
