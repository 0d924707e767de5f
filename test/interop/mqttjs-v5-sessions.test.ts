/**
 * MQTT.js against the broker process: what MQTT 5.0 adds to subscriptions, Wills and the end of a connection, over TCP and WebSocket.
 *
 * Sections: 3.1.3.2 (Will Properties), 3.8.3.1 (Subscription Options), 3.11.3, 3.14, 4.8.2 (Shared Subscriptions).
 */
import { describe, expect, test } from "bun:test";
import type { IClientOptions, IDisconnectPacket, MqttClient } from "mqtt";
import { type BrokerProcess, brokerUnderTest, startBroker } from "../support/broker-process.ts";
import { closeClients, connectClient, cut, newInbox, publishAll, TARGETS_V5, type Target } from "./mqttjs-client.ts";
import { runSuite, TEST_MS, uniqueName } from "./suite.ts";

runSuite({
  client: "MQTT.js",
  targets: TARGETS_V5,
  afterEachTest: closeClients,
  scenarios: [
    { name: "honours No Local", run: noLocal },
    { name: "honours Retain As Published and Retain Handling", run: retainOptions },
    {
      name: "replaces the options of a subscription that is made again",
      run: replacedOptions,
      mosquitto: "keeps Retain As Published of the first SUBSCRIBE",
    },
    { name: "answers UNSUBSCRIBE per filter", run: unsubscribeReasonCodes },
    { name: "shares a subscription between three clients", run: sharedSubscription },
    { name: "hands the share of members that left to the others", run: sharedMembersLeave },
    {
      name: "hands what a member that left had not acknowledged to another",
      run: sharedHandOver,
      mosquitto: "drops the message with the session",
    },
    { name: "keeps the properties of a Will and its delay", run: willProperties },
    {
      name: "publishes a waiting Will when its session ends",
      run: willAtSessionEnd,
      mosquitto: "drops the Will when a clean start ends its session",
    },
    {
      name: "sends DISCONNECT 0x8E to a connection whose session was taken over",
      run: takeOver,
      mosquitto: "closes the older connection without a DISCONNECT",
    },
  ],
});

describe("MQTT.js, SIGTERM", () => {
  // mosquitto 2.0.11 closes the connections without a DISCONNECT.
  test.skipIf(brokerUnderTest === "mosquitto")(
    "brings DISCONNECT 0x8B to 5.0 clients, a plain close to the others, and exit code 0",
    shutdown,
    TEST_MS,
  );
});

async function noLocal(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("nolocal");
  const own = await connectClient(broker, target);
  const other = await connectClient(broker, target);
  await own.client.subscribeAsync(topicName, { qos: 1, nl: true });
  await own.client.publishAsync(topicName, "own", { qos: 1 });
  await other.client.publishAsync(topicName, "foreign", { qos: 1 });
  expect((await own.inbox.next()).text).toBe("foreign");
}

async function retainOptions(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("options");
  const publisher = await connectClient(broker, target);
  const subscriber = await connectClient(broker, target);
  for (const name of ["always", "once", "never"]) {
    await publisher.client.publishAsync(`${topicName}/${name}`, name, { qos: 1, retain: true });
  }
  for (let round = 0; round < 2; round += 1) {
    await subscriber.client.subscribeAsync(`${topicName}/always`, { qos: 1, rh: 0, rap: true });
    await subscriber.client.subscribeAsync(`${topicName}/once`, { qos: 1, rh: 1 });
    await subscriber.client.subscribeAsync(`${topicName}/never`, { qos: 1, rh: 2 });
  }
  await publisher.client.publishAsync(`${topicName}/always`, "live", { qos: 1, retain: true });
  await publisher.client.publishAsync(`${topicName}/once`, "live", { qos: 1, retain: true });
  const messages = await subscriber.inbox.take(5);
  expect(messages.map(({ text, packet }) => [text, packet.retain])).toEqual([
    ["always", true],
    ["once", true],
    ["always", true],
    ["live", true],
    ["live", false],
  ]);
}

