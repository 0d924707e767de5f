/** Requests and their answers (MQTT 5.0 section 4.10): one Response Topic for the client, Correlation Data for each request. */
import type { ClientOptions, Payload, PublishOptions } from "./client-options.ts";
import { type Engine, randomName } from "./engine.ts";
import { MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import { toBytes } from "./packet-encoder.ts";
import type { Message } from "./subscription.ts";

export type Request = (topic: string, payload: Payload, options?: PublishOptions) => Promise<Message>;

export function createRequest(engine: Engine, options: ClientOptions): undefined {
  const waiting = new Map<string, Operation<Message>>();
  let { responseTopic } = options;
  let isListening = false;

  const listen = async (): Promise<void> => {
    try {
      isListening = true;
      for await (const message of await engine.subscribe(responseTopic!, { qos: 1 })) {
        waiting.get(`${message.properties.correlationData}`)?.settle(message);
      }
    } catch (error) {
      for (const response of waiting.values()) response.settle(error as MqttError);
    }
    isListening = false;
  };

  engine.request = async (topic, payload, requestOptions = {}) => {
    const correlationData = toBytes(randomName());
    const key = `${correlationData}`;
    const response = operation<Message>(engine, "publish", requestOptions);
    waiting.set(key, response);
    responseTopic ??= `${engine.properties.responseInformation ?? "response"}/${randomName()}`;
    // The server has it before the request, which waits in the same queue.
    if (!isListening) void listen();
    const properties = { ...requestOptions.properties, responseTopic, correlationData };
    engine.publish(topic, payload, { qos: 1, ...requestOptions, properties }).then(({ reasonCode }) => {
      // No matching subscribers.
      if (reasonCode === 0x10) response.settle(new MqttError(reasonCode, "publish"));
    }, response.settle);
    try {
      return await response.promise;
    } finally {
      waiting.delete(key);
    }
  };
}
