/** AUTH (MQTT 5.0 sections 3.15 and 4.12): the client's next word in an exchange, or the beginning of a re-authentication. */
import { decodeAuth } from "../codec/auth.ts";
import { protocolError } from "../codec/peer-error.ts";
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import { Exchange } from "../gate/exchange.ts";
import type { BrokerState } from "../state.ts";
import { disconnect, refuse } from "./answer.ts";
import { askAuthority } from "./verdict.ts";

export function handleAuth(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  if (connection.protocolLevel !== 5) throw protocolError("2.1.2", "AUTH exists from MQTT 5.0 on");
  const { reasonCode, properties } = decodeAuth(reader, flags);
  if (connection.authenticationMethod === undefined) {
    throw protocolError("MQTT-4.12.0-7", "AUTH, but CONNECT had no Authentication Method");
  }
  const data = properties.authenticationData?.slice();
  if (reasonCode === ReasonCode.ContinueAuthentication) {
    continueExchange(state, connection, properties.authenticationMethod, data);
  } else if (reasonCode === ReasonCode.ReAuthenticate) {
    reauthenticate(state, connection, properties.authenticationMethod, data);
  } else {
    throw protocolError("MQTT-4.12.0-3", "AUTH with success is the server's to send");
  }
}

function continueExchange(
  state: BrokerState,
  connection: Connection,
  method: string | undefined,
  data: Uint8Array | undefined,
): void {
  const { exchange } = connection;
  if (exchange === null) throw protocolError("MQTT-4.12.0-3", "AUTH 0x18 without an exchange");
  exchange.clientContinues(method);
  if (exchange.rounds > state.config.limits.authRoundsMax) {
    state.ports.log.write("warn", "auth-rounds", { remoteAddress: connection.wire.remoteAddress });
    if (exchange.phase === "connect") refuse(state, connection, ReasonCode.NotAuthorized, "too many AUTH packets");
    else disconnect(state, connection, ReasonCode.NotAuthorized, "too many AUTH packets");
    return;
  }
  askAuthority(state, connection, exchange, "continue", data);
}

function reauthenticate(
  state: BrokerState,
  connection: Connection,
  method: string | undefined,
  data: Uint8Array | undefined,
): void {
  if (connection.state !== ConnectionState.Connected) {
    throw protocolError("4.12.1", "re-authentication before the first has succeeded");
  }
  if (connection.exchange !== null) throw protocolError("4.12.1", "re-authentication while one is running");
  if (method !== connection.authenticationMethod) {
    throw protocolError("MQTT-4.12.1-1", "another Authentication Method than in CONNECT");
  }
  const exchange = new Exchange(++state.lastExchangeId, method, "reauthenticate", connection);
  exchange.rounds = 1;
  connection.exchange = exchange;
  state.deadlines.set(exchange.deadline, state.nowMs + state.config.limits.authDeadlineMs);
  askAuthority(state, connection, exchange, "reauthenticate", data);
}
