/** CONNECT (MQTT 5.0 section 3.1): the client's options, and what comes anew with each connection. */
import type { ClientOptions } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { encodePacket, field, integer, toBytes } from "./packet-encoder.ts";
import { propertyList } from "./property-list.ts";

export function connectPacket({ level, clientId }: Engine, options: ClientOptions): Uint8Array {
  const CONNECT = 0x10;
  const { will, cleanStart, username, password, keepAlive = 60 } = options;
  const properties = {
    sessionExpiryInterval: options.expiry ?? 300,
    receiveMaximum: options.receiveMaximum ?? 64,
    maximumPacketSize: options.packetBytesMax ?? 2 ** 20,
    topicAliasMaximum: options.topicAliasMaximum ?? 16,
    ...options.properties,
  };
  const flags =
    (cleanStart ? 0x02 : 0) |
    (will ? 0x04 | ((will.qos ?? 0) * 8) | (will.retain ? 0x20 : 0) : 0) |
    (password === undefined ? 0 : 0x40) |
    (username === undefined ? 0 : 0x80);
  return encodePacket(CONNECT, [
    ...field("MQTT"),
    level,
    flags,
    ...integer(2, keepAlive),
    ...propertyList(level, properties),
    ...field(clientId),
    ...(will ? [...propertyList(level, will.properties), ...field(will.topic), ...field(toBytes(will.payload))] : []),
    ...[username, password].flatMap((value) => (value === undefined ? [] : field(value))),
  ]);
}
