/** SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 sections 3.8 and 3.10): asked for once, and again where the server has lost the session. */
import { SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE } from "../core/codec/packet-type.ts";
import type { SubscribeOptions, WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import type { Inbound } from "./inbound.ts";
import { MqttError } from "./mqtt-error.ts";
import type { Ask } from "./outbound.ts";
import { encodePacket, field, integer, propertyList } from "./packet-encoder.ts";
import { createReader, type Reader, type Subscription } from "./subscription.ts";

export type Subscribe = (filter: string, options?: SubscribeOptions) => Promise<Subscription>;

export function createSubscribe(engine: Engine, inbound: Inbound, ask: Ask): Subscribe {
  const { readers } = inbound;
  const sameFilter = (filter: string): Reader | undefined => [...readers].find((reader) => reader.filter === filter);

  const encode = ({ filter, options, identifier }: Reader, packetId: number): Uint8Array => {
    const { qos = 0, noLocal, retainAsPublished, retainHandling = 0 } = options;
    const { sharedSubscriptionAvailable, wildcardSubscriptionAvailable, subscriptionIdentifiersAvailable } =
      engine.properties;
    const refused =
      sharedSubscriptionAvailable === 0 && filter.startsWith("$share/")
        ? 0x9e
        : wildcardSubscriptionAvailable === 0 && /[+#]/.test(filter)
          ? 0xa2
          : 0;
    if (refused) throw new MqttError(refused, "subscribe", filter);
    const subscriptionIdentifiers = subscriptionIdentifiersAvailable === 0 ? [] : [identifier];
    return encodePacket((SUBSCRIBE << 4) | 2, [
      ...integer(2, packetId),
      ...propertyList(engine, { ...options.properties, subscriptionIdentifiers }),
      ...field(filter),
      engine.level === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos,
    ]);
  };

  const request = async (reader: Reader, wait: WaitOptions, first?: boolean): Promise<void> => {
    reader.granted = undefined;
    const granted = await ask("subscribe", SUBACK, wait, ({ packetId }) => encode(reader, packetId), first);
    reader.qos = granted.reasonCode;
    reader.granted = true;
  };

  engine.parts.push((state, error) => {
    for (const reader of readers) {
      if (state === "closed") reader.end(error);
      if (state !== "online") continue;
      if (reader.granted && engine.sessionPresent) reader.forget();
      // Who is being asked for is asked for again with everything else that is pending.
      else if (reader.granted !== undefined) {
        request(reader, {}, true).catch((refused: MqttError) => {
          reader.granted = false;
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
      if (sameFilter(filter) || engine.state === "closed") return;
      await ask("unsubscribe", UNSUBACK, {}, ({ packetId }) =>
        encodePacket((UNSUBSCRIBE << 4) | 2, [...integer(2, packetId), ...propertyList(engine), ...field(filter)]),
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
    return reader;
  };
}
