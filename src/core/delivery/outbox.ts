/**
 * Where packets wait for the end of the turn: one write per connection per turn, never one per packet.
 *
 * A connection borrows a Writer from its first packet of a turn to the flush; a silent connection has none. A Writer that
 * grew large is not kept. What the transport cannot pass on stays with it and counts as the connection's backlog.
 */
import type { ApplicationMessage } from "../application-message.ts";
import { ReasonCode } from "../codec/reason-code.ts";
import { Writer } from "../codec/writer.ts";
import type { Connection, Withheld } from "../connection/connection.ts";
import type { Limits } from "../limits.ts";
import type { Journal } from "../session/journal.ts";
import type { Statistics } from "../statistics.ts";

/** Written early once a turn has gathered this much for one connection, or what its high water mark allows. */
const FLUSH_BYTES_MAX = 64 * 1024;
const WRITER_BYTES_FIRST = 4 * 1024;
/** Larger ones are left to the collector. */
const WRITER_BYTES_KEPT_MAX = 256 * 1024;
/** Capacity of all writers kept for the next turn. */
const FREE_BYTES_MAX = 16 * 1024 * 1024;
/** What waits for one ticket is put together up to this size, or a feed of small messages would cost an object each. */
const WITHHELD_BYTES_TOGETHER = 16 * 1024;
const NO_BYTES = new Uint8Array(0);

export class Outboxes {
  readonly #limits: Limits;
  readonly #statistics: Statistics;
  readonly #flushBytes: number;
  readonly #free: Writer[] = [];
  #freeBytes = 0;
  #waiting: Connection[] = [];
  readonly #journal: Journal;
  /** Connections with output that waits for the store. */
  readonly #withholding = new Set<Connection>();
  /** Whose packet is being handled. */
  #speaker: Connection | null = null;
  /** The journal's changes that it waits for already, or that were there before. */
  #changes = 0;

  constructor(limits: Limits, statistics: Statistics, journal: Journal) {
    this.#limits = limits;
    this.#journal = journal;
    this.#statistics = statistics;
    this.#flushBytes = Math.min(FLUSH_BYTES_MAX, limits.outboundHighWaterBytes);
  }

