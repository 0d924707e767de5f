/** MQTT 3.1.1 sections 1.5.3 (strings), 2.2 (fixed header) and 2.3 (Packet Identifier). */
import { describe, expect, test } from "bun:test";
import { field, frame, V311_HEAD } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toBytes, toHex, toText, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

/** Every place a client puts a string, with these bytes as the string. */
function placesFor(content: string): [place: string, bytes: Uint8Array, connected: boolean][] {
  const text = field(content);
  return [
    ["Client Identifier", frame(0x10, V311_HEAD, "02 00 00", text), false],
    ["Will Topic", frame(0x10, V311_HEAD, "06 00 00", field("63"), text, field("78")), false],
    ["User Name", frame(0x10, V311_HEAD, "82 00 00", field("63"), text), false],
    ["Topic Name", frame(0x30, text), true],
    ["Topic Name at QoS 1", frame(0x32, text, "00 01"), true],
    ["Topic Filter", frame(0x82, "00 01", text, "00"), true],
    ["Topic Filter of UNSUBSCRIBE", frame(0xa2, "00 01", text), true],
  ];
}

function expectAllRefused(content: string): void {
  for (const [place, bytes, connected] of placesFor(content)) {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("#");
    const client = connected ? connect(world) : world.open(level);
    client.sendBytes(bytes);
    expect([place, client.closed]).toEqual([place, true]);
    expectSilentClose(client);
    expect(watcher.packets).toEqual([]);
  }
}

describe("1.5.3 strings", () => {
  test.each([
    ["a surrogate", "ed a0 80"],
    ["a surrogate pair", "ed a0 81 ed b0 80"],
    ["an over-long form", "c1 81"],
    ["an over-long form of three bytes", "e0 80 af"],
    ["a byte that never occurs", "61 ff"],
    ["a continuation byte alone", "80"],
    ["a character that is cut short", "61 e2 82"],
    ["a code point above U+10FFFF", "f4 90 80 80"],
  ])("[MQTT311-1.5.3-1] %s closes the connection, wherever it stands", (_, content) => expectAllRefused(content));

  test("[MQTT311-1.5.3-2] U+0000 closes the connection, wherever it stands", () => {
    for (const content of ["00", "61 00 62", "61 00"]) expectAllRefused(content);
  });

  test("[MQTT311-1.5.3-1] well-formed characters of every length go through unchanged", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("#", { qos: 0 });
    const topicName = "aü€\u{1F600}\u{10ffff}\ud7ff\ue000\uffff";
    connect(world).publish(topicName, "x");
    expect(client.take("publish").topicName).toBe(topicName);
    expect(toHex(client.bytes)).toContain(toHex(toBytes(topicName)));
  });

  test("[MQTT311-1.5.3-3] EF BB BF is a character like any other and never stripped", () => {
    const world = new World();
    const [marked, plain] = [connect(world), connect(world)];
    marked.subscribe("\ufeffa", { qos: 0 });
    plain.subscribe("a", { qos: 0 });
    connect(world).sendBytes(frame(0x30, field("ef bb bf 61"), "78"));
    expect(toHex(marked.bytes)).toEndWith("30 07 00 04 ef bb bf 61 78");
    expect(plain.packets).toEqual([]);
    // The client id too: two sessions.
    connect(world, { clientId: "\ufeffid" });
    const other = connect(world, { clientId: "id" });
    expect(other.closed).toBe(false);
  });
});

describe("2.2.2 flags", () => {
  test("[MQTT311-2.2.2-1] what the broker sends has the flags of the table", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a", { qos: 2 });
    client.unsubscribe("b");
    client.send({ type: "pingreq" });
    client.publish("x", "", { qos: 1 });
    client.publish("x", "", { qos: 2 });
    client.publish("a", "", { qos: 2 });
    client.takePublishes();
    const first: number[] = [];
    for (let at = 0; at < client.bytes.length; at += 2 + client.bytes[at + 1]!) first.push(client.bytes[at]!);
    const byType = new Map(first.map((byte) => [byte >> 4, byte & 0x0f]));
    expect([...byType].sort((a, b) => a[0] - b[0])).toEqual([
      [2, 0],
      [3, 4],
      [4, 0],
      [5, 0],
      [6, 2],
      [7, 0],
      [9, 0],
      [11, 0],
      [13, 0],
    ]);
  });

  test.each([
    ["CONNECT", 0x10, 0, `${V311_HEAD} 02 00 00 00 01 63`],
    ["PUBACK", 0x40, 0, "00 01"],
    ["PUBREC", 0x50, 0, "00 01"],
    ["PUBREL", 0x60, 2, "00 01"],
    ["PUBCOMP", 0x70, 0, "00 01"],
    ["SUBSCRIBE", 0x80, 2, "00 01 00 01 61 00"],
    ["UNSUBSCRIBE", 0xa0, 2, "00 01 00 01 61"],
    ["PINGREQ", 0xc0, 0, ""],
    ["DISCONNECT", 0xe0, 0, ""],
  ])("[MQTT311-2.2.2-1] [MQTT311-2.2.2-2] %s with other flags closes the connection", (name, type, allowed, body) => {
    for (let flags = 0; flags < 16; flags++) {
      if (flags === allowed) continue;
      const world = new World();
      const client = name === "CONNECT" ? world.open(level) : connect(world);
      client.sendBytes(frame(type | flags, body));
      expect([flags, client.closed]).toEqual([flags, true]);
      expectSilentClose(client);
    }
  });
});

