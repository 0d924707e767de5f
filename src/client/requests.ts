/** Requests and their answers (MQTT 5.0 section 4.10): one Response Topic for the client, Correlation Data for each request. */
import type { Payload, PublishOptions } from "./client-options.ts";
import type { Engine, Part } from "./engine.ts";
import type { Inbound } from "./inbound.ts";
import { MqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import type { Outbound } from "./outbound.ts";
import type { Message } from "./subscription.ts";

const NO_MATCHING_SUBSCRIBERS = 0x10;

export class Requests implements Part {
  readonly #engine: Engine;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #waiting = new Map<string, Operation<Message>>();
  #responseTopic: Promise<string> | undefined;
  #count = 0;

  constructor(engine: Engine, outbound: Outbound, inbound: Inbound) {
    this.#engine = engine;
    this.#outbound = outbound;
    this.#inbound = inbound;
  }

  async request(topic: string, payload: Payload, options: PublishOptions = {}): Promise<Message> {
    const key = `${++this.#count}`;
    const response = operation<Message>("publish", options.deadlineMs ?? this.#engine.deadlineMs, options.signal);
    this.#waiting.set(key, response);
    const ask = async (): Promise<void> => {
      const responseTopic = await (this.#responseTopic ??= this.#listen());
      if (response.done) return;
      const properties = { ...options.properties, responseTopic, correlationData: new TextEncoder().encode(key) };
      const { reasonCode } = await this.#outbound.publish(topic, payload, { qos: 1, ...options, properties });
      if (reasonCode === NO_MATCHING_SUBSCRIBERS)
        throw new MqttError(reasonCode, "publish", "nobody is subscribed to it");
    };
    ask().catch(response.reject);
    try {
      return await response.promise;
    } finally {
      this.#waiting.delete(key);
    }
  }

  closed(error: MqttError): void {
    for (const response of this.#waiting.values()) response.reject(error);
  }

  async #listen(): Promise<string> {
    const { responseTopic, properties } = { ...this.#engine.options, properties: this.#engine.properties };
    const topic = responseTopic ?? `${properties.responseInformation ?? "response"}/${crypto.randomUUID()}`;
    try {
      const subscription = await this.#inbound.subscribe(topic, { qos: 1 });
      void this.#read(subscription);
      return topic;
    } catch (error) {
      this.#responseTopic = undefined;
      throw error;
    }
  }

  async #read(responses: AsyncIterable<Message>): Promise<void> {
    try {
      for await (const message of responses) {
        const key = new TextDecoder().decode(message.properties.correlationData);
        this.#waiting.get(key)?.resolve(message);
      }
    } catch {
      // The subscription ended with an error: the next request makes another.
    }
    this.#responseTopic = undefined;
  }
}
