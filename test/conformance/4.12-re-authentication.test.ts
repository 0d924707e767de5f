/**
 * MQTT 5.0 section 4.12.1: AUTH 0x19 on an open connection; what goes on meanwhile, and how it ends.
 */
import { expect, test } from "bun:test";
import type { Properties } from "../../src/core/codec/property.ts";
import type { Refusal, RuleSet } from "../../src/core/gate/provider.ts";
import { expectAlive, expectDisconnect } from "../support/ending.ts";
import { joinBytes, prefixed, rawPacket } from "../support/raw-packet.ts";
import { accept, answers, goOn, refuse, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, toBytes, toText, World } from "../support/world.ts";

const METHOD: Properties = { authenticationMethod: "m" };

function withData(data: string): Properties {
  return { authenticationMethod: "m", authenticationData: toBytes(data) };
}

function sendAuth(client: TestClient, reasonCode: number, properties: Properties = METHOD): void {
  client.send({ type: "auth", reasonCode, properties });
}

/** A client that was accepted by method "m"; `auth` decides everything after that. */
function scene(init: ConnectInit = {}) {
  const auth = new ScriptedAuth(() => accept());
  const world = new World({ auth });
  const client = world.connect({ ...init, properties: { ...METHOD, ...init.properties } });
  auth.answer = () => undefined;
  return { world, client, auth };
}

test("[MQTT-4.12.1-1] [MQTT-4.12.0-5] in one step: AUTH 0x00 with method and data, no CONNACK", () => {
  const { world, client, auth } = scene();
  sendAuth(client, 0x19, withData("new token"));
  expect(auth.last).toMatchObject({ phase: "reauthenticate", authenticationMethod: "m", clientId: client.clientId });
  expect(toText(auth.last.authenticationData!)).toBe("new token");
  expect(auth.last.current).toMatchObject({ id: "anna" });
  expect(client.packets).toEqual([]);
  auth.decide(world, accept({}, "welcome"));
  expect(client.takeAll()).toEqual([{ type: "auth", reasonCode: 0, properties: withData("welcome") }]);
  expectAlive(client);
});

test("[MQTT-4.12.0-2] [MQTT-4.12.0-5] in several steps, under one new exchange id", () => {
  const { world, client, auth } = scene();
  const connectExchangeId = auth.last.exchangeId;
  sendAuth(client, 0x19, withData("1"));
  auth.decide(world, goOn("2"));
  expect(client.takeAll()).toEqual([{ type: "auth", reasonCode: 0x18, properties: withData("2") }]);
  sendAuth(client, 0x18, withData("3"));
  auth.decide(world, goOn("4"));
  expect(client.takeAll()).toEqual([{ type: "auth", reasonCode: 0x18, properties: withData("4") }]);
  sendAuth(client, 0x18, withData("5"));
  auth.decide(world, accept());
  expect(client.takeAll()).toEqual([{ type: "auth", reasonCode: 0, properties: METHOD }]);
  const exchangeIds = auth.requests.slice(1).map(({ exchangeId }) => exchangeId);
  expect(new Set(exchangeIds).size).toBe(1);
  expect(exchangeIds[0]).not.toBe(connectExchangeId);
  expect(auth.requests.map(({ phase }) => phase)).toEqual(["connect", "reauthenticate", "continue", "continue"]);
});

test("[MQTT-4.12.1-1] it can be done again and again", () => {
  const { client, auth } = scene();
  auth.answer = () => accept();
  for (let round = 0; round < 20; round++) {
    sendAuth(client, 0x19);
    expect(client.take("auth").reasonCode).toBe(0);
  }
  expect(new Set(auth.requests.map(({ exchangeId }) => exchangeId)).size).toBe(21);
  expectAlive(client);
});

for (const because of [
  "bad-credentials",
  "not-authorized",
  "client-id",
  "banned",
  "unavailable",
  "busy",
  "bad-method",
] as const satisfies readonly Refusal[]) {
  test(`[MQTT-4.12.1-2] refused as ${because}, at once or in a later step: one DISCONNECT of 0x80 or more, closed`, () => {
    for (const steps of [0, 1]) {
      const { world, client, auth } = scene();
      sendAuth(client, 0x19);
      if (steps === 1) {
        auth.decide(world, goOn());
        client.take("auth");
        sendAuth(client, 0x18);
      }
      auth.decide(world, refuse(because));
      const disconnect = client.take("disconnect"); // decoding refuses codes that DISCONNECT may not carry
      expect(disconnect.reasonCode).toBeGreaterThanOrEqual(0x80);
      if (because === "not-authorized") expect(disconnect.reasonCode).toBe(0x87);
      expect([client.packets.length, client.closed]).toEqual([0, true]);
    }
  });
}

