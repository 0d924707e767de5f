/** The load generator's CONNECT, read by a codec that is neither its own nor the broker's. */
import { describe, expect, test } from "bun:test";
import { type IConnectPacket, parser } from "mqtt-packet";
import { encodeConnect, type Login, type ProtocolLevel } from "../../bench/packet-bytes.ts";

function read(protocolLevel: ProtocolLevel, login: Login | null): IConnectPacket {
  const packets: IConnectPacket[] = [];
  const reader = parser({ protocolVersion: protocolLevel });
  reader.on("packet", (packet) => packets.push(packet as IConnectPacket));
  reader.on("error", (error) => {
    throw error;
  });
  expect(reader.parse(Buffer.from(encodeConnect("client", protocolLevel, login)))).toBe(0);
  expect(packets).toHaveLength(1);
  return packets[0]!;
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
