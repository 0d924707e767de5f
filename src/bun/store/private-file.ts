/**
 * Files and folders that are nobody else's business, whatever the umask: made with modes of their own, refused with looser ones.
 */
import { chmodSync, closeSync, existsSync, fchmodSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { StoreFault, storeFault } from "./store-fault.ts";

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const OTHERS = 0o077;

/** Makes an empty file unless there is one. Never opens one that exists: closing it again would end this process's locks on it. */
export function createPrivateFile(path: string): void {
  if (existsSync(path)) return;
  try {
    const file = openSync(path, "wx", FILE_MODE);
    fchmodSync(file, FILE_MODE);
    closeSync(file);
    syncFolder(dirname(path));
  } catch (error) {
    throw storeFault(error, `making ${path}`);
  }
}

/** Answers whether it was made. */
export function createPrivateFolder(path: string): boolean {
  if (existsSync(path)) return false;
  try {
    mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
    chmodSync(path, FOLDER_MODE);
    syncFolder(dirname(path));
  } catch (error) {
    throw storeFault(error, `making ${path}`);
  }
  return true;
}

/** A new name in a folder outlives a power failure once the folder is synced. */
export function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Refuses what others may read or change. Windows has no modes to look at. */
export function checkPrivate(path: string): void {
  if (process.platform === "win32" || !existsSync(path)) return;
  const status = statSync(path);
  const mode = status.mode & 0o777;
  if ((mode & OTHERS) === 0) return;
  const wanted = status.isDirectory() ? "700" : "600";
  const found = mode.toString(8).padStart(3, "0");
  throw new StoreFault(
    "unsafe",
    `${path} holds other people's messages and is open to others: expected mode ${wanted}, found ${found}; type: chmod ${wanted} ${path}`,
  );
}
