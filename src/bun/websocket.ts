/**
 * MQTT over WebSocket (MQTT 5.0 section 6): `Bun.serve` on one side, the broker's inputs and the Wire port on the other.
 *
 * Frames are a byte stream like any other: packets may be split or joined over them in any way [MQTT-6.0.0-2]. Refuses an
 * upgrade that does not offer exactly `mqtt` or comes from a page that is not on the list, and closes on a text frame
 * [MQTT-6.0.0-1].
 *
 * The runtime's server ends TLS itself where clients need no certificate; then a failed handshake is not logged, and
 * connections that bring no request end within ten to twelve seconds. Certificates it would verify and show to nobody: a
 * listener that asks for them stands behind a relay (`tls-relay.ts`), and answers nothing that did not come by it.
 */
import type { Server, ServerWebSocket, WebSocketHandler } from "bun";
import type { Connection } from "../core/connection/connection.ts";
import type { PeerCertificate, UpgradeRequest } from "../core/gate/provider.ts";
import type { Wire } from "../core/ports.ts";
import type { Durability } from "../core/store/store-engine.ts";
import type { Listener } from "../listener-url.ts";
import { withPort } from "../listener-url.ts";
import { firstWrite, PendingBytes } from "./outbox.ts";
import type { ListenContext, RunningListener } from "./tcp.ts";
import type { ListenerTls } from "./tls.ts";
import { type Caller, openTlsRelay } from "./tls-relay.ts";
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
  readonly durability: Durability | undefined;
  readonly remoteAddress: string;
  readonly certificate: PeerCertificate | undefined;
  readonly upgrade: UpgradeRequest;
  readonly caller: Caller;
  socket: Ws | null = null;
  connection: Connection | null = null;
  #pending: PendingBytes | null = null;
  #closeCode = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(listener: string, durability: Durability | undefined, caller: Caller, upgrade: UpgradeRequest) {
    this.listener = listener;
    this.durability = durability;
    this.remoteAddress = caller.remoteAddress;
    this.certificate = caller.certificate;
    this.upgrade = upgrade;
    this.caller = caller;
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

  sendWithPayload(head: Uint8Array, payload: Uint8Array): number {
    const first = this.#pending === null ? firstWrite(head, payload) : head;
    const backlog = this.send(first, false);
    return first === head ? this.send(payload, true) : backlog;
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

/** Whoever is refused is not asked again: on the same connection a relay would not know who it is. */
function refusal(status: number, text: string): Response {
  return new Response(`${text}\n`, { status, headers: { Connection: "close" } });
}

function refuseUpgrade(request: Request, { path, origins }: Listener): Response | undefined {
  if (new URL(request.url).pathname !== path) return refusal(404, `MQTT over WebSocket is at ${path}`);
  if (!isOriginAllowed(request, origins)) return refusal(403, "pages of this origin may not connect");
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return refusal(426, "This is an MQTT broker: connect with a WebSocket, subprotocol mqtt");
  }
  return offersMqtt(request) ? undefined : refusal(400, "offer the WebSocket subprotocol mqtt");
}

/** Whose request it is where nothing stands before the runtime's server. */
function directCaller(request: Request, server: Server<WsWire>): Caller {
  return { remoteAddress: server.requestIP(request)?.address ?? "", certificate: undefined, opened() {} };
}

export function listenWebSocket(
  listener: Listener,
  tls: ListenerTls | undefined,
  context: ListenContext,
): RunningListener {
  const wires = new Set<WsWire>();
  const frameBytesMax = context.limits.packetBytesMax + FRAME_SURPLUS_BYTES;
  const relay = tls?.clientCertificate === undefined ? undefined : openTlsRelay(listener, tls, context);
  let { url } = listener;
  let server: Server<WsWire> | undefined;
  const fetch = (request: Request, upgrader: Server<WsWire>): Response | undefined => {
    const caller = relay === undefined ? directCaller(request, upgrader) : relay.take(request);
    if (caller === undefined) return refusal(400, "one request for each connection");
    const refused = refuseUpgrade(request, listener);
    if (refused !== undefined) return refused;
    // The runtime gathers a whole frame before it hands it over: what strangers can make it hold is bounded here.
    if ((context.broker.unauthenticatedCount + 1) * frameBytesMax > UNAUTHENTICATED_BYTES_MAX) {
      return refusal(503, "too many clients are logging in; try again");
    }
    const upgrade = readUpgradeRequest(request);
    if (upgrade === undefined) return refusal(431, "too much in the upgrade request");
    const data = new WsWire(url, listener.durability, caller, upgrade);
    // [MQTT-6.0.0-4]: without the header the runtime would accept whatever was offered first.
    const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
    return upgrader.upgrade(request, { data, headers }) ? undefined : refusal(400, "the WebSocket upgrade failed");
  };
  const stop = (): void => {
    void server?.stop();
    relay?.stop();
  };
  try {
    const { hostname, port } = listener;
    const direct = { hostname, port, reusePort: false, ...(tls === undefined ? {} : { tls: tls.options }) };
    server = Bun.serve<WsWire>({
      ...(relay === undefined ? direct : { unix: relay.socketPath }),
      fetch,
      error: () => refusal(400, "bad request"),
      websocket: socketHandler(context, wires, frameBytesMax),
    });
    url = withPort(listener, relay === undefined ? server.port! : relay.listen()).url;
  } catch (error) {
    stop();
    throw error;
  }
  return {
    url,
    stop,
    destroyAll: () => {
      for (const wire of wires) wire.destroy();
      relay?.destroyAll();
    },
    // Without a relay the rest is the kernel's business.
    get lingeringCount() {
      return relay?.count ?? 0;
    },
  };
}

function socketHandler(
  { broker, turn, limits, log }: ListenContext,
  wires: Set<WsWire>,
  maxPayloadLength: number,
): WebSocketHandler<WsWire> {
  return {
    idleTimeout: 0,
    perMessageDeflate: false,
    maxPayloadLength,
    // Never reached while `send` above holds back; should it be, a closed connection is better than a hole in the stream.
    backpressureLimit: 2 * limits.packetBytesMax + 16 * 1024 * 1024,
    closeOnBackpressureLimit: true,
    open(socket) {
      const wire = socket.data;
      wire.socket = socket;
      wires.add(wire);
      wire.caller.opened();
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
  };
}
