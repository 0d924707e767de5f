/**
 * A broker whose connections are cut where it would be killed: a relay in front of it that drops everything it holds.
 *
 * The same promises hold then, also for state that is only in memory; what breaks them here has nothing to do with the store.
 */
import type { Socket, TCPSocketListener } from "bun";
import type { BrokerUnderTest } from "./broker-under-test.ts";

/** One side of a relayed connection. */
interface Side {
  other: Socket<Side> | null;
  /** What this side's socket has not taken yet. */
  backlog: Uint8Array[];
}

export class CutConnections implements BrokerUnderTest {
  port = 0;
  readonly #broker: BrokerUnderTest;
  readonly #sockets = new Set<Socket<Side>>();
  #listener: TCPSocketListener<Side> | null = null;
  #isUp = false;

  constructor(broker: BrokerUnderTest) {
    this.#broker = broker;
  }

  async start(): Promise<void> {
    if (this.#listener === null) {
      await this.#broker.start();
      this.#listener = Bun.listen<Side>({ hostname: "127.0.0.1", port: 0, socket: this.#handlers() });
      this.port = this.#listener.port;
    }
    this.#isUp = true;
  }

  kill(): void {
    this.#isUp = false;
    for (const socket of [...this.#sockets]) socket.terminate();
  }

  async gone(): Promise<void> {}

  endedWith(): string {
    return this.#broker.endedWith();
  }

  /** Ends the broker itself. */
  async end(): Promise<void> {
    this.#listener?.stop(true);
    this.#broker.kill();
    await this.#broker.gone();
  }

  #handlers(): Bun.SocketHandler<Side> {
    return {
      open: (socket) => {
        this.#sockets.add(socket);
        if (socket.data?.other !== undefined) return;
        socket.data = { other: null, backlog: [] };
        if (this.#isUp) void this.#connect(socket);
        else socket.terminate();
      },
      data: (socket, chunk) => {
        const { other, backlog } = socket.data;
        if (other === null) backlog.push(chunk.slice());
        else relay(other, chunk);
      },
      drain: (socket) => {
        const { backlog } = socket.data;
        socket.data.backlog = [];
        for (const bytes of backlog) relay(socket, bytes);
      },
      close: (socket) => {
        this.#sockets.delete(socket);
        socket.data?.other?.end();
      },
      error: () => {},
    };
  }

  async #connect(client: Socket<Side>): Promise<void> {
    const data: Side = { other: client, backlog: [] };
    const hostname = "127.0.0.1";
    const broker = await Bun.connect<Side>({ hostname, port: this.#broker.port, data, socket: this.#handlers() });
    const early = client.data.backlog;
    client.data = { other: broker, backlog: [] };
    if (this.#sockets.has(client)) for (const bytes of early) relay(broker, bytes);
    else broker.terminate();
  }
}

function relay(socket: Socket<Side>, bytes: Uint8Array): void {
  const { backlog } = socket.data;
  const taken = backlog.length > 0 ? 0 : Math.max(socket.write(bytes), 0);
  if (taken < bytes.length) backlog.push(bytes.slice(taken));
}
