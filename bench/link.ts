/**
 * One MQTT connection to the broker under test: framing in, acknowledgements and a packet stream out.
 *
 * Owns the bytes of a packet that was cut by a read, the buffer of small answers, and the order in which both
 * outgoing sources reach the socket. A packet is never interleaved with another: a source that the socket took
 * only in part is finished first. Nothing is allocated per packet.
 * Refuses: a packet type a broker never sends, a Remaining Length of more than four bytes.
 */
import {
  DISCONNECT,
  encodeConnect,
  encodeSubscribe,
  type Login,
  PINGREQ,
  type ProtocolLevel,
  type Qos,
} from "./packet-bytes.ts";
import { type Endpoint, openWire, type Wire, type WireOwner } from "./wire.ts";

export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBREL = 0x62;
export const PUBCOMP = 0x70;

const CONNACK = 0x20;
const PUBLISH = 0x30;
const SUBACK = 0x90;
const PINGRESP = 0xd0;
const DISCONNECTED = 0xe0;

const RECEIVE_MAXIMUM = 0x21;
const USER_PROPERTY = 0x26;
/** Width of the CONNACK properties that are numbers; all others are strings (section 3.2.2.3). */
const CONNACK_NUMBER_BYTES = new Map([
  [0x11, 4],
  [0x13, 2],
  [0x22, 2],
  [0x24, 1],
  [0x25, 1],
  [0x27, 4],
  [0x28, 1],
  [0x29, 1],
  [0x2a, 1],
]);

/** Receives what arrives on a link. `start` and `end` bound a PUBLISH after its fixed header. */
export interface PacketSink {
  publish(bytes: Uint8Array, firstByte: number, start: number, end: number): void;
  acknowledged(packetType: number, packetId: number, reasonCode: number): void;
  /** Everything that came in one read was handed over: the moment to answer, in one write. */
  readEnd(): void;
}

/** Packets that lie ready in a sender's own memory. Answers true once the socket has taken all of them. */
export interface PacketStream {
  writeTo(link: Link): boolean;
}

interface Awaited {
  readonly packetType: number;
  readonly resolve: (packet: Uint8Array) => void;
  readonly reject: (reason: Error) => void;
}

export class Link implements WireOwner {
  sink: PacketSink | null = null;
  stream: PacketStream | null = null;
  onFailure: (reason: Error) => void = throwReason;
  receiveMaximum = 65_535;
  readonly protocolLevel: ProtocolLevel;
  private wire: Wire | null = null;
  private rest: Uint8Array = new Uint8Array(256);
  private restBytes = 0;
  private answers: Uint8Array = new Uint8Array(1024);
  private answersBytes = 0;
  private answersSent = 0;
  private awaited: Awaited | null = null;
  private closing = false;

  private constructor(protocolLevel: ProtocolLevel) {
    this.protocolLevel = protocolLevel;
  }

  /** Opens the connection and waits for a CONNACK that accepts it. */
  static connect(
    endpoint: Endpoint,
    clientId: string,
    protocolLevel: ProtocolLevel,
    login: Login | null = null,
  ): Promise<Link> {
    return Link.open(new Link(protocolLevel), endpoint, encodeConnect(clientId, protocolLevel, login));
  }

  /** As `connect`, to a session that is kept: what waited for it may come right behind CONNACK, and `ready` sees to it. */
  static async resume(
    endpoint: Endpoint,
    clientId: string,
    protocolLevel: ProtocolLevel,
    ready: (link: Link) => void,
  ): Promise<Link> {
    const link = new Link(protocolLevel);
    ready(link);
    return Link.open(link, endpoint, encodeConnect(clientId, protocolLevel, null, true));
  }

  private static async open(link: Link, endpoint: Endpoint, connect: Uint8Array): Promise<Link> {
    link.wire = await openWire(endpoint, link);
    const connack = await link.request(connect, CONNACK);
    if (connack[3] !== 0) throw new Error(`CONNECT refused with reason code ${connack[3]}`);
    if (link.protocolLevel === 5) link.receiveMaximum = receiveMaximumOf(connack);
    return link;
  }

  /** One SUBSCRIBE; all of it has to be granted. */
  async subscribe(topicFilters: readonly string[], qos: Qos): Promise<void> {
    const suback = await this.request(encodeSubscribe(topicFilters, qos, this.protocolLevel), SUBACK);
    const granted = suback.subarray(-topicFilters.length);
    const refused = granted.findIndex((reasonCode) => reasonCode !== qos);
    if (refused < 0) return;
    const reasonCode = granted[refused];
    throw new Error(`SUBSCRIBE to ${topicFilters[refused]} at QoS ${qos} was answered with ${reasonCode}`);
  }

  /** Answers when everything the broker sent before its PINGRESP has been read. */
  async ping(): Promise<void> {
    await this.request(PINGREQ, PINGRESP);
  }

  close(): void {
    this.closing = true;
    this.wire?.write(DISCONNECT, 0, DISCONNECT.length);
    this.wire?.end();
  }

  /** Queues a four byte PUBACK, PUBREC, PUBREL or PUBCOMP; `flush` sends it. */
  answer(packetType: number, packetId: number): void {
    if (this.answersBytes + 4 > this.answers.length) this.answers = grown(this.answers, this.answersBytes);
    const answers = this.answers;
    const at = this.answersBytes;
    answers[at] = packetType;
    answers[at + 1] = 2;
    answers[at + 2] = packetId >> 8;
    answers[at + 3] = packetId & 0xff;
    this.answersBytes = at + 4;
  }

