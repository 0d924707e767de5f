/** PUBLISH from the client (MQTT 5.0 section 3.3), within what the server can do. */
import { PUBACK, PUBLISH, PUBREC } from "../core/codec/packet-type.ts";
import type { Payload, Published, PublishOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { MqttError } from "./mqtt-error.ts";
import type { Ask } from "./outbound.ts";
import { encodePacket, field, integer, propertyList, toBytes } from "./packet-encoder.ts";

export type Publish = (topic: string, payload: Payload, options?: PublishOptions) => Promise<Published>;

export function createPublish(engine: Engine, ask: Ask): Publish {
  return (topic, payload, options = {}) => {
    const { qos = 0, retain, properties } = options;
    const bytes = toBytes(payload);
    return ask("publish", [0, PUBACK, PUBREC][qos] ?? 0, options, ({ packetId, dup }) => {
      const { maximumQos = engine.qosMax, retainAvailable = 1 } = engine.properties;
      const refused =
        qos > maximumQos ? 0x9b : retain && !retainAvailable ? 0x9a : !topic || /[+#]/.test(topic) ? 0x90 : 0;
      if (refused) throw new MqttError(refused, "publish", topic);
      const first = (PUBLISH << 4) | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
      const encode = (name: string, topicAlias?: number): Uint8Array => {
        const own = topicAlias ? { ...properties, topicAlias } : properties;
        return encodePacket(
          first,
          [...field(name), ...(qos ? integer(2, packetId) : []), ...propertyList(engine, own)],
          bytes,
        );
      };
      return engine.alias?.(topic, encode) ?? encode(topic);
    });
  };
}
