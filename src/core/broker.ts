/**
 * The broker: a synchronous state machine without a platform (MQTT 5.0, 3.1.1 and 3.1).
 *
 * Inputs are the methods below, outputs go to the ports it was given. Contract with the host:
 *   - one input at a time; a port never calls back during a call;
 *   - bytes given to `receive` may be reused, and their memory taken away, once it has returned;
 *   - `settle` ends a turn: nothing is written to a wire before it, apart from what a very full turn writes early;
 *   - `tick` is called when the moment that `settle` answered has come.
 * No input throws: a peer's mistake ends that peer's connection, a bug of ours ends it too and is logged.
 */

import { type ClientReport, reportClient } from "./client-report.ts";
import { Framer } from "./codec/framer.ts";
import { PACKET_TYPE_NAMES, PacketType } from "./codec/packet-type.ts";
import { malformed, PeerError, protocolError } from "./codec/peer-error.ts";
import { ReasonCode } from "./codec/reason-code.ts";
import { Connection, ConnectionState } from "./connection/connection.ts";
import type { Principal, Verdict } from "./gate/provider.ts";
import { sayGoodbye } from "./handle/answer.ts";
import { handleAuth } from "./handle/auth.ts";
import { endConnection } from "./handle/closed.ts";
import { handleConnect } from "./handle/connect.ts";
import { handleDisconnect } from "./handle/disconnect.ts";
import { handleSomeDue } from "./handle/due.ts";
import { failConnection, reportBug } from "./handle/failure.ts";
import { admitNewcomer } from "./handle/newcomer.ts";
import { handlePingreq } from "./handle/pingreq.ts";
import { finishQos1, handlePuback } from "./handle/puback.ts";
import { handlePubcomp } from "./handle/pubcomp.ts";
import { handlePublish } from "./handle/publish.ts";
import { handlePubrec } from "./handle/pubrec.ts";
import { handlePubrel } from "./handle/pubrel.ts";
import { type Judgement, type Rejudged, rejudge, type SessionPrincipal, sessionPrincipals } from "./handle/rejudge.ts";
import { dropPrincipals } from "./handle/revoke.ts";
import { awaitStore, Restoration, takeCommitted } from "./handle/stored.ts";
import { handleSubscribe } from "./handle/subscribe.ts";
import { publishStatistics } from "./handle/sys.ts";
import { handleUnsubscribe } from "./handle/unsubscribe.ts";
import { takeVerdict } from "./handle/verdict.ts";
import type { BrokerConfig } from "./limits.ts";
import type { Ports, Wire } from "./ports.ts";
import type { Session } from "./session/session.ts";
import { BrokerState } from "./state.ts";
import type { Statistics } from "./statistics.ts";

/** Held input at which a client that waits for its verdict is no longer read from. */
const HELD_BYTES_PAUSE = 16 * 1024;
/** Of those who waited for one batch: the CONNACK of a thousand clients that come back at once is in it. */
const RELIEVED_AT_ONCE = 8;
const CONNECT_FIRST_BYTE = PacketType.CONNECT << 4;

export class Broker {
  readonly #state: BrokerState;
  /** Whose output has left the store behind: they go on, some in each turn. */
  #relieved: Connection[] = [];

