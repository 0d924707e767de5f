/**
 * A queue of which a part is in the store alone: what becomes of it when messages are dropped, expire, are sent past it or are
 * damaged while a page of it is under way, and when its client leaves.
 */
import { describe, expect, test } from "bun:test";
import type { Packet } from "../../src/core/codec/packet.ts";
import { RecordWriter } from "../../src/core/store/record-writer.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, World, type WorldOptions } from "../support/world.ts";

const KEPT: ConnectInit = { clientId: "kept", cleanStart: false, properties: { sessionExpiryInterval: 3600 } };
/** Seven of them fill the window of a client that is there, none fits that of one that is away beside another. */
const LARGE = "x".repeat(300_000);

function kept(receiveMaximum: number): ConnectInit {
  return { ...KEPT, properties: { sessionExpiryInterval: 3600, receiveMaximum } };
}

/** A world and those that come after it, on one store. */
function worlds(options: WorldOptions): () => World {
  const store = new HeldStore();
  let last: World | undefined;
  return () => {
    store.crash();
    store.automatic = true;
    last = new World({ ...options, store, nowMs: (last?.nowMs ?? 1_750_000_000_000) + 1 });
    return last;
  };
}

/** What "kept" has waiting when the world begins: numbered, in front of what makes them large. */
function filled(options: WorldOptions, count: number, rest = ""): { world: World; next: () => World } {
  const next = worlds(options);
  const before = next();
  const client = before.connect(KEPT);
  client.subscribe("t", { qos: 1 });
  client.drop();
  const publisher = before.connect();
  for (let at = 0; at < count; at++) publisher.publish("t", `${at} ${rest}`, { qos: 1 });
  return { world: next(), next };
}

function numbers(packets: readonly Packet[]): number[] {
  return packets.flatMap((packet) =>
    packet.type === "publish" ? [Number(new TextDecoder().decode(packet.payload).split(" ")[0])] : [],
  );
}

