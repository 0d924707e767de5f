/**
 * What fuzzing holds the broker to: whatever its clients send, in whatever order and chunks, no input throws, nothing is
 * logged as a bug, every byte it sends is a packet of the receiver's level, and nothing is sent after the close. Two
 * clients that behave see nothing of it: what one publishes reaches the other, once and at once.
 */
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel, type QoS } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import type { Connection } from "../../src/core/connection/connection.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { Wire } from "../../src/core/ports.ts";
import { type TestClient, toText, World } from "../support/world.ts";
import { CORPUS_PACKETS, CORPUS_STREAMS } from "./corpus.ts";
import { fuzzPacket } from "./packet-fuzzer.ts";
import { Random } from "./random.ts";

/** Small enough for a case to reach them. */
const LIMITS: Partial<Limits> = {
  packetBytesMax: 2048,
  connectBytesMax: 1024,
  topicLevelsMax: 6,
  filtersPerPacketMax: 8,
  subscriptionsPerClientMax: 12,
  userPropertiesMax: 6,
  receiveMaximum: 4,
  inflightMax: 4,
  queueMessagesMax: 6,
  queueBytesMax: 4096,
  topicAliasMaximum: 4,
  topicAliasOutboundMax: 2,
  outboundHighWaterBytes: 2048,
  outboundLowWaterBytes: 512,
  offlineSessionsMax: 4,
  retainedMessagesMax: 8,
  retainedBytesMax: 4096,
};

/** No corpus packet names it, and nothing that changes a few bytes comes to it. */
const QUIET_TOPIC = "bystanders/\u{1f6e1}/only";
const WIRES_MAX = 5;
const STEPS_MAX = 40;

/** What a connected client may send, by level: a CONNECT more would only end it. */
const CLIENT_TYPES: readonly number[] = [
  PacketType.PUBLISH,
  PacketType.PUBACK,
  PacketType.PUBREC,
  PacketType.PUBREL,
  PacketType.PUBCOMP,
  PacketType.SUBSCRIBE,
  PacketType.UNSUBSCRIBE,
  PacketType.PINGREQ,
  PacketType.DISCONNECT,
  PacketType.AUTH,
];
const SEEDS = [3, 4, 5].map((level) =>
  CORPUS_PACKETS.filter((seed) => seed.level === level && CLIENT_TYPES.includes(seed.bytes[0]! >> 4)),
);

const isConnect = (bytes: Uint8Array): boolean => bytes[0]! >> 4 === PacketType.CONNECT;

/** One Network Connection of a client that does not behave. */
class FuzzedWire implements Wire {
  readonly remoteAddress = "198.51.100.7";
  readonly listener = "test://";
  readonly name: string;
  readonly connection: Connection;
  readonly #framer = new Framer(Number.MAX_SAFE_INTEGER);
  /** Publishes and acknowledgements that it could answer. */
  readonly received: Packet[] = [];
  closed = false;
  stalled = false;
  backlogBytes = 0;

  constructor(world: World, name: string) {
    this.name = name;
    this.connection = world.broker.open(this, world.nowMs);
  }

