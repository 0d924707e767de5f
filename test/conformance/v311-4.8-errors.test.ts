/**
 * MQTT 3.1.1 sections 3.12 (PINGREQ), 3.14 (DISCONNECT), 4.8 (errors) and 7 (conformance): the small packets, what closes a
 * connection, and one whole conversation byte by byte.
 */
import { describe, expect, test } from "bun:test";
import type { AuthHost } from "../../src/core/ports.ts";
import { field, frame, V311_HEAD } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toHex, toText, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

describe("3.12 PINGREQ", () => {
  test("[MQTT311-3.12.4-1] every PINGREQ is answered with PINGRESP", () => {
    const client = connect(new World());
    const mark = client.bytes.length;
    client.sendBytes("c0 00 c0 00");
    client.sendBytes("c0");
    client.sendBytes("00");
    expect(toHex(client.bytes.slice(mark))).toBe("d0 00 d0 00 d0 00");
  });

  test("a PINGREQ with a body closes the connection", () => {
    const client = connect(new World());
    client.sendBytes("c0 01 00");
    expectSilentClose(client);
  });
});

describe("3.14 DISCONNECT", () => {
  test("[MQTT311-3.14.1-1] reserved bits close the connection, and that is a failure: the Will is published", () => {
    for (const byte of [0xe1, 0xe2, 0xe4, 0xe8, 0xef]) {
      const world = new World();
      const watcher = connect(world);
      watcher.subscribe("will");
      const client = connect(world, { will: { topicName: "will", payload: "gone" } });
      client.sendBytes(frame(byte));
      expectSilentClose(client);
      client.drop();
      expect(watcher.takePublishes().map((publish) => toText(publish.payload))).toEqual(["gone"]);
    }
  });

  test("[MQTT311-3.14.4-3] a good one discards the Will and ends the connection", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("will");
    const client = connect(world, { will: { topicName: "will", payload: "gone" } });
    client.sendBytes("e0 00");
    expectSilentClose(client);
    client.drop();
    world.advance(3_600_000);
    expect(watcher.packets).toEqual([]);
  });

  test("[MQTT311-3.14.4-2] nothing behind DISCONNECT is processed", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("#");
    const client = connect(world);
    client.sendBytes("e0 00 30 04 00 01 61 78");
    client.sendBytes("30 04 00 01 61 78");
    expectSilentClose(client);
    expect(watcher.packets).toEqual([]);
  });
});

describe("4.8 errors", () => {
  test.each([
    ["Control Packet type 0", "00 00"],
    ["Control Packet type 15, which MQTT 3.1.1 does not have", "f0 00"],
    ["CONNACK from a client", "20 02 00 00"],
    ["SUBACK from a client", "90 03 00 01 00"],
    ["UNSUBACK from a client", "b0 02 00 01"],
    ["PINGRESP from a client", "d0 00"],
    ["a Remaining Length of five bytes", "30 80 80 80 80 01"],
    ["PUBACK without identifier", "40 00"],
    ["PUBACK with a byte too many", "40 03 00 01 00"],
    ["PUBREL with a byte too many", "62 03 00 01 00"],
    ["DISCONNECT with a body", "e0 01 00"],
    ["UNSUBSCRIBE cut short", "a2 04 00 01 00 05"],
  ])("[MQTT311-4.8.0-1] %s closes the connection without a packet; nobody else notices", (_, bytes) => {
    const world = new World();
    const other = connect(world);
    other.subscribe("a");
    const client = connect(world);
    client.sendBytes(bytes);
    expectSilentClose(client);
    expect(other.closed).toBe(false);
    connect(world).publish("a", "x");
    expect(other.takePublishes().length).toBe(1);
  });

  test("[MQTT311-4.8.0-1] nothing behind the violation is processed", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("#");
    const client = connect(world);
    client.sendBytes("30 04 00 01 61 31 d0 00 30 04 00 01 61 32");
    expectSilentClose(client);
    expect(watcher.takePublishes().map((publish) => toText(publish.payload))).toEqual(["1"]);
  });

  test("[MQTT311-4.8.0-1] a packet above the broker's bound closes the connection as soon as its length is known", () => {
    const client = connect(new World({ limits: { packetBytesMax: 1000 } }));
    client.sendBytes("30 ff 07");
    expectSilentClose(client);
  });

  test("[MQTT311-4.8.0-2] no room to hold a packet that cannot be processed yet: the connection is closed", () => {
    const undecided: AuthHost = { ask: () => undefined, abandon: () => {} };
    const world = new World({ auth: undecided, limits: { heldInputBytesMax: 100 } });
    const client = world.dial({ level });
    const publish = frame(0x30, field("61"), "78 ".repeat(40));
    client.sendBytes(publish);
    client.sendBytes(publish);
    expect(client.closed).toBe(false);
    client.sendBytes(publish);
    expectSilentClose(client);
  });
});

describe("7 conformance", () => {
  test("[MQTT311-7.0.0-2] a plain conversation needs nothing but the specification, byte by byte", () => {
    const world = new World();
    const client = world.open(level);
    const dialogue: readonly (readonly [string, string])[] = [
      [`10 0d ${V311_HEAD} 02 00 3c 00 01 63`, "20 02 00 00"],
      ["82 0a 00 01 00 01 61 00 00 01 62 02", "90 04 00 01 00 02"],
      ["30 05 00 01 61 68 69", "30 05 00 01 61 68 69"],
      ["32 07 00 01 61 00 02 68 69", "30 05 00 01 61 68 69 40 02 00 02"],
      ["34 07 00 01 62 00 03 68 69", "34 07 00 01 62 00 01 68 69 50 02 00 03"],
      ["62 02 00 03", "70 02 00 03"],
      ["50 02 00 01", "62 02 00 01"],
      ["70 02 00 01", ""],
      ["31 05 00 01 61 68 69", "30 05 00 01 61 68 69"],
      ["82 06 00 04 00 01 61 01", "90 03 00 04 01 31 05 00 01 61 68 69"],
      ["a2 05 00 05 00 01 61", "b0 02 00 05"],
      ["30 05 00 01 61 68 69", ""],
      ["c0 00", "d0 00"],
      ["e0 00", ""],
    ];
    for (const [sent, expected] of dialogue) {
      const mark = client.bytes.length;
      client.sendBytes(sent);
      // A PUBLISH may come before or after the acknowledgement of another one: compare packets, not their order.
      const sorted = (hex: string) => cut(hex).sort();
      expect([sent, sorted(toHex(client.bytes.slice(mark)))]).toEqual([sent, sorted(expected)]);
    }
    expect(client.closed).toBe(true);
  });

  /** Packets of less than 128 bytes, as hex. */
  function cut(hex: string): string[] {
    const bytes = hex === "" ? [] : hex.split(" ");
    const packets: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const end = at + 2 + Number.parseInt(bytes[at + 1]!, 16);
      packets.push(bytes.slice(at, end).join(" "));
      at = end;
    }
    return packets;
  }
});
