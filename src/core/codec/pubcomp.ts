/** PUBCOMP (MQTT 5.0 section 3.7): answers a PUBREL; the end of a QoS 2 delivery. */
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

const FIRST_BYTE = (PacketType.PUBCOMP << 4) | 0;

export interface Pubcomp extends Acknowledgement {
  type: "pubcomp";
}

export function decodePubcomp(reader: Reader, flags: number, level: ProtocolLevel): Pubcomp {
  checkFlags(PacketType.PUBCOMP, flags, 0, "MQTT-2.1.3-1");
  const body = decodeAcknowledgement(reader, PacketType.PUBCOMP, level, "MQTT-3.7.2-1");
  return { type: "pubcomp", packetId: body.packetId, reasonCode: body.reasonCode, properties: body.properties };
}

export function encodePubcomp(
  writer: Writer,
  packet: { packetId: number; reasonCode?: number; properties?: Properties },
  level: ProtocolLevel,
): void {
  encodeAcknowledgement(writer, FIRST_BYTE, packet, level);
}

/** The four bytes of a PUBCOMP that says success, without an object. */
export function writePubcomp(writer: Writer, packetId: number): void {
  encodeShortAcknowledgement(writer, FIRST_BYTE, packetId);
}
