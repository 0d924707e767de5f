/**
 * What the client asks of the server, in order: a bounded queue, the server's Receive Maximum, acknowledgements, and what is
 * said again on the next connection (MQTT 5.0 sections 4.3, 4.4, 4.9).
 *
 * Invariant: `pending` holds, in the order they were first sent, the packets whose identifiers are in use.
 */
import { PUBACK, SUBACK, SUBSCRIBE, UNSUBACK } from "../core/codec/packet-type.ts";
import type { Published, WaitOptions } from "./client-options.ts";
import { type Engine, send } from "./engine.ts";
import type { Incoming } from "./incoming.ts";
import { CLOSED, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";

export interface Outgoing extends Operation<Published> {
  /** 0 until it was sent. */
  packetId: number;
  /** The packet type that answers it; 0 at QoS 0. */
  awaits: number;
  /** What it counts against the server's Receive Maximum: QoS 1 and 2 do. */
  readonly cost: number;
  dup: boolean;
  encode(item: Outgoing): Uint8Array;
}

/** Sends a packet when its turn has come, which is at once for `first`; resolves with the answer. */
export type Ask = (
  packet: string,
  awaits: number,
  wait: WaitOptions,
  encode: Outgoing["encode"],
  first?: boolean,
) => Promise<Published>;

export interface Outbound {
  readonly pending: Map<number, Outgoing>;
  readonly ask: Ask;
  /** The server's last answer to a packet of ours. */
  settle(answer: Incoming): void;
}

export const SUCCESS: Published = { reasonCode: 0, properties: {} };

export function createOutbound(engine: Engine): Outbound {
  const pending = new Map<number, Outgoing>();
  let queue: Outgoing[] = [];
  let lastPacketId = 0;
  let quota = 0;
  const free = (item: Outgoing): void => {
    pending.delete(item.packetId);
    quota += item.cost;
  };

  const pump = (): void => {
    for (let item = queue[0]; engine.state === "online" && item && quota >= item.cost; item = queue[0]) {
      queue.shift();
      // Given up before it was sent; afterwards the identifier is in use until the server has answered.
      if (item.done && !item.packetId) continue;
      if (item.awaits) {
        while (!item.packetId) {
          lastPacketId = (lastPacketId % 65_535) + 1;
          if (!pending.has(lastPacketId)) item.packetId = lastPacketId;
        }
        pending.set(item.packetId, item);
      }
      quota -= item.cost;
      try {
        send(engine, item.encode(item));
        if (!item.awaits) item.resolve(SUCCESS);
      } catch (error) {
        free(item);
        item.reject(mqttError(error, 0x83, item.packet));
      }
    }
  };

  const settle = ({ type, packetId, reasonCode, properties }: Incoming): void => {
    const item = pending.get(packetId);
    if (item?.awaits !== type) refuse(0x82);
    free(item);
    if (reasonCode < 0x80) item.resolve({ reasonCode, properties });
    else item.reject(new MqttError(reasonCode, item.packet, properties.reasonString));
    pump();
  };
  engine.handlers[PUBACK] = engine.handlers[SUBACK] = engine.handlers[UNSUBACK] = settle;

  engine.parts.push((state, error) => {
    if (state === "online") {
      // MQTT 3.1.1 servers do not say how many they take at once; some take no more than 20.
      quota = engine.properties.receiveMaximum ?? (engine.level === 5 ? 65_535 : 20);
      for (const item of pending.values()) {
        item.dup = engine.sessionPresent;
        if (item.done && !(item.dup && item.cost)) pending.delete(item.packetId);
      }
      queue = [...pending.values(), ...queue.filter(({ packetId }) => !packetId)];
      // When every part has heard of it.
      queueMicrotask(pump);
    } else if (state === "closed") {
      for (const item of [...pending.values(), ...queue]) item.reject(error!);
    }
  });

  const ask: Ask = (packet, awaits, wait, encode, first) => {
    const item = Object.assign(operation<Published>(engine, packet, wait), {
      packetId: 0,
      awaits,
      cost: awaits && awaits < SUBSCRIBE ? 1 : 0,
      dup: false,
      encode,
    });
    const { queueMax = 1_000 } = engine.options();
    // What was given up keeps its place until somebody needs it.
    if (queue.length >= queueMax) queue = queue.filter(({ packetId, done }) => packetId || !done);
    if (engine.state === "closed") item.reject(new MqttError(CLOSED, packet));
    else if (queue.length >= queueMax) item.reject(new MqttError(0x97, packet));
    else {
      queue[first ? "unshift" : "push"](item);
      pump();
    }
    return item.promise;
  };
  return { pending, ask, settle };
}
