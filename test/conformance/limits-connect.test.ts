/**
 * The bounds around CONNECT and AUTH, each reached by a test: what lies on the bound works, what lies over it is refused.
 */
import { expect, test } from "bun:test";
import type { Properties } from "../../src/core/codec/property.ts";
import { expectAlive, expectClosedSilently, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, rawConnect, rawPacket } from "../support/raw-packet.ts";
import { accept, answers, goOn, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

const METHOD: Properties = { authenticationMethod: "m" };

function sendAuth(client: TestClient, reasonCode: number, authenticationData?: Uint8Array): void {
  const properties = authenticationData === undefined ? METHOD : { ...METHOD, authenticationData };
  client.send({ type: "auth", reasonCode, properties });
}

/** Closed before it was accepted: at most a CONNACK that refuses was sent. */
function expectKeptOut(client: TestClient): void {
  for (const packet of client.takeAll()) {
    expect(packet.type).toBe("connack");
    expect(packet).not.toMatchObject({ reasonCode: 0 });
  }
  expect(client.closed).toBe(true);
}

// --- connectBytesMax

/** A CONNECT of exactly so many bytes, at least 200. */
function connectOfBytes(bytes: number): Uint8Array {
  const password = (length: number): Uint8Array =>
    rawConnect({ connectFlags: 0x42, payload: [prefixed("c"), prefixed(new Uint8Array(length))] });
  return password(bytes - password(0).length - 1);
}

test("connectBytesMax: a CONNECT of that size is read, one of a byte more keeps its sender out", () => {
  const world = new World({ limits: { connectBytesMax: 1_000 } });
  const fitting = world.open();
  const packet = connectOfBytes(1_000);
  expect(packet.length).toBe(1_000);
  fitting.sendBytes(packet);
  expect(fitting.take("connack").reasonCode).toBe(0);
  const large = world.open();
  large.sendBytes(connectOfBytes(1_001));
  expectKeptOut(large);
});

test("connectBytesMax: a CONNECT that is too large is refused by its header", () => {
  const client = new World({ limits: { connectBytesMax: 1_000 } }).open();
  client.sendBytes("10 ff ff 03");
  expectKeptOut(client);
});

test("connectBytesMax bounds AUTH before CONNACK, and nothing after it", () => {
  const auth = answers(goOn(), accept(), goOn(), accept());
  const world = new World({ auth, limits: { connectBytesMax: 1_000 } });
  const client = world.dial({ properties: METHOD });
  client.take("auth");
  sendAuth(client, 0x18, new Uint8Array(900));
  expect(client.take("connack").reasonCode).toBe(0);
  client.subscribe("a", { qos: 0 });
  client.publish("a", new Uint8Array(5_000));
  expect(client.take("publish").payload).toHaveLength(5_000);
  const greedy = world.dial({ properties: METHOD });
  greedy.take("auth");
  sendAuth(greedy, 0x18, new Uint8Array(1_000));
  expectKeptOut(greedy);
});

test("connectBytesMax: a packet above it in the same segment as CONNECT is read when the client is let in", () => {
  const world = new World({ limits: { connectBytesMax: 1_000 } });
  const observer = world.connect();
  observer.subscribe("a", { qos: 0 });
  const client = world.open();
  client.sendBytes(joinBytes(rawConnect(), rawPacket(0x30, prefixed("a"), "00", new Uint8Array(5_000))));
  expect(client.take("connack").reasonCode).toBe(0);
  expect(observer.take("publish").payload).toHaveLength(5_000);
});

// --- connectionsMax, unauthenticatedMax

/** One connection too many: closed, deaf to what it still sends, and gone when its transport says so. */
function turnAway(world: World): void {
  const refused = world.open();
  expectClosedSilently(refused);
  refused.sendBytes(rawConnect());
  expectClosedSilently(refused);
  refused.drop();
}

test("connectionsMax: so many connections are open at once, the next is closed without a word", () => {
  const world = new World({ limits: { connectionsMax: 3 } });
  const clients = Array.from({ length: 3 }, () => world.connect());
  turnAway(world);
  for (const client of clients) expectAlive(client);
});

test("connectionsMax: a connection that is over makes room, however it ended", () => {
  const world = new World({ limits: { connectionsMax: 2 } });
  const lost = world.connect();
  const leaving = world.connect();
  turnAway(world);
  lost.drop();
  const next = world.connect();
  turnAway(world);
  leaving.disconnect();
  leaving.drop(); // the transport reports the close
  expectAlive(world.connect());
  turnAway(world);
  expectAlive(next);
});

test("connectionsMax: those turned away have no effect, and what they send is not read", () => {
  const auth = answers(accept());
  const world = new World({ auth, limits: { connectionsMax: 1 } });
  const client = world.connect();
  for (let count = 0; count < 5; count++) turnAway(world);
  expect(auth.requests).toHaveLength(1);
  client.drop();
  expectAlive(world.connect());
});

test("unauthenticatedMax: so many connections may be short of CONNACK, the next is closed", () => {
  const world = new World({ limits: { unauthenticatedMax: 2 } });
  const [first, second] = [world.open(), world.open()];
  turnAway(world);
  for (const client of [first, second]) {
    client.sendBytes(rawConnect({ payload: [prefixed(client === first ? "1" : "2")] }));
    expect(client.take("connack").reasonCode).toBe(0);
  }
  expectAlive(world.connect());
});

test("unauthenticatedMax: accepted clients do not count; refused, lost and late ones make room", () => {
  const world = new World({ limits: { unauthenticatedMax: 1, connectDeadlineMs: 5_000 } });
  for (let count = 0; count < 3; count++) expectAlive(world.connect());
  const refused = world.open();
  turnAway(world);
  refused.sendBytes("c0 00");
  refused.drop();
  const lost = world.open();
  lost.drop();
  const late = world.open();
  world.advance(5_000);
  expect(late.closed).toBe(true);
  late.drop();
  expectAlive(world.connect());
});

test("unauthenticatedMax: a client that waits for its verdict counts, one in a re-authentication does not", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth, limits: { unauthenticatedMax: 1 } });
  const waiting = world.dial({ properties: METHOD });
  turnAway(world);
  auth.decide(world, accept());
  waiting.take("connack");
  sendAuth(waiting, 0x19);
  const next = world.dial();
  auth.decide(world, accept());
  expect(next.take("connack").reasonCode).toBe(0);
});

