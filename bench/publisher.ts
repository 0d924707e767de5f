/**
 * One publishing client: a ring of encoded PUBLISH packets, stamped in place and sent straight from the ring.
 *
 * Invariant: at most `window` messages are open, and the ring has at least that many slots. A slot is stamped again only
 * after its message was completed, by PUBACK, PUBCOMP or (QoS 0) by arriving, so its old bytes have left.
 * Acknowledgements must come in the order of sending, as every broker that handles a connection in order sends them.
 */
import { markPayload } from "./delivery-ledger.ts";
import { type Link, type PacketSink, type PacketStream, PUBACK, PUBCOMP, PUBREC, PUBREL } from "./link.ts";
import { encodePublish, type PublishLayout, type Qos } from "./packet-bytes.ts";

export interface PublisherPlan {
  readonly number: number;
  readonly topicNames: readonly string[];
  /** The last eight characters of the Topic Name become the sequence number: a topic no message had before. */
  readonly newTopicEach: boolean;
  readonly qos: Qos;
  readonly payloadBytes: number;
  readonly window: number;
}

export class Publisher implements PacketSink, PacketStream {
  sent = 0;
  completed = 0;
  onProgress: () => void = nothing;
  readonly link: Link;
  readonly window: number;
  private target = 0;
  private received = 0;
  private taken = 0;
  private slot = 0;
  private readonly plan: PublisherPlan;
  private readonly ring: Uint8Array;
  private readonly slotCount: number;
  private readonly slotBytes: number;
  private readonly layout: PublishLayout;
  private readonly refillMin: number;

  constructor(link: Link, plan: PublisherPlan) {
    this.link = link;
    this.plan = plan;
    this.window = plan.qos === 0 ? plan.window : Math.min(plan.window, link.receiveMaximum);
    this.refillMin = Math.max(1, this.window >> 3);
    const topicCount = plan.topicNames.length;
    this.slotCount = Math.ceil(this.window / topicCount) * topicCount;
    if (this.slotCount > 65_535) throw new Error("a window has at most 65,535 messages");
    this.layout = this.encodeSlot(0);
    this.slotBytes = this.layout.bytes.length;
    this.ring = new Uint8Array(this.slotBytes * this.slotCount);
    for (let slot = 0; slot < this.slotCount; slot++) this.ring.set(this.encodeSlot(slot).bytes, slot * this.slotBytes);
    link.sink = this;
    link.stream = this;
  }

  /** Allows `count` more messages; `pump` sends them. */
  extend(count: number): void {
    this.target += count;
  }

  /** Sends as much as the window allows. */
  pump(): void {
    const left = this.target - this.sent;
    const free = Math.min(this.window - (this.sent - this.completed), left);
    // Waiting for an eighth of the window keeps packets together, as a client that publishes in bulk does.
    if (free >= this.refillMin || free === left) {
      for (let i = 0; i < free; i++) this.stampNext();
    }
    this.link.flush();
  }

  /** For QoS 0, where nothing else tells that a message is through. */
  completeUpTo(count: number): void {
    this.completed = count;
    this.pump();
    this.onProgress();
  }

  publish(): void {
    this.link.fail(new Error("a publisher received a PUBLISH"));
  }

  acknowledged(packetType: number, packetId: number, reasonCode: number): void {
    if (reasonCode >= 0x80) this.link.fail(new Error(`a message was refused with reason code ${reasonCode}`));
    if (packetType === PUBREC) {
      this.expectPacketId(packetId, this.received++);
      this.link.answer(PUBREL, packetId);
    } else if (packetType === (this.plan.qos === 1 ? PUBACK : PUBCOMP)) {
      this.expectPacketId(packetId, this.completed++);
    } else {
      this.link.fail(new Error(`a publisher received a packet of type 0x${packetType.toString(16)}`));
    }
  }

  readEnd(): void {
    this.pump();
    this.onProgress();
  }

  writeTo(link: Link): boolean {
    const stamped = this.sent * this.slotBytes;
    while (this.taken < stamped) {
      const at = this.taken % this.ring.length;
      const length = Math.min(this.ring.length - at, stamped - this.taken);
      const accepted = link.write(this.ring, at, length);
      this.taken += accepted;
      if (accepted < length) return false;
    }
    return true;
  }

  private expectPacketId(packetId: number, count: number): void {
    const expected = (count % this.slotCount) + 1;
    if (packetId === expected) return;
    this.link.fail(new Error(`expected the acknowledgement of packet ${expected}, got that of packet ${packetId}`));
  }

  private stampNext(): void {
    const sequence = this.sent++;
    const at = this.slot * this.slotBytes;
    this.slot = this.slot + 1 === this.slotCount ? 0 : this.slot + 1;
    markPayload(this.ring, at + this.layout.payloadAt, at + this.slotBytes, this.plan.number, sequence);
    if (this.plan.newTopicEach) stampDigits(this.ring, at + this.layout.topicNameEnd, sequence);
  }

  private encodeSlot(slot: number): PublishLayout {
    const { topicNames, payloadBytes, qos } = this.plan;
    const payload = new Uint8Array(payloadBytes).fill(0x2e);
    return encodePublish(topicNames[slot % topicNames.length], slot + 1, payload, qos, this.link.protocolLevel);
  }
}

function stampDigits(bytes: Uint8Array, end: number, value: number): void {
  for (let at = end - 1; at >= end - 8; at--) {
    const quotient = (value / 10) | 0;
    bytes[at] = 0x30 + value - quotient * 10;
    value = quotient;
  }
}

function nothing(): void {}
