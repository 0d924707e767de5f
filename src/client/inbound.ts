/**
 * What the server sends: whose messages are whose, and acknowledgements in the order in which the messages came
 * (MQTT 5.0 sections 4.3 and 4.6) when their readers have them.
 *
 * An acknowledgement belongs to the connection its message came on: on the next one the server sends the message again.
 */
import type { QoS } from "../core/codec/packet.ts";
import { PUBLISH } from "../core/codec/packet-type.ts";
import { topicMatches } from "../core/codec/topic.ts";
import type { Engine } from "./engine.ts";
import { type Incoming, refuse } from "./incoming.ts";
import { acknowledgement } from "./packet-encoder.ts";
import type { Reader } from "./subscription.ts";

/** A QoS 1 or 2 message between its arrival and its acknowledgement. */
export interface Received {
  readonly packetId: number;
  readonly qos: number;
  /** Readers that have not acknowledged it yet. */
  readers: number;
  reasonCode: number;
}

export interface Inbound {
  readonly readers: Set<Reader>;
  /** QoS 2 messages by Packet Identifier, until PUBREL. */
  readonly begun: Map<number, Received>;
  /** A new Subscription Identifier. */
  identify(): number;
  /** Somebody has subscribed: messages of a session older than this client may be for them. */
  claim(): void;
  /** A QoS 2 message is through; answers whether it was known. */
  release(packetId: number): boolean;
}

const textDecoder = new TextDecoder();

export function createInbound(engine: Engine): Inbound {
  const { face, level, handlers, parts, send } = engine;
  const { receiveMaximum = 64, cleanStart = true } = engine.options;
  const readers = new Set<Reader>();
  const begun = new Map<number, Received>();
  let unclaimed: [Incoming, Received][] = [];
  let order: Received[] = [];
  /** Counts against our Receive Maximum. */
  let unacknowledged = 0;
  // A session that is taken up again has identifiers of its own: these should not be among them.
  const firstIdentifier = cleanStart ? 0 : Math.floor(Math.random() * 2e8);
  let lastIdentifier = firstIdentifier;

  /** Acknowledges from the oldest on [MQTT-4.6.0-2] [MQTT-4.6.0-3]. */
  const flush = (): void => {
    while (order[0] && !order[0].readers) {
      const { packetId, qos, reasonCode } = order.shift()!;
      if (qos < 2 || reasonCode > 127) {
        unacknowledged--;
        begun.delete(packetId);
      }
      send(acknowledgement(level, PUBLISH + qos, packetId, reasonCode));
    }
  };

  const route = (packet: Incoming, received?: Received): void => {
    const { topic, flags, payload, properties } = packet;
    const { subscriptionIdentifiers: identifiers } = properties;
    const known = identifiers?.some((id) => id > firstIdentifier && id <= lastIdentifier);
    const takers = [...readers].filter(({ identifier, subscription: { filter } }) =>
      known ? identifiers!.includes(identifier) : topicMatches(filter.replace(/^\$share\/[^/]*\//, ""), topic),
    );
    if (received) {
      received.readers = takers.length;
      if (!takers.length && !known && face.sessionPresent && !cleanStart) {
        received.readers = 1;
        unclaimed.push([packet, received]);
      }
    }
    for (const taker of takers) {
      let acknowledged = !received;
      const text = (): string => textDecoder.decode(payload);
      taker.give({
        topic,
        bytes: payload,
        qos: ((flags >> 1) & 3) as QoS,
        retain: !!(flags & 1),
        dup: flags > 7,
        properties,
        text,
        json: () => JSON.parse(text()),
        ack(reasonCode = 0) {
          if (acknowledged) return;
          acknowledged = true;
          received!.readers--;
          received!.reasonCode ||= reasonCode;
          flush();
        },
      });
    }
    flush();
  };

  handlers[PUBLISH] = (incoming) => {
    const packet = engine.resolve(incoming);
    const { type, flags, packetId } = packet;
    const qos = (flags >> 1) & 3;
    if (qos > engine.qosMax) refuse(type, 0x9b, `QoS ${qos}`);
    if (!qos) {
      route(packet);
      return;
    }
    // MQTT 3.1.1 has no way to announce it.
    if (unacknowledged++ >= receiveMaximum && level === 5) refuse(type, 0x93, `more than ${receiveMaximum} messages`);
    const again = begun.get(packetId);
    const received = again ?? { packetId, qos, readers: 0, reasonCode: 0 };
    order.push(received);
    if (qos === 2) begun.set(packetId, received);
    if (again) flush();
    else route(packet, received);
  };

  parts.push((state) => {
    // Nothing that came on a lost connection can be acknowledged any more.
    order = [];
    unclaimed = [];
    unacknowledged = 0;
    if (state === "online" && !face.sessionPresent) begun.clear();
  });

  return {
    readers,
    begun,
    identify: () => ++lastIdentifier,
    claim() {
      for (const [packet, received] of unclaimed.splice(0)) route(packet, received);
    },
    release(packetId) {
      const known = begun.delete(packetId);
      if (known && unacknowledged) unacknowledged--;
      return known;
    },
  };
}
