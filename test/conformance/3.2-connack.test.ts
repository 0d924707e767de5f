/**
 * MQTT 5.0 section 3.2: CONNACK as the first and only answer to CONNECT, its flags, reason codes and properties.
 */
import { expect, test } from "bun:test";
import type { Connack } from "../../src/core/codec/connack.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import type { Verdict } from "../../src/core/gate/provider.ts";
import { expectAlive, expectClosedSilently, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, rawConnect, rawPacket, splitPackets } from "../support/raw-packet.ts";
import { accept, answers, goOn, refuse, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, toHex, World } from "../support/world.ts";

const KEEP: ConnectInit = { clientId: "keeper", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
const ROOMY = { receiveMaximum: 65_535, topicAliasMaximum: 0, packetBytesMax: 268_435_460 } as const;

// --- one CONNACK, and first

test("[MQTT-3.2.0-1] a resumed session's messages come after CONNACK", () => {
  const world = new World();
  const client = world.connect(KEEP);
  client.subscribe("a");
  client.drop();
  const publisher = world.connect();
  for (const qos of [1, 2] as const) publisher.publish("a", "", { qos });
  const resumed = world.dial(KEEP);
  expect(resumed.takeAll().map(({ type }) => type)).toEqual(["connack", "publish", "publish"]);
});

test("[MQTT-3.2.0-1] while the verdict is out nothing is sent, whatever happens to the session", () => {
  const auth = answers(accept(), accept(), undefined);
  const world = new World({ auth });
  const client = world.connect(KEEP);
  client.subscribe("a");
  client.drop();
  const publisher = world.connect();
  const waiting = world.dial({ ...KEEP, keepAlive: 1 });
  publisher.publish("a", "", { qos: 1 });
  waiting.sendBytes(joinBytes("c0 00", rawPacket(0x82, "00 01 00", prefixed("b"), "00")));
  world.advance(2_000);
  expect(waiting.bytes).toEqual([]);
  auth.decide(world, accept());
  expect(waiting.packets[0]?.type).toBe("connack");
});

test("[MQTT-3.2.0-1] in an enhanced authentication only AUTH comes before CONNACK", () => {
  const world = new World({ auth: answers(goOn("1"), goOn("2"), accept()) });
  const properties: Properties = { authenticationMethod: "m" };
  const client = world.dial({ properties });
  for (let round = 0; round < 2; round++) client.send({ type: "auth", reasonCode: 0x18, properties });
  expect(client.takeAll().map(({ type }) => type)).toEqual(["auth", "auth", "connack"]);
});

test("[MQTT-3.2.0-2] there is one CONNACK: none after a second CONNECT, none after a re-authentication", () => {
  const world = new World({ auth: answers(accept()) });
  const properties: Properties = { authenticationMethod: "m" };
  const client = world.dial({ properties });
  client.send({ type: "auth", reasonCode: 0x19, properties });
  client.sendBytes(rawConnect());
  expect(client.takeAll().map(({ type }) => type)).toEqual(["connack", "auth", "disconnect"]);
});

test("[MQTT-3.2.0-2] a late verdict for a connection that was already answered or is gone sends nothing", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial();
  auth.decide(world, accept());
  client.take("connack");
  auth.decide(world, accept());
  auth.decide(world, refuse("banned"));
  expectAlive(client);
  const gone = world.dial();
  gone.drop();
  auth.decide(world, accept());
  expect(gone.bytes).toEqual([]);
});

// --- flags and reason code

test("[MQTT-3.2.2-1] the first byte is 0 or 1, nothing else", () => {
  const world = new World();
  const first = world.connect(KEEP);
  expect(first.bytes[2]).toBe(0);
  first.drop();
  expect(world.connect(KEEP).bytes[2]).toBe(1);
  const refused = world.open();
  refused.sendBytes(rawConnect({ protocolLevel: 9 }));
  expect(toHex(refused.bytes.slice(0, 1))).toBe("20");
  expect(refused.bytes[2]).toBe(0);
});

