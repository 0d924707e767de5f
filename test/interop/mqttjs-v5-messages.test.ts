/**
 * MQTT.js against the broker process: what MQTT 5.0 adds to messages and to CONNACK, over TCP and WebSocket.
 *
 * Sections: 3.2.2.3 (CONNACK properties), 3.3.2.3 (PUBLISH properties), 3.3.4, 4.10 (request and response).
 */
import { expect } from "bun:test";
import type { IConnackPacket, IPublishPacket } from "mqtt";
import type { BrokerProcess } from "../support/broker-process.ts";
import { closeClients, connectClient, TARGETS_V5, type Target } from "./mqttjs-client.ts";
import { runSuite, uniqueName } from "./suite.ts";

runSuite({
  client: "MQTT.js",
  targets: TARGETS_V5,
  afterEachTest: closeClients,
  scenarios: [
    { name: "carries the properties of a PUBLISH, and what is left of its expiry", run: publishProperties },
    { name: "lets a request be answered through Response Topic and Correlation Data", run: requestAndResponse },
    { name: "tells a queued message's remaining lifetime", run: queuedExpiry },
    { name: "gives the Subscription Identifier of the filter that matched", run: subscriptionIdentifier },
    {
      name: "gives all Subscription Identifiers when filters overlap, in one copy",
      run: overlappingIdentifiers,
      mosquitto: "sends the identifier of one filter only",
    },
    { name: "follows the Topic Aliases a client sets", run: inboundTopicAlias },
    {
      name: "sets Topic Aliases towards a client that accepts them",
      run: outboundTopicAlias,
      mosquitto: "sets no aliases of its own",
    },
    { name: "assigns a Client Identifier and tells what it can do", run: connackProperties },
  ],
});

async function publishProperties(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("properties");
  const { client, inbox } = await connectClient(broker, target);
  await client.subscribeAsync(topicName, { qos: 2 });
  for (const qos of [0, 1, 2] as const) {
    const properties = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 3600,
      contentType: "text/plain; charset=utf-8",
      responseTopic: `${topicName}/response`,
      correlationData: Buffer.from([0, 1, 2, 0xff]),
      userProperties: { "": "empty name", repeated: ["first", "second"], größe: "µ" },
    };
    await client.publishAsync(topicName, "with properties", { qos, properties });
    const { packet } = await inbox.next();
    const { messageExpiryInterval, userProperties, ...rest } = packet.properties ?? {};
    expect(messageExpiryInterval).toBeGreaterThan(0);
    expect(messageExpiryInterval).toBeLessThanOrEqual(3600);
    expect({ ...userProperties }).toEqual(properties.userProperties);
    expect(rest).toEqual({
      payloadFormatIndicator: true,
      contentType: properties.contentType,
      responseTopic: properties.responseTopic,
      correlationData: properties.correlationData,
    });
  }
}

async function requestAndResponse(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("request");
  const responder = await connectClient(broker, target);
  responder.client.on("message", (_topicName, payload, { properties }) => {
    responder.client.publish(properties!.responseTopic!, payload.toString().toUpperCase(), {
      qos: 1,
      properties: { correlationData: properties!.correlationData! },
    });
  });
  await responder.client.subscribeAsync(topicName, { qos: 1 });
  const requester = await connectClient(broker, target);
  await requester.client.subscribeAsync(`${topicName}/answers`, { qos: 1 });
  for (const question of ["first", "second"]) {
    const properties = { responseTopic: `${topicName}/answers`, correlationData: Buffer.from(question) };
    await requester.client.publishAsync(topicName, question, { qos: 1, properties });
    const answer = await requester.inbox.next();
    expect(answer.text).toBe(question.toUpperCase());
    expect(answer.packet.properties?.correlationData?.toString()).toBe(question);
  }
}

async function queuedExpiry(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("expiry");
  const options = { clientId: uniqueName("expiry"), clean: false, properties: { sessionExpiryInterval: 3600 } };
  const away = await connectClient(broker, target, options);
  await away.client.subscribeAsync(topicName, { qos: 1 });
  await away.client.endAsync();
  const publisher = await connectClient(broker, target);
  await publisher.client.publishAsync(topicName, "lasts", { qos: 1, properties: { messageExpiryInterval: 1000 } });
  await publisher.client.publishAsync(topicName, "lasts for ever", { qos: 1 });
  const back = await connectClient(broker, target, options);
  const [first, second] = await back.inbox.take(2);
  expect(first!.text).toBe("lasts");
  expect(first!.packet.properties?.messageExpiryInterval).toBeGreaterThan(0);
  expect(first!.packet.properties?.messageExpiryInterval).toBeLessThanOrEqual(1000);
  expect(second!.text).toBe("lasts for ever");
  expect(second!.packet.properties?.messageExpiryInterval).toBeUndefined();
}

