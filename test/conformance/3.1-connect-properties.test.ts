/**
 * MQTT 5.0 section 3.1.2.11: the CONNECT properties and what the broker does and leaves because of them.
 */
import { expect, test } from "bun:test";
import type { Publish } from "../../src/core/codec/publish.ts";
import { expectAlive, expectRefusal } from "../support/ending.ts";
import { joinBytes, rawConnect, rawPacket, splitPackets } from "../support/raw-packet.ts";
import { accept, answers, goOn } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

function payloadsOf(client: TestClient): string[] {
  return client.takePublishes().map(({ payload }) => toText(payload));
}

function publishesOf(client: TestClient): Publish[] {
  return client.takeAll().filter((packet) => packet.type === "publish");
}

// --- Receive Maximum

for (const receiveMaximum of [1, 3]) {
  test(`Receive Maximum ${receiveMaximum}: so many QoS 1 and 2 messages are in flight at once, QoS 0 goes on`, () => {
    const world = new World();
    const client = world.connect({ properties: { receiveMaximum } });
    client.subscribe("a");
    const publisher = world.connect();
    for (let count = 0; count < 5; count++) publisher.publish("a", "", { qos: count % 2 === 0 ? 1 : 2 });
    publisher.publish("a", "zero");
    const sent = publishesOf(client);
    expect(sent.filter(({ qos }) => qos > 0)).toHaveLength(receiveMaximum);
    expect(sent.filter(({ qos }) => qos === 0)).toHaveLength(1);
  });
}

// --- Maximum Packet Size

/** A QoS 0 PUBLISH to "a" takes six bytes besides its payload, QoS 1 and 2 eight. */
test("[MQTT-3.1.2-24] a message that fills Maximum Packet Size is sent, one that is a byte longer is not", () => {
  const world = new World();
  const client = world.connect({ properties: { maximumPacketSize: 40 } });
  client.subscribe("a");
  const publisher = world.connect();
  for (const [qos, payloadBytesMax] of [
    [0, 34],
    [1, 32],
    [2, 32],
  ] as const) {
    publisher.publish("a", new Uint8Array(payloadBytesMax + 1), { qos });
    expect(client.takePublishes()).toEqual([]);
    publisher.publish("a", new Uint8Array(payloadBytesMax), { qos });
    expect(client.takePublishes().map(({ payload }) => payload.length)).toEqual([payloadBytesMax]);
  }
});

test("[MQTT-3.1.2-24] nothing the broker sends is larger, whatever the client provokes", () => {
  const world = new World({ config: { sysIntervalMs: 1_000 } });
  const client = world.connect({ properties: { maximumPacketSize: 24 } });
  client.subscribe(["#", "$SYS/#"]);
  world.connect().publish("a-topic-name/that-is-too-long-by-itself", "x", { qos: 1, retain: true });
  client.publish("$not/for/clients", "", { qos: 1 });
  client.subscribe(["a/#/b"]);
  client.unsubscribe(["nothing", "of", "this"]);
  client.send({ type: "pubrel", packetId: 99, reasonCode: 0, properties: {} });
  world.advance(5_000);
  client.sendBytes("82 02 00 01");
  expect(client.closed).toBe(true);
  const sizes = splitPackets(client.bytes).map((packet) => packet.length);
  expect(sizes.length).toBeGreaterThan(4);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(24);
});

test("[MQTT-3.1.2-24] CONNACK itself stays within a Maximum Packet Size of 20", () => {
  const world = new World();
  const client = world.connect({ properties: { maximumPacketSize: 20 } });
  expect(client.bytes.length).toBeLessThanOrEqual(20);
});

test("[MQTT-3.1.2-24] where even CONNACK is too large, it is not sent", () => {
  const client = new World().dial({ clientId: "", properties: { maximumPacketSize: 5 } });
  for (const packet of splitPackets(client.bytes)) expect(packet.length).toBeLessThanOrEqual(5);
  if (client.bytes.length === 0) expect(client.closed).toBe(true);
});

for (const qos of [1, 2] as const) {
  test(`[MQTT-3.1.2-25] a QoS ${qos} message that is too large counts as delivered: it blocks nothing and never comes`, () => {
    const world = new World();
    const init: ConnectInit = {
      clientId: "small",
      cleanStart: false,
      properties: { maximumPacketSize: 100, receiveMaximum: 1, sessionExpiryInterval: 100 },
    };
    const client = world.connect(init);
    client.subscribe("a");
    const publisher = world.connect();
    expect(publisher.publish("a", "x".repeat(1_000), { qos })).toBe(0);
    for (const payload of ["1", "2", "3"]) publisher.publish("a", payload, { qos });
    expect(payloadsOf(client)).toEqual(["1", "2", "3"]);
    client.drop();
    const properties = { sessionExpiryInterval: 100 };
    expect(payloadsOf(world.connect({ ...init, properties }))).toEqual([]);
  });
}

