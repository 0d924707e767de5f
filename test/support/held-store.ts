/**
 * A store in memory that does nothing until it is told to: what a test lets it commit outlives the broker, what it has not
 * been told to is gone with the crash.
 */
import type { Broker } from "../../src/core/broker.ts";
import type { Store } from "../../src/core/ports.ts";
import { MemoryEngine } from "../../src/core/store/memory-engine.ts";
import type { Durability } from "../../src/core/store/store-engine.ts";

/** One call that waits: a batch, or the question for a page. */
type Call =
  | { readonly what: "commit"; readonly records: Uint8Array; readonly ticket: number; readonly durability: Durability }
  | {
      readonly what: "page";
      readonly request: number;
      readonly messagesMax: number;
      readonly ask: (engine: MemoryEngine) => Uint8Array;
    };

export class HeldStore implements Store {
  engine = new MemoryEngine();
  /** Batches that a power failure leaves, and those it may take: written, and nothing was synced since. */
  #synced: Uint8Array[] = [];
  #unsynced: Uint8Array[] = [];
  /** Calls that were not carried out yet, oldest first. */
  readonly calls: Call[] = [];
  /** Whether everything is carried out whenever the world settles. */
  automatic: boolean;

  constructor({ automatic = true }: { readonly automatic?: boolean } = {}) {
    this.automatic = automatic;
  }

  commit(records: Uint8Array, ticket: number, durability: Durability): void {
    this.calls.push({ what: "commit", records, ticket, durability });
  }

  page(request: number, sessionNumber: number, afterSequence: number, messagesMax: number, bytesMax: number): void {
    const ask = (engine: MemoryEngine) => engine.page(sessionNumber, afterSequence, messagesMax, bytesMax);
    this.calls.push({ what: "page", request, messagesMax, ask });
  }

  /** Carries out the oldest calls; the broker is told. */
  carryOut(broker: Broker, nowMs: number, count = this.calls.length): void {
    for (const call of this.calls.splice(0, count)) {
      if (call.what === "page") {
        broker.paged(call.request, call.ask(this.engine), nowMs);
      } else {
        this.#write(call.records, call.durability);
        broker.committed(call.ticket, nowMs);
      }
    }
  }

  /** Writes the oldest calls without telling anybody: the crash comes in between. */
  writeSilently(count: number): void {
    for (const call of this.calls.splice(0, count)) {
      if (call.what === "commit") this.#write(call.records, call.durability);
    }
  }

  #write(records: Uint8Array, durability: Durability): void {
    this.engine.apply([records], durability);
    this.#unsynced.push(records);
    if (durability !== "fsync") return;
    this.#synced.push(...this.#unsynced);
    this.#unsynced = [];
  }

  /** The process ends: what was not carried out never happened. */
  crash(): void {
    this.calls.length = 0;
  }

  /** The power fails: of what was not synced, the first `survivors` batches are there. */
  losePower(survivors: number): void {
    this.crash();
    this.#synced.push(...this.#unsynced.slice(0, survivors));
    this.#unsynced = [];
    this.engine = new MemoryEngine();
    for (const records of this.#synced) this.engine.apply([records], "fsync");
  }

  /** Batches that a power failure may take. */
  get unsynced(): number {
    return this.#unsynced.length;
  }
}
