/**
 * MQTT over TCP and TLS: `Bun.listen` on one side, the broker's inputs and the Wire port on the other. No policy.
 *
 * With TLS the broker learns of a connection when its handshake has succeeded and its certificate was judged; nothing
 * that a peer sends before, or after it has failed, reaches the broker.
 * A close sends FIN after the last packet and goes on reading for a while: closing with unread input makes TCP send RST,
 * which can wipe the last packet at the client.
 */
import type { Socket, SocketHandler, TCPSocketListener } from "bun";
import type { Broker } from "../core/broker.ts";
import { type Connection, ConnectionState } from "../core/connection/connection.ts";
import type { PeerCertificate } from "../core/gate/provider.ts";
import type { Limits } from "../core/limits.ts";
import type { Log, Wire } from "../core/ports.ts";
import type { Durability } from "../core/store/store-engine.ts";
import type { Listener } from "../listener-url.ts";
import { withPort } from "../listener-url.ts";
import { type Handshake, type Handshakes, type SecureWire, secureOpening } from "./handshakes.ts";
import { PendingBytes, writeWithPayload } from "./outbox.ts";
import type { ListenerTls } from "./tls.ts";
import { nowMs, type Turn } from "./turn.ts";

/** How long a peer may take to read the last packet and close, after FIN or while its backlog is still being sent. */
const LINGER_MS = 2_000;

const TCP_KEEP_ALIVE_MS = 60_000;

/** What is read in chunks of this size and more would fill the memory between two collections, and none of it be in the cache. */
const FREED_CHUNK_BYTES_MIN = 64 * 1024;

type TcpSocket = Socket<TcpWire>;

class TcpWire implements Wire, SecureWire {
  readonly listener: string;
  readonly durability: Durability | undefined;
  readonly remoteAddress: string;
  readonly #socket: TcpSocket;
  /** `null` while a TLS handshake is under way, and after it has failed. */
  connection: Connection | null = null;
  handshake: Handshake | undefined;
  judged = false;
  certificate: PeerCertificate | undefined;
  #pending: PendingBytes | null = null;
  #ending = false;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: TcpSocket, listener: string, durability: Durability | undefined) {
    this.#socket = socket;
    this.listener = listener;
    this.durability = durability;
    this.remoteAddress = socket.remoteAddress;
  }

  send(bytes: Uint8Array, lasting: boolean): number {
    if (this.#pending !== null) {
      this.#pending.push(bytes, lasting);
      return this.#pending.length;
    }
    const taken = this.#socket.write(bytes);
    if (taken === bytes.length || taken < 0) return 0;
    this.#pending = new PendingBytes();
    this.#pending.push(bytes.subarray(taken), lasting);
    return this.#pending.length;
  }

  sendWithPayload(head: Uint8Array, payload: Uint8Array): number {
    if (this.#pending === null) {
      this.#pending = writeWithPayload(this.#socket, head, payload);
      return this.#pending?.length ?? 0;
    }
    this.#pending.push(head, false);
    this.#pending.push(payload, true);
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
    this.#linger ??= setTimeout(() => this.#socket.terminate(), LINGER_MS).unref();
  }

  /** The kernel takes bytes again; answers how many are left. */
  drain(): number {
    const pending = this.#pending;
    if (pending === null) return 0;
    pending.drainInto((bytes) => this.#socket.write(bytes));
    if (pending.length === 0) {
      this.#pending = null;
      if (this.#ending) this.#socket.shutdown();
    }
    return pending.length;
  }

  closed(): void {
    this.#pending = null;
    clearTimeout(this.#linger);
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
  /** Connections of which the broker knows nothing any more while their last bytes are on their way. */
  readonly lingeringCount: number;
}

/** What a transport works with. */
export interface ListenContext {
  readonly broker: Broker;
  readonly turn: Turn;
  readonly limits: Limits;
  readonly log: Log;
  readonly handshakes: Handshakes;
}

export function listenTcp(listener: Listener, tls: ListenerTls | undefined, context: ListenContext): RunningListener {
  const wires = new Set<TcpWire>();
  let { url } = listener;
  const { broker, turn, handshakes } = context;
  const accept = (socket: TcpSocket): TcpWire => {
    socket.setNoDelay(true);
    // A peer that vanished is found out even where MQTT has no Keep Alive.
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    const wire = new TcpWire(socket, url, listener.durability);
    socket.data = wire;
    wires.add(wire);
    return wire;
  };
  const admit = (wire: TcpWire, certificate: PeerCertificate | undefined): void => {
    wire.certificate = certificate;
    wire.connection = broker.open(wire, nowMs());
    turn.schedule();
  };
  const server: TCPSocketListener<TcpWire> = Bun.listen<TcpWire>({
    hostname: listener.hostname,
    port: listener.port,
    exclusive: true,
    allowHalfOpen: true,
    ...(tls === undefined ? {} : { tls: tls.options }),
    socket: {
      ...socketHandler(context, wires),
      ...(tls === undefined ? plainOpening(context, accept) : secureOpening(handshakes, tls, accept, admit)),
    },
  });
  url = withPort(listener, server.port).url;
  return {
    url,
    stop: () => server.stop(),
    destroyAll: () => {
      for (const wire of wires) wire.destroy();
    },
    // The broker waits for the client to hang up.
    lingeringCount: 0,
  };
}

type Accept = (socket: TcpSocket) => TcpWire;

function plainOpening({ broker, turn }: ListenContext, accept: Accept): SocketHandler<TcpWire> {
  return {
    open(socket) {
      const wire = accept(socket);
      wire.connection = broker.open(wire, nowMs());
      // One too many is cut at once: to linger with it would use up the descriptors that are short.
      if (wire.connection.state === ConnectionState.Closed) wire.destroy();
      turn.schedule();
    },
  };
}

/**
 * Gives the memory of a chunk back at once, so that the next read may have it. The runtime makes one for each read and keeps
 * nothing of it, nor does the broker (`Broker.receive`); memory of which the chunk is a part would be somebody else's too.
 */
function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

function socketHandler({ broker, turn }: ListenContext, wires: Set<TcpWire>): SocketHandler<TcpWire> {
  return {
    data(socket, bytes) {
      const { connection } = socket.data;
      if (connection === null) return;
      broker.receive(connection, bytes, nowMs());
      if (bytes.length >= FREED_CHUNK_BYTES_MIN) free(bytes);
      turn.schedule();
    },
    drain(socket) {
      const wire = socket.data;
      if (wire.connection === null) return;
      broker.drained(wire.connection, wire.drain(), nowMs());
      turn.schedule();
    },
    end(socket) {
      const wire = socket.data;
      if (wire.connection !== null) {
        broker.closed(wire.connection, nowMs());
        turn.schedule();
      }
      // The peer has said its last word; what this turn still writes goes out first.
      setImmediate(() => {
        if (wire.hasBacklog) wire.close();
        else socket.end();
      });
    },
    close(socket) {
      const wire = socket.data;
      wires.delete(wire);
      wire.handshake?.closed();
      wire.closed();
      if (wire.connection === null) return;
      broker.closed(wire.connection, nowMs());
      turn.schedule();
    },
    error(socket) {
      socket.terminate();
    },
  };
}