async function replacedOptions(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("replaced");
  const { client, inbox } = await connectClient(broker, target);
  const publish = () => client.publishAsync(topicName, "again", { qos: 2, retain: true });
  await client.subscribeAsync(topicName, { qos: 2, rap: true, rh: 2, properties: { subscriptionIdentifier: 1 } });
  await publish();
  await client.subscribeAsync(topicName, { qos: 1, rap: false, rh: 2, properties: { subscriptionIdentifier: 2 } });
  await publish();
  const messages = await inbox.take(2);
  const seen = messages.map(({ packet }) => [packet.qos, packet.retain, packet.properties?.subscriptionIdentifier]);
  expect(seen).toContainEqual([2, true, 1]);
  expect(seen).toContainEqual([1, false, 2]);
}

async function unsubscribeReasonCodes(broker: BrokerProcess, target: Target): Promise<void> {
  const topicFilter = uniqueName("unsubscribe");
  const { client } = await connectClient(broker, target);
  const granted: unknown[] = [];
  client.on("packetreceive", (packet) => {
    if (packet.cmd === "unsuback") granted.push([...(packet.granted as number[])]);
  });
  await client.subscribeAsync(topicFilter, { qos: 1 });
  await client.unsubscribeAsync([topicFilter, `${topicFilter}/never`]);
  expect(granted).toEqual([[0x00, 0x11]]);
}

async function sharedSubscription(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("shared");
  const inbox = newInbox();
  for (let member = 0; member < 3; member += 1) {
    const { client } = await connectClient(broker, target, {}, inbox);
    await client.subscribeAsync(`$share/group/${topicName}/+`, { qos: 1 });
  }
  const whole = await connectClient(broker, target);
  await whole.client.subscribeAsync(`${topicName}/+`, { qos: 1 });
  const publisher = await connectClient(broker, target);
  const messages = Array.from({ length: 60 }, (_, n) => ({
    topicName: `${topicName}/${n % 7}`,
    payload: `shared ${n}`,
    qos: 1 as const,
  }));
  await publishAll(publisher.client, messages);
  const texts = messages.map(({ payload }) => payload).sort();
  const everything = await whole.inbox.take(60);
  expect(everything.map(({ text }) => text).sort()).toEqual(texts);
  const received = await inbox.take(60);
  expect(received.map(({ text }) => text).sort()).toEqual(texts);
  const members = new Map<string, number>();
  for (const { clientId } of received) members.set(clientId, (members.get(clientId) ?? 0) + 1);
  expect([...members.values()]).toEqual([20, 20, 20]);
}

async function sharedMembersLeave(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("shared");
  const inbox = newInbox();
  const members: MqttClient[] = [];
  for (let member = 0; member < 3; member += 1) {
    const { client } = await connectClient(broker, target, {}, inbox);
    await client.subscribeAsync(`$share/group/${topicName}`, { qos: 2 });
    members.push(client);
  }
  await cut(members[0]!);
  await members[1]!.endAsync();
  const publisher = await connectClient(broker, target);
  const messages = Array.from({ length: 12 }, (_, n) => ({ topicName, payload: `left ${n}`, qos: 2 as const }));
  await publishAll(publisher.client, messages);
  const received = await inbox.take(12);
  // In any order: the broker may hear of the messages before it hears that a member is gone.
  expect(received.map(({ text }) => text).sort()).toEqual(messages.map(({ payload }) => payload).sort());
  expect(new Set(received.map(({ clientId }) => clientId)).size).toBe(1);
}

async function sharedHandOver(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("shared");
  const silent = await connectClient(broker, target);
  // Never calling back leaves the message without its PUBACK.
  silent.client.handleMessage = () => {};
  await silent.client.subscribeAsync(`$share/group/${topicName}`, { qos: 1 });
  const other = await connectClient(broker, target);
  await other.client.publishAsync(topicName, "unacknowledged", { qos: 1 });
  expect((await silent.inbox.next()).text).toBe("unacknowledged");
  await other.client.subscribeAsync(`$share/group/${topicName}`, { qos: 1 });
  await cut(silent.client);
  expect((await other.inbox.next()).text).toBe("unacknowledged");
}

