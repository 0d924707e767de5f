/** Topic Aliases (MQTT 5.0 section 3.3.2.3.4): the server's, and ours in order of first use, as many as both sides allow. */
import type { Engine } from "./engine.ts";
import { refuse } from "./mqtt-error.ts";

export function topicAliases(engine: Engine): void {
  const { topicAliasMaximum = 16 } = engine.options();
  const ours = new Map<string, number>();
  const theirs = new Map<number, string>();
  engine.parts.push(() => {
    ours.clear();
    theirs.clear();
  });

  engine.resolve = (packet) => {
    const { topicAlias } = packet.properties;
    if (topicAlias === undefined) return packet;
    const topic = packet.topic || theirs.get(topicAlias);
    if (!topic || topicAlias > topicAliasMaximum) refuse(0x94);
    theirs.set(topicAlias, topic);
    return { ...packet, topic };
  };

  engine.alias = (topic, encode) => {
    const { topicAliasMaximum: most = 0, maximumPacketSize = 2 ** 28 } = engine.properties;
    const known = ours.get(topic);
    if (known) return encode("", known);
    const next = ours.size + 1;
    if (next > most || next > topicAliasMaximum) return undefined;
    const bytes = encode(topic, next);
    // A packet that is too large is not sent, and its alias not learned.
    if (bytes.length > maximumPacketSize) return undefined;
    ours.set(topic, next);
    return bytes;
  };
}
