/**
 * A small reference model of sessions, and the client that lives by it: what must, may and must not arrive.
 *
 * The model knows sessions, subscriptions and accepted messages, and nothing of how a broker works. Its client keeps to
 * the specification; it sees packets in an inbox and takes them one at a time, so that a connection can be lost with
 * packets, or with the answers to packets, still on their way. Every surprise throws.
 *
 * Invariant: `expected` holds exactly the messages that the client's present session was given (MQTT 5.0 sections 4.1,
 * 4.3, 4.4, 4.5, 4.6 and 4.9).
 */
import type { Packet, ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { type TestClient, toText, type World } from "./world.ts";

/** The Topic Names each Topic Filter of the model matches, by hand. */
export const MATCHES: Readonly<Record<string, readonly string[]>> = {
  a: ["a"],
  "a/b": ["a/b"],
  "+": ["a", "b"],
  "a/#": ["a", "a/b"],
  "#": ["a", "a/b", "b"],
};
export const TOPIC_NAMES = ["a", "a/b", "b"] as const;
/** Packet Identifiers of the client's own PUBLISH packets start here, clear of those of SUBSCRIBE. */
const PUBLISH_ID_FIRST = 1000;

interface Message {
  /** Ascending over all messages; also the payload. */
  readonly number: number;
  readonly topicName: string;
  readonly qos: QoS;
  readonly publisher: string;
}

interface Expectation {
  readonly message: Message;
  /** The lower of the published and the highest granted QoS. */
  readonly qos: QoS;
  /** Whether it has to arrive; otherwise it may. */
  must: boolean;
  /** How often the application got it. */
  deliveries: number;
  /** It was sent on an earlier connection of this session. */
  sentBefore: boolean;
  /** The connection it was last seen on. */
  connectionNumber: number;
  packetId: number | undefined;
  /** The broker has its PUBACK or PUBREC. */
  acknowledged: boolean;
}

export class ModelClient {
  readonly clientId: string;
  readonly level: ProtocolLevel;
  readonly expected = new Map<number, Expectation>();
  /** Packets that arrived and were not looked at, oldest first. */
  inbox: Packet[] = [];
  wire: TestClient | undefined;
  /** The client does not read: QoS 0 messages may be dropped. */
  #stalled = false;
  readonly #world: World;
  readonly #inflightMax: number;
  #hasSession = false;
  #outlivesConnection = false;
  #connectionNumber = 0;
  #window = 0;
  readonly #subscriptions = new Map<string, QoS>();
  /** PUBLISH packets of this connection that hold a place in the window. */
  readonly #outstanding = new Set<number>();
  /** QoS 2 messages taken and not released, by Packet Identifier. */
  readonly #incoming = new Map<number, number>();
  /** The client's own QoS 2 messages, by Packet Identifier. */
  readonly #outgoing = new Map<number, { message: Message; released: boolean }>();
  /** Highest message number per publisher, topic and QoS: on this connection, and of first deliveries. */
  readonly #connectionOrder = new Map<string, number>();
  readonly #firstOrder = new Map<string, number>();
  #publishId = PUBLISH_ID_FIRST;

  constructor(world: World, clientId: string, level: ProtocolLevel, inflightMax: number) {
    this.#world = world;
    this.clientId = clientId;
    this.level = level;
    this.#inflightMax = inflightMax;
  }

  /** Connects, taking over from itself if need be, and sends again what the broker has not answered. */
  connect(cleanStart: boolean, receiveMaximum: number): void {
    const old = this.wire;
    if (old !== undefined) this.#lost();
    const present = this.#hasSession && !cleanStart;
    const properties = this.level === 5 ? { sessionExpiryInterval: 0xffffffff, receiveMaximum } : {};
    this.wire = this.#world.connect({ level: this.level, clientId: this.clientId, cleanStart, properties });
    check(old === undefined || old.closed, "the old connection stayed open after a take-over");
    check(this.wire.connack?.sessionPresent === present, `Session Present is not ${present}`);
    if (!present) this.#forget();
    this.#hasSession = true;
    this.#outlivesConnection = this.level === 5 || !cleanStart;
    this.#window = this.level === 5 ? Math.min(receiveMaximum, this.#inflightMax) : this.#inflightMax;
    this.#connectionNumber++;
    this.observe();
    for (const [packetId, { message, released }] of this.#outgoing) {
      if (released) this.#send("pubrel", packetId);
      else this.wire.sendPublish(message.topicName, `${message.number}`, { qos: 2, packetId, dup: true });
      this.observe();
    }
  }

  /** The connection ends, with or without DISCONNECT; what is in the inbox never reached the client. */
  disconnect(politely: boolean): void {
    if (this.wire === undefined) return;
    if (politely) this.wire.disconnect();
    else this.wire.drop();
    this.#lost();
  }

  /** From now on the network takes nothing more from the broker, until `drain`. */
  stall(): void {
    if (this.wire === undefined) return;
    this.wire.stall();
    this.#stalled = true;
  }

  drain(): void {
    this.#stalled = false;
    this.wire?.drain();
    this.observe();
  }

  subscribe(topicFilter: string, qos: QoS): void {
    if (this.wire === undefined) return;
    const { reasonCodes } = this.wire.subscribe(topicFilter, { qos });
    check(reasonCodes[0] === qos, `SUBACK says ${reasonCodes}`);
    this.#subscriptions.set(topicFilter, qos);
  }

  unsubscribe(topicFilter: string): void {
    if (this.wire === undefined) return;
    const { reasonCodes } = this.wire.unsubscribe(topicFilter);
    const known = this.#subscriptions.delete(topicFilter);
    if (this.level === 5) check(reasonCodes[0] === (known ? 0 : 0x11), `UNSUBACK says ${reasonCodes}`);
    // Delivery that began is completed, what still waits may be dropped [MQTT-3.10.4-3].
    for (const expectation of this.expected.values()) {
      if (MATCHES[topicFilter]?.includes(expectation.message.topicName)) expectation.must = false;
    }
  }

  /** Sends a PUBLISH; answers the accepted message, which is then to be given to all clients with `route`. */
  publish(number: number, topicName: string, qos: QoS, hasReceiver: boolean): Message | undefined {
    if (this.wire === undefined) return undefined;
    const message: Message = { number, topicName, qos, publisher: this.clientId };
    const packetId = this.#publishId++;
    if (qos === 2) this.#outgoing.set(packetId, { message, released: false });
    this.wire.sendPublish(topicName, `${number}`, { qos, packetId });
    if (qos === 0) return message;
    const type = qos === 1 ? "puback" : "pubrec";
    const answer = this.wire.packets.find((packet) => packet.type === type && packet.packetId === packetId);
    check(answer !== undefined, `no ${type} ${packetId}`);
    const expectedCode = this.level === 5 && !hasReceiver ? 0x10 : 0;
    check("reasonCode" in answer! && answer.reasonCode === expectedCode, `${JSON.stringify(answer)}`);
    return message;
  }

  /** The highest QoS that the session asked for this topic, if it did. */
  grantedQos(topicName: string): QoS | undefined {
    let highest: QoS | undefined;
    for (const [topicFilter, qos] of this.#subscriptions) {
      if (MATCHES[topicFilter]?.includes(topicName) && qos >= (highest ?? 0)) highest = qos;
    }
    return highest;
  }

  /** A message was accepted: notes what it means for this client. */
  route(message: Message): void {
    const granted = this.grantedQos(message.topicName);
    if (granted === undefined) return;
    const qos = Math.min(granted, message.qos) as QoS;
    this.expected.set(message.number, {
      message,
      qos,
      must: qos > 0 || (this.wire !== undefined && !this.#stalled),
      deliveries: 0,
      sentBefore: false,
      connectionNumber: 0,
      packetId: undefined,
      acknowledged: false,
    });
  }

  /** Fetches what the broker has sent; checks the window [MQTT-3.3.4-9]. */
  observe(): void {
    if (this.wire === undefined) return;
    check(!this.wire.closed, `closed with ${this.wire.closeReason}`);
    for (const packet of this.wire.takeAll()) {
      this.inbox.push(packet);
      if (packet.type === "publish" && packet.packetId !== undefined) this.#outstanding.add(packet.packetId);
    }
    check(this.#outstanding.size <= this.#window, `${this.#outstanding.size} messages in a window of ${this.#window}`);
  }

  /** Takes up to `count` packets. Without `answering` the answers do not reach the broker: the connection has to end next. */
  take(count: number, answering = true): void {
    for (let taken = 0; taken < count; taken++) {
      const packet = this.inbox.shift();
      if (packet === undefined) return;
      this.#handle(packet, answering);
      this.observe();
    }
  }

  /** Takes everything until the broker has nothing more to say; then nothing that had to arrive is missing. */
  takeEverything(): void {
    if (this.wire === undefined) return;
    this.drain();
    this.take(Number.POSITIVE_INFINITY);
    for (const { message, must, deliveries } of this.expected.values()) {
      check(!must || deliveries > 0, `${this.clientId} never got ${JSON.stringify(message)}`);
    }
    check(this.#outgoing.size === 0, "a QoS 2 handshake was not finished");
  }

  #handle(packet: Packet, answering: boolean): void {
    if (packet.type === "publish") {
      this.#handlePublish(packet, answering);
    } else if (packet.type === "pubrel") {
      this.#incoming.delete(packet.packetId);
      if (answering) {
        this.#outstanding.delete(packet.packetId);
        this.#send("pubcomp", packet.packetId);
      }
    } else if (packet.type === "pubrec") {
      const outgoing = this.#outgoing.get(packet.packetId);
      check(outgoing !== undefined && packet.reasonCode < 0x80, `unexpected ${JSON.stringify(packet)}`);
      outgoing!.released = true;
      if (answering) this.#send("pubrel", packet.packetId);
    } else if (packet.type === "pubcomp") {
      check(this.#outgoing.delete(packet.packetId), `unexpected ${JSON.stringify(packet)}`);
    } else {
      check(packet.type === "puback", `unexpected ${JSON.stringify(packet)}`);
    }
  }

  #handlePublish(publish: Publish, answering: boolean): void {
    const text = toText(publish.payload);
    const expectation = this.expected.get(Number(text));
    if (expectation === undefined) throw new Error(`${this.clientId}: message ${text} is none of its session's`);
    this.#checkPublish(publish, expectation);
    const { qos, message } = expectation;
    const packetId = publish.packetId ?? 0;
    expectation.connectionNumber = this.#connectionNumber;
    expectation.packetId = publish.packetId;
    if (qos < 2) {
      expectation.deliveries++;
    } else if (!this.#incoming.has(packetId)) {
      this.#incoming.set(packetId, message.number);
      expectation.deliveries++;
    }
    check(qos !== 2 || this.#incoming.get(packetId) === message.number, `id ${packetId} names two messages`);
    check(qos === 1 || expectation.deliveries === 1, `message ${text} was delivered ${expectation.deliveries} times`);
    if (!answering || qos === 0) return;
    expectation.acknowledged = true;
    if (qos === 1) this.#outstanding.delete(packetId);
    this.#send(qos === 1 ? "puback" : "pubrec", packetId);
  }

  #checkPublish(publish: Publish, expectation: Expectation): void {
    const { message, qos, sentBefore, packetId, acknowledged, connectionNumber, deliveries } = expectation;
    const seen = JSON.stringify({ ...publish, payload: message.number, clientId: this.clientId });
    check(publish.topicName === message.topicName && publish.qos === qos && !publish.retain, `changed: ${seen}`);
    check(!acknowledged, `acknowledged and sent again: ${seen}`);
    check(connectionNumber !== this.#connectionNumber, `twice on one connection: ${seen}`);
    check(publish.dup === sentBefore, `DUP is wrong: ${seen}`);
    check(packetId === undefined || packetId === publish.packetId, `another Packet Identifier: ${seen}`);
    const stream = `${message.publisher} ${message.topicName} ${message.qos} ${qos}`;
    check((this.#connectionOrder.get(stream) ?? -1) < message.number, `out of order: ${seen}`);
    this.#connectionOrder.set(stream, message.number);
    if (deliveries > 0) return;
    check((this.#firstOrder.get(stream) ?? -1) < message.number, `out of order after a reconnect: ${seen}`);
    this.#firstOrder.set(stream, message.number);
  }

  /** The connection is gone, and with it what was under way. */
  #lost(): void {
    for (const packet of this.inbox) {
      const expectation = packet.type === "publish" ? this.expected.get(Number(toText(packet.payload))) : undefined;
      if (expectation === undefined || packet.type !== "publish") continue;
      expectation.connectionNumber = this.#connectionNumber;
      expectation.packetId = packet.packetId;
    }
    for (const [number, expectation] of this.expected) {
      if (expectation.connectionNumber !== this.#connectionNumber) continue;
      expectation.sentBefore = true;
      // QoS 0 is sent once, however that went.
      if (expectation.qos === 0) this.expected.delete(number);
    }
    this.inbox = [];
    this.#outstanding.clear();
    this.#connectionOrder.clear();
    this.wire = undefined;
    this.#stalled = false;
    if (this.#outlivesConnection) return;
    this.#hasSession = false;
    this.#forget();
  }

  /** The session is over, on both sides. */
  #forget(): void {
    this.expected.clear();
    this.#subscriptions.clear();
    this.#incoming.clear();
    this.#outgoing.clear();
    this.#firstOrder.clear();
  }

  #send(type: "puback" | "pubrec" | "pubrel" | "pubcomp", packetId: number): void {
    this.wire?.send({ type, packetId, reasonCode: 0, properties: {} });
  }
}

function check(holds: boolean, complaint: string): void {
  if (!holds) throw new Error(complaint);
}
