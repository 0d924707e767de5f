/**
 * What the client asks of the server, in order: a bounded queue, the server's Receive Maximum, acknowledgements, and what is
 * said again on the next connection (MQTT 5.0 sections 4.3, 4.4, 4.9).
 *
 * Invariant: `pending` holds, in the order they were first sent, the packets whose identifiers are in use.
 */
import { PUBACK, SUBACK, SUBSCRIBE, UNSUBACK } from "../core/codec/packet-type.ts";
import type { Published, WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { type Incoming, refuse } from "./incoming.ts";
import { CLOSED, MqttError, mqttError } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";

export interface Outgoing {
  /** 0 until it was sent. */
  packetId: number;
  /** The packet type that answers it; 0 at QoS 0. */
  awaits: number;
  dup: boolean;
  readonly operation: Operation<Published>;
  encode(item: Outgoing): Uint8Array;
}

export interface Outbound {
  readonly pending: Map<number, Outgoing>;
  /** Sends a packet when its turn has come; resolves with the answer. */
  ask(
    packet: string,
    awaits: number,
    options: WaitOptions,
    encode: Outgoing["encode"],
    first?: boolean,
  ): Promise<Published>;
  /** The server's last answer to a packet of ours. */
  settle(answer: Incoming): void;
}

export const SUCCESS: Published = { reasonCode: 0, properties: {} };

/** MQTT 3.1.1 servers do not say how many they take at once; some take no more. */
const UNANNOUNCED_RECEIVE_MAXIMUM = 20;

/** QoS 1 and 2 count against the server's Receive Maximum. */
const counts = ({ awaits }: Outgoing): number => (awaits > 0 && awaits < SUBSCRIBE ? 1 : 0);

export function createOutbound({ face, options, level, deadlineMs, handlers, parts, send }: Engine): Outbound {
  const pending = new Map<number, Outgoing>();
  let queue: Outgoing[] = [];
  let lastPacketId = 0;
  let quota = 0;
  const free = (item: Outgoing): void => {
    pending.delete(item.packetId);
    quota += counts(item);
  };

  const pump = (): void => {
    for (let item = queue[0]; face.state === "online" && item && quota >= counts(item); item = queue[0]) {
      queue.shift();
      const { operation, awaits } = item;
      // Given up before it was sent; afterwards the identifier is in use until the server has answered.
      if (operation.done && !item.packetId) continue;
      if (awaits) {
        while (!item.packetId) {
          lastPacketId = (lastPacketId % 65_535) + 1;
          if (!pending.has(lastPacketId)) item.packetId = lastPacketId;
        }
        pending.set(item.packetId, item);
      }
      quota -= counts(item);
      try {
        send(item.encode(item));
        if (!awaits) operation.resolve(SUCCESS);
      } catch (error) {
        free(item);
        operation.reject(mqttError(error, 0x83, operation.packet));
      }
    }
  };

  const ask: Outbound["ask"] = (packet, awaits, wait, encode, first) => {
    const waiting = operation<Published>(packet, wait.deadlineMs ?? deadlineMs, wait.signal);
    queue = queue.filter((item) => item.packetId || !item.operation.done);
    if (face.state === "closed") waiting.reject(new MqttError(CLOSED, packet, "closed"));
    else if (queue.length >= (options.queueMax ?? 1000)) waiting.reject(new MqttError(0x97, packet, "too much waits"));
    else {
      queue[first ? "unshift" : "push"]({ packetId: 0, awaits, dup: false, operation: waiting, encode });
      pump();
    }
    return waiting.promise;
  };

  const settle = ({ type, packetId, reasonCode, properties }: Incoming): void => {
    const item = pending.get(packetId);
    if (item?.awaits !== type) refuse(type, 0x82, `Packet Identifier ${packetId} is not in use`);
    free(item);
    const { operation } = item;
    if (reasonCode < 0x80) operation.resolve({ reasonCode, properties });
    else operation.reject(new MqttError(reasonCode, operation.packet, properties.reasonString));
    pump();
  };
  handlers[PUBACK] = handlers[SUBACK] = handlers[UNSUBACK] = settle;

  parts.push((state, error) => {
    if (state === "online") {
      quota = face.properties.receiveMaximum ?? (level === 5 ? 65_535 : UNANNOUNCED_RECEIVE_MAXIMUM);
      for (const item of pending.values()) {
        item.dup = face.sessionPresent;
        if (item.operation.done && !(item.dup && counts(item))) pending.delete(item.packetId);
      }
      queue = [...pending.values(), ...queue.filter(({ packetId }) => !packetId)];
      // When every part has heard of it.
      queueMicrotask(pump);
    } else if (state === "closed") {
      for (const { operation } of [...pending.values(), ...queue.splice(0)]) operation.reject(error!);
      pending.clear();
    }
  });
  return { pending, ask, settle };
}
