/**
 * Reads a store: all of it when a broker starts, later the messages of one session.
 *
 * Invariant: a row that does not fit its checksum is never handed over. Places, retained messages, Wills and Packet
 * Identifiers are dropped and counted; without a session or a subscription nobody knows what else is missing: refused.
 * Reads are short, from key to key: no statement is open while the caller does something else.
 */
import { readMessage } from "../../core/store/read-records.ts";
import type { RecordSink } from "../../core/store/store-record.ts";
import type { SessionChange } from "./gathered-changes.ts";
import {
  type Columns,
  isInbound,
  type KeptPlace,
  keptPlace,
  keptWill,
  retainedMessage,
  sessionRow,
  subscriptionRow,
} from "./kept-rows.ts";
import { isDeliveryState } from "./row-checksum.ts";
import { StoreFault } from "./store-fault.ts";
import type { StoreStatements } from "./store-statements.ts";
import type { Sweeper } from "./sweeper.ts";

/** Damaged rows that were found and left out, since the store was opened. */
export interface DroppedRows {
  queued: number;
  retained: number;
  wills: number;
  inbound: number;
}

const ROWS_AT_ONCE = 512;
/** Of those with bodies; one body may be large. */
const BODIES_AT_ONCE = 32;

export class StoreReader {
  readonly dropped: DroppedRows = { queued: 0, retained: 0, wills: 0, inbound: 0 };
  /** Sessions that are there. */
  readonly sessions = new Set<number>();
  readonly #sql: StoreStatements;
  readonly #sweeper: Sweeper;
  readonly #path: string;

  constructor(sql: StoreStatements, sweeper: Sweeper, path: string) {
    this.#sql = sql;
    this.#sweeper = sweeper;
    this.#path = path;
  }

