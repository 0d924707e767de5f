/** PINGREQ (MQTT 5.0 section 3.12). Asks for a PINGRESP; two bytes at every level. */
import { checkFlags } from "./fixed-header.ts";
import { PacketType } from "./packet-type.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface Pingreq {
  type: "pingreq";
}

export function decodePingreq(reader: Reader, flags: number): Pingreq {
  checkFlags(PacketType.PINGREQ, flags, 0, "MQTT-2.1.3-1");
  reader.finish();
  return { type: "pingreq" };
}

export function encodePingreq(writer: Writer): void {
  writer.u8(PacketType.PINGREQ << 4);
  writer.u8(0);
}
