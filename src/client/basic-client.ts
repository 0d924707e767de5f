/** The client's parts put together: what every client has, QoS 0 and 1 included. */
import type { Properties } from "../core/codec/property-table.ts";
import type { ClientOptions, ClientState, CloseOptions, StateListener } from "./client-options.ts";
import { close, createEngine, type Engine } from "./engine.ts";
import { createInbound, type Inbound } from "./inbound.ts";
import { keepAlive } from "./keep-alive.ts";
import { createOutbound, type Outbound } from "./outbound.ts";
import { createPublish, type Publish } from "./publish.ts";
import { createSubscribe, type Subscribe } from "./subscribe.ts";
import type { Transport } from "./transport.ts";
import { webSocket } from "./websocket.ts";

export interface BasicClient {
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
  /** Ends the client: what still waits is rejected, subscriptions end. */
  close(options?: CloseOptions): Promise<void>;
}

export interface Parts {
  readonly engine: Engine;
  readonly outbound: Outbound;
  readonly inbound: Inbound;
  readonly client: BasicClient;
}

export function assemble(target: string | URL | Transport, options: ClientOptions): Parts {
  const engine = createEngine(typeof target === "function" ? target : webSocket(target), options);
  keepAlive(engine);
  const outbound = createOutbound(engine);
  const inbound = createInbound(engine);
  // What the engine has to show is inherited.
  const client: BasicClient = Object.assign(Object.create(engine), {
    publish: createPublish(engine, outbound.ask),
    subscribe: createSubscribe(engine, inbound, outbound.ask),
    close: (closeOptions?: CloseOptions) => close(engine, closeOptions),
  });
  engine.client = client;
  return { engine, outbound, inbound, client };
}
