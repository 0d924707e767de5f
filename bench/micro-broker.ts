/**
 * Micro-benchmarks of a whole Broker in memory: packets in at one wire, packets out at others, no sockets, no clock.
 *
 * A turn is what the socket benchmark makes of one: a chunk of packets from each publisher, then `settle`. Receivers
 * acknowledge with bytes prepared beforehand, since Packet Identifiers towards a client ascend; were one of them wrong,
 * the window would fill and the step's number of deliveries would not come out.
 */
import { Broker } from "../src/core/broker.ts";
import type { Connection } from "../src/core/connection/connection.ts";
import { allowAll } from "../src/core/gate/allow-all.ts";
import { DEFAULT_BROKER_CONFIG } from "../src/core/limits.ts";
import type { Wire } from "../src/core/ports.ts";
import type { MicroBenchmark, Timed } from "./micro-measure.ts";
import {
  DISCONNECT,
  encodeConnect,
  encodePublish,
  encodeSubscribe,
  type ProtocolLevel,
  type Qos,
} from "./packet-bytes.ts";

const NOW_MS = 1_750_000_000_000;
const PAYLOAD_BYTES = 16;
const IDLE_CONNECTIONS = 20_000;
const PACKET_IDS = 65_535;
/** So many that a name has long left the topic table when it comes again. */
const NEW_TOPICS = 200_000;
/** First bytes. */
const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBREL = 0x62;
const PUBCOMP = 0x70;

class CountingWire implements Wire {
  readonly remoteAddress = "192.0.2.1";
  readonly listener = "bench://";
  sentBytes = 0;
  closes = 0;

  send(bytes: Uint8Array): number {
    this.sentBytes += bytes.length;
    return 0;
  }

  pause(): void {}

  resume(): void {}

  close(): void {
    this.closes++;
  }
}

function newBroker(): Broker {
  const ports = { auth: allowAll, log: { write: failOnWarning }, ids: { clientId: () => "unused", seed: () => 1 } };
  return new Broker({ ...DEFAULT_BROKER_CONFIG, sysIntervalMs: 0 }, ports, NOW_MS);
}

/** Nothing here is anybody's mistake: what the broker complains about would be measured instead of the work. */
function failOnWarning(level: string, event: string, fields: object): void {
  throw new Error(`the broker logged ${level} ${event}: ${JSON.stringify(fields)}`);
}

function connect(broker: Broker, wire: Wire, clientId: string, level: ProtocolLevel): Connection {
  const connection = broker.open(wire, NOW_MS);
  broker.receive(connection, encodeConnect(clientId, level), NOW_MS);
  broker.settle(NOW_MS);
  return connection;
}

/** The acknowledgements of a receiver, ready to be sent: all identifiers in their order, one packet each. */
class Acknowledgements {
  readonly #bytes: Uint8Array;
  #nextPacketId = 1;

  constructor(firstByte: number, perTurn: number) {
    this.#bytes = new Uint8Array((PACKET_IDS + perTurn) * 4);
    for (let n = 0; n < PACKET_IDS + perTurn; n++) {
      const packetId = (n % PACKET_IDS) + 1;
      this.#bytes.set([firstByte, 2, packetId >> 8, packetId & 0xff], n * 4);
    }
  }

