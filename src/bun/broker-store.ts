/**
 * A broker's store: opened before the broker is made, read into it before a listener opens, closed after its last word.
 *
 * Owns what is said in the log about it. A store that fails is told once; what the broker does about it is up to its host.
 */
import { resolve } from "node:path";
import type { Broker } from "../core/broker.ts";
import type { Log, Store } from "../core/ports.ts";
import { openStore, type SqliteStore } from "./store/sqlite-store.ts";
import { continueClock, nowMs, type Turn } from "./turn.ts";

export interface BrokerStoreOptions {
  readonly folder: string;
  readonly damagedStore: "refuse" | "set-aside";
  /** Bytes; 0: what the store thinks right. */
  readonly diskFreeBytesMin: number;
  readonly log: Log;
  /** Nothing is safe any more. */
  readonly failed: (error: Error) => void;
}

export class BrokerStore {
  readonly #store: SqliteStore;
  readonly #log: Log;
  #broker: Broker | undefined;
  #turn: Turn | undefined;
  #isFull = false;
  /** Pages that have come and are not handled. */
  #pages: { readonly request: number; readonly records: Uint8Array }[] = [];

  private constructor(store: SqliteStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** Rejects with a StoreFault. */
  static async open({ folder, damagedStore, diskFreeBytesMin, log, failed }: BrokerStoreOptions): Promise<BrokerStore> {
    const path = resolve(folder);
    // The store says nothing before it is open.
    const opened: { self: BrokerStore | undefined } = { self: undefined };
    const tell = (what: (broker: Broker) => void): void => {
      if (opened.self !== undefined) opened.self.#tell(what);
    };
    const store = await openStore({
      folder: path,
      setAside: damagedStore === "set-aside",
      ...(diskFreeBytesMin === 0 ? {} : { spareBytes: diskFreeBytesMin }),
      events: {
        committed: (ticket) => tell((broker) => broker.committed(ticket, nowMs())),
        paged: (request, records) => {
          if (opened.self !== undefined) opened.self.#paged(request, records);
        },
        space: (isFull) => {
          if (opened.self !== undefined) opened.self.#space(isFull);
        },
        failed: (fault) => {
          log.write("error", "store-failed", { kind: fault.kind, error: fault.message });
          failed(fault);
        },
        dropped: (rows) => log.write("error", "store-rows-damaged", { ...rows }),
      },
    });
    if (store.setAside !== null) log.write("warn", "store-set-aside", { folder: store.setAside });
    opened.self = new BrokerStore(store, log);
    return opened.self;
  }

  get port(): Store {
    return this.#store;
  }

  /** Puts what is kept into a broker that has done nothing yet. */
  async load(broker: Broker, turn: Turn): Promise<void> {
    const startedAtMs = performance.now();
    const restoration = broker.restore();
    const load = await this.#store.load(restoration.sink);
    continueClock(load);
    restoration.finish(load, nowMs());
    this.#broker = broker;
    this.#turn = turn;
    if (this.#isFull) this.#space(true);
    this.#log.write("info", "store-loaded", {
      sessions: restoration.sessions,
      retained: restoration.retained,
      ms: Math.round(performance.now() - startedAtMs),
    });
    turn.schedule();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #tell(what: (broker: Broker) => void): void {
    if (this.#broker === undefined) return;
    what(this.#broker);
    this.#turn?.schedule();
  }

  /** One in each round of the event loop: thousands of clients that come back at once must not stop everybody else. */
  #paged(request: number, records: Uint8Array): void {
    this.#pages.push({ request, records });
    if (this.#pages.length === 1) setImmediate(this.#handlePage);
  }

  readonly #handlePage = (): void => {
    const { request, records } = this.#pages.shift()!;
    if (this.#pages.length > 0) setImmediate(this.#handlePage);
    this.#tell((broker) => broker.paged(request, records, nowMs()));
  };

  #space(isFull: boolean): void {
    this.#isFull = isFull;
    if (this.#broker === undefined) return;
    this.#log.write(isFull ? "error" : "info", isFull ? "disk-nearly-full" : "disk-has-room", {});
    this.#tell((broker) => broker.storeSpace(isFull, nowMs()));
  }
}
