/**
 * The index of all subscriptions: which filters match a Topic Name (MQTT 5.0 section 4.7).
 *
 *   filters  a/b   a/b/c/d   a/+/c   a/#   +/b   $share/g/a/b
 *
 *   root ─┬─ "a" ─┬─ "b" ─┬─ (ends here)   [a/b]  {g: a/b}
 *         │       │       └─ "c" ───────── [a/b/c/d]       what no other filter shares is not taken apart
 *         │       ├─ "+" ───────────────── [a/+/c]
 *         │       └─ "#" ───────────────── [a/#]           "#" matches its parent level too: it is looked at one level early
 *         └─ "+" ───────────────────────── [+/b]
 *
 * A branch stands only where filters part: below each one, the root excepted, are two entries at least, so that memory goes by
 * the filters there are and not by their levels. Works on bytes: a level of a topic is never made into a string. Matching costs
 * what matches, not what is subscribed, and nothing here recurs, so that the depth of topics is no matter.
 */
import { encodeUtf8 } from "../codec/utf8.ts";
import type { Subscription } from "../session/subscription.ts";
import {
  Branch,
  type Child,
  findLiteral,
  insertLiteral,
  isLevel,
  lastEntry,
  removeEntry,
  replaceChild,
} from "./branch.ts";
import { bytesOfText, textOfBytes } from "./byte-text.ts";
import { FilterEntry } from "./filter-entry.ts";
import { finished, LevelHash } from "./level-hash.ts";

/** Levels of the broker's own topics, which are no client's to bound. */
const OWN_LEVELS_MAX = 8;

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** Where matches are collected: one call per filter that matches. */
export interface MatchVisitor {
  visit(entry: FilterEntry): void;
}

const NOTHING = new Uint8Array(0);

export class TopicTree {
  readonly root = new Branch(0, NOTHING);
  readonly #hash: LevelHash;
  /** Level boundaries and hashes of the topic being matched; level i is bytes[starts[i], starts[i + 1] - 1). */
  readonly #starts: Int32Array;
  readonly #hashes: Int32Array;
  #levels = 0;
  #topic: Uint8Array = NOTHING;
  #visitor: MatchVisitor | null = null;
  /** Branches that have still to be gone through, at most one for each level, and for each its level and offset. */
  readonly #waiting: Branch[] = [];
  readonly #waitingAt: number[] = [];

  constructor(levelsMax: number, seed: number) {
    this.#hash = new LevelHash(seed);
    const levels = Math.max(levelsMax, OWN_LEVELS_MAX);
    this.#starts = new Int32Array(levels + 1);
    this.#hashes = new Int32Array(levels);
  }

  /** Visits every filter that matches the Topic Name, each once. The name was checked, its levels are within bounds. */
  match(topicName: Uint8Array, visitor: MatchVisitor): void {
    const starts = this.#starts;
    let levels = 0;
    let start = 0;
    const { basis, multiplier } = this.#hash;
    let hash = basis;
    for (let at = 0; at <= topicName.length; at++) {
      const byte = at < topicName.length ? topicName[at]! : SLASH;
      if (byte === SLASH) {
        starts[levels] = start;
        this.#hashes[levels++] = finished(hash);
        start = at + 1;
        hash = basis;
      } else {
        hash = Math.imul(hash ^ byte, multiplier);
      }
    }
    starts[levels] = topicName.length + 1;
    this.#levels = levels;
    this.#topic = topicName;
    this.#visitor = visitor;
    this.#walk(this.root, 0, 0, topicName[0] !== DOLLAR);
    for (let branch = this.#waiting.pop(); branch !== undefined; branch = this.#waiting.pop()) {
      const offset = this.#waitingAt.pop()!;
      this.#walk(branch, this.#waitingAt.pop()!, offset, true);
    }
    this.#visitor = null;
    this.#topic = NOTHING;
  }

  /**
   * Goes down from a branch along the literal levels; branches below a "+" wait until that is done.
   * `offset`: where the level stands in the filters below `branch`, which need not be where it stands in the topic.
   * `wildcards`: false at the first level of a topic that begins with "$" [MQTT-4.7.2-1].
   */
  #walk(from: Branch, firstLevel: number, firstOffset: number, wildcards: boolean): void {
    let branch = from;
    let offset = firstOffset;
    for (let level = firstLevel; ; level++) {
      const { plus } = branch;
      if (wildcards && branch.multi !== null) this.#visitor!.visit(branch.multi);
      if (level === this.#levels) {
        if (branch.own !== null) this.#visitor!.visit(branch.own);
        return;
      }
      if (wildcards && plus !== null) {
        if (plus instanceof FilterEntry) {
          this.#visitIfRestMatches(plus, offset + 2, level + 1);
        } else {
          this.#waiting.push(plus);
          this.#waitingAt.push(level + 1, offset + 2);
        }
      }
      const start = this.#starts[level]!;
      const end = this.#starts[level + 1]! - 1;
      const child = findLiteral(branch, offset, this.#hashes[level]!, this.#topic, start, end);
      if (child === null) return;
      offset += end - start + 1;
      if (child instanceof FilterEntry) {
        this.#visitIfRestMatches(child, offset, level + 1);
        return;
      }
      branch = child;
      wildcards = true;
    }
  }

