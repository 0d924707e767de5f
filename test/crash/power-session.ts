/**
 * The dialogue that is traced: sessions, subscriptions and messages, each with a marker of its own that can be found in the store.
 *
 * First one thing at a time, so that what happens between a packet and its answer belongs to them; then many at once, so that one
 * sync serves several acknowledgements. Packet Identifiers are not used again, so that each names its message.
 */
import { Dialogue } from "./dialogue.ts";
import { elapsed } from "./elapsed.ts";
import type { Expectation } from "./sync-order.ts";
import {
  CONNACK,
  encodeAcknowledgement,
  encodePublish,
  encodeSubscribe,
  encodeUnsubscribe,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBACK,
  SUCCESS,
  UNSUBACK,
} from "./wire.ts";
import { decodeAnswers, decodePublish } from "./wire-reader.ts";

export interface MarkedMessage {
  readonly marker: string;
  readonly qos: 1 | 2;
  /** Where its PUBACK or PUBREC goes. */
  readonly clientPort: number;
  readonly packetId: number;
}

export interface PowerSession {
  /** A session that has received nothing yet, subscribed to every message. */
  readonly keeperId: string;
  readonly keeperSuback: { readonly clientPort: number; readonly packetId: number };
  readonly messages: readonly MarkedMessage[];
  readonly expectations: readonly Expectation[];
}

/** What the broker does later, without being waited for, is done after this long. */
const SETTLE_MS = 40;
const MARKED_BEFORE = "power-mark";

export async function holdPowerSession(port: number, messageCount: number): Promise<PowerSession> {
  const session = new Session(port);
  await session.keeper();
  const each = Math.max(1, Math.floor(messageCount / 5));
  await session.oneByOne(1, each);
  await session.oneByOne(2, each);
  await session.delivered(each);
  await session.atOnce(messageCount - 3 * each);
  const { keeperId, keeperSuback, messages, expectations } = session;
  return { keeperId, keeperSuback, messages, expectations };
}

class Session {
  readonly messages: MarkedMessage[] = [];
  readonly expectations: Expectation[] = [];
  keeperId = "";
  keeperSuback = { clientPort: 0, packetId: 0 };
  readonly #port: number;
  #marks = 0;
  #packetIds = 0;

  constructor(port: number) {
    this.#port = port;
  }

