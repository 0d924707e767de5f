/**
 * Packets of the server from their bytes (MQTT 5.0 chapter 3): all kinds by the same few steps and the table of properties.
 *
 * Refuses what the broker's decoder refuses; a differential test holds the two together. Binary fields are views.
 * Decoding is never interrupted, so one cursor does for all: bytes[at, end) is what is left of the packet or property list.
 */
import type { QoS } from "../core/codec/packet.ts";
import type { PacketType } from "../core/codec/packet-type.ts";
import { PROPERTY_ROWS, type Properties } from "../core/codec/property-table.ts";
import type { Incoming } from "./incoming.ts";
import { refuse } from "./mqtt-error.ts";
import { variableByteInteger } from "./packet-cutter.ts";

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

let bytes: Uint8Array;
let at: number;
let end: number;

function take(count: number): Uint8Array {
  at += count;
  if (at > end) refuse(0x81);
  return bytes.subarray(at - count, at);
}

const integer = (size: number): number => take(size).reduce((value, byte) => value * 256 + byte, 0);
const varint = (): number => variableByteInteger(() => integer(1));
const binary = (): Uint8Array => take(integer(2));

/** Ill-formed UTF-8 is the decoder's TypeError, which ends the connection as malformed like an MqttError without a code. */
function text(): string {
  const decoded = strictDecoder.decode(binary());
  if (/\0/.test(decoded)) refuse(0x81);
  return decoded;
}

const VALUES: Record<string, () => unknown> = { s: text, b: binary, p: () => [text(), text()], v: varint };

function propertyList(type: number): Properties {
  const properties: Record<string, unknown> = {};
  const bodyEnd = end;
  const length = varint();
  end = at + length;
  if (end > bodyEnd) refuse(0x81);
  while (at < end) {
    const id = varint();
    const [name, kind, packets] = PROPERTY_ROWS[id] ?? [];
    if (!((+packets! >> type) & 1)) refuse(0x81);
    const [how = "", bounded] = kind;
    const value = VALUES[how]?.() ?? integer(+how);
    if (how === "1" ? (value as number) > 1 : bounded && !value) refuse(0x82, name);
    if (how === "p" || how === "v") ((properties[name] ??= []) as unknown[]).push(value);
    else if (name in properties) refuse(0x82, name);
    else properties[name] = value;
  }
  end = bodyEnd;
  return properties;
}

export function decodePacket(first: number, body: Uint8Array, level: number): Incoming {
  // Here they cost no bytes, and the compiler sees that they are the shared ones.
  const CONNACK: typeof PacketType.CONNACK = 2;
  const PUBLISH: typeof PacketType.PUBLISH = 3;
  const PUBREL: typeof PacketType.PUBREL = 6;
  const SUBSCRIBE: typeof PacketType.SUBSCRIBE = 8;
  const SUBACK: typeof PacketType.SUBACK = 9;
  const UNSUBACK: typeof PacketType.UNSUBACK = 11;
  const PINGRESP: typeof PacketType.PINGRESP = 13;
  const AUTH: typeof PacketType.AUTH = 15;
  bytes = body;
  at = 0;
  end = body.length;
  const type = first >> 4;
  const flags = first & 15;
  const qos = ((flags >> 1) & 3) as QoS;
  const isPublish = type === PUBLISH;
  const isConnack = type === CONNACK;
  /** What may leave off its properties, and its reason code too. */
  const isAnswer = (type > PUBLISH && type < SUBSCRIBE) || type > PINGRESP;
  if (isPublish ? qos > 2 || (flags > 7 && !qos) : flags !== (type === PUBREL ? 2 : 0)) refuse(0x81);
  const topic = isPublish ? text() : "";
  const packetId = (isPublish ? qos : type > PUBLISH && type < PINGRESP) ? integer(2) || refuse(0x82) : 0;
  const acknowledgeFlags = isConnack ? integer(1) : 0;
  const hasReason = isConnack || (isAnswer && level === 5 && at < end);
  let reasonCode = hasReason ? integer(1) : 0;
  // AUTH leaves off both or none.
  const hasList = isAnswer ? at < end || (hasReason && type === AUTH) : type < PINGRESP;
  const properties = hasList && level === 5 ? propertyList(type) : {};
  const payload = take(end - at);
  if (type === SUBACK || (type === UNSUBACK && level === 5)) {
    reasonCode = payload[0]!;
    if (payload.length !== 1) refuse(0x82);
  } else if ((payload.length && !isPublish) || acknowledgeFlags > 1) refuse(0x81);
  if (/[+#]/.test(topic)) refuse(0x90);
  if (
    (acknowledgeFlags && reasonCode) ||
    /[+#]/.test(properties.responseTopic ?? "") ||
    (isPublish && !topic && !properties.topicAlias)
  ) {
    refuse(0x82);
  }
  return {
    type,
    qos,
    topic,
    packetId,
    sessionPresent: acknowledgeFlags > 0,
    reasonCode,
    properties,
    bytes: payload,
    retain: flags % 2 > 0,
    dup: flags > 7,
  };
}
