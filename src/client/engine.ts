/**
 * The life of a client: one network connection after the other, and what is said on each before its parts take over.
 *
 * Parts (messages out, messages in, subscriptions, tokens) hang their handlers into `handlers` and hear of each state.
 * A server that breaks the protocol is told why and not called again; one that went away is.
 */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { Properties } from "../core/codec/property-table.ts";
import type { Client } from "./client.ts";
import type { ClientOptions, ClientState, StateListener } from "./client-options.ts";
import { connectPacket } from "./connect.ts";
import type { Incoming } from "./incoming.ts";
import { ABORTED, DEADLINE, LOST, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { openConnection } from "./network-connection.ts";
import type { Ask } from "./outbound.ts";
import { encodePacket } from "./packet-encoder.ts";
import { propertyList } from "./property-list.ts";
import type { Reader } from "./subscription.ts";
import type { Transport, Wire } from "./transport.ts";

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/** The client as its parts have it. */
export interface Engine extends Writable<Client> {
  readonly level: 4 | 5;
  readonly deadlineMs: number;
  /** By packet type; what has none is a Protocol Error. */
  readonly handlers: Partial<Record<number, (packet: Incoming) => void>>;
  /** Called with each state; with the error where a connection, or the client, has ended. */
  parts: (StateListener | undefined)[];
  /** What is rejected with the end of the client. */
  readonly operations: Set<{ settle(error: MqttError): void }>;
  readonly readers: Set<Reader>;
  ask: Ask;
  /** CONNECTs since the last that was accepted: where there are several, the session may be one of theirs, and empty. */
  hellos: number;
  /** The Subscription Identifier that was given last. */
  lastIdentifier: number;
  /**
   * Whether messages that nobody here takes, of a session older than this client, wait for somebody who does. Not once a
   * subscription was left: what was on its way to that one would wait for ever, and what comes after it too.
   */
  keepsUnclaimed: boolean;
  /** Somebody subscribes: what was kept may be for them. */
  claim(): void;
  /** What the next CONNECT says instead of the options. */
  introduce?(): Promise<ClientOptions>;
  /** Throws 0x95 for what the server does not take. */
  send(bytes: Uint8Array): void;
  /** Ends the connection, after a DISCONNECT where there is a reason code, and the client where it is `final` or no use. */
  lose(error: MqttError, final?: boolean, reasonCode?: number, properties?: Properties): void;
  /** The wire is closed, by whomever. */
  gone?(): void;
}

/** For what must not be somebody else's. */
export const randomName = (): string => `${Math.random()}`.slice(2);

/** What every part finds there; `live` and the parts add to it. */
export function createEngine(options: ClientOptions): Engine {
  const { protocolLevel: level = 5, deadlineMs = 30_000, clientId = level === 5 ? "" : randomName() } = options;
  const engine: Partial<Engine> = {
    level,
    deadlineMs,
    clientId,
    properties: {},
    operations: new Set(),
    readers: new Set(),
    handlers: {},
    keepsUnclaimed: true,
    hellos: 0,
  };
  return engine as Engine;
}

/** Resolves with the first connection; rejects where that fails. */
export function live(engine: Engine, transport: Transport, options: ClientOptions): Promise<void> {
  const CONNACK: typeof PacketType.CONNACK = 2;
  const DISCONNECT: typeof PacketType.DISCONNECT = 14;
  const { retryMs = 1_000, retryMsMax = 30_000, packetBytesMax = 2 ** 20, signal } = options;
  const { level } = engine;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let { cleanStart = true } = options;
  /** Before the next attempt; 0 as long as there was no connection. */
  let waitMs = 0;
  /** Ends an attempt, or begins the next; as long as it stays the same, so does the connection. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wire: Wire | undefined;
  const become = (state: ClientState, error?: MqttError): void => {
    engine.state = state;
    for (const part of engine.parts) part?.(state, error);
    // What it throws is not ours to catch.
    queueMicrotask(() => engine.onstate?.(state, error));
  };
  engine.send = (bytes) => {
    // An acknowledgement and PINGREQ always.
    if (bytes.length > 5 && bytes.length > engine.properties.maximumPacketSize!) refuse(0x95);
    wire?.send(bytes);
  };
  const lose: Engine["lose"] = (error, final, reasonCode, properties) => {
    if (engine.state === "closed") return;
    // Where there is a reason code; MQTT 3.1.1 can only say that all is well.
    if (engine.state === "online" && reasonCode! <= (level === 5 ? 0xff : 0)) {
      wire?.send(encodePacket(DISCONNECT << 4, level === 5 ? [reasonCode!, ...propertyList(level, properties)] : []));
    }
    clearTimeout(timer);
    timer = undefined;
    wire?.close();
    wire = undefined;
    // A token that has expired meanwhile is no reason to give up.
    const isFinal = final || !waitMs || !(error.retriable || (options.token && error.code === 0x87));
    if (!isFinal) {
      timer = setTimeout(open, (waitMs * (1 + Math.random())) / 2);
      waitMs = Math.min(retryMsMax, waitMs * 2);
    }
    become(isFinal ? "closed" : "offline", error);
    if (isFinal) signal?.removeEventListener("abort", abort);
    if (isFinal) for (const operation of engine.operations) operation.settle(error);
    reject(error);
  };
  const open = async (): Promise<void> => {
    engine.properties = {};
    become("connecting");
    const mine = setTimeout(lose, Math.min(engine.deadlineMs, 2e9), new MqttError(DEADLINE, "connect"));
    const isCurrent = (): boolean => mine === timer;
    timer = mine;
    try {
      const hello = connectPacket(engine, { ...options, cleanStart, ...(await engine.introduce?.()) });
      // Another attempt may have begun meanwhile, or none be wanted.
      if (isCurrent()) wire = openConnection(engine, transport, packetBytesMax, hello, isCurrent);
    } catch (error) {
      if (isCurrent()) lose(mqttError(error, LOST, "connect"));
    }
  };
  /** MQTT 3.1.1's return codes 1 to 5, as MQTT 5.0 says them from 0x80 on. */
  const RETURN_CODES = [0, 4, 5, 8, 6, 7];
  engine.handlers[CONNACK] = ({ reasonCode, properties, sessionPresent }) => {
    if (reasonCode) {
      const code = level === 5 ? reasonCode : 0x80 | RETURN_CODES[reasonCode]!;
      return lose(new MqttError(code, "connect", properties.reasonString));
    }
    if (sessionPresent && cleanStart) refuse(0x82);
    clearTimeout(timer);
    cleanStart = false;
    waitMs = retryMs;
    engine.clientId = properties.assignedClientIdentifier ?? engine.clientId;
    Object.assign(engine, { sessionPresent, properties });
    become("online");
    engine.hellos = 0;
    resolve();
  };
  engine.lose = lose;
  const abort = (): void => lose(new MqttError(ABORTED, "connect", "", signal!.reason), true, 0);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  else void open();
  return promise;
}
