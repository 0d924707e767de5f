/**
 * One MQTT connection over the browser's own WebSocket, spoken packet by packet: it sends what it is told to, in the frames it is
 * told to, and keeps what comes.
 *
 * Shares the codec with the broker and nothing with any client. Every wait ends: with the packet, with the connection's end, or
 * after `PATIENCE_MS`, and then says what came instead.
 */
import { Framer } from "../../../src/core/codec/framer.ts";
import { decodePacket, type Packet, type ProtocolLevel, type QoS } from "../../../src/core/codec/packet.ts";
import { Reader } from "../../../src/core/codec/reader.ts";
import {
  type Bytes,
  type ConnectInit,
  connectPacket,
  encode,
  publishPacket,
  subscribePacket,
  toText,
} from "./packets.ts";

export const PATIENCE_MS = 10_000;

export interface DialogueInit {
  readonly level?: ProtocolLevel;
  /** Whether PUBLISH and PUBREL are acknowledged as they come. */
  readonly acknowledges?: boolean;
}

interface Waiter {
  readonly wake: () => void;
}

export function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** How the connection ended, as the page saw it. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
  /** Whether it had been open. */
  readonly opened: boolean;
}

export class Dialogue {
  readonly socket: WebSocket;
  readonly level: ProtocolLevel;
  readonly ended: Promise<Ending>;
  /** Packets that nobody has taken yet. */
  readonly received: Packet[] = [];
  /** What came in frames that were not binary. */
  textFrames = 0;
  acknowledges: boolean;
  #ending: Ending | undefined;
  #opened = false;
  #packetId = 0;
  #waiters: Waiter[] = [];
  readonly #framer = new Framer(Number.MAX_SAFE_INTEGER);

  constructor(url: string, protocols: string | string[] | undefined = "mqtt", init: DialogueInit = {}) {
    this.level = init.level ?? 5;
    this.acknowledges = init.acknowledges ?? true;
    this.socket = new WebSocket(url, protocols);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.#opened = true;
      this.#wakeAll();
    };
    this.socket.onmessage = ({ data }) => this.#receive(data);
    this.ended = new Promise((resolve) => {
      this.socket.onclose = ({ code, reason, wasClean }) => {
        this.#ending = { code, reason, wasClean, opened: this.#opened };
        resolve(this.#ending);
        this.#wakeAll();
      };
    });
  }

  /** Opened, with nothing sent yet. */
  static async open(url: string, init: DialogueInit = {}): Promise<Dialogue> {
    const dialogue = new Dialogue(url, "mqtt", init);
    await dialogue.#until(() => dialogue.#opened, "the WebSocket to open");
    return dialogue;
  }

  /** Opened, and let in. */
  static async connect(url: string, connect: ConnectInit = {}, init: DialogueInit = {}): Promise<Dialogue> {
    const dialogue = await Dialogue.open(url, init);
    await dialogue.login(connect);
    return dialogue;
  }

  /** Sends CONNECT and takes a CONNACK that has to be success; answers whether there was a session. */
  async login(connect: ConnectInit = {}): Promise<boolean> {
    this.send(connectPacket(connect, this.level));
    const connack = await this.take("connack");
    if (connack.reasonCode !== 0) throw new Error(`CONNACK ${hex(connack.reasonCode)}`);
    return connack.sessionPresent;
  }

  /** Packets in one frame. */
  send(...packets: Packet[]): void {
    this.frame(encode(packets, this.level));
  }

  frame(bytes: Bytes | Blob | string): void {
    if (this.socket.readyState !== WebSocket.OPEN) throw new Error(`the WebSocket is closed: ${this.#endingText()}`);
    this.socket.send(bytes);
  }

  nextPacketId(): number {
    return ++this.#packetId;
  }