// --- connectDeadlineMs

test("connectDeadlineMs: a connection that says nothing, or half a CONNECT, is closed then and not earlier", () => {
  const world = new World({ limits: { connectDeadlineMs: 5_000 } });
  const silent = world.open();
  const slow = world.open();
  slow.sendBytes("10 20 00 04 4d");
  world.advance(4_999);
  slow.sendBytes("51");
  expect([silent.closed, slow.closed]).toEqual([false, false]);
  world.advance(1);
  expectClosedSilently(silent);
  expectKeptOut(slow);
});

test("connectDeadlineMs does not end a client that was let in", () => {
  const world = new World({ limits: { connectDeadlineMs: 5_000 } });
  const client = world.open();
  world.advance(4_999);
  client.sendBytes(rawConnect());
  expect(client.take("connack").reasonCode).toBe(0);
  world.advance(60_000);
  expectAlive(client);
});

test("connectDeadlineMs: a verdict that has not come by then keeps the client out, and comes too late", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth, limits: { connectDeadlineMs: 5_000 } });
  const client = world.dial({ clientId: "c", cleanStart: false, properties: { sessionExpiryInterval: 100 } });
  const request = auth.last;
  world.advance(4_999);
  expect(client.closed).toBe(false);
  world.advance(1);
  expectKeptOut(client);
  expect(auth.abandoned).toEqual([request.exchangeId]);
  auth.decide(world, accept(), request);
  expect(client.packets).toEqual([]);
  auth.answer = () => accept();
  expect(world.connect({ clientId: "c", cleanStart: false }).connack?.sessionPresent).toBe(false);
});

test("connectDeadlineMs holds for the whole enhanced authentication, not for each step", () => {
  const auth = answers(goOn());
  const world = new World({ auth, limits: { connectDeadlineMs: 5_000, authDeadlineMs: 60_000, authRoundsMax: 100 } });
  const client = world.dial({ properties: METHOD });
  for (let second = 1; second < 5; second++) {
    world.advance(1_000);
    client.take("auth");
    sendAuth(client, 0x18);
  }
  client.take("auth");
  world.advance(999);
  expect(client.closed).toBe(false);
  world.advance(1);
  expectKeptOut(client);
  expect(auth.abandoned).toEqual([auth.last.exchangeId]);
});

