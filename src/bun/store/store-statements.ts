/**
 * Every statement that a store runs, prepared once: SQL is never made while the broker runs.
 */
import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";

const QUEUE_COLUMNS = "sequence, state, weight, message, options, place, checksum, body";

/** What is known of queues without their messages. The bare column `state` is of the row that max() found. */
const QUEUES = `SELECT session, count(*), count(iif(state & 3 = 0, 1, NULL)), total(iif(state & 3 = 0, weight, 0)),
  max(iif(state & 3 = 0, sequence, NULL)), state FROM queue`;

/** A statement, and what it is bound to. */
type Prepared = Statement<unknown, SQLQueryBindings[]>;

export type StoreStatements = { readonly [name in keyof typeof SQL]: Prepared };

const SQL = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",

  clock: "SELECT broker_ms, wall_ms, has_unsynced, checksum FROM clock",
  putClock: "REPLACE INTO clock (id, broker_ms, wall_ms, has_unsynced, checksum) VALUES (1, ?, ?, ?, ?)",

  session:
    "SELECT number, is_connected, expiry_interval, requested_expiry_interval, expires_at_ms, client_id, principal, checksum FROM session WHERE number = ?",
  sessions:
    "SELECT number, is_connected, expiry_interval, requested_expiry_interval, expires_at_ms, client_id, principal, checksum FROM session WHERE number > ? ORDER BY number LIMIT ?",
  putSession: "REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  deleteSession: "DELETE FROM session WHERE number = ?",

  subscriptions:
    "SELECT session, filter, options, identifiers, checksum FROM subscription WHERE (session, filter) > (?, ?) ORDER BY session, filter LIMIT ?",
  putSubscription: "REPLACE INTO subscription VALUES (?, ?, ?, ?, ?)",
  deleteSubscription: "DELETE FROM subscription WHERE session = ? AND filter = ?",
  deleteSubscriptions: "DELETE FROM subscription WHERE session = ?",

  putPlace: "INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
  place: "SELECT 1 FROM queue WHERE session = ? AND sequence = ?",
  deletePlace: "DELETE FROM queue WHERE session = ? AND sequence = ? RETURNING message",
  setState: "UPDATE queue SET state = ? WHERE session = ? AND sequence = ?",
  waiting: "SELECT sequence FROM queue WHERE session = ? AND sequence > ? AND state & 3 = 0 ORDER BY sequence LIMIT 64",
  places: "SELECT sequence, weight, message FROM queue WHERE session = ? ORDER BY sequence LIMIT ?",
  deletePlacesTo: "DELETE FROM queue WHERE session = ? AND sequence <= ?",
  page: `SELECT ${QUEUE_COLUMNS} FROM queue WHERE session = ? AND sequence > ? AND state & 3 = 0 ORDER BY sequence LIMIT ?`,
  underWay: `SELECT ${QUEUE_COLUMNS} FROM queue WHERE session = ? AND sequence > ? AND state & 3 <> 0 ORDER BY sequence LIMIT ?`,
  queues: `${QUEUES} WHERE session > ? GROUP BY session ORDER BY session LIMIT ?`,
  queueBefore: `${QUEUES} WHERE session = ? AND sequence < ?`,
  queueBehind: "SELECT session FROM queue WHERE session > ? ORDER BY session LIMIT 1",

  message: "SELECT checksum, body FROM message WHERE number = ?",
  lastMessage: "SELECT coalesce(max(number), 0) FROM message",
  putMessage: "INSERT INTO message VALUES (?, ?, ?)",
  deleteMessage: "DELETE FROM message WHERE number = ?",
  references: "SELECT message, count, checksum FROM reference WHERE message = ?",
  putReferences: "REPLACE INTO reference VALUES (?, ?, ?)",
  deleteReferences: "DELETE FROM reference WHERE message = ?",

  deleteUnreferred: "DELETE FROM message WHERE number NOT IN (SELECT message FROM queue WHERE message IS NOT NULL)",
  deleteAllReferences: "DELETE FROM reference",
  countReferences:
    "SELECT message, count(*) AS count FROM queue WHERE message IS NOT NULL GROUP BY message HAVING count(*) > 1",

  inbound:
    "SELECT session, packet_id, checksum FROM inbound WHERE (session, packet_id) > (?, ?) ORDER BY session, packet_id LIMIT ?",
  putInbound: "REPLACE INTO inbound VALUES (?, ?, ?)",
  deleteInbound: "DELETE FROM inbound WHERE session = ? AND packet_id = ?",
  deleteInbounds: "DELETE FROM inbound WHERE session = ?",

  retained: "SELECT topic_name, checksum, body FROM retained WHERE topic_name > ? ORDER BY topic_name LIMIT ?",
  putRetained: "REPLACE INTO retained VALUES (?, ?, ?)",
  deleteRetained: "DELETE FROM retained WHERE topic_name = ?",

  will: "SELECT session, delay_interval, message_expiry_interval, due_at_ms, checksum, body FROM will WHERE session = ?",
  wills:
    "SELECT session, delay_interval, message_expiry_interval, due_at_ms, checksum, body FROM will WHERE session > ? ORDER BY session LIMIT ?",
  putWill: "REPLACE INTO will VALUES (?, ?, ?, ?, ?, ?)",
  deleteWill: "DELETE FROM will WHERE session = ?",

  walFrames: "PRAGMA wal_checkpoint(NOOP)",
  checkpoint: "PRAGMA wal_checkpoint(PASSIVE)",
  truncate: "PRAGMA wal_checkpoint(TRUNCATE)",
  pages: "SELECT (SELECT page_count FROM pragma_page_count), (SELECT freelist_count FROM pragma_freelist_count)",
  vacuum: "PRAGMA incremental_vacuum(64)",
} as const;

/** A database closes for good when its last statement is let go of. */
export function finalizeStatements(statements: StoreStatements): void {
  for (const statement of Object.values(statements)) statement.finalize();
}

/** Runs a statement that is needed once. */
export function valuesOf(db: Database, sql: string, ...bindings: SQLQueryBindings[]): unknown[][] {
  const statement = db.prepare<unknown, SQLQueryBindings[]>(sql);
  try {
    return statement.values(...bindings);
  } finally {
    statement.finalize();
  }
}

export function prepareStatements(db: Database): StoreStatements {
  return Object.fromEntries(
    Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)]),
  ) as unknown as StoreStatements;
}
