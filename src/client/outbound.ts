/**
 * What the client asks of the server, in order: a bounded queue, the server's Receive Maximum, acknowledgements, and what is
 * said again on the next connection (MQTT 5.0 sections 4.3, 4.4, 4.9).
 *
 * Invariant: `#pending` holds, in the order they were first sent, the packets whose identifiers are in use.
 */
import { PacketType } from "../core/codec/packet-type.ts";
import { protocolError } from "../core/codec/peer-error.ts";
import type { Properties } from "../core/codec/property.ts";
import { decodePuback } from "../core/codec/puback.ts";
import { encodePublish, type Publish } from "../core/codec/publish.ts";
import type { Writer } from "../core/codec/writer.ts";
import type { Payload, Published, PublishOptions, WaitOptions } from "./client-options.ts";
import { type Engine, type Part, toBytes } from "./engine.ts";
import { CLOSED, LOST, MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";

export interface Outgoing {
  /** 0 until it was sent. */
  packetId: number;
  /** The packet type that answers it; 0 at QoS 0. */
  awaits: number;
  dup: boolean;
  readonly operation: Operation<Published>;
  write(writer: Writer, item: Outgoing): void;
}

const SUCCESS: Published = { reasonCode: 0, properties: {} };

/** MQTT 3.1.1 servers do not say how many they take at once; some take no more. */
const UNANNOUNCED_RECEIVE_MAXIMUM = 20;

/** QoS 1 and 2 count against the server's Receive Maximum. */
const counts = ({ awaits }: Outgoing): boolean => awaits > 0 && awaits < PacketType.SUBSCRIBE;

export class Outbound implements Part {
  readonly #engine: Engine;
  readonly #pending = new Map<number, Outgoing>();
  #queue: Outgoing[] = [];
  #lastPacketId = 0;
  #quota = 0;
  /** Replaces a Topic Name by an alias. */
  alias: ((packet: Publish) => Publish) | undefined;
  /** What answers PUBLISH by its QoS. */
  readonly answers = [0, PacketType.PUBACK as number];

  constructor(engine: Engine) {
    this.#engine = engine;
    engine.handlers[PacketType.PUBACK] = (reader, flags) => {
      const { packetId, reasonCode, properties } = decodePuback(reader, flags, engine.level);
      this.settle(PacketType.PUBACK, packetId, reasonCode, properties);
    };
  }

  publish(topicName: string, payload: Payload, options: PublishOptions = {}): Promise<Published> {
    const { qos = 0, retain = false, properties = {} } = options;
    const awaits = this.answers[qos];
    const packet: Publish = {
      type: "publish",
      dup: false,
      qos,
      retain,
      topicName,
      payload: toBytes(payload),
      properties,
    };
    return this.ask("publish", awaits ?? 0, options, (writer, { packetId, dup }) => {
      const { maximumQos = 2, retainAvailable } = this.#engine.properties;
      if (awaits === undefined || qos > maximumQos) throw new MqttError(0x9b, "publish", `QoS ${qos}`);
      if (retain && retainAvailable === 0) throw new MqttError(0x9a, "publish", "retain");
      if (/^$|[+#]/.test(topicName)) throw new MqttError(0x90, "publish", `topic "${topicName}"`);
      const sent = { ...packet, packetId, dup };
      encodePublish(writer, this.alias?.(sent) ?? sent, this.#engine.level);
    });
  }

  /** Sends a packet when its turn has come; resolves with the answer. */
  ask(
    packet: string,
    awaits: number,
    { signal, deadlineMs = this.#engine.deadlineMs }: WaitOptions,
    write: Outgoing["write"],
    first = false,
  ): Promise<Published> {
    const waiting = operation<Published>(packet, deadlineMs, signal, () => {
      // What was sent stays until the server has answered: the identifier is in use.
      this.#queue = this.#queue.filter((other) => other !== item || item.packetId);
    });
    const item: Outgoing = { packetId: 0, awaits, dup: false, operation: waiting, write };
    if (this.#engine.state === "closed") waiting.reject(new MqttError(CLOSED, packet, "closed"));
    else if (this.#queue.length >= (this.#engine.options.queueMax ?? 1000)) {
      waiting.reject(new MqttError(0x97, packet, `${this.#queue.length} packets are waiting`));
    }
    if (!waiting.done) {
      if (first) this.#queue.unshift(item);
      else this.#queue.push(item);
      this.pump();
    }
    return waiting.promise;
  }

  /** The server's answer to a packet of ours; `ended`: the last one. */
  settle(type: number, packetId: number, reasonCode: number, properties: Properties): void {
    const item = this.awaiting(type, packetId);
    if (!item) throw protocolError("4.13", `Packet Identifier ${packetId} is not in use`);
    this.#pending.delete(packetId);
    if (counts(item)) this.#quota++;
    const { operation } = item;
    if (reasonCode < 0x80) operation.resolve({ reasonCode, properties });
    else operation.reject(new MqttError(reasonCode, operation.packet, properties.reasonString));
    this.pump();
  }

  awaiting(type: number, packetId: number): Outgoing | undefined {
    const item = this.#pending.get(packetId);
    return item?.awaits === type ? item : undefined;
  }

  online(sessionPresent: boolean): void {
    const { properties, level } = this.#engine;
    this.#quota = properties.receiveMaximum ?? (level === 5 ? 65_535 : UNANNOUNCED_RECEIVE_MAXIMUM);
    for (const [packetId, item] of this.#pending) {
      const { operation, awaits } = item;
      if (!sessionPresent && awaits === PacketType.PUBCOMP) operation.resolve(SUCCESS);
      else if (!sessionPresent && awaits === PacketType.PUBREC) {
        // Once more could be once too often.
        operation.reject(new MqttError(LOST, "publish", "the session is lost: it may have been delivered or not"));
      }
      if (operation.done && !(sessionPresent && counts(item))) this.#pending.delete(packetId);
      item.dup = sessionPresent;
    }
    this.#queue = [...this.#pending.values(), ...this.#queue.filter(({ packetId }) => !packetId)];
  }

  closed(error: MqttError): void {
    for (const { operation } of [...this.#pending.values(), ...this.#queue]) {
      operation.reject(error);
    }
    this.#pending.clear();
    this.#queue = [];
  }

  pump(): void {
    while (this.#engine.state === "online") {
      const item = this.#queue[0];
      if (!item || (counts(item) && this.#quota < 1)) return;
      this.#queue.shift();
      if (item.awaits) {
        while (!item.packetId) {
          this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
          if (!this.#pending.has(this.#lastPacketId)) item.packetId = this.#lastPacketId;
        }
        this.#pending.set(item.packetId, item);
      }
      if (counts(item)) this.#quota--;
      try {
        this.#engine.send((writer) => item.write(writer, item));
        if (!item.awaits) item.operation.resolve(SUCCESS);
      } catch (error) {
        this.#pending.delete(item.packetId);
        if (counts(item)) this.#quota++;
        const { packet } = item.operation;
        item.operation.reject(error instanceof MqttError ? error : new MqttError(0x83, packet, `${error}`, error));
      }
    }
  }
}
