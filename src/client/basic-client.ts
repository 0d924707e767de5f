/** The client's parts put together: what every client has, QoS 0 and 1 included. */
import type { Properties } from "../core/codec/property.ts";
import type {
  ClientOptions,
  ClientState,
  CloseOptions,
  Payload,
  Published,
  PublishOptions,
  StateListener,
  SubscribeOptions,
} from "./client-options.ts";
import { Engine } from "./engine.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import type { Subscription } from "./subscription.ts";
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
  publish(topic: string, payload: Payload, options?: PublishOptions): Promise<Published>;
  /** Resolves when the server has granted it. Iterate over the answer; leaving the loop unsubscribes. */
  subscribe(filter: string, options?: SubscribeOptions): Promise<Subscription>;
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
  const engine = new Engine(typeof target === "function" ? target : webSocket(target), options);
  const outbound = new Outbound(engine);
  const inbound = new Inbound(engine, outbound);
  engine.parts.push(outbound, inbound);
  const client: BasicClient = {
    get state() {
      return engine.state;
    },
    get clientId() {
      return engine.clientId;
    },
    get sessionPresent() {
      return engine.sessionPresent;
    },
    get properties() {
      return engine.properties;
    },
    get onstate() {
      return engine.onstate;
    },
    set onstate(listener) {
      engine.onstate = listener;
    },
    publish: (topic, payload, publishOptions) => outbound.publish(topic, payload, publishOptions),
    subscribe: (filter, subscribeOptions) => inbound.subscribe(filter, subscribeOptions),
    close: (closeOptions) => engine.close(closeOptions),
  };
  return { engine, outbound, inbound, client };
}
