/** SUBSCRIBE (MQTT 5.0 section 3.8): Topic Filters with their Subscription Options. Flags are 0010 [MQTT-3.8.1-1]. */
import { checkRepeatableFlags } from "./fixed-header.ts";
import type { ProtocolLevel, QoS } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { malformed, PeerError, protocolError } from "./peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "./property.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface SubscribeFilter {
  topicFilter: string;
  qos: QoS;
  noLocal: boolean;
  retainAsPublished: boolean;
  /** 0: send retained messages; 1: only for a new subscription; 2: none. */
  retainHandling: 0 | 1 | 2;
}

export interface Subscribe {
  type: "subscribe";
  packetId: number;
  filters: SubscribeFilter[];
  properties: Properties;
}

export function decodeSubscribe(reader: Reader, flags: number, level: ProtocolLevel): Subscribe {
  checkRepeatableFlags(PacketType.SUBSCRIBE, flags, 2, "MQTT-3.8.1-1", level);
  const packetId = reader.packetId("MQTT-2.2.1-3");
  const properties = level === 5 ? decodeProperties(reader, PacketType.SUBSCRIBE) : {};
  const filters: SubscribeFilter[] = [];
  while (reader.remaining > 0) {
    if (filters.length >= reader.filtersMax) {
      throw new PeerError(0x97, "3.8.3", `more than ${reader.filtersMax} Topic Filters in one SUBSCRIBE`);
    }
    filters.push(decodeFilter(reader, level));
  }
  if (filters.length === 0) throw protocolError("MQTT-3.8.3-2", "SUBSCRIBE without a Topic Filter");
  return { type: "subscribe", packetId, filters, properties };
}

function decodeFilter(reader: Reader, level: ProtocolLevel): SubscribeFilter {
  const topicFilter = reader.string();
  const options = reader.u8();
  const qos = options & 0x03;
  const retainHandling = (options >> 4) & 0x03;
  // [MQTT-3.8.3-5]: bits 6 and 7 are reserved in MQTT 5.0, bits 2 to 7 before [MQTT311-3.8.3-4].
  if ((options & (level === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed("MQTT-3.8.3-5", "reserved Subscription Options");
  if (qos === 3) throw protocolError("3.8.3.1", "maximum QoS 3 in SUBSCRIBE");
  if (retainHandling === 3) throw protocolError("3.8.3.1", "Retain Handling 3");
  return {
    topicFilter,
    qos: qos as QoS,
    noLocal: (options & 0x04) !== 0,
    retainAsPublished: (options & 0x08) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

export function encodeSubscribe(writer: Writer, packet: Subscribe, level: ProtocolLevel): void {
  const mark = writer.begin((PacketType.SUBSCRIBE << 4) | 2);
  writer.u16(packet.packetId);
  if (level === 5) encodeProperties(writer, packet.properties);
  for (const filter of packet.filters) {
    writer.string(filter.topicFilter);
    let options: number = filter.qos;
    if (level === 5) {
      options |= (filter.noLocal ? 0x04 : 0) | (filter.retainAsPublished ? 0x08 : 0) | (filter.retainHandling << 4);
    }
    writer.u8(options);
  }
  writer.finish(mark);
}
