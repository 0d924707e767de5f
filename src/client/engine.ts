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
import { type Incoming, refuse } from "./incoming.ts";
import { ABORTED, CLOSED, DEADLINE, LOST, MqttError, mqttError } from "./mqtt-error.ts";
import { operation } from "./operation.ts";
import { packetCutter } from "./packet-cutter.ts";
import { decodePacket } from "./packet-decoder.ts";
import { encodePacket, propertyList } from "./packet-encoder.ts";
import type { Transport, Wire } from "./transport.ts";

/** What everybody may see of a client. */
export interface Face {
  state: ClientState;
  clientId: string;
  sessionPresent: boolean;
  properties: Properties;
  onstate: StateListener | null;
}

export interface Engine {
  readonly options: ClientOptions;
  readonly level: 4 | 5;
  readonly deadlineMs: number;
  readonly face: Face;
  /** By packet type; what has none is a Protocol Error. */
  readonly handlers: Record<number, (packet: Incoming) => void>;
  /** Called with each state; with the error where a connection, or the client, has ended. */
  readonly parts: StateListener[];
  /** The largest in both directions. */
  qosMax: QoS;
  /** Gives a PUBLISH with a Topic Alias its Topic Name. */
  resolve(packet: Incoming): Incoming;
  /** Writes a PUBLISH by `encode`, with a Topic Alias where there is one. */
  alias(topic: string, encode: (topic: string, topicAlias?: number) => Uint8Array): Uint8Array;
  /** What the next CONNECT says besides the options. */
  introduce?: () => Promise<Credentials | undefined>;
  /** Throws 0x95 for what the server does not take. */
  send(bytes: Uint8Array): void;
  /** Ends the connection, after a DISCONNECT where there is a reason code, and the client where it is `final` or no use. */
  lose(error: MqttError, final?: boolean, reasonCode?: number, properties?: Properties): void;
  /** Resolves with the first connection; rejects where that fails. */
  start(): Promise<void>;
  close(options?: CloseOptions): Promise<void>;
}

/** MQTT 3.1.1's return codes 1 to 5, as MQTT 5.0 says them. */
const RETURN_CODES = [0, 0x84, 0x85, 0x88, 0x86, 0x87];

