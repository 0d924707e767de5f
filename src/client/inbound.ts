/**
 * What the server sends: subscriptions, whose messages are whose, and acknowledgements in the order in which the messages
 * came (MQTT 5.0 sections 4.3 and 4.6) when their readers have them.
 *
 * An acknowledgement belongs to the connection its message came on: on the next one the server sends the message again.
 */
import { encodeAcknowledgement } from "../core/codec/acknowledgement.ts";
import { PacketType } from "../core/codec/packet-type.ts";
import { PeerError, protocolError } from "../core/codec/peer-error.ts";
import { decodePublish, type Publish } from "../core/codec/publish.ts";
import { decodeSuback } from "../core/codec/suback.ts";
import { encodeSubscribe } from "../core/codec/subscribe.ts";
import { topicMatches } from "../core/codec/topic.ts";
import { decodeUnsuback } from "../core/codec/unsuback.ts";
import { encodeUnsubscribe } from "../core/codec/unsubscribe.ts";
import type { Writer } from "../core/codec/writer.ts";
import type { SubscribeOptions, WaitOptions } from "./client-options.ts";
import type { Engine, Part } from "./engine.ts";
import { MqttError } from "./mqtt-error.ts";
import type { Outbound, Outgoing } from "./outbound.ts";
import { Subscription } from "./subscription.ts";

/** A QoS 1 or 2 message between its arrival and its acknowledgement. */
export interface Received {
  readonly packetId: number;
  /** First byte of the answer: PUBACK or PUBREC. */
  readonly answer: number;
  /** Readers that have not acknowledged it yet. */
  readers: number;
  reasonCode: number;
}

const textDecoder = new TextDecoder();

export class Inbound implements Part {
  readonly #engine: Engine;
  readonly #outbound: Outbound;
  readonly #subscriptions = new Set<Subscription>();
  readonly #aliases = new Map<number, string>();
  /** Messages of a session older than this client, until somebody subscribes to them. */
  #unclaimed: [Publish, Received][] = [];
  #order: Received[] = [];
  #lastIdentifier: number;
  readonly #firstIdentifier: number;
  /** Counts against our Receive Maximum. */
  unacknowledged = 0;
  /** QoS 2 messages by Packet Identifier, until PUBREL; none without QoS 2. */
  begun: Map<number, Received> | undefined;

  constructor(engine: Engine, outbound: Outbound) {
    this.#engine = engine;
    this.#outbound = outbound;
    // A session that is taken up again has identifiers of its own: these should not be among them.
    this.#lastIdentifier = this.#firstIdentifier =
      (engine.options.cleanStart ?? true) ? 0 : Math.floor(Math.random() * 2e8);
    engine.handlers[PacketType.PUBLISH] = (reader, flags) => this.#publish(decodePublish(reader, flags, engine.level));
    engine.handlers[PacketType.SUBACK] = (reader, flags) => {
      const { packetId, reasonCodes, properties } = decodeSuback(reader, flags, engine.level);
      if (reasonCodes.length !== 1)
        throw protocolError("MQTT-3.8.4-6", `${reasonCodes.length} reason codes for 1 filter`);
      outbound.settle(PacketType.SUBACK, packetId, reasonCodes[0]!, properties);
    };
    engine.handlers[PacketType.UNSUBACK] = (reader, flags) => {
      const { packetId, reasonCodes, properties } = decodeUnsuback(reader, flags, engine.level);
      outbound.settle(PacketType.UNSUBACK, packetId, reasonCodes[0] ?? 0, properties);
    };
  }

  async subscribe(filter: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const other = this.#sameFilter(filter);
    const subscription = new Subscription(filter, other?.identifier ?? ++this.#lastIdentifier, options, () =>
      this.#unsubscribe(subscription, {}),
    );
    this.#subscriptions.add(subscription);
    try {
      await this.#ask(subscription, options);
    } catch (error) {
      this.#subscriptions.delete(subscription);
      // The server may have heard of it after all.
      if (error instanceof MqttError && error.code < 0) void this.#unsubscribe(subscription, {}).catch(() => {});
      throw error;
    }
    for (const [publish, received] of this.#unclaimed.splice(0)) this.#route(publish, received);
    return subscription;
  }

  async #ask(subscription: Subscription, wait: WaitOptions, first?: boolean): Promise<void> {
    subscription.asking = true;
    try {
      const write: Outgoing["write"] = (writer, { packetId }) => this.#writeSubscribe(writer, packetId, subscription);
      const { reasonCode } = await this.#outbound.ask("subscribe", PacketType.SUBACK, wait, write, first);
      subscription.qos = reasonCode;
      subscription.granted = true;
    } finally {
      subscription.asking = false;
    }
  }

  #writeSubscribe(writer: Writer, packetId: number, { filter, options, identifier }: Subscription): void {
    const { qos = 0, noLocal = false, retainAsPublished = false, retainHandling = 0 } = options;
    const { properties, level } = this.#engine;
    if (properties.sharedSubscriptionAvailable === 0 && filter.startsWith("$share/")) {
      throw new MqttError(0x9e, "subscribe", filter);
    }
    if (properties.wildcardSubscriptionAvailable === 0 && /[+#]/.test(filter)) {
      throw new MqttError(0xa2, "subscribe", filter);
    }
    const subscriptionIdentifiers = properties.subscriptionIdentifiersAvailable === 0 ? [] : [identifier];
    const filters = [{ topicFilter: filter, qos, noLocal, retainAsPublished, retainHandling }];
    const own = { ...options.properties, subscriptionIdentifiers };
    encodeSubscribe(writer, { type: "subscribe", packetId, filters, properties: own }, level);
  }