  send(bytes: Uint8Array): number {
    if (this.closed) throw new Error("bytes sent after close");
    this.#framer.feed(bytes.slice());
    while (this.#framer.next()) {
      const { bytes: packet, packetStart, bodyStart, bodyEnd } = this.#framer;
      const body = new Reader(packet.slice(bodyStart, bodyEnd));
      this.received.push(decodePacket(packet[packetStart]!, body, this.connection.protocolLevel));
    }
    if (this.#framer.heldBytes > 0) throw new Error(`sent ${this.#framer.heldBytes} bytes of an incomplete packet`);
    if (this.stalled) this.backlogBytes += bytes.length;
    return this.backlogBytes;
  }

  pause(): void {}
  resume(): void {}

  close(): void {
    this.closed = true;
  }
}

const bytesOf = (packet: Packet, level: ProtocolLevel): Uint8Array => {
  const writer = new Writer();
  encodePacket(writer, packet, level);
  return writer.view().slice();
};

function validConnect(random: Random, level: ProtocolLevel): Packet {
  const clientId = `f${random.below(3)}`;
  const packet: Packet = {
    type: "connect",
    protocolLevel: level,
    cleanStart: random.oneIn(2),
    keepAlive: random.pick([0, 1, 60]),
    clientId,
    properties: {},
  };
  if (level === 5) {
    if (random.oneIn(2)) packet.properties.sessionExpiryInterval = random.pick([0, 1, 100, 0xffffffff]);
    if (random.oneIn(3)) packet.properties.receiveMaximum = random.between(1, 3);
    if (random.oneIn(3)) packet.properties.maximumPacketSize = random.pick([10, 30, 100, 0xffffffff]);
    if (random.oneIn(3)) packet.properties.topicAliasMaximum = random.between(1, 3);
    if (random.oneIn(4)) packet.properties.requestProblemInformation = random.below(2);
  }
  if (random.oneIn(3)) {
    const properties = level === 5 && random.oneIn(2) ? { willDelayInterval: random.below(3) } : {};
    const qos = random.below(3) as QoS;
    packet.will = { topicName: "a/b", payload: Uint8Array.of(1), qos, retain: random.oneIn(2), properties };
  }
  return packet;
}

/** The next thing a client could rightly say: requests, and answers to what it got. */
function validPacket(random: Random, wire: FuzzedWire): Packet {
  const packetId = random.between(1, 6);
  const qos = random.below(3) as QoS;
  const answered = wire.received.shift();
  if (answered?.type === "publish" && answered.packetId !== undefined && !random.oneIn(4)) {
    const type = answered.qos === 1 ? "puback" : "pubrec";
    return { type, packetId: answered.packetId, reasonCode: random.oneIn(6) ? 0x80 : 0, properties: {} };
  }
  if (answered?.type === "pubrec")
    return { type: "pubrel", packetId: answered.packetId, reasonCode: 0, properties: {} };
  if (answered?.type === "pubrel")
    return { type: "pubcomp", packetId: answered.packetId, reasonCode: 0, properties: {} };
  const topicFilter = random.pick(["a/b", "a/#", "+/b", "#", "$SYS/#", "$share/g/a/#", "/"]);
  switch (random.below(8)) {
    case 0:
    case 1:
      return {
        type: "subscribe",
        packetId,
        filters: [{ topicFilter, qos, noLocal: false, retainAsPublished: random.oneIn(2), retainHandling: 0 }],
        properties: {},
      };
    case 2:
      return { type: "unsubscribe", packetId, topicFilters: [topicFilter], properties: {} };
    case 3:
      return { type: "pingreq" };
    case 4:
      return random.oneIn(3) ? { type: "disconnect", reasonCode: 0, properties: {} } : { type: "pingreq" };
    default:
      return {
        type: "publish",
        dup: false,
        qos,
        retain: random.oneIn(3),
        topicName: random.pick(["a/b", "a", "/", "a/b/c", "b"]),
        payload: new Uint8Array(random.pick([0, 1, 20, 300])),
        properties: {},
        ...(qos > 0 ? { packetId } : {}),
      };
  }
}

/** One case: a broker, two bystanders, and up to five connections that say anything. */
class BrokerCase {
  readonly #random: Random;
  readonly #world = new World({ limits: LIMITS });
  readonly #publisher: TestClient;
  readonly #subscriber: TestClient;
  readonly #wires: FuzzedWire[] = [];
  /** What was done, to be read with a failure. */
  readonly steps: string[] = [];
  #published = 0;
  #opened = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#publisher = this.#world.connect({ clientId: "bystander-publisher" });
    this.#subscriber = this.#world.connect({ clientId: "bystander-subscriber" });
    this.#subscriber.subscribe(QUIET_TOPIC, { qos: 1 });
  }

