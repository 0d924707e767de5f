/**
 * WebSocket as a client speaks it to a broker (RFC 6455), for a generator that must cost little: the opening handshake,
 * binary frames out, masked four bytes at a time, and frames in, handed on without a copy.
 *
 * Deliberately apart from `src/`. Bytes of MQTT need not fit frames: a packet may lie in several, and a frame may hold many.
 * Refuses: a handshake without 101, its accept key or the subprotocol mqtt; masked, extended and text frames.
 */
import { createHash, randomBytes } from "node:crypto";

/** As many as fit a length of 16 bits. */
export const FRAME_PAYLOAD_MAX = 65_535;

const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FINAL = 0x80;
const MASKED = 0x80;
const RESERVED_BITS = 0x70;
const CONTINUATION = 0;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const HEADER_BYTES_MAX = 10;
/** Where payloads begin in a frame under construction, so that they can be masked as words; the header ends there. */
const PAYLOAD_AT = 16;

export function newHandshakeKey(): string {
  return randomBytes(16).toString("base64");
}

export function handshakeRequest(port: number, key: string): string {
  const lines = [
    "GET /mqtt HTTP/1.1",
    `Host: 127.0.0.1:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Protocol: mqtt",
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** What is wrong with the answer, or null. `head` is all of it up to the empty line. */
export function handshakeProblem(head: string, key: string): string | null {
  const [status, ...headers] = head.split("\r\n");
  if (!/^HTTP\/1\.1 101\b/.test(status)) return `the broker answered the WebSocket handshake with ${status}`;
  const header = (name: string) => headers.find((line) => line.toLowerCase().startsWith(`${name}:`))?.split(":")[1];
  const accept = createHash("sha1").update(`${key}${ACCEPT_SUFFIX}`).digest("base64");
  if (header("sec-websocket-accept")?.trim() !== accept) return "the broker answered with a wrong accept key";
  if (header("sec-websocket-protocol")?.trim() !== "mqtt") return "the broker did not take the subprotocol mqtt";
  return null;
}

/** One frame at a time; `bytes[start, end)` is what the socket has not taken yet. */
export class FrameWriter {
  start = PAYLOAD_AT;
  end = PAYLOAD_AT;
  bytes: Uint8Array = new Uint8Array(256);
  private words = new Uint32Array(this.bytes.buffer);
  /** Anything but 0; from the system's source, and then a xorshift generator. */
  private mask = randomBytes(4).readUInt32LE() | 1;

  get isEmpty(): boolean {
    return this.start === this.end;
  }

  /** Puts up to a frame's worth of `source[from, from + length)` into a new frame and answers how much. */
  fill(source: Uint8Array, from: number, length: number): number {
    const taken = Math.min(length, FRAME_PAYLOAD_MAX);
    this.build(BINARY, source, from, taken);
    return taken;
  }

  /** Answers a PING with the same payload. Only while empty. */
  fillPong(payload: Uint8Array): void {
    this.build(PONG, payload, 0, payload.length);
  }

  private build(opcode: number, source: Uint8Array, from: number, length: number): void {
    this.reserve(PAYLOAD_AT + length + 4);
    const { bytes, words } = this;
    bytes.set(source.subarray(from, from + length), PAYLOAD_AT);
    this.mask = nextMask(this.mask);
    const { mask } = this;
    const wordAt = PAYLOAD_AT >> 2;
    words[wordAt - 1] = mask;
    const wordsEnd = wordAt + ((length + 3) >> 2);
    for (let word = wordAt; word < wordsEnd; word++) words[word] ^= mask;
    const isShort = length < 126;
    this.start = PAYLOAD_AT - (isShort ? 6 : 8);
    this.end = PAYLOAD_AT + length;
    bytes[this.start] = FINAL | opcode;
    bytes[this.start + 1] = MASKED | (isShort ? length : 126);
    if (isShort) return;
    bytes[this.start + 2] = length >> 8;
    bytes[this.start + 3] = length & 0xff;
  }

  private reserve(size: number): void {
    if (size <= this.bytes.length) return;
    this.bytes = new Uint8Array(2 ** Math.ceil(Math.log2(size)));
    this.words = new Uint32Array(this.bytes.buffer);
  }
}

function nextMask(mask: number): number {
  mask ^= mask << 13;
  mask ^= mask >>> 17;
  mask ^= mask << 5;
  return mask;
}

export interface FrameSink {
  payload(bytes: Uint8Array, start: number, end: number): void;
  ping(payload: Uint8Array): void;
  /** The broker closes the WebSocket with this status code. */
  closed(code: number): void;
}

/** Takes what the socket reads, in whatever pieces, and hands on the payloads. */
export class FrameReader {
  private readonly sink: FrameSink;
  private readonly header = new Uint8Array(HEADER_BYTES_MAX);
  private headerBytes = 0;
  private opcode = BINARY;
  private payloadLeft = 0;
  /** Payload of a control frame, which has at most 125 bytes. */
  private control: number[] = [];

  constructor(sink: FrameSink) {
    this.sink = sink;
  }

  take(bytes: Uint8Array, at: number, end: number): void {
    while (at < end) {
      if (this.payloadLeft === 0) {
        at = this.takeHeader(bytes, at, end);
        if (this.payloadLeft === 0) continue;
      }
      const stop = Math.min(end, at + this.payloadLeft);
      if (at === stop) return;
      this.payloadLeft -= stop - at;
      if (this.opcode === BINARY) this.sink.payload(bytes, at, stop);
      else this.takeControl(bytes, at, stop);
      at = stop;
    }
  }

  private takeControl(bytes: Uint8Array, at: number, stop: number): void {
    this.control.push(...bytes.subarray(at, stop));
    if (this.payloadLeft === 0) this.endControl();
  }

  private endControl(): void {
    const payload = Uint8Array.from(this.control);
    this.control = [];
    if (this.opcode === PING) this.sink.ping(payload);
    else if (this.opcode === CLOSE) this.sink.closed(payload.length < 2 ? 1005 : (payload[0] << 8) | payload[1]);
  }

  /** Byte by byte: a header has two bytes and rarely more. Answers where the payload begins, or `end`. */
  private takeHeader(bytes: Uint8Array, at: number, end: number): number {
    const { header } = this;
    while (at < end) {
      header[this.headerBytes++] = bytes[at++];
      if (this.headerBytes < 2 || this.headerBytes < headerBytesOf(header)) continue;
      this.headerBytes = 0;
      this.begin(header);
      return at;
    }
    return at;
  }

  private begin(header: Uint8Array): void {
    const opcode = header[0] & 0x0f;
    if ((header[0] & RESERVED_BITS) !== 0) throw new Error("the broker sent a WebSocket frame with reserved bits");
    if ((header[1] & MASKED) !== 0) throw new Error("the broker sent a masked WebSocket frame");
    if (![CONTINUATION, BINARY, CLOSE, PING, PONG].includes(opcode)) {
      throw new Error(`the broker sent a WebSocket frame with opcode ${opcode}`);
    }
    this.opcode = opcode === CONTINUATION ? BINARY : opcode;
    this.payloadLeft = payloadBytesOf(header);
    if (this.payloadLeft === 0 && this.opcode !== BINARY) this.endControl();
  }
}

function headerBytesOf(header: Uint8Array): number {
  const length = header[1] & 0x7f;
  return length < 126 ? 2 : length === 126 ? 4 : HEADER_BYTES_MAX;
}

function payloadBytesOf(header: Uint8Array): number {
  const length = header[1] & 0x7f;
  if (length < 126) return length;
  const bytes = header.subarray(2, length === 126 ? 4 : HEADER_BYTES_MAX);
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}