export function createEngine(transport: Transport, options: ClientOptions): Engine {
  const { protocolLevel: level = 5, deadlineMs = 30_000, cleanStart = true, retryMs = 1_000, signal } = options;
  const handlers: Engine["handlers"] = {};
  const parts: StateListener[] = [];
  const face: Face = {
    state: "connecting",
    clientId: options.clientId ?? (level === 5 ? "" : `rqtt-${Math.random().toString(36).slice(2)}`),
    sessionPresent: false,
    properties: {},
    onstate: null,
  };
  const started = Promise.withResolvers<void>();
  let wire: Wire | undefined;
  /** Counts connections: whatever comes from an earlier one is too late. */
  let epoch = 0;
  let attempts = 0;
  let once = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let gone: (() => void) | undefined;

  const become = (state: ClientState, error?: MqttError): void => {
    face.state = state;
    for (const listener of [...parts, face.onstate]) listener?.(state, error);
  };

  const send = (bytes: Uint8Array): void => {
    const { maximumPacketSize = 2 ** 28 } = face.properties;
    if (bytes.length > maximumPacketSize) throw new MqttError(0x95, "publish", `at most ${maximumPacketSize} bytes`);
    wire?.send(bytes);
  };

  const lose: Engine["lose"] = (error, final, reasonCode, properties) => {
    if (face.state === "closed") return;
    // MQTT 3.1.1 can only say that all is well.
    if (face.state === "online" && (level === 5 ? reasonCode !== undefined : reasonCode === 0)) {
      send(encodePacket(DISCONNECT << 4, level === 5 ? [reasonCode!, ...propertyList(level, properties)] : []));
    }
    clearTimeout(timer);
    epoch++;
    wire?.close();
    wire = undefined;
    // A token that has expired meanwhile is no reason to give up, as long as a fresh one is taken.
    const again = error.retriable || (options.token && error.code === 0x87 && error.packet === "disconnect");
    const state = once && !final && again && retryMs ? "offline" : "closed";
    if (state === "offline") {
      const wait = Math.min(options.retryMsMax ?? 30_000, retryMs * 2 ** attempts++);
      timer = setTimeout(open, wait * (0.5 + Math.random() / 2));
    }
    become(state, error);
    started.reject(error);
  };

  const take = (first: number, body: Uint8Array): boolean => {
    const mine = epoch;
    const type = first >> 4;
    const handle = handlers[type];
    // Before CONNACK there is AUTH and goodbye, after it no other.
    if (!handle || (face.state === "online" ? type === CONNACK : type > CONNACK && type < DISCONNECT)) {
      refuse(type, type ? 0x82 : 0x81, "unexpected");
    }
    handle(decodePacket(first, body, level));
    return mine === epoch;
  };

  const open = async (): Promise<void> => {
    const mine = ++epoch;
    const current =
      <T extends unknown[]>(act: (...told: T) => void) =>
      (...told: T): void => {
        if (mine === epoch) act(...told);
      };
    face.properties = {};
    become("connecting");
    timer = setTimeout(() => lose(new MqttError(DEADLINE, "connect", "no CONNACK")), deadlineMs);
    try {
      const credentials = await engine.introduce?.();
      if (mine !== epoch) return;
      const hello = encodePacket(CONNECT << 4, connectFields(options, face.clientId, !once && cleanStart, credentials));
      const cut = packetCutter(options.packetBytesMax ?? 2 ** 20, take);
      wire = transport({
        opened: current(() => wire!.send(hello)),
        received: current((bytes: Uint8Array) => {
          try {
            cut(bytes);
          } catch (error) {
            if (!(error instanceof MqttError)) throw error;
            lose(error, true, error.code);
          }
        }),
        closed: (reason) => {
          gone?.();
          current(lose)(new MqttError(LOST, "connect", reason));
        },
      });
    } catch (error) {
      current(lose)(mqttError(error, LOST, "connect"));
    }
  };

  handlers[CONNACK] = ({ type, reasonCode, properties, sessionPresent }) => {
    if (reasonCode) {
      const code = level === 5 ? reasonCode : (RETURN_CODES[reasonCode] ?? 0x80);
      lose(new MqttError(code, "connect", properties.reasonString));
      return;
    }
    if (sessionPresent && !once && cleanStart) refuse(type, 0x82, "Session Present");
    clearTimeout(timer);
    attempts = 0;
    once = true;
    Object.assign(face, { sessionPresent, properties, clientId: properties.assignedClientIdentifier ?? face.clientId });
    become("online");
    started.resolve();
  };
  handlers[DISCONNECT] = ({ reasonCode, properties }) =>
    lose(new MqttError(reasonCode || LOST, "disconnect", properties.reasonString));

  const engine: Engine = {
    options,
    level,
    deadlineMs,
    face,
    handlers,
    parts,
    qosMax: 1,
    resolve: (packet) => (packet.properties.topicAlias ? refuse(packet.type, 0x94, "Topic Alias") : packet),
    alias: (topic, encode) => encode(topic),
    send,
    lose,
    start() {
      const abort = (): void => lose(new MqttError(ABORTED, "connect", "aborted", signal!.reason), true, 0);
      if (signal?.aborted) abort();
      else {
        signal?.addEventListener("abort", abort);
        void open();
      }
      return started.promise;
    },
    close({ reasonCode = 0, properties } = {}) {
      const closing = operation<void>("disconnect", Math.min(deadlineMs, 2_000));
      gone = closing.resolve as () => void;
      if (face.state !== "online") gone();
      const ended = options.expiry === undefined ? { sessionExpiryInterval: 0 } : {};
      lose(new MqttError(CLOSED, "disconnect", "closed"), true, reasonCode, { ...ended, ...properties });
      return closing.promise.catch(() => {});
    },
  };
  return engine;
}
