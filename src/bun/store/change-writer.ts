/**
 * Writes gathered changes into the tables, inside the transaction of whoever calls.
 *
 * Invariant: what goes leaves before what comes. A message lies in the row of its place while all its copies together are
 * small, and otherwise in a row of its own, once, with a count of the places that refer to it.
 */
import type { SessionRow } from "../../core/store/store-record.ts";
import type { GatheredChanges, GatheredMessage, SessionChange } from "./gathered-changes.ts";
import {
  inboundColumns,
  keptWill,
  type MessageName,
  messageName,
  placeColumns,
  referenceColumns,
  retainedColumns,
  sessionColumns,
  sessionRow,
  subscriptionColumns,
  willColumns,
} from "./kept-rows.ts";
import { deliveryState } from "./row-checksum.ts";
import { StoreFault } from "./store-fault.ts";
import type { StoreStatements } from "./store-statements.ts";
import type { Sweeper } from "./sweeper.ts";

/** What all copies of a message may take in the rows of their places. A row of up to 2 KB never spills onto a page of its own. */
const COPIES_BYTES_MAX = 1900;

export class ChangeWriter {
  readonly #sql: StoreStatements;
  readonly #sweeper: Sweeper;
  #lastMessageNumber: number;
  /** Of the transaction under way. */
  readonly #names = new Map<GatheredMessage, MessageName>();

  constructor(sql: StoreStatements, sweeper: Sweeper) {
    this.#sql = sql;
    this.#sweeper = sweeper;
    this.#lastMessageNumber = sql.lastMessage.values()[0]![0] as number;
  }

  write(changes: GatheredChanges): void {
    this.#names.clear();
    const sessions = [...changes.sessions.values()].sort((a, b) => a.sessionNumber - b.sessionNumber);
    for (const change of sessions) this.#removals(change);
    for (const change of sessions) if (change.isLive) this.#additions(change);
    for (const { topicName, bytes } of changes.retained.values()) {
      if (bytes === null) this.#sql.deleteRetained.run(topicName);
      else this.#sql.putRetained.run(...retainedColumns(topicName, bytes));
    }
    this.#names.clear();
  }

  #removals(change: SessionChange): void {
    const { sessionNumber } = change;
    if (change.isWiped) this.#sweeper.doom(sessionNumber);
    // The number of a session that is still being removed: what is left of that one must not come back with it.
    if (change.isLive && this.#sweeper.isDoomed(sessionNumber)) this.#sweeper.purge(sessionNumber);
    for (const sequence of change.deleted ?? []) this.#sweeper.removePlace(sessionNumber, sequence);
  }

  #additions(change: SessionChange): void {
    const { sessionNumber } = change;
    if (change.row !== null) this.#sql.putSession.run(...sessionColumns(change.row));
    else if (change.away !== null) this.#away(sessionNumber, change.away);
    for (const [filter, row] of change.subscriptions ?? []) {
      if (row === null) this.#sql.deleteSubscription.run(sessionNumber, filter);
      else this.#sql.putSubscription.run(...subscriptionColumns(row));
    }
    for (const [sequence, { progress, packetId }] of change.progressed ?? []) {
      this.#sql.setState.run(deliveryState(sessionNumber, sequence, progress, packetId), sessionNumber, sequence);
    }
    for (const place of change.puts?.values() ?? []) {
      const { row, message } = place;
      this.#sql.putPlace.run(...placeColumns(row, place, message.weight, this.#lay(message)));
    }
    for (const [packetId, isThere] of change.inbound ?? []) {
      if (isThere) this.#sql.putInbound.run(...inboundColumns(sessionNumber, packetId));
      else this.#sql.deleteInbound.run(sessionNumber, packetId);
    }
    this.#will(change);
  }

  #away(sessionNumber: number, away: Pick<SessionRow, "expiryInterval" | "expiresAtMs">): void {
    const columns = this.#sql.session.values(sessionNumber)[0];
    const row = columns === undefined ? null : sessionRow(columns);
    if (row === null) throw new StoreFault("corrupt", `the row of session ${sessionNumber} does not fit its checksum`);
    this.#sql.putSession.run(...sessionColumns({ ...row, ...away, isConnected: false }));
  }

  #will({ sessionNumber, will, willDueMs }: SessionChange): void {
    if (will === null) this.#sql.deleteWill.run(sessionNumber);
    else if (will !== undefined) this.#sql.putWill.run(...willColumns(will.row, will.bytes));
    else if (willDueMs !== undefined) {
      const columns = this.#sql.will.values(sessionNumber)[0];
      const kept = columns === undefined ? null : keptWill(columns);
      // A damaged one stays as it is: it is found, counted and dropped when it is read.
      if (kept !== null) this.#sql.putWill.run(...willColumns({ ...kept.row, dueAtMs: willDueMs }, kept.body));
    }
  }

  /** Where the message lies: its bytes in the row of its place, or a row of its own. */
  #lay(message: GatheredMessage): Uint8Array | MessageName {
    const { bytes, places } = message;
    if (bytes.length * places <= COPIES_BYTES_MAX) return bytes;
    const known = this.#names.get(message);
    if (known !== undefined) return known;
    const name = messageName(++this.#lastMessageNumber, bytes);
    this.#sql.putMessage.run(name.number, name.checksum, bytes);
    if (places > 1) this.#sql.putReferences.run(...referenceColumns(name.number, places));
    this.#names.set(message, name);
    return name;
  }
}
