/**
 * What a client sees when the broker will not go on with it: the last packet, the end of the Network Connection, and
 * that the broker has forgotten what was refused.
 */
import { expect } from "bun:test";
import type { TestClient } from "./world.ts";

/** MQTT 5.0: one DISCONNECT with this reason code, then the end. */
export function expectDisconnect(client: TestClient, reasonCode: number): void {
  const said = client.takeAll().map((packet) => ({
    type: packet.type,
    reasonCode: "reasonCode" in packet ? packet.reasonCode : undefined,
  }));
  expect(said).toEqual([{ type: "disconnect", reasonCode }]);
  expect(client.closed).toBe(true);
}

/** MQTT 3.1.1 and 3.1, and whatever is not MQTT: the end without a packet. */
export function expectSilentClose(client: TestClient): void {
  expect(client.takeAll()).toEqual([]);
  expect(client.closed).toBe(true);
}

/** A refused CONNECT: one CONNACK with this code and no session, then the end. */
export function expectConnackRefusal(client: TestClient, code: number): void {
  const said = client
    .takeAll()
    .map((packet) => (packet.type === "connack" ? [packet.sessionPresent, packet.reasonCode] : packet.type));
  expect(said).toEqual([[false, code]]);
  expect(client.closed).toBe(true);
}
