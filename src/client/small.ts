/**
 * `rqtt/client/small`: a client of its own for pages that count bytes: MQTT 5.0, QoS 0 and 1, reconnecting and resumed
 * sessions, with properties by their identifiers. See README.md beside it.
 *
 * Its state is in local variables, which minify to one letter; fields do not. What it shares with `rqtt/client` is the wire,
 * the cutter, the error and the writing of packets.
 */
import { ABORTED, CLOSED, MqttError, refuse } from "./mqtt-error.ts";
import { encodePacket, field, integer, toBytes } from "./packet-encoder.ts";
import { createConnection } from "./small/connection.ts";
import { createIncoming } from "./small/incoming.ts";
import { propertyList } from "./small/numbered-property-list.ts";
import { createOutgoing } from "./small/outgoing.ts";
import { createSubscribe, type Reader } from "./small/reader.ts";
import type { OpenClient, SmallClient, SmallOptions } from "./small/small-options.ts";
import type { Transport } from "./transport.ts";
import { webSocket } from "./websocket.ts";

export type { ClientState, Payload } from "./client-options.ts";
export { MqttError } from "./mqtt-error.ts";
export type { NumberedProperties } from "./small/numbered-properties.ts";
export type {
  SmallAnswer,
  SmallClient,
  SmallMessage,
  SmallOptions,
  SmallPublishOptions,
  SmallSubscribeOptions,
  SmallSubscription,
  SmallWait,
  SmallWill,
} from "./small/small-options.ts";
export type { Transport, Wire } from "./transport.ts";

/** Resolves when the server has accepted; rejects with its reason code, or whatever else went wrong the first time. */
export function connect(target: string | URL | Transport, options: SmallOptions = {}): Promise<SmallClient> {
  return new Promise((resolve, reject) => {
    const { deadlineMs = 30_000, keepAlive = 60, queueMax = 1_000, expiry, signal, username, password, will } = options;
    const readers = new Set<Reader>();
    // What the server is told of this client, which holds it to that.
    const announced = {
      17: expiry ?? 300,
      33: options.receiveMaximum ?? 64,
      39: options.packetBytesMax ?? 2 ** 20,
      ...options.properties,
    };
    // MQTT 5.0 section 3.1.
    const hello = (isFresh: boolean, clientId: string): Uint8Array =>
      encodePacket(0x10, [
        ...field("MQTT"),
        5,
        (isFresh ? 0x02 : 0) |
          (will ? 0x04 | ((will.qos ?? 0) * 8) | (will.retain ? 0x20 : 0) : 0) |
          (password ? 0x40 : 0) |
          (username ? 0x80 : 0),
        ...integer(2, keepAlive),
        ...propertyList(announced),
        ...field(clientId),
        ...(will ? [...propertyList(will.properties), ...field(will.topic), ...field(toBytes(will.payload))] : []),
        ...[username, password].flatMap((value) => (value ? field(value) : [])),
      ]);
    // The rest is there when somebody gets to see it.
    const client = {} as OpenClient;
    const [send, lose, open] = createConnection(
      client,
      typeof target === "function" ? target : webSocket(target),
      options,
      deadlineMs,
      keepAlive,
      announced[39]!,
      hello,
      (first, packet) => (first < 0x40 ? receive : settle)(first, packet),
      () => {
        forget();
        resume();
        resolve(client);
      },
      (error) => {
        signal?.removeEventListener("abort", abort);
        for (const lasting of everything()) lasting.end(error);
        reject(error);
      },
    );
    const [ask, settle, resume, everything] = createOutgoing(client, send, readers, deadlineMs, queueMax);
    const [receive, forget, claim, identify] = createIncoming(client, send, readers, announced[33]!);
    client.publish = (topic, payload, { qos = 0, retain, properties, ...wait } = {}) =>
      ask(
        "publish",
        0x30 | (qos << 1) | (retain ? 1 : 0),
        (packetId) => {
          if (qos > (client.properties[36] ?? 1)) refuse(0x9b);
          if (retain && client.properties[37] === 0) refuse(0x9a);
          if (/[+#]|^$/.test(topic)) refuse(0x90);
          return [...field(topic), ...packetId, ...propertyList(properties)];
        },
        wait,
        toBytes(payload),
      );
    client.subscribe = createSubscribe(client, ask, readers, claim, identify);
    const leave = (code: number, cause?: unknown): void =>
      lose(new MqttError(code, "disconnect", "", cause), [0, ...propertyList({ 17: expiry ?? 0 })]);
    const abort = (): void => leave(ABORTED, signal!.reason);
    client.close = () => leave(CLOSED);
    open();
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
  });
}
