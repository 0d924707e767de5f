/**
 * MQTT 5.0 section 3.14: DISCONNECT from either side, what may not follow it, and the session expiry it may change.
 */
import { expect, test } from "bun:test";
import { expectAlive, expectClosedSilently, expectDisconnect } from "../support/ending.ts";
import { joinBytes, prefixed, rawConnect, rawPacket, splitPackets } from "../support/raw-packet.ts";
import { accept, answers, goOn, refuse, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

const KEEP: ConnectInit = { clientId: "keeper", cleanStart: false, properties: { sessionExpiryInterval: 100 } };

/** What makes the broker end an established connection with DISCONNECT, and with which code. */
const SERVER_ENDS: readonly (readonly [
  why: string,
  reasonCode: number,
  end: (client: TestClient, world: World) => void,
])[] = [
  ["malformed", 0x81, (client) => client.sendBytes("30 02 00 05")],
  ["wrong flags", 0x81, (client) => client.sendBytes("c1 00")],
  ["a Protocol Error", 0x82, (client) => client.sendBytes(rawConnect())],
  ["AUTH out of turn", 0x82, (client) => client.sendBytes("f0 00")],
  ["an empty Topic Name", 0x82, (client) => client.sendBytes(rawPacket(0x30, "00 00 00"))],
  ["a wildcard in a Topic Name", 0x90, (client) => client.sendPublish("a/#")],
  ["an unknown Topic Alias", 0x82, (client) => client.sendPublish("", "", { properties: { topicAlias: 9 } })],
  ["a Topic Alias of 0", 0x94, (client) => client.sendBytes(rawPacket(0x30, prefixed("a"), "03 23 00 00"))],
  ["a packet too large", 0x95, (client) => client.sendBytes("30 ff ff ff 7f")],
  ["take-over", 0x8e, (client, world) => void world.connect({ clientId: client.clientId })],
  ["silence", 0x8d, (_client, world) => world.advance(15_000)],
];

function stop(world: World): void {
  world.broker.stop(world.nowMs);
  world.settle();
}

function scene(more: ConnectInit = {}): { world: World; client: TestClient } {
  const world = new World();
  return { world, client: world.connect({ keepAlive: 10, ...more }) };
}

for (const [why, reasonCode, end] of SERVER_ENDS) {
  test(`[MQTT-3.14.2-1] [MQTT-3.14.4-2] the broker ends a connection for ${why}: DISCONNECT with a code of the list, then closed`, () => {
    const { world, client } = scene();
    end(client, world);
    expectDisconnect(client, reasonCode); // decoding refuses codes that DISCONNECT may not carry
  });

  test(`[MQTT-3.14.2-2] no Session Expiry Interval in the DISCONNECT for ${why}`, () => {
    const { world, client } = scene({ properties: { sessionExpiryInterval: 100 } });
    end(client, world);
    expect(expectDisconnect(client, reasonCode).properties.sessionExpiryInterval).toBeUndefined();
  });

  test(`[MQTT-3.14.2-3] [MQTT-3.14.2-4] the DISCONNECT for ${why} fits a Maximum Packet Size of 20`, () => {
    const { world, client } = scene({ properties: { maximumPacketSize: 20 } });
    end(client, world);
    expectDisconnect(client, reasonCode);
    expect(splitPackets(client.bytes).at(-1)!.length).toBeLessThanOrEqual(20);
  });

  test(`[MQTT-3.14.4-1] nothing follows the DISCONNECT for ${why}, whatever the client goes on sending`, () => {
    const { world, client } = scene();
    const publisher = world.connect();
    client.subscribe("a");
    end(client, world);
    client.sendBytes("c0 00 c0 00");
    publisher.publish("a");
    expectDisconnect(client, reasonCode);
  });
}

test("[MQTT-3.14.4-1] [MQTT-3.14.4-2] packets in the segment of the bad one are not handled and not answered", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("#");
  const client = world.connect();
  client.sendBytes(joinBytes("c0 00 c1 00 c0 00", rawPacket(0x30, prefixed("a"), "00"), "e0 00"));
  expect(client.take("pingresp")).toEqual({ type: "pingresp" });
  expectDisconnect(client, 0x81);
  expect(observer.takeAll()).toEqual([]);
});

