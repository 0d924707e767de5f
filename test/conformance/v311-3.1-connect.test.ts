/** MQTT 3.1.1 section 3.1: CONNECT as a packet, keep alive, client identifiers, and the answer. */
import { describe, expect, test } from "bun:test";
import type { AuthHost } from "../../src/core/ports.ts";
import { field, frame, glue, V311_HEAD } from "../support/hand-made.ts";
import { expectConnackRefusal, expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, connectPacket, type TestClient, toHex, toText, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

function opened(bytes: Uint8Array): TestClient {
  const client = new World().open(level);
  client.sendBytes(bytes);
  return client;
}

describe("3.1.0 the first packet", () => {
  test.each([
    ["PUBLISH", frame(0x30, field("61"))],
    ["SUBSCRIBE", frame(0x82, "00 01", field("61"), "00")],
    ["PINGREQ", frame(0xc0)],
    ["DISCONNECT", frame(0xe0)],
    ["CONNACK", frame(0x20, "00 00")],
  ])("[MQTT311-3.1.0-1] %s before CONNECT closes the connection without an answer", (_, bytes) => {
    expectSilentClose(opened(bytes));
  });

  test("[MQTT311-3.1.0-2] a second CONNECT disconnects the client, as a failure: its Will is published", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("will");
    const client = connect(world, { clientId: "me", will: { topicName: "will", payload: "gone" } });
    client.send(connectPacket("me", { level }));
    expectSilentClose(client);
    client.drop();
    expect(watcher.takePublishes().map((publish) => toText(publish.payload))).toEqual(["gone"]);
  });
});

describe("3.1.2 variable header", () => {
  test.each(["4d 51 54 53", "6d 71 74 74", "4d 51 54", "4d 51 54 54 54", "", "48 54 54 50", "4d 51 49 73 64 71"])(
    "[MQTT311-3.1.2-1] Protocol Name <%s> closes the connection without an answer",
    (name) => {
      expectSilentClose(opened(frame(0x10, field(name), "04 02 00 00", field("63"))));
    },
  );

  test.each([0, 1, 2, 3])("[MQTT311-3.1.2-2] Protocol Level %i gets return code 1 and the end", (value) => {
    const client = opened(frame(0x10, "00 04 4d 51 54 54", `0${value} 02 00 00`, field("63")));
    expect(toHex(client.bytes)).toBe("20 02 00 01");
    expect(client.closed).toBe(true);
  });

  test("[MQTT311-3.1.2-3] the reserved connect flag closes the connection without an answer", () => {
    expectSilentClose(opened(frame(0x10, V311_HEAD, "03 00 00", field("63"))));
    expectSilentClose(opened(frame(0x10, V311_HEAD, "01 00 00", field("63"))));
  });

  test.each([
    ["[MQTT311-3.1.2-11] Will QoS 1 without Will Flag", "0a"],
    ["[MQTT311-3.1.2-13] Will QoS 2 without Will Flag", "12"],
    ["[MQTT311-3.1.2-15] Will Retain without Will Flag", "22"],
    ["[MQTT311-3.1.2-22] Password Flag without User Name Flag", "42"],
  ])("[MQTT311-3.1.4-1] %s closes the connection without an answer", (_, flags) => {
    expectSilentClose(opened(frame(0x10, V311_HEAD, flags, "00 00", field("63"), field("70"))));
  });

  test("[MQTT311-3.1.2-14] Will QoS 3 closes the connection without an answer", () => {
    expectSilentClose(opened(frame(0x10, V311_HEAD, "1e 00 00", field("63"), field("77"), field("78"))));
  });
});

