/**
 * TLS before a WebSocket server: for listeners that ask for client certificates, which the runtime's own server verifies
 * and shows to nobody. TLS ends here, and the bytes go on to that server over a Unix socket in a folder of this user alone.
 *
 * Who is calling is told by a ticket: a random header put behind the request line, good for one request of this connection.
 * Invariant: a certificate reaches only the request that began its own connection. A request without a ticket that is good
 * is nobody's; one that brings such a header itself has two, which is none.
 *
 * Owns the head of the request until it is complete: its bound, its deadline, its place among the newcomers, which is kept
 * until the WebSocket is open. An end is passed on, each way, behind the bytes before it; a client that does not hang up
 * after the server has is cut.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket, SocketHandler, TCPSocketListener } from "bun";
import type { PeerCertificate } from "../core/gate/provider.ts";
import type { Log } from "../core/ports.ts";
import { type Listener, withPort } from "../listener-url.ts";
import { Flow } from "./flow.ts";
import { type Handshake, type Handshakes, type SecureWire, secureOpening } from "./handshakes.ts";
import type { ListenContext } from "./tcp.ts";
import { type ListenerTls, TlsSettingError } from "./tls.ts";

/** Request line and headers; the server behind takes no more either. */
const HEAD_BYTES_MAX = 16 * 1024;
const TICKET_HEADER = "Rqtt-Ticket";
const TICKET_BYTES = 32;
/** How long a client may take to read the last bytes and hang up. */
const LINGER_MS = 2_000;
const TCP_KEEP_ALIVE_MS = 60_000;
/** The smallest bound of the systems we know, 104 with the NUL at the end. */
const SOCKET_PATH_BYTES_MAX = 103;

/** Whose request it is. */
export interface Caller {
  readonly remoteAddress: string;
  readonly certificate: PeerCertificate | undefined;
  /** Its WebSocket is open: from now on the broker counts it. */
  opened(): void;
}

export interface TlsRelay {
  /** Where the WebSocket server has to listen before `listen` is called. */
  readonly socketPath: string;
  /** Accepts clients; answers the port. */
  listen(): number;
  /** Whose request this is, once; `undefined` if it did not come by the relay, or not as the first of its connection. */
  take(request: Request): Caller | undefined;
  /** Stops accepting and cuts those without a WebSocket; the others stay. */
  stop(): void;
  destroyAll(): void;
  /** Connections that are open on one side or on both. */
  readonly count: number;
}

/** What the clients of one relay share. */
interface Switchboard {
  readonly socketPath: string;
  readonly handshakes: Handshakes;
  readonly connectionsMax: number;
  readonly log: Log;
  readonly tickets: Map<string, RelayedClient>;
  readonly clients: Set<RelayedClient>;
}

type RelaySocket = Socket<RelayedClient>;

