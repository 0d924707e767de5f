/**
 * PUBLISH (MQTT 5.0 section 3.3) as the broker handles it: a view over the bytes as they arrived (`PublishView`), and a writer
 * that assembles the packet from parts (`writePublish`). As an object it is in publish.ts; the two agree on every packet.
 */
import type { ProtocolLevel, QoS } from "./packet.ts";
import { PacketType } from "./packet-type.ts";
import { malformed, protocolError } from "./peer-error.ts";
import { readPropertyId, readPropertyNumber, SeenProperties } from "./property.ts";
import { Reader } from "./reader.ts";
import { checkUtf8 } from "./utf8.ts";
import { LOOP_COPY_BYTES_MAX, varintLength, type Writer } from "./writer.ts";

const NOTHING = new Uint8Array(0);
const DUP = 0x08;
const RETAIN = 0x01;

/** Ids that belong to one hop and are not carried over as they came. */
const MESSAGE_EXPIRY_INTERVAL = 0x02;
const RESPONSE_TOPIC = 0x08;
const SUBSCRIPTION_IDENTIFIER = 0x0b;
const TOPIC_ALIAS = 0x23;

/**
 * A decoded PUBLISH as offsets into the bytes it arrived in; reused from packet to packet.
 * Invariant: packetStart <= topicStart <= topicEnd <= propertiesStart <= propertiesEnd <= payloadStart <= payloadEnd.
 */
export class PublishView {
  bytes: Uint8Array = NOTHING;
  dup = false;
  qos: QoS = 0;
  retain = false;
  packetId = 0;
  topicStart = 0;
  topicEnd = 0;
  /** The property list without its length; empty before MQTT 5.0. */
  propertiesStart = 0;
  propertiesEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** Seconds; -1 where absent. */
  messageExpiryInterval = -1;
  /** 0 where absent. */
  topicAlias = 0;
  hasSubscriptionIdentifier = false;
  readonly reader = new Reader();
  readonly seen = new SeenProperties();

  /** Whether the property list has something in it that belongs to this hop only. */
  get hasHopProperties(): boolean {
    return this.messageExpiryInterval >= 0 || this.topicAlias !== 0 || this.hasSubscriptionIdentifier;
  }
}

