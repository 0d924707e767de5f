/**
 * MQTT 5.0 section 4.12: the exchange from CONNECT with an Authentication Method to CONNACK, as states and what moves them.
 *
 *   waiting for a verdict    nothing is sent; input is held
 *   waiting for the client   AUTH 0x18 was sent; only AUTH 0x18 of the same method, or DISCONNECT, may come
 *   ended                    CONNACK, and the connection is open (0x00) or closed
 */
import { expect, test } from "bun:test";
import type { Properties } from "../../src/core/codec/property.ts";
import type { Refusal } from "../../src/core/gate/provider.ts";
import { expectAlive, expectClosedSilently, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, rawConnect, rawPacket } from "../support/raw-packet.ts";
import { accept, answers, goOn, refuse, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, toBytes, toText, World } from "../support/world.ts";

const METHOD: Properties = { authenticationMethod: "SCRAM" };

function withData(data: string, method = "SCRAM"): Properties {
  return { authenticationMethod: method, authenticationData: toBytes(data) };
}

function sendAuth(client: TestClient, properties: Properties, reasonCode = 0x18): void {
  client.send({ type: "auth", reasonCode, properties });
}

/** A client that the broker has asked to go on. */
function authenticating(auth = answers(goOn("challenge"), accept()), init: ConnectInit = {}) {
  const world = new World({ auth });
  const client = world.dial({ ...init, properties: { ...METHOD, ...init.properties } });
  expect(client.take("auth").reasonCode).toBe(0x18);
  return { world, client, auth };
}

test("[MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] two rounds at once: AUTH 0x18 each, then CONNACK, always with the method", () => {
  const auth = answers(goOn("server 1"), goOn("server 2"), accept({}, "server 3"));
  const world = new World({ auth });
  const client = world.dial({ properties: withData("client 1") });
  expect(client.take("auth")).toEqual({ type: "auth", reasonCode: 0x18, properties: withData("server 1") });
  sendAuth(client, withData("client 2"));
  expect(client.take("auth")).toEqual({ type: "auth", reasonCode: 0x18, properties: withData("server 2") });
  sendAuth(client, withData("client 3"));
  expect(client.take("connack")).toMatchObject({ reasonCode: 0, properties: withData("server 3") });
  expect(auth.requests.map(({ authenticationData }) => toText(authenticationData!))).toEqual([
    "client 1",
    "client 2",
    "client 3",
  ]);
  expect(auth.requests.map(({ phase }) => phase)).toEqual(["connect", "continue", "continue"]);
  expect(auth.requests.map(({ authenticationMethod }) => authenticationMethod)).toEqual(["SCRAM", "SCRAM", "SCRAM"]);
  expectAlive(client);
});

test("[MQTT-4.12.0-2] [MQTT-4.12.0-5] the same with verdicts that come later; requests have ids of their own, one exchange", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial({ properties: withData("client 1") });
  expect(client.packets).toEqual([]);
  world.advance(1_000);
  auth.decide(world, goOn("server 1"));
  expect(client.take("auth")).toEqual({ type: "auth", reasonCode: 0x18, properties: withData("server 1") });
  sendAuth(client, withData("client 2"));
  expect(client.packets).toEqual([]);
  world.advance(1_000);
  auth.decide(world, accept({}, "server 2"));
  expect(client.take("connack")).toMatchObject({ reasonCode: 0, properties: withData("server 2") });
  const [first, second] = auth.requests;
  expect(first?.id).not.toBe(second?.id);
  expect(first?.exchangeId).toBe(second!.exchangeId);
  expect(toText(first!.authenticationData!)).toBe("client 1");
  expectAlive(client);
});

test("[MQTT-4.12.0-5] accepted at once: CONNACK repeats the method, data only where there is some", () => {
  const client = new World({ auth: answers(accept()) }).connect({ properties: METHOD });
  expect(client.connack?.properties.authenticationMethod).toBe("SCRAM");
  expect(client.connack?.properties.authenticationData).toBeUndefined();
  const empty = new World({ auth: answers(accept({}, "")) }).connect({ properties: METHOD });
  expect(empty.connack?.properties.authenticationData).toBeOneOf([undefined, new Uint8Array(0)]);
});

test("[MQTT-4.12.0-5] AUTH and CONNECT without Authentication Data are steps without data", () => {
  const { client, auth } = authenticating();
  sendAuth(client, METHOD);
  expect(client.take("connack").reasonCode).toBe(0);
  expect(auth.requests.map(({ authenticationData }) => authenticationData)).toEqual([undefined, undefined]);
});

test("[MQTT-4.12.0-1] a method nobody supports: CONNACK 0x8C and closed", () => {
  expectRefusal(new World().dial({ properties: { authenticationMethod: "unheard-of" } }), 0x8c);
});

