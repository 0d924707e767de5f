/**
 * The client's decoder and encoder beside the broker's codec: what one writes the other reads as the same packet, and what
 * the broker's decoder refuses of a server's packet the client's refuses too. A failure prints fast-check's seed and path.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { connectPacket } from "../../src/client/connect.ts";
import { createEngine } from "../../src/client/engine.ts";
import type { Incoming } from "../../src/client/incoming.ts";
import { MqttError } from "../../src/client/mqtt-error.ts";
import type { Ask } from "../../src/client/outbound.ts";
import { packetCutter } from "../../src/client/packet-cutter.ts";
import { decodePacket } from "../../src/client/packet-decoder.ts";
import { acknowledgement, encodePacket } from "../../src/client/packet-encoder.ts";
import { propertyList } from "../../src/client/property-list.ts";
import { createPublish } from "../../src/client/publish.ts";
import { createSubscribe } from "../../src/client/subscribe.ts";
import type { Packet } from "../../src/core/codec/packet.ts";
import { AUTH, DISCONNECT, PACKET_NAMES, PacketType } from "../../src/core/codec/packet-type.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import { ANY_PACKET_BYTES, decodeBytes, decodeOutcome, encodeBytes } from "../codec/one-packet.ts";
import { PACKET_ARBITRARIES } from "../codec/packet-arbitrary.ts";
import { fuzzPacket } from "../fuzz/packet-fuzzer.ts";
import { Random } from "../fuzz/random.ts";

const SEED = 20_260;
const RUNS = 2_000;
const FUZZED = 150_000;
const LEVELS = [4, 5] as const;
type Level = (typeof LEVELS)[number];
type Type = Packet["type"];

const FROM_SERVER: readonly Type[] = [
  "connack",
  "publish",
  "puback",
  "pubrec",
  "pubrel",
  "pubcomp",
  "suback",
  "unsuback",
  "pingresp",
  "disconnect",
  "auth",
];
const FROM_CLIENT: readonly Type[] = [
  "connect",
  "publish",
  "puback",
  "pubrec",
  "pubrel",
  "pubcomp",
  "subscribe",
  "unsubscribe",
  "disconnect",
  "auth",
];

const SUCCESS = { reasonCode: 0, properties: {} };

const exists = (type: Type, level: Level): boolean => type !== "auth" || level === 5;
const cases = (types: readonly Type[]) =>
  LEVELS.flatMap((level) => types.filter((type) => exists(type, level)).map((type) => [type, level] as const));

function hold(type: Type, level: Level, holds: (packet: Packet) => void): void {
  fc.assert(fc.property(PACKET_ARBITRARIES[type](level), holds), { seed: SEED, numRuns: RUNS });
}

/** The one packet of `bytes`, as the client cuts and decodes it when it comes in pieces of this size. */
function decodeByClient(bytes: Uint8Array, level: Level, pieceBytes = bytes.length): Incoming {
  const packets: Incoming[] = [];
  const cut = packetCutter(ANY_PACKET_BYTES, (first, body) => packets.push(decodePacket(first, body, level)) > 0);
  for (let at = 0; at < bytes.length; at += pieceBytes) cut(bytes.slice(at, at + pieceBytes));
  if (packets.length !== 1) throw new Error(`${packets.length} packets`);
  return packets[0]!;
}

/** What the client has to know of a packet that the broker's codec knows as `packet`. */
function expectedOf(packet: Packet): Partial<Incoming> {
  const { reasonCodes, ...fields } = { reasonCodes: undefined, ...packet };
  const known: Record<string, unknown> = { ...fields, type: PACKET_NAMES.indexOf(packet.type) };
  if (reasonCodes !== undefined) known["reasonCode"] = (reasonCodes as number[])[0] ?? 0;
  if (packet.type === "publish") {
    const { topicName: topic, payload: bytes } = packet;
    Object.assign(known, { topic, bytes });
    for (const name of ["topicName", "payload"]) delete known[name];
  }
  return known;
}

