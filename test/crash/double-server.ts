/**
 * The double on a loopback port inside the test runner, killed by cutting all its connections; its state stays, but for what a planned
 * fault does to it.
 */
import type { Socket, TCPSocketListener } from "bun";
import type { BrokerUnderTest } from "./broker-under-test.ts";
import { DoubleBroker, DoubleLink } from "./double-broker.ts";
import type { PlannedFault } from "./double-faults.ts";

interface Line {
  link: DoubleLink;
  /** What has not left yet. */
  backlog: Uint8Array[];
}

/** Between a packet and the answer to it, so that kills find a moment in which the double has done what its client does not know yet. */
const ANSWER_MS = 2;

export class DoubleServer implements BrokerUnderTest {
  port = 0;
  readonly #fault: PlannedFault | null;
  readonly #broker = new DoubleBroker();
  readonly #sockets = new Set<Socket<Line>>();
  #isUp = false;
  #listener: TCPSocketListener<Line> | null = null;

  constructor(fault: PlannedFault | null) {
    this.#fault = fault;
  }

  async start(): Promise<void> {
    this.#isUp = true;
    // Down or up, the port is kept: nobody else may have it meanwhile.
    this.#listener ??= Bun.listen<Line>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          if (!this.#isUp) return void socket.terminate();
          const link = new DoubleLink(
            this.#broker,
            (bytes) => send(socket, bytes),
            () => void socket.end(),
          );
          socket.data = { link, backlog: [] };
          this.#sockets.add(socket);
        },
        data: (socket, chunk) => socket.data?.link.receive(chunk),
        drain: (socket) => flush(socket),
        close: (socket) => {
          this.#sockets.delete(socket);
          socket.data?.link.closed();
        },
      },
    });
    this.port = this.#listener.port;
  }

  kill(): void {
    this.#isUp = false;
    for (const socket of this.#sockets) {
      // As if no byte had come after the kill.
      socket.data.link.closed();
      socket.data.link = new DoubleLink(
        this.#broker,
        () => {},
        () => {},
      );
      socket.terminate();
    }
    this.#sockets.clear();
    this.#fault?.strike(this.#broker);
  }

  async gone(): Promise<void> {}

  /** For good. */
  close(): void {
    this.#listener?.stop(true);
  }

  endedWith(): string {
    return "";
  }
}

function send(socket: Socket<Line>, bytes: Uint8Array): void {
  const { backlog } = socket.data;
  if (backlog.length === 0) setTimeout(() => flush(socket), ANSWER_MS);
  backlog.push(bytes);
}

function flush(socket: Socket<Line>): void {
  const bytes = Buffer.concat(socket.data.backlog);
  const taken = Math.max(socket.write(bytes), 0);
  socket.data.backlog = taken < bytes.length ? [bytes.subarray(taken)] : [];
}