  /** Where the next packet for a connection is to be written. */
  writer(connection: Connection): Writer {
    const { outbox } = connection;
    if (outbox !== null) return outbox;
    this.#waiting.push(connection);
    return (connection.outbox = this.#borrow());
  }

  /** A PUBLISH was written: what is enough for one write does not wait, or many large messages would be held at once. */
  wrote(connection: Connection, outbox: Writer): void {
    if (outbox.length >= this.#flushBytes) this.#send(connection, outbox);
  }

  /** Sends what was written and, behind it, the payload of an owned message without copying it. */
  sendPayload(connection: Connection, { payload, payloadStart, payloadEnd }: ApplicationMessage): void {
    this.#send(connection, this.writer(connection), payload.subarray(payloadStart, payloadEnd));
  }

  #borrow(): Writer {
    const writer = this.#free.pop();
    if (writer === undefined) return new Writer(WRITER_BYTES_FIRST);
    this.#freeBytes -= writer.bytes.length;
    return writer;
  }

  #giveBack(writer: Writer): void {
    const capacity = writer.bytes.length;
    if (capacity > WRITER_BYTES_KEPT_MAX || this.#freeBytes + capacity > FREE_BYTES_MAX) return;
    this.#free.push(writer);
    this.#freeBytes += capacity;
  }

  /** Has the transport of a connection closed at the end of the turn, after its packets. */
  closeAfterFlush(connection: Connection, reasonCode: number): void {
    connection.closeReason = reasonCode;
    if (connection.outbox === null) this.writer(connection);
  }

  /** Ends the turn: writes every connection once. */
  flush(): void {
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const connection of waiting) this.#flushOne(connection);
    }
  }

  #flushOne(connection: Connection): void {
    const outbox = connection.outbox!;
    connection.outbox = null;
    if (outbox.length > 0) this.#send(connection, outbox);
    this.#giveBack(outbox);
    if (connection.closeReason !== -1) {
      const reasonCode = connection.closeReason;
      connection.closeReason = -1;
      if (this.#mustWait(connection)) this.#withhold(connection, NO_BYTES, false, reasonCode);
      else this.#close(connection, reasonCode);
    }
  }

  /** Packets of this connection are handled from here on: it waits for what they change. */
  begin(connection: Connection): void {
    this.#speaker = connection;
    this.#changes = this.#journal.changes;
  }

  /** A packet was handled, or a part of its answer leaves early: what it has changed is waited for from here on. */
  handled(): void {
    const { changes } = this.#journal;
    if (changes === this.#changes || this.#speaker === null) return;
    this.#changes = changes;
    this.hold(this.#speaker);
  }

  /** All its packets were handled. */
  end(): void {
    this.handled();
    this.#speaker = null;
  }

  /** What the connection is told from now on waits for this turn's records: it speaks of them. */
  hold(connection: Connection): void {
    if (connection.durability === "memory") return;
    connection.awaitedTicket = this.#journal.ticket;
    this.#journal.demand(connection.durability);
  }

  /** Whether what the connection is told now waits for the store. */
  holdsBack(connection: Connection): boolean {
    if (connection === this.#speaker) this.handled();
    return this.#mustWait(connection);
  }

  /** The store has got further: sends what waited for it. Answers the connections that can go on, as after a drain. */
  release(): Connection[] {
    const relieved: Connection[] = [];
    for (const connection of this.#withholding) {
      this.#releaseOne(connection);
      if (connection.withheld === null) this.#withholding.delete(connection);
      const isLow = connection.backlogBytes + connection.withheldBytes <= this.#limits.outboundLowWaterBytes;
      if (connection.congested && isLow) relieved.push(connection);
    }
    return relieved;
  }

  /** The connection is gone: nobody waits for what was withheld from it. */
  forget(connection: Connection): void {
    if (!this.#withholding.delete(connection)) return;
    connection.withheld = null;
    connection.withheldBytes = 0;
  }

  #mustWait(connection: Connection): boolean {
    return connection.withheld !== null || connection.awaitedTicket > this.#journal.committedTicket;
  }

  #withhold(connection: Connection, bytes: Uint8Array, lasting: boolean, closeReason: number): void {
    const { withheld, awaitedTicket: ticket } = connection;
    const { length } = bytes;
    connection.withheldBytes += length;
    this.#withholding.add(connection);
    const last = withheld?.[withheld.length - 1];
    const isMore = last !== undefined && last.ticket === ticket && last.closeReason === -1 && !last.lasting;
    if (isMore && !lasting && closeReason === -1 && last.length + length <= WITHHELD_BYTES_TOGETHER) {
      append(last, bytes);
      return;
    }
    const entry = { ticket, bytes: lasting ? bytes : bytes.slice(), length, lasting, closeReason };
    if (withheld === null) connection.withheld = [entry];
    else withheld.push(entry);
  }

  /** Sends what need not wait any longer. */
  #releaseOne(connection: Connection): void {
    const withheld = connection.withheld ?? [];
    const isDue = ({ ticket }: Withheld): boolean => ticket <= this.#journal.committedTicket;
    let count = 0;
    for (; count < withheld.length && isDue(withheld[count]!); count++) {
      const { bytes, length, closeReason } = withheld[count]!;
      connection.withheldBytes -= length;
      // Nobody else has them: they may be kept as they are.
      if (length > 0) this.#give(connection, bytes.subarray(0, length), true);
      if (closeReason !== -1) this.#close(connection, closeReason);
    }
    connection.withheld = count === withheld.length ? null : withheld.slice(count);
    // A transport that failed is closed at the end of the turn.
    if (connection.closeReason !== -1) this.writer(connection);
  }

  #close(connection: Connection, reasonCode: number): void {
    try {
      connection.wire.close(reasonCode);
    } catch {
      // As below: its transport is broken, nobody else's is.
    }
  }

  #send(connection: Connection, outbox: Writer, payload: Uint8Array = NO_BYTES): void {
    this.#statistics.bytesSent += outbox.length + payload.length;
    if (connection === this.#speaker) this.handled();
    if (this.#mustWait(connection)) {
      this.#withhold(connection, outbox.view(), false, -1);
      if (payload.length > 0) this.#withhold(connection, payload, true, -1);
      this.#note(connection, connection.withheldBytes);
    } else {
      this.#give(connection, outbox.view(), false, payload);
    }
    outbox.clear();
  }

  /** A wire must not throw; one that does all the same harms neither whoever publishes nor the other receivers. */
  #give(connection: Connection, bytes: Uint8Array, lasting: boolean, payload: Uint8Array = NO_BYTES): void {
    const { wire } = connection;
    try {
      if (payload.length === 0) connection.backlogBytes = wire.send(bytes, lasting);
      else if (wire.sendWithPayload !== undefined) connection.backlogBytes = wire.sendWithPayload(bytes, payload);
      else {
        wire.send(bytes, lasting);
        connection.backlogBytes = wire.send(payload, true);
      }
      this.#note(connection, connection.backlogBytes);
    } catch {
      connection.backlogBytes = Number.POSITIVE_INFINITY;
      connection.congested = true;
      connection.closeReason = ReasonCode.UnspecifiedError;
    }
  }

  #note(connection: Connection, backlog: number): void {
    if (backlog < this.#limits.outboundHighWaterBytes || connection.congested) return;
    connection.congested = true;
    // Whoever does not read must not go on making the broker answer: acknowledgements would pile up.
    connection.wire.pause();
  }
}

function append(entry: Withheld, bytes: Uint8Array): void {
  const length = entry.length + bytes.length;
  if (length > entry.bytes.length) {
    const grown = new Uint8Array(Math.max(length, Math.min(length * 2, WITHHELD_BYTES_TOGETHER)));
    grown.set(entry.bytes.subarray(0, entry.length));
    entry.bytes = grown;
  }
  entry.bytes.set(bytes, entry.length);
  entry.length = length;
}
