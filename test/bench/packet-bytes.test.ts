/** The load generator's CONNECT and SUBSCRIBE, read by a codec that is neither its own nor the broker's. */
import { describe, expect, test } from "bun:test";
import { type IConnectPacket, type ISubscribePacket, type Packet, parser } from "mqtt-packet";
import { encodeConnect, encodeSubscribe, type Login, type ProtocolLevel } from "../../bench/packet-bytes.ts";

function parsed(bytes: Uint8Array, protocolLevel: ProtocolLevel): Packet {
  const packets: Packet[] = [];
  const reader = parser({ protocolVersion: protocolLevel });
  reader.on("packet", (packet) => packets.push(packet));
  reader.on("error", (error) => {
    throw error;
  });
  expect(reader.parse(Buffer.from(bytes))).toBe(0);
  expect(packets).toHaveLength(1);
  return packets[0]!;
}

function read(protocolLevel: ProtocolLevel, login: Login | null): IConnectPacket {
  return parsed(encodeConnect("client", protocolLevel, login), protocolLevel) as IConnectPacket;
}

describe.each([4, 5] as const)("CONNECT of protocol level %i", (level) => {
  test("without a login has neither username nor password", () => {
    const packet = read(level, null);
    expect(packet).toMatchObject({ cmd: "connect", protocolVersion: level, clientId: "client", clean: true });
    expect([packet.username, packet.password]).toEqual([undefined, undefined]);
  });

  test("with a login has both, whatever their length", () => {
    const login = { username: "bénch", password: "x".repeat(2_000) };
    const { username, password, clientId } = read(level, login);
    expect([clientId, username, password?.toString()]).toEqual(["client", login.username, login.password]);
  });
});

test.each([4, 5] as const)("SUBSCRIBE of protocol level %i holds all its filters, in order", (level) => {
  const filters = Array.from({ length: 200 }, (_, n) => `site/${n}/device/+`);
  const { subscriptions } = parsed(encodeSubscribe(filters, 1, level), level) as ISubscribePacket;
  expect(subscriptions.map(({ topic, qos }) => [topic, qos])).toEqual(filters.map((filter) => [filter, 1]));
});
