/**
 * What several batches of records come to together: the changes that are left for the disk when everything that they take
 * back themselves is gone.
 *
 * Invariant: writing these changes has the effect of applying the records one by one. A message that came and went within
 * the batches leaves nothing here. Messages are views over the batches, which therefore have to live until all is written.
 */
import { messageBytes } from "../../core/store/read-records.ts";
import type {
  DeliveryProgress,
  MessageRow,
  QueuedRow,
  RecordSink,
  SessionRow,
  SubscriptionRow,
  WillRow,
} from "../../core/store/store-record.ts";
import { WaitingCursor } from "./waiting-cursor.ts";

/** What has to be known of the store before the batches. */
export interface KeptState {
  hasSession(sessionNumber: number): boolean;
  hasPlace(sessionNumber: number, sequence: number): boolean;
  /** Sequences of messages of a session that wait (progress 0), from behind `afterSequence`, in order. */
  waiting(sessionNumber: number, afterSequence: number): readonly number[];
}

/** A message and the places that it has to be put at. */
export interface GatheredMessage {
  readonly bytes: Uint8Array;
  /** `ApplicationMessage.sizeBytes`. */
  readonly weight: number;
  places: number;
}

export interface GatheredPlace extends Progress {
  readonly row: QueuedRow;
  readonly message: GatheredMessage;
}

export interface Progress {
  progress: DeliveryProgress;
  packetId: number;
}

export interface GatheredWill {
  row: WillRow;
  readonly bytes: Uint8Array;
}

/** What becomes of one session. Maps are made when first needed: most sessions see one kind of change. */
export class SessionChange {
  readonly sessionNumber: number;
  isLive = true;
  /** What the store has of it has to go before anything else is written. */
  isWiped = false;
  /** The whole row. */
  row: SessionRow | null = null;
  /** What changes of the row that the store has. */
  away: Pick<SessionRow, "expiryInterval" | "expiresAtMs"> | null = null;
  subscriptions: Map<string, SubscriptionRow | null> | null = null;
  /** In the order of `sequence`. */
  puts: Map<number, GatheredPlace> | null = null;
  /** Of places that the store has. */
  progressed: Map<number, Progress> | null = null;
  deleted: Set<number> | null = null;
  inbound: Map<number, boolean> | null = null;
  will: GatheredWill | null | undefined = undefined;
  /** Of the will that the store has. */
  willDueMs: number | undefined = undefined;
  /** Over the places that the store has. */
  waiting: WaitingCursor | null = null;

  constructor(sessionNumber: number) {
    this.sessionNumber = sessionNumber;
  }

  get isEmpty(): boolean {
    const count = (of: { readonly size: number } | null): number => of?.size ?? 0;
    const rows = count(this.subscriptions) + count(this.puts) + count(this.progressed) + count(this.deleted);
    const hasWill = this.will !== undefined || this.willDueMs !== undefined;
    return rows + count(this.inbound) === 0 && !this.isWiped && this.row === null && this.away === null && !hasWill;
  }
}

export class GatheredChanges implements RecordSink {
  readonly sessions = new Map<number, SessionChange>();
  /** By topic; null: none any more. */
  readonly retained = new Map<string, { readonly topicName: Uint8Array; readonly bytes: Uint8Array | null }>();
  /** Of the last batch. */
  brokerMs = 0;
  readonly #kept: KeptState;
  /** Of the batch that is being read. */
  readonly #shared = new Map<number, GatheredMessage>();

  constructor(kept: KeptState) {
    this.#kept = kept;
  }

  get isEmpty(): boolean {
    if (this.retained.size > 0) return false;
    for (const change of this.sessions.values()) if (!change.isEmpty) return false;
    return true;
  }

  time(nowMs: number): void {
    this.#shared.clear();
    this.brokerMs = nowMs;
  }

  sessionPut(row: SessionRow): void {
    const change = this.#change(row.sessionNumber) ?? this.#begun(row.sessionNumber);
    change.isLive = true;
    change.row = row;
    change.away = null;
  }

  sessionAway(sessionNumber: number, expiryInterval: number, expiresAtMs: number): void {
    const change = this.#change(sessionNumber);
    if (change === null) return;
    if (change.row === null) change.away = { expiryInterval, expiresAtMs };
    else change.row = { ...change.row, expiryInterval, expiresAtMs, isConnected: false };
  }

  sessionDelete(sessionNumber: number): void {
    const change = this.#change(sessionNumber);
    if (change === null) return;
    for (const { message } of change.puts?.values() ?? []) message.places--;
    const gone = new SessionChange(sessionNumber);
    gone.isLive = false;
    gone.isWiped = this.#kept.hasSession(sessionNumber);
    this.sessions.set(sessionNumber, gone);
  }

  subscriptionPut(row: SubscriptionRow): void {
    const change = this.#change(row.sessionNumber);
    if (change !== null) (change.subscriptions ??= new Map()).set(row.filter, row);
  }

