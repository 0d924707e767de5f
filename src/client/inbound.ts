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
import type { Incoming } from "./incoming.ts";
import { refuse } from "./mqtt-error.ts";
import { acknowledgement, textOf } from "./packet-encoder.ts";
import type { Message, Reader } from "./subscription.ts";

/** A message between its arrival and its acknowledgement. */
export interface Received {
  readonly packetId: number;
  readonly qos: number;
  /** Readers that have not acknowledged it yet. */
  readers: number;
  reasonCode: number;
}

export interface Inbound {
  readonly readers: Set<Reader>;
  /** A new Subscription Identifier. */
  identify(): number;
  /** Somebody has subscribed: messages of a session older than this client may be for them. */
  claim(): void;
  /** A QoS 2 message is through; answers whether it was known. */
  release(packetId: number): boolean;
}

/** A PUBLISH as its reader has it; `acknowledge` is called once at most. */
function messageOf(
  { topic, qos, flags, payload, properties }: Incoming,
  acknowledge: (reasonCode: number) => void,
): Message {
  let isAcknowledged = false;
  const text = (): string => textOf(payload);
  return {
    topic,
    bytes: payload,
    qos: qos as QoS,
    retain: flags % 2 > 0,
    dup: flags > 7,
    properties,
    text,
    json: () => JSON.parse(text()),
    ack(reasonCode = 0) {
      if (!isAcknowledged) acknowledge(reasonCode);
      isAcknowledged = true;
    },
  };
}

export function createInbound(engine: Engine): Inbound {
  const { receiveMaximum = 64, cleanStart = true } = engine.options();
  const readers = new Set<Reader>();
  /** QoS 2 messages by Packet Identifier, until PUBREL. */
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
      engine.wire?.send(acknowledgement(engine, PUBLISH + qos, packetId, reasonCode));
    }
  };

  const route = (packet: Incoming, received: Received): void => {
    const identifiers = packet.properties.subscriptionIdentifiers;
    const known = identifiers?.some((id) => id > firstIdentifier && id <= lastIdentifier);
    const takers = [...readers].filter(({ identifier, filter }) =>
      known ? identifiers!.includes(identifier) : topicMatches(filter.replace(/^\$share\/.*?\//, ""), packet.topic),
    );
    const isUnclaimed = packet.qos && !takers.length && !known && engine.sessionPresent && !cleanStart;
    received.readers = isUnclaimed ? 1 : takers.length;
    if (isUnclaimed) unclaimed.push([packet, received]);
    for (const taker of takers) {
      taker.give(
        messageOf(packet, (reasonCode) => {
          received.readers--;
          received.reasonCode ||= reasonCode;
          flush();
        }),
      );
    }
    flush();
  };

  engine.handlers[PUBLISH] = (incoming) => {
    const packet = engine.resolve?.(incoming) ?? incoming;
    const { qos, packetId, topic } = packet;
    if (!topic) refuse(0x94);
    if (qos > engine.qosMax) refuse(0x9b);
    const again = begun.get(packetId);
    const received = again ?? { packetId, qos, readers: 0, reasonCode: 0 };
    if (qos) {
      // MQTT 3.1.1 has no way to announce it.
      if (unacknowledged++ >= receiveMaximum && engine.level === 5) refuse(0x93);
      order.push(received);
    }
    if (qos === 2) begun.set(packetId, received);
    if (again) flush();
    else route(packet, received);
  };

  engine.parts.push((state) => {
    // Nothing that came on a lost connection can be acknowledged any more.
    order = [];
    unclaimed = [];
    unacknowledged = 0;
    if (state === "online" && !engine.sessionPresent) begun.clear();
  });

  return {
    readers,
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