  constructor(config: BrokerConfig, ports: Ports, nowMs: number) {
    this.#state = new BrokerState(config, ports, nowMs);
    if (config.sysIntervalMs > 0) publishStatistics(this.#state);
  }

  get statistics(): Statistics {
    return this.#state.statistics;
  }

  /** Network Connections open now. */
  get connectionCount(): number {
    return this.#state.connections.size;
  }

  /** Those of them that have not been let in. */
  get unauthenticatedCount(): number {
    return this.#state.unauthenticated;
  }

  get sessionCount(): number {
    return this.#state.sessions.size;
  }

  /** What is known of a client; undefined where there is no session of this name. */
  report(clientId: string): ClientReport | undefined {
    const session = this.#state.sessions.get(clientId);
    return session === undefined ? undefined : reportClient(session);
  }

  /** A Network Connection was accepted. One too many is closed at the end of the turn. */
  open(wire: Wire, nowMs: number): Connection {
    const state = this.#state;
    state.nowMs = nowMs;
    const connection = new Connection(wire, new Framer(state.config.limits.connectBytesMax), nowMs);
    connection.durability = wire.durability ?? state.config.durability;
    admitNewcomer(state, connection);
    return connection;
  }

  /** Bytes arrived on a connection. */
  receive(connection: Connection, bytes: Uint8Array, nowMs: number): void {
    const state = this.#state;
    state.nowMs = nowMs;
    if (connection.state === ConnectionState.Closed || bytes.length === 0) return;
    // A runtime's own kind of byte array may have a `slice` that does not copy.
    if (bytes.constructor !== Uint8Array) bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    state.statistics.bytesReceived += bytes.length;
    try {
      if (connection.state === ConnectionState.AwaitVerdict) this.#hold(connection, bytes.slice(), false);
      else this.#run(connection, bytes);
    } catch (error) {
      failConnection(this.#state, connection, error);
    }
    state.outboxes.end();
  }

  /** The peer has taken bytes that the transport held for it; `backlogBytes` are left. */
  drained(connection: Connection, backlogBytes: number, nowMs: number): void {
    const state = this.#state;
    state.nowMs = nowMs;
    connection.backlogBytes = backlogBytes;
    if (!connection.congested) return;
    // Its input is paused, PINGREQ with it: a slow reader that reads is alive.
    connection.lastReceivedMs = nowMs;
    if (backlogBytes + connection.withheldBytes > state.config.limits.outboundLowWaterBytes) return;
    connection.congested = false;
    const isPaused = connection.state === ConnectionState.AwaitVerdict || state.awaitingStore.has(connection);
    if (!isPaused) connection.wire.resume();
    if (connection.session !== null) this.#pump(connection.session);
  }

  #pump(session: Session): void {
    const { connection } = session;
    if (connection === null) return;
    try {
      this.#state.outbound.pump(session, this.#state.nowMs);
    } catch (error) {
      failConnection(this.#state, connection, error);
    }
  }

  /** The Network Connection is gone, whoever closed it. */
  closed(connection: Connection, nowMs: number): void {
    const state = this.#state;
    state.nowMs = nowMs;
    state.connections.delete(connection);
    state.awaitingStore.delete(connection);
    state.outboxes.forget(connection);
    try {
      endConnection(state, connection, true);
    } catch (error) {
      reportBug(this.#state, connection, error);
    }
  }

  /** The authority's answer to a request that it did not answer at once. */
  verdict(requestId: number, verdict: Verdict, nowMs: number): void {
    const state = this.#state;
    state.nowMs = nowMs;
    const waiting = state.awaitingVerdict.get(requestId);
    if (waiting === undefined) return;
    state.outboxes.begin(waiting);
    try {
      takeVerdict(state, requestId, verdict);
      state.outboxes.handled();
      this.#release(waiting);
    } catch (error) {
      failConnection(this.#state, waiting, error);
    }
    state.outboxes.end();
  }

  /** What the store gives back at the start goes into this, before any other input; then `finish`. */
  restore(): Restoration {
    return new Restoration(this.#state);
  }

  /** The store has this batch, and all before it. */
  committed(ticket: number, nowMs: number): void {
    this.#state.nowMs = nowMs;
    this.#relieved = this.#relieved.concat(takeCommitted(this.#state, ticket));
    this.#relieve(nowMs);
  }

  #relieve(nowMs: number): void {
    for (const connection of this.#relieved.splice(0, RELIEVED_AT_ONCE)) {
      if (connection.state !== ConnectionState.Closed) this.drained(connection, connection.backlogBytes, nowMs);
    }
  }

  /** The store has read what was asked for. */
  paged(request: number, records: Uint8Array, nowMs: number): void {
    this.#state.nowMs = nowMs;
    const session = this.#state.outbound.tails.take(request, records, nowMs);
    if (session !== undefined) this.#pump(session);
  }

  /** Whether the disk has no room for more: what would have to be stored is refused with 0x97, all else goes on. */
  storeSpace(isFull: boolean, nowMs: number): void {
    this.#state.nowMs = nowMs;
    this.#state.journal.isFull = isFull;
  }

  /**
   * Ends the connections of the principals that `where` picks, with 0x87; answers how many. `revoke`: their rights are gone
   * at once, so that no Will is published and sessions that are away neither deliver nor publish until somebody is let in
   * to them again.
   */
  drop(
    where: (principal: Principal, clientId: string) => boolean,
    why: string,
    revoke: boolean,
    nowMs: number,
  ): number {
    const state = this.#state;
    state.nowMs = nowMs;
    return dropPrincipals(state, where, why, revoke);
  }

  /** Whoever has rights to a session, there or away. May be read bit by bit, while sessions come and go. */
  principals(): Iterable<SessionPrincipal> {
    return sessionPrincipals(this.#state);
  }

  /** The authority's new judgement of the principal `asked`; of no effect once the session is somebody else's. */
  rejudge(clientId: string, asked: Principal, judgement: Judgement, nowMs: number): Rejudged {
    this.#state.nowMs = nowMs;
    return rejudge(this.#state, clientId, asked, judgement);
  }

  /** Time has passed: what is due is done, a part of it at a time. */
  tick(nowMs: number): void {
    const state = this.#state;
    state.nowMs = nowMs;
    for (const session of state.outbound.takeUnfinished()) this.#pump(session);
    this.#relieve(nowMs);
    handleSomeDue(state);
  }

  /** Ends a turn: every connection is written to once. Answers when `tick` is next needed; Infinity: not at all. */
  settle(nowMs: number): number {
    const state = this.#state;
    state.nowMs = nowMs;
    // The store begins before the sockets are written to.
    state.journal.endTurn();
    state.outboxes.flush();
    // A search that was put down goes on in the next turn, which may come at once.
    return state.outbound.endTurn() || this.#relieved.length > 0 ? nowMs : state.deadlines.nextAtMs;
  }

  /** Says goodbye to everybody and lets nobody in any more. Sessions stay; Wills are published as at any other close. */
  stop(nowMs: number): void {
    const state = this.#state;
    state.nowMs = nowMs;
    state.stopping = true;
    for (const connection of state.connections) {
      if (connection.state === ConnectionState.Closed) continue;
      sayGoodbye(state, connection);
      endConnection(state, connection, true);
    }
  }

  /** Runs the packets in `bytes` through their handlers, until there are no more or the connection has to wait. */
  #run(connection: Connection, bytes: Uint8Array): void {
    const state = this.#state;
    const { framer } = connection;
    if (
      connection.state === ConnectionState.AwaitConnect &&
      framer.heldBytes === 0 &&
      bytes[0] !== CONNECT_FIRST_BYTE
    ) {
      throw protocolError("MQTT-3.1.0-1", `first byte 0x${bytes[0]!.toString(16)}, expected CONNECT`);
    }
    framer.feed(bytes);
    let packets = 0;
    const { journal, outboxes } = state;
    const { changes } = journal;
    outboxes.begin(connection);
    while (framer.next()) {
      packets++;
      this.#dispatch(connection);
      // What it is told about this packet waits for what the packet has changed.
      outboxes.handled();
      if (connection.state === ConnectionState.Closed) break;
      if (connection.state === ConnectionState.AwaitVerdict) {
        this.#hold(connection, framer.takeUnread(), true);
        break;
      }
    }
    framer.release();
    if (journal.changes !== changes) awaitStore(state, connection);
    if (packets === 0) return;
    state.statistics.packetsReceived += packets;
    connection.lastReceivedMs = state.nowMs;
  }

  #dispatch(connection: Connection): void {
    const state = this.#state;
    const { bytes, packetStart, bodyStart, bodyEnd } = connection.framer;
    const firstByte = bytes[packetStart]!;
    const type = firstByte >> 4;
    if (connection.state !== ConnectionState.Connected) {
      this.#dispatchUnauthenticated(connection, firstByte);
      return;
    }
    if (type === PacketType.PUBLISH) {
      handlePublish(state, connection, firstByte, bytes, bodyStart, bodyEnd);
      return;
    }
    if (firstByte === PacketType.PUBACK << 4 && bodyEnd - bodyStart === 2) {
      const packetId = (bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!;
      if (packetId !== 0) {
        finishQos1(state, connection, packetId);
        return;
      }
    }
    const { reader } = state;
    reader.bind(bytes, bodyStart, bodyEnd);
    const flags = firstByte & 0x0f;
    switch (type) {
      case PacketType.PUBACK:
        return handlePuback(state, connection, reader, flags);
      case PacketType.PUBREC:
        return handlePubrec(state, connection, reader, flags);
      case PacketType.PUBREL:
        return handlePubrel(state, connection, reader, flags);
      case PacketType.PUBCOMP:
        return handlePubcomp(state, connection, reader, flags);
      case PacketType.SUBSCRIBE:
        return handleSubscribe(state, connection, reader, flags);
      case PacketType.UNSUBSCRIBE:
        return handleUnsubscribe(state, connection, reader, flags);
      case PacketType.PINGREQ:
        return handlePingreq(state, connection, reader, flags);
      case PacketType.DISCONNECT:
        return handleDisconnect(state, connection, reader, flags);
      case PacketType.AUTH:
        return handleAuth(state, connection, reader, flags);
      case PacketType.CONNECT:
        return handleConnect(state, connection, reader, flags);
      case 0:
        throw malformed("2.1.2", "Control Packet type 0");
      default:
        throw protocolError("4.13.1", `${PACKET_TYPE_NAMES[type]} is not for a client to send`);
    }
  }

  /** Before CONNACK only CONNECT may come, and AUTH or DISCONNECT in the middle of an exchange [MQTT-3.1.2-30]. */
  #dispatchUnauthenticated(connection: Connection, firstByte: number): void {
    const state = this.#state;
    const { bytes, bodyStart, bodyEnd } = connection.framer;
    const { reader } = state;
    const type = firstByte >> 4;
    reader.bind(bytes, bodyStart, bodyEnd);
    if (connection.state === ConnectionState.AwaitConnect) {
      if (type !== PacketType.CONNECT) {
        throw protocolError("MQTT-3.1.0-1", `${PACKET_TYPE_NAMES[type]} before CONNECT`);
      }
      handleConnect(state, connection, reader, firstByte & 0x0f);
    } else if (type === PacketType.AUTH) {
      handleAuth(state, connection, reader, firstByte & 0x0f);
    } else if (type === PacketType.DISCONNECT) {
      state.outboxes.closeAfterFlush(connection, ReasonCode.Success);
      endConnection(state, connection, false);
    } else {
      throw protocolError("MQTT-3.1.2-30", `${PACKET_TYPE_NAMES[type]} in the middle of authentication`);
    }
  }

  /** Keeps input until the verdict: behind what is held, or in front where it was read off already. */
  #hold(connection: Connection, bytes: Uint8Array, inFront: boolean): void {
    if (bytes.length === 0) return;
    const { heldInputBytesMax } = this.#state.config.limits;
    if (connection.heldBytes + bytes.length > heldInputBytesMax) {
      throw new PeerError(ReasonCode.QuotaExceeded, "3.1.4", `more than ${heldInputBytesMax} bytes before CONNACK`);
    }
    connection.held ??= [];
    if (inFront) connection.held.unshift(bytes);
    else connection.held.push(bytes);
    connection.heldBytes += bytes.length;
    // Reading goes on up to here, so that a client that hangs up is noticed.
    if (connection.heldBytes >= Math.min(HELD_BYTES_PAUSE, heldInputBytesMax / 2)) connection.wire.pause();
  }

  /** Goes on with the input that waited for a verdict. */
  #release(connection: Connection): void {
    while (connection.held !== null && !isWaiting(connection)) {
      const chunks = connection.held;
      const chunk = chunks.shift()!;
      connection.heldBytes -= chunk.length;
      if (chunks.length === 0) connection.held = null;
      this.#run(connection, chunk);
    }
    if (isWaiting(connection) || connection.congested || this.#state.awaitingStore.has(connection)) return;
    connection.wire.resume();
  }
}

function isWaiting(connection: Connection): boolean {
  return connection.state === ConnectionState.AwaitVerdict || connection.state === ConnectionState.Closed;
}