describe("2.3.1 Packet Identifier", () => {
  test.each([
    ["SUBSCRIBE", frame(0x82, "00 00", field("61"), "00")],
    ["UNSUBSCRIBE", frame(0xa2, "00 00", field("61"))],
    ["PUBLISH at QoS 1", frame(0x32, field("61"), "00 00")],
    ["PUBLISH at QoS 2", frame(0x34, field("61"), "00 00")],
  ])("[MQTT311-2.3.1-1] %s with Packet Identifier 0 closes the connection", (_, bytes) => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("#");
    const client = connect(world);
    client.sendBytes(bytes);
    expectSilentClose(client);
    expect(watcher.packets).toEqual([]);
  });

  test("[MQTT311-2.3.1-1] [MQTT311-2.3.1-4] messages in flight have different identifiers, none of them 0", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a");
    const publisher = connect(world);
    for (let index = 0; index < 100; index++) publisher.publish("a", "", { qos: index % 2 === 0 ? 1 : 2 });
    const identifiers = client.takeAll().map((packet) => (packet.type === "publish" ? packet.packetId : 0));
    expect(identifiers.length).toBe(100);
    expect(new Set(identifiers).size).toBe(100);
    expect(identifiers).not.toContain(0);
  });

  test("[MQTT311-2.3.1-4] an identifier is not used again before its message is through", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a");
    const publisher = connect(world);
    publisher.publish("a", "", { qos: 2 });
    const first = client.take("publish").packetId!;
    client.send({ type: "pubrec", packetId: first, reasonCode: 0, properties: {} });
    client.take("pubrel");
    for (let index = 0; index < 20; index++) {
      publisher.publish("a", "", { qos: 1 });
      const { packetId } = client.take("publish");
      expect(packetId).not.toBe(first);
      client.send({ type: "puback", packetId: packetId!, reasonCode: 0, properties: {} });
    }
  });

  test("[MQTT311-2.3.1-4] a message that is sent again keeps its identifier", () => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    const client = connect(world, init);
    client.subscribe("a");
    const publisher = connect(world);
    for (const payload of ["1", "2"]) publisher.publish("a", payload, { qos: 1 });
    const before = client.takeAll().map((packet) => (packet.type === "publish" ? packet.packetId : -1));
    client.drop();
    const after = connect(world, init)
      .takeAll()
      .map((packet) => (packet.type === "publish" ? packet.packetId : -1));
    expect(after).toEqual(before);
  });

  test("[MQTT311-2.3.1-5] a QoS 0 PUBLISH has none, in either direction", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a", { qos: 0 });
    connect(world).sendBytes(frame(0x30, field("61"), "00 07 78"));
    // All bytes behind the name are payload.
    expect(toHex(client.take("publish").payload)).toBe("00 07 78");
    connect(world).publish("a", "x", { qos: 2 });
    expect(toHex(client.bytes)).toEndWith("30 04 00 01 61 78");
  });

  test.each([1, 0x0102, 0xffff])("[MQTT311-2.3.1-6] acknowledgements repeat PUBLISH's identifier %i", (packetId) => {
    const client = connect(new World());
    client.sendPublish("a", "", { qos: 1, packetId });
    expect(client.take("puback").packetId).toBe(packetId);
    client.sendPublish("a", "", { qos: 2, packetId });
    expect(client.take("pubrec").packetId).toBe(packetId);
    client.send({ type: "pubrel", packetId, reasonCode: 0, properties: {} });
    expect(client.take("pubcomp").packetId).toBe(packetId);
  });

  test("[MQTT311-2.3.1-6] PUBREL repeats it as well", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a");
    connect(world).publish("a", "x", { qos: 2 });
    const { packetId, payload } = client.take("publish");
    expect(toText(payload)).toBe("x");
    client.send({ type: "pubrec", packetId: packetId!, reasonCode: 0, properties: {} });
    expect(client.take("pubrel").packetId).toBe(packetId!);
  });

  test.each([1, 0x0102, 0xffff])("[MQTT311-2.3.1-7] SUBACK and UNSUBACK repeat identifier %i", (packetId) => {
    const client = connect(new World());
    const hex = packetId.toString(16).padStart(4, "0");
    client.sendBytes(frame(0x82, hex, field("61"), "00"));
    expect(client.take("suback").packetId).toBe(packetId);
    client.sendBytes(frame(0xa2, hex, field("61")));
    expect(client.take("unsuback").packetId).toBe(packetId);
  });
});