  async #unsubscribe(subscription: Subscription, wait: WaitOptions): Promise<void> {
    const { filter } = subscription;
    this.#subscriptions.delete(subscription);
    if (this.#sameFilter(filter) || this.#engine.state === "closed") return;
    await this.#outbound.ask("unsubscribe", PacketType.UNSUBACK, wait, (writer, { packetId }) =>
      encodeUnsubscribe(
        writer,
        { type: "unsubscribe", packetId, topicFilters: [filter], properties: {} },
        this.#engine.level,
      ),
    );
  }

  #sameFilter(filter: string): Subscription | undefined {
    return [...this.#subscriptions].find((other) => other.filter === filter);
  }

  online(sessionPresent: boolean): void {
    this.#aliases.clear();
    this.unacknowledged = 0;
    this.#unclaimed = [];
    if (!sessionPresent) this.begun?.clear();
    for (const subscription of this.#subscriptions) {
      subscription.granted &&= sessionPresent;
      if (subscription.granted) subscription.forget();
      else if (!subscription.asking) {
        this.#ask(subscription, {}, true).catch((error: MqttError) => {
          if (error.code < 0x80) return;
          this.#subscriptions.delete(subscription);
          subscription.end(error);
        });
      }
    }
    this.#outbound.pump();
  }

  closed(error: MqttError): void {
    for (const subscription of this.#subscriptions) subscription.end(error);
    this.#subscriptions.clear();
  }

  #publish(packet: Publish): void {
    const { qos, packetId = 0, properties } = packet;
    const { topicAlias } = properties;
    if (topicAlias !== undefined) {
      const { topicAliasMaximum = 16 } = this.#engine.options;
      if (packet.topicName !== "" && topicAlias <= topicAliasMaximum) this.#aliases.set(topicAlias, packet.topicName);
      const topicName = this.#aliases.get(topicAlias);
      if (topicName === undefined || topicAlias > topicAliasMaximum) {
        throw new PeerError(0x94, "MQTT-3.3.2-8", `Topic Alias ${topicAlias}`);
      }
      packet.topicName = topicName;
    }
    if (!qos) {
      this.#route(packet);
      return;
    }
    const { options, level } = this.#engine;
    // MQTT 3.1.1 has no way to announce it.
    if (level === 5 && this.unacknowledged >= (options.receiveMaximum ?? 64)) {
      throw new PeerError(0x93, "MQTT-3.3.4-9", `more than ${this.unacknowledged} messages without an acknowledgement`);
    }
    this.unacknowledged++;
    const again = qos === 2 ? this.begun?.get(packetId) : undefined;
    const received = again ?? {
      packetId,
      answer: (qos === 1 ? PacketType.PUBACK : PacketType.PUBREC) << 4,
      readers: 0,
      reasonCode: 0,
    };
    this.#order.push(received);
    if (again) this.#flush();
    else {
      if (qos === 2) {
        if (!this.begun) throw new PeerError(0x9b, "3.3.1.2", "QoS 2, at most 1 asked for");
        this.begun.set(packetId, received);
      }
      this.#route(packet, received);
    }
  }

  #route(packet: Publish, received?: Received): void {
    const { topicName: topic, payload: bytes, qos, retain, dup, properties } = packet;
    const { subscriptionIdentifiers: identifiers } = properties;
    const known = identifiers?.some((id) => id > this.#firstIdentifier && id <= this.#lastIdentifier);
    const takers = [...this.#subscriptions].filter(({ filter, identifier }) =>
      known ? identifiers!.includes(identifier) : topicMatches(filter.replace(/^\$share\/[^/]*\//, ""), topic),
    );
    if (received) received.readers = takers.length;
    for (const taker of takers) {
      let acknowledged = !received;
      taker.give({
        topic,
        bytes,
        qos,
        retain,
        dup,
        properties,
        text: () => textDecoder.decode(bytes),
        json: () => JSON.parse(textDecoder.decode(bytes)),
        ack: (reasonCode = 0) => {
          if (acknowledged) return;
          acknowledged = true;
          received!.readers--;
          received!.reasonCode ||= reasonCode;
          this.#flush();
        },
      });
    }
    if (received && !takers.length && !known && this.#engine.sessionPresent && this.#firstIdentifier) {
      received.readers = 1;
      this.#unclaimed.push([packet, received]);
    }
    this.#flush();
  }

  /** Acknowledges from the oldest on [MQTT-4.6.0-2] [MQTT-4.6.0-3]. */
  #flush(): void {
    for (let first = this.#order[0]; first && !first.readers; first = this.#order[0]) {
      this.#order.shift();
      const { answer, packetId, reasonCode } = first;
      if (answer === PacketType.PUBACK << 4 || reasonCode >= 0x80) {
        this.unacknowledged--;
        this.begun?.delete(packetId);
      }
      this.#engine.send((writer) =>
        encodeAcknowledgement(writer, answer, { packetId, reasonCode }, this.#engine.level),
      );
    }
  }

  /** A connection is lost: nothing that came on it can be acknowledged any more. */
  offline(): void {
    this.#order = [];
  }
}
