/** MQTT 5.0 section 3.11: UNSUBACK. */
import { expect, test } from "bun:test";
import { World } from "../support/world.ts";

/** Room for CONNACK and for an UNSUBACK of fourteen bare reason codes, not for a string as well. */
const PACKET_BYTES = 20;
const FILTERS = Array.from({ length: 14 }, (_, index) => `nothing/${index}`);

test("[MQTT-3.11.2-1] [MQTT-3.11.2-2] an UNSUBACK drops its strings rather than outgrow the client's Maximum Packet Size", () => {
  const world = new World();
  const client = world.connect({ properties: { maximumPacketSize: PACKET_BYTES } });
  const before = client.bytes.length;
  const unsuback = client.unsubscribe(FILTERS);
  expect(unsuback.reasonCodes).toEqual(FILTERS.map(() => 0x11));
  expect(unsuback.properties).toEqual({});
  expect(client.bytes.length - before).toBe(2 + 2 + 1 + FILTERS.length);
});

test("[MQTT-3.11.2-1] [MQTT-3.11.2-2] whatever room there is, an UNSUBACK keeps within it", () => {
  const world = new World();
  for (let room = PACKET_BYTES; room < 120; room++) {
    const client = world.connect({ properties: { maximumPacketSize: room } });
    const before = client.bytes.length;
    expect(client.unsubscribe(FILTERS).reasonCodes.length).toBe(FILTERS.length);
    expect(client.bytes.length - before).toBeLessThanOrEqual(room);
    client.disconnect();
  }
});

test("[MQTT-3.11.3-1] the codes come in the order of the filters", () => {
  const client = new World().connect();
  client.subscribe(["b", "d", "e"]);
  expect(client.unsubscribe(["a", "b", "c", "d", "e", "f"]).reasonCodes).toEqual([0x11, 0, 0x11, 0, 0, 0x11]);
});

test("[MQTT-3.11.3-2] one UNSUBACK code for each filter, a thousand filters included", () => {
  const table = new Set([0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]);
  const client = new World().connect();
  const filters = Array.from({ length: 1000 }, (_, index) => `a/${index}`);
  client.subscribe(filters.slice(0, 500));
  const { reasonCodes } = client.unsubscribe(filters);
  expect(reasonCodes.length).toBe(1000);
  for (const code of reasonCodes) expect(table).toContain(code);
  expect(reasonCodes.filter((code) => code === 0).length).toBe(500);
});