function delayedWill(topicName: string, willDelayInterval: number): IClientOptions {
  return {
    properties: { sessionExpiryInterval: 3600 },
    will: {
      topic: topicName,
      payload: Buffer.from(`delay ${willDelayInterval}`),
      qos: 1,
      retain: false,
      properties: {
        willDelayInterval,
        contentType: "text/plain",
        responseTopic: "answer",
        correlationData: Buffer.from("c"),
        userProperties: { cause: "lost" },
      },
    },
  };
}

async function willProperties(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("will");
  const watcher = await connectClient(broker, target);
  await watcher.client.subscribeAsync(topicName, { qos: 1 });
  const delayed = await connectClient(broker, target, delayedWill(topicName, 3600));
  await cut(delayed.client);
  const prompt = await connectClient(broker, target, delayedWill(topicName, 0));
  await cut(prompt.client);
  const message = await watcher.inbox.next();
  expect(message.text).toBe("delay 0");
  const { userProperties, ...rest } = message.packet.properties ?? {};
  expect({ ...userProperties }).toEqual({ cause: "lost" });
  const expected: unknown = {
    contentType: "text/plain",
    responseTopic: "answer",
    correlationData: Buffer.from("c"),
  };
  expect<unknown>(rest).toEqual(expected);
}

async function willAtSessionEnd(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("will");
  const clientId = uniqueName("will");
  const watcher = await connectClient(broker, target);
  await watcher.client.subscribeAsync(topicName, { qos: 1 });
  const options = { ...delayedWill(topicName, 3600), clientId, clean: false };
  const first = await connectClient(broker, target, options);
  await cut(first.client);
  // Back in time: the Will does not go out, and that of the new connection takes its place.
  const second = await connectClient(broker, target, options);
  expect(second.connack.sessionPresent).toBe(true);
  await watcher.client.publishAsync(topicName, "marker", { qos: 1 });
  expect((await watcher.inbox.next()).text).toBe("marker");
  await cut(second.client);
  await connectClient(broker, target, { clientId, clean: true });
  expect((await watcher.inbox.next()).text).toBe("delay 3600");
}

function disconnected(client: MqttClient): Promise<IDisconnectPacket> {
  return new Promise((resolve, reject) => {
    client.once("disconnect", resolve);
    client.once("close", () => reject(new Error("closed without DISCONNECT")));
  });
}

async function takeOver(broker: BrokerProcess, target: Target): Promise<void> {
  const clientId = uniqueName("takeover");
  const older = await connectClient(broker, target, { clientId });
  const told = disconnected(older.client);
  const newer = await connectClient(broker, target, { clientId });
  expect((await told).reasonCode).toBe(0x8e);
  await newer.client.subscribeAsync(clientId, { qos: 1 });
  await newer.client.publishAsync(clientId, "goes on", { qos: 1 });
  expect((await newer.inbox.next()).text).toBe("goes on");
}

async function shutdown(): Promise<void> {
  const broker = await startBroker();
  try {
    const told: Promise<IDisconnectPacket>[] = [];
    const closed: Promise<void>[] = [];
    const unasked: string[] = [];
    for (const transport of ["tcp", "ws"] as const) {
      const newer = await connectClient(broker, { name: "5.0", protocolVersion: 5, transport });
      told.push(disconnected(newer.client));
      const older = await connectClient(broker, { name: "3.1.1", protocolVersion: 4, transport });
      older.client.on("packetreceive", (packet) => unasked.push(packet.cmd));
      closed.push(new Promise((resolve) => older.client.once("close", () => resolve())));
    }
    const [code, packets] = await Promise.all([broker.stop(), Promise.all(told), Promise.all(closed)]);
    expect(packets.map(({ reasonCode }) => reasonCode)).toEqual([0x8b, 0x8b]);
    expect(unasked).toEqual([]);
    expect(code).toBe(0);
    expect(broker.stdoutLines.filter((line) => line.startsWith("rqtt ready"))).toHaveLength(1);
  } finally {
    await broker.kill();
    await closeClients();
  }
}
