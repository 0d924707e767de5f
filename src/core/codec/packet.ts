/**
 * All fifteen Control Packets as one union, and the two switches that lead to each packet's own file.
 *
 * For whoever wants whole packets as objects: tests, clients, tools. The broker's hot path reads and writes PUBLISH and
 * its acknowledgements through the functions of their files, without objects.
 */
import { type Auth, decodeAuth, encodeAuth } from "./auth.ts";
import { type Connack, decodeConnack, encodeConnack } from "./connack.ts";
import { type Connect, decodeConnect, encodeConnect } from "./connect.ts";
import { type Disconnect, decodeDisconnect, encodeDisconnect } from "./disconnect.ts";
import { PacketType } from "./packet-type.ts";
import { malformed, protocolError } from "./peer-error.ts";
import { decodePingreq, encodePingreq, type Pingreq } from "./pingreq.ts";
import { decodePingresp, encodePingresp, type Pingresp } from "./pingresp.ts";
import { decodePuback, encodePuback, type Puback } from "./puback.ts";
import { decodePubcomp, encodePubcomp, type Pubcomp } from "./pubcomp.ts";
import { decodePublish, encodePublish, type Publish } from "./publish.ts";
import { decodePubrec, encodePubrec, type Pubrec } from "./pubrec.ts";
import { decodePubrel, encodePubrel, type Pubrel } from "./pubrel.ts";
import type { Reader } from "./reader.ts";
import { decodeSuback, encodeSuback, type Suback } from "./suback.ts";
import { decodeSubscribe, encodeSubscribe, type Subscribe } from "./subscribe.ts";
import { decodeUnsuback, encodeUnsuback, type Unsuback } from "./unsuback.ts";
import { decodeUnsubscribe, encodeUnsubscribe, type Unsubscribe } from "./unsubscribe.ts";
import type { Writer } from "./writer.ts";

/** 3 is MQTT 3.1, 4 is MQTT 3.1.1, 5 is MQTT 5.0: the Protocol Level (Version) byte of CONNECT. */
export type ProtocolLevel = 3 | 4 | 5;
export type QoS = 0 | 1 | 2;

export type Packet =
  | Connect
  | Connack
  | Publish
  | Puback
  | Pubrec
  | Pubrel
  | Pubcomp
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Pingreq
  | Pingresp
  | Disconnect
  | Auth;

/** Decodes the body that `reader` is bound to. Throws a PeerError. Binary fields are views over the reader's bytes. */
export function decodePacket(firstByte: number, reader: Reader, level: ProtocolLevel): Packet {
  const flags = firstByte & 0x0f;
  switch (firstByte >> 4) {
    case PacketType.CONNECT:
      return decodeConnect(reader, flags);
    case PacketType.CONNACK:
      return decodeConnack(reader, flags, level);
    case PacketType.PUBLISH:
      return decodePublish(reader, flags, level);
    case PacketType.PUBACK:
      return decodePuback(reader, flags, level);
    case PacketType.PUBREC:
      return decodePubrec(reader, flags, level);
    case PacketType.PUBREL:
      return decodePubrel(reader, flags, level);
    case PacketType.PUBCOMP:
      return decodePubcomp(reader, flags, level);
    case PacketType.SUBSCRIBE:
      return decodeSubscribe(reader, flags, level);
    case PacketType.SUBACK:
      return decodeSuback(reader, flags, level);
    case PacketType.UNSUBSCRIBE:
      return decodeUnsubscribe(reader, flags, level);
    case PacketType.UNSUBACK:
      return decodeUnsuback(reader, flags, level);
    case PacketType.PINGREQ:
      return decodePingreq(reader, flags);
    case PacketType.PINGRESP:
      return decodePingresp(reader, flags);
    case PacketType.DISCONNECT:
      return decodeDisconnect(reader, flags, level);
    case PacketType.AUTH:
      if (level !== 5) throw protocolError("2.1.2", "AUTH exists from MQTT 5.0 on");
      return decodeAuth(reader, flags);
    default:
      throw malformed("2.1.2", "Control Packet type 0");
  }
}

/** Appends a packet, as it looks at `level`, to `writer`. Throws a RangeError for a value that cannot be written. */
export function encodePacket(writer: Writer, packet: Packet, level: ProtocolLevel): void {
  switch (packet.type) {
    case "connect":
      return encodeConnect(writer, packet);
    case "connack":
      return encodeConnack(writer, packet, level);
    case "publish":
      return encodePublish(writer, packet, level);
    case "puback":
      return encodePuback(writer, packet, level);
    case "pubrec":
      return encodePubrec(writer, packet, level);
    case "pubrel":
      return encodePubrel(writer, packet, level);
    case "pubcomp":
      return encodePubcomp(writer, packet, level);
    case "subscribe":
      return encodeSubscribe(writer, packet, level);
    case "suback":
      return encodeSuback(writer, packet, level);
    case "unsubscribe":
      return encodeUnsubscribe(writer, packet, level);
    case "unsuback":
      return encodeUnsuback(writer, packet, level);
    case "pingreq":
      return encodePingreq(writer);
    case "pingresp":
      return encodePingresp(writer);
    case "disconnect":
      return encodeDisconnect(writer, packet, level);
    case "auth":
      return encodeAuth(writer, packet);
  }
}
