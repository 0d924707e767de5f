/**
 * One direction between two sockets: what the one sends, the other gets, in order and to the end.
 *
 * Invariant: while the receiver takes no more, the sender is not read from, so that what is kept here is what was already
 * under way, a read or two. The receiver is told of the sender's end when it has been given everything.
 */
import type { Socket } from "bun";
import { PendingBytes } from "./outbox.ts";

export class Flow {
  readonly #from: Socket<unknown>;
  #to: Socket<unknown> | null;
  #pending: PendingBytes | null = null;
  #ended = false;
  #broken = false;

  /** Without a receiver it keeps what comes, until there is one. */
  constructor(from: Socket<unknown>, to: Socket<unknown> | null) {
    this.#from = from;
    this.#to = to;
  }

  /** There is a receiver now. */
  open(to: Socket<unknown>): void {
    this.#to = to;
    if (this.#pending !== null) this.drain();
    else if (this.#ended) to.shutdown();
  }

  pass(bytes: Uint8Array): void {
    if (this.#broken || bytes.length === 0) return;
    let rest = bytes;
    if (this.#pending === null && this.#to !== null) {
      const taken = this.#to.write(bytes);
      if (taken === bytes.length || taken < 0) return;
      rest = bytes.subarray(taken);
    }
    this.#pending ??= new PendingBytes();
    this.#pending.push(rest, false);
    this.#from.pause();
  }

  /** The receiver takes bytes again. */
  drain(): void {
    const [pending, to] = [this.#pending, this.#to];
    if (pending === null || to === null) return;
    pending.drainInto((bytes) => to.write(bytes));
    if (pending.length > 0) return;
    this.#pending = null;
    if (this.#ended) to.shutdown();
    else this.#from.resume();
  }

  /** The sender has said its last word. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#pending === null) this.#to?.shutdown();
  }

  /** The receiver is gone. The sender is read from all the same, or its end would not be seen. */
  break(): void {
    this.#broken = true;
    this.#pending = null;
    this.#from.resume();
  }

  /** The receiver knows everything, the end included. */
  get isDone(): boolean {
    return this.#ended && this.#pending === null && this.#to !== null;
  }
}
