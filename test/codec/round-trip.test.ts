/**
 * Properties of the codec over arbitrary packets and bytes: what is written is read again, and bytes never do more harm
 * than a PeerError. A failure prints fast-check's seed and path.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Packet, ProtocolLevel } from "../../src/core/codec/packet.ts";
import { PacketType } from "../../src/core/codec/packet-type.ts";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import { decodeProperties, encodeProperties, type Properties } from "../../src/core/codec/property.ts";
import { type Publish, publishFirstByte } from "../../src/core/codec/publish.ts";
import {
  copyEndToEndProperties,
  decodePublishView,
  PublishView,
  writePublish,
} from "../../src/core/codec/publish-view.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { decodeUtf8, encodeUtf8 } from "../../src/core/codec/utf8.ts";
import { varintLength, Writer } from "../../src/core/codec/writer.ts";
import { decodeBytes, decodeOutcome, encodeBytes } from "./one-packet.ts";
import { anyPacket, anyPublish, PACKET_ARBITRARIES } from "./packet-arbitrary.ts";
import { concatenate, framed } from "./packet-row.ts";

const SEED = 20_260;
const LEVELS: readonly ProtocolLevel[] = [3, 4, 5];

function hold<T>(arbitrary: fc.Arbitrary<T>, holds: (value: T) => void, numRuns: number): void {
  fc.assert(fc.property(arbitrary, holds), { seed: SEED, numRuns });
}

describe.each([...LEVELS])("level %d", (level) => {
  test.each(Object.keys(PACKET_ARBITRARIES) as Packet["type"][])("%s: what is written is read again", (type) => {
    if (type === "auth" && level !== 5) return;
    hold(
      PACKET_ARBITRARIES[type](level),
      (packet) => {
        const bytes = encodeBytes(packet, level);
        expect(decodeBytes(bytes, level)).toStrictEqual(packet);
        // And the same packet has the same bytes, whatever order its properties came in.
        expect(encodeBytes(decodeBytes(bytes, level), level)).toEqual(bytes);
      },
      300,
    );
  });
});

describe("bytes", () => {
  /** Throws for anything but a packet, or the error of a peer; what was read has to be writable and readable again. */
  function digest(bytes: Uint8Array, level: ProtocolLevel): void {
    const outcome = decodeOutcome(bytes, level);
    if (outcome instanceof PeerError) {
      expect(outcome.reasonCode).toBeGreaterThanOrEqual(0x80);
      expect(outcome.statement).toMatch(/^(?:MQTT(?:311)?-)?\d+(?:\.\d+)+(?:-\d+)?$/);
      return;
    }
    expect(decodeBytes(encodeBytes(outcome, level), level)).toStrictEqual(outcome);
  }

  test("that are random, in a frame: a packet or a PeerError", () => {
    const body = fc.uint8Array({ maxLength: 60 });
    const anyLevel = fc.constantFrom(...LEVELS);
    hold(fc.tuple(fc.nat(255), body, anyLevel), ([first, bytes, level]) => digest(framed(first, bytes), level), 20_000);
  });

  test("of a packet, with bytes changed, cut out and put in: a packet or a PeerError", () => {
    const change = fc.record({ at: fc.nat(), remove: fc.nat(3), insert: fc.uint8Array({ maxLength: 3 }) });
    const arbitrary = fc.constantFrom(...LEVELS).chain((level) =>
      fc.record({
        level: fc.constant(level),
        packet: anyPacket(level),
        changes: fc.array(change, { minLength: 1, maxLength: 4 }),
        firstByte: fc.option(fc.nat(255)),
      }),
    );
    hold(
      arbitrary,
      ({ level, packet, changes, firstByte }) => {
        const bytes = encodeBytes(packet, level);
        let body: Uint8Array = bytes.subarray(1 + varintLength(bytes.length - 2));
        for (const { at, remove, insert } of changes) {
          const offset = at % (body.length + 1);
          body = concatenate(body.subarray(0, offset), insert, body.subarray(offset + remove));
        }
        digest(framed(firstByte ?? bytes[0]!, body), level);
      },
      5000,
    );
  });
});

const HOP_NAMES = ["messageExpiryInterval", "topicAlias", "subscriptionIdentifiers"] as const;

function endToEnd(properties: Properties): Properties {
  const rest = { ...properties };
  for (const name of HOP_NAMES) delete rest[name];
  return rest;
}

function viewOf(bytes: Uint8Array, level: ProtocolLevel, view = new PublishView()): PublishView {
  const bodyStart = bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1;
  decodePublishView(view, bytes[0]!, bytes, bodyStart, bytes.length, level);
  return view;
}

/** Puts together what a view has taken apart. */
function written(
  view: PublishView,
  packet: Publish,
  carried: Uint8Array,
  level: ProtocolLevel,
  bytesMax: number,
  writer: Writer,
): boolean {
  const parts = {
    properties: carried,
    propertiesStart: 0,
    propertiesEnd: carried.length,
    payload: view.bytes,
    payloadStart: view.payloadStart,
    payloadEnd: view.payloadEnd,
  };
  const hop = {
    messageExpiryInterval: view.messageExpiryInterval,
    topicAlias: view.topicAlias,
    subscriptionIdentifiers: packet.properties.subscriptionIdentifiers ?? null,
  };
  const first = publishFirstByte(view.qos, view.dup, view.retain);
  return writePublish(
    writer,
    first,
    view.packetId,
    encodeUtf8(packet.topicName),
    parts,
    level === 5 ? hop : null,
    bytesMax,
  );
}

