/**
 * The life of a client: one network connection after the other, and what is said on each before its parts take over.
 *
 * Parts (messages out, messages in, tokens, aliases) hang their handlers into `handlers` and hear of each new connection.
 * A server that breaks the protocol is told why and not called again; one that went away is.
 */
import { decodeConnack } from "../core/codec/connack.ts";
import { type Connect, encodeConnect } from "../core/codec/connect.ts";
import { decodeDisconnect, encodeDisconnect } from "../core/codec/disconnect.ts";
import { Framer } from "../core/codec/framer.ts";
import { PACKET_TYPE_NAMES, PacketType } from "../core/codec/packet-type.ts";
import { PeerError, protocolError } from "../core/codec/peer-error.ts";
import { encodePingreq } from "../core/codec/pingreq.ts";
import { decodePingresp } from "../core/codec/pingresp.ts";
import type { Properties } from "../core/codec/property.ts";
import { Reader } from "../core/codec/reader.ts";
import { encodeUtf8 } from "../core/codec/utf8.ts";
import { Writer } from "../core/codec/writer.ts";
import type { ClientOptions, ClientState, CloseOptions, Payload, StateListener } from "./client-options.ts";
import { ABORTED, CLOSED, DEADLINE, LOST, MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import type { Transport, Wire } from "./transport.ts";

export interface Part {
  /** Adds to a CONNECT what it wants to say there. */
  introduce?(connect: Connect): Promise<void> | void;
  /** A connection is there. */
  online?(sessionPresent: boolean): void;
  /** The connection is gone. */
  offline?(error: MqttError): void;
  /** There will be no other. */
  closed?(error: MqttError): void;
}

export const toBytes = (payload: Payload = ""): Uint8Array =>
  typeof payload === "string" ? encodeUtf8(payload) : payload;

/** MQTT 3.1.1's return codes 1 to 5, as MQTT 5.0 says them. */
const RETURN_CODES = [0, 0x84, 0x85, 0x88, 0x86, 0x87];

export class Engine {
  readonly options: ClientOptions;
  readonly level: 4 | 5;
  readonly deadlineMs: number;
  readonly handlers: ((reader: Reader, flags: number) => void)[] = [];
  readonly parts: Part[] = [];
  /** The properties of the last CONNACK. */
  properties: Properties = {};
  sessionPresent = false;
  clientId: string;
  state: ClientState = "connecting";
  onstate: StateListener | null = null;
  readonly #transport: Transport;
  readonly #started: Operation<void>;
  readonly #writer = new Writer();
  readonly #reader = new Reader();
  #framer = new Framer(0);
  #wire: Wire | null = null;
  /** Counts connections: whatever comes from an earlier one is too late. */
  #epoch = 0;
  #attempts = 0;
  #once = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #pinged = false;
  #flushing = false;
  #gone: (() => void) | undefined;

  constructor(transport: Transport, options: ClientOptions) {
    this.#transport = transport;
    this.options = options;
    this.level = options.protocolLevel ?? 5;
    this.deadlineMs = options.deadlineMs ?? 30_000;
    this.clientId = options.clientId ?? (this.level === 5 ? "" : `rqtt-${Math.random().toString(36).slice(2)}`);
    this.#started = operation("connect", 2 ** 31 - 1, undefined);
    this.handlers[PacketType.CONNACK] = (reader, flags) => this.#connack(reader, flags);
    this.handlers[PacketType.PINGRESP] = (reader, flags) => {
      decodePingresp(reader, flags);
      this.#pinged = false;
    };
    this.handlers[PacketType.DISCONNECT] = (reader, flags) => {
      const { reasonCode, properties } = decodeDisconnect(reader, flags, this.level);
      this.#lost(new MqttError(reasonCode || LOST, "disconnect", properties.reasonString));
    };
  }

  /** Resolves with the first connection; rejects where that fails. */
  start(): Promise<void> {
    const { signal } = this.options;
    const abort = (): void => this.#end(new MqttError(ABORTED, "connect", "aborted", signal!.reason), 0);
    if (signal?.aborted) abort();
    else {
      signal?.addEventListener("abort", abort);
      void this.#open();
    }
    return this.#started.promise;
  }

  /** Says goodbye. Resolves when the connection is closed, or the server takes too long to. */
  close({ reasonCode = 0, properties }: CloseOptions = {}): Promise<void> {
    const ended = this.options.expiry === undefined ? { sessionExpiryInterval: 0 } : {};
    const closing = this.#wire && this.state === "online";
    const gone = operation<void>("disconnect", Math.min(this.deadlineMs, 2_000), undefined);
    this.#gone = () => gone.resolve();
    this.#end(new MqttError(CLOSED, "disconnect", "closed"), reasonCode, { ...ended, ...properties });
    if (!closing) gone.resolve();
    return gone.promise.catch(() => {});
  }

  /** Writes one packet; everything written in a turn leaves together. Throws 0x95 for what the server does not take. */
  send(write: (writer: Writer) => void): void {
    const writer = this.#writer;
    const start = writer.length;
    try {
      write(writer);
      const bytes = writer.length - start;
      if (bytes > (this.properties.maximumPacketSize ?? bytes)) {
        throw new MqttError(0x95, "publish", `${bytes} bytes, at most ${this.properties.maximumPacketSize} accepted`);
      }
    } catch (error) {
      writer.length = start;
      throw error;
    }
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.#flush());
    }
  }

  /** The server broke the protocol: it is told, and the client ends. */
  fail(reasonCode: number, packet: string, found: string): void {
    this.#end(new MqttError(reasonCode, packet, found), reasonCode);
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#writer.length && this.#wire) this.#wire.send(this.#writer.view());
    this.#writer.clear();
  }

  #become(state: ClientState, error?: MqttError): void {
    if (this.state === state) return;
    this.state = state;
    this.onstate?.(state, error);
  }

  async #open(): Promise<void> {
    const { options, level } = this;
    const epoch = ++this.#epoch;
    this.#become("connecting");
    this.properties = {};
    this.#timer = setTimeout(() => this.#lost(new MqttError(DEADLINE, "connect", "no CONNACK")), this.deadlineMs);
    const will = options.will && {
      topicName: options.will.topic,
      payload: toBytes(options.will.payload),
      qos: options.will.qos ?? 0,
      retain: !!options.will.retain,
      properties: options.will.properties ?? {},
    };
    const packet: Connect = {
      type: "connect",
      protocolLevel: level,
      cleanStart: !this.#once && (options.cleanStart ?? true),
      keepAlive: options.keepAlive ?? 60,
      clientId: this.clientId,
      properties: {
        sessionExpiryInterval: options.expiry ?? 300,
        receiveMaximum: options.receiveMaximum ?? 64,
        maximumPacketSize: options.packetBytesMax ?? 2 ** 20,
        topicAliasMaximum: options.topicAliasMaximum ?? 16,
        ...options.properties,
      },
    };
    if (will) packet.will = will;
    if (options.username !== undefined) packet.username = options.username;
    if (options.password !== undefined) packet.password = toBytes(options.password);
    try {
      for (const part of this.parts) await part.introduce?.(packet);
      if (epoch !== this.#epoch) return;
      this.#framer = new Framer(options.packetBytesMax ?? 2 ** 20);
      const current = (act: () => void) => (): void => {
        if (epoch === this.#epoch) act();
      };
      this.#wire = this.#transport({
        opened: current(() => this.send((writer) => encodeConnect(writer, packet))),
        received: (bytes) => current(() => this.#received(bytes))(),
        closed: (reason) => {
          this.#gone?.();
          current(() => this.#lost(new MqttError(LOST, "connect", reason)))();
        },
      });
    } catch (error) {
      if (epoch === this.#epoch) {
        this.#lost(error instanceof MqttError ? error : new MqttError(LOST, "connect", `${error}`, error));
      }
    }
  }

  #received(bytes: Uint8Array): void {
    const epoch = this.#epoch;
    const framer = this.#framer;
    let packet = "";
    try {
      framer.feed(bytes);
      while (epoch === this.#epoch && framer.next()) {
        const first = framer.bytes[framer.packetStart]!;
        const type = first >> 4;
        packet = PACKET_TYPE_NAMES[type]!.toLowerCase();
        this.#reader.bind(framer.bytes, framer.bodyStart, framer.bodyEnd);
        const handle = this.handlers[type];
        // Before CONNACK there is AUTH and goodbye, after it no other.
        const early = type === PacketType.CONNACK || (type === PacketType.AUTH && this.state !== "online");
        if (!handle || (early === (this.state === "online") && type < PacketType.DISCONNECT)) {
          throw new PeerError(type ? 0x82 : 0x81, "4.13", `unexpected ${packet}`);
        }
        handle(this.#reader, first & 15);
      }
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      this.fail(error.reasonCode, packet, error.message);
    }
  }

  #connack(reader: Reader, flags: number): void {
    const { reasonCode, properties, sessionPresent } = decodeConnack(reader, flags, this.level);
    if (reasonCode) {
      const code = this.level === 5 ? reasonCode : (RETURN_CODES[reasonCode] ?? 0x80);
      this.#lost(new MqttError(code, "connect", properties.reasonString));
      return;
    }
    if (sessionPresent && !this.#once && (this.options.cleanStart ?? true)) {
      throw protocolError("MQTT-3.2.2-2", "Session Present, but a new session was asked for");
    }
    clearTimeout(this.#timer);
    this.#attempts = 0;
    this.#once = true;
    this.sessionPresent = sessionPresent;
    this.properties = properties;
    this.clientId = properties.assignedClientIdentifier ?? this.clientId;
    this.#pinged = false;
    const keepAlive = properties.serverKeepAlive ?? this.options.keepAlive ?? 60;
    // Earlier than due: a hidden tab's timers are late.
    if (keepAlive) this.#pings = setInterval(() => this.#ping(), keepAlive * 750);
    this.state = "online";
    for (const part of this.parts) part.online?.(sessionPresent);
    this.onstate?.("online");
    this.#started.resolve();
  }

  #ping(): void {
    if (this.#pinged) {
      this.#goodbye(0x8d);
      this.#lost(new MqttError(0x8d, "pingreq", "no PINGRESP"));
    } else {
      this.#pinged = true;
      this.send(encodePingreq);
    }
  }

  /** DISCONNECT, where there is somebody to hear it. MQTT 3.1.1 can only say that all is well. */
  #goodbye(reasonCode: number, properties: Properties = {}): void {
    if (this.state === "online" && (this.level === 5 || reasonCode === 0)) {
      this.send((writer) => encodeDisconnect(writer, { type: "disconnect", reasonCode, properties }, this.level));
    }
    this.#flush();
  }

  #hangUp(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#pings);
    this.#epoch++;
    this.#writer.clear();
    this.#wire?.close();
    this.#wire = null;
  }

  #lost(error: MqttError): void {
    this.#hangUp();
    for (const part of this.parts) part.offline?.(error);
    const { retryMs = 1_000, retryMsMax = 30_000, token } = this.options;
    // A token that has expired meanwhile is no reason to give up, as long as a fresh one is taken.
    const again = error.retriable || (token !== undefined && error.code === 0x87 && error.packet === "disconnect");
    if (!this.#once || !again || retryMs === 0) {
      this.#end(error);
      return;
    }
    const wait = Math.min(retryMsMax, retryMs * 2 ** this.#attempts++);
    this.#timer = setTimeout(() => void this.#open(), wait * (0.5 + Math.random() / 2));
    this.#become("offline", error);
  }

  #end(error: MqttError, reasonCode?: number, properties?: Properties): void {
    if (this.state === "closed") return;
    if (reasonCode !== undefined) this.#goodbye(reasonCode, properties);
    this.#hangUp();
    this.#become("closed", error);
    for (const part of this.parts) part.closed?.(error);
    this.#started.reject(error);
    this.#started.promise.catch(() => {});
  }
}