/** Decodes bytes[bodyStart, bodyEnd) into `view`. The Topic Name is delimited, not yet checked. */
export function decodePublishView(
  view: PublishView,
  firstByte: number,
  bytes: Uint8Array,
  bodyStart: number,
  bodyEnd: number,
  level: ProtocolLevel,
): void {
  const qos = (firstByte >> 1) & 0x03;
  if (qos === 3) throw malformed("MQTT-3.3.1-4", "QoS 3 in PUBLISH");
  view.bytes = bytes;
  view.dup = (firstByte & DUP) !== 0;
  view.qos = qos as QoS;
  view.retain = (firstByte & RETAIN) !== 0;
  if (qos === 0 && view.dup) throw malformed("MQTT-3.3.1-2", "DUP at QoS 0");
  let at = bodyStart + 2;
  if (at > bodyEnd) throw malformed("MQTT-3.3.2-1", "PUBLISH without a Topic Name");
  const topicEnd = at + ((bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!);
  view.topicStart = at;
  view.topicEnd = topicEnd;
  at = topicEnd;
  if (qos > 0) {
    if (at + 2 > bodyEnd) throw malformed("MQTT-3.3.2-1", "PUBLISH ends within its Topic Name or Packet Identifier");
    view.packetId = (bytes[at]! << 8) | bytes[at + 1]!;
    if (view.packetId === 0) throw protocolError("MQTT-2.2.1-3", "Packet Identifier 0 in PUBLISH");
    at += 2;
  } else {
    if (at > bodyEnd) throw malformed("MQTT-3.3.2-1", "PUBLISH ends within its Topic Name");
    view.packetId = 0;
  }
  view.messageExpiryInterval = -1;
  view.topicAlias = 0;
  view.hasSubscriptionIdentifier = false;
  if (level === 5) {
    if (at < bodyEnd && bytes[at] === 0) {
      at += 1;
      view.propertiesStart = at;
    } else {
      at = scanProperties(view, at, bodyEnd);
    }
  } else {
    view.propertiesStart = at;
  }
  view.propertiesEnd = at;
  view.payloadStart = at;
  view.payloadEnd = bodyEnd;
}

/** Checks every property and notes the ones the broker acts on, without building any; answers where the list ends. */
function scanProperties(view: PublishView, start: number, bodyEnd: number): number {
  const { reader, seen } = view;
  reader.bind(view.bytes, start, bodyEnd);
  const length = reader.varint();
  if (length > reader.remaining)
    throw malformed("2.2.2.1", `Property Length ${length}, ${reader.remaining} bytes left`);
  view.propertiesStart = reader.offset;
  reader.end = reader.offset + length;
  seen.reset();
  while (reader.offset < reader.end) {
    const definition = readPropertyId(reader, PacketType.PUBLISH, seen);
    if (definition.type === "pair") {
      skipString(reader);
      skipString(reader);
    } else if (definition.type === "string") {
      const from = reader.offset + 2;
      skipString(reader);
      if (definition.id === RESPONSE_TOPIC) checkResponseTopic(view.bytes, from, reader.offset);
    } else if (definition.type === "binary") {
      reader.skipBinary();
    } else {
      const value = readPropertyNumber(reader, definition);
      if (definition.id === MESSAGE_EXPIRY_INTERVAL) view.messageExpiryInterval = value;
      else if (definition.id === TOPIC_ALIAS) view.topicAlias = value;
      else if (definition.id === SUBSCRIPTION_IDENTIFIER) view.hasSubscriptionIdentifier = true;
    }
  }
  return reader.end;
}

/** Passes over a UTF-8 Encoded String after checking it. */
export function skipString(reader: Reader): void {
  const start = reader.offset + 2;
  reader.skipBinary();
  checkUtf8(reader.bytes, start, reader.offset);
}

/** [MQTT-3.3.2-14] */
function checkResponseTopic(bytes: Uint8Array, start: number, end: number): void {
  for (let at = start; at < end; at++) {
    if (bytes[at] === 0x23 || bytes[at] === 0x2b) throw protocolError("MQTT-3.3.2-14", "wildcard in a Response Topic");
  }
}

/** The view's property list without the properties of the hop, as bytes of its own. */
export function copyEndToEndProperties(view: PublishView): Uint8Array {
  const { reader, seen, bytes } = view;
  const kept = new Uint8Array(view.propertiesEnd - view.propertiesStart);
  let length = 0;
  reader.bind(bytes, view.propertiesStart, view.propertiesEnd);
  seen.reset();
  while (reader.offset < reader.end) {
    const from = reader.offset;
    const { id, type } = readPropertyId(reader, PacketType.PUBLISH, seen);
    if (type === "byte") reader.offset += 1;
    else if (type === "u16") reader.offset += 2;
    else if (type === "u32") reader.offset += 4;
    else if (type === "varint") reader.varint();
    else reader.skipBinary();
    if (type === "pair") reader.skipBinary();
    if (id === MESSAGE_EXPIRY_INTERVAL || id === TOPIC_ALIAS || id === SUBSCRIPTION_IDENTIFIER) continue;
    for (let at = from; at < reader.offset; at++) kept[length++] = bytes[at]!;
  }
  return kept.subarray(0, length);
}

/** What a PUBLISH is assembled from, apart from its header. Ranges are [start, end). */
export interface PublishParts {
  readonly properties: Uint8Array;
  readonly propertiesStart: number;
  readonly propertiesEnd: number;
  readonly payload: Uint8Array;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

/** The properties of the hop that go in front of the carried ones. */
export interface HopProperties {
  /** Seconds left; -1: none. */
  messageExpiryInterval: number;
  /** 0: none. */
  topicAlias: number;
  subscriptionIdentifiers: readonly number[] | null;
}

function hopPropertiesLength(hop: HopProperties): number {
  let length = (hop.messageExpiryInterval >= 0 ? 5 : 0) + (hop.topicAlias !== 0 ? 3 : 0);
  if (hop.subscriptionIdentifiers !== null) {
    for (const identifier of hop.subscriptionIdentifiers) length += 1 + varintLength(identifier);
  }
  return length;
}

/**
 * Appends a PUBLISH to `writer` unless it would be larger than `packetBytesMax`; answers whether it did.
 * Without `withPayload` everything but the payload is written, for a caller that sends it by itself.
 * `hop` is `null` for levels before 5 only, which have no properties. `topicBytes` may be empty if `hop` has an alias.
 * The Packet Identifier, where QoS is above 0, stands `2 + topicBytes.length` bytes behind the fixed header.
 */
export function writePublish(
  writer: Writer,
  firstByte: number,
  packetId: number,
  topicBytes: Uint8Array,
  parts: PublishParts,
  hop: HopProperties | null,
  packetBytesMax: number,
  withPayload = true,
): boolean {
  const payloadLength = parts.payloadEnd - parts.payloadStart;
  const carried = parts.propertiesEnd - parts.propertiesStart;
  let propertiesLength = 0;
  let remaining = 2 + topicBytes.length + ((firstByte & 0x06) !== 0 ? 2 : 0) + payloadLength;
  if (hop !== null) {
    propertiesLength = carried + hopPropertiesLength(hop);
    remaining += varintLength(propertiesLength) + propertiesLength;
  }
  const packetBytes = 1 + varintLength(remaining) + remaining;
  if (packetBytes > packetBytesMax) return false;
  writer.reserve(withPayload ? packetBytes : packetBytes - payloadLength);
  writeHead(writer, firstByte, remaining, topicBytes, packetId);
  if (hop !== null) {
    writer.varint(propertiesLength);
    if (propertiesLength > carried) writeHopProperties(writer, hop);
    if (carried > 0) writer.raw(parts.properties, parts.propertiesStart, parts.propertiesEnd);
  }
  if (withPayload) writer.raw(parts.payload, parts.payloadStart, parts.payloadEnd);
  return true;
}

/** Fixed header, Topic Name and Packet Identifier, by direct stores: room was reserved, and this runs for every delivery. */
function writeHead(
  writer: Writer,
  firstByte: number,
  remaining: number,
  topicBytes: Uint8Array,
  packetId: number,
): void {
  const { bytes } = writer;
  const topicLength = topicBytes.length;
  let at = writer.length;
  bytes[at++] = firstByte;
  while (remaining > 127) {
    bytes[at++] = (remaining & 0x7f) | 0x80;
    remaining >>>= 7;
  }
  bytes[at++] = remaining;
  bytes[at++] = topicLength >>> 8;
  bytes[at++] = topicLength;
  if (topicLength <= LOOP_COPY_BYTES_MAX) {
    for (let from = 0; from < topicLength; from++) bytes[at++] = topicBytes[from]!;
  } else {
    bytes.set(topicBytes, at);
    at += topicLength;
  }
  if ((firstByte & 0x06) !== 0) {
    bytes[at++] = packetId >>> 8;
    bytes[at++] = packetId;
  }
  writer.length = at;
}

function writeHopProperties(writer: Writer, hop: HopProperties): void {
  if (hop.messageExpiryInterval >= 0) {
    writer.u8(MESSAGE_EXPIRY_INTERVAL);
    writer.u32(hop.messageExpiryInterval);
  }
  if (hop.subscriptionIdentifiers !== null) {
    for (const identifier of hop.subscriptionIdentifiers) {
      writer.u8(SUBSCRIPTION_IDENTIFIER);
      writer.varint(identifier);
    }
  }
  if (hop.topicAlias !== 0) {
    writer.u8(TOPIC_ALIAS);
    writer.u16(hop.topicAlias);
  }
}
