/**
 * The body that PUBACK, PUBREC, PUBREL and PUBCOMP share (MQTT 5.0 sections 3.4 to 3.7): Packet Identifier, and in
 * MQTT 5.0 a reason code and properties that may be left off.
 */
import type { ProtocolLevel } from "./packet.ts";
import type { Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { decodeReasonTail, encodeReasonTail } from "./reason-tail.ts";
import type { Writer } from "./writer.ts";

export interface Acknowledgement {
  packetId: number;
  /** 0x00 in MQTT 3.1 and 3.1.1, which have no reason codes here. */
  reasonCode: number;
  properties: Properties;
}

export function decodeAcknowledgement(
  reader: Reader,
  packetType: number,
  level: ProtocolLevel,
  reasonStatement: string,
): Acknowledgement {
  const packetId = reader.packetId("MQTT-2.2.1-5");
  if (level !== 5 || reader.remaining === 0) {
    reader.finish();
    return { packetId, reasonCode: 0, properties: {} };
  }
  const { reasonCode, properties } = decodeReasonTail(reader, packetType, reasonStatement);
  return { packetId, reasonCode, properties };
}

export function encodeAcknowledgement(
  writer: Writer,
  firstByte: number,
  packet: { packetId: number; reasonCode?: number; properties?: Properties },
  level: ProtocolLevel,
): void {
  const mark = writer.begin(firstByte);
  writer.u16(packet.packetId);
  if (level === 5) encodeReasonTail(writer, packet.reasonCode, packet.properties);
  writer.finish(mark);
}

/** Writes the four-byte form that says success at every level. */
export function encodeShortAcknowledgement(writer: Writer, firstByte: number, packetId: number): void {
  writer.reserve(4);
  const bytes = writer.bytes;
  const at = writer.length;
  bytes[at] = firstByte;
  bytes[at + 1] = 2;
  bytes[at + 2] = packetId >>> 8;
  bytes[at + 3] = packetId;
  writer.length = at + 4;
}
