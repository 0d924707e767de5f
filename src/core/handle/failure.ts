/**
 * What went wrong while a peer's bytes were handled: one log line, the right answer, the end of that connection and of no
 * other (MQTT 5.0 section 4.13). A `PeerError` is the peer's mistake, anything else is ours.
 */
import { PeerError } from "../codec/peer-error.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { reasonCodeName } from "../codec/reason-code-name.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import type { BrokerState } from "../state.ts";
import { disconnect, refuse } from "./answer.ts";

/** The one place where a peer's mistake is caught. */
export function failConnection(state: BrokerState, connection: Connection, error: unknown): void {
  if (!(error instanceof PeerError)) {
    reportBug(state, connection, error);
    answerFailure(state, connection, ReasonCode.ImplementationSpecificError, undefined);
    return;
  }
  state.statistics.peerErrors++;
  state.ports.log.write("warn", "peer-error", {
    clientId: connection.session?.clientId ?? connection.connect?.clientId ?? "",
    remoteAddress: connection.wire.remoteAddress,
    reasonCode: error.reasonCode,
    reason: reasonCodeName(error.reasonCode),
    statement: error.statement,
    found: error.message,
  });
  answerFailure(state, connection, error.reasonCode, `${error.message} (${error.statement})`);
}

function answerFailure(
  state: BrokerState,
  connection: Connection,
  reasonCode: number,
  reasonString: string | undefined,
): void {
  connection.framer.release();
  try {
    if (connection.state === ConnectionState.Connected) disconnect(state, connection, reasonCode, reasonString);
    else refuse(state, connection, reasonCode, reasonString);
  } catch (error) {
    reportBug(state, connection, error);
  }
}

export function reportBug(state: BrokerState, connection: Connection, error: unknown): void {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  state.ports.log.write("error", "bug", { remoteAddress: connection.wire.remoteAddress, error: stack });
}
