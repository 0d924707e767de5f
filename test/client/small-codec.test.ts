/**
 * The small client's decoder and encoder beside the broker's codec: what one writes the other reads as the same packet, and
 * what is cut short, too long or unknown is refused. What the small decoder lets pass is listed here, statement by statement.
 * A failure prints fast-check's seed and path.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MqttError } from "../../src/client/mqtt-error.ts";
import { packetCutter } from "../../src/client/packet-cutter.ts";
import { encodePacket, integer } from "../../src/client/packet-encoder.ts";
import { decodePacket, type Incoming } from "../../src/client/small/decode.ts";
import type { NumberedProperties } from "../../src/client/small/numbered-properties.ts";
import { propertyList } from "../../src/client/small/numbered-property-list.ts";
import type { Packet } from "../../src/core/codec/packet.ts";
import { PACKET_NAMES } from "../../src/core/codec/packet-type.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import { ANY_PACKET_BYTES, decodeBytes, decodeOutcome, encodeBytes } from "../codec/one-packet.ts";
import { PACKET_ARBITRARIES } from "../codec/packet-arbitrary.ts";
import { fuzzPacket } from "../fuzz/packet-fuzzer.ts";
import { Random } from "../fuzz/random.ts";

const SEED = 20_261;
const RUNS = 2_000;
const FUZZED = 200_000;
type Type = Packet["type"];
type PacketOf<Name extends Type> = Extract<Packet, { type: Name }>;

/** What a server may send to a client that asks for no QoS 2 and no enhanced authentication. */
const FROM_SERVER: readonly Type[] = ["connack", "publish", "puback", "suback", "unsuback", "pingresp", "disconnect"];

/** The one packet of `bytes`, as the client cuts and decodes it. */
function decodeBySmall(bytes: Uint8Array): Incoming {
  const packets: Incoming[] = [];
  packetCutter(ANY_PACKET_BYTES, (first, body) => packets.push(decodePacket(first, body)) > 0)(bytes);
  if (packets.length !== 1) throw new Error(`${packets.length} packets`);
  return packets[0]!;
}

/** MQTT 5.0 section 2.2.2.2. */
const NAMES: Readonly<Record<string, keyof Properties>> = {
  1: "payloadFormatIndicator",
  2: "messageExpiryInterval",
  3: "contentType",
  8: "responseTopic",
  9: "correlationData",
  11: "subscriptionIdentifiers",
  17: "sessionExpiryInterval",
  18: "assignedClientIdentifier",
  19: "serverKeepAlive",
  21: "authenticationMethod",
  22: "authenticationData",
  23: "requestProblemInformation",
  24: "willDelayInterval",
  25: "requestResponseInformation",
  26: "responseInformation",
  28: "serverReference",
  31: "reasonString",
  33: "receiveMaximum",
  34: "topicAliasMaximum",
  35: "topicAlias",
  36: "maximumQos",
  37: "retainAvailable",
  38: "userProperties",
  39: "maximumPacketSize",
  40: "wildcardSubscriptionAvailable",
  41: "subscriptionIdentifiersAvailable",
  42: "sharedSubscriptionAvailable",
};

const named = (properties: NumberedProperties): Properties =>
  Object.fromEntries(Object.entries(properties).map(([id, value]) => [NAMES[id], value]));
const numbered = (properties: Properties): NumberedProperties =>
  Object.fromEntries(Object.entries(NAMES).map(([id, name]) => [id, properties[name]]));

/** What the broker's codec knows of a packet, as the small client has it. */
function incomingOf(packet: Packet): unknown[] {
  const known = { reasonCode: 0, packetId: 0, topicName: "", payload: new Uint8Array(), properties: {}, ...packet };
  const { reasonCodes } = { reasonCodes: undefined, ...packet };
  const head = packet.type === "connack" ? Number(packet.sessionPresent) : known.packetId;
  return [head, reasonCodes?.[0] ?? known.reasonCode, known.properties, known.topicName, known.payload];
}

const shownOf = ([head, reasonCode, properties, topic, payload]: Incoming): unknown[] => [
  head,
  reasonCode,
  named(properties),
  topic,
  payload,
];

/** As a server says it to this client: one filter at a time, no QoS 2. */
function sayable(packet: Packet): Packet {
  if ("reasonCodes" in packet) return { ...packet, reasonCodes: packet.reasonCodes.slice(0, 1) } as Packet;
  if (packet.type === "publish" && packet.qos === 2) return { ...packet, qos: 1 };
  return packet;
}