class RelayedClient implements SecureWire, Caller {
  readonly listener: string;
  readonly remoteAddress: string;
  certificate: PeerCertificate | undefined;
  /** Of TLS, then of the upgrade; `undefined` once the WebSocket is open. */
  handshake: Handshake | undefined;
  judged = false;
  readonly #board: Switchboard;
  readonly #client: RelaySocket;
  #server: RelaySocket | null = null;
  /** The beginning of the head, while the rest of it is awaited. */
  #head: Buffer | null = null;
  #ticket = "";
  /** To the server, once the head is complete. */
  #up: Flow | null = null;
  #down: Flow | null = null;
  #hasClientEnded = false;
  #isClientGone = false;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: RelaySocket, listener: string, board: Switchboard) {
    this.#client = socket;
    this.#board = board;
    this.listener = listener;
    this.remoteAddress = socket.remoteAddress;
    board.clients.add(this);
  }

  admit(certificate: PeerCertificate | undefined): void {
    this.certificate = certificate;
    const { handshakes, clients, connectionsMax, log } = this.#board;
    // The broker counts no more those that are hung up on; here they have a place until they are gone.
    const isFull = clients.size > connectionsMax;
    if (isFull) log.write("warn", "connection-limit", { remoteAddress: this.remoteAddress });
    this.handshake = isFull ? undefined : handshakes.begin(this, "upgrade-failed", () => this.destroy());
    if (this.handshake === undefined) this.destroy();
    else this.#head = Buffer.alloc(0);
  }

  opened(): void {
    this.handshake?.succeeded();
    this.handshake = undefined;
  }

  /** Bytes of the client. Those of one that was not admitted, or was refused, are nothing to anybody. */
  received(bytes: Uint8Array): void {
    if (this.#up !== null) this.#up.pass(bytes);
    else if (this.#head !== null) this.#readHead(this.#head, bytes);
  }

  #readHead(before: Buffer, bytes: Uint8Array): void {
    const head = Buffer.concat([before, bytes]);
    const end = head.indexOf("\r\n\r\n", Math.max(0, before.length - 3));
    if ((end === -1 ? head.length : end + 4) > HEAD_BYTES_MAX) {
      this.#refuse("431 Request Header Fields Too Large", `a request head of more than ${HEAD_BYTES_MAX} bytes`);
    } else if (end === -1) {
      this.#head = head;
    } else {
      this.#head = null;
      this.#relay(head);
    }
  }

  /** Connects to the server, and gives it what was read with a ticket behind the request line. */
  #relay(head: Buffer): void {
    const { socketPath, tickets } = this.#board;
    this.#ticket = randomBytes(TICKET_BYTES).toString("base64url");
    tickets.set(this.#ticket, this);
    this.#up = new Flow(this.#client, null);
    const headersAt = head.indexOf("\r\n") + 2;
    this.#up.pass(head.subarray(0, headersAt));
    this.#up.pass(Buffer.from(`${TICKET_HEADER}: ${this.#ticket}\r\n`));
    this.#up.pass(head.subarray(headersAt));
    Bun.connect({ unix: socketPath, allowHalfOpen: true, data: this as RelayedClient, socket: SERVER_SIDE }).catch(
      (error: { code?: string }) => {
        this.#refuse(
          "503 Service Unavailable",
          `the WebSocket server is not reached: ${error.code ?? "unknown error"}`,
        );
      },
    );
  }

  connected(server: RelaySocket): void {
    if (this.#isClientGone) {
      server.terminate();
      return;
    }
    this.#server = server;
    this.#down = new Flow(server, this.#client);
    this.#up!.open(server);
  }

  /** Bytes of the server. */
  answered(bytes: Uint8Array): void {
    this.#down?.pass(bytes);
  }

  /** One of the two takes bytes again. */
  drained(): void {
    this.#up?.drain();
    this.#down?.drain();
    this.#endClient();
  }

  /** FIN of the client, or its end. The server answers with its own. */
  clientEnded(): void {
    this.#hasClientEnded = true;
    this.#up?.end();
    this.#endClient();
  }

  clientGone(): void {
    this.#isClientGone = true;
    this.handshake?.closed();
    this.#board.tickets.delete(this.#ticket);
    clearTimeout(this.#linger);
    this.#down?.break();
    this.clientEnded();
    this.#forget();
  }

  /** FIN of the server, or its end: what the client still sends is for nobody. */
  serverEnded(): void {
    this.handshake?.failed("the request was refused");
    this.#up?.break();
    this.#server?.end();
    this.#down?.end();
    if (!this.#isClientGone) this.#hangUp();
    this.#endClient();
  }

  serverGone(): void {
    this.#server = null;
    this.serverEnded();
    this.#forget();
  }

  close(): void {
    this.#client.shutdown();
    this.#hangUp();
  }

  destroy(): void {
    this.#client.terminate();
    this.#server?.terminate();
  }

  #refuse(status: string, why: string): void {
    this.handshake?.failed(why);
    this.#head = null;
    this.#up?.break();
    this.#client.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    this.close();
  }

  #hangUp(): void {
    this.#linger ??= setTimeout(() => this.destroy(), LINGER_MS).unref();
  }

  /** Both have said their last word, and the client has been given everything. */
  #endClient(): void {
    const isServerDone = this.#up === null || this.#down?.isDone === true;
    if (this.#hasClientEnded && isServerDone) this.#client.end();
  }

  #forget(): void {
    if (this.#isClientGone && this.#server === null) this.#board.clients.delete(this);
  }
}

