/**
 * The files of a store as a trace tells it: every change to them in order, every sync, and what a disk could hold after a loss of
 * power.
 *
 * After a loss of power a file holds at least what was changed before its last sync began. Creating, renaming and removing files
 * counts as done at once. Memory-mapped files leave no trace and are not rebuilt: `-shm`, which SQLite makes anew.
 */
import { type SystemCall, TraceError } from "./system-calls.ts";

export interface Sync {
  readonly path: string;
  readonly entered: number;
  readonly left: number;
}

interface Change {
  readonly path: string;
  readonly entered: number;
  readonly left: number;
  /** Name changes do not wait for a sync. */
  readonly isName: boolean;
  /** What was written; empty for other changes. */
  readonly bytes: Uint8Array;
  apply(files: Map<string, Uint8Array>, lengthMax?: number): void;
}

/**
 * "cut": nothing that was not synced. "torn": what was written to the next file that was synced, but for the second half of the last
 * write. "reordered": of that only the last write.
 */
export const CUTS = ["cut", "torn", "reordered"] as const;
export type Cut = (typeof CUTS)[number];

interface OpenFile {
  readonly path: string;
  readonly appends: boolean;
  readonly syncsItself: boolean;
  position: number;
}

export class StoreFiles {
  readonly changes: Change[] = [];
  readonly syncs: Sync[] = [];
  readonly #folder: string;
  readonly #open = new Map<number, OpenFile>();
  /** As far as changes have been read, for writes at the end of a file. */
  readonly #lengths = new Map<string, number>();

  constructor(calls: readonly SystemCall[], folder: string) {
    this.#folder = `${folder}/`;
    for (const call of calls) if (call.result >= 0) this.#read(call);
  }

  /** The files after a loss of power: sync number `at` was the last one to end. */
  stateAt(at: number, cut: Cut): Map<string, Uint8Array> {
    const files = new Map<string, Uint8Array>();
    const last = this.syncs[at]!;
    const next = this.syncs[at + 1];
    const ended = this.syncs.slice(0, at + 1);
    const pending: Change[] = [];
    for (const change of this.changes) {
      const isSynced = ended.some(({ path, entered }) => path === change.path && change.left < entered);
      if (change.isName ? change.left < last.left : isSynced) change.apply(files);
      else if (next !== undefined && change.path === next.path && change.left < next.entered) pending.push(change);
    }
    const final = pending.pop();
    if (cut === "torn") for (const change of pending) change.apply(files);
    if (cut === "torn") final?.apply(files, final.bytes.length >> 1);
    if (cut === "reordered") final?.apply(files);
    return files;
  }

  #read(call: SystemCall): void {
    if (call.name === "openat") return this.#opened(call);
    if (call.name.startsWith("rename")) return this.#renamed(call);
    if (call.name.startsWith("unlink")) return this.#removed(call);
    if (!this.#isStored(call.target)) return;
    const { target: path, entered, left, rest } = call;
    switch (call.name) {
      case "fsync":
      case "fdatasync":
        return void this.syncs.push({ path, entered, left });
      case "ftruncate":
        return this.#resized(call, Number(rest.at(-1)), true);
      case "fallocate":
        // With a mode it makes holes or keeps the length; neither changes what is read.
        if (rest.at(-3) === "0") this.#resized(call, Number(rest.at(-2)) + Number(rest.at(-1)), false);
        return;
      case "lseek":
        this.#fileOf(call).position = call.result;
        return;
      case "write":
      case "writev":
      case "pwrite64":
      case "pwritev":
      case "pwritev2":
        return this.#written(call);
    }
  }

  #isStored(path: string): boolean {
    return path.startsWith(this.#folder) && !path.endsWith("-shm");
  }

  #fileOf({ descriptor, target }: SystemCall): OpenFile {
    const known = this.#open.get(descriptor);
    if (known?.path !== target) throw new TraceError(`${target} was written to, but never opened`);
    return known;
  }

  #opened(call: SystemCall): void {
    const { resultTarget: path, result, rest, entered, left } = call;
    if (!this.#isStored(path)) return;
    const flags = rest.join();
    const has = (flag: string): boolean => flags.split(/[|,]/u).includes(flag);
    this.#open.set(result, {
      path,
      appends: has("O_APPEND"),
      syncsItself: has("O_DSYNC") || has("O_SYNC"),
      position: 0,
    });
    if (has("O_DIRECTORY") || !has("O_CREAT")) return;
    const apply = (files: Map<string, Uint8Array>): void => {
      if (!files.has(path)) files.set(path, new Uint8Array());
    };
    this.changes.push({ path, entered, left, isName: true, bytes: new Uint8Array(), apply });
    if (has("O_TRUNC")) this.#resized({ ...call, target: path }, 0, true);
  }

  #written(call: SystemCall): void {
    const { target: path, name, rest, entered, left, result } = call;
    const file = this.#fileOf(call);
    const bytes = Buffer.concat(call.strings).subarray(0, result);
    const length = this.#lengths.get(path) ?? 0;
    const hasOffset = name.startsWith("pwrite");
    const at = hasOffset ? Number(rest.at(name === "pwritev2" ? -2 : -1)) : file.appends ? length : file.position;
    if (!hasOffset) file.position = at + bytes.length;
    this.#lengths.set(path, Math.max(length, at + bytes.length));
    const apply = (files: Map<string, Uint8Array>, lengthMax = bytes.length): void => {
      const content = grown(files.get(path), at + lengthMax);
      content.set(bytes.subarray(0, lengthMax), at);
      files.set(path, content);
    };
    this.changes.push({ path, entered, left, isName: false, bytes, apply });
    if (file.syncsItself) this.syncs.push({ path, entered: left + 0.5, left: left + 0.5 });
  }

  #resized({ target: path, entered, left }: SystemCall, length: number, mayShrink: boolean): void {
    const before = this.#lengths.get(path) ?? 0;
    this.#lengths.set(path, mayShrink ? length : Math.max(before, length));
    const apply = (files: Map<string, Uint8Array>): void => {
      const content = grown(files.get(path), length);
      files.set(path, mayShrink ? content.slice(0, length) : content);
    };
    this.changes.push({ path, entered, left, isName: false, bytes: new Uint8Array(), apply });
  }

  #renamed({ strings, entered, left }: SystemCall): void {
    const [from = "", to = ""] = strings.map((bytes) => Buffer.from(bytes).toString());
    if (!this.#isStored(to)) return;
    const apply = (files: Map<string, Uint8Array>): void => {
      files.set(to, files.get(from) ?? new Uint8Array());
      files.delete(from);
    };
    this.#lengths.set(to, this.#lengths.get(from) ?? 0);
    this.changes.push({ path: to, entered, left, isName: true, bytes: new Uint8Array(), apply });
  }

  #removed({ strings, entered, left }: SystemCall): void {
    const path = Buffer.from(strings[0] ?? []).toString();
    if (!this.#isStored(path)) return;
    this.#lengths.delete(path);
    this.changes.push({
      path,
      entered,
      left,
      isName: true,
      bytes: new Uint8Array(),
      apply: (files) => void files.delete(path),
    });
  }
}

function grown(content: Uint8Array | undefined, length: number): Uint8Array {
  if (content !== undefined && content.length >= length) return content;
  const longer = new Uint8Array(length);
  if (content !== undefined) longer.set(content);
  return longer;
}
