/** DISCONNECT (MQTT 5.0 section 3.14): the last packet, from either side; before MQTT 5.0 two bytes from the client only. */
import { checkFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import type { Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { decodeReasonTail, encodeReasonTail } from "./reason-tail.ts";
import type { Writer } from "./writer.ts";

export interface Disconnect {
  type: "disconnect";
  reasonCode: number;
  properties: Properties;
}

export function decodeDisconnect(reader: Reader, flags: number, level: ProtocolLevel): Disconnect {
  checkFlags(PacketType.DISCONNECT, flags, 0, "MQTT-3.14.1-1");
  // Before MQTT 5.0 it has no body.
  if (level !== 5) reader.finish();
  const { reasonCode, properties } = decodeReasonTail(reader, PacketType.DISCONNECT, "MQTT-3.14.2-1");
  return { type: "disconnect", reasonCode, properties };
}

export function encodeDisconnect(writer: Writer, packet: Disconnect, level: ProtocolLevel): void {
  const mark = writer.begin(PacketType.DISCONNECT << 4);
  if (level === 5) encodeReasonTail(writer, packet.reasonCode, packet.properties);
  writer.finish(mark);
}
