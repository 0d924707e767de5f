/**
 * Deliveries that wait: for the client to return, for its window, or for its socket. First in, first out.
 *
 * Bounded by its callers (delivery/outbound.ts), which know the limits and the policy.
 */
import type { Delivery } from "./inflight.ts";

/** Taken places in front of the head are given back in steps of this many. */
const COMPACT_AT = 256;

export class OutboundQueue {
  /** Bytes of the messages in it. */
  bytes = 0;
  /** No message in it expires before this moment. */
  nextExpiryMs = Number.POSITIVE_INFINITY;
  #items: (Delivery | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(delivery: Delivery): void {
    const { message } = delivery;
    this.bytes += message.sizeBytes;
    if (message.expiresAtMs < this.nextExpiryMs) this.nextExpiryMs = message.expiresAtMs;
    this.#items.push(delivery);
  }

  shift(): Delivery | undefined {
    const delivery = this.#items[this.#head];
    if (delivery === undefined) return undefined;
    this.bytes -= delivery.message.sizeBytes;
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return delivery;
  }

  /** Takes out the last one. */
  pop(): Delivery | undefined {
    if (this.length === 0) return undefined;
    const delivery = this.#items.pop()!;
    this.bytes -= delivery.message.sizeBytes;
    return delivery;
  }

  /** Everything in it, in order. */
  all(): readonly Delivery[] {
    return this.#items.slice(this.#head) as Delivery[];
  }

  /** Takes out everything that `remove` says yes to, in order. */
  extract(remove: (delivery: Delivery) => boolean): Delivery[] {
    const removed: Delivery[] = [];
    const all = this.#items.slice(this.#head) as Delivery[];
    this.#items = [];
    this.#head = 0;
    this.bytes = 0;
    this.nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const delivery of all) {
      if (remove(delivery)) removed.push(delivery);
      else this.push(delivery);
    }
    return removed;
  }
}
