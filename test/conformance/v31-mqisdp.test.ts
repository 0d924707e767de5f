/**
 * MQTT 3.1, which precedes 3.1.1 and has no numbered statements: Protocol Name MQIsdp, level 3, no session present, and DUP
 * allowed on the packets that a 3.1 client may send again (PUBREL, SUBSCRIBE, UNSUBSCRIBE).
 */
import { describe, expect, test } from "bun:test";
import { field, frame, V31_HEAD } from "../support/hand-made.ts";
import { expectConnackRefusal, expectSilentClose } from "../support/refusal.ts";
import { type TestClient, toHex, toText, World } from "../support/world.ts";

const level = 3;

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

describe("CONNECT", () => {
  test("MQIsdp at level 3 connects", () => {
    const client = new World().open(level);
    client.sendBytes(frame(0x10, V31_HEAD, "02 00 3c", field("63")));
    expect(toHex(client.bytes)).toBe("20 02 00 00");
    expect(client.closed).toBe(false);
  });

  test("MQIsdp at another level gets return code 1", () => {
    for (const value of [0, 1, 2, 4]) {
      const client = new World().open(level);
      client.sendBytes(frame(0x10, "00 06 4d 51 49 73 64 70", `0${value} 02 00 00`, field("63")));
      expect(toHex(client.bytes)).toBe("20 02 00 01");
      expect(client.closed).toBe(true);
    }
  });

  test("an identifier is not optional: empty gets return code 2, with clean session too", () => {
    for (const flags of ["02", "00"]) {
      const client = new World().open(level);
      client.sendBytes(frame(0x10, V31_HEAD, flags, "00 00", field("")));
      expect(toHex(client.bytes)).toBe("20 02 00 02");
      expect(client.closed).toBe(true);
    }
  });

  test("the session is resumed, but CONNACK does not say so: its first byte is reserved", () => {
    const world = new World();
    const init = { level, clientId: "me", cleanStart: false } as const;
    const client = world.connect(init);
    client.subscribe("a", { qos: 1 });
    client.disconnect();
    world.connect({ level }).publish("a", "x", { qos: 1 });
    const again = world.connect(init);
    expect(toHex(again.bytes.slice(0, 4))).toBe("20 02 00 00");
    expect(texts(again)).toEqual(["x"]);
  });

  test("clean session 1 throws the session away", () => {
    const world = new World();
    const client = world.connect({ level, clientId: "me", cleanStart: false });
    client.subscribe("a", { qos: 1 });
    client.disconnect();
    const clean = world.connect({ level, clientId: "me", cleanStart: true });
    world.connect({ level }).publish("a", "x", { qos: 1 });
    expect(clean.packets).toEqual([]);
  });

  test("a Will is published when the network fails", () => {
    const world = new World();
    const watcher = world.connect({ level });
    watcher.subscribe("will");
    world.connect({ level, will: { topicName: "will", payload: "gone", qos: 2 } }).drop();
    expect(texts(watcher)).toEqual(["gone"]);
  });

  test("a refusal has a return code", () => {
    const world = new World({ auth: { ask: () => ({ do: "refuse", because: "bad-credentials" }), abandon: () => {} } });
    expectConnackRefusal(world.dial({ level }), 4);
  });
});

describe("DUP on packets sent again", () => {
  test("SUBSCRIBE and UNSUBSCRIBE with DUP are taken", () => {
    const world = new World();
    const client = world.connect({ level });
    client.sendBytes(frame(0x8a, "00 01", field("61"), "01"));
    expect(client.take("suback")).toMatchObject({ packetId: 1, reasonCodes: [1] });
    world.connect({ level }).publish("a", "x");
    expect(texts(client)).toEqual(["x"]);
    client.sendBytes(frame(0xaa, "00 02", field("61")));
    expect(client.take("unsuback").packetId).toBe(2);
    world.connect({ level }).publish("a", "x");
    expect(client.packets).toEqual([]);
  });

  test("PUBREL with DUP is taken", () => {
    const client = world3();
    client.sendPublish("a", "x", { qos: 2, packetId: 7 });
    client.take("pubrec");
    for (let round = 0; round < 2; round++) {
      client.sendBytes(frame(0x6a, "00 07"));
      expect(client.take("pubcomp").packetId).toBe(7);
    }
  });

  function world3(): TestClient {
    return new World().connect({ level });
  }

  test("other wrong flags close the connection", () => {
    for (const byte of [0x80, 0x83, 0x86, 0x81]) {
      const client = world3();
      client.sendBytes(frame(byte, "00 01", field("61"), "01"));
      expectSilentClose(client);
    }
  });

  test("3.1.1 and 5.0 clients have no such licence", () => {
    const client = new World().connect({ level: 4 });
    client.sendBytes(frame(0x8a, "00 01", field("61"), "01"));
    expectSilentClose(client);
  });
});

describe("delivery", () => {
  test("QoS 0, 1 and 2 in both directions, with the other levels", () => {
    const world = new World();
    const client = world.connect({ level });
    client.subscribe("down");
    const others = ([4, 5] as const).map((other) => {
      const subscriber = world.connect({ level: other });
      subscriber.subscribe("up");
      return subscriber;
    });
    for (const qos of [0, 1, 2] as const) {
      client.publish("up", `${qos}`, { qos });
      for (const other of others) {
        expect(other.takePublishes()).toMatchObject([{ qos, retain: false, dup: false }]);
        other.publish("down", `${qos}`, { qos });
        expect(client.takePublishes()).toMatchObject([{ qos, retain: false, dup: false }]);
      }
    }
  });

  test("retained messages, wildcards and UNSUBSCRIBE work as in 3.1.1", () => {
    const world = new World();
    world.connect({ level }).publish("a/b", "kept", { qos: 1, retain: true });
    const client = world.connect({ level });
    client.subscribe("a/#");
    expect(client.takePublishes()).toMatchObject([{ retain: true, qos: 1 }]);
    client.unsubscribe("a/#");
    world.connect({ level }).publish("a/b", "new");
    expect(client.packets).toEqual([]);
  });

  test("a failed filter and a violation: 0x80 in SUBACK, the end without a packet", () => {
    const world = new World({ limits: { subscriptionsPerClientMax: 1 } });
    const client = world.connect({ level });
    expect(client.subscribe(["a", "b"], { qos: 1 }).reasonCodes).toEqual([1, 0x80]);
    client.sendBytes("d0 00");
    expectSilentClose(client);
  });
});
