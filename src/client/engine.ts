/**
 * The life of a client: one network connection after the other, and what is said on each before its parts take over.
 *
 * Parts (messages out, messages in, tokens, aliases) hang their handlers into `handlers` and hear of each state.
 * A server that breaks the protocol is told why and not called again; one that went away is.
 */
import type { QoS } from "../core/codec/packet.ts";
import { CONNACK, CONNECT, DISCONNECT } from "../core/codec/packet-type.ts";
import type { Properties } from "../core/codec/property-table.ts";
import type { ClientOptions, ClientState, CloseOptions, StateListener } from "./client-options.ts";
import { type Credentials, connectFields } from "./connect.ts";
import type { Incoming } from "./incoming.ts";
import { ABORTED, CLOSED, DEADLINE, LOST, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { openConnection } from "./network-connection.ts";
import { operation } from "./operation.ts";
import { encodePacket, propertyList } from "./packet-encoder.ts";
import type { Transport, Wire } from "./transport.ts";

export interface Engine {
  /** A function, so that whoever prints a client prints no password. */
  readonly options: () => ClientOptions;
  readonly level: 4 | 5;
  readonly deadlineMs: number;
  readonly transport: Transport;
  wire?: Wire | undefined;
  state: ClientState;
  clientId: string;
  sessionPresent: boolean;
  properties: Properties;
  /** What the page has. */
  client?: { readonly onstate: StateListener | null };
  /** By packet type; what has none is a Protocol Error. */
  readonly handlers: Record<number, (packet: Incoming) => void>;
  /** Called with each state; with the error where a connection, or the client, has ended. */
  readonly parts: StateListener[];
  /** The largest in both directions. */
  qosMax: QoS;
  /** Whether the next connection begins a new session. */
  isFresh: boolean;
  /** Before the next attempt; 0 as long as there was no connection. */
  waitMs: number;
  /** Ends an attempt, or begins the next. */
  timer?: ReturnType<typeof setTimeout> | undefined;
  readonly started: PromiseWithResolvers<void>;
  /** Gives a PUBLISH with a Topic Alias its Topic Name. */
  resolve?: (packet: Incoming) => Incoming;
  /** Writes a PUBLISH by `encode`, with a Topic Alias where there is one. */
  alias?: (topic: string, encode: (topic: string, topicAlias?: number) => Uint8Array) => Uint8Array | undefined;
  /** What the next CONNECT says besides the options. */
  introduce?: () => Promise<Credentials>;
  /** The wire is closed, by whomever. */
  gone?: () => void;
}

/** MQTT 3.1.1's return codes 1 to 5, as MQTT 5.0 says them. */
const RETURN_CODES = [0, 0x84, 0x85, 0x88, 0x86, 0x87];

function become(engine: Engine, state: ClientState, error?: MqttError): void {
  engine.state = state;
  for (const part of engine.parts) part(state, error);
  // What it throws is not ours to catch.
  queueMicrotask(() => engine.client?.onstate?.(state, error));
}

/** For what may be large: throws 0x95 for what the server does not take. */
export function send({ properties, wire }: Engine, bytes: Uint8Array): void {
  if (bytes.length > (properties.maximumPacketSize ?? 2 ** 28)) throw new MqttError(0x95, "publish");
  wire?.send(bytes);
}

/** Ends the connection, after a DISCONNECT where there is a reason code, and the client where it is `final` or no use. */
export function lose(
  engine: Engine,
  error: MqttError,
  final?: boolean,
  reasonCode?: number,
  properties?: Properties,
): void {
  const { level, waitMs, wire } = engine;
  const { token, retryMsMax = 30_000 } = engine.options();
  if (engine.state === "closed") return;
  // MQTT 3.1.1 can only say that all is well.
  if (engine.state === "online" && (level === 5 ? reasonCode !== undefined : reasonCode === 0)) {
    wire?.send(encodePacket(DISCONNECT << 4, level === 5 ? [reasonCode!, ...propertyList(engine, properties)] : []));
  }
  clearTimeout(engine.timer);
  engine.timer = engine.wire = undefined;
  wire?.close();
  // A token that has expired meanwhile is no reason to give up, as long as a fresh one is taken.
  const again = error.retriable || (token && error.code === 0x87 && error.packet === "disconnect");
  const isFinal = final || !again || !waitMs;
  if (!isFinal) {
    engine.timer = setTimeout(open, (waitMs * (1 + Math.random())) / 2, engine);
    engine.waitMs = Math.min(retryMsMax, waitMs * 2);
  }
  become(engine, isFinal ? "closed" : "offline", error);
  engine.started.reject(error);
}

async function open(engine: Engine): Promise<void> {
  engine.properties = {};
  become(engine, "connecting");
  const mine = setTimeout(lose, engine.deadlineMs, engine, new MqttError(DEADLINE, "connect"));
  engine.timer = mine;
  try {
    const credentials = await engine.introduce?.();
    // Another attempt may have begun meanwhile, or none be wanted.
    if (mine === engine.timer) {
      openConnection(engine, encodePacket(CONNECT << 4, connectFields(engine, credentials)));
    }
  } catch (error) {
    if (mine === engine.timer) lose(engine, mqttError(error, LOST, "connect"));
  }
}

function accept(engine: Engine, { reasonCode, properties, sessionPresent }: Incoming): void {
  if (reasonCode) {
    const code = engine.level === 5 ? reasonCode : (RETURN_CODES[reasonCode] ?? 0x80);
    lose(engine, new MqttError(code, "connect", properties.reasonString));
    return;
  }
  if (sessionPresent && engine.isFresh) refuse(0x82);
  clearTimeout(engine.timer);
  engine.isFresh = false;
  engine.waitMs = engine.options().retryMs ?? 1_000;
  engine.sessionPresent = sessionPresent;
  engine.properties = properties;
  engine.clientId = properties.assignedClientIdentifier ?? engine.clientId;
  become(engine, "online");
  engine.started.resolve();
}

export function createEngine(transport: Transport, options: ClientOptions): Engine {
  const { protocolLevel: level = 5, deadlineMs = 30_000, cleanStart = true } = options;
  const engine: Engine = {
    options: () => options,
    level,
    deadlineMs,
    transport,
    state: "connecting",
    clientId: options.clientId ?? (level === 5 ? "" : `rqtt-${Math.random().toString(36).slice(2)}`),
    sessionPresent: false,
    properties: {},
    parts: [],
    qosMax: 1,
    isFresh: cleanStart,
    waitMs: 0,
    started: Promise.withResolvers(),
    handlers: {
      [CONNACK]: (packet) => accept(engine, packet),
      [DISCONNECT]: ({ reasonCode, properties }) =>
        lose(engine, new MqttError(reasonCode || LOST, "disconnect", properties.reasonString)),
    },
  };
  return engine;
}

/** Resolves with the first connection; rejects where that fails. */
export function start(engine: Engine): Promise<void> {
  const { signal } = engine.options();
  const abort = (): void => lose(engine, new MqttError(ABORTED, "connect", "", signal!.reason), true, 0);
  if (signal?.aborted) abort();
  else {
    signal?.addEventListener("abort", abort);
    void open(engine);
  }
  return engine.started.promise;
}

/** Says goodbye. Resolves when the connection is closed, or the server takes too long to. */
export function close(engine: Engine, { reasonCode = 0, properties }: CloseOptions = {}): Promise<void> {
  const closing = operation<unknown>(engine, "disconnect", { deadlineMs: Math.min(engine.deadlineMs, 2_000) });
  if (engine.state === "online") engine.gone = () => closing.resolve(0);
  else closing.resolve(0);
  const ended = engine.options().expiry === undefined ? { sessionExpiryInterval: 0 } : {};
  lose(engine, new MqttError(CLOSED, "disconnect"), true, reasonCode, { ...ended, ...properties });
  return closing.promise.catch(() => {}) as Promise<void>;
}
