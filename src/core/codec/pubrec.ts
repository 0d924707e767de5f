/** PUBREC (MQTT 5.0 section 3.5): first answer to a QoS 2 PUBLISH. */
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

const FIRST_BYTE = (PacketType.PUBREC << 4) | 0;

export interface Pubrec extends Acknowledgement {
  type: "pubrec";
}

export function decodePubrec(reader: Reader, flags: number, level: ProtocolLevel): Pubrec {
  checkFlags(PacketType.PUBREC, flags, 0, "MQTT-2.1.3-1");
  const body = decodeAcknowledgement(reader, PacketType.PUBREC, level, "MQTT-3.5.2-1");
  return { type: "pubrec", packetId: body.packetId, reasonCode: body.reasonCode, properties: body.properties };
}

export function encodePubrec(
  writer: Writer,
  packet: { packetId: number; reasonCode?: number; properties?: Properties },
  level: ProtocolLevel,
): void {
  encodeAcknowledgement(writer, FIRST_BYTE, packet, level);
}

/** The four bytes of a PUBREC that says success, without an object. */
export function writePubrec(writer: Writer, packetId: number): void {
  encodeShortAcknowledgement(writer, FIRST_BYTE, packetId);
}
