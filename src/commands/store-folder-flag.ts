/** What the commands about a store share: which folder they are asked about, and how they write sizes. */
import { readArguments } from "./arguments.ts";
import { UsageError } from "./usage-error.ts";

/** Where a broker keeps its state unless it is told otherwise. */
const FOLDER = "./data";

export interface StoreArguments {
  readonly folder: string;
  readonly words: readonly string[];
}

export function readStoreArguments(argv: readonly string[], words: number, expected: string): StoreArguments {
  const given = readArguments(argv, ["--store"]);
  if (given.words.length !== words) throw new UsageError(expected);
  return { folder: given.flags.get("--store")?.at(-1) ?? FOLDER, words: given.words };
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function sizeText(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${UNITS[unit]}`;
}
