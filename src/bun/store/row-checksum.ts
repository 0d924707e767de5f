/**
 * A checksum for every row, over everything that matters in it, its key and its table: SQLite has none of its own, and a
 * bit that flips on a disk must not reach a client.
 *
 * CRC-32 finds every flip of up to three bits, and every burst of up to 32.
 */

export type Field = number | string | Uint8Array | null;

/** Which table a row belongs to; part of its checksum. */
export const TableMark = {
  Session: 1,
  Subscription: 2,
  Queue: 3,
  Message: 4,
  Inbound: 5,
  Retained: 6,
  Will: 7,
  Clock: 8,
  Reference: 9,
} as const;

const FIELDS_MAX = 12;
const ABSENT = -1;
/** What no checksum is: a row with a field of a kind that it cannot have. */
const NONE = -1;

const numbers = new Float64Array(FIELDS_MAX + 1);
const prefixes = Array.from({ length: FIELDS_MAX + 2 }, (_, count) => new Uint8Array(numbers.buffer, 0, count * 8));

export function rowChecksum(table: number, fields: readonly Field[]): number {
  let checksum = 0;
  numbers[0] = table;
  for (let at = 0; at < fields.length; at++) {
    const field = fields[at]!;
    if (typeof field === "number") numbers[at + 1] = field;
    else if (field === null) numbers[at + 1] = ABSENT;
    else if (typeof field === "string" || field instanceof Uint8Array) {
      numbers[at + 1] = field.length;
      checksum = Bun.hash.crc32(field, checksum);
    } else return NONE;
  }
  return Bun.hash.crc32(prefixes[fields.length + 1]!, checksum);
}

const PROGRESS_VALUES = 2 ** 2;
const PACKET_ID_VALUES = 2 ** 16;
const CHECK_VALUES = 2 ** 23;

/**
 * How far a delivery is, as one number that carries its own check: it changes while the row around it, which may be large,
 * keeps its checksum. The check lies between 2^23 and 2^24, so that the number always takes six bytes.
 */
export function deliveryState(sessionNumber: number, sequence: number, progress: number, packetId: number): number {
  const check = rowChecksum(TableMark.Queue, [sessionNumber, sequence, progress, packetId]) % CHECK_VALUES;
  return ((check + CHECK_VALUES) * PACKET_ID_VALUES + packetId) * PROGRESS_VALUES + progress;
}

export const progressOf = (state: number): number => state % PROGRESS_VALUES;
export const packetIdOf = (state: number): number => Math.floor(state / PROGRESS_VALUES) % PACKET_ID_VALUES;

export function isDeliveryState(sessionNumber: number, sequence: number, state: unknown): state is number {
  if (typeof state !== "number") return false;
  return deliveryState(sessionNumber, sequence, progressOf(state), packetIdOf(state)) === state;
}
