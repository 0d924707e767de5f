/**
 * Retained messages (MQTT 5.0 section 3.3.1.3): one per Topic Name, found by name or by Topic Filter.
 *
 * A tree of levels, so that a filter costs what it matches and not what is stored. A search is a walk that can be put down
 * and taken up again (`RetainedWalk`), since "#" may match a million. Bounded in number and bytes by the caller's limits; what
 * counts is a message's weight, its nodes included. A message that expires is taken out by its deadline.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { RetainedEntry } from "./retained-entry.ts";
import { addToTree, RetainedNode, removeFromTree, TreeWalk } from "./retained-tree.ts";

/** What a level of a Topic Name costs in memory, roughly: a node, its place in the parent, its name. */
const LEVEL_BYTES = 200;

function weightOf(message: ApplicationMessage): number {
  let levels = 1;
  for (const byte of message.topicName.bytes) if (byte === 0x2f) levels++;
  return message.sizeBytes + levels * LEVEL_BYTES;
}

export class RetainedStore {
  readonly #root = new RetainedNode();
  readonly #byName = new Map<string, RetainedEntry>();
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
    const entry = new RetainedEntry(message);
    this.#byName.set(topicName, entry);
    addToTree(this.#root, entry, topicName.split("/"));
    return entry;
  }

  delete(topicName: string): RetainedEntry | undefined {
    const entry = this.#byName.get(topicName);
    if (entry === undefined) return undefined;
    this.#byName.delete(topicName);
    this.bytes -= entry.weightBytes;
    removeFromTree(this.#root, topicName.split("/"));
    return entry;
  }

  /** A search for what a Topic Filter (without `$share/`) matches. */
  walk(topicFilter: string): RetainedWalk {
    return new RetainedWalk(this.#root, topicFilter.split("/"));
  }
}

/** A search in progress; the store may change between its steps. */
export class RetainedWalk {
  readonly #tree: TreeWalk;

  constructor(root: RetainedNode, levels: readonly string[]) {
    this.#tree = new TreeWalk(root, levels);
  }

  /** Looks at one more place: the message there if it matches, `null` if none does, `undefined` at the end. */
  next(): RetainedEntry | null | undefined {
    const found = this.#tree.next();
    return found instanceof RetainedNode ? found.entry : found;
  }
}