  take(count: number): Uint8Array {
    const at = (this.#nextPacketId - 1) * 4;
    this.#nextPacketId = ((this.#nextPacketId - 1 + count) % PACKET_IDS) + 1;
    return this.#bytes.subarray(at, at + count * 4);
  }
}

interface Load {
  readonly level: ProtocolLevel;
  readonly qos: Qos;
  /** Each with `receivers` subscribers of its own. */
  readonly publishers: number;
  readonly receivers: number;
  /** Messages of each publisher in a turn. */
  readonly window: number;
  readonly payloadBytes?: number;
}

/** The packets that a client sends in one turn; message n goes to `topicName(n)`. */
function chunkOf(load: Load, topicName: (n: number) => string): Uint8Array {
  const payload = new Uint8Array(load.payloadBytes ?? PAYLOAD_BYTES);
  const packets = Array.from({ length: load.window }, (_, n) => {
    return encodePublish(topicName(n), n + 1, payload, load.qos, load.level).bytes;
  });
  const chunk = new Uint8Array(packets.reduce((sum, packet) => sum + packet.length, 0));
  let at = 0;
  for (const packet of packets) {
    chunk.set(packet, at);
    at += packet.length;
  }
  return chunk;
}

/** Publishers, each to ten topics of its own; one operation is one delivery with all its acknowledgements. */
function delivers(load: Load): Timed {
  const { level, qos, publishers, receivers, window } = load;
  const broker = newBroker();
  const wire = new CountingWire();
  const senders: { connection: Connection; chunk: Uint8Array }[] = [];
  const receiving: Connection[] = [];
  for (let n = 0; n < publishers; n++) {
    const place = `bench/${String(n).padStart(3, "0")}`;
    senders.push({
      connection: connect(broker, wire, `publisher${n}`, level),
      chunk: chunkOf(load, (message) => `${place}/${message % 10}`),
    });
    for (let m = 0; m < receivers; m++) {
      const connection = connect(broker, wire, `receiver${n}-${m}`, level);
      broker.receive(connection, encodeSubscribe([`${place}/#`], qos, level), NOW_MS);
      receiving.push(connection);
    }
  }
  broker.settle(NOW_MS);
  const acks = new Acknowledgements(qos === 2 ? PUBREC : PUBACK, window);
  const completes = new Acknowledgements(PUBCOMP, window);
  // Publishers use the same identifiers in every turn.
  const releases = qos === 2 ? new Acknowledgements(PUBREL, window).take(window) : null;
  const { statistics } = broker;
  return {
    operationsPerStep: publishers * Math.max(receivers, 1) * window,
    expected: publishers * receivers * window,
    step() {
      const sentBefore = statistics.publishSent;
      for (const { connection, chunk } of senders) broker.receive(connection, chunk, NOW_MS);
      broker.settle(NOW_MS);
      if (qos > 0) {
        const answers = acks.take(window);
        for (const connection of receiving) broker.receive(connection, answers, NOW_MS);
      }
      if (releases !== null) {
        const answers = completes.take(window);
        for (const { connection } of senders) broker.receive(connection, releases, NOW_MS);
        broker.settle(NOW_MS);
        for (const connection of receiving) broker.receive(connection, answers, NOW_MS);
      }
      broker.settle(NOW_MS);
      return statistics.publishSent - sentBefore;
    },
  };
}

/** A topic never seen before in every message, one subscriber to "#". */
function deliversNewTopics(): Timed {
  const load: Load = { level: 4, qos: 0, publishers: 1, receivers: 1, window: 1000 };
  const broker = newBroker();
  const wire = new CountingWire();
  const sender = connect(broker, wire, "publisher", load.level);
  const receiver = connect(broker, wire, "receiver", load.level);
  broker.receive(receiver, encodeSubscribe(["#"], load.qos, load.level), NOW_MS);
  broker.settle(NOW_MS);
  const chunks = Array.from({ length: NEW_TOPICS / load.window }, (_, chunk) => {
    return chunkOf(load, (n) => `bench/new-topics/${String(chunk * load.window + n).padStart(8, "0")}`);
  });
  const { statistics } = broker;
  return {
    operationsPerStep: NEW_TOPICS,
    expected: NEW_TOPICS,
    step() {
      const sentBefore = statistics.publishSent;
      for (const chunk of chunks) {
        broker.receive(sender, chunk, NOW_MS);
        broker.settle(NOW_MS);
      }
      return statistics.publishSent - sentBefore;
    },
  };
}

/** A client's whole life: open, CONNECT, CONNACK, DISCONNECT, closed; each in a turn of its own. */
function connects(level: ProtocolLevel): Timed {
  const broker = newBroker();
  const packets = Array.from({ length: 1000 }, (_, n) => encodeConnect(`client${n}`, level));
  return {
    operationsPerStep: packets.length,
    expected: packets.length,
    step() {
      const wire = new CountingWire();
      for (const packet of packets) {
        const connection = broker.open(wire, NOW_MS);
        broker.settle(NOW_MS);
        broker.receive(connection, packet, NOW_MS);
        broker.settle(NOW_MS);
        broker.receive(connection, DISCONNECT, NOW_MS);
        broker.settle(NOW_MS);
        broker.closed(connection, NOW_MS);
        broker.settle(NOW_MS);
      }
      return wire.closes - broker.connectionCount - broker.sessionCount;
    },
  };
}

/** Connections that said CONNECT, perhaps one SUBSCRIBE, and nothing since. Their wires are the host's, so they share one. */
function idleConnections(filter: (n: number) => string | null): { kept: object; count: number } {
  const broker = newBroker();
  const wire = new CountingWire();
  const connections: Connection[] = [];
  for (let n = 0; n < IDLE_CONNECTIONS; n++) {
    const connection = connect(broker, wire, `client${n}`, 4);
    const topicFilter = filter(n);
    if (topicFilter !== null) broker.receive(connection, encodeSubscribe([topicFilter], 1, 4), NOW_MS);
    broker.settle(NOW_MS);
    connections.push(connection);
  }
  return { kept: { broker, connections }, count: IDLE_CONNECTIONS };
}

function deliveries(name: string, load: Load): MicroBenchmark {
  return { name, unit: "delivery", prepare: () => delivers(load) };
}

const ONE: Load = { level: 4, qos: 1, publishers: 1, receivers: 1, window: 1000 };

export const BROKER_BENCHMARKS: readonly MicroBenchmark[] = [
  deliveries("broker/qos0", { ...ONE, qos: 0 }),
  deliveries("broker/qos1", ONE),
  deliveries("broker/qos1-window-100", { ...ONE, window: 100 }),
  deliveries("broker/qos1-v5", { ...ONE, level: 5 }),
  deliveries("broker/qos1-16k", { ...ONE, window: 100, payloadBytes: 16_384 }),
  deliveries("broker/qos1-nobody", { ...ONE, receivers: 0 }),
  deliveries("broker/qos2", { ...ONE, qos: 2, window: 100 }),
  deliveries("broker/pairs", { ...ONE, publishers: 100, window: 20 }),
  { name: "broker/new-topics", unit: "delivery", prepare: deliversNewTopics },
  deliveries("fan-out/1-qos0", { ...ONE, qos: 0, window: 100 }),
  deliveries("fan-out/100-qos0", { ...ONE, qos: 0, receivers: 100, window: 100 }),
  deliveries("fan-out/1000-qos0", { ...ONE, qos: 0, receivers: 1000, window: 100 }),
  deliveries("fan-out/1-qos1", { ...ONE, window: 100 }),
  deliveries("fan-out/100-qos1", { ...ONE, receivers: 100, window: 100 }),
  deliveries("fan-out/1000-qos1", { ...ONE, receivers: 1000, window: 100 }),
  deliveries("fan-out/100-qos0-v5", { ...ONE, level: 5, qos: 0, receivers: 100, window: 100 }),
  { name: "connect/v4", unit: "cycle", prepare: () => connects(4) },
  { name: "connect/v5", unit: "cycle", prepare: () => connects(5) },
  { name: "connect/idle-memory", unit: "connection", build: () => idleConnections(() => null) },
  { name: "connect/subscribed-memory", unit: "connection", build: () => idleConnections((n) => `site/${n}/#`) },
];
