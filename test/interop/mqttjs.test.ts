/**
 * MQTT.js against the broker process: what 3.1.1 and 5.0 share, over TCP and WebSocket; 3.1 over TCP.
 * What only MQTT 5.0 has is in mqttjs-v5-*.test.ts.
 *
 * Sections: 3.1.2.5 (Will), 3.3.1.3 (RETAIN), 4.1 (Session State), 4.3 (QoS), 4.4 (redelivery), 6 (WebSocket).
 */
import { expect } from "bun:test";
import type { IClientOptions } from "mqtt";
import type { BrokerProcess } from "../support/broker-process.ts";
import { closeClients, connectClient, cut, publishAll, TARGETS_V5, type Target } from "./mqttjs-client.ts";
import { runSuite, uniqueName } from "./suite.ts";

const TARGETS: readonly Target[] = [
  { name: "MQTT 3.1.1 over TCP", protocolVersion: 4, transport: "tcp" },
  { name: "MQTT 3.1.1 over WebSocket", protocolVersion: 4, transport: "ws" },
  ...TARGETS_V5,
  { name: "MQTT 3.1 over TCP", protocolVersion: 3, transport: "tcp" },
];
const QOS = [0, 1, 2] as const;

runSuite({
  client: "MQTT.js",
  targets: TARGETS,
  afterEachTest: closeClients,
  scenarios: [
    { name: "delivers at the lower of the published and the granted QoS", run: everyQos },
    { name: "answers PINGREQ", run: ping },
    { name: "stops delivering after UNSUBSCRIBE", run: unsubscribe },
    { name: "sets, replaces and deletes a retained message", run: retained },
    { name: "publishes the Will of a client whose socket was destroyed, and only then", run: will },
    { name: "delivers to a resumed session what was published while it was away", run: resume },
    { name: "ends the old session when a client starts clean", run: startClean },
    { name: "sends again with DUP what a lost connection left unacknowledged", run: redelivery },
    { name: "carries 1 MB unchanged at every QoS", run: largePayload },
    { name: "serves 10,000 topics", run: tenThousandTopics },
  ],
});

/** A session that stays when its connection goes; 5.0 says for how long. */
function lasting(target: Target, clientId: string): IClientOptions {
  const options: IClientOptions = { clientId, clean: false };
  if (target.protocolVersion === 5) options.properties = { sessionExpiryInterval: 3600 };
  return options;
}

async function everyQos(broker: BrokerProcess, target: Target): Promise<void> {
  const prefix = uniqueName("qos");
  const publisher = await connectClient(broker, target);
  const subscriber = await connectClient(broker, target);
  for (const granted of QOS) {
    const grants = await subscriber.client.subscribeAsync(`${prefix}/${granted}/+`, { qos: granted });
    expect(grants.map((grant) => grant.qos)).toEqual([granted]);
    for (const published of QOS) {
      const topicName = `${prefix}/${granted}/${published}`;
      await publisher.client.publishAsync(topicName, `payload ${topicName}`, { qos: published });
      const message = await subscriber.inbox.next();
      expect(message.topicName).toBe(topicName);
      expect(message.text).toBe(`payload ${topicName}`);
      expect(message.packet.qos).toBe(Math.min(granted, published) as 0 | 1 | 2);
      expect(message.packet.retain).toBe(false);
    }
  }
  expect(subscriber.inbox.all).toHaveLength(9);
}

async function ping(broker: BrokerProcess, target: Target): Promise<void> {
  const { client } = await connectClient(broker, target);
  const answered = new Promise<void>((resolve) => {
    client.on("packetreceive", (packet) => {
      if (packet.cmd === "pingresp") resolve();
    });
  });
  client.sendPing();
  await answered;
}

async function unsubscribe(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("unsubscribe");
  const { client, inbox } = await connectClient(broker, target);
  await client.subscribeAsync([topicName, `${topicName}/marker`], { qos: 1 });
  await client.publishAsync(topicName, "before", { qos: 1 });
  expect((await inbox.next()).text).toBe("before");
  await client.unsubscribeAsync(topicName);
  await client.publishAsync(topicName, "after", { qos: 1 });
  await client.publishAsync(`${topicName}/marker`, "marker", { qos: 1 });
  expect((await inbox.next()).text).toBe("marker");
}

async function retained(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = `${uniqueName("retained")}/state`;
  const publisher = await connectClient(broker, target);
  const early = await connectClient(broker, target);
  const seenBy = async (count: number): Promise<readonly (readonly [string, boolean])[]> => {
    const late = await connectClient(broker, target);
    await late.client.subscribeAsync([topicName, `${topicName}/marker`], { qos: 1 });
    await publisher.client.publishAsync(`${topicName}/marker`, "marker", { qos: 1 });
    const messages = await late.inbox.take(count);
    await late.client.endAsync();
    return messages.map(({ text, packet }) => [text, packet.retain]);
  };
  await early.client.subscribeAsync(topicName, { qos: 1 });
  await publisher.client.publishAsync(topicName, "first", { qos: 1, retain: true });
  expect(await seenBy(2)).toEqual([
    ["first", true],
    ["marker", false],
  ]);
  await publisher.client.publishAsync(topicName, "second", { qos: 2, retain: true });
  expect(await seenBy(2)).toEqual([
    ["second", true],
    ["marker", false],
  ]);
  await publisher.client.publishAsync(topicName, "", { qos: 1, retain: true });
  expect(await seenBy(1)).toEqual([["marker", false]]);
  const live = await early.inbox.take(3);
  expect(live.map(({ text, packet }) => [text, packet.retain])).toEqual([
    ["first", false],
    ["second", false],
    ["", false],
  ]);
}