  #visitIfRestMatches(entry: FilterEntry, offset: number, level: number): void {
    if (this.#matchesRest(entry.filter, offset, level)) this.#visitor!.visit(entry);
  }

  /** Whether the levels of the filter from `offset` on match those of the topic from `level` on. */
  #matchesRest(filter: string, offset: number, level: number): boolean {
    for (; ; level++) {
      if (offset > filter.length) return level === this.#levels;
      const first = offset < filter.length ? filter.charCodeAt(offset) : SLASH;
      if (first === HASH) return true;
      if (level === this.#levels) return false;
      if (first === PLUS) {
        offset += 2;
        continue;
      }
      const start = this.#starts[level]!;
      const end = this.#starts[level + 1]! - 1;
      if (!isLevel(filter, offset, this.#topic, start, end)) return false;
      offset += end - start + 1;
    }
  }

  /** Adds a subscription; `topicFilter` is valid and without `$share/`, `shareName` "" for an ordinary one. */
  add(topicFilter: string, subscription: Subscription, shareName: string): void {
    const entry = this.#entry(topicFilter);
    if (shareName === "") entry.add(subscription);
    else entry.addShared(subscription, shareName, topicFilter);
  }

  /** The entry of a Topic Filter, made if need be. */
  #entry(topicFilter: string): FilterEntry {
    const bytes = encodeUtf8(topicFilter);
    const filter = bytes.length === topicFilter.length ? topicFilter : textOfBytes(bytes);
    let branch = this.root;
    for (let start = 0; start <= bytes.length; ) {
      let child = this.#child(branch, bytes, start);
      if (child === null) {
        const entry = new FilterEntry(filter);
        this.#put(branch, entry, bytes, start);
        return entry;
      }
      if (child instanceof FilterEntry) {
        if (child.filter === filter) return child;
        child = this.#part(branch, child, bytes, start);
      }
      branch = child;
      start = levelEnd(bytes, start) + 1;
    }
    return (branch.own ??= new FilterEntry(filter));
  }

  /** Takes out a subscription that was added, its entry if nobody else has it, and the branches that part nothing then. */
  remove(topicFilter: string, subscription: Subscription): void {
    const bytes = encodeUtf8(topicFilter);
    const above: Branch[] = [];
    let branch = this.root;
    let child = this.#child(branch, bytes, 0)!;
    for (let start = levelEnd(bytes, 0) + 1; child instanceof Branch; start = levelEnd(bytes, start) + 1) {
      above.push(branch);
      branch = child;
      child = start > bytes.length ? branch.own! : this.#child(branch, bytes, start)!;
    }
    child.remove(subscription);
    if (!child.isEmpty) return;
    removeEntry(branch, child);
    for (let parent = above.pop(); parent !== undefined; parent = above.pop()) {
      const last = lastEntry(branch);
      if (last === null) return;
      last.hash = branch.hash;
      replaceChild(parent, branch, last);
      branch = parent;
    }
  }

  /** Puts a branch in the place of `entry`, for a filter that shares its level at `start` and parts behind it. */
  #part(branch: Branch, entry: FilterEntry, bytes: Uint8Array, start: number): Branch {
    const end = levelEnd(bytes, start);
    const between = new Branch(entry.hash, bytes.slice(start, end));
    replaceChild(branch, entry, between);
    this.#put(between, entry, bytesOfText(entry.filter), end + 1);
    return between;
  }

  /** Puts an entry below a branch where its level, which begins at `start`, is free. */
  #put(branch: Branch, entry: FilterEntry, bytes: Uint8Array, start: number): void {
    const end = levelEnd(bytes, start);
    if (start > bytes.length) {
      branch.own = entry;
    } else if (isWildcard(bytes, start, end, HASH)) {
      branch.multi = entry;
    } else if (isWildcard(bytes, start, end, PLUS)) {
      branch.plus = entry;
    } else {
      entry.hash = this.#hash.of(bytes, start, end);
      insertLiteral(branch, entry);
    }
  }

  /** What stands below a branch for the level that begins at `start`. */
  #child(branch: Branch, bytes: Uint8Array, start: number): Child | null {
    const end = levelEnd(bytes, start);
    if (isWildcard(bytes, start, end, PLUS)) return branch.plus;
    if (isWildcard(bytes, start, end, HASH)) return branch.multi;
    return findLiteral(branch, start, this.#hash.of(bytes, start, end), bytes, start, end);
  }
}

function levelEnd(bytes: Uint8Array, start: number): number {
  let end = start;
  while (end < bytes.length && bytes[end] !== SLASH) end++;
  return end;
}

function isWildcard(bytes: Uint8Array, start: number, end: number, wildcard: number): boolean {
  return end - start === 1 && bytes[start] === wildcard;
}