  run(): void {
    for (let steps = this.#random.between(5, STEPS_MAX); steps > 0; steps--) {
      this.#step();
      this.#world.settle();
      this.#check();
    }
    for (const wire of [...this.#wires]) this.#end(wire);
    this.#world.advance(200_000);
    this.#check();
    const { connectionCount } = this.#world.broker;
    if (connectionCount !== 2) throw new Error(`${connectionCount} connections left, 2 expected`);
  }

  #step(): void {
    const random = this.#random;
    if (this.#wires.length === 0 || (this.#wires.length < WIRES_MAX && random.oneIn(5))) {
      const wire = new FuzzedWire(this.#world, `wire ${++this.#opened}`);
      this.#wires.push(wire);
      const level = random.pick([3, 4, 5] as const);
      if (random.oneIn(10)) this.#send(wire, fuzzPacket(random).bytes);
      else this.#send(wire, bytesOf(validConnect(random, level), level));
      return;
    }
    const wire = random.pick(this.#wires);
    const kind = random.below(12);
    if (kind === 0 || wire.closed) {
      this.#end(wire);
    } else if (kind === 1) {
      const ms = random.pick([1, 1000, 2500, 100_000]);
      this.steps.push(`advance ${ms}`);
      this.#world.advance(ms);
    } else if (kind === 2) {
      this.#stall(wire);
    } else if (kind === 3) {
      const level = wire.connection.protocolLevel;
      const { packets } = random.pick(CORPUS_STREAMS.filter((stream) => stream.level === level));
      for (const bytes of packets) if (!isConnect(bytes) || random.oneIn(10)) this.#send(wire, bytes);
    } else if (kind < 6) {
      const seeds = SEEDS[wire.connection.protocolLevel - 3];
      this.#send(wire, fuzzPacket(random, random.oneIn(20) ? undefined : seeds).bytes);
    } else {
      this.#send(wire, bytesOf(validPacket(random, wire), wire.connection.protocolLevel));
    }
  }

  #send(wire: FuzzedWire, bytes: Uint8Array): void {
    this.steps.push(`${wire.name} sends ${Buffer.from(bytes).toString("hex")}`);
    const { broker, nowMs } = this.#world;
    for (let at = 0; at < bytes.length && !wire.closed; ) {
      const end = this.#random.oneIn(3) ? Math.min(at + this.#random.between(1, 20), bytes.length) : bytes.length;
      // What the broker keeps of a chunk it has to copy.
      const chunk = bytes.slice(at, end);
      broker.receive(wire.connection, chunk, nowMs);
      chunk.fill(0xee);
      chunk.buffer.transfer(0);
      if (this.#random.oneIn(3)) this.#world.settle();
      at = end;
    }
  }

  #stall(wire: FuzzedWire): void {
    wire.stalled = !wire.stalled;
    this.steps.push(`${wire.name} ${wire.stalled ? "stalls" : "reads"}`);
    if (wire.stalled || wire.backlogBytes === 0) return;
    wire.backlogBytes = 0;
    this.#world.broker.drained(wire.connection, 0, this.#world.nowMs);
  }

  #end(wire: FuzzedWire): void {
    this.steps.push(`${wire.name} ends`);
    this.#wires.splice(this.#wires.indexOf(wire), 1);
    wire.closed = true;
    this.#world.broker.closed(wire.connection, this.#world.nowMs);
    this.#world.settle();
  }

  #check(): void {
    const bug = this.#world.log.find(({ level }) => level === "error");
    if (bug !== undefined) throw new Error(`logged as ${bug.event}: ${JSON.stringify(bug.fields)}`);
    const payload = `${++this.#published}`;
    this.#publisher.publish(QUIET_TOPIC, payload, { qos: 1 });
    const got = this.#subscriber.takePublishes().map((publish) => toText(publish.payload));
    if (got.length !== 1 || got[0] !== payload)
      throw new Error(`a bystander got [${got.join(", ")}], not [${payload}]`);
    for (const client of [this.#publisher, this.#subscriber]) {
      const [surprise] = client.takeAll();
      if (surprise !== undefined) throw new Error(`a bystander got ${JSON.stringify(surprise)}`);
      if (client.closed) throw new Error("a bystander was closed");
    }
  }
}

/** One case made from `seed`. Throws where the broker does what it must not. */
export function fuzzBroker(seed: number): void {
  const brokerCase = new BrokerCase(seed);
  try {
    brokerCase.run();
  } catch (error) {
    throw new Error(brokerCase.steps.join("\n"), { cause: error });
  }
}
