/** Topic Aliases (MQTT 5.0 section 3.3.2.3.4): the server's, and ours in order of first use, as many as both sides allow. */
import type { Engine } from "./engine.ts";
import { refuse } from "./incoming.ts";

export function topicAliases(engine: Engine): void {
  const { face, options, parts } = engine;
  const { topicAliasMaximum = 16 } = options;
  const ours = new Map<string, number>();
  const theirs = new Map<number, string>();
  parts.push(() => {
    ours.clear();
    theirs.clear();
  });

  engine.resolve = (packet) => {
    const { topicAlias } = packet.properties;
    if (topicAlias === undefined) return packet;
    const topic = packet.topic || theirs.get(topicAlias);
    if (!topic || topicAlias > topicAliasMaximum) refuse(packet.type, 0x94, `Topic Alias ${topicAlias}`);
    theirs.set(topicAlias, topic);
    return { ...packet, topic };
  };

  engine.alias = (topic, encode) => {
    const { topicAliasMaximum: most = 0, maximumPacketSize = Number.POSITIVE_INFINITY } = face.properties;
    const known = ours.get(topic);
    if (known) return encode("", known);
    const next = ours.size + 1;
    if (next <= Math.min(most, topicAliasMaximum)) {
      const bytes = encode(topic, next);
      // A packet that is too large is not sent, and its alias not learned.
      if (bytes.length <= maximumPacketSize) {
        ours.set(topic, next);
        return bytes;
      }
    }
    return encode(topic);
  };
}
