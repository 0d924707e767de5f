/** QoS 2 in both directions (MQTT 5.0 section 4.3.3): what PUBREC, PUBREL and PUBCOMP do. */
import { PacketType } from "../core/codec/packet-type.ts";
import { decodePubcomp, encodePubcomp } from "../core/codec/pubcomp.ts";
import { decodePubrec } from "../core/codec/pubrec.ts";
import { decodePubrel, encodePubrel } from "../core/codec/pubrel.ts";
import type { Engine } from "./engine.ts";
import type { Inbound } from "./inbound.ts";
import type { Outbound } from "./outbound.ts";

/** Packet Identifier not found. */
const NOT_FOUND = 0x92;

export function qos2(engine: Engine, outbound: Outbound, inbound: Inbound): void {
  const { handlers, level } = engine;
  outbound.answers[2] = PacketType.PUBREC;
  const begun = (inbound.begun = new Map());

  handlers[PacketType.PUBREC] = (reader, flags) => {
    const { packetId, reasonCode, properties } = decodePubrec(reader, flags, level);
    const item = outbound.awaiting(PacketType.PUBREC, packetId);
    if (item && reasonCode >= 0x80) {
      outbound.settle(PacketType.PUBREC, packetId, reasonCode, properties);
      return;
    }
    if (item) {
      item.awaits = PacketType.PUBCOMP;
      // From here on PUBREL is what is said again.
      item.write = (writer) => encodePubrel(writer, { packetId }, level);
      engine.send((writer) => item.write(writer, item));
    } else {
      const known = outbound.awaiting(PacketType.PUBCOMP, packetId);
      engine.send((writer) => encodePubrel(writer, { packetId, reasonCode: known ? 0 : NOT_FOUND }, level));
    }
  };

  handlers[PacketType.PUBCOMP] = (reader, flags) => {
    const { packetId, reasonCode, properties } = decodePubcomp(reader, flags, level);
    outbound.settle(PacketType.PUBCOMP, packetId, reasonCode, properties);
  };

  handlers[PacketType.PUBREL] = (reader, flags) => {
    const { packetId } = decodePubrel(reader, flags, level);
    const known = begun.delete(packetId);
    if (known && inbound.unacknowledged) inbound.unacknowledged--;
    engine.send((writer) => encodePubcomp(writer, { packetId, reasonCode: known ? 0 : NOT_FOUND }, level));
  };
}
