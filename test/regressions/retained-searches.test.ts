/**
 * Retained messages for new subscriptions (MQTT 5.0 section 3.3.1.3): a search that waits is small, is put down after a while so
 * that everybody else is served, and finds what was there when it began.
 */

import { heapStats } from "bun:jsc";
import { expect, test } from "bun:test";
import { RetainedWalk } from "../../src/core/router/retained.ts";
import { acknowledge, texts } from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

const MB = 1024 * 1024;
/** Nodes of the store looked at in one turn, for all clients together. */
const STEPS_PER_TURN = 10_000;

/** How many nodes are looked at while something runs. */
function stepsOf(run: () => void): number {
  const { next } = RetainedWalk.prototype;
  let steps = 0;
  RetainedWalk.prototype.next = function (this: RetainedWalk) {
    steps++;
    return next.call(this);
  };
  try {
    run();
  } finally {
    RetainedWalk.prototype.next = next;
  }
  return steps;
}

function retain(publisher: TestClient, count: number, qos: 0 | 1 = 0): void {
  for (let at = 0; at < count; at++) {
    publisher.sendPublish(`r/${at % 100}/${at}`, `${at}`, { qos, retain: true, packetId: 1 });
    publisher.takeAll();
  }
}

/** Subscribes to "#" without looking for the SUBACK. */
function ask(client: TestClient, topicFilter = "#"): void {
  const filter = { topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
}

test("subscribing again begins the search anew: a client that asks a thousand times keeps one", () => {
  const world = new World();
  retain(world.connect(), 300, 1);
  const client = world.connect({ properties: { receiveMaximum: 1 } });
  const steps = stepsOf(() => {
    for (let i = 0; i < 1000; i++) ask(client);
  });
  expect(client.connection.session!.replays!.size).toBe(1);
  // The first message takes the window; after that nothing is searched, however often it is asked for.
  expect(steps).toBeLessThan(100);
  // One search is still answered in full.
  const received: string[] = [];
  for (let packets = client.takeAll(); packets.length > 0; packets = client.takeAll()) {
    for (const packet of packets) {
      if (packet.type !== "publish") continue;
      received.push(packet.topicName);
      acknowledge(client, "puback", packet.packetId);
    }
  }
  expect(new Set(received).size).toBe(300);
});

test("a search that waits holds no messages: what was deleted meanwhile is given back", () => {
  const limits = { retainedBytesMax: 4 * MB };
  const world = new World({ limits });
  const publisher = world.connect();
  const client = world.connect({ properties: { receiveMaximum: 1 } });
  client.subscribe("first", { qos: 1 });
  publisher.publish("first", "takes the window", { qos: 1 });
  Bun.gc(true);
  const before = heapStats().heapSize;
  const count = 40;
  for (let at = 0; at < count; at++) {
    expect(publisher.publish(`b/${at}`, new Uint8Array(MB), { qos: 1, retain: true })).toBe(0x10);
    client.subscribe(`b/${at}`, { qos: 0 });
    publisher.publish(`b/${at}`, "", { qos: 1, retain: true });
  }
  client.bytes.length = 0;
  Bun.gc(true);
  expect(heapStats().heapSize - before).toBeLessThan((count / 2) * MB);
  expect(client.connection.session!.replays!.size).toBe(count);
});

test(`one turn looks at ${STEPS_PER_TURN} nodes at most; the rest is found in the turns after it, each message once`, () => {
  const world = new World({ limits: { queueMessagesMax: 100_000 } });
  const count = 25_000;
  retain(world.connect(), count);
  const clients = [world.connect(), world.connect()];
  const received = clients.map(() => [] as string[]);
  const other = world.connect();
  const takeSome = (): void => {
    for (const [at, client] of clients.entries()) received[at]!.push(...texts(client.takePublishes()));
  };
  // Both ask within one turn of a broker that is told so by `settle`.
  let steps = stepsOf(() => {
    for (const client of clients) ask(client);
  });
  expect(steps).toBeLessThanOrEqual(2 * STEPS_PER_TURN);
  takeSome();
  let turns = 0;
  while (world.settle() <= world.nowMs) {
    turns++;
    steps = stepsOf(() => {
      world.broker.tick(world.nowMs);
      world.settle();
    });
    expect(steps).toBeLessThanOrEqual(STEPS_PER_TURN);
    // Everybody else is served in between.
    other.send({ type: "pingreq" });
    other.take("pingresp");
    takeSome();
  }
  expect(turns).toBeGreaterThanOrEqual(4);
  for (const payloads of received) {
    expect(payloads.length).toBe(count);
    expect(new Set(payloads).size).toBe(count);
  }
});

test("a search without a match ends too, and wakes nobody after that", () => {
  const world = new World();
  retain(world.connect(), 15_000);
  const client = world.connect();
  client.subscribe("r/+/+/+", { qos: 1 });
  expect(world.settle()).toBe(world.nowMs);
  world.advance(0);
  expect(world.settle()).toBe(Number.POSITIVE_INFINITY);
  expect([client.connection.session!.replays, client.packets]).toEqual([null, []]);
});

test("what is published while a search is put down comes once, as it came, and behind what was retained", () => {
  const world = new World();
  const publisher = world.connect();
  for (let at = 0; at < 12_000; at++) publisher.sendPublish(`r/${at}`, "old", { retain: true });
  const client = world.connect();
  client.subscribe("#", { qos: 1 });
  // Late in the search: one replaced, one deleted, one deleted and set again, one new.
  publisher.publish("r/11998", "replaced", { qos: 1, retain: true });
  publisher.publish("r/11997", "", { qos: 1, retain: true });
  publisher.publish("r/11996", "", { qos: 1, retain: true });
  publisher.publish("r/11996", "again", { qos: 1, retain: true });
  publisher.publish("r/new", "new", { qos: 1, retain: true });
  const received: [string, string, boolean][] = [];
  const take = (): void => {
    for (const publish of client.takePublishes())
      received.push([publish.topicName, texts([publish])[0]!, publish.retain]);
  };
  take();
  world.advance(0);
  take();
  world.advance(0);
  take();
  const old = received.filter(([, payload]) => payload === "old");
  expect([old.length, new Set(old.map(([name]) => name)).size]).toEqual([11_997, 11_997]);
  expect(old.every(([, , isRetained]) => isRetained)).toBe(true);
  expect(received.slice(old.length)).toEqual([
    ["r/11998", "replaced", false],
    ["r/11997", "", false],
    ["r/11996", "", false],
    ["r/11996", "again", false],
    ["r/new", "new", false],
  ]);
});

test("a search that is put down ends with its subscription, and with the connection", () => {
  const world = new World();
  retain(world.connect(), 15_000);
  const leaving = world.connect();
  ask(leaving);
  expect(leaving.connection.session!.replays!.size).toBe(1);
  leaving.takePublishes();
  leaving.unsubscribe("#");
  const gone = world.connect();
  ask(gone);
  gone.drop();
  const steps = stepsOf(() => world.advance(0));
  expect(steps).toBe(0);
  expect(leaving.takePublishes()).toEqual([]);
  expect(world.settle()).toBe(Number.POSITIVE_INFINITY);
});
