/**
 * Rows of the core into columns and back, each sealed with a checksum.
 *
 * Invariant: what comes back is what was put in, or null: a row that does not fit its checksum is never handed on.
 */
import type { SQLQueryBindings } from "bun:sqlite";
import { readMessage } from "../../core/store/read-records.ts";
import type {
  DeliveryProgress,
  MessageRow,
  QueuedRow,
  SessionRow,
  SubscriptionRow,
  WillRow,
} from "../../core/store/store-record.ts";
import {
  deliveryState,
  type Field,
  isDeliveryState,
  packetIdOf,
  progressOf,
  rowChecksum,
  TableMark,
} from "./row-checksum.ts";

/** Columns as SQLite hands them out: of any kind, where the file is damaged. */
export type Columns = readonly unknown[];

export interface ClockRow {
  readonly brokerMs: number;
  readonly wallMs: number;
  /** Transactions of this store may have been written without being synced, since it was last closed. */
  readonly hasUnsynced: boolean;
}

export function clockColumns({ brokerMs, wallMs, hasUnsynced }: ClockRow): SQLQueryBindings[] {
  return sealed(TableMark.Clock, [brokerMs, wallMs, hasUnsynced ? 1 : 0]);
}

export function clockRow(columns: Columns): ClockRow | null {
  if (!isIntact(TableMark.Clock, columns)) return null;
  const [brokerMs, wallMs, hasUnsynced] = columns as [number, number, number];
  return { brokerMs, wallMs, hasUnsynced: hasUnsynced === 1 };
}

export function sessionColumns(row: SessionRow): SQLQueryBindings[] {
  return sealed(TableMark.Session, [
    row.sessionNumber,
    row.isConnected ? 1 : 0,
    row.expiryInterval,
    row.requestedExpiryInterval,
    row.expiresAtMs,
    row.clientId,
    row.principal,
  ]);
}

export function sessionRow(columns: Columns): SessionRow | null {
  if (!isIntact(TableMark.Session, columns)) return null;
  const [sessionNumber, connected, expiryInterval, requestedExpiryInterval, expiresAtMs, clientId, principal] =
    columns as [number, number, number, number, number, string, string];
  const isConnected = connected === 1;
  return { sessionNumber, clientId, principal, expiryInterval, requestedExpiryInterval, expiresAtMs, isConnected };
}

export function subscriptionColumns(row: SubscriptionRow): SQLQueryBindings[] {
  const options = row.qos | (row.noLocal ? 4 : 0) | (row.retainAsPublished ? 8 : 0) | (row.isSearching ? 16 : 0);
  const identifiers = row.subscriptionIdentifiers === null ? null : JSON.stringify(row.subscriptionIdentifiers);
  return sealed(TableMark.Subscription, [row.sessionNumber, row.filter, options, identifiers]);
}

export function subscriptionRow(columns: Columns): SubscriptionRow | null {
  if (!isIntact(TableMark.Subscription, columns)) return null;
  const [sessionNumber, filter, options, identifiers] = columns as [number, string, number, string | null];
  return {
    sessionNumber,
    filter,
    qos: (options & 3) as 0 | 1 | 2,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    isSearching: (options & 16) !== 0,
    subscriptionIdentifiers: identifiers === null ? null : (JSON.parse(identifiers) as number[]),
  };
}

/** How far a delivery is changes more often than the rest, and is sealed by itself. */
export interface PlaceProgress {
  readonly progress: DeliveryProgress;
  readonly packetId: number;
}

/** A message with a row of its own, as the rows of its places name it: a number used again is not taken for it. */
export interface MessageName {
  readonly number: number;
  readonly checksum: number;
}

/** `message`: the bytes of it, or where they are. */
export function placeColumns(
  row: QueuedRow,
  { progress, packetId }: PlaceProgress,
  weight: number,
  message: Uint8Array | MessageName,
): SQLQueryBindings[] {
  const { sessionNumber, sequence, sharedFilter, subscriptionIdentifiers } = row;
  const options = row.qos | (row.retain ? 4 : 0);
  const isPlain = sharedFilter === "" && subscriptionIdentifiers === null;
  const place = isPlain ? null : JSON.stringify([sharedFilter, subscriptionIdentifiers]);
  const body = message instanceof Uint8Array ? message : null;
  const { number, checksum: content } = message instanceof Uint8Array ? NOT_APART : message;
  const checksum = rowChecksum(TableMark.Queue, [
    sessionNumber,
    sequence,
    weight,
    number,
    options,
    place,
    body ?? content,
  ]);
  const state = deliveryState(sessionNumber, sequence, progress, packetId);
  return [sessionNumber, sequence, state, weight, number, options, place, checksum, body];
}

const NOT_APART = { number: null, checksum: null };

