/** DISCONNECT from a client (MQTT 5.0 section 3.14): with 0x00 the Will is discarded [MQTT-3.14.4-3]. */
import { decodeDisconnect } from "../codec/disconnect.ts";
import { protocolError } from "../codec/peer-error.ts";
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import type { Connection } from "../connection/connection.ts";
import type { BrokerState } from "../state.ts";
import { endConnection } from "./closed.ts";

export function handleDisconnect(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  const { reasonCode, properties } = decodeDisconnect(reader, flags, connection.protocolLevel);
  const session = connection.session!;
  const { sessionExpiryInterval } = properties;
  if (sessionExpiryInterval !== undefined) {
    if (session.requestedExpiryInterval === 0 && sessionExpiryInterval !== 0) {
      throw protocolError("3.14.2.2.2", "a Session Expiry Interval in DISCONNECT after 0 in CONNECT");
    }
    const granted = connection.principal?.sessionExpiryIntervalMax ?? Number.POSITIVE_INFINITY;
    const max = Math.min(granted, state.config.capabilities.sessionExpiryIntervalMax);
    session.expiryInterval = Math.min(sessionExpiryInterval, max);
  }
  state.outboxes.closeAfterFlush(connection, ReasonCode.Success);
  endConnection(state, connection, reasonCode !== ReasonCode.Success);
}
