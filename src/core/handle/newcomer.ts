/** A Network Connection that was accepted: whether there is a place for it, and how long it may take to CONNECT. */
import { ReasonCode } from "../codec/reason-code.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import type { BrokerState } from "../state.ts";

/** One too many is closed at the end of the turn. */
export function admitNewcomer(state: BrokerState, connection: Connection): void {
  const { limits } = state.config;
  const { remoteAddress } = connection.wire;
  const strangers = state.strangersByAddress.get(remoteAddress) ?? 0;
  const isFull =
    state.connections.size >= limits.connectionsMax ||
    state.unauthenticated >= limits.unauthenticatedMax ||
    strangers >= limits.unauthenticatedPerAddressMax;
  state.connections.add(connection);
  state.statistics.connectionsOpened++;
  if (isFull || state.stopping) {
    connection.state = ConnectionState.Closed;
    state.outboxes.closeAfterFlush(connection, ReasonCode.ServerBusy);
    state.ports.log.write("warn", "connection-limit", { remoteAddress });
    return;
  }
  state.unauthenticated++;
  state.strangersByAddress.set(remoteAddress, strangers + 1);
  state.deadlines.set(connection.deadline, state.nowMs + limits.connectDeadlineMs);
}
