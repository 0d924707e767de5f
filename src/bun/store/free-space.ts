/**
 * Whether a disk has room: asked now and then, and whenever so much was written that the answer may be another one; told when it
 * changes.
 *
 * Invariant: full means less than the spare part is left; it takes a quarter more than that to be no longer full, so that an
 * answer does not flicker.
 */
import { statfsSync } from "node:fs";

const SPARE_BYTES = 256 * 1024 * 1024;
/** Of a small disk, but no less than the WAL may take before it is written back, and what is written back beside it. */
const SPARE_SHARE = 0.05;
const SPARE_BYTES_MIN = 16 * 1024 * 1024;
const ENOUGH = 1.25;
/** A look for every so many parts of the spare room that are written: what is written once may lie there twice for a while. */
const LOOKS_PER_SPARE = 8;
/** Looks that are saved while nothing is written. */
const IDLE_LOOKS = 10;

export interface DiskSize {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

export function diskSize(folder: string): DiskSize {
  const { blocks, bavail, bsize } = statfsSync(folder);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

export class FreeSpace {
  readonly #size: () => DiskSize;
  readonly #told: (isFull: boolean) => void;
  readonly #spareBytes: number | undefined;
  #isFull = false;
  #hasFailed = false;
  #looksSaved = IDLE_LOOKS;
  /** What may be written before the next look. */
  #bytesLeft = 0;

  /** `spareBytes`: what is to be left; without it 256 MiB, or a twentieth of a smaller disk, 16 MiB at least. */
  constructor(size: () => DiskSize, spareBytes: number | undefined, told: (isFull: boolean) => void) {
    this.#size = size;
    this.#spareBytes = spareBytes;
    this.#told = told;
  }

  /** Once a second; looks every time while there is work. */
  second(hasWorked: boolean): void {
    if (!hasWorked && !this.#isFull && ++this.#looksSaved < IDLE_LOOKS) return;
    this.#looksSaved = 0;
    this.look();
  }

  /** So much was written. */
  wrote(bytes: number): void {
    this.#bytesLeft -= bytes;
    if (this.#bytesLeft < 0) this.look();
  }

  look(): void {
    const { totalBytes, freeBytes } = this.#size();
    const spareBytes = this.#spareBytes ?? Math.min(SPARE_BYTES, Math.max(SPARE_BYTES_MIN, totalBytes * SPARE_SHARE));
    this.#bytesLeft = spareBytes / LOOKS_PER_SPARE;
    const wanted = this.#isFull ? spareBytes * ENOUGH : spareBytes;
    this.#tell(this.#hasFailed || freeBytes < wanted);
  }

  /** A transaction found no room, or has found it again; until then the disk is full, whatever it says. */
  met(hasFailed: boolean): void {
    if (hasFailed === this.#hasFailed) return;
    this.#hasFailed = hasFailed;
    this.look();
  }

  #tell(isFull: boolean): void {
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#told(isFull);
  }
}
