/**
 * MQTT 5.0 sections 3.1.0 to 3.1.2.10: the first packet, Protocol Name and Version, and the Connect Flags.
 */
import { expect, test } from "bun:test";
import { expectAlive, expectClosedSilently, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, rawConnect, rawPacket } from "../support/raw-packet.ts";
import { accept, ScriptedAuth } from "../support/scripted-auth.ts";
import { fromHex, toBytes, toHex, World } from "../support/world.ts";

for (const [name, packet] of [
  ["PUBLISH", rawPacket(0x30, prefixed("a"), "00")],
  ["PUBACK", fromHex("40 02 00 01")],
  ["PUBREL", fromHex("62 02 00 01")],
  ["SUBSCRIBE", rawPacket(0x82, "00 01 00", prefixed("#"), "00")],
  ["UNSUBSCRIBE", rawPacket(0xa2, "00 01 00", prefixed("#"))],
  ["PINGREQ", fromHex("c0 00")],
  ["DISCONNECT", fromHex("e0 00")],
  ["AUTH", fromHex("f0 00")],
  ["CONNACK", fromHex("20 03 00 00 00")],
  ["type 0", fromHex("00 00")],
] as const) {
  test(`[MQTT-3.1.0-1] ${name} as the first packet: closed without an answer, and a CONNECT behind it is not read`, () => {
    const world = new World();
    const observer = world.connect();
    observer.subscribe("#");
    const client = world.open();
    client.sendBytes(joinBytes(packet, rawConnect(), rawPacket(0x30, prefixed("late"), "00")));
    expectClosedSilently(client);
    expect(observer.takeAll()).toEqual([]);
  });
}

test("[MQTT-3.1.0-2] a second CONNECT is a Protocol Error: DISCONNECT 0x82, close, and the Will is published", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("#");
  const client = world.connect({ clientId: "twice", will: { topicName: "will" } });
  client.sendBytes(rawConnect({ payload: [prefixed("twice")] }));
  expectDisconnect(client, 0x82);
  expect(observer.takePublishes().map(({ topicName }) => topicName)).toEqual(["will"]);
});

test("[MQTT-3.1.0-2] a second CONNECT has no effect on the client it names", () => {
  const world = new World();
  const victim = world.connect({ clientId: "victim" });
  const client = world.connect({ clientId: "other" });
  client.sendBytes(rawConnect({ payload: [prefixed("victim")] }));
  expectDisconnect(client, 0x82);
  expectAlive(victim);
});

test("[MQTT-3.1.0-2] two CONNECT packets in one segment: the first is answered, the second ends the connection", () => {
  const client = new World().open();
  client.sendBytes(joinBytes(rawConnect(), rawConnect()));
  expect(client.take("connack").reasonCode).toBe(0);
  expectDisconnect(client, 0x82);
});

for (const name of ["mqtt", "MQTt", "MQTT5", "MQT", "", " MQTT", "HTTP", "MQIsdq"]) {
  test(`[MQTT-3.1.2-1] Protocol Name ${JSON.stringify(name)} is not ours: closed`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ protocolName: name }));
    expectClosedSilently(client);
  });
}

for (const level of [6, 7, 64, 127]) {
  test(`[MQTT-3.1.2-2] Protocol Version ${level} of MQTT: CONNACK 0x84 and closed`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ protocolLevel: level }));
    expectRefusal(client, 0x84);
  });
}

// Bridges of other brokers set the top bit of 3.1.1 and fall back when refused in that form.
for (const level of [0, 1, 2, 3, 0x84, 255]) {
  test(`[MQTT-3.1.2-2] Protocol Version ${level} of MQTT: refused in the form an old client reads, and closed`, () => {
    const client = new World().open(4);
    client.sendBytes(rawConnect({ protocolLevel: level, properties: null }));
    expect(toHex(client.bytes)).toBe("20 02 00 01");
    expect(client.closed).toBe(true);
  });
}

for (const level of [0, 1, 2, 4, 5, 6, 255]) {
  test(`[MQTT-3.1.2-2] Protocol Version ${level} of MQIsdp: refused in the form an old client reads, and closed`, () => {
    const client = new World().open(3);
    client.sendBytes(rawConnect({ protocolName: "MQIsdp", protocolLevel: level, properties: null }));
    expect(toHex(client.bytes)).toBe("20 02 00 01");
    expect(client.closed).toBe(true);
  });
}

test("[MQTT-3.1.2-2] an unwanted version leaves the session of the client it names alone", () => {
  const world = new World();
  const victim = world.connect({ clientId: "raw" });
  world.open().sendBytes(rawConnect({ protocolLevel: 6 }));
  expectAlive(victim);
});

