/**
 * A reason code and properties that may be left off, at the end of PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT and AUTH
 * (MQTT 5.0 sections 3.4.2.1, 3.14.2 and 3.15.2).
 */
import { PacketType } from "./packet-type.ts";
import { protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import { isReasonCodeOf } from "./reason-code.ts";
import type { Writer } from "./writer.ts";

export interface ReasonTail {
  reasonCode: number;
  properties: Properties;
}

/** Reads a reason code that this packet may carry; `statement` is the packet's own id. */
export function readReasonCode(reader: Reader, packetType: number, statement: string): number {
  const reasonCode = reader.u8();
  checkReasonCode(packetType, reasonCode, statement);
  return reasonCode;
}

export function checkReasonCode(packetType: number, reasonCode: number, statement: string): void {
  if (!isReasonCodeOf(packetType, reasonCode)) {
    throw protocolError(statement, `reason code 0x${reasonCode.toString(16)}`);
  }
}

/** Reads up to the end of the packet. */
export function decodeReasonTail(reader: Reader, packetType: number, statement: string): ReasonTail {
  let reasonCode = 0;
  let properties: Properties = {};
  if (reader.remaining > 0) {
    reasonCode = readReasonCode(reader, packetType, statement);
    // In AUTH only both together may be left off (section 3.15.2.1).
    if (reader.remaining > 0 || packetType === PacketType.AUTH) properties = decodeProperties(reader, packetType);
  }
  reader.finish();
  return { reasonCode, properties };
}

export function encodeReasonTail(
  writer: Writer,
  reasonCode = 0,
  properties: Properties = {},
  alwaysBoth = false,
): void {
  const hasProperties = Object.keys(properties).length > 0;
  if (reasonCode === 0 && !hasProperties) return;
  writer.u8(reasonCode);
  if (hasProperties || alwaysBoth) encodeProperties(writer, properties);
}
