/**
 * Removes what nothing refers to any more: queues of deleted sessions, damaged rows, messages without a place.
 *
 * Invariant: it removes in slices of bounded size, inside the transaction of whoever calls; what it has in memory changes
 * only when that transaction is committed. A session's row goes first, so that what is left of it is invisible at once.
 */
import type { SQLQueryBindings } from "bun:sqlite";
import { referenceColumns, referenceCount } from "./kept-rows.ts";
import type { StoreStatements } from "./store-statements.ts";

/** What removes one row. */
type Removal = "deletePlace" | "deleteInbound" | "deleteRetained" | "deleteWill";

const SLICE_BYTES_MAX = 8 * 1024 * 1024;
/** Rows that are looked at in one go. */
const LOOK_ROWS = 256;

export class Sweeper {
  readonly #sql: StoreStatements;
  /** Sessions that are gone and of which messages are left. */
  readonly #sessions = new Set<number>();
  /** Damaged rows, by the statement that removes one and its key. */
  readonly #damaged = new Map<string, { readonly remove: Removal; readonly key: SQLQueryBindings[] }>();
  /** In the transaction under way. */
  #doomed: number[] = [];
  readonly #swept = new Set<number>();
  #removed: string[] = [];
  /** Whether counts of places are not to be believed: damaged ones are gone, or a count is damaged itself. */
  #hasLost = false;
  #isMiscounted = false;
  #isRecounted = false;
  /** How many places a transaction has taken from a message. */
  readonly #released = new Map<number, number>();

  constructor(sql: StoreStatements) {
    this.#sql = sql;
  }

  get hasWork(): boolean {
    return this.#sessions.size > 0 || this.#damaged.size > 0 || this.#hasLost;
  }

  /** Of sessions that are gone, and of which something is left. */
  get sessionNumberMax(): number {
    return this.#sessions.values().reduce((a, b) => Math.max(a, b), 0);
  }

  /** Messages of a session that is not there. */
  found(sessionNumber: number): void {
    this.#sessions.add(sessionNumber);
  }

  /** Answers whether that is news. */
  damaged(remove: Removal, ...key: SQLQueryBindings[]): boolean {
    const name = `${remove} ${key.map((part) => (part instanceof Uint8Array ? Buffer.from(part).toString("hex") : part))}`;
    if (this.#damaged.has(name)) return false;
    this.#damaged.set(name, { remove, key });
    return true;
  }

  /** Whether anything of a former session with this number is left. */
  isDoomed(sessionNumber: number): boolean {
    return this.#sessions.has(sessionNumber) || this.#doomed.includes(sessionNumber);
  }

  /** A session and everything of it but its messages goes at once; these from now on. */
  doom(sessionNumber: number): void {
    this.#sql.deleteSession.run(sessionNumber);
    this.#sql.deleteSubscriptions.run(sessionNumber);
    this.#sql.deleteInbounds.run(sessionNumber);
    this.#sql.deleteWill.run(sessionNumber);
    this.#doomed.push(sessionNumber);
  }

  /** All of it now: its number is being used again. */
  purge(sessionNumber: number): void {
    while (this.#sweepSession(sessionNumber, Number.MAX_SAFE_INTEGER) > 0);
    this.#swept.add(sessionNumber);
  }

  removePlace(sessionNumber: number, sequence: number): void {
    const message = this.#sql.deletePlace.values(sessionNumber, sequence)[0]?.[0];
    if (typeof message === "number") this.#release(message);
  }

  sweep(rowsMax: number): void {
    let left = rowsMax;
    for (const [name, { remove, key }] of this.#damaged) {
      if (left-- <= 0) return;
      // What a place says of its message is not to be believed.
      this.#sql[remove].values(...key);
      this.#removed.push(name);
    }
    for (const sessionNumber of [...this.#sessions, ...this.#doomed]) {
      if (left <= 0) return;
      if (this.#swept.has(sessionNumber)) continue;
      const rows = this.#sweepSession(sessionNumber, left);
      if (rows < left) this.#swept.add(sessionNumber);
      left -= Math.max(1, rows);
    }
  }

  /** Counts anew who refers to which message, once damaged places are gone. Looks at every place: seconds, in large stores. */
  recount(): void {
    if (!this.#hasLost || this.#damaged.size > 0) return;
    this.#sql.deleteUnreferred.run();
    this.#sql.deleteAllReferences.run();
    for (const row of this.#sql.countReferences.iterate()) {
      const { message, count } = row as { message: number; count: number };
      this.#sql.putReferences.run(...referenceColumns(message, count));
    }
    this.#isRecounted = true;
  }

  /** Messages that have lost a place in this transaction, and may have lost the last one. */
  releaseMessages(): void {
    for (const [message, places] of this.#released) {
      const columns = this.#sql.references.values(message)[0];
      const count = referenceCount(columns);
      if (count === null) this.#isMiscounted = true;
      else if (count > places) this.#sql.putReferences.run(...referenceColumns(message, count - places));
      else {
        this.#sql.deleteMessage.run(message);
        if (columns !== undefined) this.#sql.deleteReferences.run(message);
      }
    }
    this.#released.clear();
  }

  committed(): void {
    for (const sessionNumber of this.#doomed) this.#sessions.add(sessionNumber);
    for (const sessionNumber of this.#swept) this.#sessions.delete(sessionNumber);
    if (this.#isRecounted) this.#hasLost = false;
    if (this.#isMiscounted) this.#hasLost = true;
    for (const name of this.#removed) {
      if (this.#damaged.get(name)?.remove === "deletePlace") this.#hasLost = true;
      this.#damaged.delete(name);
    }
    this.rolledBack();
  }

  rolledBack(): void {
    this.#doomed = [];
    this.#swept.clear();
    this.#removed = [];
    this.#isRecounted = false;
    this.#isMiscounted = false;
    this.#released.clear();
  }

  /** Answers how many rows went; fewer than `rowsMax`: nothing is left. */
  #sweepSession(sessionNumber: number, rowsMax: number): number {
    let [rows, bytes] = [0, 0];
    while (rows < rowsMax && bytes < SLICE_BYTES_MAX) {
      const places = this.#sql.places.values(sessionNumber, Math.min(LOOK_ROWS, rowsMax - rows));
      if (places.length === 0) return rows;
      for (const [, weight, message] of places) {
        bytes += Number(weight);
        if (typeof message === "number") this.#release(message);
      }
      this.#sql.deletePlacesTo.run(sessionNumber, places.at(-1)![0] as number);
      rows += places.length;
    }
    return rowsMax;
  }

  #release(message: number): void {
    this.#released.set(message, (this.#released.get(message) ?? 0) + 1);
  }
}
