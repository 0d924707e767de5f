/** PINGRESP (MQTT 5.0 section 3.13). Answers a PINGREQ; two bytes at every level. */
import { checkFlags } from "./fixed-header.ts";
import { PacketType } from "./packet-type.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface Pingresp {
  type: "pingresp";
}

export function decodePingresp(reader: Reader, flags: number): Pingresp {
  checkFlags(PacketType.PINGRESP, flags, 0, "MQTT-2.1.3-1");
  reader.finish();
  return { type: "pingresp" };
}

export function encodePingresp(writer: Writer): void {
  writer.u8(PacketType.PINGRESP << 4);
  writer.u8(0);
}
