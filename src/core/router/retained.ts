/**
 * Retained messages (MQTT 5.0 section 3.3.1.3): one per Topic Name, found by name or by Topic Filter.
 *
 * A tree of levels, so that a filter costs what it matches and not what is stored. Bounded in number and bytes by the
 * caller's limits; a message that expires is taken out by its deadline.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { Deadline } from "../deadlines.ts";

class RetainedNode {
  readonly children = new Map<string, RetainedNode>();
  entry: RetainedEntry | null = null;
}

/** One retained message and when it expires. */
export class RetainedEntry {
  message: ApplicationMessage;
  readonly deadline: Deadline<RetainedEntry>;

  constructor(message: ApplicationMessage) {
    this.message = message;
    this.deadline = new Deadline<RetainedEntry>("retained", this);
  }
}

export class RetainedStore {
  readonly #root = new RetainedNode();
  readonly #byName = new Map<string, RetainedEntry>();
  bytes = 0;

  get count(): number {
    return this.#byName.size;
  }

  get(topicName: string): RetainedEntry | undefined {
    return this.#byName.get(topicName);
  }

  /** Stores an owned message in place of the topic's former one [MQTT-3.3.1-5]. */
  set(message: ApplicationMessage): RetainedEntry {
    const topicName = message.topicName.text;
    const known = this.#byName.get(topicName);
    this.bytes += message.sizeBytes;
    message.retainedNow = true;
    if (known !== undefined) {
      this.bytes -= known.message.sizeBytes;
      known.message.retainedNow = false;
      known.message = message;
      return known;
    }
    const entry = new RetainedEntry(message);
    this.#byName.set(topicName, entry);
    let node = this.#root;
    for (const level of topicName.split("/")) {
      let child = node.children.get(level);
      if (child === undefined) {
        child = new RetainedNode();
        node.children.set(level, child);
      }
      node = child;
    }
    node.entry = entry;
    return entry;
  }

  delete(topicName: string): RetainedEntry | undefined {
    const entry = this.#byName.get(topicName);
    if (entry === undefined) return undefined;
    this.#byName.delete(topicName);
    this.bytes -= entry.message.sizeBytes;
    entry.message.retainedNow = false;
    const path: RetainedNode[] = [this.#root];
    const levels = topicName.split("/");
    for (const level of levels) path.push(path[path.length - 1]!.children.get(level)!);
    path[path.length - 1]!.entry = null;
    for (let at = levels.length; at > 0; at--) {
      const node = path[at]!;
      if (node.entry !== null || node.children.size > 0) break;
      path[at - 1]!.children.delete(levels[at - 1]!);
    }
    return entry;
  }

  /** The retained messages that a Topic Filter (without `$share/`) matches. */
  match(topicFilter: string): ApplicationMessage[] {
    const found: ApplicationMessage[] = [];
    this.#match(this.#root, topicFilter.split("/"), 0, found);
    return found;
  }

  #match(node: RetainedNode, levels: readonly string[], at: number, found: ApplicationMessage[]): void {
    if (at === levels.length) {
      if (node.entry !== null) found.push(node.entry.message);
      return;
    }
    const level = levels[at]!;
    if (level === "#") {
      this.#collect(node, at === 0, found);
    } else if (level === "+") {
      for (const [name, child] of node.children) {
        if (at === 0 && name.startsWith("$")) continue; // [MQTT-4.7.2-1]
        this.#match(child, levels, at + 1, found);
      }
    } else {
      const child = node.children.get(level);
      if (child !== undefined) this.#match(child, levels, at + 1, found);
    }
  }

  #collect(node: RetainedNode, isRoot: boolean, found: ApplicationMessage[]): void {
    if (node.entry !== null) found.push(node.entry.message);
    for (const [name, child] of node.children) {
      if (isRoot && name.startsWith("$")) continue;
      this.#collect(child, false, found);
    }
  }
}
