/**
 * One subscription as an async iterator, and the messages it yields.
 *
 * QoS 1 and 2 messages that wait are bounded by the client's Receive Maximum, as the server sends no more until they are
 * acknowledged; QoS 0 messages by `buffer`.
 */
import type { QoS } from "../core/codec/packet.ts";
import type { Properties } from "../core/codec/property-table.ts";
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

type Result = IteratorResult<Message, undefined>;

export interface Subscription extends AsyncIterableIterator<Message, undefined> {
  readonly filter: string;
  /** Granted by the server. */
  readonly qos: number;
  /** QoS 0 messages that found no room. */
  readonly dropped: number;
  /** The same as a stream; what it does not pull stays unacknowledged. */
  readonly readable: ReadableStream<Message>;
  next(): Promise<Result>;
  /** Leaving a `for await` loop unsubscribes. */
  return(): Promise<Result>;
  /** Resolves when the server has acknowledged it; messages that were not read are given up. */
  unsubscribe(): Promise<void>;
  [Symbol.asyncIterator](): this;
}

/** A subscription as the client has it. */
export interface Reader {
  readonly subscription: Subscription & { qos: number };
  readonly identifier: number;
  readonly options: SubscribeOptions;
  /** Whether the server has granted it, and whether it is being asked to. */
  granted?: boolean;
  asking?: boolean;
  give(message: Message): void;
  /** The server sends what was not acknowledged again. */
  forget(): void;
  /** There will be no more. */
  end(error?: MqttError): void;
}

export function createReader(
  filter: string,
  identifier: number,
  options: SubscribeOptions,
  leave: () => Promise<void>,
): Reader {
  let waiting: Message[] = [];
  const takers: PromiseWithResolvers<Result>[] = [];
  let last: Message | undefined;
  let finish: ((taker: PromiseWithResolvers<Result>) => void) | undefined;
  const serve = (): void => {
    while (takers.length && (waiting.length || finish)) {
      const taker = takers.shift()!;
      last = waiting.shift();
      if (last) taker.resolve({ done: false, value: last });
      else finish!(taker);
    }
  };
  const end = (error?: MqttError): void => {
    const isError = error && error.code !== CLOSED;
    finish = ({ resolve, reject }) => (isError ? reject(error) : resolve({ done: true, value: undefined }));
    serve();
  };
  const subscription = {
    filter,
    qos: 0,
    dropped: 0,
    [Symbol.asyncIterator]: () => subscription,
    next(): Promise<Result> {
      if (options.ack !== "manual") last?.ack();
      const taker = Promise.withResolvers<Result>();
      takers.push(taker);
      serve();
      return taker.promise;
    },
    async return(): Promise<Result> {
      await subscription.unsubscribe();
      return { done: true, value: undefined };
    },
    async unsubscribe(): Promise<void> {
      if (finish) return;
      const given = [last, ...waiting];
      waiting = [];
      end();
      for (const message of given) message?.ack();
      await leave();
    },
    get readable() {
      return new ReadableStream<Message>(
        {
          async pull(controller) {
            const { done, value } = await subscription.next();
            if (done) controller.close();
            else controller.enqueue(value);
          },
          cancel: subscription.unsubscribe,
        },
        { highWaterMark: 0 },
      );
    },
  };
  return {
    subscription: subscription as Reader["subscription"],
    identifier,
    options,
    end,
    give(message) {
      if (takers.length || message.qos || waiting.filter(({ qos }) => !qos).length < (options.buffer ?? 256)) {
        waiting.push(message);
        serve();
      } else subscription.dropped++;
    },
    forget() {
      waiting = waiting.filter(({ qos }) => qos !== 1);
    },
  };
}