const REFUSALS: readonly (readonly [why: string, client: () => TestClient])[] = [
  ["malformed", () => sendRaw(rawConnect({ connectFlags: 0x03 }))],
  ["a Protocol Error", () => sendRaw(rawConnect({ properties: "21 00 00" }))],
  ["an unsupported version", () => sendRaw(rawConnect({ protocolLevel: 6 }))],
  ["a bad Will Topic", () => new World().dial({ will: { topicName: "a/+" } })],
  ["a Will QoS that is not supported", () => withCapability({ maximumQos: 0 }, { will: { topicName: "w", qos: 1 } })],
  ["a Will Retain", () => withCapability({ retainAvailable: false }, { will: { topicName: "w", retain: true } })],
  ["too many User Properties", () => withManyUserProperties()],
  ["bad credentials", () => withVerdict(refuse("bad-credentials"))],
  ["a bad method", () => new World().dial({ properties: { authenticationMethod: "x" } })],
  ["a server that is busy", () => withVerdict(refuse("busy"))],
];

function sendRaw(bytes: Uint8Array): TestClient {
  const client = new World().open();
  client.sendBytes(bytes);
  return client;
}

function withCapability(
  capabilities: { maximumQos?: 0 | 1; retainAvailable?: boolean },
  init: ConnectInit,
): TestClient {
  return new World({ capabilities }).dial(init);
}

function withManyUserProperties(): TestClient {
  const userProperties = Array.from({ length: 3 }, (): [string, string] => ["k", "v"]);
  return new World({ limits: { userPropertiesMax: 2 } }).dial({ properties: { userProperties } });
}

function withVerdict(verdict: Verdict): TestClient {
  return new World({ auth: answers(verdict) }).dial();
}

for (const [why, makeClient] of REFUSALS) {
  test(`[MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] refused for ${why}: a code of the list, Session Present 0, closed`, () => {
    const client = makeClient();
    const connack = client.take("connack"); // decoding refuses codes that CONNACK may not carry
    expect(connack.reasonCode).toBeGreaterThanOrEqual(0x80);
    expect(connack.sessionPresent).toBe(false);
    expectClosedSilently(client);
  });
}

// --- what the broker can do

function propertiesFor(capabilities: ConstructorParameters<typeof World>[0]): Properties {
  return (new World({ ...capabilities, store: null }).connect().connack as Connack).properties;
}

test("properties that equal their defaults are left out", () => {
  expect(propertiesFor({ limits: { ...ROOMY, packetBytesMax: 1_000_000 } })).toEqual({ maximumPacketSize: 1_000_000 });
});

test("limits are announced: Receive Maximum, Maximum Packet Size, Topic Alias Maximum", () => {
  const limits = { receiveMaximum: 7, packetBytesMax: 5_000, topicAliasMaximum: 3 };
  expect(propertiesFor({ limits })).toEqual({ receiveMaximum: 7, maximumPacketSize: 5_000, topicAliasMaximum: 3 });
});

for (const [name, capability] of [
  ["wildcardSubscriptionAvailable", { wildcardSubscriptionAvailable: false }],
  ["subscriptionIdentifiersAvailable", { subscriptionIdentifiersAvailable: false }],
  ["sharedSubscriptionAvailable", { sharedSubscriptionAvailable: false }],
  ["retainAvailable", { retainAvailable: false }],
] as const) {
  test(`${name}: 0 where it is switched off, absent where it is not`, () => {
    expect(propertiesFor({ capabilities: capability })[name]).toBe(0);
    expect(propertiesFor({})[name]).toBeUndefined();
  });
}

for (const maximumQos of [0, 1] as const) {
  const world = (): World => new World({ capabilities: { maximumQos } });

  test(`[MQTT-3.2.2-9] Maximum QoS ${maximumQos} is announced`, () => {
    expect(propertiesFor({ capabilities: { maximumQos } }).maximumQos).toBe(maximumQos);
  });

  test(`[MQTT-3.2.2-10] with Maximum QoS ${maximumQos} a SUBSCRIBE may ask for QoS 0, 1 and 2, and gets what there is`, () => {
    const client = world().connect();
    for (const qos of [0, 1, 2] as const) {
      const { reasonCodes } = client.subscribe(`a/${qos}`, { qos });
      expect(reasonCodes).toHaveLength(1);
      expect(reasonCodes[0]).toBeLessThanOrEqual(qos);
    }
    client.publish("a/2", "x", { qos: maximumQos });
    expect(client.takePublishes()).toHaveLength(1);
  });

  test(`[MQTT-3.2.2-11] with Maximum QoS ${maximumQos} a PUBLISH above it is answered with DISCONNECT 0x9B`, () => {
    const client = world().connect();
    client.sendPublish("a", "", { qos: maximumQos === 0 ? 1 : 2 });
    expectDisconnect(client, 0x9b);
  });

  test(`[MQTT-3.2.2-12] with Maximum QoS ${maximumQos} a Will above it is refused with CONNACK 0x9B`, () => {
    expectRefusal(world().dial({ will: { topicName: "w", qos: 2 } }), 0x9b);
    expect(
      world()
        .dial({ will: { topicName: "w", qos: maximumQos } })
        .take("connack").reasonCode,
    ).toBe(0);
  });
}

