/**
 * One network connection: what arrives is cut, decoded and handed over until either side has ended it.
 *
 * Nothing is heard of a connection that was closed here. What the server gets wrong ends the client, with a DISCONNECT.
 */
import { CONNACK, DISCONNECT, PACKET_NAMES } from "../core/codec/packet-type.ts";
import { type Engine, lose } from "./engine.ts";
import { LOST, MqttError, mqttError, refuse } from "./mqtt-error.ts";
import { packetCutter } from "./packet-cutter.ts";
import { decodePacket } from "./packet-decoder.ts";

/** Opens one; `hello` is what is said first. */
export function openConnection(engine: Engine, hello: Uint8Array): void {
  let packet = "";
  const cut = packetCutter(engine.options().packetBytesMax ?? 2 ** 20, (first, body) => {
    const type = first >> 4;
    const handle = engine.handlers[type];
    packet = PACKET_NAMES[type]!;
    // Before CONNACK there is AUTH and goodbye, after it no other.
    if (!handle || (engine.state === "online" ? type === CONNACK : type > CONNACK && type < DISCONNECT)) {
      refuse(type ? 0x82 : 0x81);
    }
    handle(decodePacket(first, body, engine.level));
    packet = "";
    return wire === engine.wire;
  });
  const wire = engine.transport({
    opened() {
      if (wire === engine.wire) wire.send(hello);
    },
    received(bytes) {
      try {
        if (wire === engine.wire) cut(bytes);
      } catch (error) {
        const { code, reasonString } = mqttError(error, 0x81, packet);
        lose(engine, new MqttError(code, packet, reasonString, error), true, code);
      }
    },
    closed(reason) {
      engine.gone?.();
      if (wire === engine.wire) lose(engine, new MqttError(LOST, "connect", reason));
    },
  });
  engine.wire = wire;
}
