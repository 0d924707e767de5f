/**
 * The npm package `mqtt-packet` behind the shapes of this codec: a second opinion on what packets look like.
 *
 * Only names are translated. What the other codec loses or refuses stays lost or refused; mqtt-packet.test.ts lists it.
 */
import { generate, type Packet as OtherPacket, parser } from "mqtt-packet";
import type { Packet, ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { PROPERTIES, type Properties } from "../../src/core/codec/property.ts";

type Fields = Record<string, unknown>;

const OTHER_NAMES: Readonly<Record<string, string>> = {
  maximumQos: "maximumQoS",
  subscriptionIdentifiers: "subscriptionIdentifier",
};

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** User Properties as the other codec has them: an object, with a list where a name repeats. */
function userPropertiesToOther(pairs: readonly (readonly [string, string])[]): Fields {
  const fields: Record<string, string | string[]> = Object.create(null);
  for (const [name, value] of pairs) {
    const earlier = fields[name];
    if (earlier === undefined) fields[name] = value;
    else fields[name] = Array.isArray(earlier) ? [...earlier, value] : [earlier, value];
  }
  return fields;
}

/** In ascending order of identifier, in which the other codec then writes them; `undefined` for none. */
function propertiesToOther(properties: Properties): Fields | undefined {
  const fields: Fields = {};
  for (const { name, type } of PROPERTIES) {
    const value = properties[name];
    if (value === undefined) continue;
    const otherName = OTHER_NAMES[name] ?? name;
    if (name === "userProperties") fields[otherName] = userPropertiesToOther(properties.userProperties!);
    else if (value instanceof Uint8Array) fields[otherName] = buffer(value);
    else if (type === "byte" && name !== "maximumQos") fields[otherName] = value === 1;
    else fields[otherName] = value;
  }
  return Object.keys(fields).length > 0 ? fields : undefined;
}

function propertiesFromOther(fields: Fields | undefined): Properties {
  const properties: Fields = {};
  for (const { name } of PROPERTIES) {
    const value = fields?.[OTHER_NAMES[name] ?? name];
    if (value === undefined) continue;
    if (name === "userProperties") {
      properties[name] = Object.entries(value as Record<string, string | string[]>).flatMap(([key, values]) =>
        [values].flat().map((one) => [key, one]),
      );
    } else if (name === "subscriptionIdentifiers") {
      properties[name] = [value].flat();
    } else {
      properties[name] = typeof value === "boolean" ? Number(value) : plain(value);
    }
  }
  return properties as Properties;
}

const plain = (value: unknown): unknown => (value instanceof Uint8Array ? Uint8Array.from(value) : value);

function toOther(packet: Packet, level: ProtocolLevel): Fields {
  const properties = "properties" in packet ? propertiesToOther(packet.properties) : undefined;
  const code = "reasonCode" in packet ? { [level === 5 ? "reasonCode" : "returnCode"]: packet.reasonCode } : {};
  const id = "packetId" in packet ? { messageId: packet.packetId } : {};
  const common = { cmd: packet.type, properties, ...code, ...id };
  switch (packet.type) {
    case "connect":
      return {
        ...common,
        protocolId: level === 3 ? "MQIsdp" : "MQTT",
        protocolVersion: level,
        clean: packet.cleanStart,
        keepalive: packet.keepAlive,
        clientId: packet.clientId,
        username: packet.username,
        password: packet.password && buffer(packet.password),
        will: packet.will && {
          topic: packet.will.topicName,
          payload: buffer(packet.will.payload),
          qos: packet.will.qos,
          retain: packet.will.retain,
          properties: propertiesToOther(packet.will.properties),
        },
      };
    case "connack":
      return { ...common, sessionPresent: packet.sessionPresent };
    case "publish":
      return {
        ...common,
        topic: packet.topicName,
        payload: buffer(packet.payload),
        qos: packet.qos,
        dup: packet.dup,
        retain: packet.retain,
      };
    case "subscribe":
      return {
        ...common,
        subscriptions: packet.filters.map(({ topicFilter, qos, noLocal, retainAsPublished, retainHandling }) => ({
          topic: topicFilter,
          qos,
          nl: noLocal,
          rap: retainAsPublished,
          rh: retainHandling,
        })),
      };
    case "unsubscribe":
      return { ...common, unsubscriptions: packet.topicFilters };
    case "suback":
    case "unsuback":
      return { ...common, granted: packet.reasonCodes };
    default:
      return common;
  }
}

interface OtherSubscription {
  readonly topic: string;
  readonly qos: QoS;
  readonly nl?: boolean;
  readonly rap?: boolean;
  readonly rh?: 0 | 1 | 2;
}

interface OtherWill {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties?: Fields;
}

function connectFromOther(fields: Fields, properties: Properties): Fields {
  const will = fields["will"] as OtherWill | undefined;
  return {
    type: "connect",
    protocolLevel: fields["protocolVersion"],
    cleanStart: fields["clean"],
    keepAlive: fields["keepalive"],
    clientId: fields["clientId"],
    properties,
    ...(fields["username"] === undefined ? {} : { username: fields["username"] }),
    ...(fields["password"] === undefined ? {} : { password: plain(fields["password"]) }),
    ...(will === undefined
      ? {}
      : {
          will: {
            topicName: will.topic,
            payload: plain(will.payload),
            qos: will.qos,
            retain: will.retain,
            properties: propertiesFromOther(will.properties),
          },
        }),
  };
}

function fromOther(other: OtherPacket): Fields {
  const fields = other as unknown as Fields;
  const type = other.cmd;
  const properties = propertiesFromOther(fields["properties"] as Fields | undefined);
  const reasonCode = fields["reasonCode"] ?? fields["returnCode"] ?? 0;
  const packetId = fields["messageId"];
  switch (type) {
    case "connect":
      return connectFromOther(fields, properties);
    case "connack":
      return { type, sessionPresent: fields["sessionPresent"], reasonCode, properties };
    case "publish": {
      const { dup, qos, retain, topic, payload } = fields;
      const body = { type, dup, qos, retain, topicName: topic, payload: plain(payload), properties };
      return qos === 0 ? body : { ...body, packetId };
    }
    case "subscribe":
      return {
        type,
        packetId,
        properties,
        filters: (fields["subscriptions"] as OtherSubscription[]).map(({ topic, qos, nl, rap, rh }) => ({
          topicFilter: topic,
          qos,
          noLocal: nl ?? false,
          retainAsPublished: rap ?? false,
          retainHandling: rh ?? 0,
        })),
      };
    case "unsubscribe":
      return { type, packetId, properties, topicFilters: fields["unsubscriptions"] };
    case "suback":
    case "unsuback":
      return { type, packetId, properties, reasonCodes: fields["granted"] ?? [] };
    case "pingreq":
    case "pingresp":
      return { type };
    case "disconnect":
    case "auth":
      return { type, reasonCode, properties };
    default:
      return { type, packetId, reasonCode, properties };
  }
}

/** The bytes the other codec writes; `undefined` where it refuses to. */
export function encodeWithOther(packet: Packet, level: ProtocolLevel): Uint8Array | undefined {
  try {
    return Uint8Array.from(generate(toOther(packet, level) as unknown as OtherPacket, { protocolVersion: level }));
  } catch {
    return undefined;
  }
}

/** The one packet the other codec reads; `undefined` where it refuses the bytes, waits for more or sees several packets. */
export function decodeWithOther(bytes: Uint8Array, level: ProtocolLevel): Packet | undefined {
  const packets: OtherPacket[] = [];
  let refused = false;
  const other = parser({ protocolVersion: level });
  other.on("packet", (packet) => packets.push(packet));
  other.on("error", () => {
    refused = true;
  });
  try {
    other.parse(buffer(bytes));
  } catch {
    refused = true;
  }
  return refused || packets.length !== 1 ? undefined : (fromOther(packets[0]!) as unknown as Packet);
}
