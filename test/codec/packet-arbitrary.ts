/** Arbitraries of every packet type at each protocol level, for property-based tests: whatever the codec must carry. */
import fc from "fast-check";
import type { Packet, ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import {
  PROPERTIES,
  type Properties,
  type PropertyDefinition,
  WILL_PROPERTIES,
} from "../../src/core/codec/property.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { REASON_CODES } from "../../src/core/codec/reason-code-name.ts";

type Of<T extends Packet["type"]> = Extract<Packet, { type: T }>;

/** Any text that may stand in a UTF-8 Encoded String, U+FEFF at its start included. */
const text: fc.Arbitrary<string> = fc
  .tuple(fc.constantFrom("", "", "", "\u{feff}"), fc.string({ unit: "binary", maxLength: 24 }))
  .map(([front, rest]) => (front + rest).replaceAll("\0", "\u{1f600}"));

const topicName = text.map((name) => name.replaceAll(/[+#]/gu, "/") || "/");
const topicFilter = fc.oneof(text, fc.constantFrom("#", "+", "a/+/b", "$share/g/a/#"));
const data = fc.uint8Array({ maxLength: 40 });
const packetId = fc.integer({ min: 1, max: 0xffff });
const qos = fc.constantFrom<QoS>(0, 1, 2);

const TYPE_MAX = { byte: 0xff, u16: 0xffff, u32: 0xffffffff, varint: 268_435_455 } as const;

function propertyValue({ name, type, min, max }: PropertyDefinition): fc.Arbitrary<unknown> {
  if (name === "responseTopic") return topicName;
  switch (type) {
    case "string":
      return text;
    case "binary":
      return data;
    case "pair":
      return fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 });
    case "varint":
      return fc.array(fc.integer({ min, max }), { minLength: 1, maxLength: 1 });
    default:
      return fc.integer({ min, max: Math.min(max, TYPE_MAX[type]) });
  }
}

/** Any properties that a packet may carry; none before MQTT 5.0. */
function propertiesOf(packetType: number, level: ProtocolLevel): fc.Arbitrary<Properties> {
  if (level !== 5) return fc.constant({});
  const allowed = PROPERTIES.filter(({ packets }) => (packets & (1 << packetType)) !== 0);
  const values = Object.fromEntries(
    allowed.map((definition) => [
      definition.name,
      definition.name === "subscriptionIdentifiers" && packetType === PacketType.PUBLISH
        ? fc.array(fc.integer({ min: 1, max: TYPE_MAX.varint }), { minLength: 1, maxLength: 4 })
        : propertyValue(definition),
    ]),
  );
  return fc.record(values, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Properties>;
}

function reasonCodeOf(packetType: number): fc.Arbitrary<number> {
  const codes = REASON_CODES.filter(({ packets }) => (packets & (1 << packetType)) !== 0);
  return fc.constantFrom(...codes.map(({ code }) => code));
}

/** Leaves a key out where its value is `undefined`, as the decoder does. */
const present = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;

const connectProperties = (level: ProtocolLevel): fc.Arbitrary<Properties> =>
  propertiesOf(PacketType.CONNECT, level).map((properties) =>
    properties.authenticationData !== undefined && properties.authenticationMethod === undefined
      ? { ...properties, authenticationMethod: "" }
      : properties,
  );

const connect = (level: ProtocolLevel): fc.Arbitrary<Packet> =>
  fc
    .record({
      type: fc.constant("connect" as const),
      protocolLevel: fc.constant(level),
      cleanStart: fc.boolean(),
      keepAlive: fc.nat(0xffff),
      clientId: text,
      will: fc.option(
        fc.record(
          { topicName, payload: data, qos, retain: fc.boolean(), properties: propertiesOf(WILL_PROPERTIES, level) },
          { noNullPrototype: true },
        ),
        { nil: undefined },
      ),
      username: fc.option(text, { nil: undefined }),
      password: fc.option(data, { nil: undefined }),
      properties: connectProperties(level),
    })
    // Before MQTT 5.0 there is no password without a user name.
    .map((packet) => (level !== 5 && packet.username === undefined ? { ...packet, password: undefined } : packet))
    .map(present) as fc.Arbitrary<Packet>;

const connack = (level: ProtocolLevel): fc.Arbitrary<Packet> =>
  fc
    .record({
      sessionPresent: fc.boolean(),
      reasonCode: level === 5 ? reasonCodeOf(PacketType.CONNACK) : fc.nat(5),
      properties: propertiesOf(PacketType.CONNACK, level),
    })
    .map(
      ({ sessionPresent, reasonCode, properties }): Of<"connack"> => ({
        type: "connack",
        sessionPresent: sessionPresent && reasonCode === 0 && level !== 3,
        reasonCode,
        properties,
      }),
    );

/** Any PUBLISH: an empty Topic Name only with an alias. */
export const anyPublish = (level: ProtocolLevel): fc.Arbitrary<Publish> =>
  fc
    .record({
      dup: fc.boolean(),
      qos,
      retain: fc.boolean(),
      aliasOnly: fc.boolean(),
      topicName,
      packetId,
      payload: fc.uint8Array({ maxLength: 300 }),
      properties: propertiesOf(PacketType.PUBLISH, level),
    })
    .map((fields): Publish => {
      const { aliasOnly, properties, payload, retain } = fields;
      return {
        type: "publish",
        dup: fields.dup && fields.qos > 0,
        qos: fields.qos,
        retain,
        topicName: aliasOnly && properties.topicAlias !== undefined ? "" : fields.topicName,
        payload,
        properties,
        ...(fields.qos > 0 ? { packetId: fields.packetId } : {}),
      };
    });

const acknowledgement =
  <T extends "puback" | "pubrec" | "pubrel" | "pubcomp">(type: T, packetType: number) =>
  (level: ProtocolLevel): fc.Arbitrary<Packet> =>
    fc
      .record({
        packetId,
        reasonCode: level === 5 ? reasonCodeOf(packetType) : fc.constant(0),
        properties: propertiesOf(packetType, level),
      })
      .map((fields) => ({ type, ...fields }) as Packet);

const subscribe = (level: ProtocolLevel): fc.Arbitrary<Packet> => {
  const filter = fc.record(
    {
      topicFilter,
      qos,
      noLocal: level === 5 ? fc.boolean() : fc.constant(false),
      retainAsPublished: level === 5 ? fc.boolean() : fc.constant(false),
      retainHandling: level === 5 ? fc.constantFrom<0 | 1 | 2>(0, 1, 2) : fc.constant<0>(0),
    },
    { noNullPrototype: true },
  );
  return fc
    .record({
      packetId,
      filters: fc.array(filter, { minLength: 1, maxLength: 5 }),
      properties: propertiesOf(PacketType.SUBSCRIBE, level),
    })
    .map((fields): Of<"subscribe"> => ({ type: "subscribe", ...fields }));
};

const suback = (level: ProtocolLevel): fc.Arbitrary<Packet> =>
  fc
    .record({
      packetId,
      reasonCodes: fc.array(level === 5 ? reasonCodeOf(PacketType.SUBACK) : fc.constantFrom(0, 1, 2, 0x80), {
        minLength: 1,
        maxLength: 8,
      }),
      properties: propertiesOf(PacketType.SUBACK, level),
    })
    .map((fields): Of<"suback"> => ({ type: "suback", ...fields }));

const unsubscribe = (level: ProtocolLevel): fc.Arbitrary<Packet> =>
  fc
    .record({
      packetId,
      topicFilters: fc.array(topicFilter, { minLength: 1, maxLength: 5 }),
      properties: propertiesOf(PacketType.UNSUBSCRIBE, level),
    })
    .map((fields): Of<"unsubscribe"> => ({ type: "unsubscribe", ...fields }));

const unsuback = (level: ProtocolLevel): fc.Arbitrary<Packet> =>
  fc
    .record({
      packetId,
      reasonCodes:
        level === 5
          ? fc.array(reasonCodeOf(PacketType.UNSUBACK), { minLength: 1, maxLength: 8 })
          : fc.constant<number[]>([]),
      properties: propertiesOf(PacketType.UNSUBACK, level),
    })
    .map((fields): Of<"unsuback"> => ({ type: "unsuback", ...fields }));

const ending =
  (type: "disconnect" | "auth", packetType: number) =>
  (level: ProtocolLevel): fc.Arbitrary<Packet> =>
    fc
      .record({
        reasonCode: level === 5 ? reasonCodeOf(packetType) : fc.constant(0),
        properties: propertiesOf(packetType, level),
      })
      .map((fields) => ({ type, ...fields }));

/** Any packet of a type, as the decoder would answer it. */
export const PACKET_ARBITRARIES: Readonly<Record<Packet["type"], (level: ProtocolLevel) => fc.Arbitrary<Packet>>> = {
  connect,
  connack,
  publish: anyPublish,
  puback: acknowledgement("puback", PacketType.PUBACK),
  pubrec: acknowledgement("pubrec", PacketType.PUBREC),
  pubrel: acknowledgement("pubrel", PacketType.PUBREL),
  pubcomp: acknowledgement("pubcomp", PacketType.PUBCOMP),
  subscribe,
  suback,
  unsubscribe,
  unsuback,
  pingreq: () => fc.constant({ type: "pingreq" }),
  pingresp: () => fc.constant({ type: "pingresp" }),
  disconnect: ending("disconnect", PacketType.DISCONNECT),
  auth: ending("auth", PacketType.AUTH),
};

/** Any packet that exists at a level. */
export const anyPacket = (level: ProtocolLevel): fc.Arbitrary<Packet> =>
  fc.oneof(
    ...Object.entries(PACKET_ARBITRARIES)
      .filter(([type]) => type !== "auth" || level === 5)
      .map(([, arbitrary]) => arbitrary(level)),
  );
