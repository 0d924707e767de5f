/**
 * What a message of the judge carries: which stream it belongs to, its number in it, filling, and a checksum over all of that.
 *
 * A payload is text, so that it can be read in a dump of the broker's files: `rqtt-crash <stream> <number> <filling> <crc>`.
 */

const PREFIX = "rqtt-crash";
const encoder = new TextEncoder();
const decoder = new TextDecoder("latin1");

/** Hexadecimal characters that look random, from which each message cuts its filling at another place. */
const FILLING = (() => {
  let text = "";
  for (let i = 0; text.length < 200_000; i++) text += Bun.hash.crc32(`${i}`).toString(16).padStart(8, "0");
  return text;
})();
export const FILLING_BYTES_MAX = 100_000;

export interface PayloadMark {
  readonly stream: number;
  readonly number: number;
}

export function makePayload({ stream, number }: PayloadMark, fillingBytes: number): Uint8Array {
  const at = (stream * 7919 + number * 104_729) % (FILLING.length - FILLING_BYTES_MAX);
  const body = `${PREFIX} ${stream} ${number} ${FILLING.slice(at, at + Math.min(fillingBytes, FILLING_BYTES_MAX))} `;
  return encoder.encode(body + checksum(encoder.encode(body)));
}

/** Null when it is not what was sent. */
export function readPayload(payload: Uint8Array): PayloadMark | null {
  const bodyBytes = payload.length - 8;
  if (bodyBytes < 0 || decoder.decode(payload.subarray(bodyBytes)) !== checksum(payload.subarray(0, bodyBytes)))
    return null;
  const [prefix, stream, number] = decoder.decode(payload.subarray(0, Math.min(bodyBytes, 64))).split(" ");
  return prefix === PREFIX ? { stream: Number(stream), number: Number(number) } : null;
}

function checksum(bytes: Uint8Array): string {
  return Bun.hash.crc32(bytes).toString(16).padStart(8, "0");
}
