/**
 * Packets written by hand, for what no encoder would write. Everything is hex; lengths are counted here.
 */
import { fromHex } from "./world.ts";

/** Protocol Name and Protocol Level of a CONNECT of MQTT 3.1.1. */
export const V311_HEAD = "00 04 4d 51 54 54 04";
/** The same of MQTT 3.1. */
export const V31_HEAD = "00 06 4d 51 49 73 64 70 03";

/** A packet of up to 127 bytes of body: first byte, Remaining Length, body. */
export function frame(firstByte: number, ...body: string[]): Uint8Array {
  const bytes = fromHex(body.join(" "));
  if (bytes.length > 127) throw new RangeError(`a body of ${bytes.length} bytes needs a longer length`);
  return Uint8Array.of(firstByte, bytes.length, ...bytes);
}

/** A field with its two-byte length in front: a string or binary data. */
export function field(content: string): string {
  const { length } = fromHex(content);
  return `${length.toString(16).padStart(4, "0")} ${content}`;
}

/** The bytes of several packets as they arrive in one piece. */
export function glue(...packets: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(packets.flatMap((packet) => [...packet]));
}
