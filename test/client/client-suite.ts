/**
 * What the client does with a broker that keeps to the specification, whoever wrote it and whatever carries the bytes.
 *
 * Invariant: topics and client ids are of one test only; a test waits for messages and answers, never for time.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { type Client, type ClientOptions, connect, type Message, type Transport } from "rqtt/client";
import { readable } from "rqtt/client/readable";
import { uniqueName } from "../interop/suite.ts";
import { COMMON_SCENARIOS, texts } from "./common-scenarios.ts";

export interface ClientTarget {
  readonly name: string;
  readonly level: 4 | 5;
  readonly target: () => string | Transport;
}

const TEST_MS = 60_000;
const clients: Client[] = [];

export async function join(target: ClientTarget, options: ClientOptions = {}): Promise<Client> {
  const client = await connect(target.target(), { protocolLevel: target.level, deadlineMs: 20_000, ...options });
  clients.push(client);
  return client;
}

export async function take(messages: AsyncIterator<Message>, count: number): Promise<Message[]> {
  const taken: Message[] = [];
  while (taken.length < count) {
    const { done, value } = await messages.next();
    if (done) throw new Error(`ended after ${taken.length} of ${count} messages`);
    taken.push(value);
  }
  return taken;
}

type Scenario = readonly [name: string, run: (target: ClientTarget) => Promise<void>, only?: 5];

const SCENARIOS: readonly Scenario[] = [
  ...COMMON_SCENARIOS.map(
    ([name, run, only]): Scenario => [name, (target) => run((options) => join(target, options)), only],
  ),
  ["publishes and receives at every QoS, in order", everyQos],
  ["takes up its session: what came meanwhile is delivered", resuming],
  ["gives messages of an older session to whoever subscribes to them", unclaimed],
  ["has its Will published when it asks for that", will],
  ["is not sent more than its Receive Maximum while it does not acknowledge", backPressure, 5],
  ["publishes more than the server's Receive Maximum at once, at QoS 2", flood],
  ["carries the properties of a message", properties, 5],
  ["has a request answered", requests, 5],
  ["reads as a stream", stream],
];

export function clientSuite(target: ClientTarget, filter: (name: string) => boolean = () => true): void {
  describe(`${target.name}, MQTT ${target.level === 5 ? "5.0" : "3.1.1"}`, () => {
    afterEach(async () => {
      await Promise.all(clients.splice(0).map((client) => client.close()));
    });
    for (const [name, run, only] of SCENARIOS) {
      if ((only === undefined || only === target.level) && filter(name)) test(name, () => run(target), TEST_MS);
    }
  });
}

async function everyQos(target: ClientTarget): Promise<void> {
  const topic = uniqueName("qos");
  const client = await join(target);
  const subscription = await client.subscribe(topic, { qos: 2 });
  expect(subscription.qos).toBe(2);
  for (const qos of [0, 1, 2, 1, 0] as const) {
    expect((await client.publish(topic, `${qos} ü`, { qos })).reasonCode).toBe(0);
  }
  const messages = await take(subscription, 5);
  expect(messages.map((message) => [message.topic, message.text(), message.qos])).toEqual(
    [0, 1, 2, 1, 0].map((qos) => [topic, `${qos} ü`, qos as 0 | 1 | 2]),
  );
}

async function resuming(target: ClientTarget): Promise<void> {
  const topic = uniqueName("resume");
  const clientId = uniqueName("client");
  const session = { clientId, expiry: 60, cleanStart: false };
  const first = await join(target, session);
  await first.subscribe(topic, { qos: 1 });
  await first.close();
  const publisher = await join(target);
  for (const text of ["a", "b"]) await publisher.publish(topic, text, { qos: 1 });
  const second = await join(target, session);
  expect(second.sessionPresent).toBe(true);
  const subscription = await second.subscribe(topic, { qos: 1, retainHandling: 2 });
  expect(await texts(subscription, 2)).toEqual(["a", "b"]);
}

async function unclaimed(target: ClientTarget): Promise<void> {
  const topic = uniqueName("unclaimed");
  const session = { clientId: uniqueName("client"), expiry: 60, cleanStart: false };
  const first = await join(target, session);
  await first.subscribe(`${topic}/+`, { qos: 2 });
  await first.close();
  const publisher = await join(target);
  await publisher.publish(`${topic}/x`, "late", { qos: 2 });
  const second = await join(target, session);
  const other = await second.subscribe(`${topic}-other`, { qos: 1 });
  await second.publish(`${topic}-other`, "o", { qos: 1 });
  const subscription = await second.subscribe(`${topic}/+`, { qos: 2 });
  expect(await texts(subscription, 1)).toEqual(["late"]);
  expect(await texts(other, 1)).toEqual(["o"]);
}

async function will(target: ClientTarget): Promise<void> {
  const topic = uniqueName("will");
  const watcher = await join(target);
  const subscription = await watcher.subscribe(topic, { qos: 1 });
  const polite = await join(target, { will: { topic, payload: "polite" } });
  await polite.close();
  if (target.level === 5) {
    const asking = await join(target, { will: { topic, payload: "asked for", qos: 1 } });
    await asking.close({ reasonCode: 4 });
    expect(await texts(subscription, 1)).toEqual(["asked for"]);
  }
  const clientId = uniqueName("client");
  await join(target, { clientId, will: { topic, payload: "taken over", qos: 1 } });
  await join(target, { clientId });
  expect(await texts(subscription, 1)).toEqual(["taken over"]);
}

async function backPressure(target: ClientTarget): Promise<void> {
  const topic = uniqueName("slow");
  const slow = await join(target, { receiveMaximum: 2 });
  const subscription = await slow.subscribe(topic, { qos: 1, ack: "manual" });
  const publisher = await join(target);
  for (let i = 1; i <= 4; i++) await publisher.publish(topic, `${i}`, { qos: 1 });
  const held = await take(subscription, 2);
  // Nothing more comes: the answer to a SUBSCRIBE overtakes what waits for an acknowledgement.
  const other = await slow.subscribe(`${topic}-other`);
  await slow.publish(`${topic}-other`, "probe");
  expect(await texts(other, 1)).toEqual(["probe"]);
  let third: Message | undefined;
  const next = take(subscription, 2).then((messages) => {
    third = messages[0];
    return messages;
  });
  expect(third).toBeUndefined();
  for (const message of held) message.ack();
  expect((await next).map((message) => message.text())).toEqual(["3", "4"]);
}

async function flood(target: ClientTarget): Promise<void> {
  const topic = uniqueName("flood");
  const client = await join(target);
  const subscription = await client.subscribe(topic, { qos: 2 });
  const wanted = Array.from({ length: 300 }, (_, index) => `${index}`);
  const published = Promise.all(wanted.map((text) => client.publish(topic, text, { qos: 2 })));
  expect(await texts(subscription, 300)).toEqual(wanted);
  await published;
}

async function properties(target: ClientTarget): Promise<void> {
  const topic = uniqueName("properties");
  const client = await join(target);
  const subscription = await client.subscribe(topic);
  await client.publish(topic, '{"a":1}', {
    properties: { contentType: "application/json", userProperties: [["k", "v"]], payloadFormatIndicator: 1 },
  });
  const [message] = await take(subscription, 1);
  expect(message!.json()).toEqual({ a: 1 });
  expect(message!.properties).toMatchObject({ contentType: "application/json", userProperties: [["k", "v"]] });
}

async function requests(target: ClientTarget): Promise<void> {
  const topic = uniqueName("service");
  const service = await join(target);
  const asked = await service.subscribe(topic, { qos: 1 });
  const serving = (async () => {
    for (const { properties: of, json } of await take(asked, 2)) {
      const doubled = `${(json() as number) * 2}`;
      await service.publish(of.responseTopic!, doubled, { properties: { correlationData: of.correlationData! } });
    }
  })();
  const client = await join(target);
  const answers = await Promise.all(["1", "2"].map((text) => client.request(topic, text)));
  expect(answers.map((answer) => answer.json())).toEqual([2, 4]);
  await serving;
}

async function stream(target: ClientTarget): Promise<void> {
  const topic = uniqueName("stream");
  const client = await join(target);
  const reader = readable(await client.subscribe(topic, { qos: 1 })).getReader();
  for (const text of ["1", "2"]) await client.publish(topic, text, { qos: 1 });
  expect((await reader.read()).value?.text()).toBe("1");
  expect((await reader.read()).value?.text()).toBe("2");
  await reader.cancel();
}