test("[MQTT-4.12.1-2] a failed re-authentication publishes the Will and keeps the session, as an error does", () => {
  const keep: ConnectInit = { clientId: "c", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const { world, client, auth } = scene({ ...keep, will: { topicName: "will" } });
  auth.answer = () => accept();
  const observer = world.connect();
  observer.subscribe("will");
  auth.answer = () => refuse("not-authorized");
  sendAuth(client, 0x19);
  expectDisconnect(client, 0x87);
  expect(observer.takePublishes()).toHaveLength(1);
  auth.answer = () => accept();
  expect(world.connect({ ...keep, properties: { ...keep.properties, ...METHOD } }).connack?.sessionPresent).toBe(true);
});

test("[MQTT-4.12.1-2] somebody else's principal is no re-authentication: DISCONNECT 0x87", () => {
  const { world, client, auth } = scene();
  sendAuth(client, 0x19);
  auth.decide(world, accept({ id: "bert" }));
  expectDisconnect(client, 0x87);
});

for (const [what, packet] of [
  ["AUTH 0x19 of another method", rawPacket(0xf0, "19 04 15 00 01 6e")],
  ["AUTH 0x19 without a method", rawPacket(0xf0, "19 00")],
  ["AUTH 0x18 without an exchange", rawPacket(0xf0, "18 04 15 00 01 6d")],
  ["AUTH 0x00", rawPacket(0xf0, "00 04 15 00 01 6d")],
  ["AUTH with no body", rawPacket(0xf0)],
] as const) {
  test(`[MQTT-4.12.1-1] [MQTT-4.12.1-2] ${what} is a Protocol Error: DISCONNECT 0x82, nobody is asked`, () => {
    const { client, auth } = scene();
    client.sendBytes(packet);
    expectDisconnect(client, 0x82);
    expect(auth.requests).toHaveLength(1);
  });
}

for (const [what, reasonCode, method] of [
  ["a second AUTH 0x19", 0x19, "m"],
  ["AUTH 0x18 of another method", 0x18, "n"],
  ["AUTH 0x00", 0x00, "m"],
] as const) {
  test(`[MQTT-4.12.1-2] ${what} while the broker waits for AUTH 0x18: DISCONNECT 0x82, the exchange is abandoned`, () => {
    const { world, client, auth } = scene();
    sendAuth(client, 0x19);
    auth.decide(world, goOn());
    client.take("auth");
    sendAuth(client, reasonCode, { authenticationMethod: method });
    expectDisconnect(client, 0x82);
    expect(auth.requests).toHaveLength(2);
    expect(auth.abandoned).toEqual([auth.last.exchangeId]);
  });
}

test("[MQTT-4.12.1-2] AUTH 0x18 while the verdict is out is out of turn: DISCONNECT 0x82, nobody is asked", () => {
  const { world, client, auth } = scene();
  sendAuth(client, 0x19);
  sendAuth(client, 0x18);
  expectDisconnect(client, 0x82);
  expect(auth.requests).toHaveLength(2);
  auth.decide(world, accept());
  expect(client.takeAll()).toEqual([]);
});

test("[MQTT-4.12.1-2] a second AUTH 0x19 while the verdict is out is a Protocol Error; the verdict comes too late", () => {
  const { world, client, auth } = scene();
  sendAuth(client, 0x19);
  sendAuth(client, 0x19);
  auth.decide(world, accept());
  expect(client.takeAll().filter(({ type }) => type === "disconnect")).toMatchObject([{ reasonCode: 0x82 }]);
  expect(client.closed).toBe(true);
  expect(auth.requests).toHaveLength(2);
});

// --- meanwhile

/** PUBLISH both ways, SUBSCRIBE and PINGREQ, all answered. */
function expectTraffic(world: World, client: TestClient, auth: ScriptedAuth): void {
  const { answer } = auth;
  auth.answer = () => accept();
  const peer = world.connect();
  auth.answer = answer;
  peer.subscribe("from/client");
  expect(client.subscribe("to/client").reasonCodes).toEqual([2]);
  expect(client.publish("from/client", "x", { qos: 2 })).toBe(0);
  expect(peer.takePublishes()).toHaveLength(1);
  peer.publish("to/client", "y", { qos: 1 });
  expect(client.takePublishes()).toHaveLength(1);
  expectAlive(client);
}

test("traffic continues while the verdict on a re-authentication is out", () => {
  const { world, client, auth } = scene();
  sendAuth(client, 0x19);
  const request = auth.last;
  expectTraffic(world, client, auth);
  auth.decide(world, accept(), request);
  expect(client.take("auth").reasonCode).toBe(0);
});

test("traffic continues while the broker waits for the client's next AUTH", () => {
  const { world, client, auth } = scene();
  sendAuth(client, 0x19);
  auth.decide(world, goOn());
  expect(client.take("auth").reasonCode).toBe(0x18);
  expectTraffic(world, client, auth);
  auth.answer = () => accept();
  sendAuth(client, 0x18);
  expect(client.take("auth").reasonCode).toBe(0);
  expectAlive(client);
});

test("traffic in the same segment as AUTH 0x19 is handled", () => {
  const { world, client, auth } = scene();
  client.sendBytes(joinBytes("c0 00", rawPacket(0xf0, "19 04 15 00 01 6d"), "c0 00"));
  expect(client.takeAll().map(({ type }) => type)).toEqual(["pingresp", "pingresp"]);
  auth.decide(world, accept());
  expect(client.takeAll().map(({ type }) => type)).toEqual(["auth"]);
});

test("the Keep Alive runs on during a re-authentication", () => {
  const { world, client, auth } = scene({ keepAlive: 4 });
  sendAuth(client, 0x19);
  auth.decide(world, goOn());
  client.take("auth");
  world.advance(6_000);
  expectDisconnect(client, 0x8d);
  expect(auth.abandoned).toContain(auth.last.exchangeId);
});

const OLD: RuleSet = { allow: [{ on: "both", filter: "old/#" }] };
const NEW: RuleSet = { allow: [{ on: "both", filter: "new/#" }] };

test("the old rights hold until the re-authentication succeeds, the new ones from then on", () => {
  const auth = answers(accept({ permissions: OLD }), goOn(), accept({ permissions: NEW }));
  const client = new World({ auth }).connect({ properties: METHOD });
  const rights = (): number[] => [
    client.publish("old/a", "", { qos: 1 }),
    client.publish("new/a", "", { qos: 1 }),
    ...client.subscribe(["old/b", "new/b"], { qos: 0 }).reasonCodes,
  ];
  const before = rights();
  expect(before).toEqual([0x10, 0x87, 0, 0x87]);
  sendAuth(client, 0x19);
  expect(client.take("auth").reasonCode).toBe(0x18);
  expect(rights()).toEqual(before);
  sendAuth(client, 0x18);
  expect(client.take("auth").reasonCode).toBe(0);
  expect(rights()).toEqual([0x87, 0x10, 0x87, 0]);
});

test("subscriptions that the new rights do not cover deliver nothing any more", () => {
  const auth = new ScriptedAuth(() => accept());
  const world = new World({ auth });
  const publisher = world.connect();
  auth.answer = () => accept({ permissions: { allow: [...OLD.allow, ...NEW.allow] } });
  const client = world.connect({ properties: METHOD });
  client.subscribe(["old/#", "new/#"]);
  auth.answer = () => accept({ permissions: NEW });
  sendAuth(client, 0x19);
  expect(client.take("auth").reasonCode).toBe(0);
  for (const topicName of ["old/a", "new/a"]) publisher.publish(topicName, "", { qos: 1 });
  expect(client.takePublishes().map(({ topicName }) => topicName)).toEqual(["new/a"]);
});

test("a connection ends when its principal expires, unless a re-authentication has prolonged it", () => {
  const nowMs = new World().nowMs;
  const auth = answers(accept({ expiresAtMs: nowMs + 10_000 }), accept({ expiresAtMs: nowMs + 30_000 }));
  const world = new World({ auth });
  const client = world.connect({ properties: METHOD });
  world.advance(9_000);
  sendAuth(client, 0x19);
  expect(client.take("auth").reasonCode).toBe(0);
  world.advance(20_999);
  expectAlive(client);
  world.advance(1);
  expectDisconnect(client, 0x87);
});

test("packets of a publisher keep their order around a re-authentication", () => {
  const { world, client, auth } = scene();
  client.subscribe("a", { qos: 0 });
  const publish = (text: string): Uint8Array => rawPacket(0x30, prefixed("a"), "00", toBytes(text));
  client.sendBytes(joinBytes(publish("1"), rawPacket(0xf0, "19 04 15 00 01 6d"), publish("2"), publish("3")));
  auth.decide(world, accept());
  client.sendBytes(publish("4"));
  expect(client.takePublishes().map(({ payload }) => toText(payload))).toEqual(["1", "2", "3", "4"]);
});
