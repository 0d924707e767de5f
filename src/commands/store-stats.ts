/** `rqtt store stats`: what a store holds, in rows and bytes, and how large its files are. A broker may be running on it. */
import { measureStore } from "../bun/store/store-audit.ts";
import { readStoreArguments, sizeText } from "./store-folder-flag.ts";

export const storeStats = {
  usage: "rqtt store stats [--store FOLDER]   FOLDER: ./data",
  async run(argv: readonly string[]): Promise<number> {
    const { folder } = readStoreArguments(argv, 0, "expected no more words");
    const { tables, freeBytes, files } = measureStore(folder);
    const line = (name: string, rows: string, size: string): void =>
      console.log(`${name.padEnd(14)}${rows.padStart(12)}${size.padStart(14)}`);
    line("", "rows", "size");
    for (const { table, rows, bytes } of tables) line(table, `${rows}`, sizeText(bytes));
    line("free", "", sizeText(freeBytes));
    for (const { path, bytes } of files) console.log(`${path}: ${sizeText(bytes)}`);
    return 0;
  },
};
