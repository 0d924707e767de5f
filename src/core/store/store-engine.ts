/**
 * What a store does with records, apart from when: the part that every engine shares one contract suite for.
 *
 * Invariant: a batch is applied completely or not at all, and batches in the order in which they came. Rows may arrive for
 * a session or message that is gone already: they are nothing, not a fault.
 */
import type { RecordSink } from "./store-record.ts";

/** What an acknowledgement promises: it survives a power failure, the end of the process, or neither. */
export type Durability = "fsync" | "written" | "memory";

/** What has to be known of a store before it is used. */
export interface StoreClock {
  /** The broker's clock at the last batch; 0: there was none. */
  readonly brokerMs: number;
  /** The wall clock at the last batch. */
  readonly wallMs: number;
}

export interface StoreLoad extends StoreClock {
  /** Numbers above these are free. */
  readonly sessionNumberMax: number;
  readonly messageNumberMax: number;
}

export interface StoreEngine {
  /** Applies batches in one transaction. Throws where that failed: then none of them is applied. */
  apply(batches: readonly Uint8Array[], durability: Durability): void;
  /**
   * Hands over everything that is kept: sessions, then what belongs to them; of their queues the deliveries that are under
   * way (`queuePut`), in the order of `sequence`, and a `queueTail` for the rest.
   */
  load(sink: RecordSink): StoreLoad;
  /**
   * Messages of a session that wait (progress 0), in order, from behind `afterSequence`, as records (`queuePut`): at least one
   * where there is one, at most `messagesMax`, and no further one once they have `bytesMax`.
   */
  page(sessionNumber: number, afterSequence: number, messagesMax: number, bytesMax: number): Uint8Array;
  close(): void;
}