async function will(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("will");
  const withWill = (payload: string): IClientOptions => ({
    will: { topic: topicName, payload: Buffer.from(payload), qos: 1, retain: true },
  });
  const watcher = await connectClient(broker, target);
  await watcher.client.subscribeAsync(topicName, { qos: 1 });

  const polite = await connectClient(broker, target, withWill("must not appear"));
  await polite.client.endAsync();
  const lost = await connectClient(broker, target, withWill("lost"));
  await cut(lost.client);

  const message = await watcher.inbox.next();
  expect([message.text, message.packet.qos, message.packet.retain]).toEqual(["lost", 1, false]);
  const late = await connectClient(broker, target);
  await late.client.subscribeAsync(topicName, { qos: 1 });
  const kept = await late.inbox.next();
  expect([kept.text, kept.packet.retain]).toEqual(["lost", true]);
  expect(watcher.inbox.all).toHaveLength(1);
}

async function resume(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("resume");
  const clientId = uniqueName("resume");
  const publisher = await connectClient(broker, target);
  const before = await connectClient(broker, target, lasting(target, clientId));
  expect(before.connack.sessionPresent).toBe(false);
  await before.client.subscribeAsync(topicName, { qos: 2 });
  await before.client.endAsync();

  const queued = Array.from({ length: 40 }, (_, n) => ({ topicName, payload: `queued ${n}`, qos: QOS[1 + (n % 2)]! }));
  await publishAll(publisher.client, queued);

  const after = await connectClient(broker, target, lasting(target, clientId));
  expect(after.connack.sessionPresent).toBe(target.protocolVersion !== 3);
  const messages = await after.inbox.take(queued.length);
  for (const qos of [1, 2] as const) {
    const expected = queued.filter((message) => message.qos === qos).map((message) => message.payload);
    expect(messages.filter(({ packet }) => packet.qos === qos).map(({ text }) => text)).toEqual(expected);
  }
  await publisher.client.publishAsync(topicName, "live", { qos: 1 });
  expect((await after.inbox.next()).text).toBe("live");
}

async function startClean(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("clean");
  const clientId = uniqueName("clean");
  const first = await connectClient(broker, target, lasting(target, clientId));
  await first.client.subscribeAsync(topicName, { qos: 1 });
  await first.client.endAsync();
  const publisher = await connectClient(broker, target);
  await publisher.client.publishAsync(topicName, "queued for a session that ends", { qos: 1 });

  const clean = await connectClient(broker, target, { clientId, clean: true });
  expect(clean.connack.sessionPresent).toBe(false);
  await clean.client.endAsync();
  const again = await connectClient(broker, target, lasting(target, clientId));
  expect(again.connack.sessionPresent).toBe(false);
  await again.client.subscribeAsync(`${topicName}/marker`, { qos: 1 });
  await publisher.client.publishAsync(topicName, "no subscription is left for this", { qos: 1 });
  await publisher.client.publishAsync(`${topicName}/marker`, "marker", { qos: 1 });
  expect((await again.inbox.next()).text).toBe("marker");
}

async function redelivery(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("redelivery");
  const clientId = uniqueName("redelivery");
  const silent = await connectClient(broker, target, lasting(target, clientId));
  // Never calling back leaves the message without its PUBACK.
  silent.client.handleMessage = () => {};
  await silent.client.subscribeAsync(topicName, { qos: 1 });
  const publisher = await connectClient(broker, target);
  await publisher.client.publishAsync(topicName, "unacknowledged", { qos: 1 });
  const first = await silent.inbox.next();
  expect([first.text, first.packet.dup]).toEqual(["unacknowledged", false]);
  await cut(silent.client);

  const resumed = await connectClient(broker, target, lasting(target, clientId));
  const second = await resumed.inbox.next();
  expect([second.text, second.packet.dup]).toEqual(["unacknowledged", true]);
  expect(second.packet.messageId).toBe(first.packet.messageId!);
}

async function largePayload(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("large");
  const payload = Buffer.allocUnsafe(1024 * 1024);
  for (let at = 0; at < payload.length; at += 1) payload[at] = (at * 31 + (at >> 8)) & 0xff;
  const { client, inbox } = await connectClient(broker, target);
  await client.subscribeAsync(topicName, { qos: 2 });
  for (const qos of QOS) {
    await client.publishAsync(topicName, payload, { qos });
    const message = await inbox.next();
    expect(message.packet.qos).toBe(qos);
    expect(message.payload.equals(payload)).toBe(true);
  }
}

async function tenThousandTopics(broker: BrokerProcess, target: Target): Promise<void> {
  const prefix = uniqueName("many");
  const topicNames = Array.from({ length: 10_000 }, (_, n) => `${prefix}/${n % 100}/${n}`);
  const subscriber = await connectClient(broker, target);
  for (let start = 0; start < topicNames.length; start += 500) {
    const grants = await subscriber.client.subscribeAsync(topicNames.slice(start, start + 500), { qos: 1 });
    expect(grants.filter((grant) => grant.qos === 1)).toHaveLength(500);
  }
  const publisher = await connectClient(broker, target);
  const messages = topicNames.map((topicName) => ({ topicName, payload: `to ${topicName}`, qos: 1 as const }));
  const [received] = await Promise.all([
    subscriber.inbox.take(topicNames.length),
    publishAll(publisher.client, messages, 500),
  ]);
  expect(received.map(({ topicName }) => topicName).sort()).toEqual([...topicNames].sort());
  expect(received.every(({ topicName, text }) => text === `to ${topicName}`)).toBe(true);
}