describe("3.1.2.10 Keep Alive", () => {
  test("[MQTT311-3.1.2-24] silence for one and a half times the Keep Alive ends the connection as a failure would", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("will");
    const client = connect(world, { keepAlive: 10, will: { topicName: "will", payload: "gone" } });
    world.advance(14_900);
    expect(client.closed).toBe(false);
    expect(watcher.packets).toEqual([]);
    world.advance(1100);
    expectSilentClose(client);
    client.drop();
    expect(watcher.takePublishes().map((publish) => toText(publish.payload))).toEqual(["gone"]);
  });

  test("[MQTT311-3.1.2-24] any packet from the client starts the time anew, packets to it do not", () => {
    const world = new World();
    const client = connect(world, { keepAlive: 10 });
    const publisher = connect(world);
    client.subscribe("a", { qos: 0 });
    for (const send of [
      () => client.send({ type: "pingreq" }),
      () => client.sendPublish("b"),
      () => client.subscribe("c"),
      () => client.sendBytes(frame(0x40, "00 63")),
    ]) {
      world.advance(14_000);
      expect(client.closed).toBe(false);
      send();
    }
    for (let second = 0; second < 16; second++) {
      world.advance(1000);
      if (!client.closed) publisher.publish("a");
    }
    expect(client.closed).toBe(true);
  });

  test("[MQTT311-3.1.2-24] Keep Alive 0 is for ever, and a large one is granted", () => {
    const world = new World();
    const forEver = connect(world, { keepAlive: 0 });
    const long = connect(world, { keepAlive: 65_535 });
    world.advance(98_000_000);
    expect([forEver.closed, long.closed]).toEqual([false, false]);
    world.advance(2_000_000);
    expect([forEver.closed, long.closed]).toEqual([false, true]);
  });
});

describe("3.1.3 payload", () => {
  test("[MQTT311-3.1.3-2] each Client Identifier has its own session", () => {
    const world = new World();
    const init = { cleanStart: false };
    for (const clientId of ["one", "two", "One"]) {
      const client = connect(world, { ...init, clientId });
      client.subscribe(`for/${clientId}`, { qos: 1 });
      client.disconnect();
    }
    const publisher = connect(world);
    for (const clientId of ["one", "two", "One"]) publisher.publish(`for/${clientId}`, clientId, { qos: 1 });
    for (const clientId of ["two", "One", "one"]) {
      const client = connect(world, { ...init, clientId });
      expect(client.connack?.sessionPresent).toBe(true);
      expect(client.takePublishes().map((publish) => toText(publish.payload))).toEqual([clientId]);
    }
  });

  test("[MQTT311-3.1.3-5] identifiers of 1 to 23 bytes of 0-9a-zA-Z are accepted", () => {
    const world = new World();
    const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (let length = 1; length <= 23; length++) {
      for (let start = 0; start < alphabet.length; start += 13) {
        const clientId = (alphabet + alphabet).slice(start, start + length);
        connect(world, { clientId }).disconnect();
      }
    }
  });

  test("longer ones and other characters are accepted too", () => {
    const world = new World();
    for (const clientId of ["x".repeat(24), "x".repeat(65_535), "a/b+c#$ ü\u{1F600}"]) {
      expect(connect(world, { clientId }).connack?.reasonCode).toBe(0);
    }
  });

  test("[MQTT311-3.1.3-6] an empty identifier with clean session gets one of its own", () => {
    const world = new World();
    const clients = [1, 2, 3].map(() => connect(world, { clientId: "", cleanStart: true }));
    expect(clients.map((client) => client.closed)).toEqual([false, false, false]);
    expect(toHex(clients[0]!.bytes)).toBe("20 02 00 00");
    for (const client of clients) client.subscribe("a", { qos: 0 });
    connect(world).publish("a", "x");
    expect(clients.map((client) => client.takePublishes().length)).toEqual([1, 1, 1]);
  });

  test("[MQTT311-3.1.3-8] an empty identifier without clean session gets return code 2 and the end", () => {
    const client = opened(frame(0x10, V311_HEAD, "00 00 00", field("")));
    expect(toHex(client.bytes)).toBe("20 02 00 02");
    expect(client.closed).toBe(true);
  });

  test("[MQTT311-3.1.3-9] an identifier that is not let in gets return code 2 and the end", () => {
    const auth: AuthHost = { ask: () => ({ do: "refuse", because: "client-id" }), abandon: () => {} };
    expectConnackRefusal(new World({ auth }).dial({ level, clientId: "me" }), 2);
  });

  test("[MQTT311-3.1.3-1] the fields are read in the order of the specification", () => {
    let asked: unknown;
    const auth: AuthHost = {
      ask: ({ clientId, username, password, will }) => {
        asked = { clientId, username, password: toText(password!), will };
        return { do: "refuse", because: "banned" };
      },
      abandon: () => {},
    };
    const client = new World({ auth }).open(level);
    const fields = ["63", "77 2f 74", "6d", "75", "70"].map(field);
    client.sendBytes(frame(0x10, V311_HEAD, "ee 00 00", ...fields));
    expect(asked).toEqual({
      clientId: "c",
      username: "u",
      password: "p",
      will: { topicName: "w/t", qos: 1, retain: true },
    });
  });
});