const CLIENT_SIDE: SocketHandler<RelayedClient> = {
  data: (socket, bytes) => socket.data.received(bytes),
  drain: (socket) => socket.data.drained(),
  end: (socket) => socket.data.clientEnded(),
  close: (socket) => socket.data.clientGone(),
  error: (socket) => void socket.terminate(),
};

const SERVER_SIDE: SocketHandler<RelayedClient> = {
  open: (socket) => socket.data.connected(socket),
  data: (socket, bytes) => socket.data.answered(bytes),
  drain: (socket) => socket.data.drained(),
  end: (socket) => socket.data.serverEnded(),
  close: (socket) => socket.data.serverGone(),
  error: (socket) => void socket.terminate(),
};

/** Makes the folder for the socket; nothing listens yet. */
export function openTlsRelay(
  listener: Listener,
  tls: ListenerTls,
  { handshakes, limits, log }: ListenContext,
): TlsRelay {
  const folder = makeFolder();
  const clients = new Set<RelayedClient>();
  const tickets = new Map<string, RelayedClient>();
  const { connectionsMax } = limits;
  const board: Switchboard = { socketPath: join(folder, "ws"), handshakes, connectionsMax, log, tickets, clients };
  let { url } = listener;
  let accepting: TCPSocketListener<RelayedClient> | undefined;
  const accept = (socket: RelaySocket): RelayedClient => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    const client = new RelayedClient(socket, url, board);
    socket.data = client;
    return client;
  };
  return {
    socketPath: board.socketPath,
    listen() {
      accepting = Bun.listen<RelayedClient>({
        hostname: listener.hostname,
        port: listener.port,
        exclusive: true,
        allowHalfOpen: true,
        tls: tls.options,
        socket: {
          ...CLIENT_SIDE,
          ...secureOpening(handshakes, tls, accept, (client, certificate) => client.admit(certificate)),
        },
      });
      url = withPort(listener, accepting.port).url;
      return accepting.port;
    },
    take(request) {
      const ticket = request.headers.get(TICKET_HEADER) ?? "";
      const client = tickets.get(ticket);
      tickets.delete(ticket);
      return client;
    },
    stop() {
      accepting?.stop();
      for (const client of clients) if (client.handshake !== undefined) client.destroy();
      removeFolder(folder);
    },
    destroyAll() {
      for (const client of clients) client.destroy();
    },
    get count() {
      return clients.size;
    },
  };
}

/** A new folder for each listener, whatever others or earlier ones have left: 0700, with a name nobody can foresee. */
function makeFolder(): string {
  let folder: string;
  try {
    folder = mkdtempSync(join(tmpdir(), "rqtt-wss-"));
  } catch (error) {
    const why = (error as { code?: string }).code ?? "unknown error";
    throw new TlsSettingError(`TMPDIR: expected a folder to make a socket in, found ${why} (${tmpdir()})`);
  }
  const tooMany = Buffer.byteLength(join(folder, "ws")) - SOCKET_PATH_BYTES_MAX;
  if (tooMany <= 0) return folder;
  removeFolder(folder);
  const most = Buffer.byteLength(tmpdir()) - tooMany;
  throw new TlsSettingError(`TMPDIR: expected a path of at most ${most} bytes, for a socket's name (${tmpdir()})`);
}

function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {
    // It stays behind, empty or with a socket that nobody listens on; the next start makes another one.
  }
}
