/**
 * MQTT 5.0 section 3.1.4: what follows a CONNECT: checks, take-over, acceptance, and the silence after a refusal.
 */
import { expect, test } from "bun:test";
import type { Refusal } from "../../src/core/gate/provider.ts";
import { expectAlive, expectClosedSilently, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { joinBytes, prefixed, rawConnect, rawPacket } from "../support/raw-packet.ts";
import { accept, answers, refuse, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const SUBSCRIBE_ALL = rawPacket(0x82, "00 01 00", prefixed("#"), "00");
const PUBLISH = rawPacket(0x33, prefixed("late"), "00 02 00", "78"); // QoS 1, retained
const KEEP: ConnectInit = { clientId: "keeper", cleanStart: false, properties: { sessionExpiryInterval: 100 } };

test("[MQTT-3.1.4-5] an acceptable CONNECT is acknowledged with CONNACK 0x00", () => {
  const world = new World();
  const client = world.dial({ keepAlive: 10, will: { topicName: "w" }, username: "u", password: "p" });
  expect(client.takeAll()).toMatchObject([{ type: "connack", reasonCode: 0, sessionPresent: false }]);
  expectAlive(client);
});

test("[MQTT-3.1.4-1] a CONNECT of the wrong form is refused and closed, and has no effect", () => {
  const world = new World();
  const connected = world.connect({ clientId: "keeper" });
  const client = world.open();
  client.sendBytes(rawConnect({ payload: [prefixed("keeper"), "00"] }));
  expectRefusal(client, 0x81);
  expectAlive(connected);
});

for (const [because, reasonCode] of [
  ["bad-credentials", 0x86],
  ["not-authorized", 0x87],
  ["client-id", 0x85],
  ["banned", 0x8a],
  ["unavailable", 0x88],
  ["busy", 0x89],
  ["bad-method", 0x8c],
] as const satisfies readonly (readonly [Refusal, number])[]) {
  test(`[MQTT-3.1.4-2] [MQTT-3.2.2-7] refused as ${because}: CONNACK 0x${reasonCode.toString(16)}, then closed`, () => {
    const world = new World({ auth: answers(refuse(because)) });
    expectRefusal(world.dial(), reasonCode);
  });

  test(`[MQTT-3.1.4-2] refused later as ${because}: the same`, () => {
    const auth = new ScriptedAuth();
    const world = new World({ auth });
    const client = world.dial();
    expect([client.packets.length, client.closed]).toEqual([0, false]);
    auth.decide(world, refuse(because));
    expectRefusal(client, reasonCode);
  });
}

test("[MQTT-3.1.4-2] where nobody feels responsible for a client, it is refused", () => {
  const client = new World({ auth: answers({ do: "skip" }) }).dial();
  expect(client.take("connack").reasonCode).toBeGreaterThanOrEqual(0x80);
  expectClosedSilently(client);
});

test("[MQTT-3.1.4-2] a Will the client may not publish is refused with CONNACK 0x87", () => {
  const permissions = { allow: [{ on: "both", filter: "mine/#" }] } as const;
  const world = new World({ auth: answers(accept({ permissions })) });
  expectRefusal(world.dial({ will: { topicName: "theirs" } }), 0x87);
  expect(world.dial({ will: { topicName: "mine/will" } }).take("connack").reasonCode).toBe(0);
});

test("[MQTT-3.1.4-3] a client id that is online: DISCONNECT 0x8E to the old connection, which is closed; the new one works", () => {
  const world = new World();
  const old = world.connect({ clientId: "same" });
  const next = world.connect({ clientId: "same" });
  expectDisconnect(old, 0x8e);
  expectAlive(next);
  old.drop();
  expectAlive(next);
});

test("[MQTT-3.1.4-3] [MQTT311-3.1.4-2] an old connection of 3.1.1 is closed without a packet", () => {
  const world = new World();
  const old = world.connect({ clientId: "same", level: 4 });
  world.connect({ clientId: "same" });
  expectClosedSilently(old);
});

test("[MQTT-3.1.4-3] a chain of take-overs leaves the last connection", () => {
  const world = new World();
  const connections = Array.from({ length: 5 }, () => world.connect(KEEP));
  connections[0]?.drop();
  for (const old of connections.slice(1, 4)) expectDisconnect(old, 0x8e);
  expectAlive(connections[4]!);
});

test("[MQTT-3.1.4-3] what the old connection sends after the take-over has no effect", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("#");
  const old = world.connect({ clientId: "same" });
  const next = world.connect({ clientId: "same" });
  expectDisconnect(old, 0x8e);
  old.sendBytes(joinBytes(PUBLISH, SUBSCRIBE_ALL));
  old.disconnect();
  expect([old.packets.length, observer.packets.length, next.packets.length]).toEqual([0, 0, 0]);
  expectAlive(next);
});

test("[MQTT-3.1.4-3] messages in flight on the old connection are delivered again on the new one", () => {
  const world = new World();
  const old = world.connect(KEEP);
  old.subscribe("a");
  world.connect().publish("a", "x", { qos: 1 });
  expect(old.take("publish")).toMatchObject({ dup: false, packetId: 1 });
  const next = world.connect(KEEP);
  expectDisconnect(old, 0x8e);
  expect(next.take("publish")).toMatchObject({ dup: true, packetId: 1, qos: 1 });
});

test("[MQTT-3.1.4-3] a CONNECT that is refused, or not decided yet, takes nobody over", () => {
  const auth = answers(accept(), refuse("bad-credentials"), undefined);
  const world = new World({ auth });
  const client = world.connect({ clientId: "same" });
  expectRefusal(world.dial({ clientId: "same" }), 0x86);
  expectAlive(client);
  const waiting = world.dial({ clientId: "same" });
  expectAlive(client);
  auth.decide(world, accept());
  expect(waiting.take("connack").reasonCode).toBe(0);
  expectDisconnect(client, 0x8e);
});

test("[MQTT-3.1.4-3] two connections of one id that wait for their verdicts: the one accepted last stays", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const first = world.dial({ clientId: "same" });
  const second = world.dial({ clientId: "same" });
  const [requestOfFirst, requestOfSecond] = auth.requests;
  auth.decide(world, accept(), requestOfSecond);
  expect(second.take("connack").reasonCode).toBe(0);
  auth.decide(world, accept(), requestOfFirst);
  expect(first.take("connack").reasonCode).toBe(0);
  expectDisconnect(second, 0x8e);
  expectAlive(first);
});

