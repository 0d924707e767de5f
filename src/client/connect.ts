/** What a CONNECT says (MQTT 5.0 section 3.1): the client's options, and what comes anew with each connection. */
import type { Properties } from "../core/codec/property-table.ts";
import type { ClientOptions, Payload } from "./client-options.ts";
import { field, integer, propertyList, toBytes } from "./packet-encoder.ts";

/** What is not known before the connection is to be made. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: Payload;
  readonly properties?: Properties;
}

const optional = (value: Payload | undefined): number[] => (value === undefined ? [] : field(value));

export function connectFields(
  options: ClientOptions,
  clientId: string,
  cleanStart: boolean,
  credentials: Credentials | undefined,
): number[] {
  const { will, protocolLevel: level = 5, keepAlive = 60 } = options;
  const { username, password } = { ...options, ...credentials };
  const properties = {
    sessionExpiryInterval: options.expiry ?? 300,
    receiveMaximum: options.receiveMaximum ?? 64,
    maximumPacketSize: options.packetBytesMax ?? 2 ** 20,
    topicAliasMaximum: options.topicAliasMaximum ?? 16,
    ...options.properties,
    ...credentials?.properties,
  };
  const flags =
    (cleanStart ? 0x02 : 0) |
    (will ? 0x04 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0) : 0) |
    (password === undefined ? 0 : 0x40) |
    (username === undefined ? 0 : 0x80);
  return [
    ...field("MQTT"),
    level,
    flags,
    ...integer(2, keepAlive),
    ...propertyList(level, properties),
    ...field(clientId),
    ...(will ? [...propertyList(level, will.properties), ...field(will.topic), ...field(toBytes(will.payload))] : []),
    ...optional(username),
    ...optional(password),
  ];
}
