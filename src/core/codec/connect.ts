/**
 * CONNECT (MQTT 5.0 section 3.1): the first packet of a client, in the layouts of MQTT 3.1, 3.1.1 and 5.0.
 *
 * An unknown Protocol Name is Malformed or 0x84, an unknown level 0x84; the handler answers each level in its own way.
 */
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel, QoS } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { malformed, PeerError, protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties, WILL_PROPERTIES } from "./property.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** The Will as CONNECT carries it (section 3.1.3.2 to 3.1.3.4). */
export interface Will {
  topicName: string;
  payload: Uint8Array;
  qos: QoS;
  retain: boolean;
  properties: Properties;
}

export interface Connect {
  type: "connect";
  protocolLevel: ProtocolLevel;
  /** Clean Start; Clean Session before MQTT 5.0. */
  cleanStart: boolean;
  /** Seconds. */
  keepAlive: number;
  clientId: string;
  /** Not on the wire: the server chose `clientId` and has to say so. */
  assignedClientId?: boolean;
  will?: Will;
  username?: string;
  password?: Uint8Array;
  properties: Properties;
}

const RESERVED = 0x01;
const CLEAN_START = 0x02;
const WILL = 0x04;
const WILL_QOS = 0x18;
const WILL_RETAIN = 0x20;
const PASSWORD = 0x40;
const USER_NAME = 0x80;

/**
 * Reads Protocol Name and level only: enough to know how a CONNECT is to be refused.
 * Throws 0x84 for a protocol that is none of ours [MQTT-3.1.2-1] [MQTT-3.1.2-2].
 */
export function decodeProtocolLevel(reader: Reader): ProtocolLevel {
  const name = reader.string();
  const level = reader.u8();
  if (name === "MQTT") {
    if (level === 4 || level === 5) return level;
    throw new PeerError(0x84, "MQTT-3.1.2-2", `protocol level ${level}, expected 5 or 4 (3 with the name MQIsdp)`);
  }
  if (name === "MQIsdp" && level === 3) return 3;
  if (name === "MQIsdp") throw new PeerError(0x84, "MQTT-3.1.2-2", `protocol level ${level} of MQIsdp, expected 3`);
  throw new PeerError(0x84, "MQTT-3.1.2-1", `protocol name of ${name.length} characters, expected MQTT`);
}

export function decodeConnect(reader: Reader, flags: number): Connect {
  checkFlags(PacketType.CONNECT, flags, 0, "MQTT-2.1.3-1");
  const protocolLevel = decodeProtocolLevel(reader);
  const connectFlags = reader.u8();
  checkConnectFlags(connectFlags, protocolLevel);
  const keepAlive = reader.u16();
  const properties = protocolLevel === 5 ? decodeProperties(reader, PacketType.CONNECT) : {};
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError("3.1.2.11.10", "Authentication Data without an Authentication Method");
  }
  const packet: Connect = {
    type: "connect",
    protocolLevel,
    cleanStart: (connectFlags & CLEAN_START) !== 0,
    keepAlive,
    clientId: reader.string(),
    properties,
  };
  if ((connectFlags & WILL) !== 0) {
    const willProperties = protocolLevel === 5 ? decodeProperties(reader, WILL_PROPERTIES) : {};
    const { responseTopic = "" } = willProperties;
    if (responseTopic.includes("+") || responseTopic.includes("#")) {
      throw protocolError("MQTT-3.3.2-14", "wildcard in a Response Topic");
    }
    const topicName = reader.string();
    packet.will = {
      topicName,
      payload: reader.binary(),
      qos: ((connectFlags & WILL_QOS) >> 3) as QoS,
      retain: (connectFlags & WILL_RETAIN) !== 0,
      properties: willProperties,
    };
  }
  // MQTT 3.1 has servers accept a flagged user name or password that is left off.
  const mayBeLeftOff = protocolLevel === 3;
  const isThere = (flag: number): boolean => (connectFlags & flag) !== 0 && !(mayBeLeftOff && reader.remaining === 0);
  if (isThere(USER_NAME)) packet.username = reader.string();
  if (isThere(PASSWORD)) packet.password = reader.binary();
  reader.finish();
  return packet;
}

function checkConnectFlags(flags: number, level: ProtocolLevel): void {
  if ((flags & RESERVED) !== 0) throw malformed("MQTT-3.1.2-3", "reserved connect flag is 1");
  const willQos = (flags & WILL_QOS) >> 3;
  if ((flags & WILL) === 0) {
    if (willQos !== 0) throw malformed("MQTT-3.1.2-11", "Will QoS without a Will");
    if ((flags & WILL_RETAIN) !== 0) throw malformed("MQTT-3.1.2-13", "Will Retain without a Will");
  } else if (willQos === 3) {
    throw malformed("MQTT-3.1.2-12", "Will QoS 3");
  }
  // MQTT 5.0 allows a password alone; 3.1.1 does not [MQTT311-3.1.2-22].
  if (level !== 5 && (flags & PASSWORD) !== 0 && (flags & USER_NAME) === 0) {
    throw malformed("MQTT311-3.1.2-22", "password without a user name");
  }
}

export function encodeConnect(writer: Writer, packet: Connect): void {
  const { protocolLevel: level, will } = packet;
  const mark = writer.begin(PacketType.CONNECT << 4);
  writer.string(level === 3 ? "MQIsdp" : "MQTT");
  writer.u8(level);
  let flags = packet.cleanStart ? CLEAN_START : 0;
  if (will !== undefined) flags |= WILL | (will.qos << 3) | (will.retain ? WILL_RETAIN : 0);
  if (packet.username !== undefined) flags |= USER_NAME;
  if (packet.password !== undefined) flags |= PASSWORD;
  writer.u8(flags);
  writer.u16(packet.keepAlive);
  if (level === 5) encodeProperties(writer, packet.properties);
  writer.string(packet.clientId);
  if (will !== undefined) {
    if (level === 5) encodeProperties(writer, will.properties);
    writer.string(will.topicName);
    writer.binary(will.payload);
  }
  if (packet.username !== undefined) writer.string(packet.username);
  if (packet.password !== undefined) writer.binary(packet.password);
  writer.finish(mark);
}
