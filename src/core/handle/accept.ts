/**
 * A CONNECT that the authority has accepted (MQTT 5.0 sections 3.1.4 and 3.2): whose session it is, take-over, Clean Start,
 * the Will, CONNACK, and what waited for the client.
 */
import { ApplicationMessage } from "../application-message.ts";
import type { Connect, Will as ConnectWill } from "../codec/connect.ts";
import { encodeProperties, type Properties } from "../codec/property.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { utf8Length } from "../codec/utf8.ts";
import { Writer } from "../codec/writer.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import { InboundAliases, OutboundAliases } from "../connection/topic-alias.ts";
import { Deadline } from "../deadlines.ts";
import { grantOf } from "../gate/grant.ts";
import type { PrincipalInit } from "../gate/provider.ts";
import { NEVER_EXPIRES, Session } from "../session/session.ts";
import type { Will } from "../session/will.ts";
import type { BrokerState } from "../state.ts";
import { answer, disconnect, refuse } from "./answer.ts";
import { endConnection, endSession } from "./closed.ts";
import { revokeUncovered } from "./revoke.ts";

/** What fits into a UTF-8 Encoded String. */
const STRING_BYTES_MAX = 0xffff;

/** Parts of the backlog's bound above which nobody comes in who adds to it; publishers are held up at one. */
const BACKLOG_CONNECT = 2;

/** What a session belongs to: provider and identity, so that equal ids of two providers are two owners. */
export function ownerOf(principal: PrincipalInit): string {
  return `${principal.provider ?? ""}\u0000${principal.id}`;
}

/** Whether the principal's rule about client ids lets it use this one. */
export function mayUseClientId({ id, clientId: rule }: PrincipalInit, clientId: string): boolean {
  if (rule === undefined) return true;
  if (rule.equals !== undefined && clientId !== rule.equals) return false;
  const { prefix } = rule;
  if (prefix === undefined) return true;
  // "fleet1" is a prefix of "fleet1-eu" too: only an end that no identity contains keeps two of them apart.
  if (prefix === "" || id.includes(prefix[prefix.length - 1]!)) return false;
  return clientId.startsWith(prefix);
}

/** Puts a principal's rights in force on a session, and its expiry on the session's connection, where there is one. */
export function adoptPrincipal(state: BrokerState, session: Session, principal: PrincipalInit): void {
  session.principal = principal;
  session.grant = grantOf(principal, session.clientId, state.config.ceiling);
  const { connection } = session;
  if (connection === null) return;
  connection.principal = principal;
  if (principal.expiresAtMs !== undefined) {
    connection.principalDeadline ??= new Deadline<Connection>("principal", connection);
    state.deadlines.set(connection.principalDeadline, principal.expiresAtMs);
  } else if (connection.principalDeadline !== null) {
    state.deadlines.remove(connection.principalDeadline);
  }
}

export function acceptConnect(
  state: BrokerState,
  connection: Connection,
  principal: PrincipalInit,
  authenticationData: Uint8Array | undefined,
): void {
  const connect = connection.connect!;
  const owner = ownerOf(principal);
  if (state.stopping) return refuse(state, connection, ReasonCode.ServerUnavailable);
  if (!mayUseClientId(principal, connect.clientId)) {
    return refuse(state, connection, ReasonCode.ClientIdentifierNotValid, "this client id is not for this identity");
  }
  const grant = grantOf(principal, connect.clientId, state.config.ceiling);
  const present = state.sessions.get(connect.clientId);
  if (present !== undefined && present.owner !== owner) {
    return refuse(state, connection, ReasonCode.ClientIdentifierNotValid, "the session belongs to somebody else");
  }
  const begins = present === undefined || connect.cleanStart;
  if (begins && state.journal.isFull && requestedExpiry(connect) > 0) {
    return refuse(state, connection, ReasonCode.QuotaExceeded, "the disk is nearly full");
  }
  const isKept = requestedExpiry(connect) > 0 || (present !== undefined && present.storeNumber !== 0);
  if (isKept && isStoreBehind(state)) {
    return refuse(state, connection, ReasonCode.ServerBusy, "the disk is behind");
  }
  if (connect.will !== undefined) {
    const { topicName, qos, retain } = connect.will;
    if (!grant.mayPublish(topicName, qos, retain)) {
      return refuse(state, connection, ReasonCode.NotAuthorized, "the Will is not allowed");
    }
  }
  // [MQTT-3.1.4-3]; ends the session too where it was to end with its connection.
  const rival = present?.connection;
  if (rival !== null && rival !== undefined) {
    disconnect(state, rival, ReasonCode.SessionTakenOver, "another connection uses this client id");
  }
  if (connect.cleanStart) {
    const old = state.sessions.get(connect.clientId);
    if (old !== undefined) endSession(state, old); // [MQTT-3.1.2-4]
  }
  const resumed = state.sessions.get(connect.clientId); // [MQTT-3.1.2-5]
  const session = resumed ?? new Session(connect.clientId, owner, grant, principal); // [MQTT-3.1.2-6]
  attach(state, connection, session, principal, connect);
  keep(state, connection, session);
  // Whoever is told that there is no session must not find it again.
  if (resumed === undefined && state.journal.mayRevive) state.outboxes.hold(connection);
  state.outbound.resume(session);
  if (resumed !== undefined) revokeUncovered(state, session);
  if (!sendConnack(state, connection, session, connect, resumed !== undefined, authenticationData)) {
    // A client that takes no CONNACK cannot be told anything.
    state.outboxes.closeAfterFlush(connection, ReasonCode.PacketTooLarge);
    endConnection(state, connection, false);
    return;
  }
  // What waits for it is sent once CONNACK leaves: the next CONNECT may take the session over before that.
  if (session.hasBacklog && state.outboxes.holdsBack(connection)) connection.congested = true;
  else state.outbound.pump(session, state.nowMs);
}

