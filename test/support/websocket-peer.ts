/**
 * One WebSocket connection to a broker, frame by frame, for what no WebSocket client lets a test do: splitting a message
 * over frames, empty frames, and looking at the frames that come back (RFC 6455, without extensions).
 */
import type { TLSOptions } from "bun";
import { Inbox } from "./inbox.ts";
import { TcpPeer } from "./tcp-peer.ts";

export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface Handshake {
  /** HTTP status; 101 is a WebSocket. */
  readonly status: number;
  readonly protocol: string | null;
}

/** What an upgrade may have beside its subprotocols. */
export interface Upgrade {
  readonly tls?: TLSOptions;
  readonly headers?: Readonly<Record<string, string>>;
}

export class WebSocketPeer {
  readonly tcp: TcpPeer;
  readonly handshake: Handshake;
  /** Payload of all data frames, in order: the MQTT byte stream. */
  readonly inbox = new Inbox();
  /** Opcode of every frame received. */
  readonly opcodes: number[] = [];
  /** Resolves when the stream has ended, with the code of the close frame or `undefined`. */
  readonly closed: Promise<number | undefined>;

  private constructor(tcp: TcpPeer, handshake: Handshake) {
    this.tcp = tcp;
    this.handshake = handshake;
    this.closed = this.#readFrames();
  }

  /** Asks for an upgrade with these subprotocols and answers whatever comes back. */
  static async open(url: string, protocols = "mqtt", upgrade: Upgrade = {}): Promise<WebSocketPeer> {
    const { host, pathname, search } = new URL(url);
    const tcp = await TcpPeer.open(url, upgrade.tls);
    const lines = [
      `GET ${pathname}${search} HTTP/1.1`,
      `Host: ${host}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
    ];
    for (const [name, value] of Object.entries(upgrade.headers ?? {})) lines.push(`${name}: ${value}`);
    if (protocols !== "") lines.push(`Sec-WebSocket-Protocol: ${protocols}`);
    await tcp.write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
    let head = "";
    while (!head.endsWith("\r\n\r\n")) {
      const byte = await tcp.inbox.take(1);
      if (byte === undefined) throw new Error(`the answer ends early: ${head}`);
      head += String.fromCharCode(byte[0]!);
    }
    const protocol = /^sec-websocket-protocol: *(.*?) *\r$/im.exec(head)?.[1] ?? null;
    return new WebSocketPeer(tcp, { status: Number(head.split(" ")[1]), protocol });
  }

  async #readFrames(): Promise<number | undefined> {
    let code: number | undefined;
    if (this.handshake.status === 101) {
      for (;;) {
        const header = await this.tcp.inbox.take(2);
        if (header === undefined) break;
        const payload = await this.tcp.inbox.take(await this.#length(header[1]! & 0x7f));
        if (payload === undefined) break;
        const opcode = header[0]! & 0x0f;
        this.opcodes.push(opcode);
        if (opcode <= Opcode.binary) this.inbox.push(payload);
        if (opcode === Opcode.close) {
          code = payload.length >= 2 ? payload[0]! * 256 + payload[1]! : 1005;
          this.inbox.end();
          await this.frame(Opcode.close, payload.slice(0, 2));
          this.tcp.close();
        }
      }
    }
    this.inbox.end();
    return code;
  }

  async #length(short: number): Promise<number> {
    if (short < 126) return short;
    const bytes = await this.tcp.inbox.take(short === 126 ? 2 : 8);
    let length = 0;
    for (const byte of bytes ?? []) length = length * 256 + byte;
    return length;
  }

  frame(opcode: number, payload?: Uint8Array, fin?: boolean): Promise<void> {
    return this.tcp.write(encodeFrame(opcode, payload, fin));
  }

  /** One binary frame. */
  write(payload: Uint8Array): Promise<void> {
    return this.frame(Opcode.binary, payload);
  }

  reset(): void {
    this.tcp.reset();
  }
}

/** One frame, masked as clients have to. */
export function encodeFrame(opcode: number, payload: Uint8Array = new Uint8Array(0), fin = true): Uint8Array {
  const { length } = payload;
  const size = length < 126 ? [length] : length < 65_536 ? [126, length >> 8, length & 0xff] : [127, 0, 0, 0, 0];
  if (length >= 65_536) for (let shift = 24; shift >= 0; shift -= 8) size.push((length >> shift) & 0xff);
  size[0]! |= 0x80;
  const mask = [0x11, 0x22, 0x33, 0x44];
  const bytes = new Uint8Array(1 + size.length + mask.length + length);
  bytes.set([(fin ? 0x80 : 0) | opcode, ...size, ...mask]);
  const start = 1 + size.length + mask.length;
  for (let at = 0; at < length; at++) bytes[start + at] = payload[at]! ^ mask[at & 3]!;
  return bytes;
}
