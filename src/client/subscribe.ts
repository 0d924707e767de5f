/** SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 sections 3.8 and 3.10): asked for once, and again where the server has lost the session. */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { StateListener, SubscribeOptions, WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { type MqttError, refuse } from "./mqtt-error.ts";
import { encodePacket, field, integer } from "./packet-encoder.ts";
import { propertyList } from "./property-list.ts";
import { createReader, type Reader, type Subscription } from "./subscription.ts";

export type Subscribe = (filter: string, options?: SubscribeOptions) => Promise<Subscription>;

export function createSubscribe(engine: Engine): StateListener {
  const SUBACK: typeof PacketType.SUBACK = 9;
  const UNSUBACK: typeof PacketType.UNSUBACK = 11;
  const SUBSCRIBE = 0x82;
  const UNSUBSCRIBE = 0xa2;
  const { level, readers } = engine;
  const sameFilter = (filter: string): Reader | undefined => [...readers].find((reader) => reader.filter === filter);

  const request = async (reader: Reader, wait: WaitOptions): Promise<void> => {
    const { filter, options, identifier } = reader;
    const { qos = 0, noLocal, retainAsPublished, retainHandling = 0, properties } = options;
    const encode = (packetId: number): Uint8Array => {
      const { sharedSubscriptionAvailable, wildcardSubscriptionAvailable, subscriptionIdentifiersAvailable } =
        engine.properties;
      if (sharedSubscriptionAvailable === 0 && filter.startsWith("$share/")) refuse(0x9e);
      if (wildcardSubscriptionAvailable === 0 && /[+#]/.test(filter)) refuse(0xa2);
      const subscriptionIdentifiers = subscriptionIdentifiersAvailable === 0 ? [] : [identifier];
      return encodePacket(SUBSCRIBE, [
        ...integer(2, packetId),
        ...propertyList(level, { ...properties, subscriptionIdentifiers }),
        ...field(filter),
        level === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos,
      ]);
    };
    reader.granted = undefined;
    reader.qos = (await engine.ask("subscribe", SUBACK, wait, encode)).reasonCode;
    reader.granted = true;
  };

  engine.subscribe = async (filter, options = {}) => {
    const leave = async (): Promise<void> => {
      readers.delete(reader);
      engine.keepsUnclaimed = false;
      if (sameFilter(filter) || engine.state === "closed") return;
      await engine.ask("unsubscribe", UNSUBACK, {}, (packetId) =>
        encodePacket(UNSUBSCRIBE, [...integer(2, packetId), ...propertyList(level), ...field(filter)]),
      );
    };
    const reader = createReader(filter, sameFilter(filter)?.identifier ?? ++engine.lastIdentifier, options, leave);
    readers.add(reader);
    // What was kept came before what comes while it is asked for.
    engine.claim();
    await request(reader, options).catch((error: MqttError) => {
      readers.delete(reader);
      // Messages may have come before the answer.
      reader.end();
      // The server may have heard of it after all.
      if (error.code < 0) leave().catch(() => {});
      throw error;
    });
    return reader;
  };

  return (state, error) => {
    const sessionPresent = engine.sessionPresent && engine.hellos < 2;
    for (const reader of readers) {
      if (state === "closed") reader.end(error);
      if (state !== "online") continue;
      if (sessionPresent) reader.forget();
      // Who is being asked for is asked for again with everything else that is pending.
      if (reader.granted === false || reader.granted === !sessionPresent) {
        request(reader, {}).catch((refused: MqttError) => {
          reader.granted = false;
          if (refused.code < 0x80) return;
          readers.delete(reader);
          reader.end(refused);
        });
      }
    }
  };
}
