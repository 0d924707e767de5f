/**
 * MQTT over WebSocket (MQTT 5.0 section 6): `Bun.serve` on one side, the broker's inputs and the Wire port on the other.
 *
 * Frames are a byte stream like any other: packets may be split or joined over them in any way [MQTT-6.0.0-2]. Refuses an
 * upgrade that does not offer exactly `mqtt` or comes from a page that is not on the list, and closes on a text frame
 * [MQTT-6.0.0-1].
 *
 * With TLS the runtime verifies client certificates and cuts a client without a good one before its first request, but it
 * shows them to nobody: on `wss` no certificate reaches the providers, and a failed handshake is not logged. It also ends
 * connections that bring no request within ten to twelve seconds.
 */
import type { Server, ServerWebSocket } from "bun";
import type { Connection } from "../core/connection/connection.ts";
import type { UpgradeRequest } from "../core/gate/provider.ts";
import type { Wire } from "../core/ports.ts";
import type { Listener } from "../listener-url.ts";
import { withPort } from "../listener-url.ts";
import { PendingBytes } from "./outbox.ts";
import type { ListenContext, RunningListener } from "./tcp.ts";
import type { ListenerTls } from "./tls.ts";
import { nowMs } from "./turn.ts";
import { isOriginAllowed, readUpgradeRequest } from "./upgrade-request.ts";

const SUBPROTOCOL = "mqtt";
const LINGER_MS = 2_000;
/** Handed to the runtime's own buffer before the rest waits here; the runtime drops what passes its limit. */
const RUNTIME_BACKLOG_BYTES_MAX = 128 * 1024;
/** A frame may hold several packets; this much more than the largest packet is taken. */
const FRAME_SURPLUS_BYTES = 64 * 1024;
/** Frames that clients which are not let in may have under way, all together; at least one client is served. */
const UNAUTHENTICATED_BYTES_MAX = 1024 * 1024 * 1024;
const UNSUPPORTED_DATA = 1003;
/** Application close codes begin here: the MQTT reason code is added, so that a page can read why. */
const REASON_CODE_BASE = 4000;
const NORMAL_CLOSURE = 1000;

type Ws = ServerWebSocket<WsWire>;

