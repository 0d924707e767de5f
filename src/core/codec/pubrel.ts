/** PUBREL (MQTT 5.0 section 3.6): answers a PUBREC; flags are 0010 [MQTT-3.6.1-1]. */
import {
  type Acknowledgement,
  decodeAcknowledgement,
  encodeAcknowledgement,
  encodeShortAcknowledgement,
} from "./acknowledgement.ts";
import { checkRepeatableFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import type { Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

const FIRST_BYTE = (PacketType.PUBREL << 4) | 2;

export interface Pubrel extends Acknowledgement {
  type: "pubrel";
}

export function decodePubrel(reader: Reader, flags: number, level: ProtocolLevel): Pubrel {
  checkRepeatableFlags(PacketType.PUBREL, flags, 2, "MQTT-3.6.1-1", level);
  const body = decodeAcknowledgement(reader, PacketType.PUBREL, level, "MQTT-3.6.2-1");
  return { type: "pubrel", packetId: body.packetId, reasonCode: body.reasonCode, properties: body.properties };
}

export function encodePubrel(
  writer: Writer,
  packet: { packetId: number; reasonCode?: number; properties?: Properties },
  level: ProtocolLevel,
): void {
  encodeAcknowledgement(writer, FIRST_BYTE, packet, level);
}

/** The four bytes of a PUBREL that says success, without an object. */
export function writePubrel(writer: Writer, packetId: number): void {
  encodeShortAcknowledgement(writer, FIRST_BYTE, packetId);
}
