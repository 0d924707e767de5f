/**
 * MQTT over TCP: `Bun.listen` on one side, the broker's inputs and the Wire port on the other. No policy.
 *
 * A close sends FIN after the last packet and goes on reading for a while: closing with unread input makes TCP send RST,
 * which can wipe the last packet at the client.
 */
import type { Socket, TCPSocketListener } from "bun";
import type { Broker } from "../core/broker.ts";
import type { Connection } from "../core/connection/connection.ts";
import type { Wire } from "../core/ports.ts";
import type { Listener } from "../listener-url.ts";
import { withPort } from "../listener-url.ts";
import { PendingBytes } from "./outbox.ts";
import { nowMs, type Turn } from "./turn.ts";

/** How long a peer may take to read the last packet and close, after FIN or while its backlog is still being sent. */
const LINGER_MS = 2_000;

type TcpSocket = Socket<TcpWire>;

class TcpWire implements Wire {
  readonly listener: string;
  readonly remoteAddress: string;
  readonly #socket: TcpSocket;
  readonly #lowWaterBytes: number;
  connection: Connection | null = null;
  #pending: PendingBytes | null = null;
  #ending = false;

  constructor(socket: TcpSocket, listener: string, lowWaterBytes: number) {
    this.#socket = socket;
    this.listener = listener;
    this.remoteAddress = socket.remoteAddress;
    this.#lowWaterBytes = lowWaterBytes;
  }

  send(bytes: Uint8Array): number {
    if (this.#pending !== null) {
      this.#pending.push(bytes);
      return this.#pending.length;
    }
    const taken = this.#socket.write(bytes);
    if (taken === bytes.length || taken < 0) return 0;
    this.#pending = new PendingBytes();
    this.#pending.push(bytes.subarray(taken));
    return this.#pending.length;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#ending = true;
    // Reading goes on, or the peer's FIN would never be seen; the core ignores what comes.
    this.#socket.resume();
    if (this.#pending === null) this.#socket.shutdown();
    setTimeout(() => this.#socket.terminate(), LINGER_MS).unref();
  }

  /** The kernel takes bytes again; answers whether the backlog has fallen below the low water mark. */
  drain(): boolean {
    const pending = this.#pending;
    if (pending === null) return true;
    pending.drainInto((bytes) => this.#socket.write(bytes));
    if (pending.length === 0) {
      this.#pending = null;
      if (this.#ending) this.#socket.shutdown();
    }
    return pending.length < this.#lowWaterBytes;
  }

  closed(): void {
    this.#pending = null;
  }

  get hasBacklog(): boolean {
    return this.#pending !== null;
  }

  destroy(): void {
    this.#socket.terminate();
  }
}

export interface RunningListener {
  /** With the port that was bound. */
  readonly url: string;
  /** Stops accepting; open connections stay. */
  stop(): void;
  /** Cuts every connection that is still open. */
  destroyAll(): void;
}

export function listenTcp(listener: Listener, broker: Broker, turn: Turn, lowWaterBytes: number): RunningListener {
  const wires = new Set<TcpWire>();
  let { url } = listener;
  const server: TCPSocketListener<TcpWire> = Bun.listen<TcpWire>({
    hostname: listener.hostname,
    port: listener.port,
    exclusive: true,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.setNoDelay(true);
        const wire = new TcpWire(socket, url, lowWaterBytes);
        socket.data = wire;
        wires.add(wire);
        wire.connection = broker.open(wire, nowMs());
        turn.schedule();
      },
      data(socket, bytes) {
        broker.receive(socket.data.connection!, bytes, nowMs());
        turn.schedule();
      },
      drain(socket) {
        const wire = socket.data;
        if (!wire.drain()) return;
        broker.drained(wire.connection!, nowMs());
        turn.schedule();
      },
      end(socket) {
        // The peer has said its last word; what is still to be written goes out first.
        broker.closed(socket.data.connection!, nowMs());
        turn.settle();
        if (socket.data.hasBacklog) socket.data.close();
        else socket.end();
      },
      close(socket) {
        const wire = socket.data;
        wires.delete(wire);
        wire.closed();
        broker.closed(wire.connection!, nowMs());
        turn.schedule();
      },
      error(socket) {
        socket.terminate();
      },
    },
  });
  url = withPort(listener, server.port).url;
  return {
    url,
    stop: () => server.stop(),
    destroyAll: () => {
      for (const wire of wires) wire.destroy();
    },
  };
}
