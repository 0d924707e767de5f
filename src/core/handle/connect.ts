/**
 * CONNECT (MQTT 5.0 section 3.1.4): level, syntax and what the broker cannot do are checked first; then the authority is
 * asked. Nobody's session is looked at before it has accepted (handle/verdict.ts).
 */
import { type Connect, decodeConnect, decodeProtocolLevel, type Will } from "../codec/connect.ts";
import { PeerError, protocolError } from "../codec/peer-error.ts";
import type { Reader } from "../codec/reader.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { checkTopicName } from "../codec/topic.ts";
import { type Connection, ConnectionState } from "../connection/connection.ts";
import { Exchange } from "../gate/exchange.ts";
import type { BrokerState } from "../state.ts";
import { refuse } from "./answer.ts";
import { askAuthority } from "./verdict.ts";

export function handleConnect(state: BrokerState, connection: Connection, reader: Reader, flags: number): void {
  if (connection.state !== ConnectionState.AwaitConnect) throw protocolError("MQTT-3.1.0-2", "a second CONNECT");
  readLevel(connection, reader);
  const packet = decodeConnect(reader, flags);
  const { properties } = packet;
  connection.packetBytesMax = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
  connection.wantsProblemInformation = properties.requestProblemInformation !== 0;
  connection.authenticationMethod = properties.authenticationMethod;
  if (packet.clientId.length === 0 && !assignClientId(state, packet)) {
    throw new PeerError(ReasonCode.ClientIdentifierNotValid, "MQTT311-3.1.3-8", "empty client id with clean session 0");
  }
  if (packet.will !== undefined && !checkWill(state, connection, packet.will)) return;
  ownBinary(packet);
  connection.connect = packet;
  const exchange = new Exchange(++state.lastExchangeId, connection.authenticationMethod, "connect", connection);
  connection.exchange = exchange;
  askAuthority(state, connection, exchange, "connect", properties.authenticationData);
}

/** Views over the packet die with this turn; what waits for a verdict, or is kept with the session, is copied. */
function ownBinary(packet: Connect): void {
  const { will, properties } = packet;
  if (will !== undefined) {
    will.payload = will.payload.slice();
    const { correlationData } = will.properties;
    if (correlationData !== undefined) will.properties.correlationData = correlationData.slice();
  }
  if (properties.authenticationData !== undefined) {
    properties.authenticationData = properties.authenticationData.slice();
  }
  if (packet.password !== undefined) packet.password = packet.password.slice();
}

/** Reads the level ahead of the rest, so that a client whose CONNECT is wrong is answered in its own language. */
function readLevel(connection: Connection, reader: Reader): void {
  const { offset } = reader;
  try {
    connection.protocolLevel = decodeProtocolLevel(reader);
    connection.levelKnown = true;
  } catch (error) {
    if (error instanceof PeerError && error.statement === "MQTT-3.1.2-2") {
      // The name is ours, the level is not [MQTT-3.1.2-2] [MQTT311-3.1.2-2]. The level is the byte read last; only a
      // client newer than MQTT 5.0, whose name is four letters long, reads the answer of MQTT 5.0.
      const nameBytes = reader.offset - offset - 3;
      const asked = reader.bytes[reader.offset - 1]!;
      // The top bit is how bridges of other brokers announce themselves; they read 3.1.1 and then ask again without it.
      connection.protocolLevel = nameBytes === 4 && asked > 5 && asked < 0x80 ? 5 : 4;
      connection.levelKnown = true;
    }
    throw error;
  }
  reader.offset = offset;
}

/** [MQTT-3.1.3-6]; before MQTT 5.0 only with a clean session [MQTT311-3.1.3-8], in MQTT 3.1 not at all. */
function assignClientId(state: BrokerState, packet: Connect): boolean {
  if (packet.protocolLevel === 3 || (packet.protocolLevel === 4 && !packet.cleanStart)) return false;
  let clientId = state.ports.ids.clientId();
  while (state.sessions.has(clientId)) clientId = state.ports.ids.clientId(); // [MQTT-3.2.2-16]
  packet.clientId = clientId;
  if (packet.protocolLevel === 5) packet.assignedClientId = true;
  return true;
}

/** What can be said of a Will without knowing who it is from; answers false where the connection was refused. */
function checkWill(state: BrokerState, connection: Connection, will: Will): boolean {
  const { limits, capabilities } = state.config;
  checkTopicName(will.topicName, limits.topicLevelsMax, "MQTT-4.7.0-1");
  if (will.qos > capabilities.maximumQos) {
    refuse(state, connection, ReasonCode.QosNotSupported, `Will QoS ${will.qos}, at most ${capabilities.maximumQos}`);
    return false; // [MQTT-3.2.2-12]
  }
  if (will.retain && !capabilities.retainAvailable) {
    refuse(state, connection, ReasonCode.RetainNotSupported, "retained messages are not available");
    return false; // [MQTT-3.2.2-13]
  }
  if (will.topicName.startsWith("$")) {
    refuse(state, connection, ReasonCode.NotAuthorized, "topics beginning with $ are the server's");
    return false;
  }
  return true;
}
