/**
 * Topic Aliases of one Network Connection, both ways (MQTT 5.0 section 3.3.2.3.4). They end with it [MQTT-3.3.2-7].
 */
import type { TopicName } from "../application-message.ts";
import { PeerError } from "../codec/peer-error.ts";

/** What the client's aliases stand for; an alias may be given a new meaning at any time. */
export class InboundAliases<Topic extends TopicName> {
  readonly #topics: (Topic | undefined)[] = [];
  readonly #max: number;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(max: number, bytesMax: number) {
    this.#max = max;
    this.#bytesMax = bytesMax;
  }

  set(alias: number, topic: Topic): void {
    this.#check(alias);
    this.#bytes += topic.bytes.length - (this.#topics[alias]?.bytes.length ?? 0);
    if (this.#bytes > this.#bytesMax) {
      throw new PeerError(0x97, "3.3.2.3.4", `Topic Aliases for more than ${this.#bytesMax} bytes of Topic Names`);
    }
    this.#topics[alias] = topic;
  }

  get(alias: number): Topic {
    this.#check(alias);
    const topic = this.#topics[alias];
    if (topic === undefined)
      throw new PeerError(0x82, "3.3.2.3.4", `Topic Alias ${alias} was never given a Topic Name`);
    return topic;
  }

  /** [MQTT-3.3.2-9]; alias 0 is refused where the property is read. */
  #check(alias: number): void {
    if (alias > this.#max)
      throw new PeerError(0x94, "MQTT-3.3.2-9", `Topic Alias ${alias}, at most ${this.#max} announced`);
  }
}

/** The broker's aliases: 1, 2, 3 ... in order of first use, up to the client's maximum [MQTT-3.3.2-11]. */
export class OutboundAliases {
  readonly #aliases = new Map<string, number>();
  readonly #max: number;
  readonly #bytesMax: number;
  #bytes = 0;
  /** Whether the alias last answered is new, so that the Topic Name has to travel with it. */
  isNew = false;

  constructor(max: number, bytesMax: number) {
    this.#max = max;
    this.#bytesMax = bytesMax;
  }

  /** The alias of a topic; 0 where none is left. */
  assign(topicName: TopicName): number {
    const known = this.#aliases.get(topicName.text);
    this.isNew = known === undefined;
    if (known !== undefined) return known;
    const bytes = topicName.bytes.length;
    if (this.#aliases.size >= this.#max || this.#bytes + bytes > this.#bytesMax) return 0;
    this.#bytes += bytes;
    const alias = this.#aliases.size + 1;
    this.#aliases.set(topicName.text, alias);
    return alias;
  }

  /** Takes back an alias that was just assigned but not sent. */
  withdraw(topicName: TopicName): void {
    this.#aliases.delete(topicName.text);
    this.#bytes -= topicName.bytes.length;
  }
}
