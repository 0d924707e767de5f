/**
 * `rqtt store backup TARGET`: a copy of a store as it is at one moment, also while a broker is running on it. It is a file
 * that a broker starts from when it lies as store.db in a folder of its own.
 *
 * Invariant: TARGET is there when it is complete and on the disk, and not before; nothing is overwritten.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { createPrivateFile, syncFolder } from "../bun/store/private-file.ts";
import { readStore } from "../bun/store/store-audit.ts";
import { valuesOf } from "../bun/store/store-statements.ts";
import { readStoreArguments, sizeText } from "./store-folder-flag.ts";
import { UsageError } from "./usage-error.ts";

export const storeBackup = {
  usage: "rqtt store backup TARGET [--store FOLDER]   TARGET: a file that does not exist yet; FOLDER: ./data",
  async run(argv: readonly string[]): Promise<number> {
    const { folder, words } = readStoreArguments(argv, 1, "expected one TARGET");
    const target = words[0]!;
    const unfinished = `${target}.unfinished`;
    for (const path of [target, unfinished]) {
      if (existsSync(path)) throw new UsageError(`${path} exists; name another target, or remove it`);
    }
    readStore(folder, (db) => {
      createPrivateFile(unfinished);
      try {
        valuesOf(db, "VACUUM INTO ?", unfinished);
        syncFile(unfinished);
        renameSync(unfinished, target);
        syncFolder(dirname(target));
      } catch (error) {
        rmSync(unfinished, { force: true });
        throw error;
      }
    });
    console.log(`${target}: ${sizeText(statSync(target).size)}`);
    console.log(
      `To start from it:  mkdir -m 700 NEW && cp -p ${target} NEW/store.db, then the broker with --store NEW`,
    );
    return 0;
  },
};

function syncFile(path: string): void {
  const file = openSync(path, "r+");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
