/**
 * Messages under way to one client: QoS 1 waiting for PUBACK, QoS 2 for PUBREC or PUBCOMP (MQTT 5.0 sections 4.3, 4.4).
 *
 * An array indexed by Packet Identifier (its low bits), so that an acknowledgement is one load. The size is a power of
 * two of at least twice the count; two identifiers that share a slot are never in use at once. Identifiers towards a
 * client start at 1 and ascend [MQTT-2.2.1-4].
 */
import type { ApplicationMessage } from "../application-message.ts";
import type { QoS } from "../codec/packet.ts";
import type { ShareGroup } from "./subscription.ts";

const SLOTS_FIRST = 16;

/** What a delivery waits for. */
export const DeliveryState = { Queued: 0, AwaitPuback: 1, AwaitPubrec: 2, AwaitPubcomp: 3 } as const;
export type DeliveryState = (typeof DeliveryState)[keyof typeof DeliveryState];

/** One QoS 1 or 2 message on its way to one session. */
export class Delivery {
  /** Owned. */
  readonly message: ApplicationMessage;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIdentifiers: readonly number[] | null;
  readonly shareGroup: ShareGroup | null;
  packetId = 0;
  state: DeliveryState = DeliveryState.Queued;
  /** Order of first sending, for redelivery. */
  sequence = 0;
  /** Whether its PUBLISH used up send quota of the present connection. */
  sent = false;
  /** Its place in what the store keeps of the session's queue; 0: the store does not have it. */
  storeSequence = 0;
  /** It may have been sent before the broker was started: its first PUBLISH has DUP set [MQTT-3.3.1-1]. */
  mayBeRepeated = false;

  constructor(
    message: ApplicationMessage,
    qos: QoS,
    retain: boolean,
    subscriptionIdentifiers: readonly number[] | null,
    shareGroup: ShareGroup | null,
  ) {
    this.message = message;
    this.qos = qos;
    this.retain = retain;
    this.subscriptionIdentifiers = subscriptionIdentifiers;
    this.shareGroup = shareGroup;
  }
}

export class Inflight {
  count = 0;
  #slots: (Delivery | null)[] | null = null;
  #nextPacketId = 1;
  #sequence = 0;

  /** Gives a delivery its Packet Identifier and place. */
  add(delivery: Delivery): void {
    let slots = this.#slots;
    if (slots === null) slots = this.#slots = new Array<Delivery | null>(SLOTS_FIRST).fill(null);
    else if ((this.count + 1) * 2 > slots.length) slots = this.#grow(slots);
    const mask = slots.length - 1;
    let packetId = this.#nextPacketId;
    while (slots[packetId & mask] !== null) packetId = packetId === 65_535 ? 1 : packetId + 1;
    slots[packetId & mask] = delivery;
    this.#nextPacketId = packetId === 65_535 ? 1 : packetId + 1;
    delivery.packetId = packetId;
    delivery.sequence = ++this.#sequence;
    this.count++;
  }

  /**
   * Puts a delivery back under the identifier it was sent with, as a store has kept it; `restored` follows. Answers false where
   * that is another one's.
   */
  restore(delivery: Delivery, packetId: number): boolean {
    if (packetId === 0 || this.get(packetId) !== null) return false;
    let slots = (this.#slots ??= new Array<Delivery | null>(SLOTS_FIRST).fill(null));
    while ((this.count + 1) * 2 > slots.length || slots[packetId & (slots.length - 1)] !== null) {
      slots = this.#grow(slots);
    }
    slots[packetId & (slots.length - 1)] = delivery;
    delivery.packetId = packetId;
    this.count++;
    return true;
  }

  /**
   * All were put back: gives them the order in which they were sent. Identifiers ascend; what follows their widest gap was the
   * first.
   */
  restored(): void {
    const all = this.inOrder().sort((a, b) => a.packetId - b.packetId);
    let [first, widest] = [0, 0];
    for (const [at, { packetId }] of all.entries()) {
      const before = all[(at || all.length) - 1]!.packetId;
      const gap = packetId > before ? packetId - before : packetId - before + 65_535;
      if (gap > widest) [first, widest] = [at, gap];
    }
    for (const delivery of [...all.slice(first), ...all.slice(0, first)]) {
      delivery.sequence = ++this.#sequence;
      this.#nextPacketId = delivery.packetId === 65_535 ? 1 : delivery.packetId + 1;
    }
  }

  get(packetId: number): Delivery | null {
    const slots = this.#slots;
    if (slots === null) return null;
    const delivery = slots[packetId & (slots.length - 1)]!;
    return delivery !== null && delivery.packetId === packetId ? delivery : null;
  }

  remove(delivery: Delivery): void {
    const slots = this.#slots!;
    slots[delivery.packetId & (slots.length - 1)] = null;
    this.count--;
  }

  /** Deliveries in the order in which they were first sent: all, or those that `wanted` picks. */
  inOrder(wanted?: (delivery: Delivery) => boolean): Delivery[] {
    if (this.#slots === null || this.count === 0) return [];
    const all: Delivery[] = [];
    for (const delivery of this.#slots) {
      if (delivery !== null && (wanted === undefined || wanted(delivery))) all.push(delivery);
    }
    return all.sort((a, b) => a.sequence - b.sequence);
  }

  clear(): void {
    this.#slots = null;
    this.count = 0;
  }

  /** Gives memory back while nothing is under way. */
  trim(): void {
    if (this.count === 0) this.#slots = null;
  }

  #grow(slots: (Delivery | null)[]): (Delivery | null)[] {
    const grown = new Array<Delivery | null>(slots.length * 2).fill(null);
    const mask = grown.length - 1;
    for (const delivery of slots) if (delivery !== null) grown[delivery.packetId & mask] = delivery;
    return (this.#slots = grown);
  }
}
