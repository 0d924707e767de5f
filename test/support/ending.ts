/**
 * How a Network Connection ends, as assertions: each takes everything the client received and expects nothing besides.
 */
import { expect } from "bun:test";
import type { Connack } from "../../src/core/codec/connack.ts";
import type { Disconnect } from "../../src/core/codec/disconnect.ts";
import type { TestClient } from "./world.ts";

/** The broker's only and last packet was DISCONNECT with this reason code, then it closed. */
export function expectDisconnect(client: TestClient, reasonCode: number): Disconnect {
  const packets = client.takeAll();
  expect(packets.map((packet) => packet.type)).toEqual(["disconnect"]);
  const disconnect = packets[0] as Disconnect;
  expect(hexOf(disconnect.reasonCode)).toBe(hexOf(reasonCode));
  expect(client.closed).toBe(true);
  return disconnect;
}

/** The broker's only packet was a CONNACK that refuses with this reason code, then it closed. */
export function expectRefusal(client: TestClient, reasonCode: number): Connack {
  const packets = client.takeAll();
  expect(packets.map((packet) => packet.type)).toEqual(["connack"]);
  const connack = packets[0] as Connack;
  expect(hexOf(connack.reasonCode)).toBe(hexOf(reasonCode));
  expect(connack.sessionPresent).toBe(false);
  expect(client.closed).toBe(true);
  return connack;
}

/** The broker closed and sent nothing that has not been taken before. */
export function expectClosedSilently(client: TestClient): void {
  expect(client.takeAll()).toEqual([]);
  expect(client.closed).toBe(true);
}

/** The connection is open and working: a PINGREQ is answered with nothing else in between. */
export function expectAlive(client: TestClient): void {
  expect(client.closed).toBe(false);
  client.send({ type: "pingreq" });
  expect(client.takeAll()).toEqual([{ type: "pingresp" }]);
}

function hexOf(code: number): string {
  return `0x${code.toString(16).padStart(2, "0")}`;
}
