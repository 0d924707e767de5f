/**
 * `rqtt/client`: an MQTT 5.0 and 3.1.1 client for pages and programs. See README.md beside it.
 *
 *   const client = await connect("wss://broker.example/mqtt", { token });
 *   for await (const message of await client.subscribe("a/+", { qos: 1 })) console.log(message.text());
 */
import type { Properties } from "../core/codec/property-table.ts";
import { createAuthentication } from "./authentication.ts";
import type { ClientOptions, ClientState, CloseOptions, StateListener } from "./client-options.ts";
import { createClose } from "./close.ts";
import { createEngine, live } from "./engine.ts";
import { createInbound } from "./inbound.ts";
import { createKeepAlive } from "./keep-alive.ts";
import { createOutbound } from "./outbound.ts";
import { createPublish, type Publish } from "./publish.ts";
import { createRequest, type Request } from "./requests.ts";
import { createSubscribe, type Subscribe } from "./subscribe.ts";
import type { Transport } from "./transport.ts";
import { webSocket } from "./websocket.ts";

export type {
  ClientOptions,
  ClientState,
  CloseOptions,
  Payload,
  Published,
  PublishOptions,
  SubscribeOptions,
  WillOptions,
} from "./client-options.ts";
export { ABORTED, CLOSED, DEADLINE, LOST, MqttError } from "./mqtt-error.ts";
export type { Message, Subscription } from "./subscription.ts";
export type { Transport, Wire } from "./transport.ts";

export interface Client {
  readonly state: ClientState;
  /** As the server knows it. */
  readonly clientId: string;
  /** Whether the server had the session when the connection was made. */
  readonly sessionPresent: boolean;
  /** What the server said in its last CONNACK. */
  readonly properties: Properties;
  onstate: StateListener | null;
  /** Resolves when it was sent (QoS 0) or acknowledged, with the server's reason code; rejects with an MqttError. */
  readonly publish: Publish;
  /** Resolves when the server has granted it. Iterate over the answer; leaving the loop unsubscribes. */
  readonly subscribe: Subscribe;
  /** Publishes with a Response Topic and Correlation Data; resolves with the message that answers. */
  readonly request: Request;
  /** Sends a fresh token within the session, before its time; resolves when the server has taken it. */
  readonly renew: () => Promise<void>;
  /** Ends the client: what still waits is rejected, subscriptions end. Resolves when the connection is closed. */
  readonly close: (options?: CloseOptions) => Promise<void>;
}

/** Resolves when the server has accepted; rejects with its reason code, or whatever else went wrong the first time. */
export async function connect(target: string | URL | Transport, options: ClientOptions = {}): Promise<Client> {
  const engine = createEngine(options);
  const parts = [
    createOutbound,
    createInbound,
    createPublish,
    createSubscribe,
    createAuthentication,
    createKeepAlive,
    createRequest,
    createClose,
  ];
  engine.parts = parts.map((part) => part(engine, options));
  await live(engine, typeof target === "function" ? target : webSocket(target), options);
  return engine;
}
