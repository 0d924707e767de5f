/** MQTT 3.1.1 section 3.3: PUBLISH, its flags, its topic, and who gets it. Retained messages are in v311-3.3-retain.test.ts. */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import { field, frame } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toHex, toText, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

describe("3.3.1.1 DUP", () => {
  test("[MQTT311-3.3.1-1] [MQTT311-3.3.1-3] DUP is 0 the first time and 1 when the message is sent again", () => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    let client = connect(world, init);
    client.subscribe("a");
    const publisher = connect(world);
    publisher.publish("a", "1", { qos: 1 });
    publisher.publish("a", "2", { qos: 2 });
    expect(client.packets).toMatchObject([{ dup: false }, { dup: false }]);
    for (let round = 0; round < 2; round++) {
      client.drop();
      client = connect(world, init);
      expect(client.packets).toMatchObject([
        { type: "publish", dup: true, qos: 1 },
        { type: "publish", dup: true, qos: 2 },
      ]);
    }
  });

  test("[MQTT311-3.3.1-1] a message that only waited is sent for the first time", () => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    const client = connect(world, init);
    client.subscribe("a");
    client.drop();
    connect(world).publish("a", "x", { qos: 1 });
    expect(connect(world, init).packets).toMatchObject([{ type: "publish", dup: false }]);
  });

  test("[MQTT311-3.3.1-2] [MQTT311-4.3.1-1] at QoS 0 DUP is 0, even if the publisher's copy had it", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a", { qos: 0 });
    const publisher = connect(world);
    for (const qos of [1, 2] as const) publisher.publish("a", "x", { qos, dup: true });
    expect(client.takeAll()).toMatchObject([
      { dup: false, qos: 0 },
      { dup: false, qos: 0 },
    ]);
  });

  test.each<[QoS]>([[1], [2]])("[MQTT311-3.3.1-3] DUP of a QoS %i PUBLISH is not passed on", (qos) => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a");
    connect(world).publish("a", "x", { qos, dup: true });
    expect(client.take("publish")).toMatchObject({ dup: false, qos });
  });
});

describe("3.3.1.2 QoS", () => {
  test.each([0x36, 0x37, 0x3e, 0x3f])(
    "[MQTT311-3.3.1-4] first byte code %i, QoS bits 11, closes the connection",
    (byte) => {
      const world = new World();
      const watcher = connect(world);
      watcher.subscribe("#");
      const client = connect(world);
      client.sendBytes(frame(byte, field("61"), "00 01 78"));
      expectSilentClose(client);
      expect(watcher.packets).toEqual([]);
    },
  );
});

describe("3.3.2 topic", () => {
  test("[MQTT311-3.3.2-1] the Topic Name comes first, and goes out first", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("#", { qos: 1 });
    connect(world).sendBytes(frame(0x32, field("61 2f 62"), "00 09 01 02"));
    expect(toHex(client.bytes)).toEndWith("32 09 00 03 61 2f 62 00 01 01 02");
  });

  test("[MQTT311-3.3.2-1] a PUBLISH too short for its topic or identifier closes the connection", () => {
    for (const bytes of ["30 00", "30 01 00", "30 03 00 02 61", "32 03 00 01 61", "32 04 00 01 61 00"]) {
      const client = connect(new World());
      client.sendBytes(bytes);
      expectSilentClose(client);
    }
  });

  test.each(["#", "+", "a/#", "+/a", "a+", "a#b"])(
    "[MQTT311-3.3.2-2] a wildcard in Topic Name %s closes the connection and reaches nobody",
    (topicName) => {
      const world = new World();
      const watcher = connect(world);
      watcher.subscribe("#");
      const client = connect(world);
      client.sendPublish(topicName, "x", { qos: 1 });
      expectSilentClose(client);
      expect(watcher.packets).toEqual([]);
    },
  );

  test("[MQTT311-3.3.2-3] a client gets what its filters match and nothing else", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe(["a/+", "b/#", "c"]);
    const publisher = connect(world);
    const names = ["a", "a/1", "a/1/2", "b", "b/1/2", "c", "c/1", "d", "A/1", "/a/1", "a/"];
    for (const topicName of names) publisher.publish(topicName, topicName, { qos: 1 });
    expect(texts(client)).toEqual(["a/1", "b", "b/1/2", "c", "a/"]);
  });
});

describe("3.3.4 response", () => {
  test("[MQTT311-3.3.4-1] QoS 0: none, QoS 1: PUBACK, QoS 2: PUBREC, each of four bytes", () => {
    const client = connect(new World());
    const before = client.bytes.length;
    client.sendPublish("a", "x", { qos: 0 });
    expect(client.bytes.length).toBe(before);
    client.sendPublish("a", "x", { qos: 1, packetId: 0x1234 });
    expect(toHex(client.bytes.slice(before))).toBe("40 02 12 34");
    client.sendPublish("a", "x", { qos: 2, packetId: 0x1235 });
    expect(toHex(client.bytes.slice(before + 4))).toBe("50 02 12 35");
  });
});

describe("3.3.5 actions", () => {
  test.each<[string, QoS[], QoS]>([
    ["in ascending order", [0, 1, 2], 2],
    ["in descending order", [2, 1, 0], 2],
    ["without QoS 2", [1, 0, 1], 1],
  ])("[MQTT311-3.3.5-1] overlapping filters %s: the highest QoS that matches, once", (_, grants, highest) => {
    const world = new World();
    const client = connect(world);
    for (const [index, filter] of ["a/b", "a/+", "#"].entries()) client.subscribe(filter, { qos: grants[index]! });
    connect(world).publish("a/b", "x", { qos: 2 });
    expect(client.takePublishes().map((publish) => publish.qos)).toEqual([highest]);
  });

  test.each<[QoS]>([[0], [1], [2]])(
    "[MQTT311-3.3.5-2] a QoS %i PUBLISH that is not allowed is acknowledged as if it were, and goes nowhere",
    (qos) => {
      const world = new World({
        auth: {
          ask: () => ({
            do: "accept",
            principal: {
              id: "p",
              permissions: {
                allow: [
                  { on: "sub", filter: "#" },
                  { on: "pub", filter: "open" },
                ],
              },
            },
          }),
          abandon: () => {},
        },
      });
      const watcher = connect(world);
      watcher.subscribe("#");
      const client = connect(world);
      expect(client.publish("closed", "x", { qos, retain: true })).toBe(0);
      expect(client.closed).toBe(false);
      expect(watcher.packets).toEqual([]);
      client.publish("open", "y", { qos });
      expect(texts(watcher)).toEqual(["y"]);
    },
  );
});
