/**
 * The index of all subscriptions: which ones match a Topic Name (MQTT 5.0 section 4.7).
 *
 *   filters  a/b   a/+/c   a/#   +/b   $share/g/a/b
 *
 *   root ─┬─ "a" ─┬─ "b"   [a/b] {g: a/b}
 *         │       ├─ "+" ── "c"  [a/+/c]
 *         │       └─ "#"   [a/#]          "#" also matches its parent level: it is looked at one level early
 *         └─ "+" ─── "b"   [+/b]
 *
 * Works on bytes: a level of a topic is never made into a string. A node's literal children are in a hash table of the
 * level's bytes, "+" and "#" have fields of their own. Matching costs what matches, not what is subscribed.
 * Depth is bounded by `topicLevelsMax`, so walking is plain recursion.
 */
import type { ShareGroup, Subscription } from "../session/subscription.ts";
import type { Route } from "./router.ts";

/** Levels of the broker's own topics, which are no client's to bound. */
const OWN_LEVELS_MAX = 8;

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

export class TreeNode {
  readonly parent: TreeNode | null;
  /** The level's own bytes, as a range of the filter that made the node. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly hash: number;
  /** Literal children; open addressing, a power of two in size, at most half full. */
  table: (TreeNode | undefined)[] | null = null;
  tableCount = 0;
  plus: TreeNode | null = null;
  multi: TreeNode | null = null;
  subscriptions: Subscription[] | null = null;
  /** The route of topics that only this node matches, kept by the router; good for one version of the subscriptions. */
  route: Route | null = null;
  routeVersion = -1;
  /** By share name. */
  groups: Map<string, ShareGroup> | null = null;

  constructor(parent: TreeNode | null, bytes: Uint8Array, start: number, end: number, hash: number) {
    this.parent = parent;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.hash = hash;
  }

  get isEmpty(): boolean {
    return (
      this.tableCount === 0 &&
      this.plus === null &&
      this.multi === null &&
      this.subscriptions === null &&
      this.groups === null
    );
  }
}

/** Where matches are collected: one call per node that matches. */
export interface MatchVisitor {
  visit(node: TreeNode): void;
}

const NOTHING = new Uint8Array(0);

function hashLevel(bytes: Uint8Array, start: number, end: number, multiplier: number): number {
  let hash = multiplier;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, multiplier);
  return hash ^ (hash >>> 15);
}

function sameLevel(node: TreeNode, bytes: Uint8Array, start: number, end: number): boolean {
  if (node.end - node.start !== end - start) return false;
  const shift = node.start - start;
  for (let at = start; at < end; at++) if (node.bytes[at + shift] !== bytes[at]) return false;
  return true;
}

function findChild(node: TreeNode, hash: number, bytes: Uint8Array, start: number, end: number): TreeNode | null {
  const table = node.table;
  if (table === null) return null;
  const mask = table.length - 1;
  for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
    const child = table[slot];
    if (child === undefined) return null;
    if (child.hash === hash && sameLevel(child, bytes, start, end)) return child;
  }
}

export class TopicTree {
  readonly root = new TreeNode(null, NOTHING, 0, 0, 0);
  /** Level boundaries and hashes of the topic being matched; level i is bytes[starts[i], starts[i + 1] - 1). */
  readonly #starts: Int32Array;
  readonly #hashes: Int32Array;
  /** Odd, so that multiplying loses nothing. */
  readonly #multiplier: number;
  #levels = 0;
  #topic: Uint8Array = NOTHING;
  #visitor: MatchVisitor | null = null;

  /** `seed` is not known to peers, so that they cannot choose levels that crowd one place of a table. */
  constructor(levelsMax: number, seed: number) {
    this.#multiplier = seed | 0x10001;
    const levels = Math.max(levelsMax, OWN_LEVELS_MAX);
    this.#starts = new Int32Array(levels + 1);
    this.#hashes = new Int32Array(levels);
  }

