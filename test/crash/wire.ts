/**
 * MQTT 5.0 packets made into bytes, for the programs that judge a broker from outside; wire-reader.ts is the way back.
 *
 * Deliberately apart from `src/`: a judge that shared the broker's codec would share its mistakes. Written from sections 1.5, 2 and 3
 * of the specification.
 */

export const CONNECT = 0x10;
export const CONNACK = 0x20;
export const PUBLISH = 0x30;
export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBREL = 0x60;
export const PUBCOMP = 0x70;
export const SUBSCRIBE = 0x80;
export const SUBACK = 0x90;
export const UNSUBSCRIBE = 0xa0;
export const UNSUBACK = 0xb0;
export const PINGREQ = 0xc0;
export const PINGRESP = 0xd0;
export const DISCONNECT = 0xe0;

export const SUCCESS = 0x00;
export const NO_SUBSCRIPTION_EXISTED = 0x11;
export const PACKET_IDENTIFIER_NOT_FOUND = 0x92;

export const MESSAGE_EXPIRY_INTERVAL = 0x02;
export const CONTENT_TYPE = 0x03;
export const CORRELATION_DATA = 0x09;
export const SUBSCRIPTION_IDENTIFIER = 0x0b;
export const SESSION_EXPIRY_INTERVAL = 0x11;
export const RECEIVE_MAXIMUM = 0x21;
export const USER_PROPERTY = 0x26;

export type Qos = 0 | 1 | 2;
export type PropertyValue = number | string | Uint8Array | readonly [string, string];
export type Property = readonly [identifier: number, value: PropertyValue];

export interface Publish {
  readonly topicName: string;
  readonly qos: Qos;
  readonly dup: boolean;
  readonly retain: boolean;
  /** 0 at QoS 0. */
  readonly packetId: number;
  readonly properties: readonly Property[];
  readonly payload: Uint8Array;
}

export interface Connect {
  readonly clientId: string;
  readonly cleanStart: boolean;
  readonly properties: readonly Property[];
}

export interface Filter {
  readonly filter: string;
  readonly qos: Qos;
  readonly retainHandling: 0 | 1 | 2;
}

export interface Answers {
  readonly packetId: number;
  readonly reasonCodes: readonly number[];
}

export class WireError extends Error {}

/** Section 2.2.2.2, the form of each property's value. */
export const PROPERTY_FORMS: ReadonlyMap<number, "byte" | "two" | "four" | "variable" | "text" | "bytes" | "pair"> =
  new Map([
    ...[0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a].map((identifier) => [identifier, "byte"] as const),
    ...[0x13, 0x21, 0x22, 0x23].map((identifier) => [identifier, "two"] as const),
    ...[0x02, 0x11, 0x18, 0x27].map((identifier) => [identifier, "four"] as const),
    ...[0x03, 0x08, 0x12, 0x15, 0x1a, 0x1c, 0x1f].map((identifier) => [identifier, "text"] as const),
    [0x09, "bytes"],
    [0x16, "bytes"],
    [0x0b, "variable"],
    [0x26, "pair"],
  ]);

const encoder = new TextEncoder();

function twoBytes(value: number): number[] {
  return [value >>> 8, value & 0xff];
}

function fourBytes(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

function variable(value: number): number[] {
  const bytes: number[] = [];
  do {
    const rest = value >>> 7;
    bytes.push((value & 0x7f) | (rest > 0 ? 0x80 : 0));
    value = rest;
  } while (value > 0);
  return bytes;
}

function prefixed(bytes: Uint8Array): number[] {
  return [...twoBytes(bytes.length), ...bytes];
}

function text(value: string): number[] {
  return prefixed(encoder.encode(value));
}

function encodeValue(identifier: number, value: PropertyValue): number[] {
  switch (PROPERTY_FORMS.get(identifier)) {
    case "byte":
      return [value as number];
    case "two":
      return twoBytes(value as number);
    case "four":
      return fourBytes(value as number);
    case "variable":
      return variable(value as number);
    case "text":
      return text(value as string);
    case "bytes":
      return prefixed(value as Uint8Array);
    case "pair":
      return (value as readonly [string, string]).flatMap(text);
    default:
      throw new WireError(`no property has the identifier 0x${identifier.toString(16)}`);
  }
}

function encodeProperties(properties: readonly Property[]): number[] {
  const bytes = properties.flatMap(([identifier, value]) => [identifier, ...encodeValue(identifier, value)]);
  return [...variable(bytes.length), ...bytes];
}

function packet(firstByte: number, head: readonly number[], payload: Uint8Array = new Uint8Array()): Uint8Array {
  const start = [firstByte, ...variable(head.length + payload.length), ...head];
  const bytes = new Uint8Array(start.length + payload.length);
  bytes.set(start);
  bytes.set(payload, start.length);
  return bytes;
}

export function encodeConnect({ clientId, cleanStart, properties }: Connect): Uint8Array {
  const keepAliveOff = [0, 0];
  const head = [...text("MQTT"), 5, cleanStart ? 2 : 0, ...keepAliveOff, ...encodeProperties(properties)];
  return packet(CONNECT, [...head, ...text(clientId)]);
}

export function encodeConnack(sessionPresent: boolean, reasonCode: number): Uint8Array {
  return packet(CONNACK, [sessionPresent ? 1 : 0, reasonCode, 0]);
}

export function encodePublish({ topicName, qos, dup, retain, packetId, properties, payload }: Publish): Uint8Array {
  const firstByte = PUBLISH | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  const packetIdBytes = qos === 0 ? [] : twoBytes(packetId);
  return packet(firstByte, [...text(topicName), ...packetIdBytes, ...encodeProperties(properties)], payload);
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export function encodeAcknowledgement(type: number, packetId: number, reasonCode: number): Uint8Array {
  const firstByte = type === PUBREL ? type | 2 : type;
  return packet(firstByte, reasonCode === SUCCESS ? twoBytes(packetId) : [...twoBytes(packetId), reasonCode]);
}

export function encodeSubscribe(
  packetId: number,
  filters: readonly Filter[],
  properties: readonly Property[],
): Uint8Array {
  const options = filters.flatMap(({ filter, qos, retainHandling }) => [...text(filter), qos | (retainHandling << 4)]);
  return packet(SUBSCRIBE | 2, [...twoBytes(packetId), ...encodeProperties(properties), ...options]);
}

export function encodeUnsubscribe(packetId: number, filters: readonly string[]): Uint8Array {
  return packet(UNSUBSCRIBE | 2, [...twoBytes(packetId), 0, ...filters.flatMap(text)]);
}

/** SUBACK or UNSUBACK. */
export function encodeAnswers(type: number, { packetId, reasonCodes }: Answers): Uint8Array {
  return packet(type, [...twoBytes(packetId), 0, ...reasonCodes]);
}

export function encodeEmpty(type: number): Uint8Array {
  return packet(type, []);
}
