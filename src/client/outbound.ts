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
import { operation } from "./operation.ts";
import { acknowledgement } from "./packet-encoder.ts";

/** A packet that waits to be sent, or for its answer. */
interface Outgoing {
  /** Sends it, or has it wait for its turn. */
  send(): void;
  answer(answer: Incoming): void;
  /** There is a new connection. */
  resume(): void;
}

/** Sends a packet when its turn has come; resolves with the answer of type `awaits`, which is 0 where there is none. */
export type Ask = (
  packet: string,
  awaits: number,
  wait: WaitOptions,
  encode: (packetId: number, dup: boolean) => Uint8Array,
) => Promise<Published>;

/** What the server says to a packet of ours; 0x92 is "Packet Identifier not found". */
function answering(engine: Engine, pending: Map<number, Outgoing>): (packet: Incoming) => void {
  const PUBREC: typeof PacketType.PUBREC = 5;
  return (packet) => {
    const item = pending.get(packet.packetId);
    if (item) item.answer(packet);
    else if (packet.type === PUBREC) engine.send(acknowledgement(engine.level, 0x62, packet.packetId, 0x92));
    else refuse(0x82);
  };
}

export function createOutbound(engine: Engine, { queueMax = 1_000 }: ClientOptions): StateListener {
  const PUBREC: typeof PacketType.PUBREC = 5;
  const PUBCOMP: typeof PacketType.PUBCOMP = 7;
  const SUBACK: typeof PacketType.SUBACK = 9;
  const pending = new Map<number, Outgoing>();
  const queue = new Set<Outgoing>();
  let lastPacketId = 0;
  let quota = 0;
  engine.ask = (packet, awaits, wait, encode) => {
    const isCounted = awaits > 0 && awaits < SUBACK;
    /** 0 until it was sent. */
    let packetId = 0;
    let dup = false;
    /** Only what counts against the server's Receive Maximum waits for it [MQTT-3.3.4-8]. */
    const waits = (): boolean => engine.state !== "online" || (isCounted && !quota);
    const self: Outgoing = {
      send() {
        if (waits()) return void queue.add(self);
        queue.delete(self);
        try {
          while (awaits && !packetId) {
            if (pending.size > 65_534) refuse(0x97);
            lastPacketId = (lastPacketId % 65_535) + 1;
            if (!pending.has(lastPacketId)) packetId = lastPacketId;
          }
          if (awaits) pending.set(packetId, self);
          engine.send(encode(packetId, dup));
          quota -= +isCounted;
          if (!awaits) settle({ reasonCode: 0, properties: {} });
        } catch (error) {
          pending.delete(packetId);
          settle(mqttError(error, 0x83, packet));
        }
      },
      answer({ type, reasonCode, properties }) {
        if (type === PUBREC && awaits === PUBREC && reasonCode < 0x80) {
          awaits = PUBCOMP;
          // From here on PUBREL (0x62) is what is said again.
          encode = () => acknowledgement(engine.level, 0x62, packetId);
        }
        if (type === PUBREC && awaits === PUBCOMP) return engine.send(encode(packetId, dup));
        if (awaits !== type) refuse(0x82);
        pending.delete(packetId);
        quota += +isCounted;
        // PUBCOMP is success, whatever it says: 0x92 where the one before it was lost.
        const arrived = reasonCode < 0x80 || type === PUBCOMP;
        settle(arrived ? { reasonCode, properties } : new MqttError(reasonCode, packet, properties.reasonString));
        for (const item of queue) {
          if (!quota) break;
          item.send();
        }
      },
      resume() {
        dup = packetId > 0 && engine.sessionPresent;
        if (!dup && awaits === PUBCOMP) settle({ reasonCode: 0, properties: {} });
        // Once more could be once too often.
        if (packetId && !dup && awaits === PUBREC) settle(new MqttError(LOST, "publish"));
        if (result.done && !(dup && isCounted)) pending.delete(packetId);
        else self.send();
      },
    };
    const result = operation<Published>(engine, packet, wait, () => packetId || queue.delete(self));
    const { promise, settle } = result;
    if (waits() && queue.size >= queueMax) settle(new MqttError(0x97, packet));
    else if (!result.done) self.send();
    return promise;
  };
  // PUBACK and UNSUBACK are among them.
  for (const type of [4, PUBREC, PUBCOMP, SUBACK, 11]) engine.handlers[type] = answering(engine, pending);
  return (state) => {
    if (state !== "online") return;
    quota = 0;
    const again = [...pending.values()];
    // When every part has heard of it, and subscriptions were made again.
    queueMicrotask(() => {
      // MQTT 3.1.1 servers do not say how many they take at once; some take no more than 20.
      quota = engine.properties.receiveMaximum ?? (engine.level === 5 ? 65_535 : 20);
      // What is pending may be waiting to be said again too.
      const all = new Set([...again, ...queue]);
      queue.clear();
      for (const item of all) item.resume();
    });
  };
}
