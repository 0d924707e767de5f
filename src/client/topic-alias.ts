/** Topic Aliases towards the server, in order of first use, as many as both sides allow (MQTT 5.0 section 3.3.2.3.4). */
import type { Publish } from "../core/codec/publish.ts";
import type { Engine } from "./engine.ts";
import type { Outbound } from "./outbound.ts";

export function topicAliases(engine: Engine, outbound: Outbound): void {
  const aliases = new Map<string, number>();
  engine.parts.unshift({ online: () => aliases.clear() });
  outbound.alias = (packet: Publish) => {
    const { topicName } = packet;
    const known = aliases.get(topicName);
    const most = Math.min(engine.properties.topicAliasMaximum ?? 0, engine.options.topicAliasMaximum ?? 16);
    const topicAlias = known ?? (aliases.size < most ? aliases.size + 1 : 0);
    // A packet that turns out too large is not sent, and its alias not learned.
    const bytes = topicName.length * 3 + packet.payload.length + 1_000;
    if (!topicAlias || (!known && bytes > (engine.properties.maximumPacketSize ?? bytes))) return packet;
    aliases.set(topicName, topicAlias);
    return { ...packet, topicName: known ? "" : topicName, properties: { ...packet.properties, topicAlias } };
  };
}