function upTo(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

/** Everything that comes, acknowledged as it comes. */
function everything(client: TestClient): number[] {
  const seen: number[] = [];
  for (let round = 0; round < 100; round++) seen.push(...numbers(client.takePublishes()));
  return seen;
}

/** Places that the store has, waiting or under way. */
function placesIn(store: HeldStore): number {
  let places = 0;
  const count = { queuePut: () => void places++, queueTail: ({ count }: { count: number }) => void (places += count) };
  store.engine.load({ ...IGNORING_SINK, ...count });
  return places;
}

function carryOut(world: World, count?: number): void {
  world.store!.carryOut(world.broker, world.nowMs, count);
  world.settle();
}

describe("the oldest gives way", () => {
  const options: WorldOptions = { limits: { queueMessagesMax: 10 }, config: { queueOverflow: "drop-oldest" } };

  test("while a page with it is under way", () => {
    const { world } = filled(options, 10);
    const publisher = world.connect();
    world.store!.automatic = false;
    const back = world.dial(kept(1));
    carryOut(world, 1);
    expect(world.store!.calls.map(({ what }) => what)).toEqual(["page"]);
    for (let at = 10; at < 13; at++) publisher.sendPublish("t", `${at}`, { qos: 1 });
    carryOut(world);
    world.store!.automatic = true;
    world.settle();
    expect(everything(back)).toEqual(upTo(3, 12));
    expect(placesIn(world.store!)).toBe(0);
    expect(world.broker.report("kept")).toMatchObject({ queuedMessages: 0 });
  });

  test("while a page is under way, all of it and more", () => {
    const { world } = filled(options, 10);
    const publisher = world.connect();
    world.store!.automatic = false;
    const back = world.dial(kept(1));
    carryOut(world, 1);
    for (let at = 10; at < 35; at++) publisher.sendPublish("t", `${at}`, { qos: 1 });
    world.store!.automatic = true;
    world.settle();
    expect(everything(back)).toEqual(upTo(25, 34));
    expect(placesIn(world.store!)).toBe(0);
  });

  test("and not what is under way", () => {
    const { world, next } = filled({ ...options, limits: { queueMessagesMax: 40 } }, 40, LARGE);
    const back = world.connect(kept(14));
    expect(numbers(back.packets)).toEqual(upTo(0, 13));
    // Some more are in memory; their places are taken first, then those that the store alone has.
    const publisher = world.connect();
    for (let at = 40; at < 94; at++) publisher.publish("t", `${at}`, { qos: 1 });
    const again = next();
    expect(everything(again.connect(KEPT))).toEqual([...upTo(0, 13), ...upTo(54, 93)]);
    expect(placesIn(again.store!)).toBe(0);
  });
});

test("the oldest that gives way while a search is under way is not counted again when it is found", () => {
  const next = worlds({
    limits: { queueMessagesMax: 10, queueBytesMax: 5_000 },
    config: { queueOverflow: "drop-oldest" },
  });
  const before = next();
  const client = before.connect(KEPT);
  client.subscribe("t", { qos: 1 });
  client.drop();
  const properties = { messageExpiryInterval: 10 };
  before.connect().publish("t", "0", { qos: 1, properties });
  for (let at = 1; at < 10; at++) before.connect().publish("t", `${at}`, { qos: 1 });
  const world = next();
  world.advance(11_000);
  const publisher = world.connect();
  world.store!.automatic = false;
  // Too large for the whole queue: it is refused, and a search begins.
  publisher.sendPublish("t", "x".repeat(6_000), { qos: 1 });
  publisher.sendPublish("t", "10", { qos: 1 });
  carryOut(world);
  carryOut(world);
  expect(world.broker.report("kept")).toMatchObject({ queuedMessages: 10 });
  world.store!.automatic = true;
  expect(everything(world.connect(KEPT))).toEqual(upTo(1, 10));
});

test("retained messages that are sent past a long queue are not in it", () => {
  const { world, next } = filled({}, 40, LARGE);
  const publisher = world.connect();
  publisher.publish("r/1", "1001", { qos: 1, retain: true });
  publisher.publish("r/2", "1002", { qos: 1, retain: true });
  const back = world.connect(kept(2));
  const [first, second] = back.takeAll() as Extract<Packet, { type: "publish" }>[];
  back.subscribe("r/#", { qos: 1 });
  publisher.publish("t", "40", { qos: 1 });
  for (const { packetId } of [first!, second!]) {
    back.send({ type: "puback", packetId: packetId!, reasonCode: 0, properties: {} });
  }
  // Both retained messages are under way now, and stay so for a while.
  const retained = back.takeAll() as Extract<Packet, { type: "publish" }>[];
  expect(numbers(retained)).toEqual([1001, 1002]);
  publisher.publish("t", "41", { qos: 1 });
  back.send({ type: "puback", packetId: retained[0]!.packetId!, reasonCode: 0, properties: {} });
  expect(everything(back)).toEqual(upTo(2, 41));
  expect(placesIn(world.store!)).toBe(1);
  const again = next().connect(KEPT);
  expect(everything(again)).toEqual([1002]);
});

test("a page of which nothing could be read does not take away what came meanwhile", () => {
  const { world } = filled({}, 3);
  const { store } = world;
  const publisher = world.connect();
  store!.automatic = false;
  const back = world.dial(kept(10));
  carryOut(world, 1);
  // All that there was is damaged.
  const [call] = store!.calls.splice(0);
  if (call?.what !== "page") throw new Error("expected the question for a page");
  const writer = new RecordWriter();
  writer.time(1);
  for (const sequence of waitingIn(store!)) writer.queueDelete(1, sequence);
  store!.engine.apply([writer.take()], "fsync");
  publisher.sendPublish("t", "3", { qos: 1 });
  world.broker.paged(call.request, new Uint8Array(0), world.nowMs);
  store!.automatic = true;
  world.settle();
  expect(everything(back)).toEqual([3]);
  expect(world.broker.report("kept")).toMatchObject({ queuedMessages: 0 });
});

/** How many pages the world's store is asked for from now on. */
function countPages(world: World): () => number {
  const store = world.store!;
  const { page } = store;
  let pages = 0;
  store.page = (...asked) => {
    pages++;
    page.apply(store, asked);
  };
  return () => pages;
}

function waitingIn(store: HeldStore): number[] {
  const sequences: number[] = [];
  let tail = 0;
  store.engine.load({ ...IGNORING_SINK, queueTail: ({ lastSequence }) => void (tail = lastSequence) });
  for (let sequence = tail - 10; sequence <= tail; sequence++) sequences.push(sequence);
  return sequences;
}

describe("messages that have expired", () => {
  test("give their places back also where only the store has them", () => {
    const next = worlds({ limits: { queueMessagesMax: 600 } });
    const world = next();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 1 });
    client.drop();
    const publisher = world.connect();
    const properties = { messageExpiryInterval: 10 };
    for (let at = 0; at < 300; at++) publisher.publish("t", `${at}`, { qos: 1 });
    for (let at = 300; at < 600; at++) publisher.publish("t", `${at}`, { qos: 1, properties });
    expect(publisher.publish("t", "too many", { qos: 1 })).toBe(0x97);
    world.advance(11_000);
    // The first one finds out; the others find room.
    publisher.publish("t", "unlucky", { qos: 1 });
    for (let at = 600; at < 900; at++) expect(publisher.publish("t", `${at}`, { qos: 1 })).toBe(0);
    expect(publisher.publish("t", "too many", { qos: 1 })).toBe(0x97);
    expect(placesIn(world.store!)).toBe(600);
    expect(everything(world.connect(KEPT))).toEqual([...upTo(0, 299), ...upTo(600, 899)]);
  });

  test("are looked for once, not again and again, while a client takes nothing", () => {
    const { world, next } = filled({ limits: { queueMessagesMax: 2_000 } }, 1_500, "x".repeat(3_000));
    const properties = { messageExpiryInterval: 10 };
    const publisher = world.connect();
    for (let at = 0; at < 500; at++) publisher.publish("t", "short", { qos: 1, properties });
    const client = world.connect(kept(1));
    world.advance(11_000);
    // One is under way: the first finds its place, the second looks for one.
    const pages = countPages(world);
    for (let at = 0; at < 20; at++) publisher.publish("t", `${1_500 + at}`, { qos: 1 });
    expect(pages()).toBeLessThan(30);
    expect(everything(client)).toEqual([...upTo(0, 1_500), ...upTo(1_502, 1_519)]);
    expect(everything(next().connect(KEPT))).toEqual([]);
  });

  test("the same where they were there before the broker", () => {
    const next = worlds({ limits: { queueMessagesMax: 10 } });
    const before = next();
    const client = before.connect(KEPT);
    client.subscribe("t", { qos: 1 });
    client.drop();
    const publisher = before.connect();
    const properties = { messageExpiryInterval: 10 };
    for (let at = 0; at < 10; at++) publisher.publish("t", `${at}`, { qos: 1, properties });
    before.advance(11_000);
    const world = next();
    const late = world.connect();
    late.publish("t", "unlucky", { qos: 1 });
    for (let at = 10; at < 20; at++) expect(late.publish("t", `${at}`, { qos: 1 })).toBe(0);
    expect(everything(world.connect(KEPT))).toEqual(upTo(10, 19));
  });
});

