/** What CONNACK says before MQTT 5.0 (MQTT 3.1.1 section 3.2.2.3): reason codes as return codes. */
import { ReasonCode } from "./reason-code.ts";

/** Return codes of MQTT 3.1.1 section 3.2.2.3. */
const RETURN_CODES: readonly (readonly [reasonCode: number, returnCode: number])[] = [
  [ReasonCode.Success, 0],
  [ReasonCode.UnsupportedProtocolVersion, 1],
  [ReasonCode.ClientIdentifierNotValid, 2],
  [ReasonCode.ServerUnavailable, 3],
  [ReasonCode.ServerBusy, 3],
  [ReasonCode.BadUserNameOrPassword, 4],
  [ReasonCode.NotAuthorized, 5],
  [ReasonCode.BadAuthenticationMethod, 5],
  [ReasonCode.Banned, 5],
];

/** The return code that says it to a 3.1 or 3.1.1 client; `undefined`: close without CONNACK [MQTT311-3.2.2-6]. */
export function returnCodeOf(reasonCode: number): number | undefined {
  return RETURN_CODES.find(([code]) => code === reasonCode)?.[1];
}
