/**
 * An AuthHost that a test scripts: it records what it is asked and answers what the test decides, at once or later.
 */
import { EVERYTHING } from "../../src/core/gate/allow-all.ts";
import type { Permissions, PrincipalInit, Refusal, Verdict } from "../../src/core/gate/provider.ts";
import type { AuthHost, AuthRequest } from "../../src/core/ports.ts";
import { toBytes, type World } from "./world.ts";

export class ScriptedAuth implements AuthHost {
  readonly requests: AuthRequest[] = [];
  readonly abandoned: number[] = [];
  /** Called with each request; `undefined` means that the verdict comes later. */
  answer: (request: AuthRequest) => Verdict | undefined;

  constructor(answer: (request: AuthRequest) => Verdict | undefined = () => undefined) {
    this.answer = answer;
  }

  ask(request: AuthRequest): Verdict | undefined {
    this.requests.push(request);
    return this.answer(request);
  }

  abandon(exchangeId: number): void {
    this.abandoned.push(exchangeId);
  }

  get last(): AuthRequest {
    const request = this.requests.at(-1);
    if (request === undefined) throw new Error("nothing was asked");
    return request;
  }

  /** Answers the last request, or `request`, now. */
  decide(world: World, verdict: Verdict, request: AuthRequest = this.last): void {
    world.broker.verdict(request.id, verdict, world.nowMs);
    world.settle();
  }
}

/** A host whose n-th answer is the n-th verdict; the last one is repeated. */
export function answers(...verdicts: readonly (Verdict | undefined)[]): ScriptedAuth {
  let asked = 0;
  return new ScriptedAuth(() => verdicts[Math.min(asked++, verdicts.length - 1)]);
}

export function accept(init: Partial<PrincipalInit> = {}, data?: string): Verdict {
  const permissions: Permissions = init.permissions ?? EVERYTHING;
  const principal = { id: "anna", provider: "scripted", ...init, permissions };
  return data === undefined ? { do: "accept", principal } : { do: "accept", principal, data: toBytes(data) };
}

export function refuse(because: Refusal, tell?: string): Verdict {
  return tell === undefined ? { do: "refuse", because } : { do: "refuse", because, tell };
}

export function goOn(data?: string): Verdict {
  return data === undefined ? { do: "continue" } : { do: "continue", data: toBytes(data) };
}
