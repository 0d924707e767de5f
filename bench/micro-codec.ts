/**
 * Micro-benchmarks of the codec: PUBLISH in and out, and the framer that cuts the stream (MQTT 5.0 sections 2.1 and 3.3).
 */
import { Framer } from "../src/core/codec/framer.ts";
import { encodePacket, type ProtocolLevel, type QoS } from "../src/core/codec/packet.ts";
import type { Properties } from "../src/core/codec/property.ts";
import { writePuback } from "../src/core/codec/puback.ts";
import { decodePublish, publishFirstByte } from "../src/core/codec/publish.ts";
import {
  decodePublishView,
  type HopProperties,
  type PublishParts,
  PublishView,
  writePublish,
} from "../src/core/codec/publish-view.ts";
import { Reader } from "../src/core/codec/reader.ts";
import { encodeUtf8 } from "../src/core/codec/utf8.ts";
import { Writer } from "../src/core/codec/writer.ts";
import type { TimeBenchmark, Timed } from "./micro-measure.ts";

const TOPIC_NAME = "bench/codec/0";
const PACKETS = 1000;
const PACKET_BYTES_MAX = 2 * 1024 * 1024;
const PROPERTIES: Properties = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: 3600,
  contentType: "application/json",
  responseTopic: "bench/answers/0",
  correlationData: new Uint8Array(16),
  userProperties: [
    ["trace", "0123456789abcdef"],
    ["unit", "celsius"],
  ],
};

function publishBytes(level: ProtocolLevel, qos: QoS, properties: Properties, payloadBytes: number): Uint8Array {
  const writer = new Writer();
  const base = { type: "publish", dup: false, qos, retain: false, topicName: TOPIC_NAME } as const;
  encodePacket(writer, { ...base, packetId: 7, payload: new Uint8Array(payloadBytes), properties }, level);
  return writer.view().slice();
}

/** Packets one behind the other, and where each begins. */
function repeated(packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(packet.length * PACKETS);
  for (let n = 0; n < PACKETS; n++) bytes.set(packet, n * packet.length);
  return bytes;
}

function decodesView(level: ProtocolLevel, qos: QoS, properties: Properties): Timed {
  const packet = publishBytes(level, qos, properties, 16);
  const bytes = repeated(packet);
  const view = new PublishView();
  const bodyAt = packet.length < 130 ? 2 : 3;
  return {
    operationsPerStep: PACKETS,
    expected: 16 * PACKETS,
    step() {
      let payloadBytes = 0;
      for (let at = 0; at < bytes.length; at += packet.length) {
        decodePublishView(view, bytes[at], bytes, at + bodyAt, at + packet.length, level);
        payloadBytes += view.payloadEnd - view.payloadStart;
      }
      return payloadBytes;
    },
  };
}

function decodesObject(level: ProtocolLevel, properties: Properties): Timed {
  const packet = publishBytes(level, 1, properties, 16);
  const bytes = repeated(packet);
  const reader = new Reader();
  const bodyAt = packet.length < 130 ? 2 : 3;
  return {
    operationsPerStep: PACKETS,
    expected: (16 + TOPIC_NAME.length) * PACKETS,
    step() {
      let length = 0;
      for (let at = 0; at < bytes.length; at += packet.length) {
        reader.bind(bytes, at + bodyAt, at + packet.length);
        const { payload, topicName } = decodePublish(reader, bytes[at] & 0x0f, level);
        length += payload.length + topicName.length;
      }
      return length;
    },
  };
}

function encodes(level: ProtocolLevel, qos: QoS, payloadBytes: number, hop: HopProperties | null): Timed {
  const writer = new Writer(PACKETS * (payloadBytes + 64));
  const topicBytes = encodeUtf8(TOPIC_NAME);
  const properties = hop === null ? new Uint8Array(0) : CONTENT_TYPE;
  const parts: PublishParts = {
    properties,
    propertiesStart: 0,
    propertiesEnd: properties.length,
    payload: new Uint8Array(payloadBytes),
    payloadStart: 0,
    payloadEnd: payloadBytes,
  };
  const noProperties: HopProperties = { messageExpiryInterval: -1, topicAlias: 0, subscriptionIdentifiers: null };
  const hopOfLevel = level === 5 ? (hop ?? noProperties) : null;
  const firstByte = publishFirstByte(qos, false, false);
  writePublish(writer, firstByte, 1, topicBytes, parts, hopOfLevel, PACKET_BYTES_MAX);
  const packetBytes = writer.length;
  return {
    operationsPerStep: PACKETS,
    expected: packetBytes * PACKETS,
    step() {
      writer.clear();
      for (let packetId = 1; packetId <= PACKETS; packetId++) {
        writePublish(writer, firstByte, packetId, topicBytes, parts, hopOfLevel, PACKET_BYTES_MAX);
      }
      return writer.length;
    },
  };
}

function encodesPuback(): Timed {
  const writer = new Writer(PACKETS * 4);
  return {
    operationsPerStep: PACKETS,
    expected: PACKETS * 4,
    step() {
      writer.clear();
      for (let packetId = 1; packetId <= PACKETS; packetId++) writePuback(writer, packetId);
      return writer.length;
    },
  };
}

/** Cuts the same packets, given in chunks of `chunkBytes`. */
function frames(packet: Uint8Array, chunkBytes: number): Timed {
  const bytes = repeated(packet);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) chunks.push(bytes.subarray(at, at + chunkBytes));
  const framer = new Framer(PACKET_BYTES_MAX);
  return {
    operationsPerStep: PACKETS,
    expected: bytes.length,
    step() {
      let length = 0;
      for (const chunk of chunks) {
        framer.feed(chunk);
        while (framer.next()) length += framer.bodyEnd - framer.packetStart;
      }
      return length;
    },
  };
}

/** A property list as it is carried from publisher to receiver: id, length, text. */
const CONTENT_TYPE = Uint8Array.of(0x03, 0, 16, ...encodeUtf8("application/json"));
const SMALL = publishBytes(4, 1, {}, 16);
const ALL_HOP: HopProperties = { messageExpiryInterval: 60, topicAlias: 3, subscriptionIdentifiers: [1, 300] };

function timed(name: string, prepare: () => Timed): TimeBenchmark {
  return { name, unit: "packet", prepare };
}

export const CODEC_BENCHMARKS: readonly TimeBenchmark[] = [
  timed("decode/v4-qos0", () => decodesView(4, 0, {})),
  timed("decode/v4-qos1", () => decodesView(4, 1, {})),
  timed("decode/v5-qos1", () => decodesView(5, 1, {})),
  timed("decode/v5-properties", () => decodesView(5, 1, PROPERTIES)),
  timed("decode/v4-object", () => decodesObject(4, {})),
  timed("decode/v5-object-properties", () => decodesObject(5, PROPERTIES)),
  timed("encode/v4-qos0", () => encodes(4, 0, 16, null)),
  timed("encode/v4-qos1", () => encodes(4, 1, 16, null)),
  timed("encode/v5-qos1", () => encodes(5, 1, 16, null)),
  timed("encode/v5-properties", () => encodes(5, 1, 16, ALL_HOP)),
  timed("encode/v4-qos1-1k", () => encodes(4, 1, 1024, null)),
  timed("encode/puback", encodesPuback),
  timed("framer/whole", () => frames(SMALL, SMALL.length)),
  timed("framer/thousand-per-chunk", () => frames(SMALL, SMALL.length * PACKETS)),
  timed("framer/byte-by-byte", () => frames(SMALL, 1)),
  timed("framer/16k-in-1460s", () => frames(publishBytes(4, 1, {}, 16_384), 1460)),
];