  subscriptionDelete(sessionNumber: number, filter: string): void {
    const change = this.#change(sessionNumber);
    if (change !== null) (change.subscriptions ??= new Map()).set(filter, null);
  }

  queuePut(row: QueuedRow, message: MessageRow): void {
    this.#put(row, gathered(message));
  }

  messagePut(messageNumber: number, message: MessageRow): void {
    this.#shared.set(messageNumber, gathered(message));
  }

  queueRef(row: QueuedRow, messageNumber: number): void {
    const message = this.#shared.get(messageNumber);
    if (message !== undefined) this.#put(row, message);
  }

  queueProgress(sessionNumber: number, sequence: number, progress: DeliveryProgress, packetId: number): void {
    const change = this.#change(sessionNumber);
    if (change === null) return;
    const put = change.puts?.get(sequence);
    // Unless it has come anew since.
    if (put === undefined && change.deleted?.has(sequence) === true) return;
    const place = put ?? change.progressed?.get(sequence);
    if (place === undefined) (change.progressed ??= new Map()).set(sequence, { progress, packetId });
    else {
      place.progress = progress;
      place.packetId = packetId;
    }
  }

  queueDelete(sessionNumber: number, sequence: number): void {
    const change = this.#change(sessionNumber);
    if (change !== null) remove(change, sequence);
  }

  queueDropOldest(sessionNumber: number, afterSequence: number): void {
    const change = this.#change(sessionNumber);
    if (change === null) return;
    const isInStore = !change.isWiped && this.#kept.hasSession(sessionNumber);
    if (isInStore) change.waiting ??= new WaitingCursor(this.#kept, sessionNumber);
    const kept = change.waiting?.oldest(change, afterSequence) ?? Infinity;
    const sequence = Math.min(kept, oldestPut(change, afterSequence));
    if (sequence !== Infinity) remove(change, sequence);
  }

  queueTail(): void {}

  inboundPut(sessionNumber: number, packetId: number): void {
    const change = this.#change(sessionNumber);
    if (change !== null) (change.inbound ??= new Map()).set(packetId, true);
  }

  inboundDelete(sessionNumber: number, packetId: number): void {
    const change = this.#change(sessionNumber);
    if (change !== null) (change.inbound ??= new Map()).set(packetId, false);
  }

  retainedPut(message: MessageRow): void {
    const { topicName } = message;
    this.retained.set(nameOf(topicName), { topicName, bytes: messageBytes(message) });
  }

  retainedDelete(topicName: Uint8Array): void {
    this.retained.set(nameOf(topicName), { topicName, bytes: null });
  }

  willPut(row: WillRow, message: MessageRow): void {
    const change = this.#change(row.sessionNumber);
    if (change !== null) change.will = { row, bytes: messageBytes(message) };
  }

  willDue(sessionNumber: number, dueAtMs: number): void {
    const change = this.#change(sessionNumber);
    if (change === null || change.will === null) return;
    if (change.will === undefined) change.willDueMs = dueAtMs;
    else change.will.row = { ...change.will.row, dueAtMs };
  }

  willDelete(sessionNumber: number): void {
    const change = this.#change(sessionNumber);
    if (change !== null) change.will = null;
  }

  #put(row: QueuedRow, message: GatheredMessage): void {
    const change = this.#change(row.sessionNumber);
    if (change === null) return;
    message.places++;
    const { progress, packetId } = row;
    (change.puts ??= new Map()).set(row.sequence, { row, message, progress, packetId });
  }

  /** What becomes of a session that is there; null: it is not, and records of it are nothing. */
  #change(sessionNumber: number): SessionChange | null {
    const change = this.sessions.get(sessionNumber);
    if (change !== undefined) return change.isLive ? change : null;
    return this.#kept.hasSession(sessionNumber) ? this.#begun(sessionNumber) : null;
  }

  #begun(sessionNumber: number): SessionChange {
    const known = this.sessions.get(sessionNumber);
    if (known !== undefined) return known;
    const change = new SessionChange(sessionNumber);
    this.sessions.set(sessionNumber, change);
    return change;
  }
}

function gathered(message: MessageRow): GatheredMessage {
  const { topicName, properties, payload } = message;
  const weight = topicName.length + properties.length + payload.length;
  return { bytes: messageBytes(message), weight, places: 0 };
}

function remove(change: SessionChange, sequence: number): void {
  const put = change.puts?.get(sequence);
  if (put !== undefined) {
    put.message.places--;
    change.puts!.delete(sequence);
    return;
  }
  change.progressed?.delete(sequence);
  (change.deleted ??= new Set()).add(sequence);
}

function oldestPut(change: SessionChange, afterSequence: number): number {
  for (const [sequence, { progress }] of change.puts ?? []) {
    if (progress === 0 && sequence > afterSequence) return sequence;
  }
  return Infinity;
}

/** One character for each byte: a name for a map, one to one. */
function nameOf(topicName: Uint8Array): string {
  return Buffer.from(topicName.buffer, topicName.byteOffset, topicName.length).toString("latin1");
}
