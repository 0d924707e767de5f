/**
 * PUBLISH (MQTT 5.0 section 3.3) as a whole object, for everybody but the broker's hot path, which is in publish-view.ts.
 */
import type { ProtocolLevel, QoS } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { malformed, PeerError, protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface Publish {
  type: "publish";
  dup: boolean;
  qos: QoS;
  retain: boolean;
  topicName: string;
  /** Absent at QoS 0 [MQTT-2.2.1-2]. */
  packetId?: number;
  payload: Uint8Array;
  properties: Properties;
}

const DUP = 0x08;
const RETAIN = 0x01;

/** The first byte of a PUBLISH. */
export function publishFirstByte(qos: QoS, dup: boolean, retain: boolean): number {
  return (PacketType.PUBLISH << 4) | (dup ? DUP : 0) | (qos << 1) | (retain ? RETAIN : 0);
}

export function decodePublish(reader: Reader, flags: number, level: ProtocolLevel): Publish {
  const qos = (flags >> 1) & 0x03;
  const dup = (flags & DUP) !== 0;
  if (qos === 3) throw malformed("MQTT-3.3.1-4", "QoS 3 in PUBLISH");
  if (qos === 0 && dup) throw malformed("MQTT-3.3.1-2", "DUP at QoS 0");
  const topicName = reader.string();
  const packetId = qos > 0 ? reader.packetId("MQTT-2.2.1-3") : 0;
  const properties = level === 5 ? decodeProperties(reader, PacketType.PUBLISH) : {};
  const { responseTopic = "", topicAlias } = properties;
  if (hasWildcard(responseTopic)) throw protocolError("MQTT-3.3.2-14", "wildcard in a Response Topic");
  if (hasWildcard(topicName)) throw new PeerError(0x90, "MQTT-3.3.2-2", "wildcard in a Topic Name");
  if (topicName === "" && topicAlias === undefined) throw protocolError("MQTT-4.7.3-1", "empty Topic Name");
  const retain = (flags & RETAIN) !== 0;
  const packet: Publish = {
    type: "publish",
    dup,
    qos: qos as QoS,
    retain,
    topicName,
    payload: reader.rest(),
    properties,
  };
  if (qos > 0) packet.packetId = packetId;
  return packet;
}

function hasWildcard(topicName: string): boolean {
  return topicName.includes("+") || topicName.includes("#");
}

export function encodePublish(writer: Writer, packet: Publish, level: ProtocolLevel): void {
  const mark = writer.begin(publishFirstByte(packet.qos, packet.dup, packet.retain));
  writer.string(packet.topicName);
  if (packet.qos > 0) writer.u16(packet.packetId ?? 0);
  if (level === 5) encodeProperties(writer, packet.properties);
  writer.raw(packet.payload, 0, packet.payload.length);
  writer.finish(mark);
}
