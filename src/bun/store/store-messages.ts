/**
 * What the main thread and the store's Worker say to each other. Records travel as buffers that change hands; the rest is small.
 */
import type { Durability, StoreLoad } from "../../core/store/store-engine.ts";
import type { StoreFaultKind } from "./store-fault.ts";
import type { DroppedRows } from "./store-reader.ts";

/** Trouble made to order; nothing but a test asks for it. */
export interface StoreTrouble {
  /** So long every transaction takes. */
  readonly delayMs?: number;
  /** This many transactions succeed first. */
  readonly failAfter?: number;
  readonly failAs?: "full" | "broken";
  /** Transactions that fail from then on; without it all of them. */
  readonly failTimes?: number;
}

export interface OpenOrder {
  readonly kind: "open";
  readonly folder: string;
  readonly setAside: boolean;
  readonly spareBytes: number | undefined;
  readonly trouble: StoreTrouble;
}

export interface CommitOrder {
  readonly kind: "commit";
  readonly records: Uint8Array<ArrayBuffer>;
  readonly ticket: number;
  readonly durability: Durability;
}

export interface PageOrder {
  readonly kind: "page";
  readonly request: number;
  readonly sessionNumber: number;
  readonly afterSequence: number;
  readonly messagesMax: number;
  readonly bytesMax: number;
}

/** To the Worker. One `work` at a time: the next one after `done`. */
export type StoreOrder =
  | OpenOrder
  | { readonly kind: "load" }
  | { readonly kind: "work"; readonly orders: readonly (CommitOrder | PageOrder)[] }
  | { readonly kind: "close" };

/** From the Worker. */
export type StoreAnswer =
  | { readonly kind: "opened"; readonly setAside: string | null }
  | { readonly kind: "refused"; readonly fault: PlainFault }
  /** The next rows; with `load` the last ones. */
  | { readonly kind: "rows"; readonly records: Uint8Array<ArrayBuffer>; readonly load: StoreLoad | null }
  | { readonly kind: "committed"; readonly ticket: number }
  | { readonly kind: "paged"; readonly request: number; readonly records: Uint8Array<ArrayBuffer> }
  | { readonly kind: "done" }
  | { readonly kind: "dropped"; readonly rows: DroppedRows }
  | { readonly kind: "space"; readonly isFull: boolean }
  | { readonly kind: "failed"; readonly fault: PlainFault }
  | { readonly kind: "closed" };

/** Errors lose what they are on their way from a Worker. */
export interface PlainFault {
  readonly kind: StoreFaultKind;
  readonly message: string;
}
