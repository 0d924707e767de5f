/**
 * `rqtt/client`: an MQTT 5.0 and 3.1.1 client for pages and programs. See README.md beside it.
 *
 *   const client = await connect("wss://broker.example/mqtt", { token });
 *   for await (const message of await client.subscribe("a/+", { qos: 1 })) console.log(message.text());
 */
import { authentication } from "./authentication.ts";
import { assemble, type BasicClient } from "./basic-client.ts";
import type { ClientOptions } from "./client-options.ts";
import { start } from "./engine.ts";
import { qos2 } from "./qos2.ts";
import { createRequest, type Request } from "./requests.ts";
import { topicAliases } from "./topic-alias.ts";
import type { Transport } from "./transport.ts";

export type { BasicClient } from "./basic-client.ts";
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
export type { Transport, Wire, WireEvents } from "./transport.ts";

export interface Client extends BasicClient {
  /** Publishes with a Response Topic and Correlation Data; resolves with the message that answers. */
  readonly request: Request;
  /** Sends a fresh token within the session, before its time; resolves when the server has taken it. */
  renew(): Promise<void>;
}

/** Resolves when the server has accepted; rejects with its reason code, or whatever else went wrong the first time. */
export async function connect(target: string | URL | Transport, options: ClientOptions = {}): Promise<Client> {
  const { engine, outbound, inbound, client } = assemble(target, options);
  qos2(engine, outbound, inbound);
  topicAliases(engine);
  const more = {
    renew: authentication(engine),
    request: createRequest(engine, client.publish, client.subscribe),
  };
  await start(engine);
  return Object.assign(client, more);
}