/** Who is impatient with a store that does not answer comes again and again, each time with more for it. */
function isStoreBehind({ journal, config }: BrokerState): boolean {
  return journal.backlogBytes > config.limits.storeBacklogBytesMax * BACKLOG_CONNECT;
}

/** Has the store keep a session that outlives its connection. */
function keep({ journal }: BrokerState, { durability }: Connection, session: Session): void {
  if (session.storeNumber !== 0) journal.session(session);
  else if (journal.isOn && session.expiryInterval > 0 && durability !== "memory") journal.adopt(session);
}

/** Makes the session the connection's and the connection the session's. */
function attach(
  state: BrokerState,
  connection: Connection,
  session: Session,
  principal: PrincipalInit,
  connect: Connect,
): void {
  const { limits, capabilities } = state.config;
  const { properties } = connect;
  state.sessions.set(session.clientId, session);
  state.offline.delete(session);
  if (session.willDeadline !== null) state.deadlines.remove(session.willDeadline); // [MQTT-3.1.3-9]
  if (session.expiryDeadline !== null) state.deadlines.remove(session.expiryDeadline);
  session.connection = connection;
  session.connectionNumber++;
  session.inboundQos2Count = 0;
  session.expiryInterval = Math.min(requestedExpiry(connect), expiryIntervalMax(state, principal));
  session.requestedExpiryInterval = requestedExpiry(connect);
  session.will = connect.will === undefined ? null : willOf(state, session.clientId, connect.will);
  state.countOut(connection.wire.remoteAddress);
  connection.state = ConnectionState.Connected;
  connection.session = session;
  connection.connect = null;
  connection.exchange = null;
  connection.framer.packetBytesMax = limits.packetBytesMax;
  connection.sendQuota = Math.min(properties.receiveMaximum ?? 65_535, limits.inflightMax);
  if (connection.protocolLevel === 5) {
    if (limits.topicAliasMaximum > 0)
      connection.inboundAliases = new InboundAliases(limits.topicAliasMaximum, limits.topicAliasBytesMax);
    const aliases = Math.min(properties.topicAliasMaximum ?? 0, limits.topicAliasOutboundMax);
    if (aliases > 0) connection.outboundAliases = new OutboundAliases(aliases, limits.topicAliasBytesMax); // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
  }
  const keepAlive = serverKeepAlive(connect, capabilities.serverKeepAliveMax) ?? connect.keepAlive;
  connection.keepAliveMs = keepAlive * 1500;
  connection.lastReceivedMs = state.nowMs;
  if (keepAlive === 0) state.deadlines.remove(connection.deadline);
  else state.deadlines.set(connection.deadline, state.nowMs + connection.keepAliveMs);
  adoptPrincipal(state, session, principal);
}

function requestedExpiry(connect: Connect): number {
  if (connect.protocolLevel === 5) return connect.properties.sessionExpiryInterval ?? 0;
  return connect.cleanStart ? 0 : NEVER_EXPIRES; // [MQTT311-3.1.2-6]
}

export function expiryIntervalMax(state: BrokerState, principal: PrincipalInit): number {
  return Math.min(
    state.config.capabilities.sessionExpiryIntervalMax,
    principal.sessionExpiryIntervalMax ?? NEVER_EXPIRES,
  );
}

