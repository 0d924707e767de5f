/**
 * What the server sends the small client: whose messages are whose, and acknowledgements in the order in which the messages
 * came (MQTT 5.0 sections 4.3 and 4.6) when their readers have them.
 *
 * An acknowledgement belongs to the connection its message came on: on the next one the server sends the message again.
 */
import { topicMatches } from "../../core/codec/topic.ts";
import { refuse } from "../mqtt-error.ts";
import { encodePacket, integer } from "../packet-encoder.ts";
import type { Incoming } from "./decode.ts";
import type { Reader } from "./reader.ts";
import type { OpenClient } from "./small-options.ts";

/** Answers with what takes a PUBLISH, what begins a connection, what follows a subscription, and a new Subscription Identifier. */
export function createIncoming(
  client: OpenClient,
  send: (bytes: Uint8Array) => void,
  readers: ReadonlySet<Reader>,
  receiveMaximum: number,
) {
  /** By arrival: a message's Packet Identifier, and who has not acknowledged it. Counts against our Receive Maximum. */
  let order: [packetId: number, open: Set<unknown>][] = [];
  /** Routes once more what nobody has taken. */
  let unclaimed: (() => void)[] = [];
  /** Whether the session was there before this client. */
  let isOlder = true;
  // A session that is taken up again has identifiers of its own: these should not be among them.
  const firstIdentifier = (Math.random() * 2e8) | 0;
  let lastIdentifier = firstIdentifier;

  /** Acknowledges from the oldest on [MQTT-4.6.0-2]. */
  const flush = (): void => {
    while (order[0] && !order[0][1].size) send(encodePacket(0x40, integer(2, order.shift()![0])));
  };

  const receive = (first: number, [packetId, , properties, topic, bytes]: Incoming): void => {
    const qos = (first >> 1) & 3;
    const open = new Set<unknown>();
    if (35 in properties) refuse(0x94);
    if (/[+#]|^$/.test(topic)) refuse(0x90);
    if (qos > 1) refuse(0x9b);
    if (qos) {
      if (!packetId) refuse(0x82);
      if (order.length >= receiveMaximum) refuse(0x93);
      order.push([packetId, open]);
    }
    const route = (): void => {
      open.delete(route);
      const known = properties[11]?.some((of) => of > firstIdentifier && of <= lastIdentifier);
      const takers = [...readers].filter(({ id, filter }) =>
        known ? properties[11]!.includes(id) : topicMatches(filter.replace(/^\$share\/.*?\//, ""), topic),
      );
      if (isOlder && qos && !known && !takers.length) {
        open.add(route);
        unclaimed.push(route);
      }
      for (const taker of takers) {
        open.add(taker);
        taker.give({
          topic,
          bytes,
          qos,
          retain: first % 2 > 0,
          dup: first > 0x37,
          properties,
          text: () => new TextDecoder().decode(bytes),
          ack() {
            open.delete(taker);
            flush();
          },
        });
      }
      flush();
    };
    route();
  };
  /** Nothing that came on a lost connection can be acknowledged any more. */
  const forget = (): void => {
    order = [];
    unclaimed = [];
    isOlder &&= client.sessionPresent;
  };
  /** Somebody subscribes: messages of a session older than this client may be for them. */
  const claim = (): void => {
    for (const route of unclaimed.splice(0)) route();
  };
  return [receive, forget, claim, () => ++lastIdentifier] as const;
}
