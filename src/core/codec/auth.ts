/** AUTH (MQTT 5.0 section 3.15): one step of an enhanced authentication, in either direction. */
import { checkFlags } from "./fixed-header.ts";
import { PacketType } from "./packet-type.ts";
import type { Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { decodeReasonTail, encodeReasonTail } from "./reason-tail.ts";
import type { Writer } from "./writer.ts";

export interface Auth {
  type: "auth";
  reasonCode: number;
  properties: Properties;
}

export function decodeAuth(reader: Reader, flags: number): Auth {
  checkFlags(PacketType.AUTH, flags, 0, "MQTT-3.15.1-1");
  const { reasonCode, properties } = decodeReasonTail(reader, PacketType.AUTH, "MQTT-3.15.2-1");
  return { type: "auth", reasonCode, properties };
}

export function encodeAuth(writer: Writer, packet: Auth): void {
  const mark = writer.begin(PacketType.AUTH << 4);
  encodeReasonTail(writer, packet.reasonCode, packet.properties, true);
  writer.finish(mark);
}
