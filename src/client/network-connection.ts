/**
 * One network connection: what arrives is cut, decoded and handed over until either side has ended it.
 *
 * Nothing is heard of a connection that was closed here. What the server gets wrong ends the client, with a DISCONNECT.
 */
import type { PacketType } from "../core/codec/packet-type.ts";
import type { Engine } from "./engine.ts";
import { LOST, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { packetCutter } from "./packet-cutter.ts";
import { decodePacket } from "./packet-decoder.ts";
import type { Transport, Wire } from "./transport.ts";

/** Opens one; `hello` is what is said first. */
export function openConnection(
  engine: Engine,
  transport: Transport,
  packetBytesMax: number,
  hello: Uint8Array,
  isCurrent: () => boolean,
): Wire {
  const CONNACK: typeof PacketType.CONNACK = 2;
  const DISCONNECT: typeof PacketType.DISCONNECT = 14;
  let packet = "";
  const cut = packetCutter(packetBytesMax, (first, body) => {
    const type = first >> 4;
    packet = `type ${type}`;
    const handle = engine.handlers[type];
    // Before CONNACK there is AUTH and goodbye, after it no other.
    if (!handle || (engine.state === "online" ? type === CONNACK : type > CONNACK && type < DISCONNECT)) {
      refuse(type ? 0x82 : 0x81);
    }
    handle(decodePacket(first, body, engine.level));
    packet = "";
    return isCurrent();
  });
  return transport(
    () => {
      if (!isCurrent()) return;
      engine.hellos++;
      engine.send(hello);
    },
    (bytes) => {
      try {
        if (isCurrent()) cut(bytes);
      } catch (found) {
        const error = mqttError(found, 0x81, packet);
        engine.lose(error, true, error.code);
      }
    },
    (reason) => {
      engine.gone?.();
      if (isCurrent()) engine.lose(new MqttError(LOST, "connect", reason));
    },
  );
}
