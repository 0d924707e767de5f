/**
 * Packets of the server from their bytes (MQTT 5.0 chapter 3), all kinds by the same steps. Binary fields are views.
 *
 * Refuses what ends too early or too late, and what this client has announced not to take. It does not look whether a
 * property belongs into its packet.
 */
import { refuse } from "../mqtt-error.ts";
import { variableByteInteger } from "../packet-cutter.ts";
import { type NumberedProperties, PROPERTY_KINDS } from "./numbered-properties.ts";

/** A field that its kind of packet does not have is empty. `head` is the Packet Identifier; in CONNACK its flags. */
export type Incoming = readonly [
  head: number,
  reasonCode: number,
  properties: NumberedProperties,
  topic: string,
  payload: Uint8Array,
];

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function decodePacket(first: number, body: Uint8Array): Incoming {
  const type = first >> 4;
  const isPublish = type === 3;
  const qos = (first >> 1) & 3;
  if (isPublish ? qos > 2 : first & 15) refuse(0x81);
  let at = 0;
  const take = (count: number): Uint8Array => {
    at += count;
    if (at > body.length) refuse(0x81);
    return body.subarray(at - count, at);
  };
  const integer = (size: number): number => take(size).reduce((value, byte) => value * 256 + byte, 0);
  const varint = (): number => variableByteInteger(() => integer(1));
  const binary = (): Uint8Array => take(integer(2));
  const text = (): string => {
    try {
      return strictDecoder.decode(binary());
    } catch {
      return refuse(0x81);
    }
  };

  const propertyList = (): NumberedProperties => {
    const properties: Record<number, unknown> = {};
    const end = varint() + at;
    while (at < end) {
      const id = integer(1);
      const kind = +PROPERTY_KINDS[id]! || refuse(0x81);
      const value =
        kind > 7 ? [text(), text()] : kind > 6 ? varint() : kind > 5 ? text() : kind > 4 ? binary() : integer(kind);
      if (kind > 6) ((properties[id] ??= []) as unknown[]).push(value);
      else if (id in properties) refuse(0x82);
      else properties[id] = value;
    }
    if (at > end) refuse(0x81);
    return properties as NumberedProperties;
  };

  const topic = isPublish ? text() : "";
  const head = integer(type < 3 ? 1 : (isPublish ? qos : type < 12) ? 2 : 0);
  // PUBLISH, SUBACK and UNSUBACK have no reason code before their properties; PUBACK and DISCONNECT may leave off both.
  let reasonCode = type % 2 || at === body.length ? 0 : integer(1);
  const properties = type < 4 || at < body.length ? propertyList() : {};
  if (type > 8 && type < 12) reasonCode = integer(1);
  const payload = take(body.length - at);
  if (!isPublish && payload.length) refuse(0x81);
  return [head, reasonCode, properties, topic, payload];
}
