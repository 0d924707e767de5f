/**
 * Everything that falls due, in one binary heap: insert, move and remove in O(log n), the next one in O(1).
 *
 * Invariant: `deadline.index` is its place in the heap, -1 outside; no deadline is later than its children.
 */

export type DeadlineKind = "connection" | "exchange" | "principal" | "session" | "will" | "retained" | "sys";

/** A moment that something waits for. `target` is what `kind` says it is; handle/due.ts knows. */
export class Deadline<Target = unknown> {
  readonly kind: DeadlineKind;
  readonly target: Target;
  /** Milliseconds since 1970. */
  atMs = Number.POSITIVE_INFINITY;
  index = -1;

  constructor(kind: DeadlineKind, target: Target) {
    this.kind = kind;
    this.target = target;
  }
}

export class Deadlines {
  readonly #heap: Deadline[] = [];

  /** When the next one is due; Infinity: nothing waits. */
  get nextAtMs(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0]!.atMs;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Puts a deadline in, or moves it. */
  set(deadline: Deadline, atMs: number): void {
    const before = deadline.atMs;
    deadline.atMs = atMs;
    if (deadline.index === -1) {
      deadline.index = this.#heap.length;
      this.#heap.push(deadline);
      this.#up(deadline);
    } else if (atMs < before) {
      this.#up(deadline);
    } else {
      this.#down(deadline);
    }
  }

  remove(deadline: Deadline): void {
    const { index } = deadline;
    if (index === -1) return;
    deadline.index = -1;
    const last = this.#heap.pop()!;
    if (last === deadline) return;
    last.index = index;
    this.#heap[index] = last;
    this.#up(last);
    this.#down(last);
  }

  /** Takes out the next deadline that is due at `nowMs`. */
  popDue(nowMs: number): Deadline | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    this.remove(first);
    return first;
  }

  #up(deadline: Deadline): void {
    const heap = this.#heap;
    let at = deadline.index;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above]!;
      if (parent.atMs <= deadline.atMs) break;
      heap[at] = parent;
      parent.index = at;
      at = above;
    }
    heap[at] = deadline;
    deadline.index = at;
  }

  #down(deadline: Deadline): void {
    const heap = this.#heap;
    let at = deadline.index;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && heap[below + 1]!.atMs < heap[below]!.atMs) below++;
      const child = heap[below]!;
      if (child.atMs >= deadline.atMs) break;
      heap[at] = child;
      child.index = at;
      at = below;
    }
    heap[at] = deadline;
    deadline.index = at;
  }
}
