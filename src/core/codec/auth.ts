/** AUTH (MQTT 5.0 section 3.15): one step of an enhanced authentication, in either direction. */
import { checkFlags } from "./fixed-header.ts";
import { PacketType } from "./packet-type.ts";
import { protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { isReasonCodeOf } from "./reason-code.ts";
import type { Writer } from "./writer.ts";

export interface Auth {
  type: "auth";
  reasonCode: number;
  properties: Properties;
}

export function decodeAuth(reader: Reader, flags: number): Auth {
  checkFlags(PacketType.AUTH, flags, 0, "MQTT-3.15.1-1");
  // Section 3.15.2.1: success without properties is an empty body.
  if (reader.remaining === 0) return { type: "auth", reasonCode: 0, properties: {} };
  const reasonCode = reader.u8();
  if (!isReasonCodeOf(PacketType.AUTH, reasonCode)) {
    throw protocolError("MQTT-3.15.2-1", `reason code 0x${reasonCode.toString(16)} in AUTH`);
  }
  // Unlike elsewhere only both fields together may be left off (section 3.15.2.1).
  const properties = decodeProperties(reader, PacketType.AUTH);
  reader.finish();
  return { type: "auth", reasonCode, properties };
}

export function encodeAuth(writer: Writer, packet: Auth): void {
  const mark = writer.begin(PacketType.AUTH << 4);
  const hasProperties = Object.keys(packet.properties).length > 0;
  if (packet.reasonCode !== 0 || hasProperties) {
    writer.u8(packet.reasonCode);
    encodeProperties(writer, packet.properties);
  }
  writer.finish(mark);
}
