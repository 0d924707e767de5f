/**
 * Asking the authority, and what its verdict does (MQTT 5.0 sections 3.1.4 and 4.12).
 *
 * The gate stands here: an accepted CONNECT goes on in handle/accept.ts, a refused one leaves no trace. While a verdict is
 * awaited before CONNACK the connection's input is held; during a re-authentication everything else goes on.
 */
import type { Properties } from "../codec/property.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import type { Exchange } from "../gate/exchange.ts";
import { refusalOf, refusalReasonCode } from "../gate/gate.ts";
import type { PrincipalInit, Verdict } from "../gate/provider.ts";
import type { AuthRequest } from "../ports.ts";
import type { BrokerState } from "../state.ts";
import { acceptConnect, adoptPrincipal, expiryHint, expiryIntervalMax, mayUseClientId, ownerOf } from "./accept.ts";
import { answer, disconnect, refuse } from "./answer.ts";
import { revokeUncovered } from "./revoke.ts";

/** Sends one step to the authority; its verdict is carried out at once or when it comes. */
export function askAuthority(
  state: BrokerState,
  connection: Connection,
  exchange: Exchange,
  phase: AuthRequest["phase"],
  authenticationData: Uint8Array | undefined,
): void {
  exchange.requestId = ++state.lastRequestId;
  exchange.turn = "authority";
  if (exchange.phase === "connect") connection.state = ConnectionState.AwaitVerdict;
  state.awaitingVerdict.set(exchange.requestId, connection);
  const verdict = state.ports.auth.ask(authRequest(connection, exchange, phase, authenticationData));
  if (verdict !== undefined) takeVerdict(state, exchange.requestId, verdict);
}

function authRequest(
  connection: Connection,
  exchange: Exchange,
  phase: AuthRequest["phase"],
  authenticationData: Uint8Array | undefined,
): AuthRequest {
  const { connect, session, wire } = connection;
  const will = connect?.will;
  return {
    id: exchange.requestId,
    exchangeId: exchange.id,
    phase,
    protocolLevel: connection.protocolLevel,
    clientId: connect?.clientId ?? session?.clientId ?? "",
    cleanStart: connect?.cleanStart ?? false,
    username: connect?.username,
    password: connect?.password,
    authenticationMethod: exchange.method,
    authenticationData,
    userProperties: connect?.properties.userProperties ?? [],
    will: will === undefined ? undefined : { topicName: will.topicName, qos: will.qos, retain: will.retain },
    remoteAddress: wire.remoteAddress,
    listener: wire.listener,
    certificate: wire.certificate,
    upgrade: wire.upgrade,
    current: connection.principal ?? undefined,
  };
}

/** Carries out a verdict; one that nobody waits for any more is ignored. Answers whose it was. */
export function takeVerdict(state: BrokerState, requestId: number, verdict: Verdict): Connection | undefined {
  const connection = state.awaitingVerdict.get(requestId);
  if (connection === undefined) return undefined;
  state.awaitingVerdict.delete(requestId);
  const exchange = connection.exchange!;
  const refusal = refusalOf(verdict);
  if (refusal !== undefined) {
    keepOut(state, connection, exchange, refusal);
  } else if (verdict.do === "continue") {
    askClient(state, connection, exchange, verdict.data);
  } else if (verdict.do === "accept") {
    letIn(state, connection, exchange, verdict.principal, verdict.data);
  }
  return connection;
}

function keepOut(
  state: BrokerState,
  connection: Connection,
  exchange: Exchange,
  refusal: NonNullable<ReturnType<typeof refusalOf>>,
): void {
  state.ports.log.write("warn", "auth-refused", {
    clientId: connection.connect?.clientId ?? connection.session?.clientId ?? "",
    remoteAddress: connection.wire.remoteAddress,
    because: refusal.because,
    detail: refusal.log,
  });
  // [MQTT-4.12.1-2]: a failed re-authentication is answered with DISCONNECT, a failed CONNECT with CONNACK.
  if (exchange.phase === "reauthenticate") disconnect(state, connection, ReasonCode.NotAuthorized, refusal.tell);
  else refuse(state, connection, refusalReasonCode(refusal.because), refusal.tell);
}

/** AUTH 0x18 to the client [MQTT-4.12.0-2]. */
function askClient(state: BrokerState, connection: Connection, exchange: Exchange, data: Uint8Array | undefined): void {
  if (exchange.method === undefined) {
    // Only a client that named a method can be asked on [MQTT-4.12.0-6]: the authority is wrong.
    keepOut(state, connection, exchange, { because: "unavailable", log: "continue without a method", tell: undefined });
    return;
  }
  exchange.turn = "client";
  if (exchange.phase === "connect") connection.state = ConnectionState.AwaitAuth;
  const properties = authProperties(exchange.method, data);
  const packet = { type: "auth", reasonCode: ReasonCode.ContinueAuthentication, properties } as const;
  if (!answer(state, connection, packet)) {
    keepOut(state, connection, exchange, { because: "unavailable", log: "AUTH too large for client", tell: undefined });
  }
}

function authProperties(authenticationMethod: string, data: Uint8Array | undefined) {
  return data === undefined ? { authenticationMethod } : { authenticationMethod, authenticationData: data };
}

function letIn(
  state: BrokerState,
  connection: Connection,
  exchange: Exchange,
  principal: PrincipalInit,
  data: Uint8Array | undefined,
): void {
  const { expiresAtMs } = principal;
  const expired = expiresAtMs !== undefined && !(expiresAtMs > state.nowMs); // NaN is expired
  if (typeof principal.id !== "string" || principal.id.length === 0 || expired) {
    keepOut(state, connection, exchange, { because: "unavailable", log: "principal not usable", tell: undefined });
    return;
  }
  if (exchange.phase === "connect") {
    acceptConnect(state, connection, principal, data);
    return;
  }
  const session = connection.session!;
  if (!mayUseClientId(principal, session.clientId)) {
    keepOut(state, connection, exchange, { because: "client-id", log: "not with this client id", tell: undefined });
    return;
  }
  if (ownerOf(principal) !== session.owner) {
    keepOut(state, connection, exchange, { because: "not-authorized", log: "another identity", tell: undefined });
    return;
  }
  state.deadlines.remove(exchange.deadline);
  connection.exchange = null;
  adoptPrincipal(state, session, principal);
  session.expiryInterval = Math.min(session.expiryInterval, expiryIntervalMax(state, principal));
  revokeUncovered(state, session);
  state.journal.session(session);
  const properties: Properties = authProperties(exchange.method!, data);
  const userProperties = connection.wantsProblemInformation ? expiryHint(principal) : []; // [MQTT-3.1.2-29]
  if (userProperties.length > 0) properties.userProperties = userProperties;
  answer(state, connection, { type: "auth", reasonCode: ReasonCode.Success, properties });
}
