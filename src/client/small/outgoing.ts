/**
 * What the small client asks of the server: a bounded queue, the server's Receive Maximum, answers, and what is said again on
 * the next connection (MQTT 5.0 sections 4.3, 4.4, 4.9).
 *
 * Invariant: `pending` holds, in the order they were first sent, the packets whose identifiers are in use.
 */
import { ABORTED, CLOSED, DEADLINE, MqttError, refuse } from "../mqtt-error.ts";
import { encodePacket, integer } from "../packet-encoder.ts";
import type { Incoming } from "./decode.ts";
import type { NumberedProperties } from "./numbered-properties.ts";
import type { OpenClient, SmallAnswer, SmallWait } from "./small-options.ts";

/** What outlives connections. */
export interface Lasting {
  /** There is a new connection, or room for more on it. */
  resume(): void;
  /** The client has ended. */
  end(error: MqttError): void;
}

interface Operation extends Lasting {
  give(first: number, reasonCode: number, properties: NumberedProperties): void;
}

/** Sends a packet when its turn has come; `fields` may refuse it then. Resolves with the answer. */
export type Ask = (
  packet: string,
  first: number,
  fields: (packetId: readonly number[]) => number[],
  wait: SmallWait,
  payload?: Uint8Array,
) => Promise<SmallAnswer>;

/**
 * Answers with what asks, what takes an answer, what begins a connection, and everything that ends with the client: each
 * once, as what is pending may be waiting to be said again too. What is no signal throws before there is a timer.
 */
export function createOutgoing(
  client: OpenClient,
  send: (bytes: Uint8Array) => void,
  readers: ReadonlySet<Lasting>,
  longestMs: number,
  queueMax: number,
) {
  const pending = new Map<number, Operation>();
  const queue = new Set<Operation>();
  let lastId = 0;
  let quota = 0;

  const everything = (): Set<Lasting> => new Set([...readers, ...pending.values(), ...queue]);

  const ask: Ask = (packet, first, fields, { signal, deadlineMs = longestMs }, payload) =>
    new Promise((resolve, reject) => {
      const isPublish = first < 0x40;
      /** Whether there is an answer to it. */
      const isAsked = first > 0x31;
      /** Its Packet Identifier; 0 until it was sent. */
      let id = 0;
      const end = (error?: MqttError, answer?: SmallAnswer): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        // Once it was sent, its identifier is in use until the server has answered.
        if (!id) queue.delete(self);
        if (error) reject(error);
        else resolve(answer!);
      };
      const fail = (code: number, reasonString?: string, cause?: unknown): void =>
        end(new MqttError(code, packet, reasonString, cause));
      const self: Operation = {
        end,
        resume() {
          // Only PUBLISH may wait for the server's Receive Maximum [MQTT-3.3.4-8].
          if (client.state !== "online" || (isPublish && !quota)) queue.add(self);
          else
            try {
              queue.delete(self);
              const dup = isPublish && id && client.sessionPresent ? 8 : 0;
              if (isAsked) {
                if (pending.size > 65_534) refuse(0x97);
                do lastId = (lastId % 65_535) + 1;
                while (pending.has(lastId));
                pending.set((id ||= lastId), self);
              }
              const said = encodePacket(first | dup, fields(isAsked ? integer(2, id) : []), payload);
              if (said.length > client.properties[39]!) refuse(0x95);
              if (isPublish) quota--;
              send(said);
              if (!isAsked) self.give(0x40, 0, {});
            } catch (error) {
              pending.delete(id);
              fail((error as MqttError).code ?? 0x83, "", error);
            }
        },
        give(by, reasonCode, properties) {
          if (by !== (first & 0xf0) + 0x10) refuse(0x82);
          pending.delete(id);
          if (isPublish) quota++;
          if (reasonCode < 0x80) end(undefined, { reasonCode, properties });
          else fail(reasonCode, properties[31]);
        },
      };
      const abort = (): void => fail(ABORTED, "", signal!.reason);
      signal?.addEventListener("abort", abort);
      const timer = setTimeout(fail, Math.min(deadlineMs, 2e9), DEADLINE);
      if (signal?.aborted) abort();
      else if (client.state === "closed") fail(CLOSED);
      else if (queue.size >= queueMax) fail(0x97);
      else self.resume();
    });

  const settle = (first: number, [id, reasonCode, properties]: Incoming): void => {
    (pending.get(id) ?? refuse(0x82)).give(first, reasonCode, properties);
    for (const operation of queue) operation.resume();
  };

  const resume = (): void => {
    quota = client.properties[33] ?? 65_535;
    // Subscriptions first, so that they have what is published now.
    const all = everything();
    queue.clear();
    for (const lasting of all) lasting.resume();
  };

  return [ask, settle, resume, everything] as const;
}