/** The Keep Alive the broker wants instead of the client's; only MQTT 5.0 clients can be told. */
function serverKeepAlive(connect: Connect, max: number): number | undefined {
  if (connect.protocolLevel !== 5 || max === 0) return undefined;
  return connect.keepAlive === 0 || connect.keepAlive > max ? max : undefined;
}

function willOf(state: BrokerState, clientId: string, will: ConnectWill): Will {
  const { willDelayInterval, messageExpiryInterval, ...carried } = will.properties;
  const writer = new Writer();
  const message = new ApplicationMessage();
  encodeProperties(writer, carried);
  // `encodeProperties` writes the length first; a message carries the list without it.
  const list = writer.view().slice();
  let start = 1;
  while (list[start - 1]! >= 0x80) start++;
  message.publisherId = clientId;
  message.topicName = state.topics.ofText(will.topicName);
  message.qos = will.qos;
  message.retain = will.retain;
  message.properties = list;
  message.propertiesStart = start;
  message.propertiesEnd = list.length;
  message.payload = will.payload;
  message.payloadEnd = will.payload.length;
  message.owned = true;
  return {
    message,
    messageExpiryInterval: messageExpiryInterval ?? -1,
    delayInterval: willDelayInterval ?? 0,
  };
}

function sendConnack(
  state: BrokerState,
  connection: Connection,
  session: Session,
  connect: Connect,
  sessionPresent: boolean,
  authenticationData: Uint8Array | undefined,
): boolean {
  const properties =
    connection.protocolLevel === 5 ? connackProperties(state, connection, session, connect, authenticationData) : {};
  return answer(state, connection, { type: "connack", sessionPresent, reasonCode: ReasonCode.Success, properties });
}

/** For clients that renew in time, in CONNACK and in the AUTH that ends a re-authentication: seconds since 1970. */
export function expiryHint({ expiresAtMs }: PrincipalInit): [string, string][] {
  return expiresAtMs === undefined ? [] : [["auth-expires", String(Math.floor(expiresAtMs / 1000))]];
}

/** What the client has to know; whatever equals its default is left out, so that CONNACK fits a tiny client. */
function connackProperties(
  state: BrokerState,
  connection: Connection,
  session: Session,
  connect: Connect,
  authenticationData: Uint8Array | undefined,
): Properties {
  const { limits, capabilities } = state.config;
  const properties: Properties = { maximumPacketSize: limits.packetBytesMax };
  if (session.expiryInterval !== requestedExpiry(connect)) properties.sessionExpiryInterval = session.expiryInterval;
  if (connect.assignedClientId === true) properties.assignedClientIdentifier = session.clientId; // [MQTT-3.1.3-7]
  const keepAlive = serverKeepAlive(connect, capabilities.serverKeepAliveMax);
  if (keepAlive !== undefined) properties.serverKeepAlive = keepAlive;
  if (limits.receiveMaximum !== 65_535) properties.receiveMaximum = limits.receiveMaximum;
  if (limits.topicAliasMaximum !== 0) properties.topicAliasMaximum = limits.topicAliasMaximum;
  if (capabilities.maximumQos !== 2) properties.maximumQos = capabilities.maximumQos; // [MQTT-3.2.2-9]
  if (!capabilities.retainAvailable) properties.retainAvailable = 0;
  if (!capabilities.wildcardSubscriptionAvailable) properties.wildcardSubscriptionAvailable = 0;
  if (!capabilities.subscriptionIdentifiersAvailable) properties.subscriptionIdentifiersAvailable = 0;
  if (!capabilities.sharedSubscriptionAvailable) properties.sharedSubscriptionAvailable = 0;
  if (connect.properties.requestResponseInformation === 1 && capabilities.responseInformationPrefix !== "") {
    const responseInformation = capabilities.responseInformationPrefix + session.clientId; // [MQTT-3.1.2-28]
    if (utf8Length(responseInformation) <= STRING_BYTES_MAX) properties.responseInformation = responseInformation;
  }
  if (connection.authenticationMethod !== undefined) {
    properties.authenticationMethod = connection.authenticationMethod; // [MQTT-4.12.0-5]
    if (authenticationData !== undefined) properties.authenticationData = authenticationData;
  }
  const userProperties = expiryHint(connection.principal!);
  // What an acknowledgement promises here.
  if (state.journal.isOn) userProperties.push(["durability", connection.durability]);
  if (userProperties.length > 0) properties.userProperties = userProperties;
  return properties;
}
