/**
 * One subscription as an async iterator, and the messages it yields.
 *
 * QoS 1 and 2 messages that wait are bounded by the client's Receive Maximum, as the server sends no more until they are
 * acknowledged; QoS 0 messages are dropped where `buffer` messages wait.
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

export interface Subscription extends AsyncIterableIterator<Message, undefined> {
  readonly filter: string;
  /** Granted by the server. */
  readonly qos: number;
  /** QoS 0 messages that found no room. */
  readonly dropped: number;
  next(): Promise<IteratorResult<Message, undefined>>;
  /** Leaving a `for await` loop unsubscribes. */
  return(): Promise<IteratorResult<Message, undefined>>;
  /** Resolves when the server has acknowledged it; messages that were not read are given up. */
  unsubscribe(): Promise<void>;
  [Symbol.asyncIterator](): this;
}

/** A subscription as the client has it. */
export interface Reader extends Subscription {
  readonly identifier: number;
  readonly options: SubscribeOptions;
  qos: number;
  /** Whether the server has granted it; undefined while it is being asked. */
  granted?: boolean | undefined;
  give(message: Message): void;
  /** The server sends what was not acknowledged again. */
  forget(): void;
  /** There will be no more; without an error what was not read is given up. */
  end(error?: MqttError): void;
}

export function createReader(
  filter: string,
  identifier: number,
  options: SubscribeOptions,
  leave: () => Promise<void>,
): Reader {
  let waiting: Message[] = [];
  let last: Message | undefined;
  let wake: (() => void) | undefined;
  /** How it has ended; null where somebody wanted it to. */
  let ended: MqttError | null | undefined;

  async function* read(): AsyncGenerator<Message, undefined> {
    for (;;) {
      last = waiting.shift();
      if (last) {
        yield last;
        if (options.ack !== "manual") last.ack();
      } else if (ended === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else if (ended) throw ended;
      else return undefined;
    }
  }
  const end = (error?: MqttError): void => {
    ended = error && error.code !== CLOSED ? error : null;
    wake?.();
    if (!error) for (const message of [last, ...waiting.splice(0)]) message?.ack();
  };
  const unsubscribe = async (): Promise<void> => {
    if (ended !== undefined) return;
    end();
    await leave();
  };
  const self = Object.assign(read(), {
    filter,
    identifier,
    options,
    qos: 0,
    dropped: 0,
    end,
    unsubscribe,
    async return(): Promise<IteratorResult<Message, undefined>> {
      await unsubscribe();
      return { done: true, value: undefined };
    },
    give(message: Message): void {
      if (message.qos || waiting.length < (options.buffer ?? 256)) {
        waiting.push(message);
        wake?.();
      } else self.dropped++;
    },
    forget(): void {
      waiting = waiting.filter(({ qos }) => qos !== 1);
    },
  });
  return self as AsyncIterator<Message, undefined> as Reader;
}
