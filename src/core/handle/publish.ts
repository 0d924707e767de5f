/**
 * PUBLISH from a client (MQTT 5.0 sections 3.3 and 4.3): decode, alias, gate, route, acknowledge. The broker's hot path.
 *
 * A QoS 2 message is routed when it arrives; its Packet Identifier is kept until PUBREL, so that a repetition is
 * answered but not routed again [MQTT-4.3.3-10].
 */
import { ApplicationMessage } from "../application-message.ts";
import { PeerError, protocolError } from "../codec/peer-error.ts";
import { encodePuback, type Puback, writePuback } from "../codec/puback.ts";
import { copyEndToEndProperties, decodePublishView, type PublishView } from "../codec/publish-view.ts";
import { encodePubrec, writePubrec } from "../codec/pubrec.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import type { Connection } from "../connection/connection.ts";
import type { Topic } from "../router/topic-table.ts";
import type { Session } from "../session/session.ts";
import type { BrokerState } from "../state.ts";
import { answer, disconnect, explained } from "./answer.ts";
import { mustBeStored, routeMessage } from "./route-message.ts";

const NO_BYTES = new Uint8Array(0);
/** The payload's share of a packet that is kept as it was gathered. With less, a message would keep more alive than it weighs. */
const KEPT_PAYLOAD_SHARE_MIN = 7 / 8;

export function handlePublish(
  state: BrokerState,
  connection: Connection,
  firstByte: number,
  bytes: Uint8Array,
  bodyStart: number,
  bodyEnd: number,
): void {
  const view = state.publishView;
  decodePublishView(view, firstByte, bytes, bodyStart, bodyEnd, connection.protocolLevel);
  checkCapabilities(state, view);
  state.statistics.publishReceived++;
  const session = connection.session!;
  const topic = resolveTopic(state, connection, view);
  const { qos, packetId } = view;
  if (qos === 2 && session.inboundQos2?.has(packetId) === true) {
    keepQos2(state, session, packetId);
    writePubrec(state.outboxes.writer(connection), packetId);
    return;
  }
  if (qos > 0) checkQuota(state, connection, session);
  const reasonCode = mayPublish(session, topic, view)
    ? publish(state, topic, messageOf(state, connection, view, topic), session)
    : ReasonCode.NotAuthorized;
  view.bytes = NO_BYTES;
  if (reasonCode === ReasonCode.NotAuthorized) {
    state.statistics.dropped.notAuthorized++;
    session.lastRefusal = { what: "publish", topicName: topic.text, qos, retain: view.retain };
    if (state.config.denyAction === "disconnect") {
      disconnect(state, connection, ReasonCode.NotAuthorized, "PUBLISH not authorized");
      return;
    }
  }
  if (qos === 0) return;
  if (reasonCode === ReasonCode.QuotaExceeded && state.journal.isFull && connection.protocolLevel !== 5) {
    // It cannot be told, and an acknowledgement would be a promise: the client comes again, with the message.
    disconnect(state, connection, ReasonCode.QuotaExceeded);
    return;
  }
  if (qos === 2 && reasonCode < 0x80) keepQos2(state, session, packetId);
  acknowledge(state, connection, qos, packetId, reasonCode);
}

function checkCapabilities(state: BrokerState, view: PublishView): void {
  const { capabilities } = state.config;
  if (view.qos > capabilities.maximumQos) {
    throw new PeerError(
      ReasonCode.QosNotSupported,
      "MQTT-3.2.2-11",
      `QoS ${view.qos}, at most ${capabilities.maximumQos}`,
    );
  }
  if (view.retain && !capabilities.retainAvailable) {
    throw new PeerError(ReasonCode.RetainNotSupported, "MQTT-3.2.2-14", "retained messages are not available");
  }
  if (view.hasSubscriptionIdentifier) {
    throw protocolError("MQTT-3.3.4-6", "a Subscription Identifier from a client");
  }
}

/** The topic a PUBLISH is about: its Topic Name, or what its Topic Alias stands for. */
function resolveTopic(state: BrokerState, connection: Connection, view: PublishView): Topic {
  const { topicAlias, topicStart, topicEnd } = view;
  if (topicAlias === 0) {
    if (topicStart === topicEnd) throw protocolError("MQTT-4.7.3-1", "empty Topic Name without a Topic Alias");
    return state.topics.intern(view.bytes, topicStart, topicEnd);
  }
  const aliases = connection.inboundAliases;
  if (aliases === null) {
    throw new PeerError(ReasonCode.TopicAliasInvalid, "MQTT-3.2.2-18", "a Topic Alias, but no maximum was announced");
  }
  if (topicStart === topicEnd) return aliases.get(topicAlias);
  const topic = state.topics.intern(view.bytes, topicStart, topicEnd);
  aliases.set(topicAlias, topic);
  return topic;
}

