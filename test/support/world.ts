/**
 * A Broker in memory with recording wires and a clock moved by hand: no sockets, no timers, no sleeps.
 *
 * Clients speak bytes: what a TestClient sends is encoded by the codec (or given as raw bytes), what it receives is cut
 * and decoded. Every call ends with the broker settled, so a test reads as a dialogue.
 */
import { Broker } from "../../src/core/broker.ts";
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel, type QoS } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import type { Suback } from "../../src/core/codec/suback.ts";
import type { SubscribeFilter } from "../../src/core/codec/subscribe.ts";
import type { Unsuback } from "../../src/core/codec/unsuback.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import type { Connection } from "../../src/core/connection/connection.ts";
import { allowAll } from "../../src/core/gate/allow-all.ts";
import { type BrokerConfig, type Capabilities, DEFAULT_BROKER_CONFIG, type Limits } from "../../src/core/limits.ts";
import type { AuthHost, LogFields, LogLevel, Wire } from "../../src/core/ports.ts";
import type { Durability } from "../../src/core/store/store-engine.ts";
import { HeldStore } from "./held-store.ts";

export interface WorldOptions {
  limits?: Partial<Limits>;
  capabilities?: Partial<Capabilities>;
  config?: Partial<Omit<BrokerConfig, "limits" | "capabilities">>;
  auth?: AuthHost;
  /** What earlier worlds left in it is there again; null: none, even where everything is tried with one. */
  store?: HeldStore | null;
  nowMs?: number;
}

export interface LogLine {
  level: LogLevel;
  event: string;
  fields: LogFields;
}

/** A CONNECT with everything optional; level 5, clean start, no keep alive, a generated client id by default. */
export interface ConnectInit {
  level?: ProtocolLevel;
  clientId?: string;
  cleanStart?: boolean;
  keepAlive?: number;
  will?: { topicName: string; payload?: string | Uint8Array; qos?: QoS; retain?: boolean; properties?: Properties };
  username?: string;
  password?: string | Uint8Array;
  properties?: Properties;
  /** What its listener promises; otherwise what the broker does. */
  durability?: Durability | undefined;
}

export interface PublishInit {
  qos?: QoS;
  retain?: boolean;
  dup?: boolean;
  packetId?: number;
  properties?: Properties;
}

export class World {
  readonly broker: Broker;
  readonly log: LogLine[] = [];
  /** Milliseconds since 1970. */
  nowMs: number;
  readonly store: HeldStore | undefined;
  #clientIds = 0;

  constructor(options: WorldOptions = {}) {
    const config: BrokerConfig = {
      ...DEFAULT_BROKER_CONFIG,
      sysIntervalMs: 0,
      ...options.config,
      limits: { ...DEFAULT_BROKER_CONFIG.limits, ...options.limits },
      capabilities: { ...DEFAULT_BROKER_CONFIG.capabilities, ...options.capabilities },
    };
    this.nowMs = options.nowMs ?? 1_750_000_000_000;
    const everywhere = process.env["RQTT_TEST_STORE"] === "1" ? new HeldStore() : undefined;
    this.store = options.store === null ? undefined : (options.store ?? everywhere);
    this.broker = new Broker(
      config,
      {
        auth: options.auth ?? allowAll,
        log: { write: (level, event, fields) => void this.log.push({ level, event, fields }) },
        ids: { clientId: () => `assigned${++this.#clientIds}`, seed: () => 0x811c9dc5 },
        store: this.store,
      },
      this.nowMs,
    );
    if (this.store !== undefined) {
      const restoration = this.broker.restore();
      restoration.finish(this.store.engine.load(restoration.sink), this.nowMs);
      this.settle();
    }
  }

  /** A Network Connection on which nothing was sent yet. */
  open(level: ProtocolLevel = 5, remoteAddress = "192.0.2.1", durability?: Durability): TestClient {
    return new TestClient(this, level, remoteAddress, durability);
  }

  /** A client that sent CONNECT; its CONNACK is still to be taken. */
  dial(init: ConnectInit = {}): TestClient {
    const client = this.open(init.level ?? 5, undefined, init.durability);
    client.clientId = init.clientId ?? `client${++this.#clientIds}`;
    client.send(connectPacket(client.clientId, init));
    return client;
  }

  /** A client whose CONNACK said success; throws otherwise. The CONNACK is at `client.connack`. */
  connect(init: ConnectInit = {}): TestClient {
    const client = this.dial(init);
    const connack = client.take("connack");
    if (connack.reasonCode !== 0) throw new Error(`refused with 0x${connack.reasonCode.toString(16)}`);
    client.connack = connack;
    return client;
  }

