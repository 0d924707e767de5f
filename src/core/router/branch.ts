/**
 * A level at which Topic Filters part, and what stands below it: part of the topic tree.
 *
 * Literal children are in a table with open addressing, a power of two in size, at most half full and never nearly empty.
 * "+", "#" and the filter that ends here have fields of their own.
 */
import { FilterEntry } from "./filter-entry.ts";

const SLASH = 0x2f;

const SLOTS_MIN = 2;
/** A table that is filled to no more than this share of its slots is halved. */
const SPARSE_SHARE = 1 / 8;

/** An entry stands for its filter from this level on; a branch for several. */
export type Child = Branch | FilterEntry;

export class Branch {
  readonly hash: number;
  /** The level: a copy, since the filter that it comes from may be long and soon gone. */
  readonly level: Uint8Array;
  table: (Child | undefined)[] | null = null;
  tableCount = 0;
  plus: Child | null = null;
  multi: FilterEntry | null = null;
  /** The filter that ends here. */
  own: FilterEntry | null = null;

  constructor(hash: number, level: Uint8Array) {
    this.hash = hash;
    this.level = level;
  }
}

/** Whether the level of `text` that begins at `offset` is bytes[start, end). */
export function isLevel(text: string, offset: number, bytes: Uint8Array, start: number, end: number): boolean {
  const after = offset + end - start;
  if (after > text.length || (after < text.length && text.charCodeAt(after) !== SLASH)) return false;
  const shift = offset - start;
  for (let at = start; at < end; at++) if (text.charCodeAt(at + shift) !== bytes[at]) return false;
  return true;
}

function equals(level: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (level.length !== end - start) return false;
  for (let at = start; at < end; at++) if (level[at - start] !== bytes[at]) return false;
  return true;
}

/** The literal child for the level bytes[start, end); `offset`: where that level stands in the filters below `branch`. */
export function findLiteral(
  branch: Branch,
  offset: number,
  hash: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): Child | null {
  const { table } = branch;
  if (table === null) return null;
  const mask = table.length - 1;
  for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
    const child = table[slot];
    if (child === undefined) return null;
    if (child.hash !== hash) continue;
    const isSame =
      child instanceof FilterEntry
        ? isLevel(child.filter, offset, bytes, start, end)
        : equals(child.level, bytes, start, end);
    if (isSame) return child;
  }
}

export function insertLiteral(branch: Branch, child: Child): void {
  if (branch.table === null) resize(branch, SLOTS_MIN);
  else if ((branch.tableCount + 1) * 2 > branch.table.length) resize(branch, branch.table.length * 2);
  place(branch.table!, child);
  branch.tableCount++;
}

/** Takes out an entry that stands right below the branch. */
export function removeEntry(branch: Branch, entry: FilterEntry): void {
  if (branch.own === entry) branch.own = null;
  else if (branch.multi === entry) branch.multi = null;
  else if (branch.plus === entry) branch.plus = null;
  else removeLiteral(branch, entry);
}

function removeLiteral(branch: Branch, child: Child): void {
  const table = branch.table!;
  const mask = table.length - 1;
  let hole = slotOf(table, child);
  // Close the gap, so that a probe never ends early: move up whoever could stand in the hole.
  for (let slot = (hole + 1) & mask; ; slot = (slot + 1) & mask) {
    const entry = table[slot];
    if (entry === undefined) break;
    const home = entry.hash & mask;
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      table[hole] = entry;
      hole = slot;
    }
  }
  table[hole] = undefined;
  const count = --branch.tableCount;
  if (count === 0) branch.table = null;
  else if (table.length > SLOTS_MIN && count <= table.length * SPARSE_SHARE) resize(branch, table.length / 2);
}

/** Puts `next` in the place of `child`, for the same level. */
export function replaceChild(branch: Branch, child: Child, next: Child): void {
  if (branch.plus === child) branch.plus = next;
  else branch.table![slotOf(branch.table!, child)] = next;
}

/** The one entry below a branch that parts nothing any more; `null` for a branch that still does. */
export function lastEntry(branch: Branch): FilterEntry | null {
  const { table, tableCount, plus, multi, own } = branch;
  const others = (plus === null ? 0 : 1) + (multi === null ? 0 : 1) + (own === null ? 0 : 1);
  if (tableCount + others !== 1) return null;
  const last = own ?? multi ?? plus ?? table!.find((child) => child !== undefined);
  return last instanceof FilterEntry ? last : null;
}

function resize(branch: Branch, slots: number): void {
  const old = branch.table;
  const table = new Array<Child | undefined>(slots).fill(undefined);
  if (old !== null) for (const child of old) if (child !== undefined) place(table, child);
  branch.table = table;
}

function place(table: (Child | undefined)[], child: Child): void {
  const mask = table.length - 1;
  let slot = child.hash & mask;
  while (table[slot] !== undefined) slot = (slot + 1) & mask;
  table[slot] = child;
}

function slotOf(table: readonly (Child | undefined)[], child: Child): number {
  const mask = table.length - 1;
  let slot = child.hash & mask;
  while (table[slot] !== child) slot = (slot + 1) & mask;
  return slot;
}
