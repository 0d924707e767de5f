/**
 * The byte stream to a broker under test: TCP, TLS, or WebSocket over TCP, all with the same two calls.
 *
 * A wire writes what it can and answers how much that was; its owner hears when there is room again. The certificate of a
 * broker is not checked: it is ours, on loopback.
 */
import type { Socket, SocketHandler } from "bun";
import {
  FrameReader,
  type FrameSink,
  FrameWriter,
  handshakeProblem,
  handshakeRequest,
  newHandshakeKey,
} from "./websocket-frames.ts";

export type Transport = "tcp" | "tls" | "ws";

export interface Endpoint {
  readonly transport: Transport;
  readonly port: number;
}

export interface Wire {
  /** Answers how many bytes were taken; after fewer than all, `writable` follows. */
  write(bytes: Uint8Array, start: number, length: number): number;
  end(): void;
}

export interface WireOwner {
  /** `bytes` are the owner's during the call only. */
  received(bytes: Uint8Array, start: number, end: number): void;
  /** Everything of one read was handed over. */
  readEnd(): void;
  writable(): void;
  fail(reason: Error): void;
}

export function openWire(endpoint: Endpoint, owner: WireOwner): Promise<Wire> {
  return endpoint.transport === "ws" ? WebSocketWire.open(endpoint, owner) : StreamWire.open(endpoint, owner);
}

const CLOSED_WHILE_WRITING = "the broker closed a connection while it was written to";

/** TCP as it is, or TLS. */
class StreamWire implements Wire {
  readonly owner: WireOwner;
  /** While TLS shakes hands. */
  private opening: PromiseWithResolvers<void> | null = null;
  private socket: Socket<StreamWire> | null = null;

  private constructor(owner: WireOwner) {
    this.owner = owner;
  }

  static async open({ transport, port }: Endpoint, owner: WireOwner): Promise<StreamWire> {
    const wire = new StreamWire(owner);
    const isTls = transport === "tls";
    if (isTls) wire.opening = Promise.withResolvers<void>();
    wire.socket = await Bun.connect<StreamWire>({
      hostname: "127.0.0.1",
      port,
      data: wire,
      socket: isTls ? TLS_EVENTS : STREAM_EVENTS,
      ...(isTls ? { tls: { rejectUnauthorized: false } } : {}),
    });
    await wire.opening?.promise;
    return wire;
  }

  opened(): void {
    this.opening?.resolve();
    this.opening = null;
  }

  write(bytes: Uint8Array, start: number, length: number): number {
    const taken = this.socket!.write(bytes, start, length);
    if (taken < 0) this.owner.fail(new Error(CLOSED_WHILE_WRITING));
    return Math.max(taken, 0);
  }

  end(): void {
    this.socket?.end();
  }

  failed(reason: Error): void {
    if (this.opening === null) this.owner.fail(reason);
    else this.opening.reject(reason);
  }
}

const STREAM_EVENTS: SocketHandler<StreamWire> = {
  data: ({ data: { owner } }, chunk) => {
    owner.received(chunk, 0, chunk.length);
    owner.readEnd();
  },
  drain: (socket) => socket.data.owner.writable(),
  close: (socket) => socket.data.failed(new Error("the broker closed a connection")),
  error: (socket, error) => socket.data.failed(error),
};

const TLS_EVENTS: SocketHandler<StreamWire> = {
  ...STREAM_EVENTS,
  handshake: (socket) => socket.data.opened(),
};

class WebSocketWire implements Wire, FrameSink {
  readonly owner: WireOwner;
  private readonly opened = Promise.withResolvers<void>();
  private readonly key = newHandshakeKey();
  private readonly writer = new FrameWriter();
  private readonly reader = new FrameReader(this);
  /** The broker's answer to the handshake as far as it came; null once that is done. */
  private head: string | null = "";
  private socket: Socket<WebSocketWire> | null = null;
  private pong: Uint8Array | null = null;

  private constructor(owner: WireOwner) {
    this.owner = owner;
  }

  static async open({ port }: Endpoint, owner: WireOwner): Promise<WebSocketWire> {
    const wire = new WebSocketWire(owner);
    const socket = WEBSOCKET_EVENTS;
    wire.socket = await Bun.connect<WebSocketWire>({ hostname: "127.0.0.1", port, data: wire, socket });
    wire.socket.write(handshakeRequest(port, wire.key));
    await wire.opened.promise;
    return wire;
  }

  /** Taken is what lies in a frame, be it that the socket has not taken all of that frame. */
  write(bytes: Uint8Array, start: number, length: number): number {
    let taken = 0;
    while (taken < length && this.flush()) taken += this.writer.fill(bytes, start + taken, length - taken);
    this.flush();
    return taken;
  }

  end(): void {
    this.flush();
    this.socket?.end();
  }

  take(chunk: Uint8Array): void {
    const at = this.head === null ? 0 : this.takeHead(chunk);
    if (at === chunk.length) return;
    this.reader.take(chunk, at, chunk.length);
    this.owner.readEnd();
  }

  drained(): void {
    if (this.flush()) this.owner.writable();
  }

  failed(reason: Error): void {
    if (this.head === null) this.owner.fail(reason);
    else this.opened.reject(reason);
  }

  payload(bytes: Uint8Array, start: number, end: number): void {
    this.owner.received(bytes, start, end);
  }

  ping(payload: Uint8Array): void {
    this.pong = payload;
    this.flush();
  }

  closed(code: number): void {
    this.failed(new Error(`the broker closed a WebSocket with code ${code}`));
  }

  /** Answers whether everything is with the socket. */
  private flush(): boolean {
    const { writer } = this;
    for (;;) {
      if (!writer.isEmpty) {
        const taken = this.socket!.write(writer.bytes, writer.start, writer.end - writer.start);
        if (taken < 0) this.failed(new Error(CLOSED_WHILE_WRITING));
        writer.start += Math.max(taken, 0);
        if (!writer.isEmpty) return false;
      }
      if (this.pong === null) return true;
      writer.fillPong(this.pong);
      this.pong = null;
    }
  }

  /** Reads on until the empty line; answers where the rest of `chunk` begins. */
  private takeHead(chunk: Uint8Array): number {
    for (const [at, byte] of chunk.entries()) {
      this.head += String.fromCharCode(byte);
      if (byte !== 0x0a || !this.head!.endsWith("\r\n\r\n")) continue;
      const problem = handshakeProblem(this.head!, this.key);
      if (problem !== null) {
        this.failed(new Error(problem));
        return chunk.length;
      }
      this.head = null;
      this.opened.resolve();
      return at + 1;
    }
    return chunk.length;
  }
}

const WEBSOCKET_EVENTS: SocketHandler<WebSocketWire> = {
  data: (socket, chunk) => socket.data.take(chunk),
  drain: (socket) => socket.data.drained(),
  close: (socket) => socket.data.failed(new Error("the broker closed a connection")),
  error: (socket, error) => socket.data.failed(error),
};
