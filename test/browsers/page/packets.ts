/** The packets that pages send, put together from what a check or a demonstration has to say, and the names that they need. */
import { encodePacket, type Packet, type ProtocolLevel, type QoS } from "../../../src/core/codec/packet.ts";
import type { Properties } from "../../../src/core/codec/property.ts";
import type { Publish } from "../../../src/core/codec/publish.ts";
import { Writer } from "../../../src/core/codec/writer.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export interface ConnectInit {
  readonly clientId?: string;
  readonly cleanStart?: boolean;
  readonly keepAlive?: number;
  readonly username?: string;
  readonly password?: string;
  readonly will?: { readonly topicName: string; readonly payload: string };
  readonly properties?: Properties;
}

export interface PublishInit {
  readonly qos?: QoS;
  readonly packetId?: number;
  readonly dup?: boolean;
  readonly retain?: boolean;
}

let serial = 0;

/** A name that nobody else uses: several browsers may be at one broker. */
export function uniqueName(prefix: string): string {
  return `${prefix}-${crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)}-${++serial}`;
}

export function toBytes(text: string): Bytes {
  return new TextEncoder().encode(text) as Bytes;
}

export function toText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export function encode(packets: readonly Packet[], level: ProtocolLevel = 5): Bytes {
  const writer = new Writer();
  for (const packet of packets) encodePacket(writer, packet, level);
  return writer.view().slice() as Bytes;
}

export function connectPacket(init: ConnectInit, level: ProtocolLevel = 5): Packet {
  const { clientId = uniqueName("page"), cleanStart = true, keepAlive = 0, username, password, will } = init;
  return {
    type: "connect",
    protocolLevel: level,
    clientId,
    cleanStart,
    keepAlive,
    properties: init.properties ?? {},
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: toBytes(password) }),
    ...(will === undefined
      ? {}
      : {
          will: {
            topicName: will.topicName,
            payload: toBytes(will.payload),
            qos: 1 as const,
            retain: false,
            properties: {},
          },
        }),
  };
}

export function subscribePacket(topicFilter: string, qos: QoS, packetId: number): Packet {
  const filter = { topicFilter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  return { type: "subscribe", packetId, filters: [filter], properties: {} };
}

export function publishPacket(topicName: string, payload: string | Uint8Array, init: PublishInit = {}): Publish {
  const { qos = 0, packetId, dup = false, retain = false } = init;
  const bytes = typeof payload === "string" ? toBytes(payload) : payload;
  const packet: Publish = { type: "publish", topicName, payload: bytes, qos, dup, retain, properties: {} };
  if (packetId !== undefined) packet.packetId = packetId;
  return packet;
}