/**
 * Receive Maximum: QoS 1 is acknowledged as it comes, so what is open are QoS 2 messages without PUBREL. Before MQTT 5.0
 * clients are not told a maximum; their 65,535 identifiers are the bound.
 */
function checkQuota(state: BrokerState, connection: Connection, session: Session): void {
  const { receiveMaximum } = state.config.limits;
  if (session.inboundQos2Count >= receiveMaximum && connection.protocolLevel === 5) {
    throw new PeerError(ReasonCode.ReceiveMaximumExceeded, "MQTT-3.3.4-7", `more than ${receiveMaximum} open at once`);
  }
}

/** Remembers a QoS 2 Packet Identifier until PUBREL [MQTT-4.3.3-10]. */
function keepQos2(state: BrokerState, session: Session, packetId: number): void {
  const open = (session.inboundQos2 ??= new Map());
  const known = open.get(packetId);
  if (known === session.connectionNumber) return;
  if (known === undefined) state.journal.inbound(session, packetId);
  open.set(packetId, session.connectionNumber);
  session.inboundQos2Count++;
}

/** Routes the message, unless it would have to be stored where nothing can be. */
function publish(state: BrokerState, topic: Topic, message: ApplicationMessage, session: Session): number {
  if (!state.journal.isFull || !mustBeStored(state, topic, message))
    return routeMessage(state, topic, message, session);
  state.statistics.dropped.diskFull++;
  return ReasonCode.QuotaExceeded;
}

/** The gate: topics beginning with "$" are the server's, the rest is up to the grant. */
function mayPublish(session: Session, topic: Topic, view: PublishView): boolean {
  if (topic.isReserved) return false;
  return session.grant.publishesAnything || session.grant.mayPublish(topic.text, view.qos, view.retain);
}

/** The incoming message: ranges of the packet, borrowed unless its memory is its own and the payload most of it. */
function messageOf(state: BrokerState, connection: Connection, view: PublishView, topic: Topic): ApplicationMessage {
  const payloadBytes = view.payloadEnd - view.payloadStart;
  const owned = connection.framer.isGathered && payloadBytes >= view.bytes.length * KEPT_PAYLOAD_SHARE_MIN;
  const message = owned ? new ApplicationMessage() : state.incoming;
  message.owned = owned;
  message.publisherId = connection.session!.clientId;
  message.topicName = topic;
  message.qos = view.qos;
  message.retain = view.retain;
  message.payload = view.bytes;
  message.payloadStart = view.payloadStart;
  message.payloadEnd = view.payloadEnd;
  message.properties = view.bytes;
  message.propertiesStart = view.propertiesStart;
  message.propertiesEnd = view.propertiesEnd;
  message.expiresAtMs = Number.POSITIVE_INFINITY;
  if (view.hasHopProperties) {
    if (view.messageExpiryInterval >= 0) message.expiresAtMs = state.nowMs + view.messageExpiryInterval * 1000;
    message.properties = copyEndToEndProperties(view);
    message.propertiesStart = 0;
    message.propertiesEnd = message.properties.length;
  }
  return message;
}

function acknowledge(
  state: BrokerState,
  connection: Connection,
  qos: 1 | 2,
  packetId: number,
  reasonCode: number,
): void {
  const writer = state.outboxes.writer(connection);
  if (reasonCode === ReasonCode.Success || connection.protocolLevel !== 5) {
    // Before MQTT 5.0 a refusal cannot be said: the message is acknowledged and dropped [MQTT311-3.3.5-2].
    if (qos === 1) writePuback(writer, packetId);
    else writePubrec(writer, packetId);
  } else if (reasonCode === ReasonCode.NoMatchingSubscribers) {
    if (qos === 1) encodePuback(writer, { packetId, reasonCode }, 5);
    else encodePubrec(writer, { packetId, reasonCode }, 5);
  } else {
    const text = reasonCode === ReasonCode.NotAuthorized ? "not authorized" : "no room for the message";
    const type: Puback["type"] | "pubrec" = qos === 1 ? "puback" : "pubrec";
    answer(state, connection, { type, packetId, reasonCode, properties: explained(connection, text) });
  }
}