for (const [because, reasonCode] of [
  ["bad-credentials", 0x86],
  ["not-authorized", 0x87],
  ["client-id", 0x85],
  ["unavailable", 0x88],
  ["busy", 0x89],
  ["banned", 0x8a],
  ["bad-method", 0x8c],
] as const satisfies readonly (readonly [Refusal, number])[]) {
  test(`[MQTT-4.12.0-4] refused in the first or a later step as ${because}: CONNACK 0x${reasonCode.toString(16)}, closed`, () => {
    const first = new World({ auth: answers(refuse(because)) }).dial({ properties: METHOD });
    expectRefusal(first, reasonCode);
    const { client } = authenticating(answers(goOn(), refuse(because)));
    sendAuth(client, METHOD);
    expectRefusal(client, reasonCode);
    const { client: waiting, world, auth } = authenticating(answers(goOn(), undefined));
    sendAuth(waiting, METHOD);
    auth.decide(world, refuse(because));
    expectRefusal(waiting, reasonCode);
  });
}

test("[MQTT-4.12.0-6] [MQTT-4.12.0-7] without a method there is no AUTH and no method or data in CONNACK", () => {
  const client = new World({ auth: answers(accept({}, "data")) }).connect();
  expect(client.connack?.properties.authenticationMethod).toBeUndefined();
  expect(client.connack?.properties.authenticationData).toBeUndefined();
});

for (const level of [4, 5] as const) {
  test(`[MQTT-4.12.0-6] an authority that wants to go on without a method, at level ${level}: refused, no AUTH`, () => {
    const client = new World({ auth: answers(goOn("more")) }).dial({ level });
    const packets = client.takeAll();
    expect(packets.map(({ type }) => type)).toEqual(["connack"]);
    expect(packets[0]).not.toMatchObject({ reasonCode: 0 });
    expect(client.closed).toBe(true);
  });
}

// --- out of turn

for (const [what, packet] of [
  ["PUBLISH", rawPacket(0x30, prefixed("a"), "00")],
  ["QoS 1 PUBLISH", rawPacket(0x32, prefixed("a"), "00 01 00")],
  ["SUBSCRIBE", rawPacket(0x82, "00 01 00", prefixed("#"), "00")],
  ["UNSUBSCRIBE", rawPacket(0xa2, "00 01 00", prefixed("#"))],
  ["PUBACK", rawPacket(0x40, "00 01")],
  ["PINGREQ", rawPacket(0xc0)],
  ["a second CONNECT", rawConnect()],
  ["AUTH 0x19", rawPacket(0xf0, "19 08 15 00 05", toBytes("SCRAM"))],
  ["AUTH 0x00", rawPacket(0xf0, "00 08 15 00 05", toBytes("SCRAM"))],
  ["AUTH of another method", rawPacket(0xf0, "18 08 15 00 05", toBytes("PLAIN"))],
  ["AUTH of a method cased otherwise", rawPacket(0xf0, "18 08 15 00 05", toBytes("scram"))],
  ["AUTH without a method", rawPacket(0xf0, "18 00")],
] as const) {
  test(`[MQTT-3.1.2-30] [MQTT-4.12.0-4] ${what} while the broker waits for AUTH: CONNACK 0x82, closed, no effect`, () => {
    const { world, client, auth } = authenticating(answers(goOn(), accept()));
    const exchangeId = auth.last.exchangeId;
    client.sendBytes(joinBytes(packet, rawPacket(0xf0, "18 08 15 00 05", toBytes("SCRAM"))));
    expectRefusal(client, 0x82);
    expect(auth.requests).toHaveLength(1);
    expect(auth.abandoned).toEqual([exchangeId]);
    const observer = world.connect();
    observer.subscribe("#");
    expect(observer.takeAll()).toEqual([]);
  });
}

test("[MQTT-4.13.1-1] AUTH 0x18 and 0x00 that nobody asked for, once the client is in: DISCONNECT 0x82", () => {
  for (const reasonCode of [0x18, 0x00]) {
    const client = new World({ auth: answers(accept()) }).connect({ properties: METHOD });
    client.send({ type: "auth", reasonCode, properties: METHOD });
    expectDisconnect(client, 0x82);
  }
});

for (const reasonCode of [0x00, 0x18, 0x19]) {
  test(`[MQTT-4.12.0-7] AUTH 0x${reasonCode.toString(16)} from a client without a method: DISCONNECT 0x82`, () => {
    const auth = answers(accept());
    const client = new World({ auth }).connect();
    sendAuth(client, METHOD, reasonCode);
    expectDisconnect(client, 0x82);
    expect(auth.requests).toHaveLength(1);
  });
}

test("[MQTT-4.12.0-7] AUTH without a method from a client without a method is no way in either: DISCONNECT 0x82", () => {
  for (const hex of ["f0 02 19 00", "f0 02 18 00", "f0 00"]) {
    const auth = answers(accept());
    const client = new World({ auth }).connect();
    client.sendBytes(hex);
    expectDisconnect(client, 0x82);
    expect(auth.requests).toHaveLength(1);
  }
});

