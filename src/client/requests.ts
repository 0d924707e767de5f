/** Requests and their answers (MQTT 5.0 section 4.10): one Response Topic for the client, Correlation Data for each request. */
import type { Payload, PublishOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import { textOf, toBytes } from "./packet-encoder.ts";
import type { Publish } from "./publish.ts";
import type { Subscribe } from "./subscribe.ts";
import type { Message } from "./subscription.ts";

export type Request = (topic: string, payload: Payload, options?: PublishOptions) => Promise<Message>;

export function createRequest(engine: Engine, publish: Publish, subscribe: Subscribe): Request {
  const waiting = new Map<string, Operation<Message>>();
  let listening: Promise<string> | undefined;
  let count = 0;

  const read = async (responses: AsyncIterable<Message>): Promise<void> => {
    for await (const message of responses) {
      waiting.get(textOf(message.properties.correlationData))?.resolve(message);
    }
  };
  const listen = async (): Promise<string> => {
    const topic =
      engine.options().responseTopic ?? `${engine.properties.responseInformation ?? "response"}/${crypto.randomUUID()}`;
    const again = (): void => {
      listening = undefined;
    };
    try {
      read(await subscribe(topic, { qos: 1 })).then(again, again);
      return topic;
    } catch (error) {
      again();
      throw error;
    }
  };
  engine.parts.push((state, error) => {
    if (state === "closed") for (const response of waiting.values()) response.reject(error!);
  });

  return async (topic, payload, requestOptions = {}) => {
    const key = `${++count}`;
    const response = operation<Message>(engine, "publish", requestOptions);
    waiting.set(key, response);
    const ask = async (): Promise<void> => {
      const responseTopic = await (listening ??= listen());
      if (response.done) return;
      const properties = { ...requestOptions.properties, responseTopic, correlationData: toBytes(key) };
      const { reasonCode } = await publish(topic, payload, { qos: 1, ...requestOptions, properties });
      // No matching subscribers.
      if (reasonCode === 0x10) throw new MqttError(reasonCode, "publish");
    };
    ask().catch(response.reject);
    try {
      return await response.promise;
    } finally {
      waiting.delete(key);
    }
  };
}
