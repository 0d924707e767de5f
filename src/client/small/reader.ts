/**
 * One subscription of the small client as an async iterator: asked for once, and again where the server has lost the session.
 *
 * QoS 1 messages that wait are bounded by the client's Receive Maximum, as the server sends no more until they are
 * acknowledged; QoS 0 messages by `buffer`.
 */
import { CLOSED, type MqttError } from "../mqtt-error.ts";
import { field } from "../packet-encoder.ts";
import { propertyList } from "./numbered-property-list.ts";
import type { Ask, Lasting } from "./outgoing.ts";
import type { OpenClient, SmallMessage, SmallSubscribeOptions, SmallSubscription, SmallWait } from "./small-options.ts";

/** A subscription as the client has it. */
export interface Reader extends Lasting, SmallSubscription {
  /** Its Subscription Identifier. */
  readonly id: number;
  qos: number;
  dropped: number;
  give(message: SmallMessage): void;
}

/** What was kept for somebody is given before what comes while the subscription is asked for; what is given up is acknowledged. */
export function createSubscribe(
  client: OpenClient,
  ask: Ask,
  readers: Set<Reader>,
  claim: () => void,
  identify: () => number,
) {
  return async (filter: string, options: SmallSubscribeOptions = {}): Promise<SmallSubscription> => {
    const { qos = 0, noLocal, retainAsPublished, retainHandling = 0, properties, buffer = 256, ack } = options;
    const sameFilter = (): Reader | undefined => [...readers].find((reader) => reader.filter === filter);
    const id = sameFilter()?.id ?? identify();
    let waiting: SmallMessage[] = [];
    let last: SmallMessage | undefined;
    let wake: (() => void) | undefined;
    let failure: MqttError | undefined;
    let granted = false;

    const request = async (wait: SmallWait): Promise<void> => {
      granted = false;
      const answer = await ask(
        "subscribe",
        0x82,
        (packetId) => [
          ...packetId,
          ...propertyList({ ...properties, 11: client.properties[41] === 0 ? [] : [id] }),
          ...field(filter),
          qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4),
        ],
        wait,
      );
      self.qos = answer.reasonCode;
      granted = true;
    };
    async function* read(): AsyncGenerator<SmallMessage, undefined> {
      for (;;) {
        last = waiting.shift();
        if (last) {
          yield last;
          if (ack !== "manual") last.ack();
        } else if (readers.has(self)) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else if (failure) throw failure;
        else return undefined;
      }
    }
    const end = (error?: MqttError): void => {
      readers.delete(self);
      if (error?.code !== CLOSED) failure = error;
      wake?.();
      if (!error) for (const message of [last, ...waiting.splice(0)]) message?.ack();
    };
    const unsubscribe = async () => {
      if (readers.has(self)) {
        end();
        if (!sameFilter()) {
          await ask("unsubscribe", 0xa2, (packetId) => [...packetId, 0, ...field(filter)], {});
        }
      }
      return { done: true } as IteratorReturnResult<undefined>;
    };
    const self: Reader = Object.assign(read() as AsyncIterator<SmallMessage, undefined> as SmallSubscription, {
      filter,
      id,
      qos,
      dropped: 0,
      end,
      unsubscribe,
      return: unsubscribe,
      give(message: SmallMessage) {
        if (message.qos || waiting.length < buffer) {
          waiting.push(message);
          wake?.();
        } else self.dropped++;
      },
      resume() {
        // What was not acknowledged is sent again.
        if (client.sessionPresent) waiting = waiting.filter((message) => !message.qos);
        if (granted && (client.isInDoubt || !client.sessionPresent)) request({ deadlineMs: 1e9 }).catch(end);
      },
    });
    readers.add(self);
    claim();
    try {
      await request(options);
    } catch (error) {
      // The server may have heard of it after all.
      if ((error as MqttError).code < 0) unsubscribe().catch(() => {});
      end();
      throw error;
    }
    return self;
  };
}