class WsWire implements Wire {
  readonly listener: string;
  readonly remoteAddress: string;
  readonly upgrade: UpgradeRequest;
  socket: Ws | null = null;
  connection: Connection | null = null;
  #pending: PendingBytes | null = null;
  #closeCode = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(listener: string, remoteAddress: string, upgrade: UpgradeRequest) {
    this.listener = listener;
    this.remoteAddress = remoteAddress;
    this.upgrade = upgrade;
  }

  send(bytes: Uint8Array, lasting: boolean): number {
    const socket = this.socket!;
    if (this.#pending === null) {
      // 0: closed or dropped, which the runtime answers by closing; -1: taken, waiting in the runtime's buffer.
      const taken = socket.sendBinary(bytes);
      if (taken > 0) return 0;
      const buffered = socket.getBufferedAmount();
      if (buffered >= RUNTIME_BACKLOG_BYTES_MAX) this.#pending = new PendingBytes();
      return buffered;
    }
    this.#pending.push(bytes, lasting);
    return this.#pending.length + socket.getBufferedAmount();
  }

  pause(): void {
    this.socket!.pause();
  }

  resume(): void {
    this.socket!.resume();
  }

  close(reasonCode: number): void {
    const socket = this.socket!;
    this.#closeCode = reasonCode === 0 ? NORMAL_CLOSURE : REASON_CODE_BASE + reasonCode;
    socket.resume();
    if (this.#pending === null) socket.close(this.#closeCode);
    this.#linger ??= setTimeout(() => socket.terminate(), LINGER_MS).unref();
  }

  closed(): void {
    clearTimeout(this.#linger);
  }

  /** The runtime's buffer is empty again; answers how many bytes are left. */
  drain(): number {
    const socket = this.socket!;
    const pending = this.#pending;
    if (pending !== null) {
      pending.drainInto((bytes) => {
        if (socket.getBufferedAmount() >= RUNTIME_BACKLOG_BYTES_MAX) return 0;
        return socket.sendBinary(bytes) === 0 ? 0 : bytes.length;
      });
      if (pending.length === 0) {
        this.#pending = null;
        if (this.#closeCode !== 0) socket.close(this.#closeCode);
      }
    }
    return (this.#pending?.length ?? 0) + socket.getBufferedAmount();
  }

  destroy(): void {
    this.socket?.terminate();
  }
}

/** Whether the client offers our subprotocol [MQTT-6.0.0-3]; names are case-sensitive. */
function offersMqtt(request: Request): boolean {
  const offered = request.headers.get("sec-websocket-protocol") ?? "";
  return offered.split(",").some((name) => name.trim() === SUBPROTOCOL);
}

function refuseUpgrade(request: Request, { path, origins }: Listener): Response | undefined {
  if (new URL(request.url).pathname !== path) {
    return new Response(`MQTT over WebSocket is at ${path}\n`, { status: 404 });
  }
  if (!isOriginAllowed(request, origins)) {
    return new Response("pages of this origin may not connect\n", { status: 403 });
  }
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return new Response("This is an MQTT broker: connect with a WebSocket, subprotocol mqtt\n", { status: 426 });
  }
  if (offersMqtt(request)) return undefined;
  return new Response("offer the WebSocket subprotocol mqtt\n", { status: 400 });
}

export function listenWebSocket(
  listener: Listener,
  tls: ListenerTls | undefined,
  { broker, turn, limits, log }: ListenContext,
): RunningListener {
  const wires = new Set<WsWire>();
  const frameBytesMax = limits.packetBytesMax + FRAME_SURPLUS_BYTES;
  let { url } = listener;
  const server: Server<WsWire> = Bun.serve<WsWire>({
    hostname: listener.hostname,
    port: listener.port,
    reusePort: false,
    ...(tls === undefined ? {} : { tls: tls.options }),
    fetch(request, upgrader) {
      const refusal = refuseUpgrade(request, listener);
      if (refusal !== undefined) return refusal;
      // The runtime gathers a whole frame before it hands it over: what strangers can make it hold is bounded here.
      if ((broker.unauthenticatedCount + 1) * frameBytesMax > UNAUTHENTICATED_BYTES_MAX) {
        return new Response("too many clients are logging in; try again\n", { status: 503 });
      }
      const upgrade = readUpgradeRequest(request);
      if (upgrade === undefined) return new Response("too much in the upgrade request\n", { status: 431 });
      const address = upgrader.requestIP(request)?.address ?? "";
      const data = new WsWire(url, address, upgrade);
      // [MQTT-6.0.0-4]: without the header the runtime would accept whatever was offered first.
      const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
      if (upgrader.upgrade(request, { data, headers })) return undefined;
      return new Response("the WebSocket upgrade failed\n", { status: 400 });
    },
    error: () => new Response("bad request\n", { status: 400 }),
    websocket: {
      idleTimeout: 0,
      perMessageDeflate: false,
      maxPayloadLength: frameBytesMax,
      // Never reached while `send` above holds back; should it be, a closed connection is better than a hole in the stream.
      backpressureLimit: 2 * limits.packetBytesMax + 16 * 1024 * 1024,
      closeOnBackpressureLimit: true,
      open(socket) {
        const wire = socket.data;
        wire.socket = socket;
        wires.add(wire);
        wire.connection = broker.open(wire, nowMs());
        turn.schedule();
      },
      message(socket, message) {
        const { connection } = socket.data;
        if (typeof message === "string") {
          log.write("warn", "text-frame", { remoteAddress: socket.data.remoteAddress, statement: "MQTT-6.0.0-1" });
          broker.closed(connection!, nowMs());
          socket.close(UNSUPPORTED_DATA, "MQTT takes binary frames only");
        } else {
          broker.receive(connection!, message, nowMs());
        }
        turn.schedule();
      },
      drain(socket) {
        const wire = socket.data;
        broker.drained(wire.connection!, wire.drain(), nowMs());
        turn.schedule();
      },
      close(socket) {
        const wire = socket.data;
        wires.delete(wire);
        wire.closed();
        broker.closed(wire.connection!, nowMs());
        turn.schedule();
      },
    },
  });
  url = withPort(listener, server.port!).url;
  return {
    url,
    stop: () => void server.stop(),
    destroyAll: () => {
      for (const wire of wires) wire.destroy();
    },
  };
}
