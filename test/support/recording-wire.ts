/**
 * A Network Connection to a World whose every `send` is kept as it was called, for tests of how bytes reach a transport:
 * which memory they are in, and what the transport may keep. Bytes that do not last are copied, as a transport has to.
 */
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel, type QoS } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import type { Connection } from "../../src/core/connection/connection.ts";
import type { Wire } from "../../src/core/ports.ts";
import { type ConnectInit, connectPacket, type World } from "./world.ts";

export interface Sent {
  readonly bytes: Uint8Array;
  readonly lasting: boolean;
}

export interface Framed {
  readonly packet: Packet;
}

export class RecordingWire implements Wire {
  readonly remoteAddress = "192.0.2.2";
  readonly listener = "test://";
  readonly sends: Sent[] = [];
  readonly world: World;
  readonly level: ProtocolLevel;
  readonly connection: Connection;
  closed = false;
  paused = false;
  /** What `send` answers. */
  backlogBytes = 0;
  readonly #framer = new Framer(Number.MAX_SAFE_INTEGER);
  #framed: Framed[] = [];

  constructor(world: World, level: ProtocolLevel = 5) {
    this.world = world;
    this.level = level;
    this.connection = world.broker.open(this, world.nowMs);
  }

  /** CONNECT and its CONNACK. */
  static connect(world: World, clientId: string, init: ConnectInit = {}): RecordingWire {
    const wire = new RecordingWire(world, init.level ?? 5);
    wire.give(connectPacket(clientId, init));
    if (wire.takeFramed()[0]?.packet.type !== "connack") throw new Error("no CONNACK");
    return wire;
  }

  send(bytes: Uint8Array, lasting: boolean): number {
    const kept = lasting ? bytes : bytes.slice();
    this.sends.push({ bytes: kept, lasting });
    this.#framer.feed(kept);
    while (this.#framer.next()) {
      const { bytes: packet, packetStart, bodyStart, bodyEnd } = this.#framer;
      const body = packet.slice(bodyStart, bodyEnd);
      this.#framed.push({ packet: decodePacket(packet[packetStart]!, new Reader(body), this.level) });
    }
    this.#framer.release();
    return this.backlogBytes;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  close(): void {
    this.closed = true;
  }

  give(...packets: Packet[]): void {
    const writer = new Writer();
    for (const packet of packets) encodePacket(writer, packet, this.level);
    const chunk = writer.view().slice();
    this.world.broker.receive(this.connection, chunk, this.world.nowMs);
    (chunk.buffer as ArrayBuffer).transfer(0);
    this.world.settle();
  }

  subscribe(topicFilter: string, qos: QoS, properties: Properties = {}): void {
    const filter = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    this.give({ type: "subscribe", packetId: 1, filters: [filter], properties });
    if (this.takeFramed()[0]?.packet.type !== "suback") throw new Error("no SUBACK");
  }

  takeFramed(): Framed[] {
    const framed = this.#framed;
    this.#framed = [];
    return framed;
  }
}
