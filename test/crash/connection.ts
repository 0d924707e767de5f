/**
 * One TCP connection of a client of the judge: packets in, bytes out, and the moment it is gone.
 *
 * Owns the bytes that the socket has not taken yet. Invariant: `closed` is called once, and nothing is handed out after it.
 */
import type { Socket } from "bun";
import { WireError } from "./wire.ts";
import { type Packet, PacketCutter } from "./wire-reader.ts";

export interface ConnectionEvents {
  packet(packet: Packet): void;
  /** Every packet of one read was handed out: the moment to answer. */
  readEnd(): void;
  /** What came is not MQTT; the connection is cut. */
  unreadable(error: WireError): void;
  closed(): void;
}

export class Connection {
  readonly #events: ConnectionEvents;
  readonly #cutter = new PacketCutter();
  #socket: Socket<Connection> | undefined;
  #backlog: Uint8Array[] = [];
  #isClosed = false;
  /** The client's own port, by which a trace of the broker's system calls knows the connection. */
  localPort = 0;

  private constructor(events: ConnectionEvents) {
    this.#events = events;
  }

  /** Rejects when nobody listens. */
  static async open(port: number, events: ConnectionEvents): Promise<Connection> {
    const connection = new Connection(events);
    const socket = await Bun.connect<Connection>({
      hostname: "127.0.0.1",
      port,
      data: connection,
      socket: {
        data: (_socket, chunk) => connection.#receive(chunk),
        drain: () => connection.#drain(),
        close: () => connection.#ended(),
        error: () => connection.#ended(),
      },
    });
    connection.#socket = socket;
    connection.localPort = socket.localPort;
    return connection;
  }

  send(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#backlog.length > 0) {
      this.#backlog.push(bytes);
      return;
    }
    const taken = Math.max(this.#socket!.write(bytes), 0);
    if (taken < bytes.length) this.#backlog.push(bytes.subarray(taken));
  }

  /** Ends it in order: what was sent before still arrives. */
  end(): void {
    this.#socket?.end();
    this.#ended();
  }

  /** Cuts it off, as a lost network would. */
  cut(): void {
    this.#socket?.terminate();
    this.#ended();
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const packet of this.#cutter.push(chunk)) {
        if (this.#isClosed) return;
        this.#events.packet(packet);
      }
      if (!this.#isClosed) this.#events.readEnd();
    } catch (error) {
      if (!(error instanceof WireError)) return raise(error);
      this.#events.unreadable(error);
      this.cut();
    }
  }

  #drain(): void {
    const waiting = this.#backlog;
    this.#backlog = [];
    for (const bytes of waiting) this.send(bytes);
  }

  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#events.closed();
  }
}

/** Thrown from a socket's handler, an error of the judge would only be one of the socket. */
function raise(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}