describe("3.1.4 response", () => {
  test.each([
    ["nothing behind the header", frame(0x10, V311_HEAD, "02 00 00")],
    ["an identifier cut short", frame(0x10, V311_HEAD, "02 00 00", "00 05 61")],
    ["a byte too many", frame(0x10, V311_HEAD, "02 00 00", field("63"), "00")],
    ["no user name where the flag says so", frame(0x10, V311_HEAD, "82 00 00", field("63"))],
    ["no password where the flag says so", frame(0x10, V311_HEAD, "c2 00 00", field("63"), field("75"))],
    ["no Will Message where the flag says so", frame(0x10, V311_HEAD, "06 00 00", field("63"), field("77"))],
    ["a user name that the flag does not announce", frame(0x10, V311_HEAD, "02 00 00", field("63"), field("75"))],
    ["half a header", frame(0x10, "00 04 4d 51")],
    ["nothing at all", frame(0x10)],
  ])("[MQTT311-3.1.4-1] a CONNECT with %s closes the connection without CONNACK", (_, bytes) => {
    expectSilentClose(opened(bytes));
  });

  test("[MQTT311-3.1.4-2] the same client identifier again disconnects the old connection", () => {
    const world = new World();
    const first = connect(world, { clientId: "me" });
    const second = connect(world, { clientId: "me" });
    expectSilentClose(first);
    expect(second.closed).toBe(false);
    second.send({ type: "pingreq" });
    second.take("pingresp");
  });

  test("[MQTT311-3.1.4-3] clean session decides what the newcomer finds", () => {
    const world = new World();
    const first = connect(world, { clientId: "me", cleanStart: false });
    first.subscribe("a");
    const second = connect(world, { clientId: "me", cleanStart: false });
    expect(second.connack?.sessionPresent).toBe(true);
    connect(world).publish("a", "x", { qos: 1 });
    expect(second.takePublishes().length).toBe(1);
    const third = connect(world, { clientId: "me", cleanStart: true });
    expect(third.connack?.sessionPresent).toBe(false);
    connect(world).publish("a", "x", { qos: 1 });
    expect(third.packets).toEqual([]);
  });

  test("[MQTT311-3.1.4-4] a good CONNECT is acknowledged with return code 0", () => {
    const client = opened(frame(0x10, V311_HEAD, "02 00 3c", field("63")));
    expect(toHex(client.bytes)).toBe("20 02 00 00");
    expect(client.closed).toBe(false);
  });

  test("[MQTT311-3.1.4-5] nothing that follows a refused CONNECT is processed", () => {
    const refuseMe: AuthHost = {
      ask: ({ clientId }) =>
        clientId === "me"
          ? { do: "refuse", because: "bad-credentials" }
          : { do: "accept", principal: { id: clientId, permissions: { allow: [{ on: "both", filter: "#" }] } } },
      abandon: () => {},
    };
    const world = new World({ auth: refuseMe });
    const watcher = connect(world, { clientId: "watcher" });
    watcher.subscribe("#");
    const connectMe = frame(0x10, V311_HEAD, "00 00 00", field("6d 65"));
    const subscribe = frame(0x82, "00 01", field("61"), "01");
    const publish = frame(0x33, field("61"), "00 02 78");
    const client = world.open(level);
    client.sendBytes(glue(connectMe, subscribe, publish));
    client.sendBytes(publish);
    expect(toHex(client.bytes)).toBe("20 02 00 04");
    expect(client.closed).toBe(true);
    expect(watcher.packets).toEqual([]);
    const late = connect(world, { clientId: "late" });
    late.subscribe("#");
    expect(late.packets).toEqual([]);
  });
});