  /** Moves the clock, letting everything that falls due in between happen at its own time. */
  advance(ms: number): void {
    const until = this.nowMs + ms;
    for (let next = this.settle(); next <= until; next = this.settle()) {
      this.nowMs = Math.max(this.nowMs, next);
      this.broker.tick(this.nowMs);
    }
    this.nowMs = until;
    this.broker.tick(until);
    this.settle();
  }

  settle(): number {
    let nextAtMs = this.broker.settle(this.nowMs);
    while (this.store?.automatic === true && this.store.calls.length > 0) {
      this.store.carryOut(this.broker, this.nowMs);
      nextAtMs = this.broker.settle(this.nowMs);
    }
    return nextAtMs;
  }
}

export function connectPacket(clientId: string, init: ConnectInit): Packet {
  const { will } = init;
  const packet: Packet = {
    type: "connect",
    protocolLevel: init.level ?? 5,
    cleanStart: init.cleanStart ?? true,
    keepAlive: init.keepAlive ?? 0,
    clientId,
    properties: init.properties ?? {},
  };
  if (will !== undefined) {
    packet.will = {
      topicName: will.topicName,
      payload: toBytes(will.payload ?? ""),
      qos: will.qos ?? 0,
      retain: will.retain ?? false,
      properties: will.properties ?? {},
    };
  }
  if (init.username !== undefined) packet.username = init.username;
  if (init.password !== undefined) packet.password = toBytes(init.password);
  return packet;
}

/** One Network Connection, seen from the client. */
export class TestClient implements Wire {
  readonly remoteAddress: string;
  readonly listener = "test://";
  readonly durability: Durability | undefined;
  readonly world: World;
  readonly connection: Connection;
  level: ProtocolLevel;
  clientId = "";
  connack: Extract<Packet, { type: "connack" }> | undefined;
  /** Packets received and not taken yet, oldest first. */
  readonly packets: Packet[] = [];
  /** Every byte received, for tests that look at the encoding. */
  readonly bytes: number[] = [];
  /** Set once the broker has closed the connection; `closeReason` is the reason code it gave the transport. */
  closed = false;
  closeReason: number | undefined;
  paused = false;
  /** Bytes that the stalled peer has not read. */
  backlogBytes = 0;
  #stalled = false;
  #packetId = 0;
  readonly #framer = new Framer(Number.MAX_SAFE_INTEGER);

  constructor(world: World, level: ProtocolLevel, remoteAddress: string, durability: Durability | undefined) {
    this.remoteAddress = remoteAddress;
    this.durability = durability;
    this.world = world;
    this.level = level;
    this.connection = world.broker.open(this, world.nowMs);
    world.settle();
  }

  // --- Wire

