/** The small client with an embedded broker, a broker process over WebSocket and TCP, and Debian's mosquitto. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { createBroker, type RunningBroker } from "rqtt";
import { inProcess } from "rqtt/client/in-process";
import { connect, MqttError } from "rqtt/client/small";
import { tcp } from "rqtt/client/tcp";
import type { SmallClient, SmallOptions } from "../../src/client/small/small-options.ts";
import type { Transport } from "../../src/client/transport.ts";
import { uniqueName } from "../interop/suite.ts";
import { type BrokerProcess, startBroker, startMosquitto } from "../support/broker-process.ts";
import { COMMON_SCENARIOS, texts } from "./common-scenarios.ts";
import { rejection } from "./scripted-server.ts";

type Target = () => string | Transport;

const START_MS = 60_000;
const clients: SmallClient[] = [];

async function join(target: Target, options: SmallOptions = {}): Promise<SmallClient> {
  const client = await connect(target(), { deadlineMs: 20_000, ...options });
  clients.push(client);
  return client;
}

const SCENARIOS: readonly (readonly [name: string, run: (target: Target) => Promise<void>])[] = [
  ...COMMON_SCENARIOS.map(
    ([name, run]) => [name, (target: Target) => run((options) => join(target, options))] as const,
  ),
  ["publishes and receives at both QoS, in order", bothQos],
  ["takes up its session: what came before anybody subscribed is delivered", resuming],
  ["has its Will published, with its properties, when it is taken over", will],
  ["is not sent more than its Receive Maximum while it does not acknowledge", backPressure],
  ["carries properties of every kind", properties],
  ["subscribes as it says: No Local, Retain As Published, Retain Handling", subscriptionOptions],
  ["is told who it is, and what the server can do", introduction],
];

function suite(name: string, target: Target, filter: (name: string) => boolean = () => true): void {
  describe(name, () => {
    afterEach(() => {
      for (const client of clients.splice(0)) client.close();
    });
    for (const [scenario, run] of SCENARIOS) if (filter(scenario)) test(scenario, () => run(target), START_MS);
  });
}

async function bothQos(target: Target): Promise<void> {
  const topic = uniqueName("qos");
  const client = await join(target);
  const subscription = await client.subscribe(topic, { qos: 1 });
  expect([subscription.filter, subscription.qos]).toEqual([topic, 1]);
  for (const qos of [0, 1, 1, 0] as const) {
    expect(await client.publish(topic, `${qos} ü`, { qos })).toMatchObject({ reasonCode: 0 });
  }
  for (const qos of [0, 1, 1, 0]) {
    const { value } = await subscription.next();
    expect(value).toMatchObject({ topic, qos, retain: false, dup: false });
    expect(value!.text()).toBe(`${qos} ü`);
  }
  await client.publish(topic);
  expect((await subscription.next()).value!.bytes).toEqual(new Uint8Array());
  expect((await client.subscribe(`${topic}/0`)).qos).toBe(0);
}

async function resuming(target: Target): Promise<void> {
  const topic = uniqueName("resume");
  const session = { clientId: uniqueName("client"), expiry: 60, cleanStart: false };
  const first = await join(target, session);
  expect(first.sessionPresent).toBe(false);
  await first.subscribe(`${topic}/+`, { qos: 1 });
  first.close();
  const publisher = await join(target);
  for (const text of ["a", "b"]) await publisher.publish(`${topic}/x`, text, { qos: 1 });
  const second = await join(target, session);
  expect(second.sessionPresent).toBe(true);
  const other = await second.subscribe(`${topic}-other`, { qos: 1 });
  await second.publish(`${topic}-other`, "o", { qos: 1 });
  const subscription = await second.subscribe(`${topic}/+`, { qos: 1, retainHandling: 2 });
  expect(await texts(subscription, 2)).toEqual(["a", "b"]);
  expect(await texts(other, 1)).toEqual(["o"]);
  // Without an expiry, close() ends the session.
  const brief = { clientId: uniqueName("client"), cleanStart: false };
  (await join(target, brief)).close();
  expect((await join(target, brief)).sessionPresent).toBe(false);
}

async function will(target: Target): Promise<void> {
  const topic = uniqueName("will");
  const watcher = await join(target);
  const subscription = await watcher.subscribe(topic, { qos: 1 });
  const polite = await join(target, { will: { topic, payload: "polite" } });
  polite.close();
  const clientId = uniqueName("client");
  const lost = await join(target, {
    clientId,
    retryMs: 0,
    will: { topic, payload: "taken\0over", qos: 1, properties: { 3: "text/plain" } },
  });
  const ended = new Promise((resolve) => {
    lost.onstate = resolve;
  });
  await join(target, { clientId });
  const { value } = await subscription.next();
  expect(value!.text()).toBe("taken\0over");
  expect(value!.properties[3]).toBe("text/plain");
  expect(await ended).toBe("closed");
  expect(await rejection(lost.publish(topic, "x"))).toMatchObject({ code: -3 });
}

async function backPressure(target: Target): Promise<void> {
  const topic = uniqueName("slow");
  const slow = await join(target, { receiveMaximum: 2 });
  const subscription = await slow.subscribe(topic, { qos: 1 });
  const publisher = await join(target);
  for (let i = 1; i <= 4; i++) await publisher.publish(topic, `${i}`, { qos: 1 });
  const other = await slow.subscribe(`${topic}-other`);
  await slow.publish(`${topic}-other`, "probe");
  expect(await texts(other, 1)).toEqual(["probe"]);
  // The first is acknowledged when the second is asked for, and so on.
  expect(await texts(subscription, 4)).toEqual(["1", "2", "3", "4"]);
}

async function properties(target: Target): Promise<void> {
  const topic = uniqueName("properties");
  const client = await join(target);
  const subscription = await client.subscribe(topic);
  const sent = {
    1: 1,
    3: "text/plain; ü",
    8: "answers",
    9: new Uint8Array([0, 1, 255]),
    38: [
      ["k", "v"],
      ["k", ""],
    ] satisfies [string, string][],
  };
  await client.publish(topic, "p", { properties: { ...sent, 2: 4_000_000_000 } });
  const { value } = await subscription.next();
  expect(value!.properties).toMatchObject({
    ...sent,
    9: expect.objectContaining(sent[9]),
    11: [expect.any(Number)],
  });
  expect(value!.properties[2]).toBeGreaterThan(3_999_999_000);
}

async function subscriptionOptions(target: Target): Promise<void> {
  const topic = uniqueName("options");
  const client = await join(target);
  const other = await join(target);
  await other.publish(topic, "retained", { qos: 1, retain: true });
  const first = await client.subscribe(topic, { retainHandling: 2, retainAsPublished: true, noLocal: true });
  await client.publish(topic, "own");
  await other.publish(topic, "kept", { qos: 1, retain: true });
  const { value } = await first.next();
  expect([value!.text(), value!.retain]).toEqual(["kept", true]);
  const plain = await other.subscribe(topic);
  expect((await plain.next()).value).toMatchObject({ retain: true });
  await other.publish(topic, "now", { retain: true });
  expect((await plain.next()).value).toMatchObject({ retain: false });
  await other.publish(topic, "", { qos: 1, retain: true });
}

async function introduction(target: Target): Promise<void> {
  const client = await join(target, { keepAlive: 0, properties: { 38: [["page", "test"]] } });
  expect(client.state).toBe("online");
  expect(client.clientId).toBe(client.properties[18]!);
  expect(client.clientId.length).toBeGreaterThan(0);
  expect(client.sessionPresent).toBe(false);
  const named = await join(target, { clientId: uniqueName("named") });
  expect(named.clientId).toStartWith("named");
  expect(await rejection(named.publish("a/+", "x"))).toMatchObject({ code: 0x90, packet: "publish" });
  expect(await rejection(named.subscribe("a/#/b"))).toBeInstanceOf(MqttError);
}

describe("a broker in this process", () => {
  let broker: RunningBroker;
  beforeAll(async () => {
    broker = await createBroker();
  });
  afterAll(() => broker.close());
  suite("in-process", () => inProcess(broker));
});

describe("a broker process", () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await startBroker({ settings: { "limits.receiveMaximum": 20 } });
  }, START_MS);
  afterAll(async () => {
    expect(await broker.stop()).toBe(0);
  }, START_MS);
  suite("ws", () => broker.wsUrl);
  suite("tcp", () => tcp(broker.tcpUrl));
});

describe.skipIf(!existsSync("/usr/sbin/mosquitto"))("mosquitto (apt-get install mosquitto)", () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await startMosquitto();
  }, START_MS);
  afterAll(async () => {
    await broker.stop();
  }, START_MS);
  suite("tcp", () => tcp(broker.tcpUrl));
  // Version 2.0.11 takes a large packet over WebSocket, but does not send one to its end, to MQTT.js neither.
  suite(
    "ws",
    () => broker.wsUrl,
    (name) => !name.includes("1 MB"),
  );
});

test("nobody listens: told, and worth another try", async () => {
  expect(await rejection(connect("ws://127.0.0.1:1"))).toMatchObject({ code: -4, packet: "connect", retriable: true });
});