// --- authDeadlineMs, authRoundsMax

test("authDeadlineMs: a re-authentication that is not finished by then ends the connection, whoever is late", () => {
  for (const waitsForClient of [true, false]) {
    const auth = new ScriptedAuth(() => accept());
    const world = new World({ auth, limits: { authDeadlineMs: 5_000 } });
    const client = world.connect({ properties: METHOD });
    auth.answer = () => (waitsForClient ? goOn() : undefined);
    world.advance(60_000);
    sendAuth(client, 0x19);
    if (waitsForClient) client.take("auth");
    world.advance(4_999);
    expectAlive(client);
    world.advance(1);
    expect(client.take("disconnect").reasonCode).toBeGreaterThanOrEqual(0x80);
    expectClosedSilently(client);
    expect(auth.abandoned).toEqual([auth.last.exchangeId]);
    auth.decide(world, accept());
    expect(client.packets).toEqual([]);
  }
});

test("authDeadlineMs: a re-authentication that is finished in time leaves no deadline behind", () => {
  const auth = answers(accept(), goOn(), accept());
  const world = new World({ auth, limits: { authDeadlineMs: 5_000 } });
  const client = world.connect({ properties: METHOD });
  sendAuth(client, 0x19);
  client.take("auth");
  world.advance(4_999);
  sendAuth(client, 0x18);
  expect(client.take("auth").reasonCode).toBe(0);
  world.advance(60_000);
  expectAlive(client);
});

test("authRoundsMax: so many AUTH packets before CONNACK, one more and the client is kept out", () => {
  const auth = answers(goOn());
  const world = new World({ auth, limits: { authRoundsMax: 3 } });
  const client = world.dial({ properties: METHOD });
  for (let round = 0; round < 3; round++) {
    client.take("auth");
    sendAuth(client, 0x18);
  }
  client.take("auth");
  sendAuth(client, 0x18);
  expectKeptOut(client);
  expect(auth.requests).toHaveLength(4);
});

test("authRoundsMax: the last AUTH that is allowed may succeed", () => {
  const auth = answers(goOn(), goOn(), accept());
  const client = new World({ auth, limits: { authRoundsMax: 2 } }).dial({ properties: METHOD });
  for (let round = 0; round < 2; round++) {
    client.take("auth");
    sendAuth(client, 0x18);
  }
  expect(client.take("connack").reasonCode).toBe(0);
});

test("authRoundsMax: one AUTH too many in a re-authentication ends the connection; each exchange counts anew", () => {
  const auth = answers(accept(), goOn(), accept(), goOn());
  const client = new World({ auth, limits: { authRoundsMax: 2 } }).connect({ properties: METHOD });
  for (const reasonCode of [0x19, 0x18]) {
    sendAuth(client, reasonCode);
    client.take("auth");
  }
  for (const reasonCode of [0x19, 0x18]) {
    sendAuth(client, reasonCode);
    client.take("auth");
  }
  sendAuth(client, 0x18);
  expect(client.take("disconnect").reasonCode).toBeGreaterThanOrEqual(0x80);
  expectClosedSilently(client);
});

// --- heldInputBytesMax

const PING_PAD = rawPacket(0x30, prefixed("a"), "00", new Uint8Array(94)); // 100 bytes

test("heldInputBytesMax: input behind a CONNECT that waits is held up to the bound and handled afterwards", () => {
  const auth = answers(accept(), undefined);
  const world = new World({ auth, limits: { heldInputBytesMax: 1_000 } });
  const observer = world.connect();
  observer.subscribe("a");
  const client = world.dial();
  for (let count = 0; count < 10; count++) client.sendBytes(PING_PAD);
  expect([client.closed, observer.packets.length]).toEqual([false, 0]);
  expect(client.paused).toBe(true); // the transport is asked to hold the rest itself
  auth.decide(world, accept());
  expect(client.take("connack").reasonCode).toBe(0);
  expect(observer.takePublishes()).toHaveLength(10);
  expect(client.paused).toBe(false);
});

