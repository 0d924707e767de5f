/** PUBACK (MQTT 5.0 section 3.4): answers a QoS 1 PUBLISH. */
import {
  type Acknowledgement,
  decodeAcknowledgement,
  encodeAcknowledgement,
  encodeShortAcknowledgement,
} from "./acknowledgement.ts";
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import type { Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

const FIRST_BYTE = (PacketType.PUBACK << 4) | 0;

export interface Puback extends Acknowledgement {
  type: "puback";
}

export function decodePuback(reader: Reader, flags: number, level: ProtocolLevel): Puback {
  checkFlags(PacketType.PUBACK, flags, 0, "MQTT-2.1.3-1");
  const body = decodeAcknowledgement(reader, PacketType.PUBACK, level, "MQTT-3.4.2-1");
  return { type: "puback", packetId: body.packetId, reasonCode: body.reasonCode, properties: body.properties };
}

export function encodePuback(
  writer: Writer,
  packet: { packetId: number; reasonCode?: number; properties?: Properties },
  level: ProtocolLevel,
): void {
  encodeAcknowledgement(writer, FIRST_BYTE, packet, level);
}

/** The four bytes of a PUBACK that says success, without an object. */
export function writePuback(writer: Writer, packetId: number): void {
  encodeShortAcknowledgement(writer, FIRST_BYTE, packetId);
}