const hasOneReasonCode = (packet: Packet): boolean =>
  packet.type !== "suback" && packet.type !== "unsuback" ? true : packet.reasonCodes.length === 1;

describe("what the broker's codec writes, the client reads", () => {
  test.each(cases(FROM_SERVER))("%s, level %d", (type, level) => {
    hold(type, level, (packet) => {
      const one = { ...packet };
      if ("reasonCodes" in one) one.reasonCodes = one.reasonCodes.slice(0, 1);
      const bytes = encodeBytes(one, level);
      expect(decodeByClient(bytes, level)).toMatchObject(expectedOf(one));
    });
  });

  test("in pieces of any size", () => {
    const pieces = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(PACKET_ARBITRARIES.publish(5), pieces, (packet, pieceBytes) => {
        const bytes = encodeBytes(packet, 5);
        expect(decodeByClient(bytes, 5, pieceBytes)).toEqual(decodeByClient(bytes, 5));
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });
});

/** What the client sends to say `packet`, as far as a client says such a thing. */
function encodeByClient(packet: Packet, level: Level): Uint8Array {
  const engine = createEngine({ protocolLevel: level });
  engine.properties = {};
  let written = new Uint8Array();
  const answer =
    (wanted: string, { packetId = 0, dup = false }): Ask =>
    (name, _awaits, _wait, encode) => {
      if (name === wanted) written = new Uint8Array(encode(packetId, dup));
      return Promise.resolve(SUCCESS);
    };
  switch (packet.type) {
    case "connect": {
      const { will, clientId, keepAlive, username, password, properties, cleanStart } = packet;
      const options = { keepAlive, cleanStart, properties: bare(properties, level) };
      const login = { ...(username === undefined ? {} : { username }), ...(password ? { password } : {}) };
      const farewell = will ? { will: { ...will, topic: will.topicName } } : {};
      return connectPacket({ ...engine, clientId }, { ...options, ...login, ...farewell });
    }
    case "publish": {
      const { topicName, payload, packetId = 0, dup, ...options } = packet;
      engine.ask = answer("publish", { packetId, dup });
      createPublish(engine, {});
      void engine.publish(topicName, payload, options);
      return written;
    }
    case "subscribe":
    case "unsubscribe": {
      const filter = packet.type === "subscribe" ? packet.filters[0]!.topicFilter : packet.topicFilters[0]!;
      const options = packet.type === "subscribe" ? { ...packet.filters[0]!, properties: packet.properties } : {};
      engine.ask = answer(packet.type, { packetId: packet.packetId });
      engine.lastIdentifier = (packet.properties.subscriptionIdentifiers?.[0] ?? 1) - 1;
      engine.claim = () => {};
      createSubscribe(engine);
      void engine.subscribe(filter, options);
      // The subscription is granted at once, and left where that is what is to be seen.
      for (const reader of engine.readers) if (packet.type === "unsubscribe") void reader.unsubscribe();
      return written;
    }
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp": {
      const firstByte = (PACKET_NAMES.indexOf(packet.type) << 4) | (packet.type === "pubrel" ? 2 : 0);
      return acknowledgement(level, firstByte, packet.packetId, packet.reasonCode);
    }
    case "disconnect":
      return encodePacket(
        DISCONNECT << 4,
        level === 5 ? [packet.reasonCode, ...propertyList(level, packet.properties)] : [],
      );
    case "auth":
      return encodePacket(AUTH << 4, [packet.reasonCode, ...propertyList(level, packet.properties)]);
    default:
      throw new Error(`a client does not send ${packet.type}`);
  }
}

/** What the client always says in CONNECT, said by `properties` too. */
const bare = (properties: Properties, level: Level): Properties =>
  level === 5
    ? {
        sessionExpiryInterval: 300,
        receiveMaximum: 64,
        maximumPacketSize: 2 ** 20,
        topicAliasMaximum: 16,
        ...properties,
      }
    : {};

/** A packet as the client can say it: one filter, no properties in what only acknowledges. */
function sayable(packet: Packet, level: Level): Packet {
  switch (packet.type) {
    case "connect":
      return { ...packet, properties: bare(packet.properties, level) };
    case "publish":
      return /^$|[+#]/.test(packet.topicName) ? { ...packet, topicName: "a" } : packet;
    case "subscribe": {
      const { properties } = packet;
      const subscriptionIdentifiers = properties.subscriptionIdentifiers ?? [1];
      return {
        ...packet,
        filters: packet.filters.slice(0, 1),
        properties: level === 5 ? { ...properties, subscriptionIdentifiers } : {},
      };
    }
    case "unsubscribe":
      return { ...packet, topicFilters: packet.topicFilters.slice(0, 1), properties: {} };
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return { ...packet, properties: {} };
    default:
      return packet;
  }
}

describe("what the client writes, the broker's codec reads", () => {
  test.each(cases(FROM_CLIENT))("%s, level %d", (type, level) => {
    hold(type, level, (packet) => {
      const said = sayable(packet, level);
      expect(decodeBytes(encodeByClient(said, level), level)).toEqual(said);
    });
  });

  test.each(["\0", "\ud800", "x".repeat(65_536)])(
    "a Topic Name that cannot travel is refused: case %#",
    async (topic) => {
      const engine = createEngine({});
      engine.properties = {};
      engine.ask = async (_name, _awaits, _wait, write) => {
        write(0, false);
        return SUCCESS;
      };
      createPublish(engine, {});
      await expect(engine.publish(topic, "")).rejects.toMatchObject({ code: 0x81 });
    },
  );
});

/**
 * The statements whose breach the client lets pass: it has no table of reason codes. Whoever waits is told the number, and
 * from 0x80 on it is an error.
 */
const REASON_CODES = [
  "MQTT-3.2.2-8",
  "MQTT-3.4.2-1",
  "MQTT-3.5.2-1",
  "MQTT-3.6.2-1",
  "MQTT-3.7.2-1",
  "MQTT-3.9.3-2",
  "MQTT-3.11.3-2",
  "MQTT-3.14.2-1",
  "MQTT-3.15.2-1",
];

test("fuzzed packets of a server: refused by both, or read as the same", () => {
  const random = new Random(SEED);
  const seen = { read: 0, refused: 0, strict: 0 };
  for (let i = 0; i < FUZZED; i++) {
    const { level, bytes } = fuzzPacket(random);
    const type = PACKET_NAMES[bytes[0]! >> 4] as Type;
    if (level === 3 || !FROM_SERVER.includes(type) || !exists(type, level)) continue;
    let outcome: Packet | PeerError;
    try {
      outcome = decodeOutcome(bytes, level);
    } catch {
      continue; // not one packet
    }
    let read: Incoming | undefined;
    let refusal: unknown;
    try {
      read = decodeByClient(bytes, level);
    } catch (error) {
      refusal = error;
    }
    const shown = `level ${level} ${Buffer.from(bytes).toString("hex")}`;
    if (outcome instanceof PeerError) {
      if (REASON_CODES.includes(outcome.statement)) continue;
      // Ill-formed UTF-8 is the platform's TypeError, and told as malformed.
      if (!(refusal instanceof MqttError || refusal instanceof TypeError)) throw new Error(`not refused: ${shown}`);
      seen.refused++;
    } else if (refusal) {
      if (hasOneReasonCode(outcome)) throw new Error(`refused: ${shown}`, { cause: refusal });
      seen.strict++;
    } else {
      expect(read).toMatchObject(expectedOf(outcome));
      seen.read++;
    }
  }
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(500);
}, 60_000);

test("every type that a server sends is among them", () => {
  expect(FROM_SERVER.map((type) => PacketType[type.toUpperCase() as keyof typeof PacketType])).toEqual([
    2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15,
  ]);
});
