/**
 * Reads a file from front to back before SQLite walks it from page to page: the operating system has it in memory then. On a
 * disk that is cold, pages of a large store come several times as fast that way.
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { freemem } from "node:os";

const WORTH_BYTES_MIN = 32 * 1024 * 1024;
const READ_BYTES = 4 * 1024 * 1024;

/** Only while this process holds no lock on the file: closing it would end that. */
export function readAhead(path: string): void {
  const { size } = statSync(path);
  if (size < WORTH_BYTES_MIN || size > freemem() / 2) return;
  const buffer = new Uint8Array(READ_BYTES);
  const file = openSync(path, "r");
  try {
    while (readSync(file, buffer) > 0);
  } finally {
    closeSync(file);
  }
}
