/**
 * A TCP client that knows bytes and the frame of a packet, and nothing of MQTT beyond CONNECT: what a broker sends is
 * seen as it is.
 *
 * Invariant: waiting for a packet ends with the packet, or with an error when the connection has closed before it.
 */
import { connect, type Socket } from "node:net";

export class RawClient {
  /** Resolves when the broker has closed the connection, cleanly or not. */
  readonly closed: Promise<void>;
  #socket: Socket;
  #received: number[] = [];
  #isClosed = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Uint8Array) => {
      for (const byte of bytes) this.#received.push(byte);
      this.#wake();
    });
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.#isClosed = true;
        this.#wake();
        resolve();
      });
    });
  }

  static connect(port: number, host = "127.0.0.1"): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new RawClient(socket));
      });
    });
  }

  /** CONNECT with a clean session, no keep alive and nothing optional. */
  static connectBytes(protocolLevel: 4 | 5, clientId: string): Uint8Array {
    const name = new TextEncoder().encode(clientId);
    const properties = protocolLevel === 5 ? [0] : [];
    const body = [0, 4, 0x4d, 0x51, 0x54, 0x54, protocolLevel, 2, 0, 0, ...properties, 0, name.length, ...name];
    return new Uint8Array([0x10, body.length, ...body]);
  }

  sendConnect(protocolLevel: 4 | 5, clientId: string): void {
    this.send(RawClient.connectBytes(protocolLevel, clientId));
  }

  send(bytes: Uint8Array | readonly number[]): void {
    this.#socket.write(bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes));
  }

  /** The next whole packet, fixed header included. */
  async packet(): Promise<number[]> {
    for (;;) {
      const length = packetLength(this.#received);
      if (length !== undefined && this.#received.length >= length) return this.#received.splice(0, length);
      if (this.#isClosed) throw new Error(`closed before a whole packet: ${this.#received.slice(0, 20).join(" ")}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** What came and was not read as a packet. */
  rest(): number[] {
    return this.#received;
  }

  /** Takes nothing more from the broker. */
  pause(): void {
    this.#socket.pause();
  }

  end(): void {
    this.#socket.destroy();
  }
}

/** Length of the packet that begins here, once its Remaining Length is there. */
function packetLength(bytes: readonly number[]): number | undefined {
  let remaining = 0;
  for (let index = 1; index <= 4; index++) {
    const byte = bytes[index];
    if (byte === undefined) return undefined;
    remaining += (byte & 0x7f) * 128 ** (index - 1);
    if (byte < 0x80) return 1 + index + remaining;
  }
  throw new Error("a Remaining Length of more than four bytes");
}
