/**
 * One Network Connection (MQTT 5.0 sections 3.1, 4.2, 4.12).
 *
 * Two rules: nothing but CONNECT opens it, and once closed it says nothing. The states and who moves them:
 *
 *   state           | CONNECT          | AUTH                    | verdict                       | anything else
 *   ----------------|------------------|-------------------------|-------------------------------|---------------
 *   AwaitConnect    | -> AwaitVerdict  | closed                  | -                             | closed
 *   AwaitVerdict    | (held)           | (held)                  | accept -> Connected           | (held)
 *                   |                  |                         | continue -> AwaitAuth         |
 *                   |                  |                         | refuse -> Closed              |
 *   AwaitAuth       | closed           | 0x18 -> AwaitVerdict    | -                             | closed
 *   Connected       | 0x82             | 0x19 -> exchange begins | (re-authentication) continue, | handled
 *                   |                  | 0x18 -> exchange goes on| accept: stay; refuse -> Closed|
 *   Closed          | ignored          | ignored                 | ignored                       | ignored
 *
 * "Held" bytes wait in order, bounded, while the socket is paused. A re-authentication holds nothing: other packets go on.
 */

import type { Connect } from "../codec/connect.ts";
import type { Framer } from "../codec/framer.ts";
import type { ProtocolLevel } from "../codec/packet.ts";
import type { Writer } from "../codec/writer.ts";
import { Deadline } from "../deadlines.ts";
import type { Exchange } from "../gate/exchange.ts";
import type { Principal } from "../gate/provider.ts";
import type { Wire } from "../ports.ts";
import type { Topic } from "../router/topic-table.ts";
import type { Session } from "../session/session.ts";
import type { Durability } from "../store/store-engine.ts";
import type { InboundAliases, OutboundAliases } from "./topic-alias.ts";

export const ConnectionState = { AwaitConnect: 0, AwaitVerdict: 1, AwaitAuth: 2, Connected: 3, Closed: 4 } as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** Bytes that leave, or a close that happens, when the store has what they speak of. */
export interface Withheld {
  readonly ticket: number;
  /** More room than is used, where more came for the same ticket. */
  bytes: Uint8Array;
  length: number;
  /** They are a message's own: nobody changes them any more. */
  readonly lasting: boolean;
  /** -1: the connection stays. */
  readonly closeReason: number;
}

export class Connection {
  readonly wire: Wire;
  readonly framer: Framer;
  /** Connect deadline first, keep alive afterwards. */
  readonly deadline: Deadline<Connection>;
  state: ConnectionState = ConnectionState.AwaitConnect;
  protocolLevel: ProtocolLevel = 4;
  /** Whether the client's level was read, so that it can be answered. */
  levelKnown = false;
  session: Session | null = null;
  /** Set from CONNECT until the client is accepted. */
  connect: Connect | null = null;
  principal: Principal | null = null;
  principalDeadline: Deadline<Connection> | null = null;
  exchange: Exchange | null = null;
  /** Authentication Method of CONNECT, for the life of the connection. */
  authenticationMethod: string | undefined = undefined;
  /** Chunks that arrived while a verdict was awaited. */
  held: Uint8Array[] | null = null;
  heldBytes = 0;
  /** 1.5 times the Keep Alive [MQTT-3.1.2-22]; 0: none. */
  keepAliveMs = 0;
  lastReceivedMs = 0;
  /** Unacknowledged QoS 1 and 2 PUBLISH packets the client takes (its Receive Maximum, our own bound applied). */
  sendQuota = 65_535;
  /** The client's Maximum Packet Size. */
  packetBytesMax = Number.POSITIVE_INFINITY;
  inboundAliases: InboundAliases<Topic> | null = null;
  outboundAliases: OutboundAliases | null = null;
  /** Request Problem Information [MQTT-3.1.2-29]. */
  wantsProblemInformation = true;
  /** Packets of this turn; lent by the outboxes while there are any. */
  outbox: Writer | null = null;
  /** What the client's acknowledgements promise. */
  durability: Durability = "memory";
  /** What is written from now on waits until the store has this ticket. */
  awaitedTicket = 0;
  /** Output that waits for the store, oldest first. */
  withheld: Withheld[] | null = null;
  withheldBytes = 0;
  /** What the transport held for the peer when it was last heard of. */
  backlogBytes = 0;
  /** Set from the high water mark down to the low one. */
  congested = false;
  /** Set when the transport is to be closed once this turn's packets are written. */
  closeReason = -1;

  constructor(wire: Wire, framer: Framer, nowMs: number) {
    this.wire = wire;
    this.framer = framer;
    this.lastReceivedMs = nowMs;
    this.deadline = new Deadline<Connection>("connection", this);
  }
}
