/**
 * MQTT 5.0 sections 3.12 and 3.13: PINGREQ and its answer.
 */
import { expect, test } from "bun:test";
import { expectDisconnect } from "../support/ending.ts";
import { toHex, World } from "../support/world.ts";

for (const level of [3, 4, 5] as const) {
  test(`[MQTT-3.12.4-1] [MQTT311-3.12.4-1] PINGREQ is answered with PINGRESP, each one, at protocol level ${level}`, () => {
    const client = new World().connect({ level });
    client.bytes.length = 0;
    client.sendBytes("c0 00");
    expect(toHex(client.bytes)).toBe("d0 00");
    client.sendBytes("c0 00 c0 00 c0 00");
    expect(toHex(client.bytes)).toBe("d0 00 d0 00 d0 00 d0 00");
  });
}

test("[MQTT-3.12.4-1] the answer stays in order with the answers to other packets", () => {
  const client = new World().connect();
  client.sendBytes("c0 00 82 07 00 01 00 00 01 61 00 c0 00");
  expect(client.takeAll().map(({ type }) => type)).toEqual(["pingresp", "suback", "pingresp"]);
});

test("a PINGREQ with a body is malformed: DISCONNECT 0x81", () => {
  const client = new World().connect();
  client.sendBytes("c0 01 00");
  expectDisconnect(client, 0x81);
});
