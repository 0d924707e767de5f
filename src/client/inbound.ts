/**
 * What the server sends: whose messages are whose, and acknowledgements in the order in which the messages came
 * (MQTT 5.0 sections 4.3 and 4.6) when their readers have them.
 *
 * An acknowledgement belongs to the connection its message came on: on the next one the server sends the message again.
 */
import type { PacketType } from "../core/codec/packet-type.ts";
import { topicMatches } from "../core/codec/topic.ts";
import type { ClientOptions, StateListener } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import type { Incoming } from "./incoming.ts";
import { refuse } from "./mqtt-error.ts";
import { acknowledgement } from "./packet-encoder.ts";
import type { Message } from "./subscription.ts";

/** A PUBLISH as its reader has it; `acknowledge` is called once at most. */
function messageOf(packet: Incoming, acknowledge: ((reasonCode: number) => void) | undefined): Message {
  const text = (): string => new TextDecoder().decode(packet.bytes);
  return {
    ...packet,
    text,
    json: () => JSON.parse(text()),
    ack(reasonCode = 0) {
      acknowledge?.(reasonCode);
      acknowledge = undefined;
    },
  };
}

export function createInbound(engine: Engine, options: ClientOptions): StateListener {
  const PUBLISH: typeof PacketType.PUBLISH = 3;
  const PUBREL: typeof PacketType.PUBREL = 6;
  const PUBCOMP: typeof PacketType.PUBCOMP = 7;
  const { receiveMaximum = 64, topicAliasMaximum = 16, cleanStart = true } = options;
  const { level, handlers, readers } = engine;
  /** QoS 2 messages by Packet Identifier, until PUBREL. */
  const begun = new Map<number, Incoming>();
  const aliases = new Map<number | undefined, string>();
  let order: Incoming[] = [];
  /** Counts against our Receive Maximum. */
  let unacknowledged = 0;
  // A session that is taken up again has identifiers of its own: these should not be among them.
  const firstIdentifier = cleanStart ? 0 : (Math.random() * 2e8) | 0;
  engine.lastIdentifier = firstIdentifier;

  /** Acknowledges from the oldest on [MQTT-4.6.0-2] [MQTT-4.6.0-3]. */
  const flush = (): void => {
    while (order[0]?.readers === 0) {
      const { packetId, qos, reasonCode } = order.shift()!;
      if (qos < 2 || reasonCode > 127) {
        unacknowledged--;
        begun.delete(packetId);
      }
      // PUBACK or PUBREC.
      engine.send(acknowledgement(level, (PUBLISH + qos) << 4, packetId, reasonCode));
    }
  };
  const route = (packet: Incoming): void => {
    const identifiers = packet.properties.subscriptionIdentifiers;
    const known = identifiers?.some((id) => id > firstIdentifier && id <= engine.lastIdentifier);
    const takers = [...readers].filter(({ identifier, filter }) =>
      known ? identifiers!.includes(identifier) : topicMatches(filter.replace(/^\$share\/.*?\//, ""), packet.topic),
    );
    packet.readers = takers.length || (engine.keepsUnclaimed && !known ? -1 : 0);
    // What nobody has taken is routed when it comes again.
    if (packet.readers >= 0 && packet.qos > 1) begun.set(packet.packetId, packet);
    for (const taker of takers) {
      taker.give(
        messageOf(packet, (reasonCode) => {
          packet.readers!--;
          packet.reasonCode ||= reasonCode;
          flush();
        }),
      );
    }
    flush();
  };
  engine.claim = () => {
    for (const packet of [...order]) if (packet.readers! < 0) route(packet);
  };

  handlers[PUBLISH] = (packet) => {
    const { qos, packetId, properties } = packet;
    const { topicAlias } = properties;
    packet.topic ||= aliases.get(topicAlias)!;
    if (!packet.topic || topicAlias! > topicAliasMaximum) refuse(0x94);
    aliases.set(topicAlias, packet.topic);
    const again = begun.get(packetId);
    if (qos) {
      // MQTT 3.1.1 has no way to announce it.
      if (unacknowledged++ >= receiveMaximum && level === 5) refuse(0x93);
      order.push(again ?? packet);
    }
    if (again) return flush();
    route(packet);
  };
  handlers[PUBREL] = ({ packetId }) => {
    const known = begun.delete(packetId);
    if (known && unacknowledged) unacknowledged--;
    // 0x92: Packet Identifier not found.
    engine.send(acknowledgement(level, PUBCOMP << 4, packetId, known ? 0 : 0x92));
  };
  return (state) => {
    // Nothing that came on a lost connection can be acknowledged any more.
    order = [];
    aliases.clear();
    unacknowledged = 0;
    const isNew = state === "online" && !engine.sessionPresent;
    if (isNew) begun.clear();
    engine.keepsUnclaimed &&= !isNew;
  };
}