test("a client that takes nothing has no more than its window in memory", () => {
  const { world } = filled({}, 60, LARGE);
  const client = world.connect(kept(1));
  expect(client.connection.session!.queue!.bytes).toBeLessThan(5_000_000);
  expect(everything(client)).toEqual(upTo(0, 59));
});

test("a page is small, however much waits", () => {
  const { world } = filled({}, 3_000);
  world.store!.automatic = false;
  const back = world.dial(KEPT);
  let pages = 0;
  for (; world.store!.calls.length > 0; carryOut(world, 1)) {
    const [call] = world.store!.calls;
    if (call!.what !== "page") continue;
    expect(call!.messagesMax).toBeLessThanOrEqual(1_024);
    pages++;
  }
  expect([pages, numbers(back.packets).length]).toEqual([3, 3_000]);
});

describe("a client that leaves", () => {
  test("leaves in memory no more of its queue than the window of one that is away", () => {
    const { world, next } = filled({}, 40, LARGE);
    const client = world.connect(kept(1));
    const publisher = world.connect();
    publisher.publish("t", `40 ${LARGE}`, { qos: 1 });
    const session = client.connection.session!;
    expect(session.queue!.bytes).toBeGreaterThan(1_500_000);
    client.drop();
    expect(session.queue!.bytes).toBeLessThan(600_000);
    expect(world.broker.report("kept")).toMatchObject({ queuedMessages: 40 });
    publisher.publish("t", `41 ${LARGE}`, { qos: 1 });
    expect(everything(world.connect(KEPT))).toEqual(upTo(0, 41));
    expect(everything(next().connect(KEPT))).toEqual([]);
  });

  test("while a page is under way", () => {
    const { world } = filled({}, 40, LARGE);
    world.store!.automatic = false;
    const client = world.dial(kept(1));
    carryOut(world, 1);
    const session = client.connection.session!;
    client.drop();
    const publisher = world.connect();
    publisher.sendPublish("t", `40 ${LARGE}`, { qos: 1 });
    world.store!.automatic = true;
    world.settle();
    expect(session.queue?.bytes ?? 0).toBeLessThan(600_000);
    expect(everything(world.connect(KEPT))).toEqual(upTo(0, 40));
    expect(placesIn(world.store!)).toBe(0);
  });
});

test("[MQTT-3.3.1-1] QoS 2 messages that were never sent have no DUP set, whatever the broker went through", () => {
  const next = worlds({});
  const before = next();
  const client = before.connect(kept(1));
  client.subscribe("t", { qos: 2 });
  const publisher = before.connect();
  for (let at = 0; at < 3; at++) publisher.publish("t", `${at}`, { qos: 2 });
  const back = next().connect(kept(10));
  expect(back.takePublishes().map(({ dup }) => dup)).toEqual([true, false, false]);
});