test("[MQTT-3.1.2-25] others get the message that one client is too small for", () => {
  const world = new World();
  const small = world.connect({ properties: { maximumPacketSize: 100 } });
  const large = world.connect();
  small.subscribe("a");
  large.subscribe("a");
  world.connect().publish("a", "x".repeat(1_000), { qos: 2 });
  expect(small.takePublishes()).toEqual([]);
  expect(large.takePublishes()).toHaveLength(1);
});

test("[MQTT-3.1.2-25] queued and retained messages that are too large for the next connection are dropped, the others come", () => {
  const world = new World();
  const keep: ConnectInit = { clientId: "c", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const client = world.connect(keep);
  client.subscribe("queued");
  client.drop();
  const publisher = world.connect();
  for (const payload of ["1", "x".repeat(1_000), "2"]) publisher.publish("queued", payload, { qos: 1 });
  publisher.publish("retained/long", "x".repeat(1_000), { retain: true });
  publisher.publish("retained/short", "r", { retain: true });
  const small = world.connect({ ...keep, properties: { ...keep.properties, maximumPacketSize: 100 } });
  expect(payloadsOf(small)).toEqual(["1", "2"]);
  small.subscribe("retained/#");
  expect(payloadsOf(small)).toEqual(["r"]);
  expectAlive(small);
});

// --- Topic Alias Maximum

test("[MQTT-3.1.2-26] aliases towards the client stay within its Topic Alias Maximum, and every message keeps its topic", () => {
  const world = new World();
  const client = world.connect({ properties: { topicAliasMaximum: 2 } });
  client.subscribe("#", { qos: 0 });
  const publisher = world.connect();
  const topicNames = ["a", "b", "c", "a", "b", "c", "d", "a"];
  for (const topicName of topicNames) publisher.publish(topicName);
  const aliases = new Map<number, string>();
  const received = publishesOf(client).map(({ topicName, properties: { topicAlias } }) => {
    if (topicAlias === undefined) return topicName;
    expect(topicAlias).toBeGreaterThan(0);
    expect(topicAlias).toBeLessThanOrEqual(2);
    if (topicName !== "") aliases.set(topicAlias, topicName);
    return aliases.get(topicAlias);
  });
  expect(received).toEqual(topicNames);
});

test("[MQTT-3.1.2-26] aliases are 1, 2, 3 in order of first use: name and alias first, the alias alone afterwards", () => {
  const world = new World();
  const client = world.connect({ properties: { topicAliasMaximum: 10 } });
  client.subscribe("#", { qos: 0 });
  const publisher = world.connect();
  for (const topicName of ["x", "y", "x", "z", "y"]) publisher.publish(topicName);
  expect(publishesOf(client).map((packet) => [packet.topicName, packet.properties.topicAlias])).toEqual([
    ["x", 1],
    ["y", 2],
    ["", 1],
    ["z", 3],
    ["", 2],
  ]);
});

test("[MQTT-3.1.2-26] aliases belong to the connection: a resumed session begins anew", () => {
  const world = new World();
  const init: ConnectInit = {
    clientId: "c",
    cleanStart: false,
    properties: { topicAliasMaximum: 5, sessionExpiryInterval: 100 },
  };
  const publisher = world.connect();
  const first = world.connect(init);
  first.subscribe("#", { qos: 0 });
  publisher.publish("x");
  first.drop();
  const second = world.connect({ ...init, properties: { topicAliasMaximum: 1, sessionExpiryInterval: 100 } });
  publisher.publish("y");
  publisher.publish("x");
  expect(publishesOf(second).map((packet) => packet.topicName)).toEqual(["y", "x"]);
});

for (const properties of [{}, { topicAliasMaximum: 0 }]) {
  const what = properties.topicAliasMaximum === undefined ? "absent" : "0";
  test(`[MQTT-3.1.2-27] Topic Alias Maximum ${what}: the broker sends no alias`, () => {
    const world = new World();
    const client = world.connect({ properties });
    client.subscribe("#", { qos: 0 });
    const publisher = world.connect();
    for (const topicName of ["a", "a", "b", "a"]) publisher.publish(topicName, "", { properties: { topicAlias: 1 } });
    expect(publishesOf(client).map((packet) => [packet.topicName, packet.properties])).toEqual([
      ["a", {}],
      ["a", {}],
      ["b", {}],
      ["a", {}],
    ]);
  });
}

// --- Request Response Information, Request Problem Information

for (const requested of [undefined, 0, 1]) {
  const properties = requested === undefined ? {} : { requestResponseInformation: requested };
  test(`[MQTT-3.1.2-28] Request Response Information ${requested ?? "absent"}`, () => {
    const world = new World({ capabilities: { responseInformationPrefix: "response/" } });
    const client = world.connect({ clientId: "asker", properties });
    const { responseInformation } = client.connack?.properties ?? {};
    expect(responseInformation).toBe(requested === 1 ? "response/asker" : undefined);
  });
}

test("[MQTT-3.1.2-29] Request Problem Information 0: no Reason String or User Property but on PUBLISH, CONNACK, DISCONNECT", () => {
  const auth = answers(accept(), goOn("more"), accept({}, "done"), accept());
  const world = new World({ auth });
  const properties = { requestProblemInformation: 0, authenticationMethod: "m" };
  const client = world.connect({ properties });
  const suback = client.subscribe(["a", "a/#/b"]);
  for (const qos of [1, 2] as const) client.sendPublish("$refused", "", { qos });
  client.sendPublish("nobody", "", { qos: 2, packetId: 77 });
  client.send({ type: "pubrel", packetId: 77, reasonCode: 0, properties: {} });
  client.send({ type: "pubrel", packetId: 78, reasonCode: 0, properties: {} });
  client.send({ type: "pubrec", packetId: 79, reasonCode: 0, properties: {} });
  client.send({ type: "unsubscribe", packetId: 80, topicFilters: ["a", "never"], properties: {} });
  for (const reasonCode of [0x19, 0x18]) {
    client.send({ type: "auth", reasonCode, properties: { authenticationMethod: "m" } });
  }
  const answersSeen = client.takeAll();
  expect(new Set(answersSeen.map(({ type }) => type))).toEqual(
    new Set(["puback", "pubrec", "pubcomp", "pubrel", "unsuback", "auth"]),
  );
  for (const packet of [suback, ...answersSeen]) {
    if (!("properties" in packet)) continue;
    expect(packet.properties.reasonString).toBeUndefined();
    expect(packet.properties.userProperties).toBeUndefined();
  }
});

test("[MQTT-3.1.2-29] Request Problem Information 0 does not take the User Properties of a message away", () => {
  const world = new World();
  const client = world.connect({ properties: { requestProblemInformation: 0 } });
  client.subscribe("a");
  world.connect().publish("a", "", { properties: { userProperties: [["k", "v"]] } });
  expect(client.takePublishes()[0]?.properties.userProperties).toEqual([["k", "v"]]);
});

// --- Protocol Errors

for (const [name, property] of [
  ["Session Expiry Interval", "11 00 00 00 05"],
  ["Receive Maximum", "21 00 05"],
  ["Maximum Packet Size", "27 00 00 10 00"],
  ["Topic Alias Maximum", "22 00 05"],
  ["Request Response Information", "19 01"],
  ["Request Problem Information", "17 01"],
  ["Authentication Method", "15 00 01 6d"],
] as const) {
  test(`${name} twice is a Protocol Error: CONNACK 0x82`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ properties: joinBytes(property, property) }));
    expectRefusal(client, 0x82);
  });
}

