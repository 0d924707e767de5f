/** What a refusal is called on the wire (MQTT 5.0 section 2.4); CONNACK translates for MQTT 3.1.1. */
import { ReasonCode } from "../codec/reason-code.ts";
import type { Refusal, Verdict } from "./provider.ts";

const REFUSALS: Readonly<Record<Refusal, number>> = {
  "bad-credentials": ReasonCode.BadUserNameOrPassword,
  "not-authorized": ReasonCode.NotAuthorized,
  "client-id": ReasonCode.ClientIdentifierNotValid,
  banned: ReasonCode.Banned,
  unavailable: ReasonCode.ServerUnavailable,
  busy: ReasonCode.ServerBusy,
  "bad-method": ReasonCode.BadAuthenticationMethod,
};

/** Reason code of a CONNACK that refuses. An unknown word counts as "unavailable": fail closed, whatever a host says. */
export function refusalReasonCode(because: Refusal): number {
  return REFUSALS[because] ?? ReasonCode.ServerUnavailable;
}

/** What a verdict amounts to: anything but a well-formed accept or continue keeps the client out. */
export function refusalOf(verdict: Verdict): { because: Refusal; log: string; tell: string | undefined } | undefined {
  if (verdict.do === "accept" || verdict.do === "continue") return undefined;
  if (verdict.do === "refuse") return { because: verdict.because, log: verdict.log ?? "", tell: verdict.tell };
  return { because: "not-authorized", log: "no provider knows this kind of credential", tell: undefined };
}
