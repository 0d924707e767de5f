/** What a CONNECT says (MQTT 5.0 section 3.1): the client's options, and what comes anew with each connection. */
import type { Properties } from "../core/codec/property-table.ts";
import type { Payload } from "./client-options.ts";
import type { Engine } from "./engine.ts";
import { field, integer, propertyList, toBytes } from "./packet-encoder.ts";

/** What is not known before the connection is to be made. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: Payload;
  readonly properties?: Properties;
}

const optional = (value: Payload | undefined): number[] => (value === undefined ? [] : field(value));

export function connectFields(engine: Engine, credentials: Credentials | undefined): number[] {
  const options = engine.options();
  const { will, keepAlive = 60 } = options;
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
    (engine.isFresh ? 0x02 : 0) |
    (will ? 0x04 | ((will.qos ?? 0) * 8) | (will.retain ? 0x20 : 0) : 0) |
    (password === undefined ? 0 : 0x40) |
    (username === undefined ? 0 : 0x80);
  return [
    ...field("MQTT"),
    engine.level,
    flags,
    ...integer(2, keepAlive),
    ...propertyList(engine, properties),
    ...field(engine.clientId),
    ...(will ? [...propertyList(engine, will.properties), ...field(will.topic), ...field(toBytes(will.payload))] : []),
    ...optional(username),
    ...optional(password),
  ];
}
