/** SUBACK (MQTT 5.0 section 3.9): one reason code per Topic Filter, in the order of the SUBSCRIBE [MQTT-3.9.3-1]. */
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { checkReasonCode } from "./reason-tail.ts";
import type { Writer } from "./writer.ts";

export interface Suback {
  type: "suback";
  packetId: number;
  reasonCodes: number[];
  properties: Properties;
}

export function decodeSuback(reader: Reader, flags: number, level: ProtocolLevel): Suback {
  checkFlags(PacketType.SUBACK, flags, 0, "MQTT-2.1.3-1");
  const packetId = reader.packetId("MQTT-2.2.1-6");
  const properties = level === 5 ? decodeProperties(reader, PacketType.SUBACK) : {};
  const reasonCodes = Array.from(reader.rest());
  for (const code of reasonCodes) {
    if (level === 5) checkReasonCode(PacketType.SUBACK, code, "MQTT-3.9.3-2");
    else if (code > 2 && code !== 0x80) throw protocolError("MQTT-3.9.3-2", `return code ${code}`);
  }
  return { type: "suback", packetId, reasonCodes, properties };
}

/** Before MQTT 5.0 every failure is 0x80 [MQTT311-3.9.3-2]. */
export function encodeSuback(writer: Writer, packet: Suback, level: ProtocolLevel): void {
  const mark = writer.begin(PacketType.SUBACK << 4);
  writer.u16(packet.packetId);
  if (level === 5) encodeProperties(writer, packet.properties);
  for (const code of packet.reasonCodes) writer.u8(level !== 5 && code > 2 ? 0x80 : code);
  writer.finish(mark);
}