test("[MQTT-3.1.4-6] after a refusal nothing the client sent is handled, in the same segment or later", () => {
  const auth = answers(accept(), refuse("not-authorized"), accept());
  const world = new World({ auth });
  const observer = world.connect();
  observer.subscribe("#");
  const client = world.open();
  client.sendBytes(joinBytes(rawConnect(), SUBSCRIBE_ALL, PUBLISH));
  expectRefusal(client, 0x87);
  client.sendBytes(joinBytes(PUBLISH, SUBSCRIBE_ALL, rawConnect()));
  expectClosedSilently(client);
  expect(observer.takeAll()).toEqual([]);
  const late = world.connect();
  late.subscribe("late");
  expect(late.takeAll()).toEqual([]);
  expect(auth.requests).toHaveLength(3);
});

test("[MQTT-3.1.4-6] what waited for a verdict is dropped when the verdict is no", () => {
  const auth = answers(accept(), undefined);
  const world = new World({ auth });
  const observer = world.connect();
  observer.subscribe("#");
  const client = world.open();
  client.sendBytes(joinBytes(rawConnect(), PUBLISH, SUBSCRIBE_ALL));
  client.sendBytes(PUBLISH);
  auth.decide(world, refuse("not-authorized"));
  expectRefusal(client, 0x87);
  expect(observer.takeAll()).toEqual([]);
});

/** CONNACK, SUBACK, then PUBLISH and PUBACK in any order, then PINGRESP. */
function expectOrderOfDialogue(client: TestClient): void {
  const packets = client.takeAll();
  const types = packets.map(({ type }) => type);
  expect([...types.slice(0, 2), ...types.slice(2, 4).sort(), ...types.slice(4)]).toEqual([
    "connack",
    "suback",
    "puback",
    "publish",
    "pingresp",
  ]);
  expect(packets.find(({ type }) => type === "publish")).toMatchObject({ topicName: "late", retain: false });
}

test("packets sent right behind CONNECT are handled, in order, after CONNACK", () => {
  const world = new World();
  const client = world.open();
  client.sendBytes(joinBytes(rawConnect(), SUBSCRIBE_ALL, PUBLISH, "c0 00"));
  expectOrderOfDialogue(client);
});

test("packets sent before a late verdict are handled, in order, when it is yes", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  const client = world.open();
  client.sendBytes(joinBytes(rawConnect(), SUBSCRIBE_ALL, PUBLISH.slice(0, 5)));
  client.sendBytes(PUBLISH.slice(5));
  client.sendBytes("c0");
  client.sendBytes("00");
  expect(client.packets).toEqual([]);
  auth.decide(world, accept());
  expectOrderOfDialogue(client);
  client.sendBytes("c0 00");
  expect(client.takeAll()).toEqual([{ type: "pingresp" }]);
});

test("while one client waits for its verdict, all others go on", () => {
  const auth = new ScriptedAuth((request) => (request.clientId === "slow" ? undefined : accept()));
  const world = new World({ auth });
  const slow = world.dial({ clientId: "slow" });
  const client = world.connect();
  client.subscribe("a");
  world.connect().publish("a", "x");
  expect(client.takePublishes().map(({ payload }) => toText(payload))).toEqual(["x"]);
  expect(slow.packets).toEqual([]);
});

test("the authority is told what CONNECT said, in values it may keep", () => {
  const auth = new ScriptedAuth();
  const world = new World({ auth });
  world.dial({
    clientId: "c",
    cleanStart: false,
    username: "u",
    password: "secret",
    will: { topicName: "w", qos: 1, retain: true },
    properties: { userProperties: [["k", "v"]], authenticationMethod: "m", authenticationData: Uint8Array.of(1, 2) },
  });
  expect(auth.last).toMatchObject({
    phase: "connect",
    protocolLevel: 5,
    clientId: "c",
    cleanStart: false,
    username: "u",
    authenticationMethod: "m",
    userProperties: [["k", "v"]],
    will: { topicName: "w", qos: 1, retain: true },
    remoteAddress: "192.0.2.1",
    listener: "test://",
    current: undefined,
  });
  expect(toText(auth.last.password!)).toBe("secret");
  expect(auth.last.authenticationData).toEqual(Uint8Array.of(1, 2));
});

test("[MQTT-3.1.4-2] a session belongs to the principal that made it: somebody else with its client id is kept out", () => {
  const auth = answers(accept({ id: "anna" }), accept({ id: "bert" }), accept({ id: "bert" }), accept({ id: "anna" }));
  const world = new World({ auth });
  const client = world.connect(KEEP);
  const others = world.dial(KEEP);
  expectRefusal(others, 0x85);
  expectAlive(client);
  client.drop();
  expectRefusal(world.dial({ ...KEEP, cleanStart: true }), 0x85);
  expect(world.connect(KEEP).connack?.sessionPresent).toBe(true);
});
