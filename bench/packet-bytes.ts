/**
 * The few MQTT packets a load generator sends, as bytes: CONNECT, SUBSCRIBE, PUBLISH, PINGREQ, DISCONNECT.
 *
 * Deliberately apart from `src/`: a generator that shared the broker's codec would share its mistakes.
 * Everything here runs before the measurement starts; nothing is encoded per message.
 * MQTT 5.0 and 3.1.1, sections 3.1, 3.3, 3.8, 3.12 and 3.14.
 */

export type ProtocolLevel = 4 | 5;
export type Qos = 0 | 1 | 2;

/** What a client says of itself in CONNECT. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

/** One encoded PUBLISH and where the parts that change per message lie in it. */
export interface PublishLayout {
  readonly bytes: Uint8Array;
  readonly topicNameEnd: number;
  readonly packetIdAt: number;
  readonly payloadAt: number;
}

export const PINGREQ = Uint8Array.of(0xc0, 0);
export const DISCONNECT = Uint8Array.of(0xe0, 0);

/** `isKept`: a session that outlives its connection, where MQTT 3.1.1 is spoken. */
export function encodeConnect(
  clientId: string,
  protocolLevel: ProtocolLevel,
  login: Login | null = null,
  isKept = false,
): Uint8Array {
  const cleanStart = isKept ? 0 : 0x02;
  const withLogin = login === null ? 0 : 0xc0;
  const keepAliveOff = [0, 0];
  return packet(0x10, [
    ...text("MQTT"),
    protocolLevel,
    cleanStart | withLogin,
    ...keepAliveOff,
    ...noProperties(protocolLevel),
    ...text(clientId),
    ...(login === null ? [] : [...text(login.username), ...text(login.password)]),
  ]);
}

export function encodeSubscribe(topicFilters: readonly string[], qos: Qos, protocolLevel: ProtocolLevel): Uint8Array {
  const packetId = [0, 1];
  const subscriptions = topicFilters.flatMap((topicFilter) => [...text(topicFilter), qos]);
  return packet(0x82, [...packetId, ...noProperties(protocolLevel), ...subscriptions]);
}

export function encodePublish(
  topicName: string,
  packetId: number,
  payload: Uint8Array,
  qos: Qos,
  protocolLevel: ProtocolLevel,
): PublishLayout {
  const topicBytes = text(topicName);
  const packetIdBytes = qos === 0 ? [] : [packetId >> 8, packetId & 0xff];
  const propertyBytes = noProperties(protocolLevel);
  const bodyBytes = topicBytes.length + packetIdBytes.length + propertyBytes.length + payload.length;
  const header = [0x30 | (qos << 1), ...variableByteInteger(bodyBytes)];
  const bytes = new Uint8Array(header.length + bodyBytes);
  bytes.set([...header, ...topicBytes, ...packetIdBytes, ...propertyBytes]);
  const topicNameEnd = header.length + topicBytes.length;
  const payloadAt = bytes.length - payload.length;
  bytes.set(payload, payloadAt);
  return { bytes, topicNameEnd, packetIdAt: topicNameEnd, payloadAt };
}

function packet(firstByte: number, body: number[]): Uint8Array {
  return Uint8Array.from([firstByte, ...variableByteInteger(body.length), ...body]);
}

function text(value: string): number[] {
  const bytes = new TextEncoder().encode(value);
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
}

function noProperties(protocolLevel: ProtocolLevel): number[] {
  return protocolLevel === 5 ? [0] : [];
}

function variableByteInteger(value: number): number[] {
  const bytes: number[] = [];
  do {
    const rest = value >>> 7;
    bytes.push((value & 0x7f) | (rest > 0 ? 0x80 : 0));
    value = rest;
  } while (value > 0);
  return bytes;
}
