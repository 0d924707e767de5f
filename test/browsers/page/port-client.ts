/**
 * A small MQTT 5.0 client over a MessagePort to the broker in a worker: as much as a demonstration needs, every packet shown to
 * whoever wants to see it.
 */
import { Framer } from "../../../src/core/codec/framer.ts";
import { decodePacket, type Packet, type QoS } from "../../../src/core/codec/packet.ts";
import type { Publish } from "../../../src/core/codec/publish.ts";
import { Reader } from "../../../src/core/codec/reader.ts";
import { type ConnectInit, connectPacket, encode, publishPacket, subscribePacket, toText } from "./packets.ts";

type Answer = "connack" | "suback" | "unsuback" | "puback" | "pubrec" | "pubcomp";

export class PortClient {
  /** Every packet, as it goes and comes. */
  ontrace: ((direction: "sent" | "received", packet: Packet, bytes: number) => void) | null = null;
  onpublish: ((packet: Publish) => void) | null = null;
  onclose: ((reasonCode: number) => void) | null = null;
  readonly #worker: Worker;
  readonly #name: string;
  readonly #messages: string[] = [];
  readonly #answers: { readonly type: Answer; readonly resolve: (packet: Packet) => void; fail(error: Error): void }[] =
    [];
  #wake: (() => void) | undefined;
  #port: MessagePort | undefined;
  #packetId = 0;

  constructor(worker: Worker, name: string) {
    this.#worker = worker;
    this.#name = name;
  }

  get isOpen(): boolean {
    return this.#port !== undefined;
  }

  /** Connects anew; answers whether there was a session. */
  async connect(init: ConnectInit): Promise<boolean> {
    const { port1, port2 } = new MessageChannel();
    const framer = new Framer(Number.MAX_SAFE_INTEGER);
    port1.onmessage = ({ data }: MessageEvent<Uint8Array | number>) => {
      if (typeof data === "number") this.#ended(port1, data);
      else this.#receive(framer, data);
    };
    this.#port = port1;
    this.#worker.postMessage({ connect: this.#name, port: port2 }, [port2]);
    this.#send(connectPacket(init));
    const { reasonCode, sessionPresent } = await this.#answer("connack");
    if (reasonCode !== 0) throw new Error(`CONNACK with ${reasonCode}`);
    return sessionPresent;
  }

  async subscribe(topicFilter: string, qos: QoS): Promise<number> {
    this.#send(subscribePacket(topicFilter, qos, ++this.#packetId));
    return (await this.#answer("suback")).reasonCodes[0]!;
  }

  /** Resolves with the reason code when the handshake of the QoS is done. */
  async publish(topicName: string, payload: string, qos: QoS, retain = false): Promise<number> {
    const packetId = qos === 0 ? undefined : ++this.#packetId;
    this.#send(publishPacket(topicName, payload, { qos, retain, ...(packetId === undefined ? {} : { packetId }) }));
    if (packetId === undefined) return 0;
    const { reasonCode } = qos === 1 ? await this.#answer("puback") : await this.#answer("pubrec");
    if (qos === 1 || reasonCode >= 0x80) return reasonCode;
    this.#send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    return (await this.#answer("pubcomp")).reasonCode;
  }

  /** The next message as text, where nobody listens to `onpublish`. */
  async message(): Promise<string> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#messages.shift()!;
  }

  disconnect(): void {
    this.#send({ type: "disconnect", reasonCode: 0, properties: {} });
  }

  /** The connection is gone, without a word. */
  cut(): void {
    const port = this.#port;
    if (port === undefined) return;
    port.postMessage(0);
    this.#ended(port, -1);
  }

  #send(packet: Packet): void {
    if (this.#port === undefined) throw new Error("not connected");
    const bytes = encode([packet]);
    this.ontrace?.("sent", packet, bytes.length);
    this.#port.postMessage(bytes);
  }

  #receive(framer: Framer, bytes: Uint8Array): void {
    framer.feed(bytes);
    while (framer.next()) {
      const { bytes: raw, packetStart, bodyStart, bodyEnd } = framer;
      const packet = decodePacket(raw[packetStart]!, new Reader(raw.slice(bodyStart, bodyEnd)), 5);
      this.ontrace?.("received", packet, bodyEnd - packetStart);
      this.#take(packet);
    }
  }

  #take(packet: Packet): void {
    if (packet.type === "publish") {
      const answer = { packetId: packet.packetId ?? 0, reasonCode: 0, properties: {} };
      if (packet.qos > 0) this.#send({ ...answer, type: packet.qos === 1 ? "puback" : "pubrec" });
      if (this.onpublish !== null) return this.onpublish(packet);
      this.#messages.push(toText(packet.payload));
      this.#wake?.();
    } else if (packet.type === "pubrel") {
      this.#send({ type: "pubcomp", packetId: packet.packetId, reasonCode: 0, properties: {} });
    } else {
      const at = this.#answers.findIndex(({ type }) => type === packet.type);
      if (at >= 0) this.#answers.splice(at, 1)[0]!.resolve(packet);
    }
  }

  #answer<T extends Answer>(type: T): Promise<Extract<Packet, { type: T }>> {
    return new Promise((resolve, fail) => {
      this.#answers.push({ type, resolve: (packet) => resolve(packet as Extract<Packet, { type: T }>), fail });
    });
  }

  #ended(port: MessagePort, reasonCode: number): void {
    if (this.#port !== port) return;
    this.#port = undefined;
    port.close();
    for (const { fail } of this.#answers.splice(0)) fail(new Error(`the connection ended (${reasonCode})`));
    this.onclose?.(reasonCode);
  }
}
