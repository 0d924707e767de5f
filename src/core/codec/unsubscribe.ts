/** UNSUBSCRIBE (MQTT 5.0 section 3.10): Topic Filters to remove. Flags are 0010 [MQTT-3.10.1-1]. */
import { checkRepeatableFlags } from "./fixed-header.ts";
import type { ProtocolLevel } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { PeerError, protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface Unsubscribe {
  type: "unsubscribe";
  packetId: number;
  topicFilters: string[];
  properties: Properties;
}

export function decodeUnsubscribe(reader: Reader, flags: number, level: ProtocolLevel): Unsubscribe {
  checkRepeatableFlags(PacketType.UNSUBSCRIBE, flags, 2, "MQTT-3.10.1-1", level);
  const packetId = reader.packetId("MQTT-2.2.1-3");
  const properties = level === 5 ? decodeProperties(reader, PacketType.UNSUBSCRIBE) : {};
  const topicFilters: string[] = [];
  while (reader.remaining > 0) {
    if (topicFilters.length >= reader.filtersMax) {
      throw new PeerError(0x97, "3.10.3", `more than ${reader.filtersMax} Topic Filters in one UNSUBSCRIBE`);
    }
    topicFilters.push(reader.string());
  }
  if (topicFilters.length === 0) throw protocolError("MQTT-3.10.3-2", "UNSUBSCRIBE without a Topic Filter");
  return { type: "unsubscribe", packetId, topicFilters, properties };
}

export function encodeUnsubscribe(writer: Writer, packet: Unsubscribe, level: ProtocolLevel): void {
  const mark = writer.begin((PacketType.UNSUBSCRIBE << 4) | 2);
  writer.u16(packet.packetId);
  if (level === 5) encodeProperties(writer, packet.properties);
  for (const topicFilter of packet.topicFilters) writer.string(topicFilter);
  writer.finish(mark);
}