async function subscriptionIdentifier(broker: BrokerProcess, target: Target): Promise<void> {
  const prefix = uniqueName("identifier");
  const { client, inbox } = await connectClient(broker, target);
  await client.subscribeAsync(`${prefix}/small`, { qos: 1, properties: { subscriptionIdentifier: 1 } });
  await client.subscribeAsync(`${prefix}/large/#`, { qos: 1, properties: { subscriptionIdentifier: 268_435_455 } });
  await client.subscribeAsync(`${prefix}/none`, { qos: 1 });
  for (const name of ["small", "large/x", "none"]) await client.publishAsync(`${prefix}/${name}`, name, { qos: 1 });
  const messages = await inbox.take(3);
  expect(messages.map(({ packet }) => packet.properties?.subscriptionIdentifier)).toEqual([1, 268_435_455, undefined]);
}

async function overlappingIdentifiers(broker: BrokerProcess, target: Target): Promise<void> {
  const prefix = uniqueName("identifiers");
  const { client, inbox } = await connectClient(broker, target);
  await client.subscribeAsync(`${prefix}/+`, { qos: 1, properties: { subscriptionIdentifier: 7 } });
  await client.subscribeAsync(`${prefix}/both`, { qos: 2, properties: { subscriptionIdentifier: 8 } });
  await client.subscribeAsync(`${prefix}/#`, { qos: 0 });
  await client.publishAsync(`${prefix}/both`, "both", { qos: 2 });
  await client.publishAsync(`${prefix}/both`, "end", { qos: 2 });
  const both = await inbox.next();
  const identifiers = [both.packet.properties?.subscriptionIdentifier as unknown].flat() as number[];
  expect(identifiers.sort((a, b) => a - b)).toEqual([7, 8]);
  expect([both.text, both.packet.qos]).toEqual(["both", 2]);
  // The next message, not a second copy.
  expect((await inbox.next()).text).toBe("end");
}

async function inboundTopicAlias(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("alias");
  const { client, inbox, connack } = await connectClient(broker, target);
  expect(connackValues(connack)["topicAliasMaximum"]).toBeGreaterThanOrEqual(2);
  await client.subscribeAsync(`${topicName}/+`, { qos: 1 });
  const steps = [
    [`${topicName}/a`, 1, "a by name"],
    ["", 1, "a by alias"],
    [`${topicName}/b`, 2, "b by name"],
    ["", 1, "a by alias again"],
    [`${topicName}/c`, 1, "alias 1 is c now"],
    ["", 1, "c by alias"],
    ["", 2, "b by alias"],
  ] as const;
  for (const [name, topicAlias, text] of steps) {
    await client.publishAsync(name, text, { qos: 1, properties: { topicAlias } });
  }
  const messages = await inbox.take(steps.length);
  expect(messages.map(({ text }) => text)).toEqual(steps.map(([, , text]) => text));
  expect(messages.map((message) => message.topicName.slice(-1)).join("")).toBe("aabaccb");
}

async function outboundTopicAlias(broker: BrokerProcess, target: Target): Promise<void> {
  const topicName = uniqueName("alias");
  const { client, inbox } = await connectClient(broker, target, { properties: { topicAliasMaximum: 2 } });
  const onWire: (readonly [string, number | undefined])[] = [];
  client.on("packetreceive", (packet) => {
    if (packet.cmd !== "publish") return;
    const publish: IPublishPacket = packet;
    onWire.push([publish.topic, publish.properties?.topicAlias]);
  });
  await client.subscribeAsync(`${topicName}/#`, { qos: 1 });
  for (const name of ["a", "a", "b", "c", "b", "a"]) {
    await client.publishAsync(`${topicName}/${name}`, name, { qos: 1 });
    // The name that arrives is the one MQTT.js worked out from the alias.
    expect((await inbox.next()).topicName).toBe(`${topicName}/${name}`);
  }
  expect(onWire.every(([, alias]) => alias === undefined || (alias >= 1 && alias <= 2))).toBe(true);
  expect(onWire.filter(([name, alias]) => name === "" && alias !== undefined).length).toBeGreaterThanOrEqual(2);
}

/** CONNACK carries more than MQTT.js declares. */
function connackValues(connack: IConnackPacket): Record<string, unknown> {
  return { ...connack.properties };
}

async function connackProperties(broker: BrokerProcess, target: Target): Promise<void> {
  const { client, inbox, connack } = await connectClient(broker, target, { clientId: "" });
  const values = connackValues(connack);
  expect(values["assignedClientIdentifier"]).toMatch(/./);
  expect(values["receiveMaximum"] ?? 65_535).toBeGreaterThan(0);
  // Absent means available.
  for (const name of [
    "retainAvailable",
    "wildcardSubscriptionAvailable",
    "subscriptionIdentifiersAvailable",
    "sharedSubscriptionAvailable",
  ]) {
    expect(values[name] ?? true).toBe(true);
  }
  const topicName = uniqueName("assigned");
  await client.subscribeAsync(topicName, { qos: 1 });
  await client.publishAsync(topicName, "works", { qos: 1 });
  expect((await inbox.next()).text).toBe("works");
}
