/**
 * Packets of the server from their bytes (MQTT 5.0 chapter 3): all kinds by the same few steps and the table of properties.
 *
 * Refuses what the broker's decoder refuses; a differential test holds the two together. Binary fields are views.
 */
import {
  AUTH,
  CONNACK,
  PINGREQ,
  PINGRESP,
  PUBLISH,
  PUBREL,
  SUBACK,
  SUBSCRIBE,
  UNSUBACK,
} from "../core/codec/packet-type.ts";
import { PROPERTY_ROWS, type Properties } from "../core/codec/property-table.ts";
import { type Incoming, refuse } from "./incoming.ts";
import { variableByteInteger } from "./packet-cutter.ts";

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A cursor over the body of one packet: running short is malformed. */
function bodyReader(type: number, body: Uint8Array) {
  let at = 0;
  let end = body.length;
  const malformed = (found: string): never => refuse(type, 0x81, found);
  const bytes = (count: number): Uint8Array => {
    at += count;
    if (at > end) malformed("cut short");
    return body.subarray(at - count, at);
  };
  const number = (size: number): number => bytes(size).reduce((value, byte) => value * 256 + byte, 0);
  const varint = (): number => variableByteInteger(type, () => number(1));
  const data = (): Uint8Array => bytes(number(2));
  const text = (): string => {
    const encoded = data();
    try {
      if (!encoded.includes(0)) return strictDecoder.decode(encoded);
    } catch {
      // Ill-formed.
    }
    return malformed("UTF-8");
  };
  const byKind: Record<string, () => unknown> = { s: text, b: data, p: () => [text(), text()], v: varint };
  const propertyList = (): Properties => {
    const properties: Record<string, unknown> = {};
    const length = varint();
    if (at + length > end) malformed("cut short");
    end = at + length;
    while (at < end) {
      const id = varint();
      const { name, kind, packets } = PROPERTY_ROWS.find((row) => row.id === id) ?? malformed(`property ${id}`);
      if (!((packets >> type) & 1)) malformed(name);
      const [how = "", notZero] = kind;
      const value = byKind[how]?.() ?? number(+how);
      if (how === "1" ? (value as number) > 1 : notZero && !value)
        refuse(type, name === "topicAlias" ? 0x94 : 0x82, name);
      if (how === "p" || how === "v") ((properties[name] ??= []) as unknown[]).push(value);
      else if (name in properties) refuse(type, 0x82, name);
      else properties[name] = value;
    }
    end = body.length;
    return properties;
  };
  return { number, text, propertyList, left: () => end - at, bytes };
}

export function decodePacket(first: number, body: Uint8Array, level: number): Incoming {
  const type = first >> 4;
  const flags = first & 15;
  const qos = (flags >> 1) & 3;
  const isPublish = type === PUBLISH;
  const isConnack = type === CONNACK;
  const isGrant = type === SUBACK || (type === UNSUBACK && level === 5);
  const isAnswer = (type > PUBLISH && type < SUBSCRIBE) || type > PINGRESP;
  const { number, text, propertyList, bytes, left } = bodyReader(type, body);
  if (isPublish ? qos > 2 || (flags > 7 && !qos) : flags !== (type === PUBREL ? 2 : 0)) refuse(type, 0x81, "flags");
  const topic = isPublish ? text() : "";
  const hasId = isPublish ? qos : type > PUBLISH && type < PINGREQ;
  const packetId = hasId ? number(2) || refuse(type, 0x82, "Packet Identifier 0") : 0;
  const acknowledgeFlags = isConnack ? number(1) : 0;
  // An answer may leave off its reason code and properties, or its properties alone; AUTH only both.
  let reasonCode = isConnack || (isAnswer && level === 5 && left()) ? number(1) : 0;
  const hasList = isPublish || isConnack || isGrant || (isAnswer && (left() || (type === AUTH && body.length)));
  const properties = hasList && level === 5 ? propertyList() : {};
  const payload = bytes(left());
  if (isGrant) {
    reasonCode = payload[0]!;
    if (payload.length !== 1) refuse(type, 0x82, `${payload.length} reason codes for 1 filter`);
  } else if ((payload.length && !isPublish) || acknowledgeFlags > 1) refuse(type, 0x81, "surplus");
  if (acknowledgeFlags && reasonCode) refuse(type, 0x82, "Session Present");
  if (/[+#]/.test(topic)) refuse(type, 0x90, topic);
  if (/[+#]/.test(properties.responseTopic!) || (isPublish && !topic && !properties.topicAlias))
    refuse(type, 0x82, "topic");
  return { type, flags, topic, packetId, sessionPresent: !!acknowledgeFlags, reasonCode, properties, payload };
}
