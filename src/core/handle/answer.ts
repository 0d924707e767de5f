/**
 * Packets that the broker writes with optional text in them: the text goes if the packet would be too large for the
 * client, the packet itself goes if even that does not help (MQTT 5.0 section 3.1.2.11.4).
 */
import { encodeConnack } from "../codec/connack.ts";
import { encodePacket, type Packet } from "../codec/packet.ts";
import { PacketType } from "../codec/packet-type.ts";
import type { Properties } from "../codec/property.ts";
import { isReasonCodeOf, ReasonCode } from "../codec/reason-code.ts";
import { returnCodeOf } from "../codec/return-code.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import type { BrokerState } from "../state.ts";
import { endConnection } from "./closed.ts";

type WithProperties = Extract<Packet, { properties: Properties }>;

/**
 * Appends a packet of the broker's own to a client's outbox. Reason String and User Properties are left out where the
 * client's Maximum Packet Size forbids them [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.14.2-3]; answers false where the
 * packet does not fit at all and was not written [MQTT-3.1.2-24].
 */
export function answer(state: BrokerState, connection: Connection, packet: WithProperties): boolean {
  const writer = state.outboxes.writer(connection);
  const start = writer.length;
  try {
    encodePacket(writer, packet, connection.protocolLevel);
  } catch (error) {
    // Half a packet would spoil everything behind it.
    writer.length = start;
    throw error;
  }
  if (writer.length - start <= connection.packetBytesMax) return true;
  writer.length = start;
  const { reasonString, userProperties, ...needed } = packet.properties;
  if (reasonString === undefined && userProperties === undefined) return false;
  encodePacket(writer, { ...packet, properties: needed }, connection.protocolLevel);
  if (writer.length - start <= connection.packetBytesMax) return true;
  writer.length = start;
  return false;
}

/** Properties with a Reason String, for the packets that carry one only if the client asked [MQTT-3.1.2-29]. */
export function explained(connection: Connection, reasonString: string): Properties {
  return connection.wantsProblemInformation ? { reasonString } : {};
}

/** Server Reference belongs to "use another server" and "server moved" only. */
function withServerReference(state: BrokerState, reasonCode: number, properties: Properties): Properties {
  const { serverReference } = state.config.capabilities;
  const moves = reasonCode === ReasonCode.UseAnotherServer || reasonCode === ReasonCode.ServerMoved;
  return moves && serverReference !== "" ? { ...properties, serverReference } : properties;
}

/** Ends a connected client's connection with DISCONNECT, or without where MQTT 5.0 is not spoken. The Will is published. */
export function disconnect(
  state: BrokerState,
  connection: Connection,
  reasonCode: number,
  reasonString?: string,
): void {
  if (connection.state === ConnectionState.Closed) return;
  if (connection.protocolLevel === 5) {
    const code = isReasonCodeOf(PacketType.DISCONNECT, reasonCode) ? reasonCode : ReasonCode.UnspecifiedError;
    const properties = withServerReference(state, code, reasonString === undefined ? {} : { reasonString });
    answer(state, connection, { type: "disconnect", reasonCode: code, properties });
  }
  state.outboxes.closeAfterFlush(connection, reasonCode);
  endConnection(state, connection, true);
}

/** Ends a connection that is not connected yet with CONNACK, where its level has a code for the reason. */
export function refuse(state: BrokerState, connection: Connection, reasonCode: number, reasonString?: string): void {
  if (connection.state === ConnectionState.Closed) return;
  if (connection.levelKnown) {
    if (connection.protocolLevel === 5) {
      const code = isReasonCodeOf(PacketType.CONNACK, reasonCode) ? reasonCode : ReasonCode.UnspecifiedError;
      const properties = withServerReference(state, code, reasonString === undefined ? {} : { reasonString });
      answer(state, connection, { type: "connack", sessionPresent: false, reasonCode: code, properties });
    } else {
      const returnCode = returnCodeOf(reasonCode);
      const packet = { type: "connack", sessionPresent: false, reasonCode: returnCode ?? 0, properties: {} } as const;
      if (returnCode !== undefined) encodeConnack(state.outboxes.writer(connection), packet, connection.protocolLevel);
    }
  }
  state.statistics.connectsRefused++;
  state.outboxes.closeAfterFlush(connection, reasonCode);
  endConnection(state, connection, true);
}

/** A last word to every client when the broker stops: DISCONNECT 0x8B to MQTT 5.0 clients that are connected. */
export function sayGoodbye(state: BrokerState, connection: Connection): void {
  if (connection.state === ConnectionState.Connected && connection.protocolLevel === 5) {
    // With a Reason String: Paho's Python client reads the reason code of longer packets only.
    const properties = { reasonString: "the server is shutting down" };
    answer(state, connection, { type: "disconnect", reasonCode: ReasonCode.ServerShuttingDown, properties });
  }
  state.outboxes.closeAfterFlush(connection, ReasonCode.ServerShuttingDown);
}
