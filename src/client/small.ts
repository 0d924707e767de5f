/** `rqtt/client/small`: QoS 0 and 1 with reconnecting and resumed sessions, for pages that count bytes. */
import { assemble, type BasicClient } from "./basic-client.ts";
import type { ClientOptions } from "./client-options.ts";
import { start } from "./engine.ts";
import type { Transport } from "./transport.ts";

export async function connect(target: string | URL | Transport, options: ClientOptions = {}): Promise<BasicClient> {
  const { engine, client } = assemble(target, { ...options, topicAliasMaximum: 0 });
  await start(engine);
  return client;
}