test("heldInputBytesMax: more than that ends the connection with CONNACK 0x97, and nothing of it is handled", () => {
  const auth = answers(accept(), undefined);
  const world = new World({ auth, limits: { heldInputBytesMax: 1_000 } });
  const observer = world.connect();
  observer.subscribe("a");
  const client = world.dial();
  const request = auth.last;
  for (let count = 0; count < 11; count++) client.sendBytes(PING_PAD);
  expectRefusal(client, 0x97);
  expect(auth.abandoned).toEqual([request.exchangeId]);
  auth.decide(world, accept(), request);
  expect([client.packets.length, observer.packets.length]).toEqual([0, 0]);
});

// --- userPropertiesMax

function userProperties(count: number): [string, string][] {
  return Array.from({ length: count }, (_, index): [string, string] => [`k${index}`, "v"]);
}

test("userPropertiesMax: CONNECT may have so many, one more is refused with CONNACK 0x97", () => {
  const world = new World({ limits: { userPropertiesMax: 5 } });
  expect(world.dial({ properties: { userProperties: userProperties(5) } }).take("connack").reasonCode).toBe(0);
  expectRefusal(world.dial({ properties: { userProperties: userProperties(6) } }), 0x97);
});

test("userPropertiesMax: PUBLISH, SUBSCRIBE and DISCONNECT may have so many, one more ends the connection with 0x97", () => {
  const world = new World({ limits: { userPropertiesMax: 5 } });
  const tooMany = { userProperties: userProperties(6) };
  const client = world.connect();
  client.subscribe("a", { qos: 0 }, { userProperties: userProperties(5) });
  client.publish("a", "", { properties: { userProperties: userProperties(5) } });
  expect(client.take("publish").properties.userProperties).toHaveLength(5);
  client.sendPublish("a", "", { properties: tooMany });
  expectDisconnect(client, 0x97);
  const subscriber = world.connect();
  subscriber.send({ type: "subscribe", packetId: 1, filters: [filterOf("a")], properties: tooMany });
  expectDisconnect(subscriber, 0x97);
  const leaving = world.connect();
  leaving.disconnect(0, tooMany);
  expectDisconnect(leaving, 0x97);
});

function filterOf(topicFilter: string) {
  return { topicFilter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
}

// --- offlineSessionsMax

function keep(clientId: string, sessionExpiryInterval: number): ConnectInit {
  return { clientId, cleanStart: false, properties: { sessionExpiryInterval } };
}

function sessionPresent(world: World, clientId: string): boolean | undefined {
  return world.connect(keep(clientId, 1_000)).connack?.sessionPresent;
}

test("offlineSessionsMax: of one session too many, the one that has been away longest is ended", () => {
  const world = new World({ limits: { offlineSessionsMax: 3 } });
  for (const clientId of ["a", "b", "c", "a", "d"]) {
    world.connect(keep(clientId, 300)).drop();
    world.advance(1_000);
  }
  expect(["a", "b", "c", "d"].map((clientId) => sessionPresent(world, clientId))).toEqual([true, false, true, true]);
});

test("offlineSessionsMax: connected sessions and those without expiry do not count", () => {
  const world = new World({ limits: { offlineSessionsMax: 1 } });
  world.connect(keep("away", 100)).drop();
  for (let count = 0; count < 5; count++) world.connect(keep(`on${count}`, 100));
  for (let count = 0; count < 5; count++) world.connect({ clientId: `brief${count}` }).drop();
  expect(sessionPresent(world, "away")).toBe(true);
});

test("offlineSessionsMax: a session that is ended early publishes its delayed Will, as at any end of a session", () => {
  const world = new World({ limits: { offlineSessionsMax: 1 } });
  const observer = world.connect();
  observer.subscribe("will");
  const will = { topicName: "will", properties: { willDelayInterval: 1_000 } };
  world.connect({ ...keep("first", 100), will }).drop();
  expect(observer.takePublishes()).toHaveLength(0);
  world.connect(keep("second", 200)).drop();
  expect(observer.takePublishes()).toHaveLength(1);
  world.advance(1_000_000);
  expect(observer.takePublishes()).toHaveLength(0);
});