  /** Looks at every session and subscription, and for messages of sessions that are gone. */
  check(): void {
    for (const row of this.#sessionRows()) this.sessions.add(row.sessionNumber);
    for (const _ of this.#subscriptionRows());
    for (let session = -1; ; ) {
      const next = this.#sql.queueBehind.values(session)[0]?.[0];
      if (typeof next !== "number") break;
      if (!this.sessions.has(next)) this.#sweeper.found(next);
      session = next;
    }
  }

  /** Everything, as `StoreEngine.load`; gives up control after every few rows. */
  *load(sink: RecordSink): Generator<void, void> {
    for (const row of this.#sessionRows()) yield sink.sessionPut(row);
    for (const row of this.#subscriptionRows())
      if (this.sessions.has(row.sessionNumber)) yield sink.subscriptionPut(row);
    yield* this.#loadInbound(sink);
    yield* this.#loadWills(sink);
    yield* this.#loadQueues(sink);
    yield* this.#loadRetained(sink);
  }

  /** Messages that wait, as `StoreEngine.page`. `ahead`: what will become of the session, though it is not written yet. */
  page(
    sessionNumber: number,
    afterSequence: number,
    messagesMax: number,
    bytesMax: number,
    sink: RecordSink,
    ahead?: SessionChange,
  ): void {
    let [count, bytes, after] = [0, 0, afterSequence];
    let isMore = this.sessions.has(sessionNumber) && ahead?.isWiped !== true;
    while (isMore && count < messagesMax && bytes < bytesMax) {
      const rows = this.#sql.page.values(sessionNumber, after, Math.min(BODIES_AT_ONCE, messagesMax - count));
      isMore = rows.length > 0;
      for (const columns of rows) {
        if (bytes >= bytesMax) return;
        after = columns[0] as number;
        if (ahead?.deleted?.has(after) === true || ahead?.progressed?.has(after) === true) continue;
        const place = this.#place(sessionNumber, columns);
        if (place === null) continue;
        sink.queuePut(place.row, place.message);
        count++;
        bytes += place.weight;
      }
    }
    // What is new comes behind everything that is there.
    for (const { row, message, progress } of ahead?.puts?.values() ?? []) {
      if (count >= messagesMax || bytes >= bytesMax) return;
      if (progress !== 0 || row.sequence <= afterSequence) continue;
      sink.queuePut(row, readMessage(message.bytes));
      count++;
      bytes += message.weight;
    }
  }

  *#sessionRows() {
    for (let after = -1; ; ) {
      const rows = this.#sql.sessions.values(after, ROWS_AT_ONCE);
      for (const columns of rows) yield sessionRow(columns) ?? this.#refuse("a session");
      if (rows.length < ROWS_AT_ONCE) return;
      after = rows.at(-1)![0] as number;
    }
  }

  *#subscriptionRows() {
    for (let [session, filter] = [-1, ""]; ; ) {
      const rows = this.#sql.subscriptions.values(session, filter, ROWS_AT_ONCE);
      for (const columns of rows) yield subscriptionRow(columns) ?? this.#refuse("a subscription");
      if (rows.length < ROWS_AT_ONCE) return;
      [session, filter] = rows.at(-1) as [number, string];
    }
  }

  *#loadInbound(sink: RecordSink): Generator<void> {
    for (let [session, packetId] = [-1, -1]; ; ) {
      const rows = this.#sql.inbound.values(session, packetId, ROWS_AT_ONCE);
      for (const columns of rows) {
        [session, packetId] = columns as [number, number];
        if (isInbound(columns)) {
          if (this.sessions.has(session)) yield sink.inboundPut(session, packetId);
        } else if (this.#sweeper.damaged("deleteInbound", session, packetId)) this.dropped.inbound++;
      }
      if (rows.length < ROWS_AT_ONCE) return;
    }
  }

  *#loadWills(sink: RecordSink): Generator<void> {
    for (let session = -1; ; ) {
      const rows = this.#sql.wills.values(session, BODIES_AT_ONCE);
      for (const columns of rows) {
        session = columns[0] as number;
        const will = keptWill(columns);
        if (will !== null) {
          if (this.sessions.has(session)) yield sink.willPut(will.row, will.message);
        } else if (this.#sweeper.damaged("deleteWill", session)) this.dropped.wills++;
      }
      if (rows.length < BODIES_AT_ONCE) return;
    }
  }

  *#loadRetained(sink: RecordSink): Generator<void> {
    for (let topicName = new Uint8Array(0); ; ) {
      const rows = this.#sql.retained.values(topicName, BODIES_AT_ONCE);
      for (const columns of rows) {
        const message = retainedMessage(columns);
        topicName = columns[0] as Uint8Array<ArrayBuffer>;
        if (message !== null) yield sink.retainedPut(message);
        else if (this.#sweeper.damaged("deleteRetained", topicName)) this.dropped.retained++;
      }
      if (rows.length < BODIES_AT_ONCE) return;
    }
  }

  *#loadQueues(sink: RecordSink): Generator<void> {
    for (let after = -1; ; ) {
      const rows = this.#sql.queues.values(after, ROWS_AT_ONCE);
      for (const columns of rows) {
        after = columns[0] as number;
        if (this.sessions.has(after)) yield* this.#loadQueue(after, columns, sink);
      }
      if (rows.length < ROWS_AT_ONCE) return;
    }
  }

  *#loadQueue(sessionNumber: number, columns: Columns, sink: RecordSink): Generator<void> {
    let [, count, waiting, bytes, lastSequence, state] = columns as [number, number, number, number, number, unknown];
    if (count > waiting) yield* this.#loadUnderWay(sessionNumber, sink);
    // New messages come behind the last one: what says that it is the last has to be right.
    while (waiting > 0 && !isDeliveryState(sessionNumber, lastSequence, state)) {
      this.#drop(sessionNumber, lastSequence);
      const behind = this.#sql.queueBefore.values(sessionNumber, lastSequence)[0] as Columns;
      [, count, waiting, bytes, lastSequence, state] = behind as [number, number, number, number, number, unknown];
    }
    if (waiting === 0) return;
    yield sink.queueTail({ sessionNumber, count: waiting, bytes: plausible(bytes), lastSequence });
  }

  *#loadUnderWay(sessionNumber: number, sink: RecordSink): Generator<void> {
    for (let after = -1; ; ) {
      const rows = this.#sql.underWay.values(sessionNumber, after, BODIES_AT_ONCE);
      for (const columns of rows) {
        after = columns[0] as number;
        const place = this.#place(sessionNumber, columns);
        if (place !== null) yield sink.queuePut(place.row, place.message);
      }
      if (rows.length < BODIES_AT_ONCE) return;
    }
  }

  #place(sessionNumber: number, columns: Columns): KeptPlace | null {
    const place = keptPlace(sessionNumber, columns, (number) => this.#sql.message.values(number)[0]);
    if (place === null) this.#drop(sessionNumber, columns[0] as number);
    return place;
  }

  #drop(sessionNumber: number, sequence: number): void {
    if (this.#sweeper.damaged("deletePlace", sessionNumber, sequence)) this.dropped.queued++;
  }

  #refuse(what: string): never {
    throw new StoreFault("corrupt", `${this.#path}: ${what} does not fit its checksum`);
  }
}

/** A sum of numbers that are checked only when their rows are read. */
function plausible(bytes: number): number {
  return Math.min(Math.max(bytes, 0), Number.MAX_SAFE_INTEGER);
}