  async keeper(): Promise<void> {
    const keeper = await this.#connect();
    this.keeperId = keeper.clientId;
    this.keeperSuback = { clientPort: keeper.localPort, packetId: await this.#subscribe(keeper, "power/#") };
    const left = `power/left/${this.#mark()}`;
    await this.#subscribe(keeper, left, left);
    await this.#unsubscribe(keeper, left);
    keeper.end();
    await elapsed(SETTLE_MS);
  }

  async oneByOne(qos: 1 | 2, count: number): Promise<void> {
    const publisher = await this.#connect();
    for (let i = 0; i < count; i++) {
      const { packetId } = this.#publish(publisher, qos);
      await publisher.acknowledged(qos === 1 ? PUBACK : PUBREC, packetId);
      await elapsed(SETTLE_MS);
      if (qos === 2) await this.#release(publisher, packetId);
    }
    publisher.end();
  }

  /** To a subscriber at QoS 2 that answers each step after a while. */
  async delivered(count: number): Promise<void> {
    const subscriber = await this.#connect();
    await this.#subscribe(subscriber, "power/#");
    const publisher = await this.#connect();
    const clientPort = subscriber.localPort;
    for (let i = 0; i < count; i++) {
      const { packetId, marker } = this.#publish(publisher, 2);
      await publisher.acknowledged(PUBREC, packetId);
      const delivery = decodePublish(await subscriber.next(PUBLISH));
      this.#expect("PUBLISH at QoS 2", { clientPort, type: PUBLISH, packetId: 0, payload: marker }, { marker });
      await this.#release(publisher, packetId);
      await elapsed(SETTLE_MS);
      const received = { clientPort, type: PUBREC, packetId: delivery.packetId };
      subscriber.send(encodeAcknowledgement(PUBREC, delivery.packetId, SUCCESS));
      await subscriber.next(PUBREL, delivery.packetId);
      this.#expect("PUBREL", { clientPort, type: PUBREL, packetId: delivery.packetId }, { received });
      await elapsed(SETTLE_MS);
      subscriber.send(encodeAcknowledgement(PUBCOMP, delivery.packetId, SUCCESS));
      await elapsed(SETTLE_MS);
    }
    publisher.end();
    subscriber.end();
  }

  async atOnce(count: number): Promise<void> {
    const publishers = [await this.#connect(), await this.#connect()];
    const waits: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      const publisher = publishers[i % 2]!;
      const { packetId, qos } = this.#publish(publisher, i % 4 < 2 ? 1 : 2);
      waits.push(publisher.acknowledged(qos === 1 ? PUBACK : PUBREC, packetId));
    }
    await Promise.all(waits);
    for (const publisher of publishers) publisher.end();
    await elapsed(SETTLE_MS);
  }

  async #connect(): Promise<Dialogue> {
    const clientId = this.#mark();
    const dialogue = await Dialogue.open(this.#port, clientId, false);
    this.#expect("CONNACK", { clientPort: dialogue.localPort, type: CONNACK, packetId: 0 }, { marker: clientId });
    await elapsed(SETTLE_MS);
    return dialogue;
  }

  /** A filter with a marker is held against its row in the store; any other against the SUBSCRIBE. */
  async #subscribe(client: Dialogue, filter: string, marker: string | null = null): Promise<number> {
    const packetId = ++this.#packetIds;
    const name = { clientPort: client.localPort, packetId };
    client.send(encodeSubscribe(packetId, [{ filter, qos: 2, retainHandling: 2 }], []));
    const { reasonCodes } = decodeAnswers((await client.next(SUBACK, packetId)).body);
    if (reasonCodes[0] !== 2) throw new Error(`SUBACK with Reason Code ${reasonCodes[0]}`);
    const cause = marker === null ? { received: { ...name, type: 0x80 } } : { marker };
    this.#expect("SUBACK", { ...name, type: SUBACK }, cause);
    await elapsed(SETTLE_MS);
    return packetId;
  }

  async #unsubscribe(client: Dialogue, filter: string): Promise<void> {
    const packetId = ++this.#packetIds;
    const name = { clientPort: client.localPort, packetId };
    client.send(encodeUnsubscribe(packetId, [filter]));
    await client.next(UNSUBACK, packetId);
    this.#expect("UNSUBACK", { ...name, type: UNSUBACK }, { received: { ...name, type: 0xa0 } });
  }

  #publish(publisher: Dialogue, qos: 1 | 2): MarkedMessage {
    const marker = this.#mark();
    const packetId = ++this.#packetIds;
    const payload = new TextEncoder().encode(marker);
    const topicName = `power/q${qos}`;
    publisher.send(encodePublish({ topicName, qos, dup: false, retain: false, packetId, properties: [], payload }));
    const message = { marker, qos, clientPort: publisher.localPort, packetId };
    this.messages.push(message);
    const type = qos === 1 ? PUBACK : PUBREC;
    this.#expect(qos === 1 ? "PUBACK" : "PUBREC", { clientPort: publisher.localPort, type, packetId }, { marker });
    return message;
  }

  async #release(publisher: Dialogue, packetId: number): Promise<void> {
    const name = { clientPort: publisher.localPort, packetId };
    publisher.send(encodeAcknowledgement(PUBREL, packetId, SUCCESS));
    await publisher.acknowledged(PUBCOMP, packetId);
    this.#expect("PUBCOMP", { ...name, type: PUBCOMP }, { received: { ...name, type: PUBREL } });
  }

  /** Random, so that nothing else in the store can look like it. */
  #mark(): string {
    return `${MARKED_BEFORE}-${++this.#marks}-${crypto.randomUUID().slice(0, 13)}`;
  }

  #expect(name: string, packet: Expectation["packet"], cause: Expectation["cause"]): void {
    this.expectations.push({ name, packet, cause });
  }
}
