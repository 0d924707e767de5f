/**
 * A store as a test asks it: every answer is a promise, and everything that the store says is kept.
 *
 * Invariant: nothing here waits for time to pass; a wait ends with the answer, or with the fault of a store that has failed.
 */

import type { StoreEvents } from "../../src/bun/store/sqlite-store.ts";
import type { StoreFault } from "../../src/bun/store/store-fault.ts";
import type { DroppedRows } from "../../src/bun/store/store-reader.ts";
import type { Store } from "../../src/core/ports.ts";
import type { Durability, StoreLoad } from "../../src/core/store/store-engine.ts";
import type { RecordSink } from "../../src/core/store/store-record.ts";
import { deliveriesOf, LoadedRows, type PlainDelivery, type Snapshot } from "./store-snapshot.ts";

/** What both the store on disk and the one that fails on purpose can do. */
export interface LoadableStore extends Store {
  load(sink: RecordSink): Promise<StoreLoad>;
}

interface Wait {
  readonly until: () => boolean;
  readonly done: () => void;
  readonly failed: (fault: Error) => void;
}

export class StoreClient {
  /** Tickets, in the order in which they were answered. */
  readonly committed: number[] = [];
  readonly space: boolean[] = [];
  readonly faults: StoreFault[] = [];
  readonly dropped: DroppedRows[] = [];
  readonly #pages = new Map<number, PlainDelivery[]>();
  readonly #order: string[] = [];
  #waits: Wait[] = [];
  #ticket = 0;
  #request = 0;

  readonly events: StoreEvents = {
    committed: (ticket) => this.#note(`committed ${ticket}`, () => this.committed.push(ticket)),
    paged: (request, records) => this.#note(`paged ${request}`, () => this.#pages.set(request, deliveriesOf(records))),
    space: (isFull) => this.#note(`space ${isFull}`, () => this.space.push(isFull)),
    failed: (fault) => this.#note("failed", () => this.faults.push(fault)),
    dropped: (rows) => this.#note("dropped", () => this.dropped.push({ ...rows })),
  };

  /** Everything that was said, in order. */
  get order(): readonly string[] {
    return this.#order;
  }

  commit(store: Store, records: Uint8Array<ArrayBuffer>, durability: Durability = "fsync"): number {
    store.commit(records, ++this.#ticket, durability);
    return this.#ticket;
  }

  page(store: Store, sessionNumber: number, afterSequence = -1, messagesMax = 1000, bytesMax = 1_000_000): number {
    store.page(++this.#request, sessionNumber, afterSequence, messagesMax, bytesMax);
    return this.#request;
  }

  async untilCommitted(ticket: number): Promise<void> {
    await this.until(() => (this.committed.at(-1) ?? 0) >= ticket);
  }

  async untilPaged(request: number): Promise<PlainDelivery[]> {
    await this.until(() => this.#pages.has(request));
    return this.#pages.get(request)!;
  }

  until(until: () => boolean): Promise<void> {
    return new Promise((done, failed) => {
      this.#waits.push({ until, done, failed });
      this.#look();
    });
  }

  async snapshot(store: LoadableStore): Promise<Snapshot> {
    const rows = new LoadedRows();
    const { brokerMs, wallMs } = await store.load(rows.sink);
    const waiting: PlainDelivery[] = [];
    for (const { sessionNumber } of rows.sessions)
      waiting.push(...(await this.untilPaged(this.page(store, sessionNumber))));
    return rows.snapshot({ brokerMs, wallMs }, waiting);
  }

  #note(what: string, keep: () => unknown): void {
    this.#order.push(what);
    keep();
    this.#look();
  }

  #look(): void {
    const waits = this.#waits;
    this.#waits = [];
    for (const wait of waits) {
      if (wait.until()) wait.done();
      else if (this.faults.length > 0) wait.failed(this.faults[0]!);
      else this.#waits.push(wait);
    }
  }
}
