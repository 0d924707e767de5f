/**
 * What goes wrong with a store, in the six kinds that its user treats differently. The text says what was found and what to
 * do about it.
 */

/**
 * `full`: nothing was applied, and the same may be tried again. `broken`: the disk failed; what is on it is unknown until
 * somebody reads it anew, so nothing is ever tried again. `corrupt`: what was read is not what was written. `locked`:
 * somebody else has it. `newer`: a later version of the program wrote it. `unsafe`: others may read or change it.
 */
export type StoreFaultKind = "full" | "broken" | "corrupt" | "locked" | "newer" | "unsafe";

export class StoreFault extends Error {
  readonly kind: StoreFaultKind;

  constructor(kind: StoreFaultKind, message: string) {
    super(message);
    this.name = "StoreFault";
    this.kind = kind;
  }
}

/** The shared-memory index of the WAL could not grow: the only I/O error that means a full disk. */
const FULL = ["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "ENOSPC"];
const LOCKED = ["SQLITE_BUSY", "SQLITE_LOCKED"];
/** All statements are fixed: one that SQLite does not understand has met damaged tables. */
const CORRUPT = ["SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_SCHEMA", "SQLITE_IOERR_SHORT_READ"];

/** What an exception of SQLite or of the file system means. `doing` completes "while ...". */
export function storeFault(error: unknown, doing: string): StoreFault {
  if (error instanceof StoreFault) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const name = typeof code === "string" ? code : "";
  return new StoreFault(kindOf(name), `${String(message ?? error)}${name === "" ? "" : ` (${name})`}, while ${doing}`);
}

function kindOf(code: string): StoreFaultKind {
  // Codes are extended: SQLITE_CORRUPT_INDEX is a SQLITE_CORRUPT.
  const is = (names: readonly string[]): boolean => names.some((name) => code === name || code.startsWith(`${name}_`));
  if (is(FULL)) return "full";
  if (is(LOCKED)) return "locked";
  return is(CORRUPT) ? "corrupt" : "broken";
}
