/**
 * Looks for damage in the middle of a WAL. SQLite reads a WAL up to the first frame that does not fit its checksum and takes
 * that for the end, as it is after a power failure; where a bit has flipped, committed transactions are behind it.
 *
 * Every transaction is synced before the next one is written. So a whole frame behind a place where a transaction ends shows
 * that this end was on the disk, and a frame before it that does not fit has been damaged since. Damage in the very last
 * transaction cannot be told from a power failure during it.
 *
 * Source: SQLite's "WAL-mode File Format".
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs";

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC = 0x377f0682;
const BIG_ENDIAN_MAGIC = MAGIC + 1;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;

type Sums = readonly [number, number];

interface Frame {
  /** Of a transaction that ends here; otherwise 0. */
  readonly pagesAfter: number;
  readonly salts: Sums;
  /** Whether it continues the frame before it, as that one says of itself. */
  readonly fits: boolean;
}

/** Where a WAL is damaged with committed transactions behind, in words; null: nowhere that shows. */
export function walDamage(path: string): string | null {
  if (!existsSync(path)) return null;
  const file = openSync(path, "r");
  try {
    return damageIn(framesOf(file));
  } finally {
    closeSync(file);
  }
}

interface Wal {
  readonly salts: Sums;
  readonly isHeaderWhole: boolean;
  readonly frames: Iterable<Frame>;
}

function damageIn(wal: Wal | null): string | null {
  if (wal === null) return null;
  let { salts } = wal;
  let damagedAt = wal.isHeaderWhole ? -1 : 0;
  let [number, hasEnded] = [0, !wal.isHeaderWhole];
  for (const frame of wal.frames) {
    number++;
    // A header that does not fit says nothing of the salts either.
    if (number === 1 && !wal.isHeaderWhole) salts = frame.salts;
    const isOfThisWal = frame.salts[0] === salts[0] && frame.salts[1] === salts[1];
    if (damagedAt === -1) {
      if (frame.fits && isOfThisWal) continue;
      damagedAt = number;
    } else if (frame.fits && isOfThisWal && hasEnded) {
      return damagedAt === 0 ? "its header is damaged" : `frame ${damagedAt} of it is damaged`;
    }
    if (frame.pagesAfter !== 0 && (isOfThisWal || number === damagedAt)) hasEnded = true;
  }
  return null;
}

function framesOf(file: number): Wal | null {
  const header = new Uint8Array(HEADER_BYTES);
  if (readSync(file, header, 0, HEADER_BYTES, 0) < HEADER_BYTES) return null;
  const view = new DataView(header.buffer);
  const isBig = view.getUint32(0) === BIG_ENDIAN_MAGIC;
  const pageBytes = view.getUint32(8);
  const salts = [view.getUint32(16), view.getUint32(20)] as const;
  const sums = [view.getUint32(24), view.getUint32(28)] as const;
  const computed = addUp(header.subarray(0, 24), [0, 0], !isBig);
  const isHeaderWhole = sameSums(computed, sums);
  // The size of pages is in the header and nowhere else: a damaged one may be worth a look with that of every store.
  const size = isHeaderWhole && pageBytes >= PAGE_BYTES_MIN && pageBytes <= PAGE_BYTES_MAX ? pageBytes : 8192;
  return { salts, isHeaderWhole, frames: readFrames(file, size, sums, isHeaderWhole && isBig) };
}

function* readFrames(file: number, pageBytes: number, first: Sums, isBig: boolean): Generator<Frame> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + pageBytes);
  const view = new DataView(bytes.buffer);
  const page = bytes.subarray(FRAME_HEADER_BYTES);
  let before = first;
  for (let at = HEADER_BYTES; readSync(file, bytes, 0, bytes.length, at) === bytes.length; at += bytes.length) {
    const sums = [view.getUint32(16), view.getUint32(20)] as const;
    const computed = addUp(page, addUp(bytes.subarray(0, 8), before, !isBig), !isBig);
    yield {
      pagesAfter: view.getUint32(4),
      salts: [view.getUint32(8), view.getUint32(12)],
      fits: sameSums(computed, sums),
    };
    before = sums;
  }
}

function sameSums(a: Sums, b: Sums): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

/** SQLite's checksum of a WAL, continued from `sums`. */
function addUp(bytes: Uint8Array, sums: Sums, isLittle: boolean): Sums {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let [a, b] = sums;
  for (let at = 0; at < bytes.length; at += 8) {
    a = (a + view.getUint32(at, isLittle) + b) >>> 0;
    b = (b + view.getUint32(at + 4, isLittle) + a) >>> 0;
  }
  return [a, b];
}