test("[MQTT-3.2.2-9] Maximum QoS is absent where QoS 2 is supported", () => {
  expect(propertiesFor({}).maximumQos).toBeUndefined();
});

test("[MQTT-3.2.2-13] without retained messages a Will with Will Retain is refused with CONNACK 0x9A", () => {
  const world = new World({ capabilities: { retainAvailable: false } });
  expectRefusal(world.dial({ will: { topicName: "w", retain: true } }), 0x9a);
  expect(world.dial({ will: { topicName: "w" } }).take("connack").reasonCode).toBe(0);
});

test("[MQTT-3.2.2-14] without retained messages a PUBLISH with RETAIN is answered with DISCONNECT 0x9A", () => {
  const world = new World({ capabilities: { retainAvailable: false } });
  const client = world.connect();
  client.sendPublish("a", "", { retain: true });
  expectDisconnect(client, 0x9a);
});

test("[MQTT-3.2.2-15] a packet above the announced Maximum Packet Size is answered with DISCONNECT 0x95", () => {
  const world = new World({ limits: { packetBytesMax: 100 } });
  const client = world.connect();
  client.subscribe("a", { qos: 0 });
  client.publish("a", new Uint8Array(94));
  expect(client.take("publish").payload).toHaveLength(94);
  client.sendBytes(rawPacket(0x30, prefixed("a"), "00", new Uint8Array(95)));
  expectDisconnect(client, 0x95);
});

test("[MQTT-3.2.2-15] a packet that is too large is refused by its header, before its body has come", () => {
  const client = new World({ limits: { packetBytesMax: 100 } }).connect();
  client.sendBytes("30 63");
  expectDisconnect(client, 0x95);
});

for (const [statement, topicAliasMaximum, topicAlias] of [
  ["[MQTT-3.2.2-17]", 5, 6],
  ["[MQTT-3.2.2-17]", 5, 65_535],
  ["[MQTT-3.2.2-18]", 0, 1],
] as const) {
  test(`${statement} Topic Alias ${topicAlias} where ${topicAliasMaximum} is the maximum: DISCONNECT 0x94`, () => {
    const client = new World({ limits: { topicAliasMaximum } }).connect();
    expect(client.connack?.properties.topicAliasMaximum).toBe(topicAliasMaximum === 0 ? undefined : topicAliasMaximum);
    client.sendPublish("a", "", { properties: { topicAlias } });
    expectDisconnect(client, 0x94);
  });
}

// --- Reason String, User Property

test("[MQTT-3.2.2-19] what a refusal tells is in the Reason String, unless that makes CONNACK too large for the client", () => {
  const tell = "the reason, in many words that take a lot of room";
  const answer = (maximumPacketSize: number): TestClient =>
    new World({ auth: answers(refuse("not-authorized", tell)) }).dial({ properties: { maximumPacketSize } });
  expect(expectRefusal(answer(1_000), 0x87).properties.reasonString).toBe(tell);
  const small = answer(30);
  expect(small.bytes.length).toBeLessThanOrEqual(30);
  expect(expectRefusal(small, 0x87).properties.reasonString).toBeUndefined();
});

test("[MQTT-3.2.2-20] a CONNACK for a client with little room has no User Properties and fits", () => {
  for (const maximumPacketSize of [20, 25, 40]) {
    const client = new World({ store: null }).connect({ properties: { maximumPacketSize } });
    expect(client.connack?.properties.userProperties).toBeUndefined();
    expect(splitPackets(client.bytes)[0]!.length).toBeLessThanOrEqual(maximumPacketSize);
  }
});
