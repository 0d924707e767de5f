/**
 * MQTT 5.0 section 3.1.2.10 with Server Keep Alive of 3.2.2.3.14: one and a half times the Keep Alive, and what resets it.
 */
import { expect, test } from "bun:test";
import { expectAlive, expectClosedSilently, expectDisconnect } from "../support/ending.ts";
import { prefixed, rawPacket } from "../support/raw-packet.ts";
import { accept, answers } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

/** After `ms` of silence, not earlier, the connection ends with DISCONNECT 0x8D. */
function expectTimeoutAfter(world: World, client: TestClient, ms: number): void {
  world.advance(ms - 1);
  expect(client.takeAll()).toEqual([]);
  expect(client.closed).toBe(false);
  world.advance(1);
  expectDisconnect(client, 0x8d);
}

for (const keepAlive of [1, 2, 10, 11, 60, 65_535]) {
  test(`[MQTT-3.1.2-22] [MQTT-3.2.2-22] Keep Alive ${keepAlive} s: closed after one and a half times that, not earlier`, () => {
    const world = new World();
    const client = world.connect({ keepAlive });
    expect(client.connack?.properties.serverKeepAlive).toBeUndefined();
    expectTimeoutAfter(world, client, keepAlive * 1_500);
  });
}

test("[MQTT-3.1.2-22] Keep Alive 0 turns the mechanism off", () => {
  const world = new World();
  const client = world.connect({ keepAlive: 0 });
  world.advance(30 * 86_400_000);
  expectAlive(client);
});

test("[MQTT-3.1.2-22] [MQTT-3.1.2-20] a client that sends PINGREQ in time stays, for as long as it does", () => {
  const world = new World();
  const client = world.connect({ keepAlive: 10 });
  for (let round = 0; round < 20; round++) {
    world.advance(14_999);
    expectAlive(client);
  }
  expectTimeoutAfter(world, client, 15_000);
});

for (const [name, packet] of [
  ["QoS 0 PUBLISH", rawPacket(0x30, prefixed("a"), "00")],
  ["PUBACK", rawPacket(0x40, "00 01")],
  ["PUBREC", rawPacket(0x50, "00 01")],
  ["PUBREL", rawPacket(0x62, "00 01")],
  ["PUBCOMP", rawPacket(0x70, "00 01")],
  ["SUBSCRIBE", rawPacket(0x82, "00 01 00", prefixed("x"), "00")],
  ["UNSUBSCRIBE", rawPacket(0xa2, "00 01 00", prefixed("x"))],
] as const) {
  test(`[MQTT-3.1.2-22] ${name} counts as a sign of life`, () => {
    const world = new World();
    const client = world.connect({ keepAlive: 10 });
    world.advance(14_000);
    client.sendBytes(packet);
    client.takeAll();
    world.advance(14_000);
    expectAlive(client);
  });
}

test("[MQTT-3.1.2-22] what the broker sends does not count", () => {
  const world = new World();
  const client = world.connect({ keepAlive: 10 });
  client.subscribe("a", { qos: 0 });
  const publisher = world.connect();
  for (let second = 0; second < 14; second++) {
    world.advance(1_000);
    publisher.publish("a");
    client.take("publish");
  }
  expectTimeoutAfter(world, client, 1_000);
});

test("[MQTT-3.1.2-22] the first bytes of a packet do not count: it has to be received", () => {
  const world = new World();
  const client = world.connect({ keepAlive: 10 });
  client.sendBytes("30 20 00");
  for (let second = 0; second < 14; second++) {
    world.advance(1_000);
    client.sendBytes("01");
  }
  expectTimeoutAfter(world, client, 1_000);
});

test("[MQTT-3.1.2-22] the silence counts from CONNECT when nothing follows it", () => {
  const world = new World();
  const client = world.open();
  world.advance(5_000);
  client.send({ type: "connect", protocolLevel: 5, cleanStart: true, keepAlive: 4, clientId: "c", properties: {} });
  client.take("connack");
  expectTimeoutAfter(world, client, 6_000);
});

test("a verdict that takes longer than the Keep Alive does not time out the client it lets in", () => {
  const auth = answers(undefined);
  const world = new World({ auth });
  const client = world.dial({ keepAlive: 1 });
  world.advance(5_000);
  auth.decide(world, accept());
  client.take("connack");
  world.advance(1_000);
  expectAlive(client);
  expectTimeoutAfter(world, client, 1_500);
});

test("[MQTT-3.1.2-22] the close is like a failed network: the session is kept, the Will is published", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("will");
  const init: ConnectInit = { clientId: "c", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const client = world.connect({ ...init, keepAlive: 10, will: { topicName: "will" } });
  expectTimeoutAfter(world, client, 15_000);
  expect(observer.takePublishes()).toHaveLength(1);
  expect(world.connect(init).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-22] the timeout of a connection that was taken over does not hit the next one", () => {
  const world = new World();
  const init: ConnectInit = { clientId: "c", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  world.connect({ ...init, keepAlive: 10 });
  world.advance(5_000);
  const next = world.connect({ ...init, keepAlive: 60 });
  world.advance(80_000);
  expectAlive(next);
  expectTimeoutAfter(world, next, 90_000);
});

test("[MQTT-3.1.2-22] [MQTT311-3.1.2-24] a 3.1.1 client is closed without a packet", () => {
  const world = new World();
  const client = world.connect({ level: 4, keepAlive: 10 });
  world.advance(14_999);
  expect(client.closed).toBe(false);
  world.advance(1);
  expectClosedSilently(client);
});

test("[MQTT-3.1.2-22] many clients with different Keep Alives end each at its own time", () => {
  const world = new World();
  const clients = [40, 10, 30, 20].map((keepAlive) => ({ keepAlive, client: world.connect({ keepAlive }) }));
  for (let second = 1; second <= 60; second++) {
    world.advance(1_000);
    for (const { keepAlive, client } of clients) expect(client.closed).toBe(second >= keepAlive * 1.5);
  }
});

for (const [asked, announced, used] of [
  [60, 10, 10],
  [11, 10, 10],
  [65_535, 10, 10],
  [0, 10, 10],
  [10, undefined, 10],
  [5, undefined, 5],
] as const) {
  test(`[MQTT-3.1.2-21] [MQTT-3.2.2-21] [MQTT-3.2.2-22] Server Keep Alive 10 s against ${asked} s: ${used} s counts`, () => {
    const world = new World({ capabilities: { serverKeepAliveMax: 10 } });
    const client = world.connect({ keepAlive: asked });
    expect(client.connack?.properties.serverKeepAlive).toBe(announced);
    expectTimeoutAfter(world, client, used * 1_500);
  });
}

for (const keepAlive of [0, 65_535]) {
  test(`a 3.1.1 client with Keep Alive ${keepAlive} is let in and keeps its own value, since nobody can tell it another`, () => {
    const world = new World({ capabilities: { serverKeepAliveMax: 10 } });
    const client = world.connect({ level: 4, keepAlive });
    world.advance(60_000);
    expectAlive(client);
  });
}
