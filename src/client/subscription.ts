/**
 * One subscription as an async iterator, and the messages it yields.
 *
 * QoS 1 and 2 messages that wait are bounded by the client's Receive Maximum, as the server sends no more until they are
 * acknowledged; QoS 0 messages by `buffer`.
 */
import type { QoS } from "../core/codec/packet.ts";
import type { Properties } from "../core/codec/property.ts";
import type { SubscribeOptions } from "./client-options.ts";
import { CLOSED, type MqttError } from "./mqtt-error.ts";

export interface Message {
  readonly topic: string;
  readonly bytes: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly properties: Properties;
  text(): string;
  json(): unknown;
  /** Acknowledges it, once; nothing at QoS 0. A reason code from 0x80 on tells the server that it was not taken. */
  ack(reasonCode?: number): void;
}

interface Taker {
  resolve(result: IteratorResult<Message, undefined>): void;
  reject(error: MqttError): void;
}

export class Subscription implements AsyncIterableIterator<Message, undefined> {
  readonly filter: string;
  readonly identifier: number;
  readonly options: SubscribeOptions;
  /** Granted by the server. */
  qos = 0;
  /** The client's: whether the server has granted it, and whether it is being asked to. */
  granted = false;
  asking = false;
  /** QoS 0 messages that found no room. */
  dropped = 0;
  readonly #leave: () => Promise<void>;
  readonly #waiting: Message[] = [];
  readonly #takers: Taker[] = [];
  #last: Message | undefined;
  #end: MqttError | null | undefined;

  constructor(filter: string, identifier: number, options: SubscribeOptions, leave: () => Promise<void>) {
    this.filter = filter;
    this.identifier = identifier;
    this.options = options;
    this.#leave = leave;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    if (this.options.ack !== "manual") this.#last?.ack();
    const value = (this.#last = this.#waiting.shift());
    if (value) return Promise.resolve({ done: false, value });
    if (this.#end) return Promise.reject(this.#end);
    if (this.#end === null) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  /** Leaving a `for await` loop unsubscribes. */
  async return(): Promise<IteratorResult<Message, undefined>> {
    await this.unsubscribe();
    return { done: true, value: undefined };
  }

  /** Resolves when the server has acknowledged it; messages that were not read are given up. */
  unsubscribe(): Promise<void> {
    if (this.#end !== undefined) return Promise.resolve();
    this.end();
    for (const message of [this.#last, ...this.#waiting.splice(0)]) message?.ack();
    return this.#leave();
  }

  /** The same as a stream; what it does not pull stays unacknowledged. */
  get readable(): ReadableStream<Message> {
    return new ReadableStream<Message>(
      {
        pull: async (controller) => {
          const { done, value } = await this.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: () => this.unsubscribe(),
      },
      { highWaterMark: 0 },
    );
  }

  /** The client's: a message for it. */
  give(message: Message): void {
    const taker = this.#takers.shift();
    if (taker) taker.resolve({ done: false, value: (this.#last = message) });
    else if (message.qos || this.#waiting.filter(({ qos }) => !qos).length < (this.options.buffer ?? 256)) {
      this.#waiting.push(message);
    } else this.dropped++;
  }

  /** The client's: the server sends what was not acknowledged again. */
  forget(): void {
    const kept = this.#waiting.filter(({ qos }) => qos !== 1);
    this.#waiting.splice(0, Number.POSITIVE_INFINITY, ...kept);
  }

  /** The client's: there will be no more. */
  end(error?: MqttError): void {
    this.#end = error && error.code !== CLOSED ? error : null;
    for (const taker of this.#takers.splice(0)) {
      if (this.#end) taker.reject(this.#end);
      else taker.resolve({ done: true, value: undefined });
    }
  }
}
