/**
 * One TCP or TLS connection to a broker, spoken to in bytes or packets.
 *
 * Invariant: `write` resolves when the kernel has taken every byte, so that whoever awaits it is no faster than the other
 * side lets it be; it resolves too when the connection has ended.
 */
import type { Socket, SocketHandler, TLSOptions } from "bun";
import { encodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { Inbox } from "./inbox.ts";
import { type ConnectInit, connectPacket, fromHex } from "./world.ts";

export class TcpPeer {
  readonly inbox = new Inbox();
  level: ProtocolLevel = 5;
  /** Bytes given to `write` that the kernel has not taken yet. */
  unsentBytes = 0;
  #socket: Socket<undefined> | undefined;
  #drained: (() => void) | undefined;

  /** With `tls` it resolves when the handshake is over; one that failed leaves an ended inbox. */
  static async open(url: string, tls?: TLSOptions): Promise<TcpPeer> {
    const { hostname, port } = new URL(url);
    const peer = new TcpPeer();
    const secured = Promise.withResolvers<void>();
    const finish = (): void => {
      peer.#finish();
      secured.resolve();
    };
    const socket: SocketHandler<undefined> = {
      data: (_, bytes) => peer.inbox.push(bytes),
      drain: () => peer.#drained?.(),
      end: finish,
      close: finish,
      error: finish,
    };
    // A half-closed connection is the test's business.
    const options = { hostname, port: Number(port), allowHalfOpen: true };
    if (tls === undefined) {
      peer.#socket = await Bun.connect({ ...options, socket });
      return peer;
    }
    const open = (opened: Socket<undefined>): void => {
      peer.#socket = opened;
    };
    await Bun.connect({ ...options, tls, socket: { ...socket, open, handshake: () => secured.resolve() } });
    await secured.promise;
    return peer;
  }

  #finish(): void {
    this.inbox.end();
    this.#drained?.();
  }

  async write(bytes: Uint8Array | string): Promise<void> {
    const raw = typeof bytes === "string" ? fromHex(bytes) : bytes;
    const socket = this.#socket!;
    this.unsentBytes += raw.length;
    for (let sent = 0; sent < raw.length && !this.inbox.ended; ) {
      const taken = Math.max(0, socket.write(raw, sent, raw.length - sent));
      sent += taken;
      this.unsentBytes -= taken;
      if (sent === raw.length) break;
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      this.#drained = undefined;
    }
  }

  send(...packets: Packet[]): Promise<void> {
    const writer = new Writer();
    for (const packet of packets) encodePacket(writer, packet, this.level);
    return this.write(writer.view().slice());
  }

  /** CONNECT and a successful CONNACK. */
  async connect(clientId: string, init: ConnectInit = {}): Promise<void> {
    this.level = init.level ?? 5;
    await this.send(connectPacket(clientId, init));
    const connack = await this.inbox.packet(this.level);
    if (connack?.type !== "connack" || connack.reasonCode !== 0) throw new Error(`got ${JSON.stringify(connack)}`);
  }

  /** SUBSCRIBE with one filter, and its SUBACK, which has to be the next packet. */
  async subscribe(topicFilter: string, qos: 0 | 1 | 2): Promise<void> {
    const filter = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    await this.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
    const suback = await this.inbox.packet(this.level);
    if (suback?.type !== "suback" || suback.reasonCodes[0] !== qos) throw new Error(`got ${JSON.stringify(suback)}`);
  }

  /** Stops and restarts reading from the kernel. */
  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  /** FIN: nothing more is written, reading goes on. */
  shutdown(): void {
    this.#socket?.shutdown();
  }

  /** FIN after what was written, and no more reading. */
  close(): void {
    this.#socket?.end();
  }

  /** RST: the other side sees a failure. */
  reset(): void {
    this.#socket?.terminate();
  }
}

/** A PUBLISH of any size as bytes, without going through an encoder for each of many. */
export function publishBytes(
  topicName: string,
  payload: Uint8Array,
  packetId = 0,
  level: ProtocolLevel = 5,
): Uint8Array {
  const writer = new Writer(payload.length + topicName.length + 32);
  encodePacket(
    writer,
    {
      type: "publish",
      dup: false,
      qos: packetId === 0 ? 0 : 1,
      retain: false,
      topicName,
      payload,
      properties: {},
      ...(packetId === 0 ? {} : { packetId }),
    },
    level,
  );
  return writer.view().slice();
}
