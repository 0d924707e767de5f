/**
 * The folder of a store: who may look into it, and that one broker has it at a time.
 *
 * Invariant: the lock is held by the operating system for the process that has it, and is gone when the process is, however
 * it ended. Until it is held nothing else in the folder is touched.
 */
import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { checkPrivate, createPrivateFile, createPrivateFolder, syncFolder } from "./private-file.ts";
import { StoreFault, storeFault } from "./store-fault.ts";

const STORE_FILE = "store.db";
const LOCK_FILE = "lock.db";
/** Endings of a store's file and of those that SQLite has beside it. */
export const STORE_FILES = ["", "-wal", "-shm"];

export function storePath(folder: string): string {
  return join(folder, STORE_FILE);
}

export interface FolderLock {
  release(): void;
}

/** Makes the folder if need be, refuses one that others may look into, and keeps everybody else out. */
export function claimFolder(folder: string): FolderLock {
  createPrivateFolder(folder);
  checkPrivate(folder);
  const lockPath = join(folder, LOCK_FILE);
  createPrivateFile(lockPath);
  for (const path of [lockPath, ...STORE_FILES.map((end) => storePath(folder) + end)]) checkPrivate(path);
  const lock = new Database(lockPath, { readwrite: true, create: false });
  try {
    lock.run("PRAGMA busy_timeout = 0");
    lock.run("PRAGMA journal_mode = MEMORY");
    lock.run("BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    const fault = storeFault(error, `locking ${lockPath}`);
    if (fault.kind !== "locked") throw fault;
    throw new StoreFault(
      "locked",
      `${folder} is in use by another broker; stop that one, or give this one a folder of its own`,
    );
  }
  return { release: () => lock.close() };
}

/** Moves a store's files into a folder of their own beside it; answers where they are. */
export function setAside(folder: string, nowMs: number): string {
  const name = `corrupt-${new Date(nowMs).toISOString().replace(/[:.]/gu, "-")}`;
  const target = join(folder, name);
  try {
    mkdirSync(target, { mode: 0o700 });
    for (const end of STORE_FILES) {
      const path = storePath(folder) + end;
      if (existsSync(path)) renameSync(path, join(target, STORE_FILE + end));
    }
    syncFolder(folder);
  } catch (error) {
    throw storeFault(error, `moving ${storePath(folder)} to ${target}`);
  }
  return target;
}
