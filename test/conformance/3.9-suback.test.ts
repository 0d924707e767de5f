/** MQTT 5.0 section 3.9: SUBACK. */
import { describe, expect, test } from "bun:test";
import type { AuthHost } from "../../src/core/ports.ts";
import { toHex, World } from "../support/world.ts";

/** Lets everybody in and subscribe below `open/` only. */
const openOnly: AuthHost = {
  ask: () => ({ do: "accept", principal: { id: "p", permissions: { allow: [{ on: "both", filter: "open/#" }] } } }),
  abandon: () => {},
};

/** Room for CONNACK and for a SUBACK of fourteen bare reason codes, not for a string as well. */
const PACKET_BYTES = 20;
const FILTERS = Array.from({ length: 14 }, (_, index) => `closed/${index}`);

describe("3.9.2 properties", () => {
  test("[MQTT-3.9.2-1] [MQTT-3.9.2-2] a SUBACK drops its strings rather than outgrow the client's Maximum Packet Size", () => {
    const world = new World({ auth: openOnly });
    const client = world.connect({ properties: { maximumPacketSize: PACKET_BYTES } });
    const before = client.bytes.length;
    const suback = client.subscribe(FILTERS);
    expect(suback.reasonCodes).toEqual(FILTERS.map(() => 0x87));
    expect(suback.properties).toEqual({});
    expect(client.bytes.length - before).toBe(2 + 2 + 1 + FILTERS.length);
  });

  test("[MQTT-3.9.2-1] [MQTT-3.9.2-2] whatever room there is, a SUBACK keeps within it", () => {
    const world = new World({ auth: openOnly });
    for (let room = PACKET_BYTES; room < 120; room++) {
      const client = world.connect({ properties: { maximumPacketSize: room } });
      const before = client.bytes.length;
      expect(client.subscribe(FILTERS).reasonCodes.length).toBe(FILTERS.length);
      expect(client.bytes.length - before).toBeLessThanOrEqual(room);
      client.disconnect();
    }
  });

  test("[MQTT-3.1.2-29] Request Problem Information 0: no Reason String, no User Property", () => {
    const world = new World({ auth: openOnly });
    const client = world.connect({ properties: { requestProblemInformation: 0 } });
    expect(client.subscribe("closed/a").properties).toEqual({});
  });
});

describe("3.9.3 payload", () => {
  test("[MQTT-3.9.3-1] the codes come in the order of the filters", () => {
    const client = new World({ auth: openOnly }).connect();
    const filters = ["open/a", "closed", "open/#", "open/+/x", "closed/b", "open/b"];
    const qos = [2, 2, 0, 1, 1, 1] as const;
    client.send({
      type: "subscribe",
      packetId: 3,
      filters: filters.map((topicFilter, index) => ({
        topicFilter,
        qos: qos[index]!,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0 as const,
      })),
      properties: {},
    });
    expect(client.take("suback").reasonCodes).toEqual([2, 0x87, 0, 1, 0x87, 1]);
  });

  test("[MQTT-3.9.3-2] one SUBACK code for each filter, a thousand filters included", () => {
    const client = new World().connect();
    const filters = Array.from({ length: 1000 }, (_, index) => `a/${index}`);
    const { reasonCodes } = client.subscribe(filters, { qos: 1 });
    expect(reasonCodes.length).toBe(1000);
    expect(new Set(reasonCodes)).toEqual(new Set([1]));
  });

  test("[MQTT-3.9.3-2] only codes of the SUBACK table, whatever the filter", () => {
    const table = new Set([0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]);
    const world = new World({ limits: { subscriptionsPerClientMax: 3, topicLevelsMax: 4 }, auth: openOnly });
    const client = world.connect();
    for (const filter of ["open/a", "x", "open/1/2/3/4/5", "open/b", "open/c", "open/d"]) {
      const { reasonCodes } = client.subscribe(filter);
      expect(reasonCodes.length).toBe(1);
      expect(table).toContain(reasonCodes[0]!);
    }
  });

  test("the whole packet, byte by byte", () => {
    const client = new World().connect();
    const before = client.bytes.length;
    client.sendBytes("82 0f ab cd 00 00 01 61 02 00 01 62 01 00 01 63 00");
    expect(toHex(client.bytes.slice(before))).toBe("90 06 ab cd 00 02 01 00");
  });
});
