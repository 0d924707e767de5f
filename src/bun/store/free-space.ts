/**
 * Whether a disk has room: asked now and then, told when the answer changes.
 *
 * Invariant: full means less than the spare part is left; it takes a quarter more than that to be no longer full, so that an
 * answer does not flicker.
 */
import { statfsSync } from "node:fs";

const SPARE_BYTES = 256 * 1024 * 1024;
/** Of a small disk. */
const SPARE_SHARE = 0.05;
const ENOUGH = 1.25;
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

  /** `spareBytes`: what is to be left; without it 256 MiB, or a twentieth of a smaller disk. */
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

  look(): void {
    const { totalBytes, freeBytes } = this.#size();
    const spareBytes = this.#spareBytes ?? Math.min(SPARE_BYTES, totalBytes * SPARE_SHARE);
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
