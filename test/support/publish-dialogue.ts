/**
 * What the tests about message delivery have in common: sessions that outlive their connection, hand-made PUBLISH bytes,
 * and short ways to say what a client received. No rule of the specification is decided here.
 */
import { expect } from "bun:test";
import type { Packet, ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { type ConnectInit, fromHex, type TestClient, toText, type World } from "./world.ts";

/** The levels that share the rules of delivery: 3.1.1 and 5.0. */
export const LEVELS = [4, 5] as const satisfies readonly ProtocolLevel[];

/** The packets that answer a PUBLISH, and each other. */
export type AckType = "puback" | "pubrec" | "pubrel" | "pubcomp";

/** Connects to a session that stays when the connection goes, at any level; continues it if there is one. */
export function resume(world: World, clientId: string, init: ConnectInit = {}): TestClient {
  const level = init.level ?? 5;
  const properties = level === 5 ? { sessionExpiryInterval: 0xffffffff, ...init.properties } : {};
  return world.connect({ cleanStart: false, ...init, clientId, properties });
}

/** Leaves behind a session without a connection that subscribes to `topicFilter`. */
export function leaveSession(
  world: World,
  clientId: string,
  topicFilter: string,
  qos: QoS,
  init: ConnectInit = {},
): void {
  const client = resume(world, clientId, init);
  client.subscribe(topicFilter, { qos });
  client.drop();
}

/** The broker said DISCONNECT with this reason code as its last packet (nothing before MQTT 5.0), and closed. */
export function expectDisconnect(client: TestClient, reasonCode: number): void {
  if (client.level === 5) expect(client.take("disconnect").reasonCode).toBe(reasonCode);
  expect(client.packets).toEqual([]);
  expect(client.closed).toBe(true);
}

/** Sends one acknowledgement, success where nothing else is said. */
export function acknowledge(client: TestClient, type: AckType, packetId: number | undefined, reasonCode = 0): void {
  client.send({ type, packetId: packetId ?? 0, reasonCode, properties: {} });
}

/** The payloads as text, in order. */
export function texts(publishes: readonly Publish[]): string[] {
  return publishes.map((publish) => toText(publish.payload));
}

/** Takes everything received; answers the PUBLISH packets among it without acknowledging them. */
export function takeUnacknowledged(client: TestClient): Publish[] {
  return client.takeAll().filter((packet): packet is Publish => packet.type === "publish");
}

/** A short line per packet, such as "publish 1 dup" or "pubrel 2". */
export function outline(packets: readonly Packet[]): string[] {
  return packets.map((packet) => {
    const words: string[] = [packet.type];
    if ("packetId" in packet && packet.packetId !== undefined) words.push(String(packet.packetId));
    if (packet.type === "publish" && packet.dup) words.push("dup");
    return words.join(" ");
  });
}

/** A QoS 0 PUBLISH of MQTT 5.0 from hex: Topic Name, property list without its length, payload. Each below 100 bytes. */
export function rawPublish(topicNameHex: string, propertiesHex = "", payloadHex = ""): Uint8Array {
  const topicName = fromHex(topicNameHex);
  const properties = fromHex(propertiesHex);
  const body = [0, topicName.length, ...topicName, properties.length, ...properties, ...fromHex(payloadHex)];
  if (body.length > 127) throw new Error("too long for one length byte");
  return Uint8Array.from([0x30, body.length, ...body]);
}