  flush(): void {
    if (this.answersSent > 0 && !this.flushAnswers()) return;
    if (this.stream !== null && !this.stream.writeTo(this)) return;
    if (this.answersBytes > 0) this.flushAnswers();
  }

  /** Hands bytes to the wire and answers how many it took. */
  write(bytes: Uint8Array, start: number, length: number): number {
    return this.wire!.write(bytes, start, length);
  }

  received(bytes: Uint8Array, start: number, end: number): void {
    let at = start;
    if (this.restBytes > 0) at = this.completeRest(bytes, at, end);
    at = this.parse(bytes, at, end);
    if (at < end) this.keep(bytes, at, end);
  }

  readEnd(): void {
    this.sink?.readEnd();
  }

  writable(): void {
    this.flush();
  }

  fail(reason: Error): void {
    if (this.closing) return;
    if (this.awaited !== null) this.awaited.reject(reason);
    else this.onFailure(reason);
  }

  private flushAnswers(): boolean {
    this.answersSent += this.write(this.answers, this.answersSent, this.answersBytes - this.answersSent);
    if (this.answersSent < this.answersBytes) return false;
    this.answersSent = 0;
    this.answersBytes = 0;
    return true;
  }

  private request(packet: Uint8Array, answerType: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.awaited = { packetType: answerType, resolve, reject };
      this.write(packet, 0, packet.length);
    });
  }

  /** Handles every whole packet in `bytes[at, end)` and answers where the first incomplete one begins. */
  private parse(bytes: Uint8Array, at: number, end: number): number {
    const sink = this.sink;
    while (end - at >= 2) {
      const firstByte = bytes[at];
      let length = bytes[at + 1];
      let bodyAt = at + 2;
      if (length >= 0x80) {
        const headerBytes = headerBytesOf(bytes, at, end);
        if (headerBytes === 0) return at;
        length = remainingLengthOf(bytes, at);
        bodyAt = at + headerBytes;
      }
      const next = bodyAt + length;
      if (next > end) return at;
      const packetType = firstByte & 0xf0;
      if (packetType === PUBLISH) {
        sink!.publish(bytes, firstByte, bodyAt, next);
      } else if (packetType >= PUBACK && packetType <= PUBCOMP) {
        sink!.acknowledged(firstByte, (bytes[bodyAt] << 8) | bytes[bodyAt + 1], length > 2 ? bytes[bodyAt + 2] : 0);
      } else {
        this.rare(bytes.slice(at, next));
      }
      at = next;
    }
    return at;
  }

  private rare(packet: Uint8Array): void {
    const awaited = this.awaited;
    if (awaited !== null && awaited.packetType === packet[0]) {
      this.awaited = null;
      awaited.resolve(packet);
    } else if (packet[0] === DISCONNECTED) {
      this.fail(new Error(`the broker sent DISCONNECT with reason code ${packet[2] ?? 0}`));
    } else {
      this.fail(new Error(`the broker sent an unexpected packet of type 0x${packet[0].toString(16)}`));
    }
  }

  /** Adds to the cut packet until it is whole, handles it, and answers where the rest of `chunk[at, end)` begins. */
  private completeRest(chunk: Uint8Array, at: number, end: number): number {
    while (headerBytesOf(this.rest, 0, this.restBytes) === 0) {
      if (at === end) return at;
      this.keep(chunk, at, ++at);
    }
    const packetBytes = headerBytesOf(this.rest, 0, this.restBytes) + remainingLengthOf(this.rest, 0);
    const used = Math.min(packetBytes - this.restBytes, end - at);
    this.keep(chunk, at, at + used);
    if (this.restBytes === packetBytes) {
      this.restBytes = 0;
      this.parse(this.rest, 0, packetBytes);
    }
    return at + used;
  }

  private keep(chunk: Uint8Array, start: number, end: number): void {
    while (this.restBytes + end - start > this.rest.length) this.rest = grown(this.rest, this.restBytes);
    this.rest.set(chunk.subarray(start, end), this.restBytes);
    this.restBytes += end - start;
  }
}

/** Bytes of the fixed header at `at`, or 0 while it is incomplete. */
function headerBytesOf(bytes: Uint8Array, at: number, end: number): number {
  for (let length = 1; length <= 4; length++) {
    if (at + length >= end) return 0;
    if (bytes[at + length] < 0x80) return length + 1;
  }
  throw new Error("the broker sent a Remaining Length of more than four bytes");
}

function remainingLengthOf(bytes: Uint8Array, at: number): number {
  let length = 0;
  let shift = 0;
  for (;;) {
    const byte = bytes[++at];
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) return length;
    shift += 7;
  }
}

function receiveMaximumOf(connack: Uint8Array): number {
  let at = headerBytesOf(connack, 0, connack.length) + 2;
  while (connack[at++] >= 0x80);
  while (at < connack.length) {
    const property = connack[at++];
    if (property === RECEIVE_MAXIMUM) return (connack[at] << 8) | connack[at + 1];
    const width = CONNACK_NUMBER_BYTES.get(property);
    const strings = width !== undefined ? 0 : property === USER_PROPERTY ? 2 : 1;
    at += width ?? 0;
    for (let i = 0; i < strings; i++) at += 2 + ((connack[at] << 8) | connack[at + 1]);
  }
  return 65_535;
}

function grown(bytes: Uint8Array, used: number): Uint8Array {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes.subarray(0, used));
  return larger;
}

function throwReason(reason: Error): void {
  throw reason;
}
