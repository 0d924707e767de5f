/**
 * The Topic Names of retained messages by their levels, and a search through them that can be put down.
 *
 * A node stands where names part; what no other name shares is not taken apart: the entry itself stands in the place of its
 * remaining levels. A node that is left with one entry stays until that is gone too, for the sake of searches under way.
 */
import { RetainedEntry } from "./retained-entry.ts";

export class RetainedNode {
  children: Map<string, RetainedNode | RetainedEntry> | null = null;
  /** Of the name that ends here. */
  entry: RetainedEntry | null = null;
}

/** Adds an entry whose topic has none. The last of `levels` has to be a copy: others keep it too. */
export function addToTree(root: RetainedNode, entry: RetainedEntry, levels: readonly string[]): void {
  let node = root;
  for (let at = 0; at < levels.length; at++) {
    const level = levels[at]!;
    node.children ??= new Map();
    const child = node.children.get(level);
    if (child === undefined) {
      node.children.set(at === levels.length - 1 ? level : copyOf(level), entry);
      return;
    }
    if (child instanceof RetainedNode) {
      node = child;
    } else {
      const between = nodeOver(child, at + 1);
      node.children.set(level, between);
      node = between;
    }
  }
  node.entry = entry;
}

/** A node with this one entry below it, whose levels from `at` on are not yet taken apart. */
function nodeOver(entry: RetainedEntry, at: number): RetainedNode {
  const node = new RetainedNode();
  const level = entry.topicName.split("/")[at];
  if (level === undefined) node.entry = entry;
  else node.children = new Map([[copyOf(level), entry]]);
  return node;
}

/**
 * The level as a string of its own. As a part of a Topic Name it may keep the whole of that alive, long after the message has
 * gone, where other names share the level.
 */
export function copyOf(level: string): string {
  return [level, ""].join("");
}

/** Takes out the entry of a Topic Name, and the nodes that are empty without it. */
export function removeFromTree(root: RetainedNode, levels: readonly string[]): void {
  const path = [root];
  let node = root;
  while (path.length <= levels.length) {
    const child = node.children!.get(levels[path.length - 1]!)!;
    if (!(child instanceof RetainedNode)) break;
    node = child;
    path.push(node);
  }
  if (path.length > levels.length) node.entry = null;
  else removeChild(node, levels[path.length - 1]!);
  for (let at = path.length - 1; at > 0 && path[at]!.entry === null && path[at]!.children === null; at--) {
    removeChild(path[at - 1]!, levels[at - 1]!);
  }
}

function removeChild(node: RetainedNode, level: string): void {
  node.children!.delete(level);
  if (node.children!.size === 0) node.children = null;
}

/** A node that is being looked at: with `children` once they are being gone through. */
interface Step {
  readonly node: RetainedNode;
  /** Level of the filter that the node's children are compared with. */
  readonly at: number;
  /** Where that level stands in the names below the node. */
  readonly start: number;
  /** Under a "#": everything matches. */
  readonly all: boolean;
  children: Iterator<[string, RetainedNode | RetainedEntry]> | null;
}

/** A search in progress; the tree may change between its steps. Holds nodes, and never an entry. */
export class TreeWalk {
  readonly #root: RetainedNode;
  readonly #levels: readonly string[];
  readonly #steps: Step[];

  /** `levels` of a Topic Filter, or of the beginning of one. */
  constructor(root: RetainedNode, levels: readonly string[]) {
    this.#root = root;
    this.#levels = levels;
    this.#steps = [{ node: root, at: 0, start: 0, all: false, children: null }];
  }

  /** One more step: an entry or a node, where the levels come to one; `null` if they do not; `undefined` at the end. */
  next(): RetainedNode | RetainedEntry | null | undefined {
    const step = this.#steps[this.#steps.length - 1];
    if (step === undefined) return undefined;
    if (step.children !== null) return this.#nextChild(step, step.children);
    this.#steps.pop();
    const { node, at, start, all } = step;
    const level = this.#levels[at];
    if (all || level === "#") {
      // "#" matches its parent level too, so this node counts.
      this.#goThrough(node, at, start, true);
      return node;
    }
    if (level === undefined) return node;
    if (level === "+") {
      this.#goThrough(node, at + 1, start, false);
      return null;
    }
    const child = node.children?.get(level);
    return child === undefined ? null : this.#lookAt(child, at + 1, start + level.length + 1, false);
  }

  #goThrough(node: RetainedNode, at: number, start: number, all: boolean): void {
    const { children } = node;
    if (children !== null) this.#steps.push({ node, at, start, all, children: children.entries() });
  }

  #nextChild(step: Step, children: Iterator<[string, RetainedNode | RetainedEntry]>): RetainedEntry | null {
    const { done, value } = children.next();
    if (done === true) {
      this.#steps.pop();
      return null;
    }
    const [name, child] = value as [string, RetainedNode | RetainedEntry];
    // [MQTT-4.7.2-1]: a wildcard at the first level passes over topics of the server.
    if (step.node === this.#root && name.startsWith("$")) return null;
    return this.#lookAt(child, step.at, step.start + name.length + 1, step.all);
  }

  #lookAt(child: RetainedNode | RetainedEntry, at: number, start: number, all: boolean): RetainedEntry | null {
    if (child instanceof RetainedEntry) return all || child.matchesFrom(this.#levels, at, start) ? child : null;
    this.#steps.push({ node: child, at, start, all, children: null });
    return null;
  }
}
