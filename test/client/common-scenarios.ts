/** What either client does with a broker that keeps to the specification, in what both have. Topics are of one test only. */
import { expect } from "bun:test";
import { uniqueName } from "../interop/suite.ts";

interface PeerMessage {
  readonly bytes: Uint8Array;
  text(): string;
}

interface PeerSubscription extends AsyncIterable<PeerMessage> {
  next(): Promise<IteratorResult<PeerMessage, undefined>>;
  unsubscribe(): Promise<unknown>;
}

export interface Peer {
  publish(topic: string, payload: string | Uint8Array, options: { qos: 0 | 1 }): Promise<unknown>;
  subscribe(filter: string, options: { qos: 0 | 1 }): Promise<PeerSubscription>;
  close(): unknown;
}

type Join = (options?: { readonly packetBytesMax: number }) => Promise<Peer>;

export const COMMON_SCENARIOS: readonly (readonly [name: string, run: (join: Join) => Promise<void>, only?: 5])[] = [
  ["carries 1 MB unchanged", large],
  ["routes each message to its subscription, overlapping ones too", routing],
  ["has no more messages of a subscription that was left", leaving],
  ["publishes more than the server's Receive Maximum at once", flood],
  // MQTT 3.1.1 knows no shared ones.
  ["shares a subscription", shared, 5],
];

export async function texts(messages: Pick<PeerSubscription, "next">, count: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < count) {
    const { done, value } = await messages.next();
    if (done) throw new Error(`ended after ${taken.length} of ${count} messages`);
    taken.push(value.text());
  }
  return taken;
}

const QOS1 = { qos: 1 } as const;

async function large(join: Join): Promise<void> {
  const topic = uniqueName("large");
  const client = await join({ packetBytesMax: 2 ** 21 });
  const subscription = await client.subscribe(topic, QOS1);
  const payload = new Uint8Array(1_000_000).map((_, index) => index * 7);
  await client.publish(topic, payload, QOS1);
  expect(Buffer.compare((await subscription.next()).value!.bytes, payload)).toBe(0);
}

async function routing(join: Join): Promise<void> {
  const topic = uniqueName("route");
  const client = await join();
  const one = await client.subscribe(`${topic}/1`, QOS1);
  const any = await client.subscribe(`${topic}/+`, QOS1);
  const again = await client.subscribe(`${topic}/1`, QOS1);
  await client.publish(`${topic}/2`, "two", QOS1);
  await client.publish(`${topic}/1`, "one", QOS1);
  await client.publish(`${topic}/1`, "end", QOS1);
  // A broker may send one copy for overlapping subscriptions or several; each reader has each message.
  expect((await texts(one, 2))[0]).toBe("one");
  expect((await texts(again, 2))[0]).toBe("one");
  expect((await texts(any, 2))[0]).toBe("two");
  // One of two that share a filter leaves: the other goes on.
  await one.unsubscribe();
  await client.publish(`${topic}/1`, "more", QOS1);
  while ((await texts(again, 1))[0] !== "more");
  while (!(await one.next()).done);
}

async function leaving(join: Join): Promise<void> {
  const topic = uniqueName("leave");
  const client = await join();
  const watcher = await client.subscribe(`${topic}/#`, QOS1);
  const subscription = await client.subscribe(`${topic}/a`, QOS1);
  await client.publish(`${topic}/a`, "1", QOS1);
  let seen = 0;
  for await (const message of subscription) {
    expect(message.text()).toBe("1");
    seen++;
    break;
  }
  await client.publish(`${topic}/a`, "2", QOS1);
  await client.publish(`${topic}/b`, "3", QOS1);
  while ((await texts(watcher, 1))[0] !== "3");
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
  await subscription.unsubscribe();
  expect(seen).toBe(1);
}

async function flood(join: Join): Promise<void> {
  const topic = uniqueName("flood");
  const client = await join();
  const subscription = await client.subscribe(topic, QOS1);
  const wanted = Array.from({ length: 300 }, (_, index) => `${index}`);
  const published = Promise.all(wanted.map((text) => client.publish(topic, text, QOS1)));
  expect(await texts(subscription, 300)).toEqual(wanted);
  await published;
}

async function shared(join: Join): Promise<void> {
  const topic = uniqueName("shared");
  const client = await join();
  const other = await join();
  const mine = await client.subscribe(`$share/g/${topic}`, QOS1);
  const theirs = await other.subscribe(`$share/g/${topic}`, QOS1);
  for (let i = 0; i < 4; i++) await client.publish(topic, `${i}`, QOS1);
  const all = [...(await texts(mine, 2)), ...(await texts(theirs, 2))];
  expect(all.sort()).toEqual(["0", "1", "2", "3"]);
}
