/** PUBLISH from the client (MQTT 5.0 section 3.3), within what the server can do; Topic Aliases in order of first use. */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { ClientOptions, Payload, Published, PublishOptions, StateListener } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { refuse } from "./mqtt-error.ts";
import { encodePacket, field, integer, toBytes } from "./packet-encoder.ts";
import { propertyList } from "./property-list.ts";

export type Publish = (topic: string, payload: Payload, options?: PublishOptions) => Promise<Published>;

export function createPublish(engine: Engine, { topicAliasMaximum: ours = 16 }: ClientOptions): StateListener {
  const PUBLISH: typeof PacketType.PUBLISH = 3;
  const PUBACK: typeof PacketType.PUBACK = 4;
  const PUBREC: typeof PacketType.PUBREC = 5;
  const aliases = new Map<string, number>();
  engine.publish = (topic, payload, options = {}) => {
    const { qos = 0, retain, properties } = options;
    const bytes = toBytes(payload);
    return engine.ask("publish", [0, PUBACK, PUBREC][qos]!, options, (packetId, dup) => {
      const { maximumQos = 2, retainAvailable, topicAliasMaximum, maximumPacketSize } = engine.properties;
      if (qos > maximumQos) refuse(0x9b);
      if (retain && retainAvailable === 0) refuse(0x9a);
      if (!topic || /[+#]/.test(topic)) refuse(0x90, topic);
      let topicAlias = aliases.get(topic);
      const name = topicAlias ? "" : topic;
      if (aliases.size < Math.min(ours, topicAliasMaximum!)) topicAlias ??= aliases.size + 1;
      const packet = encodePacket(
        (PUBLISH << 4) | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0),
        [
          ...field(name),
          ...(qos ? integer(2, packetId) : []),
          ...propertyList(engine.level, topicAlias ? { ...properties, topicAlias } : properties),
        ],
        bytes,
      );
      // What is too large is not sent, and its alias not learned.
      if (topicAlias && !(packet.length > maximumPacketSize!)) aliases.set(topic, topicAlias);
      return packet;
    });
  };
  return () => aliases.clear();
}