test("[MQTT-3.14.4-1] packets behind the client's DISCONNECT are not handled and not answered", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("#");
  const client = world.connect();
  client.sendBytes(joinBytes("e0 00", rawPacket(0x32, prefixed("a"), "00 01 00"), "c0 00"));
  client.sendBytes("c0 00");
  expectClosedSilently(client);
  expect(observer.takeAll()).toEqual([]);
});

for (const reasonCode of [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]) {
  test(`[MQTT-3.14.2-1] DISCONNECT 0x${reasonCode.toString(16)} from a client closes the connection without an answer`, () => {
    const { client } = scene();
    client.disconnect(reasonCode);
    expectClosedSilently(client);
  });
}

for (const reasonCode of [0x01, 0x05, 0x18, 0x7f, 0x84, 0x86, 0xff]) {
  test(`[MQTT-3.14.2-1] DISCONNECT 0x${reasonCode.toString(16)}, no code of DISCONNECT, is an error of the client; its Will is published`, () => {
    const world = new World();
    const observer = world.connect();
    observer.subscribe("will");
    const client = world.connect({ will: { topicName: "will" } });
    client.sendBytes(Uint8Array.of(0xe0, 1, reasonCode));
    expectDisconnect(client, 0x82);
    expect(observer.takePublishes()).toHaveLength(1);
  });
}

for (let flags = 1; flags < 16; flags++) {
  test(`[MQTT-3.14.1-1] DISCONNECT with flags ${flags} is answered with DISCONNECT 0x81; its Will is published`, () => {
    const world = new World();
    const observer = world.connect();
    observer.subscribe("will");
    const client = world.connect({ will: { topicName: "will" } });
    client.sendBytes(Uint8Array.of(0xe0 | flags, 0));
    expectDisconnect(client, 0x81);
    expect(observer.takePublishes()).toHaveLength(1);
  });
}

test("[MQTT-3.14.4-3] DISCONNECT 0x00 discards the Will, 0x04 does not", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("will");
  world.connect({ will: { topicName: "will" } }).disconnect(0x00);
  expect(observer.takePublishes()).toHaveLength(0);
  world.connect({ will: { topicName: "will" } }).disconnect(0x04);
  expect(observer.takePublishes()).toHaveLength(1);
});

/** Connections that are not accepted yet, and ways to end them. */
const EARLY_ENDS: readonly (readonly [
  how: string,
  end: (client: TestClient, world: World, auth: ScriptedAuth) => void,
])[] = [
  ["silence", (_client, world) => world.advance(600_000)],
  ["a PINGREQ first", (client) => client.sendBytes("c0 00")],
  ["a packet of type 0 first", (client) => client.sendBytes("00 00")],
  ["a length of five bytes first", (client) => client.sendBytes("10 ff ff ff ff 01")],
  ["a malformed CONNECT", (client) => client.sendBytes(rawConnect({ connectFlags: 0x03 }))],
  ["a CONNECT against the protocol", (client) => client.sendBytes(rawConnect({ properties: "21 00 00" }))],
  ["an unknown version", (client) => client.sendBytes(rawConnect({ protocolLevel: 6 }))],
  [
    "a verdict that never comes",
    (client, world) => {
      client.sendBytes(rawConnect());
      world.advance(600_000);
    },
  ],
  [
    "a refusal",
    (client, world, auth) => {
      client.sendBytes(rawConnect());
      auth.decide(world, refuse("banned"));
    },
  ],
  [
    "a malformed packet while the verdict is out",
    (client, world, auth) => {
      client.sendBytes(joinBytes(rawConnect(), "c1 00"));
      auth.decide(world, refuse("banned"));
    },
  ],
  ["shutdown before CONNECT", (_client, world) => stop(world)],
  [
    "shutdown while the verdict is out",
    (client, world, auth) => {
      client.sendBytes(rawConnect());
      stop(world);
      auth.decide(world, accept());
    },
  ],
  [
    "a PUBLISH inside an enhanced authentication",
    (client, world, auth) => {
      client.sendBytes(rawConnect({ properties: "15 00 01 6d" }));
      auth.decide(world, goOn());
      client.take("auth");
      client.sendBytes(rawPacket(0x30, prefixed("a"), "00"));
    },
  ],
  [
    "an enhanced authentication that is not finished",
    (client, world, auth) => {
      client.sendBytes(rawConnect({ properties: "15 00 01 6d" }));
      auth.decide(world, goOn());
      client.take("auth");
      world.advance(600_000);
    },
  ],
];