  send(bytes: Uint8Array, lasting: boolean): number;
  send(...packets: Packet[]): void;
  send(...items: (Uint8Array | Packet | boolean)[]): number | undefined {
    if (items[0] instanceof Uint8Array) return this.#receive(items[0]);
    const writer = new Writer();
    for (const packet of items as Packet[]) encodePacket(writer, packet, this.level);
    this.sendBytes(writer.view());
    return undefined;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  close(reasonCode: number): void {
    this.closed = true;
    this.closeReason = reasonCode;
  }

  #receive(bytes: Uint8Array): number {
    if (this.closed) throw new Error("bytes sent after close");
    for (const byte of bytes) this.bytes.push(byte);
    this.#framer.feed(bytes.slice());
    while (this.#framer.next()) {
      const { bytes: packet, packetStart, bodyStart, bodyEnd } = this.#framer;
      // A copy, since binary fields are views and the bytes are the broker's to reuse.
      const body = packet.slice(bodyStart, bodyEnd);
      this.packets.push(decodePacket(packet[packetStart]!, new Reader(body), this.level));
    }
    if (this.#stalled) this.backlogBytes += bytes.length;
    return this.backlogBytes;
  }

  // --- what a client does

  /** Sends raw bytes: a Uint8Array, or hex in any grouping such as "c0 00". */
  sendBytes(bytes: Uint8Array | string): void {
    const raw = typeof bytes === "string" ? fromHex(bytes) : bytes;
    // The broker must not keep views over what it was given: hand it memory that is scribbled over and then gone.
    const chunk = Buffer.alloc(raw.length);
    chunk.set(raw);
    this.world.broker.receive(this.connection, chunk, this.world.nowMs);
    chunk.fill(0xee);
    chunk.buffer.transfer(0);
    this.world.settle();
  }

  /** The network fails: the connection ends without DISCONNECT. */
  drop(): void {
    this.closed = true;
    this.world.broker.closed(this.connection, this.world.nowMs);
    this.world.settle();
  }

  disconnect(reasonCode = 0, properties: Properties = {}): void {
    this.send({ type: "disconnect", reasonCode, properties });
  }

  /** From now on the peer reads nothing: what the broker sends counts as backlog until `drain`. */
  stall(): void {
    this.#stalled = true;
  }

  drain(): void {
    this.#stalled = false;
    this.backlogBytes = 0;
    this.world.broker.drained(this.connection, 0, this.world.nowMs);
    this.world.settle();
  }

  subscribe(
    topicFilter: string | string[],
    options: Partial<SubscribeFilter> = {},
    properties: Properties = {},
  ): Suback {
    const list = typeof topicFilter === "string" ? [topicFilter] : topicFilter;
    const packetId = this.nextPacketId();
    const defaults = { qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    const filters = list.map((filter) => ({ ...defaults, ...options, topicFilter: filter }));
    this.send({ type: "subscribe", packetId, filters, properties });
    return this.#answer("suback", packetId);
  }

  unsubscribe(topicFilter: string | string[]): Unsuback {
    const packetId = this.nextPacketId();
    const topicFilters = typeof topicFilter === "string" ? [topicFilter] : topicFilter;
    this.send({ type: "unsubscribe", packetId, topicFilters, properties: {} });
    return this.#answer("unsuback", packetId);
  }

  /** Sends a PUBLISH and nothing more; answers its packet id (0 at QoS 0). Acknowledgements are for `take`. */
  sendPublish(topicName: string, payload: string | Uint8Array = "", init: PublishInit = {}): number {
    const qos = init.qos ?? 0;
    const packet: Publish = {
      type: "publish",
      dup: init.dup ?? false,
      qos,
      retain: init.retain ?? false,
      topicName,
      payload: toBytes(payload),
      properties: init.properties ?? {},
    };
    if (qos > 0) packet.packetId = init.packetId ?? this.nextPacketId();
    this.send(packet);
    return packet.packetId ?? 0;
  }

  /** Publishes with the whole handshake of its QoS; answers the reason code of PUBACK or PUBREC (0 at QoS 0). */
  publish(topicName: string, payload: string | Uint8Array = "", init: PublishInit = {}): number {
    const packetId = this.sendPublish(topicName, payload, init);
    const qos = init.qos ?? 0;
    if (qos === 0) return 0;
    if (qos === 1) return this.#answer("puback", packetId).reasonCode;
    const { reasonCode } = this.#answer("pubrec", packetId);
    if (reasonCode < 0x80) {
      this.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
      this.#answer("pubcomp", packetId);
    }
    return reasonCode;
  }

  /** Takes the next packet, which has to be of this type. */
  take<T extends Packet["type"]>(type: T): Extract<Packet, { type: T }> {
    const packet = this.packets.shift();
    if (packet === undefined) throw new Error(`expected ${type}, found nothing${this.closed ? " (closed)" : ""}`);
    if (packet.type !== type) throw new Error(`expected ${type}, found ${JSON.stringify(packet)}`);
    return packet as Extract<Packet, { type: T }>;
  }

  /** Takes everything received so far. */
  takeAll(): Packet[] {
    return this.packets.splice(0);
  }

  /** Takes every PUBLISH received so far and acknowledges each as its QoS asks; other packets stay. */
  takePublishes(): Publish[] {
    const taken: Publish[] = [];
    for (let more = true; more; ) {
      more = false;
      for (const packet of this.packets.splice(0)) {
        if (packet.type !== "publish") {
          if (packet.type === "pubrel") {
            this.send({ type: "pubcomp", packetId: packet.packetId, reasonCode: 0, properties: {} });
            more = true;
          } else {
            this.packets.push(packet);
          }
          continue;
        }
        taken.push(packet);
        const packetId = packet.packetId ?? 0;
        if (packet.qos === 1) this.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
        if (packet.qos === 2) this.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
        more ||= packet.qos > 0;
      }
    }
    return taken;
  }

  nextPacketId(): number {
    return (this.#packetId = (this.#packetId % 65_535) + 1);
  }

  #answer<T extends "suback" | "unsuback" | "puback" | "pubrec" | "pubcomp">(
    type: T,
    packetId: number,
  ): Extract<Packet, { type: T }> {
    const at = this.packets.findIndex((packet) => packet.type === type && packet.packetId === packetId);
    if (at === -1) throw new Error(`no ${type} ${packetId} in ${JSON.stringify(this.packets)}`);
    return this.packets.splice(at, 1)[0] as Extract<Packet, { type: T }>;
  }
}

export function toBytes(data: string | Uint8Array): Uint8Array {
  return typeof data === "string" ? new TextEncoder().encode(data) : data;
}

export function toText(data: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(data);
}

export function fromHex(hex: string): Uint8Array {
  const digits = hex.replace(/[^0-9a-fA-F]/g, "");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function toHex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