  /** Visits every node whose filter matches the Topic Name, each once. The name was checked, its levels are within bounds. */
  match(topicName: Uint8Array, visitor: MatchVisitor): void {
    const starts = this.#starts;
    let levels = 0;
    let start = 0;
    const multiplier = this.#multiplier;
    let hash = multiplier;
    for (let at = 0; at <= topicName.length; at++) {
      const byte = at < topicName.length ? topicName[at]! : SLASH;
      if (byte === SLASH) {
        starts[levels] = start;
        this.#hashes[levels++] = hash ^ (hash >>> 15);
        start = at + 1;
        hash = multiplier;
      } else {
        hash = Math.imul(hash ^ byte, multiplier);
      }
    }
    starts[levels] = topicName.length + 1;
    this.#levels = levels;
    this.#topic = topicName;
    this.#visitor = visitor;
    this.#walk(this.root, 0, topicName[0] !== DOLLAR);
    this.#visitor = null;
    this.#topic = NOTHING;
  }

  /** `wildcards`: false at the first level of a topic that begins with "$" [MQTT-4.7.2-1]. */
  #walk(node: TreeNode, level: number, wildcards: boolean): void {
    if (wildcards && node.multi !== null) this.#visitor!.visit(node.multi);
    if (level === this.#levels) {
      if (node.subscriptions !== null || node.groups !== null) this.#visitor!.visit(node);
      return;
    }
    const start = this.#starts[level]!;
    const end = this.#starts[level + 1]! - 1;
    const child = findChild(node, this.#hashes[level]!, this.#topic, start, end);
    if (child !== null) this.#walk(child, level + 1, true);
    if (wildcards && node.plus !== null) this.#walk(node.plus, level + 1, true);
  }

  /** The node of a Topic Filter (without `$share/`), made if need be. `filter` is kept. */
  node(filter: Uint8Array): TreeNode {
    let node = this.root;
    let start = 0;
    for (let at = 0; at <= filter.length; at++) {
      if (at < filter.length && filter[at] !== SLASH) continue;
      node = this.#child(node, filter, start, at) ?? this.#addChild(node, filter, start, at);
      start = at + 1;
    }
    return node;
  }

  /** The node of a Topic Filter, if there is one. */
  find(filter: Uint8Array): TreeNode | null {
    let node: TreeNode | null = this.root;
    let start = 0;
    for (let at = 0; at <= filter.length && node !== null; at++) {
      if (at < filter.length && filter[at] !== SLASH) continue;
      node = this.#child(node, filter, start, at);
      start = at + 1;
    }
    return node;
  }

  /** Takes out a node that has become empty, and its ancestors that became empty with it. */
  prune(node: TreeNode): void {
    for (let at = node; at.parent !== null && at.isEmpty; at = at.parent) {
      const { parent } = at;
      if (parent.plus === at) parent.plus = null;
      else if (parent.multi === at) parent.multi = null;
      else removeChild(parent, at);
    }
  }

  #child(node: TreeNode, filter: Uint8Array, start: number, end: number): TreeNode | null {
    if (end - start === 1) {
      if (filter[start] === PLUS) return node.plus;
      if (filter[start] === HASH) return node.multi;
    }
    return findChild(node, hashLevel(filter, start, end, this.#multiplier), filter, start, end);
  }

  #addChild(node: TreeNode, filter: Uint8Array, start: number, end: number): TreeNode {
    const child = new TreeNode(node, filter, start, end, hashLevel(filter, start, end, this.#multiplier));
    if (end - start === 1 && filter[start] === PLUS) node.plus = child;
    else if (end - start === 1 && filter[start] === HASH) node.multi = child;
    else insertChild(node, child);
    return child;
  }
}

function insertChild(node: TreeNode, child: TreeNode): void {
  let table = node.table;
  if (table === null) {
    table = node.table = new Array<TreeNode | undefined>(2).fill(undefined);
  } else if ((node.tableCount + 1) * 2 > table.length) {
    const old = table;
    table = node.table = new Array<TreeNode | undefined>(old.length * 2).fill(undefined);
    for (const entry of old) if (entry !== undefined) place(table, entry);
  }
  place(table, child);
  node.tableCount++;
}

function place(table: (TreeNode | undefined)[], child: TreeNode): void {
  const mask = table.length - 1;
  let slot = child.hash & mask;
  while (table[slot] !== undefined) slot = (slot + 1) & mask;
  table[slot] = child;
}

function removeChild(node: TreeNode, child: TreeNode): void {
  const table = node.table!;
  const mask = table.length - 1;
  let hole = child.hash & mask;
  while (table[hole] !== child) hole = (hole + 1) & mask;
  if (--node.tableCount === 0) {
    node.table = null;
    return;
  }
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
}
