/**
 * Retained messages (MQTT 5.0 section 3.3.1.3): one per Topic Name, found by name or by Topic Filter.
 *
 * A tree of levels, so that a filter costs what it matches and not what is stored. A search is a walk that can be put down
 * and taken up again (`RetainedWalk`), since "#" may match a million. Bounded in number and bytes by the caller's limits; what
 * counts is a message's weight, its nodes included. A message that expires is taken out by its deadline.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { Deadline } from "../deadlines.ts";

/** What a level of a Topic Name costs in memory, roughly: a node, its place in the parent, its name. */
const LEVEL_BYTES = 200;

class RetainedNode {
  children: Map<string, RetainedNode> | null = null;
  entry: RetainedEntry | null = null;
}

/** One retained message and when it expires. */
export class RetainedEntry {
  message: ApplicationMessage;
  /** Order of storing: higher is later. */
  sequence = 0;
  weightBytes = 0;
  readonly deadline: Deadline<RetainedEntry>;

  constructor(message: ApplicationMessage) {
    this.message = message;
    this.deadline = new Deadline<RetainedEntry>("retained", this);
  }
}

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
    let node = this.#root;
    for (const level of topicName.split("/")) {
      const children = (node.children ??= new Map());
      let child = children.get(level);
      if (child === undefined) {
        child = new RetainedNode();
        children.set(level, child);
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
    this.bytes -= entry.weightBytes;
    const path: RetainedNode[] = [this.#root];
    const levels = topicName.split("/");
    for (const level of levels) path.push(path[path.length - 1]!.children!.get(level)!);
    path[path.length - 1]!.entry = null;
    for (let at = levels.length; at > 0; at--) {
      const node = path[at]!;
      if (node.entry !== null || node.children !== null) break;
      const parent = path[at - 1]!;
      parent.children!.delete(levels[at - 1]!);
      if (parent.children!.size === 0) parent.children = null;
    }
    return entry;
  }

  /** A search for what a Topic Filter (without `$share/`) matches. */
  walk(topicFilter: string): RetainedWalk {
    return new RetainedWalk(this.#root, topicFilter.split("/"));
  }
}

/** A node that is being looked at: with `children` once they are being gone through. */
interface Step {
  readonly node: RetainedNode;
  /** Level of the filter that the node's children are compared with. */
  readonly at: number;
  /** Under a "#": everything matches. */
  readonly all: boolean;
  children: Iterator<[string, RetainedNode]> | null;
}

/** A search in progress; the store may change between its steps. */
export class RetainedWalk {
  readonly #root: RetainedNode;
  readonly #levels: readonly string[];
  readonly #steps: Step[];

  constructor(root: RetainedNode, levels: readonly string[]) {
    this.#root = root;
    this.#levels = levels;
    this.#steps = [{ node: root, at: 0, all: false, children: null }];
  }

  /** Looks at one more node: its message if that matches, `null` if there is none, `undefined` at the end. */
  next(): RetainedEntry | null | undefined {
    const step = this.#steps[this.#steps.length - 1];
    if (step === undefined) return undefined;
    if (step.children !== null) return this.#nextChild(step, step.children);
    const { node, at, all } = step;
    const level = this.#levels[at];
    if (all || level === "#") {
      // "#" matches its parent level too, so this node counts.
      this.#goThrough(step, at, true);
      return node.entry;
    }
    if (level === undefined) {
      this.#steps.pop();
      return node.entry;
    }
    if (level === "+") {
      this.#goThrough(step, at + 1, false);
      return null;
    }
    this.#steps.pop();
    const child = node.children?.get(level);
    if (child !== undefined) this.#steps.push({ node: child, at: at + 1, all: false, children: null });
    return null;
  }

  #goThrough(step: Step, at: number, all: boolean): void {
    this.#steps.pop();
    const { children } = step.node;
    if (children !== null) this.#steps.push({ node: step.node, at, all, children: children.entries() });
  }

  #nextChild(step: Step, children: Iterator<[string, RetainedNode]>): null {
    const { done, value } = children.next();
    if (done === true) {
      this.#steps.pop();
      return null;
    }
    const [name, node] = value as [string, RetainedNode];
    // [MQTT-4.7.2-1]: a wildcard at the first level passes over topics of the server.
    if (step.node === this.#root && name.startsWith("$")) return null;
    this.#steps.push({ node, at: step.at, all: step.all, children: null });
    return null;
  }
}
