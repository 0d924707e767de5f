/**
 * Cuts what arrives into packets (MQTT 5.0 section 2.1.4), and reads the number that says where one ends (section 1.5.5).
 *
 * An incomplete packet is held in memory that doubles with what has arrived, never with what was announced. Refuses a packet
 * above `packetBytesMax` as soon as its length is known.
 */
import { refuse } from "./mqtt-error.ts";

/** A Variable Byte Integer whose bytes `next` gives; NaN as soon as it gives that. */
export function variableByteInteger(next: () => number): number {
  for (let value = 0, scale = 1; ; scale *= 128) {
    const byte = next();
    value += (byte % 128) * scale;
    if (byte > 127 ? scale > 1e6 : scale > 1 && byte === 0) refuse(0x81);
    if (!(byte > 127)) return value;
  }
}

/** Call the answer with each chunk; a body that `take` gets is its own. Nothing more is cut when `take` says false. */
export function packetCutter(packetBytesMax: number, take: (first: number, body: Uint8Array) => boolean) {
  let held = new Uint8Array(64);
  let length = 0;
  return (chunk: Uint8Array): void => {
    const total = length + chunk.length;
    if (total > held.length) held = new Uint8Array(held.buffer.transfer(total * 2));
    held.set(chunk, length);
    length = total;
    let start = 0;
    while (start < length) {
      let at = start + 1;
      const end = variableByteInteger(() => (at < length ? held[at++]! : NaN)) + at;
      if (end - start > packetBytesMax) refuse(0x95);
      // NaN too: its length is not there yet.
      if (!(end <= length)) break;
      if (!take(held[start]!, held.slice(at, end))) return;
      start = end;
    }
    held.copyWithin(0, start, length);
    length -= start;
  };
}
