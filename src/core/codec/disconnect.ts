/** DISCONNECT (MQTT 5.0 section 3.14): the last packet, from either side; before MQTT 5.0 two bytes from the client only. */
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { isReasonCodeOf } from "./reason-code.ts";
import type { Writer } from "./writer.ts";

export interface Disconnect {
  type: "disconnect";
  reasonCode: number;
  properties: Properties;
}

export function decodeDisconnect(reader: Reader, flags: number, level: ProtocolLevel): Disconnect {
  checkFlags(PacketType.DISCONNECT, flags, 0, "MQTT-3.14.1-1");
  if (level !== 5 || reader.remaining === 0) {
    reader.finish();
    return { type: "disconnect", reasonCode: 0, properties: {} };
  }
  const reasonCode = reader.u8();
  if (!isReasonCodeOf(PacketType.DISCONNECT, reasonCode)) {
    throw protocolError("MQTT-3.14.2-1", `reason code 0x${reasonCode.toString(16)} in DISCONNECT`);
  }
  const properties = reader.remaining === 0 ? {} : decodeProperties(reader, PacketType.DISCONNECT);
  reader.finish();
  return { type: "disconnect", reasonCode, properties };
}

export function encodeDisconnect(writer: Writer, packet: Disconnect, level: ProtocolLevel): void {
  const mark = writer.begin(PacketType.DISCONNECT << 4);
  const hasProperties = Object.keys(packet.properties).length > 0;
  if (level === 5 && (packet.reasonCode !== 0 || hasProperties)) {
    writer.u8(packet.reasonCode);
    if (hasProperties) encodeProperties(writer, packet.properties);
  }
  writer.finish(mark);
}