for (const [what, properties] of [
  ["Receive Maximum 0", "21 00 00"],
  ["Maximum Packet Size 0", "27 00 00 00 00"],
  ["Request Response Information 2", "19 02"],
  ["Request Problem Information 2", "17 02"],
  ["Authentication Data without a method", "16 00 01 64"],
  ["Authentication Data twice", "15 00 01 6d 16 00 01 64 16 00 01 64"],
] as const) {
  test(`${what} is a Protocol Error: CONNACK 0x82`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ properties }));
    expectRefusal(client, 0x82);
  });
}

test("the User Properties of CONNECT reach the authority in their order", () => {
  const auth = answers(accept());
  const world = new World({ auth });
  const userProperties: [string, string][] = [
    ["b", "1"],
    ["a", "2"],
    ["b", "3"],
  ];
  world.connect({ properties: { userProperties } });
  expect(auth.last.userProperties).toEqual(userProperties);
});

test("an empty SUBSCRIBE is answered with DISCONNECT within the client's Maximum Packet Size", () => {
  const client = new World().connect({ properties: { maximumPacketSize: 20 } });
  client.bytes.length = 0;
  client.sendBytes(rawPacket(0x82, "00 01 00"));
  expect(client.take("disconnect").reasonCode).toBe(0x82);
  expect(client.bytes.length).toBeLessThanOrEqual(20);
});