for (const flags of [0x01, 0x03, 0x07]) {
  test(`[MQTT-3.1.2-3] Connect Flags 0x0${flags} with the reserved bit set: CONNACK 0x81 and closed`, () => {
    const client = new World().open();
    const will = flags === 0x07 ? ["00", prefixed("w"), prefixed("")] : [];
    client.sendBytes(rawConnect({ connectFlags: flags, payload: [prefixed("c"), ...will] }));
    expectRefusal(client, 0x81);
  });
}

for (const [statement, what, flags, payload] of [
  ["[MQTT-3.1.2-11]", "Will Flag 0 with Will QoS 1", 0x0a, [prefixed("c")]],
  ["[MQTT-3.1.2-11]", "Will Flag 0 with Will QoS 2", 0x12, [prefixed("c")]],
  ["[MQTT-3.1.2-12]", "Will QoS 3", 0x1e, [prefixed("c"), "00", prefixed("w"), prefixed("p")]],
  ["[MQTT-3.1.2-13]", "Will Flag 0 with Will Retain", 0x22, [prefixed("c")]],
  ["[MQTT-3.1.2-9]", "Will Flag 1 with no Will in the payload", 0x06, [prefixed("c")]],
  ["[MQTT-3.1.2-9]", "Will Flag 1 without Will Payload", 0x06, [prefixed("c"), "00", prefixed("w")]],
  ["[MQTT-3.1.2-9]", "Will Flag 1 without Will Properties", 0x06, [prefixed("c"), prefixed("w"), prefixed("p")]],
  ["[MQTT-3.1.2-16]", "User Name Flag 0 with a User Name", 0x02, [prefixed("c"), prefixed("anna")]],
  ["[MQTT-3.1.2-17]", "User Name Flag 1 without a User Name", 0x82, [prefixed("c")]],
  ["[MQTT-3.1.2-18]", "Password Flag 0 with a Password", 0x82, [prefixed("c"), prefixed("anna"), prefixed("pw")]],
  ["[MQTT-3.1.2-19]", "Password Flag 1 without a Password", 0xc2, [prefixed("c"), prefixed("anna")]],
] as const) {
  test(`${statement} ${what} is malformed: CONNACK 0x81 and closed`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ connectFlags: flags, payload }));
    expectRefusal(client, 0x81);
  });
}

test("[MQTT-3.1.3-1] the payload is read in its order: client id, Will Properties, Will Topic, Will Payload, User Name, Password", () => {
  const auth = new ScriptedAuth(() => accept());
  const world = new World({ auth });
  const observer = world.connect();
  observer.subscribe("#", { qos: 2 });
  const client = world.open();
  client.sendBytes(
    rawConnect({
      connectFlags: 0xd6, // User Name, Password, Will QoS 2, Will, Clean Start
      payload: [
        prefixed("the-id"),
        "05 03 00 02 63 74",
        prefixed("the/will"),
        prefixed("the payload"),
        prefixed("the name"),
        prefixed("the password"),
      ],
    }),
  );
  expect(client.take("connack").reasonCode).toBe(0);
  expect(auth.last).toMatchObject({
    clientId: "the-id",
    username: "the name",
    password: toBytes("the password"),
    will: { topicName: "the/will", qos: 2, retain: false },
  });
  client.drop();
  expect(observer.takePublishes()).toMatchObject([
    { topicName: "the/will", payload: toBytes("the payload"), qos: 2, properties: { contentType: "ct" } },
  ]);
});

test("a Password without a User Name is allowed in MQTT 5.0", () => {
  const auth = new ScriptedAuth(() => accept());
  const world = new World({ auth });
  expect(world.connect({ password: "token" }).connack?.reasonCode).toBe(0);
  expect(auth.last).toMatchObject({ username: undefined, password: toBytes("token") });
});

test("an empty User Name, Password and Will Payload are present, not absent", () => {
  const auth = new ScriptedAuth(() => accept());
  const world = new World({ auth });
  const observer = world.connect();
  observer.subscribe("w");
  const client = world.connect({ username: "", password: "", will: { topicName: "w", payload: "" } });
  expect(auth.last).toMatchObject({ username: "", password: new Uint8Array(0) });
  client.drop();
  expect(observer.takePublishes().map(({ payload }) => payload.length)).toEqual([0]);
});

for (const [what, packet] of [
  ["ends after the Protocol Name", rawPacket(0x10, prefixed("MQTT"))],
  ["ends in the middle of the Keep Alive", rawPacket(0x10, prefixed("MQTT"), "05 02 00")],
  ["has no properties", rawPacket(0x10, prefixed("MQTT"), "05 02 00 00")],
  ["has bytes behind its last field", rawConnect({ payload: [prefixed("c"), "00"] })],
] as const) {
  test(`[MQTT-3.1.4-1] a CONNECT that ${what} is refused or just closed`, () => {
    const client = new World().open();
    client.sendBytes(packet);
    for (const answer of client.takeAll()) expect(answer).toMatchObject({ type: "connack", reasonCode: 0x81 });
    expect(client.closed).toBe(true);
  });
}
