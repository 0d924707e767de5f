/**
 * MQTT 5.0 sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 to 3.1.3.4 and 3.14.4: when a Will without delay is published, and as what.
 */
import { expect, test } from "bun:test";
import type { Properties } from "../../src/core/codec/property.ts";
import { expectClosedSilently, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { prefixed, rawConnect, rawPacket } from "../support/raw-packet.ts";
import { type ConnectInit, type TestClient, toBytes, toText, World } from "../support/world.ts";

const WILL = { topicName: "will", payload: "gone" } as const;

/** A client with a Will, and somebody who watches for it. */
function scene(init: ConnectInit = {}): { world: World; observer: TestClient; client: TestClient } {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("#", { qos: 2, retainAsPublished: true });
  const client = world.connect({ will: WILL, clientId: "mortal", ...init });
  return { world, observer, client };
}

function payloadsOf(observer: TestClient): string[] {
  return observer.takePublishes().map(({ payload }) => toText(payload));
}

/** Every way to lose the Network Connection without a DISCONNECT 0x00. */
const ABNORMAL_ENDS: readonly (readonly [how: string, end: (client: TestClient, world: World) => void])[] = [
  ["the network fails", (client) => client.drop()],
  ["a malformed packet arrives", (client) => client.sendBytes("30 02 00 05")],
  ["a Protocol Error is made", (client) => client.sendBytes(rawConnect())],
  ["a packet is too large", (client) => client.sendBytes("30 ff ff ff 7f")],
  ["DISCONNECT 0x04 asks for it", (client) => client.disconnect(0x04)],
  ["DISCONNECT 0x80 arrives", (client) => client.disconnect(0x80)],
  ["DISCONNECT 0x98 arrives", (client) => client.disconnect(0x98)],
  ["a malformed DISCONNECT arrives", (client) => client.sendBytes("e1 00")],
  ["the session is taken over", (_client, world) => void world.connect({ clientId: "mortal" })],
];

for (const [how, end] of ABNORMAL_ENDS) {
  test(`[MQTT-3.1.2-7] [MQTT-3.1.2-8] the Will is published once when ${how}`, () => {
    const { world, observer, client } = scene();
    world.advance(1_000);
    expect(observer.takeAll()).toEqual([]);
    end(client, world);
    expect(client.closed).toBe(true);
    expect(payloadsOf(observer)).toEqual(["gone"]);
    if (how !== "the network fails") client.drop(); // what the transport reports later changes nothing
    world.advance(100_000);
    expect(payloadsOf(observer)).toEqual([]);
  });
}

test("[MQTT-3.1.2-8] the Will is published when the Keep Alive runs out", () => {
  const { world, observer, client } = scene({ keepAlive: 10 });
  world.advance(15_000);
  expectDisconnect(client, 0x8d);
  expect(payloadsOf(observer)).toEqual(["gone"]);
});

test("[MQTT-3.1.2-10] [MQTT-3.14.4-3] DISCONNECT 0x00 discards the Will", () => {
  const { world, observer, client } = scene();
  client.disconnect();
  expectClosedSilently(client);
  client.drop();
  world.advance(100_000);
  expect(payloadsOf(observer)).toEqual([]);
});

test("[MQTT-3.14.4-3] DISCONNECT 0x00 with properties, and in its shortest form, discards the Will", () => {
  for (const hex of ["e0 00", "e0 01 00", "e0 02 00 00", "e0 07 00 05 11 00 00 00 00", "e0 06 00 04 1f 00 01 78"]) {
    const { observer, client } = scene();
    client.sendBytes(hex);
    expect(client.closed).toBe(true);
    expect(payloadsOf(observer)).toEqual([]);
  }
});

test("[MQTT-3.1.2-10] a Will that was published is not published again, however the client comes and goes later", () => {
  const keep: ConnectInit = { clientId: "mortal", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const { world, observer, client } = scene(keep);
  client.drop();
  expect(payloadsOf(observer)).toEqual(["gone"]);
  world.connect(keep).drop();
  world.connect(keep).disconnect(0x04);
  world.advance(200_000);
  expect(payloadsOf(observer)).toEqual([]);
});

test("[MQTT-3.1.2-7] the Will belongs to the connection that gave it: the next one brings its own or none", () => {
  const keep: ConnectInit = { clientId: "mortal", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const { world, observer, client } = scene(keep);
  client.disconnect();
  world.connect({ ...keep, will: { topicName: "will", payload: "second" } }).drop();
  world.connect({ ...keep, will: { topicName: "will", payload: "third" } }).disconnect();
  world.connect(keep).drop();
  expect(payloadsOf(observer)).toEqual(["second"]);
});

test("[MQTT-3.1.2-8] a client without a Will leaves nothing behind", () => {
  const { world, observer, client } = scene();
  client.disconnect();
  world.connect().drop();
  expect(payloadsOf(observer)).toEqual([]);
});

test("[MQTT-3.1.2-14] Will Retain 0: published as not retained, and no retained message is left", () => {
  const { world, observer, client } = scene({ will: { ...WILL, retain: false } });
  client.drop();
  expect(observer.takePublishes()).toMatchObject([{ topicName: "will", retain: false }]);
  const late = world.connect();
  late.subscribe("will");
  expect(late.takePublishes()).toEqual([]);
});

test("[MQTT-3.1.2-15] Will Retain 1: published as a retained message, which later subscribers get", () => {
  const { world, observer, client } = scene({ will: { ...WILL, retain: true } });
  client.drop();
  expect(observer.takePublishes()).toMatchObject([{ topicName: "will", retain: true }]);
  const late = world.connect();
  late.subscribe("will");
  expect(late.takePublishes()).toMatchObject([{ topicName: "will", payload: toBytes("gone"), retain: true }]);
});

test("[MQTT-3.1.2-15] a retained Will without payload removes the retained message", () => {
  const { world, client } = scene({ will: { topicName: "status", payload: "", retain: true } });
  world.connect().publish("status", "online", { retain: true });
  client.drop();
  const late = world.connect();
  late.subscribe("status");
  expect(late.takePublishes()).toEqual([]);
});

test("[MQTT-3.1.2-15] a Will Retain 1 that was cancelled leaves no retained message", () => {
  const { world, client } = scene({ will: { ...WILL, retain: true } });
  client.disconnect();
  const late = world.connect();
  late.subscribe("will");
  expect(late.takePublishes()).toEqual([]);
});

for (const qos of [0, 1, 2] as const) {
  test(`[MQTT-3.1.2-12] the Will is published with its Will QoS ${qos}`, () => {
    const { observer, client } = scene({ will: { ...WILL, qos } });
    client.drop();
    const [message] = observer.takePublishes();
    expect(message?.qos).toBe(qos);
    expect(message?.packetId === undefined).toBe(qos === 0);
  });
}

test("[MQTT-3.1.2-12] a Will of QoS 1 waits for a subscriber that is away", () => {
  const { world, client } = scene({ will: { ...WILL, qos: 1 } });
  const away: ConnectInit = { clientId: "away", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const subscriber = world.connect(away);
  subscriber.subscribe("will");
  subscriber.drop();
  client.drop();
  expect(payloadsOf(world.connect(away))).toEqual(["gone"]);
});

test("[MQTT-3.1.3-10] the Will is published with its properties, User Properties in their order", () => {
  const properties: Properties = {
    payloadFormatIndicator: 1,
    messageExpiryInterval: 60,
    contentType: "text/plain",
    responseTopic: "answers/here",
    correlationData: toBytes("abc"),
    userProperties: [
      ["z", "1"],
      ["a", "2"],
      ["z", "3"],
      ["a", "2"],
    ],
  };
  const { observer, client } = scene({ will: { ...WILL, properties } });
  client.drop();
  expect(observer.takePublishes().map((message) => message.properties)).toEqual([properties]);
});

test("the Message Expiry Interval of a Will counts from its publication", () => {
  const { world, observer, client } = scene({ will: { ...WILL, properties: { messageExpiryInterval: 60 } } });
  world.advance(3_600_000);
  client.drop();
  expect(observer.takePublishes()).toMatchObject([{ properties: { messageExpiryInterval: 60 } }]);
});

test("[MQTT-3.1.3-11] a Will Topic that is ill-formed is refused with CONNACK 0x81", () => {
  const client = new World().open();
  const payload = [prefixed("c"), "00", prefixed(Uint8Array.of(0xff)), prefixed("")];
  client.sendBytes(rawConnect({ connectFlags: 0x06, payload }));
  expectRefusal(client, 0x81);
});

for (const [what, topicName, code] of [
  ["with a wildcard", "a/#", 0x90],
  ["with a single-level wildcard", "+/a", 0x90],
  ["of too many levels", "a/".repeat(128), 0x90],
  ["beginning with $", "$SYS/fake", 0x87],
] as const) {
  test(`a Will Topic ${what} is refused with CONNACK 0x${code.toString(16)}`, () => {
    const world = new World();
    const client = world.dial({ will: { topicName } });
    expectRefusal(client, code);
  });
}

test("an empty Will Topic is refused", () => {
  const client = new World().dial({ will: { topicName: "" } });
  const connack = client.take("connack");
  expect(connack.reasonCode).toBeOneOf([0x81, 0x82, 0x90]);
  expectClosedSilently(client);
});

test("a Topic Alias or Will Delay Interval in the wrong place is malformed: CONNACK 0x81", () => {
  for (const willProperties of ["03 23 00 01", "05 11 00 00 00 01"]) {
    const client = new World().open();
    client.sendBytes(
      rawConnect({ connectFlags: 0x06, payload: [prefixed("c"), willProperties, prefixed("w"), prefixed("")] }),
    );
    expectRefusal(client, 0x81);
  }
  const client = new World().open();
  client.sendBytes(rawConnect({ properties: "18 00 00 00 05" }));
  expectRefusal(client, 0x81);
});

test("two Will Delay Intervals are a Protocol Error: CONNACK 0x82", () => {
  const client = new World().open();
  const willProperties = "0a 18 00 00 00 05 18 00 00 00 05";
  client.sendBytes(
    rawConnect({ connectFlags: 0x06, payload: [prefixed("c"), willProperties, prefixed("w"), prefixed("")] }),
  );
  expectRefusal(client, 0x82);
});

test("[MQTT-3.1.2-8] a refused CONNECT publishes no Will, then or later", () => {
  const { world, observer } = scene();
  const client = world.open();
  const payload = [prefixed("mortal"), "00", prefixed("will"), prefixed("refused"), prefixed("behind the end")];
  client.sendBytes(rawConnect({ connectFlags: 0x06, payload }));
  expectRefusal(client, 0x81);
  client.drop();
  world.advance(10_000);
  expect(payloadsOf(observer)).toEqual([]);
});

test("the Will reaches its own client's session when that is subscribed and away", () => {
  const keep: ConnectInit = { clientId: "mortal", cleanStart: false, properties: { sessionExpiryInterval: 100 } };
  const { world, client } = scene({ ...keep, will: { ...WILL, qos: 1 } });
  client.subscribe("will");
  client.drop();
  expect(payloadsOf(world.connect(keep))).toEqual(["gone"]);
});

test("the Will is delivered to everybody who matches, and to nobody else", () => {
  const { world, observer, client } = scene();
  const other = world.connect();
  other.subscribe("wills/#");
  const bytesBefore = other.bytes.length;
  client.sendBytes(rawPacket(0x30, "00 05"));
  expect(payloadsOf(observer)).toEqual(["gone"]);
  expect(other.bytes.length).toBe(bytesBefore);
});