describe("what the broker's codec writes, the small client reads", () => {
  test.each(FROM_SERVER)("%s", (type) => {
    fc.assert(
      fc.property(PACKET_ARBITRARIES[type](5), (packet: Packet) => {
        const said = sayable(packet);
        expect(shownOf(decodeBySmall(encodeBytes(said, 5)))).toEqual(incomingOf(said));
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });
});

test("what the small client writes of properties, the broker's codec reads", () => {
  fc.assert(
    fc.property(PACKET_ARBITRARIES.disconnect(5), PACKET_ARBITRARIES.publish(5), (...packets) => {
      const [disconnect, publish] = packets as [PacketOf<"disconnect">, PacketOf<"publish">];
      const goodbye = encodePacket(0xe0, [disconnect.reasonCode, ...propertyList(numbered(disconnect.properties))]);
      expect(decodeBytes(goodbye, 5)).toEqual(disconnect);
      const said = encodePacket(
        encodeBytes(publish, 5)[0]!,
        [
          ...integer(2, Buffer.byteLength(publish.topicName)),
          ...Buffer.from(publish.topicName),
          ...(publish.packetId ? integer(2, publish.packetId) : []),
          ...propertyList(numbered(publish.properties)),
        ],
        publish.payload,
      );
      expect(decodeBytes(said, 5)).toEqual(publish);
    }),
    { seed: SEED, numRuns: RUNS },
  );
});

/** What the small decoder leaves to the parts behind it, which refuse it. */
const LATER = [
  "MQTT-3.2.2-1",
  "MQTT-2.2.1-3",
  "MQTT-2.2.1-5",
  "MQTT-2.2.1-6",
  "MQTT-3.3.2-2",
  "MQTT-3.3.2-8",
  "MQTT-4.7.3-1",
];

/**
 * What the small client does not look at: whether a property belongs into its packet, its range, and that of reason codes;
 * U+0000 in a string; Session Present beside a refusal; DUP at QoS 0; a Response Topic that is none; a PINGRESP with a body.
 */
const NOT_SEEN = [
  "2.2.2.2",
  "MQTT-1.5.4-2",
  "MQTT-3.2.2-6",
  "MQTT-3.2.2-8",
  "MQTT-3.3.1-2",
  "MQTT-3.3.2-14",
  "MQTT-3.4.2-1",
  "MQTT-3.9.3-2",
  "MQTT-3.11.3-2",
  "MQTT-3.14.2-1",
];

const passes = ({ statement }: PeerError, type: Type): boolean =>
  LATER.includes(statement) || NOT_SEEN.includes(statement) || (type === "pingresp" && statement === "4.13.1");

/** A packet of the fuzzer, and what the broker's codec says of it; undefined where it is not one packet. */
function outcomeOf(bytes: Uint8Array): Packet | PeerError | undefined {
  try {
    return decodeOutcome(bytes, 5);
  } catch {
    return undefined;
  }
}

test("fuzzed packets of a server: refused with an MqttError, read as the same, or listed", () => {
  const random = new Random(SEED);
  const seen = { read: 0, refused: 0, passed: 0 };
  for (let i = 0; i < FUZZED; i++) {
    const { bytes } = fuzzPacket(random);
    const type = PACKET_NAMES[bytes[0]! >> 4] as Type;
    const outcome = outcomeOf(bytes);
    if (outcome === undefined) continue;
    const shown = Buffer.from(bytes).toString("hex");
    let read: Incoming;
    try {
      read = decodeBySmall(bytes);
    } catch (error) {
      if (!(error instanceof MqttError)) throw new Error(shown, { cause: error });
      // Several reason codes, or QoS 2, are none of what this client has asked for.
      if (!(outcome instanceof PeerError) && FROM_SERVER.includes(type) && !("reasonCodes" in outcome)) {
        throw new Error(`refused: ${shown}`, { cause: error });
      }
      seen.refused++;
      continue;
    }
    if (!FROM_SERVER.includes(type)) continue;
    if (!(outcome instanceof PeerError)) {
      expect(shownOf(read)).toEqual(incomingOf(outcome));
      seen.read++;
    } else if (passes(outcome, type)) seen.passed++;
    else throw new Error(`not refused, ${outcome.statement}: ${shown}`);
  }
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5_000);
}, 60_000);
