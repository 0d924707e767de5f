/**
 * Cuts what arrives into packets (MQTT 5.0 section 2.1.4), and reads the number that says where one ends (section 1.5.5).
 *
 * An incomplete packet is held in memory that doubles with what has arrived, never with what was announced. Refuses a packet
 * above `packetBytesMax` as soon as its length is known.
 */
import { refuse } from "./incoming.ts";

/** A Variable Byte Integer whose bytes `next` gives; NaN where it gives `undefined`. */
export function variableByteInteger(type: number, next: () => number | undefined): number {
  for (let value = 0, scale = 1; ; scale *= 128) {
    const byte = next() ?? Number.NaN;
    value += (byte % 128) * scale;
    if (byte ? byte > 127 && scale > 1e6 : scale > 1 && byte === 0) refuse(type, 0x81, "length");
    if (!(byte > 127)) return value;
  }
}

/** Call the answer with each chunk; a body that `take` gets is its own. Nothing more is cut when `take` says false. */
export function packetCutter(packetBytesMax: number, take: (first: number, body: Uint8Array) => boolean) {
  let held = new Uint8Array(64);
  let length = 0;
  return (chunk: Uint8Array): void => {
    if (length + chunk.length > held.length) {
      const grown = new Uint8Array((length + chunk.length) * 2);
      grown.set(held);
      held = grown;
    }
    held.set(chunk, length);
    length += chunk.length;
    let start = 0;
    while (start < length) {
      const first = held[start]!;
      let at = start + 1;
      const end = variableByteInteger(first >> 4, () => (at < length ? held[at++] : undefined)) + at;
      if (end - start > packetBytesMax) refuse(first >> 4, 0x95, `${end - start} bytes`);
      // NaN too: its length is not there yet.
      if (!(end <= length)) break;
      if (!take(first, held.slice(at, end))) return;
      start = end;
    }
    held.copyWithin(0, start, length);
    length -= start;
  };
}
