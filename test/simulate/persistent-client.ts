/**
 * A client that keeps its session state for ever, as MQTT asks (MQTT 5.0 section 4.1): whatever was not acknowledged is sent
 * again, in order, and a QoS 2 message is taken once.
 */
import type { Packet } from "../../src/core/codec/packet.ts";
import type { Session } from "../../src/core/session/session.ts";
import type { Durability } from "../../src/core/store/store-engine.ts";
import type { TestClient, World } from "../support/world.ts";

/** A message on its way to the broker. */
interface Outgoing {
  readonly packetId: number;
  readonly qos: 1 | 2;
  readonly topicName: string;
  readonly text: string;
  isReleased: boolean;
}

export class PersistentClient {
  /** Texts the broker has taken responsibility for. */
  readonly acknowledged = new Set<string>();
  /** Texts of messages in the order in which they were taken, repetitions of QoS 1 included. */
  readonly received: string[] = [];
  /** How often the broker did not know the session any more. */
  forgotten = 0;
  readonly clientId: string;
  readonly #receiveMaximum: number;
  /** Payloads are as long as this at least. */
  readonly #payloadBytes: number;
  /** What its listener promises. */
  readonly durability: Durability | undefined;
  #client: TestClient | null = null;
  #outgoing: Outgoing[] = [];
  /** QoS 2 identifiers of the broker that were taken and not released. */
  readonly #taken = new Set<number>();
  #lastPacketId = 0;
  #wasLetIn = false;
  #isLetIn = false;

  constructor(clientId: string, receiveMaximum: number, payloadBytes = 0, durability?: Durability) {
    this.clientId = clientId;
    this.durability = durability;
    this.#payloadBytes = payloadBytes;
    this.#receiveMaximum = receiveMaximum;
  }

  get isConnected(): boolean {
    return this.#client !== null && !this.#client.closed;
  }

  /** The session at the broker, while the client is let in to it. */
  get session(): Session | null {
    return this.#client?.connection.session ?? null;
  }

  get openCount(): number {
    return this.#outgoing.length;
  }

  connect(world: World): void {
    const properties = { sessionExpiryInterval: 10_000, receiveMaximum: this.#receiveMaximum };
    const { clientId, durability } = this;
    this.#client = world.dial({ clientId, cleanStart: false, properties, durability });
    this.#isLetIn = false;
  }

  /** The connection is gone, the session is not. */
  leave(politely: boolean): void {
    const client = this.#client;
    this.lose();
    if (client === null || client.closed) return;
    if (politely) client.disconnect();
    client.drop();
  }

  /** The broker is gone. */
  lose(): void {
    this.#client = null;
    this.#isLetIn = false;
  }

  /** Sent now if the client is connected, otherwise when it is. */
  publish(topicName: string, text: string, qos: 1 | 2): void {
    const inUse = new Set(this.#outgoing.map(({ packetId }) => packetId));
    do this.#lastPacketId = (this.#lastPacketId % 60_000) + 1;
    while (inUse.has(this.#lastPacketId));
    const message = { packetId: this.#lastPacketId, qos, topicName, text, isReleased: false };
    this.#outgoing.push(message);
    if (this.#isLetIn && this.isConnected) this.#send(message, false);
  }

  /** Asks for a filter; its answer is not looked at. */
  subscribe(topicFilter: string, qos: 1 | 2): void {
    if (!this.#isLetIn || !this.isConnected) return;
    const filter = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    this.#client!.send({ type: "subscribe", packetId: 65_535, filters: [filter], properties: {} });
  }

  /** Handles what has arrived, one packet at a time, until there is none or `patience` says no. */
  handle(patience: () => boolean): void {
    const client = this.#client;
    if (client === null) return;
    while (client.packets.length > 0 && !client.closed && patience()) this.#take(client, client.packets.shift()!);
  }

  #take(client: TestClient, packet: Packet): void {
    switch (packet.type) {
      case "connack":
        if (packet.reasonCode !== 0) throw new Error(`${this.clientId}: refused with ${packet.reasonCode}`);
        return this.#begin(packet.sessionPresent);
      case "publish":
        return this.#receive(client, packet);
      case "pubrel":
        this.#taken.delete(packet.packetId);
        return client.send({ type: "pubcomp", packetId: packet.packetId, reasonCode: 0, properties: {} });
      case "puback":
        return this.#finish(packet.packetId, packet.reasonCode);
      case "pubrec":
        if (packet.reasonCode >= 0x80) return this.#forget(packet.packetId);
        return this.#release(client, packet.packetId);
      case "pubcomp":
        return this.#forget(packet.packetId);
      default:
    }
  }

  #begin(sessionPresent: boolean): void {
    this.#isLetIn = true;
    if (!sessionPresent && this.#wasLetIn) this.forgotten++;
    this.#wasLetIn = true;
    for (const message of this.#outgoing) this.#send(message, true);
  }

  #send({ packetId, qos, topicName, text, isReleased }: Outgoing, dup: boolean): void {
    const client = this.#client!;
    if (isReleased) client.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    else client.sendPublish(topicName, text.padEnd(this.#payloadBytes), { qos, dup, packetId });
  }

  #receive(client: TestClient, packet: Extract<Packet, { type: "publish" }>): void {
    const { qos, packetId = 0 } = packet;
    const text = new TextDecoder().decode(packet.payload).trimEnd();
    if (qos < 2 || !this.#taken.has(packetId)) this.received.push(text);
    if (qos === 1) client.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
    if (qos !== 2) return;
    this.#taken.add(packetId);
    client.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
  }

  #finish(packetId: number, reasonCode: number): void {
    const message = this.#outgoing.find((open) => open.packetId === packetId);
    if (message !== undefined && reasonCode < 0x80) this.acknowledged.add(message.text);
    this.#forget(packetId);
  }

  #release(client: TestClient, packetId: number): void {
    const message = this.#outgoing.find((open) => open.packetId === packetId);
    if (message === undefined) return;
    this.acknowledged.add(message.text);
    message.isReleased = true;
    client.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
  }

  #forget(packetId: number): void {
    this.#outgoing = this.#outgoing.filter((open) => open.packetId !== packetId);
  }
}