test("[MQTT-4.12.0-7] AUTH behind a CONNECT without a method, sent before the verdict, does not count as a step", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial();
  sendAuth(client, METHOD);
  expect(auth.requests).toHaveLength(1);
  auth.decide(world, accept());
  const packets = client.takeAll();
  expect(packets.at(-1)).toMatchObject({ reasonCode: 0x82 });
  expect(client.closed).toBe(true);
});

test("[MQTT-3.1.2-30] DISCONNECT while the broker waits for AUTH ends the exchange without an answer", () => {
  const { client, auth } = authenticating();
  client.disconnect();
  expectClosedSilently(client);
  expect(auth.abandoned).toEqual([auth.last.exchangeId]);
});

test("[MQTT-3.1.2-30] DISCONNECT while the verdict is out ends the exchange; the verdict comes too late", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial({ properties: METHOD, will: { topicName: "will" } });
  client.disconnect();
  auth.decide(world, accept());
  for (const packet of client.takeAll()) expect(packet.type).not.toBe("auth");
  expect(client.closed).toBe(true);
});

// --- nothing leaks

test("[MQTT-4.12.0-4] an exchange that fails leaves no session, no take-over and no Will", () => {
  const keep = { clientId: "same", cleanStart: true, properties: METHOD } as const;
  const auth = answers(accept(), goOn(), refuse("bad-credentials"), accept());
  const world = new World({ auth });
  const connected = world.connect({ clientId: "same", properties: { sessionExpiryInterval: 100 } });
  connected.subscribe("#");
  const client = world.dial({ ...keep, will: { topicName: "will" } });
  client.take("auth");
  expectAlive(connected);
  sendAuth(client, METHOD);
  expectRefusal(client, 0x86);
  client.drop();
  world.advance(100_000);
  expect(connected.takeAll()).toEqual([]);
  expectAlive(connected);
});

test("a lost connection ends the exchange: the authority is told once, a later verdict changes nothing", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const properties = { ...METHOD, sessionExpiryInterval: 100 };
  const client = world.dial({ clientId: "c", properties });
  const request = auth.last;
  client.drop();
  expect(auth.abandoned).toEqual([request.exchangeId]);
  auth.decide(world, accept(), request);
  expect(client.bytes).toEqual([]);
  auth.answer = () => accept();
  expect(world.connect({ clientId: "c", cleanStart: false, properties }).connack?.sessionPresent).toBe(false);
});

test("a verdict that nobody asked for is ignored", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial({ properties: METHOD });
  world.broker.verdict(auth.last.id + 1_000_000, accept(), world.nowMs);
  world.settle();
  expect([client.bytes.length, client.closed]).toEqual([0, false]);
  auth.decide(world, goOn());
  auth.decide(world, accept()); // the step was answered already
  expect(client.takeAll().map(({ type }) => type)).toEqual(["auth"]);
});

test("exchanges of several clients do not mix", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const clients = ["one", "two", "three"].map((name) => world.dial({ clientId: name, properties: withData(name) }));
  const requests = [...auth.requests];
  expect(new Set(requests.map(({ exchangeId }) => exchangeId)).size).toBe(3);
  for (const request of requests.toReversed()) auth.decide(world, goOn(request.clientId), request);
  const data = clients.map((client) => toText(client.take("auth").properties.authenticationData!));
  expect(data).toEqual(["one", "two", "three"]);
});

/** What comes of three AUTH packets sent ahead of their turns, in pieces of these sizes. */
function outcomeAheadOfTurn(pieces: readonly number[]): unknown {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.dial({ properties: withData("0") });
  const next = (text: string): Uint8Array => rawPacket(0xf0, "18 0c 15 00 05", toBytes("SCRAM"), "16", prefixed(text));
  const ahead = joinBytes(next("1"), next("2"), next("3"));
  let at = 0;
  for (const size of [...pieces, ahead.length]) client.sendBytes(ahead.slice(at, (at += size)));
  for (let step = 0; step < 3 && !client.closed; step++) auth.decide(world, goOn());
  if (!client.closed) auth.decide(world, accept());
  const data = auth.requests.map(({ authenticationData }) => toText(authenticationData!));
  return { data, packets: client.takeAll(), closed: client.closed };
}

test("AUTH sent ahead of its turn is taken or refused, but the same way however the bytes are cut", () => {
  const whole = outcomeAheadOfTurn([]);
  for (const pieces of [[1], [20, 3], [17, 5, 2], [3, 30], Array.from({ length: 40 }, () => 1)]) {
    expect(outcomeAheadOfTurn(pieces)).toEqual(whole);
  }
});

test("a connection that waits for a verdict is paused at most until the verdict", () => {
  for (const verdicts of [[accept()], [goOn(), accept()], [goOn(), goOn(), accept()]]) {
    const auth = new ScriptedAuth();
    const world = new World({ auth });
    const client = world.dial({ properties: METHOD });
    for (const verdict of verdicts) {
      auth.decide(world, verdict);
      expect(client.paused).toBe(false);
      if (verdict.do === "continue") sendAuth(client, METHOD);
    }
    client.takeAll();
    expectAlive(client);
  }
});