export interface KeptPlace {
  readonly row: QueuedRow;
  readonly weight: number;
  readonly message: MessageRow;
}

/** Columns in the order of `QUEUE_COLUMNS`; `find`: those of a message that has a row of its own. */
export function keptPlace(
  sessionNumber: number,
  columns: Columns,
  find: (messageNumber: number) => Columns | undefined,
): KeptPlace | null {
  const [sequence, state, weight, messageNumber, options, place, checksum, body] = columns as [
    number,
    number,
    number,
    number | null,
    number,
    string | null,
    number,
    Uint8Array | null,
  ];
  if (!isDeliveryState(sessionNumber, sequence, state)) return null;
  const apart = messageNumber === null ? undefined : find(messageNumber);
  const content = body ?? ((apart?.[0] ?? null) as Field);
  const fields = [sessionNumber, sequence, weight, messageNumber, options, place, content];
  if (rowChecksum(TableMark.Queue, fields) !== checksum) return null;
  const message = apart === undefined ? readable(body) : keptMessage(messageNumber!, apart);
  if (message === null) return null;
  const [sharedFilter, subscriptionIdentifiers] =
    place === null ? (["", null] as const) : (JSON.parse(place) as [string, number[] | null]);
  const row: QueuedRow = {
    sessionNumber,
    sequence,
    qos: (options & 3) as 0 | 1 | 2,
    retain: (options & 4) !== 0,
    subscriptionIdentifiers,
    sharedFilter,
    progress: progressOf(state) as DeliveryProgress,
    packetId: packetIdOf(state),
  };
  return { row, weight, message };
}

export function messageName(number: number, body: Uint8Array): MessageName {
  return { number, checksum: rowChecksum(TableMark.Message, [number, body]) };
}

function keptMessage(messageNumber: number, [checksum, body]: Columns): MessageRow | null {
  if (rowChecksum(TableMark.Message, [messageNumber, body as Field]) !== checksum) return null;
  return readable(body as Uint8Array);
}

export function referenceColumns(messageNumber: number, count: number): SQLQueryBindings[] {
  return sealed(TableMark.Reference, [messageNumber, count]);
}

/** How many places refer to a message; null: nobody knows. */
export function referenceCount(columns: Columns | undefined): number | null {
  // Most messages have one place, and no row that says so.
  if (columns === undefined) return 1;
  return isIntact(TableMark.Reference, columns) ? (columns[1] as number) : null;
}

export function inboundColumns(sessionNumber: number, packetId: number): SQLQueryBindings[] {
  return sealed(TableMark.Inbound, [sessionNumber, packetId]);
}

export function isInbound(columns: Columns): boolean {
  return isIntact(TableMark.Inbound, columns);
}

export function retainedColumns(topicName: Uint8Array, body: Uint8Array): SQLQueryBindings[] {
  return [topicName, rowChecksum(TableMark.Retained, [topicName, body]), body];
}

export function retainedMessage([topicName, checksum, body]: Columns): MessageRow | null {
  if (rowChecksum(TableMark.Retained, [topicName as Field, body as Field]) !== checksum) return null;
  return readable(body as Uint8Array);
}

export function willColumns(row: WillRow, body: Uint8Array): SQLQueryBindings[] {
  const { sessionNumber, delayInterval, messageExpiryInterval, dueAtMs } = row;
  const fields = [sessionNumber, delayInterval, messageExpiryInterval, dueAtMs];
  return [...fields, rowChecksum(TableMark.Will, [...fields, body]), body];
}

export interface KeptWill {
  readonly row: WillRow;
  readonly message: MessageRow;
  readonly body: Uint8Array;
}

export function keptWill(columns: Columns): KeptWill | null {
  const [sessionNumber, delayInterval, messageExpiryInterval, dueAtMs, checksum, body] = columns as [
    number,
    number,
    number,
    number,
    number,
    Uint8Array,
  ];
  const fields = [sessionNumber, delayInterval, messageExpiryInterval, dueAtMs, body];
  if (rowChecksum(TableMark.Will, fields) !== checksum) return null;
  const message = readable(body);
  return message === null
    ? null
    : { row: { sessionNumber, delayInterval, messageExpiryInterval, dueAtMs }, message, body };
}

/** Columns with their checksum behind them. */
function sealed(table: number, fields: Field[]): SQLQueryBindings[] {
  return [...fields, rowChecksum(table, fields)];
}

function isIntact(table: number, columns: Columns): boolean {
  return rowChecksum(table, columns.slice(0, -1) as Field[]) === columns.at(-1);
}

/** Its checksum fits, so it is a message: unless the checksum fits by chance. */
function readable(body: Uint8Array | null): MessageRow | null {
  if (body === null) return null;
  try {
    return readMessage(body);
  } catch {
    return null;
  }
}
