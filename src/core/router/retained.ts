/**
 * Retained messages (MQTT 5.0 section 3.3.1.3): one per Topic Name, found by name or by Topic Filter.
 *
 * A tree of levels, so that a filter costs what it matches and not what is stored. A search is a walk that can be put down
 * and taken up again (`RetainedWalk`), since "#" may match a million. Bounded in number and bytes by the caller's limits; what
 * counts is a message's weight, its nodes included. A message that expires is taken out by its deadline.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { LastLevels } from "./last-levels.ts";
import { RetainedEntry } from "./retained-entry.ts";
import { addToTree, copyOf, RetainedNode, removeFromTree, TreeWalk } from "./retained-tree.ts";

/** What a level of a Topic Name costs in memory, roughly: a node, its place in the parent, its name. */
const LEVEL_BYTES = 200;

/** How many places of the tree are looked at in the time of one message by its last level. */
const TREE_ADVANTAGE = 2;

function weightOf(message: ApplicationMessage): number {
  let levels = 1;
  for (const byte of message.topicName.bytes) if (byte === 0x2f) levels++;
  return message.sizeBytes + levels * LEVEL_BYTES;
}

export class RetainedStore {
  readonly #root = new RetainedNode();
  readonly #byName = new Map<string, RetainedEntry>();
  readonly #lastLevels = new LastLevels();
  /** Weight of all messages. */
  bytes = 0;
  /** Of the message stored last. */
  sequence = 0;

  get count(): number {
    return this.#byName.size;
  }

  get(topicName: string): RetainedEntry | undefined {
    return this.#byName.get(topicName);
  }

  /** How much heavier the store would be with this message in it. */
  growthBy(message: ApplicationMessage): number {
    return weightOf(message) - (this.#byName.get(message.topicName.text)?.weightBytes ?? 0);
  }

  /** Stores an owned message in place of the topic's former one [MQTT-3.3.1-5]. */
  set(message: ApplicationMessage): RetainedEntry {
    const topicName = message.topicName.text;
    const entry = this.#byName.get(topicName) ?? this.#add(topicName, message);
    const weightBytes = weightOf(message);
    this.bytes += weightBytes - entry.weightBytes;
    entry.weightBytes = weightBytes;
    entry.message = message;
    entry.sequence = ++this.sequence;
    return entry;
  }

  #add(topicName: string, message: ApplicationMessage): RetainedEntry {
    const entry = new RetainedEntry(message, this.sequence + 1);
    const levels = topicName.split("/");
    const lastLevel = copyOf(levels.pop()!);
    levels.push(lastLevel);
    this.#byName.set(topicName, entry);
    addToTree(this.#root, entry, levels);
    this.#lastLevels.add(lastLevel, entry);
    return entry;
  }

  delete(topicName: string): RetainedEntry | undefined {
    const entry = this.#byName.get(topicName);
    if (entry === undefined) return undefined;
    const levels = topicName.split("/");
    this.#byName.delete(topicName);
    removeFromTree(this.#root, levels);
    this.#lastLevels.remove(levels[levels.length - 1]!, entry);
    this.bytes -= entry.weightBytes;
    return entry;
  }

  /** A search for what a Topic Filter (without `$share/`) matches. */
  walk(topicFilter: string): RetainedWalk {
    return new RetainedWalk(this.#root, this.#lastLevels, this.sequence, topicFilter.split("/"));
  }
}

/** A search in progress; the store may change between its steps. */
export class RetainedWalk {
  readonly #tree: TreeWalk;
  readonly #lastLevels: LastLevels;
  readonly #levels: readonly string[];
  /** The nodes below which the last "+" of the filter stands, while it is open how to search. */
  #beforePlus: TreeWalk | null = null;
  /** Places for that "+", as far as they have been counted. */
  #places = 0;
  #byLastLevel = false;
  /** Of the entry that was looked at last, by last level; and what was there when the search began. */
  #number = 0;
  readonly #numberMax: number;

  constructor(root: RetainedNode, lastLevels: LastLevels, numberMax: number, levels: readonly string[]) {
    this.#tree = new TreeWalk(root, levels);
    this.#lastLevels = lastLevels;
    this.#levels = levels;
    this.#numberMax = numberMax;
    const plus = levels.lastIndexOf("+");
    const isOpen = plus !== -1 && plus < levels.length - 1 && this.#lastLevel !== "#";
    if (isOpen) this.#beforePlus = new TreeWalk(root, levels.slice(0, plus));
  }

  get #lastLevel(): string {
    return this.#levels[this.#levels.length - 1]!;
  }

  /** Looks at one more place: the message there if it matches, `null` if none does, `undefined` at the end. */
  next(): RetainedEntry | null | undefined {
    if (this.#beforePlus !== null) return this.#choose(this.#beforePlus);
    if (this.#byLastLevel) return this.#nextByLastLevel();
    const found = this.#tree.next();
    return found instanceof RetainedNode ? found.entry : found;
  }

  /**
   * Whether the tree has many more places to look at than there are messages with this last level: one of its steps costs less.
   * Counting ends where that is clear, so that it never costs much more than the cheaper way does.
   */
  #choose(beforePlus: TreeWalk): null {
    const found = beforePlus.next();
    this.#places += 1 + (found instanceof RetainedNode ? (found.children?.size ?? 0) : 0);
    this.#byLastLevel = this.#places > TREE_ADVANTAGE * this.#lastLevels.countOf(this.#lastLevel);
    if (this.#byLastLevel || found === undefined) this.#beforePlus = null;
    return null;
  }

  #nextByLastLevel(): RetainedEntry | null | undefined {
    const entry = this.#lastLevels.after(this.#lastLevel, this.#number);
    // Who came later came live.
    if (entry === undefined || entry.number > this.#numberMax) return undefined;
    this.#number = entry.number;
    return entry.matches(this.#levels) ? entry : null;
  }
}