  async subscribe(topicFilter: string, qos: QoS = 2): Promise<void> {
    this.send(subscribePacket(topicFilter, qos, this.nextPacketId()));
    const { reasonCodes } = await this.take("suback");
    if (reasonCodes[0] !== qos) throw new Error(`SUBACK ${hex(reasonCodes[0] ?? -1)}, expected ${hex(qos)}`);
  }

  /** At QoS 1 and 2 with the whole handshake; answers the reason code. */
  async publish(topicName: string, payload: string | Uint8Array, qos: QoS = 0): Promise<number> {
    if (qos === 0) {
      this.send(publishPacket(topicName, payload));
      return 0;
    }
    const packetId = this.nextPacketId();
    this.send(publishPacket(topicName, payload, { qos, packetId }));
    const { reasonCode, packetId: answered } = await this.take(qos === 1 ? "puback" : "pubrec");
    if (answered !== packetId) throw new Error(`an answer to ${answered}, expected ${packetId}`);
    if (qos === 1 || reasonCode >= 0x80) return reasonCode;
    this.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    const completed = await this.take("pubcomp");
    if (completed.packetId !== packetId) throw new Error(`PUBCOMP of ${completed.packetId}, expected ${packetId}`);
    return reasonCode;
  }

  /** The next packet of this type; those of other types stay. */
  async take<T extends Packet["type"]>(type: T): Promise<Extract<Packet, { type: T }>> {
    const find = () => this.received.findIndex((packet) => packet.type === type);
    await this.#until(() => find() >= 0, type.toUpperCase());
    return this.received.splice(find(), 1)[0] as Extract<Packet, { type: T }>;
  }

  /** The payload of the next PUBLISH as text. */
  async message(): Promise<string> {
    return toText((await this.take("publish")).payload);
  }

  /** Ends as a client should. */
  async disconnect(): Promise<Ending> {
    this.send({ type: "disconnect", reasonCode: 0, properties: {} });
    return this.end();
  }

  /** How it ends; rejects where it does not. */
  async end(): Promise<Ending> {
    await this.#until(() => this.#ending !== undefined, "the connection to end", true);
    return this.#ending!;
  }

  #receive(data: unknown): void {
    if (!(data instanceof ArrayBuffer)) {
      this.textFrames++;
      return;
    }
    this.#framer.feed(new Uint8Array(data));
    while (this.#framer.next()) {
      const { bytes, packetStart, bodyStart, bodyEnd } = this.#framer;
      const packet = decodePacket(bytes[packetStart]!, new Reader(bytes.slice(bodyStart, bodyEnd)), this.level);
      if (this.acknowledges) this.#acknowledge(packet);
      this.received.push(packet);
    }
    this.#wakeAll();
  }

  #acknowledge(packet: Packet): void {
    const answer = { packetId: 0, reasonCode: 0, properties: {} };
    if (packet.type === "pubrel") this.send({ ...answer, type: "pubcomp", packetId: packet.packetId });
    if (packet.type !== "publish" || packet.qos === 0) return;
    this.send({ ...answer, type: packet.qos === 1 ? "puback" : "pubrec", packetId: packet.packetId! });
  }

  async #until(isDone: () => boolean, what: string, mayEnd = false): Promise<void> {
    const untilMs = performance.now() + PATIENCE_MS;
    while (!isDone()) {
      if (this.#ending !== undefined && !mayEnd) throw new Error(`waited for ${what}: ${this.#endingText()}`);
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}; came instead: ${this.#cameText()}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((wake) => {
        this.#waiters.push({ wake });
        timer = setTimeout(wake, leftMs);
      });
      clearTimeout(timer);
    }
  }

  #wakeAll(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { wake } of waiters) wake();
  }

  #cameText(): string {
    return this.received.map(({ type }) => type.toUpperCase()).join(", ") || "nothing";
  }

  #endingText(): string {
    if (this.#ending === undefined) return "still closing";
    const { code, reason } = this.#ending;
    return `closed with ${code}${reason === "" ? "" : ` (${reason})`}; came before: ${this.#cameText()}`;
  }
}

export function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, "0")}`;
}
