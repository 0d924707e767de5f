/**
 * What the client asks of the server, in order: a bounded queue, the server's Receive Maximum, acknowledgements, and what is
 * said again on the next connection (MQTT 5.0 sections 4.3, 4.4, 4.9).
 *
 * Invariant: `pending` holds, in the order they were first sent, the packets whose identifiers are in use.
 */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { ClientOptions, Published, StateListener, WaitOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import type { Incoming } from "./incoming.ts";
import { LOST, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { type Operation, operation } from "./operation.ts";
import { acknowledgement } from "./packet-encoder.ts";

export interface Outgoing extends Operation<Published> {
  /** 0 until it was sent. */
  packetId: number;
  /** The packet type that answers it; 0 at QoS 0. */
  awaits: number;
  /** What it counts against the server's Receive Maximum: QoS 1 and 2 do. */
  readonly cost: number;
  /** Said again on a connection that took up the session. */
  dup?: boolean;
  encode(item: Outgoing): Uint8Array;
}

/** Sends a packet when its turn has come; resolves with the answer. */
export type Ask = (packet: string, awaits: number, wait: WaitOptions, encode: Outgoing["encode"]) => Promise<Published>;

const SUCCESS: Published = { reasonCode: 0, properties: {} };

export function createOutbound(engine: Engine, { queueMax = 1_000 }: ClientOptions): StateListener {
  const PUBACK: typeof PacketType.PUBACK = 4;
  const PUBREC: typeof PacketType.PUBREC = 5;
  const PUBCOMP: typeof PacketType.PUBCOMP = 7;
  const SUBACK: typeof PacketType.SUBACK = 9;
  const UNSUBACK: typeof PacketType.UNSUBACK = 11;
  const { level, handlers } = engine;
  const pending = new Map<number, Outgoing>();
  let queue: Outgoing[] = [];
  let lastPacketId = 0;
  let quota = 0;
  const transmit = (item: Outgoing): void => {
    // Given up before it was sent; afterwards the identifier is in use until the server has answered.
    if (item.done && !item.packetId) return;
    try {
      if (item.awaits) {
        while (!item.packetId) {
          if (pending.size > 65_534) refuse(0x97);
          lastPacketId = (lastPacketId % 65_535) + 1;
          if (!pending.has(lastPacketId)) item.packetId = lastPacketId;
        }
        pending.set(item.packetId, item);
      }
      engine.send(item.encode(item));
      quota -= item.cost;
      if (!item.awaits) item.settle(SUCCESS);
    } catch (error) {
      pending.delete(item.packetId);
      item.settle(mqttError(error, 0x83, item.packet));
    }
  };
  const pump = (): void => {
    // No quota is enough for nobody.
    while (engine.state === "online" && quota >= (queue[0]?.cost as number)) transmit(queue.shift()!);
  };
  const settle = ({ type, packetId, reasonCode: code, properties }: Incoming): void => {
    const item = pending.get(packetId);
    if (item?.awaits !== type) refuse(0x82);
    pending.delete(packetId);
    quota += item.cost;
    const { reasonString } = properties;
    item.settle(code < 0x80 ? { reasonCode: code, properties } : new MqttError(code, item.packet, reasonString));
    pump();
  };
  handlers[PUBACK] = handlers[PUBCOMP] = handlers[SUBACK] = handlers[UNSUBACK] = settle;
  handlers[PUBREC] = (answer) => {
    const item = pending.get(answer.packetId);
    if (item?.awaits === PUBREC) {
      if (answer.reasonCode > 0x7f) return settle(answer);
      // From here on PUBREL (0x62) is what is said again.
      item.awaits = PUBCOMP;
      item.encode = ({ packetId }) => acknowledgement(level, 0x62, packetId);
    }
    // 0x92: Packet Identifier not found.
    engine.send(acknowledgement(level, 0x62, answer.packetId, item?.awaits === PUBCOMP ? 0 : 0x92));
  };
  engine.ask = (packet, awaits, wait, encode) => {
    const cost = awaits && awaits < SUBACK ? 1 : 0;
    const item = Object.assign(operation<Published>(engine, packet, wait), { packetId: 0, awaits, cost, encode });
    // What was given up keeps its place until somebody needs it.
    if (queue.length >= queueMax) queue = queue.filter(({ packetId, done }) => packetId || !done);
    // What the server's Receive Maximum does not concern does not wait for it [MQTT-3.3.4-8].
    if (engine.state === "online" && !cost) transmit(item);
    else if (queue.length < queueMax) queue.push(item);
    else item.settle(new MqttError(0x97, packet));
    pump();
    return item.promise;
  };
  return (state) => {
    const { sessionPresent: dup, properties } = engine;
    for (const item of state === "online" ? pending.values() : []) {
      item.dup = dup;
      if (!dup && item.awaits === PUBCOMP) item.settle(SUCCESS);
      // Once more could be once too often.
      if (!dup && item.awaits === PUBREC) item.settle(new MqttError(LOST, "publish"));
      if (item.done && !(dup && item.cost)) pending.delete(item.packetId);
    }
    // MQTT 3.1.1 servers do not say how many they take at once; some take no more than 20.
    quota = properties.receiveMaximum ?? (level === 5 ? 65_535 : 20);
    queue = [...pending.values(), ...queue.filter(({ packetId }) => !packetId)].sort((a, b) => a.cost - b.cost);
    // When every part has heard of it.
    queueMicrotask(pump);
  };
}