for (const [how, end] of EARLY_ENDS) {
  test(`[MQTT-3.14.0-1] no DISCONNECT before a successful CONNACK: ${how}`, () => {
    const auth = new ScriptedAuth();
    const world = new World({ auth });
    const client = world.open();
    end(client, world, auth);
    expect(client.closed).toBe(true);
    for (const packet of client.takeAll()) expect(packet.type).toBe("connack");
  });
}

test("Session Expiry Interval in DISCONNECT replaces that of CONNECT: longer, shorter, and 0", () => {
  for (const [changed, keptMs] of [
    [1_000, 1_000_000],
    [10, 10_000],
  ] as const) {
    const world = new World();
    world.connect(KEEP).disconnect(0, { sessionExpiryInterval: changed });
    world.advance(keptMs - 1);
    const client = world.connect(KEEP);
    expect(client.connack?.sessionPresent).toBe(true);
    client.disconnect(0, { sessionExpiryInterval: changed });
    world.advance(keptMs);
    expect(world.connect(KEEP).connack?.sessionPresent).toBe(false);
  }
  const world = new World();
  world.connect(KEEP).disconnect(0, { sessionExpiryInterval: 0 });
  expect(world.connect(KEEP).connack?.sessionPresent).toBe(false);
});

test("Session Expiry Interval absent in DISCONNECT leaves that of CONNECT", () => {
  const world = new World();
  world.connect(KEEP).disconnect(0, { reasonString: "bye", userProperties: [["k", "v"]] });
  world.advance(99_999);
  expect(world.connect(KEEP).connack?.sessionPresent).toBe(true);
});

for (const properties of [{}, { sessionExpiryInterval: 0 }]) {
  const was = properties.sessionExpiryInterval === undefined ? "absent" : "0";
  test(`a Session Expiry Interval in DISCONNECT where that of CONNECT was ${was} is a Protocol Error: DISCONNECT 0x82`, () => {
    const world = new World();
    const observer = world.connect();
    observer.subscribe("will");
    const client = world.connect({ clientId: "brief", properties, will: { topicName: "will" } });
    client.disconnect(0, { sessionExpiryInterval: 10 });
    expectDisconnect(client, 0x82);
    expect(observer.takePublishes()).toHaveLength(1);
    expect(world.connect({ clientId: "brief", cleanStart: false }).connack?.sessionPresent).toBe(false);
  });

  test(`Session Expiry Interval 0 in DISCONNECT where that of CONNECT was ${was} is allowed`, () => {
    const client = new World().connect({ properties });
    client.disconnect(0, { sessionExpiryInterval: 0 });
    expectClosedSilently(client);
  });
}

test("the Session Expiry Interval of DISCONNECT is lowered like that of CONNECT", () => {
  const world = new World({ capabilities: { sessionExpiryIntervalMax: 200 } });
  world.connect(KEEP).disconnect(0, { sessionExpiryInterval: 0xffffffff });
  world.advance(200_000);
  expect(world.connect(KEEP).connack?.sessionPresent).toBe(false);
});

for (const [what, hex, reasonCode] of [
  ["two Session Expiry Intervals", "e0 0c 00 0a 11 00 00 00 00 11 00 00 00 00", 0x82],
  ["two Reason Strings", "e0 0a 00 08 1f 00 01 61 1f 00 01 61", 0x82],
  ["a property of another packet", "e0 05 00 03 21 00 05", 0x81],
  ["bytes behind its properties", "e0 03 00 00 00", 0x81],
  ["a Property Length over its end", "e0 02 00 05", 0x81],
] as const) {
  test(`DISCONNECT with ${what} is answered with DISCONNECT 0x${reasonCode.toString(16)}`, () => {
    const client = new World().connect();
    client.sendBytes(hex);
    expectDisconnect(client, reasonCode);
  });
}

test("the end of one connection leaves the others alone", () => {
  const world = new World({ auth: answers(accept()) });
  const others = Array.from({ length: 3 }, () => world.connect());
  world.connect().disconnect();
  world.connect().sendBytes("c1 00");
  world.connect().drop();
  for (const other of others) expectAlive(other);
});
