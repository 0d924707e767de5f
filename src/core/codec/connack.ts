/** CONNACK (MQTT 5.0 section 3.2): the server's answer to CONNECT. Return codes are in return-code.ts. */
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { malformed, protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { readReasonCode } from "./reason-tail.ts";
import type { Writer } from "./writer.ts";

export interface Connack {
  type: "connack";
  sessionPresent: boolean;
  /** A reason code of MQTT 5.0; a return code (0 to 5) where the level is 3 or 4. */
  reasonCode: number;
  properties: Properties;
}

export function decodeConnack(reader: Reader, flags: number, level: ProtocolLevel): Connack {
  checkFlags(PacketType.CONNACK, flags, 0, "MQTT-2.1.3-1");
  const acknowledgeFlags = reader.u8();
  // MQTT 3.1 reserves the byte without saying what is in it.
  if (acknowledgeFlags > 1 && level !== 3)
    throw malformed("MQTT-3.2.2-1", `Connect Acknowledge Flags ${acknowledgeFlags}`);
  const reasonCode = level === 5 ? readReasonCode(reader, PacketType.CONNACK, "MQTT-3.2.2-8") : reader.u8();
  const sessionPresent = acknowledgeFlags === 1 && level !== 3;
  if (reasonCode !== 0 && sessionPresent) throw protocolError("MQTT-3.2.2-6", "Session Present with a refusal");
  const properties = level === 5 ? decodeProperties(reader, PacketType.CONNACK) : {};
  reader.finish();
  return { type: "connack", sessionPresent, reasonCode, properties };
}

export function encodeConnack(writer: Writer, packet: Connack, level: ProtocolLevel): void {
  const mark = writer.begin(PacketType.CONNACK << 4);
  // MQTT 3.1 has no Session Present: its byte is reserved.
  writer.u8(packet.sessionPresent && level !== 3 ? 1 : 0);
  writer.u8(packet.reasonCode);
  if (level === 5) encodeProperties(writer, packet.properties);
  writer.finish(mark);
}
