/** UNSUBACK (MQTT 5.0 section 3.11): one reason code per Topic Filter; before MQTT 5.0 a Packet Identifier alone. */
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { checkReasonCode } from "./reason-tail.ts";
import type { Writer } from "./writer.ts";

export interface Unsuback {
  type: "unsuback";
  packetId: number;
  reasonCodes: number[];
  properties: Properties;
}

export function decodeUnsuback(reader: Reader, flags: number, level: ProtocolLevel): Unsuback {
  checkFlags(PacketType.UNSUBACK, flags, 0, "MQTT-2.1.3-1");
  const packetId = reader.packetId("MQTT-2.2.1-6");
  if (level !== 5) {
    reader.finish();
    return { type: "unsuback", packetId, reasonCodes: [], properties: {} };
  }
  const properties = decodeProperties(reader, PacketType.UNSUBACK);
  const reasonCodes = Array.from(reader.rest());
  for (const code of reasonCodes) checkReasonCode(PacketType.UNSUBACK, code, "MQTT-3.11.3-2");
  return { type: "unsuback", packetId, reasonCodes, properties };
}

export function encodeUnsuback(writer: Writer, packet: Unsuback, level: ProtocolLevel): void {
  const mark = writer.begin(PacketType.UNSUBACK << 4);
  writer.u16(packet.packetId);
  if (level === 5) {
    encodeProperties(writer, packet.properties);
    for (const code of packet.reasonCodes) writer.u8(code);
  }
  writer.finish(mark);
}
