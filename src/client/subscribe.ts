/** SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 sections 3.8 and 3.10): asked for once, and again where the server has lost the session. */
import { SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE } from "../core/codec/packet-type.ts";
import type { SubscribeOptions, WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import type { Inbound } from "./inbound.ts";
import { MqttError } from "./mqtt-error.ts";
import type { Outbound } from "./outbound.ts";
import { encodePacket, field, integer, propertyList } from "./packet-encoder.ts";
import { createReader, type Reader, type Subscription } from "./subscription.ts";

export type Subscribe = (filter: string, options?: SubscribeOptions) => Promise<Subscription>;

export function createSubscribe(engine: Engine, inbound: Inbound, ask: Outbound["ask"]): Subscribe {
  const { face, level, parts } = engine;
  const { readers } = inbound;
  const sameFilter = (filter: string): Reader | undefined =>
    [...readers].find(({ subscription }) => subscription.filter === filter);

  const encode = ({ subscription: { filter }, options, identifier }: Reader, packetId: number): Uint8Array => {
    const { qos = 0, noLocal, retainAsPublished, retainHandling = 0 } = options;
    const { sharedSubscriptionAvailable, wildcardSubscriptionAvailable, subscriptionIdentifiersAvailable } =
      face.properties;
    if (sharedSubscriptionAvailable === 0 && filter.startsWith("$share/"))
      throw new MqttError(0x9e, "subscribe", filter);
    if (wildcardSubscriptionAvailable === 0 && /[+#]/.test(filter)) throw new MqttError(0xa2, "subscribe", filter);
    const subscriptionIdentifiers = subscriptionIdentifiersAvailable === 0 ? [] : [identifier];
    return encodePacket((SUBSCRIBE << 4) | 2, [
      ...integer(2, packetId),
      ...propertyList(level, { ...options.properties, subscriptionIdentifiers }),
      ...field(filter),
      level === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos,
    ]);
  };

  const request = async (reader: Reader, wait: WaitOptions, first?: boolean): Promise<void> => {
    reader.asking = true;
    try {
      const granted = await ask("subscribe", SUBACK, wait, ({ packetId }) => encode(reader, packetId), first);
      reader.subscription.qos = granted.reasonCode;
      reader.granted = true;
    } finally {
      reader.asking = false;
    }
  };

  parts.push((state, error) => {
    for (const reader of readers) {
      if (state === "closed") reader.end(error);
      if (state !== "online") continue;
      reader.granted &&= face.sessionPresent;
      if (reader.granted) reader.forget();
      else if (!reader.asking) {
        request(reader, {}, true).catch((refused: MqttError) => {
          if (refused.code < 0x80) return;
          readers.delete(reader);
          reader.end(refused);
        });
      }
    }
  });

  return async (filter, options = {}) => {
    const leave = async (): Promise<void> => {
      readers.delete(reader);
      if (sameFilter(filter) || face.state === "closed") return;
      await ask("unsubscribe", UNSUBACK, {}, ({ packetId }) =>
        encodePacket((UNSUBSCRIBE << 4) | 2, [...integer(2, packetId), ...propertyList(level), ...field(filter)]),
      );
    };
    const reader = createReader(filter, sameFilter(filter)?.identifier ?? inbound.identify(), options, leave);
    readers.add(reader);
    try {
      await request(reader, options);
    } catch (error) {
      readers.delete(reader);
      // The server may have heard of it after all.
      if ((error as MqttError).code < 0) leave().catch(() => {});
      throw error;
    }
    inbound.claim();
    return reader.subscription;
  };
}