describe.each([...LEVELS])("the three forms of PUBLISH, level %d", (level) => {
  test("a view has the fields of the decoded packet", () => {
    const view = new PublishView();
    hold(
      anyPublish(level),
      (packet) => {
        const bytes = encodeBytes(packet, level);
        viewOf(bytes, level, view);
        const { dup, qos, retain } = view;
        expect({ dup, qos, retain }).toEqual({ dup: packet.dup, qos: packet.qos, retain: packet.retain });
        expect(view.packetId).toBe(packet.packetId ?? 0);
        expect(decodeUtf8(bytes, view.topicStart, view.topicEnd)).toBe(packet.topicName);
        expect<Uint8Array>(bytes.slice(view.payloadStart, view.payloadEnd)).toEqual(packet.payload);
        const { messageExpiryInterval = -1, topicAlias = 0, subscriptionIdentifiers } = packet.properties;
        expect(view.messageExpiryInterval).toBe(messageExpiryInterval);
        expect(view.topicAlias).toBe(topicAlias);
        expect(view.hasSubscriptionIdentifier).toBe(subscriptionIdentifiers !== undefined);
        expect(view.hasHopProperties).toBe(HOP_NAMES.some((name) => packet.properties[name] !== undefined));
      },
      500,
    );
  });

  test("a packet that is written from its parts is the packet, unless it is too large by a byte", () => {
    hold(
      anyPublish(level),
      (packet) => {
        const bytes = encodeBytes(packet, level);
        const view = viewOf(bytes, level);
        const carried = copyEndToEndProperties(view);
        const writer = new Writer(1);
        writer.u8(0xee);
        expect(written(view, packet, carried, level, bytes.length - 1, writer)).toBe(false);
        expect(writer.length).toBe(1);
        expect(written(view, packet, carried, level, bytes.length, writer)).toBe(true);
        const copy = writer.view().slice(1);
        expect(copy.length).toBe(bytes.length);
        expect(decodeBytes(copy, level)).toStrictEqual(packet);
      },
      500,
    );
  });

  test("a view is refused or read exactly as the packet is, but for its Topic Name", () => {
    const arbitrary = fc.tuple(fc.nat(15), fc.uint8Array({ maxLength: 40 }));
    hold(
      arbitrary,
      ([flags, body]) => {
        const bytes = framed(0x30 | flags, concatenate(Uint8Array.of(0, 1, 0x74), body));
        const outcome = decodeOutcome(bytes, level);
        let refusal: unknown;
        try {
          viewOf(bytes, level);
        } catch (error) {
          refusal = error;
        }
        // A packet cut short is the same mistake, told in other words.
        const expected = outcome instanceof PeerError ? { reasonCode: outcome.reasonCode } : undefined;
        if (expected === undefined) expect(refusal).toBeUndefined();
        else expect(refusal).toMatchObject(expected);
      },
      3000,
    );
  });
});

interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The properties of a packet one by one, in an order that is not the encoder's. */
function shuffledProperties({ properties }: Publish, seed: number): NamedBytes[] {
  return (Object.keys(properties) as (keyof Properties)[])
    .map((name, index) => ({ name, rank: (seed + index * 7919) % 11 }))
    .sort((first, second) => first.rank - second.rank)
    .map(({ name }) => {
      const writer = new Writer();
      encodeProperties(writer, { [name]: properties[name] });
      return { name, bytes: writer.view().slice(writer.length <= 128 ? 1 : 2) };
    });
}

/** A PUBLISH of MQTT 5.0 with these properties in place of its own. */
function publishBytes({ qos, dup, retain, topicName, packetId, payload }: Publish, properties: readonly NamedBytes[]) {
  const topic = encodeUtf8(topicName);
  const head = Uint8Array.of(topic.length >> 8, topic.length & 0xff, ...topic);
  const id = qos > 0 ? Uint8Array.of(packetId! >> 8, packetId! & 0xff) : new Uint8Array(0);
  const list = framed(0, ...properties.map(({ bytes }) => bytes)).subarray(1);
  return framed(publishFirstByte(qos, dup, retain), head, id, list, payload);
}

test("the end-to-end properties are the list without those of the hop, byte for byte, in the order they came in", () => {
  hold(
    fc.tuple(anyPublish(5), fc.nat(1000)),
    ([packet, seed]) => {
      const properties = shuffledProperties(packet, seed);
      const view = viewOf(publishBytes(packet, properties), 5);
      const carried = properties.filter(({ name }) => !HOP_NAMES.some((hopName) => hopName === name));
      const kept = copyEndToEndProperties(view);
      expect(kept).toEqual(concatenate(...carried.map(({ bytes }) => bytes)));
      const reader = new Reader(framed(0, kept).subarray(1));
      expect(decodeProperties(reader, PacketType.PUBLISH)).toEqual(endToEnd(packet.properties));
    },
    1000,
  );
});

test("a Message Expiry Interval of 0 is written like any other, and -1 is none", () => {
  const nothing = new Uint8Array(0);
  const parts = {
    properties: nothing,
    propertiesStart: 0,
    propertiesEnd: 0,
    payload: nothing,
    payloadStart: 0,
    payloadEnd: 0,
  };
  const topic = encodeUtf8("t");
  for (const [messageExpiryInterval, properties] of [
    [0, { messageExpiryInterval: 0 }],
    [-1, {}],
  ] as const) {
    const writer = new Writer();
    const hop = { messageExpiryInterval, topicAlias: 0, subscriptionIdentifiers: null };
    expect(writePublish(writer, publishFirstByte(0, false, false), 0, topic, parts, hop, 100)).toBe(true);
    expect(decodeBytes(writer.view(), 5)).toMatchObject({ topicName: "t", properties });
  }
});
