/**
 * A server that does what a test says, wrong things included: a Transport whose other end is the test.
 *
 * Invariant: `packet` waits for what the client sends next and nothing else; a connection that ends meanwhile is an error.
 */

import type { Transport } from "../../src/client/transport.ts";
import { Framer } from "../../src/core/codec/framer.ts";
import { decodePacket, encodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";

type PacketOf<Type extends Packet["type"]> = Extract<Packet, { type: Type }>;

/** What the transport tells the client. */
interface WireEvents {
  received(bytes: Uint8Array): void;
  closed(reason: string): void;
}

/** One connection of the client, seen from the server. */
export class ScriptedConnection {
  readonly #events: WireEvents;
  readonly #level: ProtocolLevel;
  readonly #framer = new Framer(1_000_000);
  readonly #packets: Packet[] = [];
  #waiter: (() => void) | undefined;
  /** The client has hung up. */
  closed = false;

  constructor(events: WireEvents, level: ProtocolLevel) {
    this.#events = events;
    this.#level = level;
  }

  take(bytes: Uint8Array): void {
    this.#framer.feed(bytes.slice());
    while (this.#framer.next()) {
      const { bytes: from, packetStart, bodyStart, bodyEnd } = this.#framer;
      this.#packets.push(decodePacket(from[packetStart]!, new Reader(from, bodyStart, bodyEnd), this.#level));
    }
    this.#waiter?.();
  }

  hungUp(): void {
    this.closed = true;
    this.#waiter?.();
    queueMicrotask(() => this.#events.closed("closed by the client"));
  }

  /** What arrived and was not taken. */
  get waiting(): readonly Packet["type"][] {
    return this.#packets.map(({ type }) => type);
  }

  async packet<Type extends Packet["type"]>(type: Type): Promise<PacketOf<Type>> {
    while (this.#packets.length === 0) {
      if (this.closed) throw new Error(`the client hung up before ${type}`);
      await new Promise<void>((resolve) => {
        this.#waiter = resolve;
      });
    }
    const packet = this.#packets.shift()!;
    if (packet.type !== type) throw new Error(`${packet.type} came, ${type} was expected: ${JSON.stringify(packet)}`);
    return packet as PacketOf<Type>;
  }

  async end(): Promise<void> {
    while (!this.closed) {
      await new Promise<void>((resolve) => {
        this.#waiter = resolve;
      });
    }
  }

  say(packet: Packet): void {
    const writer = new Writer();
    encodePacket(writer, packet, this.#level);
    this.bytes(writer.view().slice());
  }

  bytes(bytes: Uint8Array | readonly number[]): void {
    this.#events.received(new Uint8Array(bytes));
  }

  /** The network is gone, without a word. */
  cut(): void {
    this.closed = true;
    this.#events.closed("cut");
  }

  /** Waits for CONNECT and accepts it. */
  async accept(properties: Properties = {}, sessionPresent = false): Promise<PacketOf<"connect">> {
    const connect = await this.packet("connect");
    this.say({ type: "connack", reasonCode: 0, sessionPresent, properties });
    return connect;
  }
}

export class ScriptedServer {
  readonly #connections: ScriptedConnection[] = [];
  #waiter: (() => void) | undefined;
  readonly transport: Transport;

  constructor(level: ProtocolLevel = 5) {
    this.transport = (opened, received, closed) => {
      const connection = new ScriptedConnection({ received, closed }, level);
      this.#connections.push(connection);
      queueMicrotask(() => {
        opened();
        this.#waiter?.();
      });
      return { send: (bytes) => connection.take(bytes), close: () => connection.hungUp() };
    };
  }

  /** The client's next connection. */
  async connection(): Promise<ScriptedConnection> {
    while (this.#connections.length === 0) {
      await new Promise<void>((resolve) => {
        this.#waiter = resolve;
      });
    }
    return this.#connections.shift()!;
  }
}

/** What a promise was rejected with; fails where it was not. */
export async function rejection(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as Record<string, unknown>;
  }
  throw new Error("resolved, a rejection was expected");
}
