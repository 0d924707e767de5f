/**
 * What an acknowledgement waits for, where it could slip past: outboxes that are written early, a transport that is behind, input
 * that the store holds up, sessions that come and go before a batch is safe.
 */
import { describe, expect, test } from "bun:test";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const KEPT: ConnectInit = { clientId: "kept", cleanStart: false, properties: { sessionExpiryInterval: 3600 } };

function begin(): { world: World; store: HeldStore } {
  const store = new HeldStore();
  return { world: new World({ store }), store };
}

function types(client: TestClient): string[] {
  return client.packets.map(({ type }) => type);
}

function carryOut(world: World): void {
  world.store!.carryOut(world.broker, world.nowMs);
  world.settle();
}

describe("an outbox that is written before the turn ends", () => {
  test.each([
    ["many", 40, 4_000],
    ["one that is not copied", 1, 100_000],
  ])("SUBACK and retained messages behind it: %s", (_what, count, bytes) => {
    const { world, store } = begin();
    const publisher = world.connect();
    for (let at = 0; at < count; at++) publisher.publish(`r/${at}`, "x".repeat(bytes), { retain: true });
    const client = world.connect(KEPT);
    store.automatic = false;
    const filters = [
      { topicFilter: "r/#", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 },
    ] as const;
    client.send({ type: "subscribe", packetId: 9, filters: [...filters], properties: {} });
    expect(types(client)).toEqual([]);
    carryOut(world);
    expect(types(client)[0]).toBe("suback");
    expect(client.packets.length).toBe(1 + count);
  });

  test.each([
    ["many", 40, 4_000],
    ["one that is not copied", 1, 100_000],
  ])("CONNACK and what waited for the client behind it: %s", (_what, count, bytes) => {
    const { world, store } = begin();
    const client = world.connect(KEPT);
    client.subscribe("t", { qos: 1 });
    client.drop();
    const publisher = world.connect();
    for (let at = 0; at < count; at++) publisher.publish("t", "x".repeat(bytes), { qos: 1 });
    store.automatic = false;
    const back = world.dial(KEPT);
    expect(types(back)).toEqual([]);
    carryOut(world);
    expect(types(back)[0]).toBe("connack");
    expect(back.packets.length).toBe(1 + count);
  });

  test("the same where the verdict comes later", () => {
    const store = new HeldStore();
    const asked: number[] = [];
    const world = new World({
      store,
      auth: {
        ask(request) {
          asked.push(request.id);
          return undefined;
        },
        abandon() {},
      },
    });
    const letIn = (): void => {
      world.broker.verdict(
        asked.at(-1)!,
        { do: "accept", principal: { id: "x", permissions: "everything" } },
        world.nowMs,
      );
      world.settle();
    };
    const client = world.dial(KEPT);
    letIn();
    client.take("connack");
    client.subscribe("t", { qos: 1 });
    client.drop();
    const publisher = world.dial();
    letIn();
    publisher.take("connack");
    for (let at = 0; at < 40; at++) publisher.publish("t", "x".repeat(4_000), { qos: 1 });
    store.automatic = false;
    const back = world.dial(KEPT);
    letIn();
    expect(types(back)).toEqual([]);
    carryOut(world);
    expect(types(back)[0]).toBe("connack");
  });
});

test("Clean Start: nobody is told that the old session is gone before it is, also by the second CONNECT", () => {
  const { world, store } = begin();
  world.connect(KEPT).drop();
  store.automatic = false;
  world.dial({ clientId: "kept", cleanStart: true }).drop();
  const second = world.dial({ clientId: "kept", cleanStart: false });
  expect(types(second)).toEqual([]);
  carryOut(world);
  expect(second.take("connack").sessionPresent).toBe(false);
});

describe("a client that is not read from", () => {
  test("while the store is behind is alive, whatever its Keep Alive", () => {
    const store = new HeldStore();
    const world = new World({ store, limits: { storeBacklogBytesMax: 1_000 } });
    world.connect(KEPT).subscribe("t", { qos: 1 });
    const publisher = world.connect({ clientId: "publisher", keepAlive: 10 });
    store.automatic = false;
    for (let at = 0; at < 5 && !publisher.paused; at++) publisher.sendPublish("t", "x".repeat(400), { qos: 1 });
    expect(publisher.paused).toBe(true);
    world.advance(60_000);
    expect(publisher.closed).toBe(false);
    carryOut(world);
    expect(publisher.paused).toBe(false);
    world.advance(14_000);
    expect(publisher.closed).toBe(false);
    world.advance(2_000);
    expect(publisher.closed).toBe(true);
  });

  test("because its output waits for the store is alive too", () => {
    const store = new HeldStore();
    const limits = { outboundHighWaterBytes: 10_000, outboundLowWaterBytes: 1_000 };
    const world = new World({ store, limits });
    world.connect(KEPT).subscribe("t", { qos: 1 });
    const client = world.connect({ clientId: "both", keepAlive: 10 });
    client.subscribe("feed", { qos: 0 });
    const feeder = world.connect();
    store.automatic = false;
    client.sendPublish("t", "x", { qos: 1 });
    for (let at = 0; at < 20; at++) feeder.sendPublish("feed", "x".repeat(1_000));
    expect(client.paused).toBe(true);
    world.advance(60_000);
    carryOut(world);
    expect([client.paused, client.closed]).toEqual([false, false]);
    expect(types(client)[0]).toBe("puback");
  });
});

test("a transport that is behind stays so, whatever the store commits meanwhile", () => {
  const store = new HeldStore();
  const limits = { outboundHighWaterBytes: 10_000, outboundLowWaterBytes: 1_000 };
  const world = new World({ store, limits });
  world.connect(KEPT).subscribe("t", { qos: 1 });
  const client = world.connect({ clientId: "slow" });
  client.subscribe("feed", { qos: 0 });
  const feeder = world.connect();
  client.stall();
  for (let at = 0; at < 20; at++) feeder.sendPublish("feed", "x".repeat(1_000));
  const before = client.backlogBytes;
  expect(client.paused).toBe(true);
  store.automatic = false;
  feeder.sendPublish("t", "first", { qos: 1 });
  // Bytes that were read before the pause.
  client.sendPublish("t", "second", { qos: 1 });
  world.store!.carryOut(world.broker, world.nowMs, 1);
  world.settle();
  feeder.sendPublish("feed", "x".repeat(1_000));
  expect([client.paused, client.backlogBytes]).toEqual([true, before]);
});

test("a feed of small messages that waits for the store is put together, and comes as it was", () => {
  const { world, store } = begin();
  world.connect(KEPT).subscribe("t", { qos: 1 });
  const client = world.connect();
  client.subscribe("feed", { qos: 0 });
  const feeder = world.connect();
  store.automatic = false;
  client.sendPublish("t", "x", { qos: 1 });
  for (let at = 0; at < 3_000; at++) feeder.sendPublish("feed", `${at}`);
  // In the middle of it, something that has to wait for longer, and something that is not copied.
  client.sendPublish("t", "y", { qos: 1 });
  feeder.sendPublish("feed", "x".repeat(100_000));
  for (let at = 3_000; at < 6_000; at++) feeder.sendPublish("feed", `${at}`);
  client.disconnect();
  expect(client.connection.withheld!.length).toBeLessThan(15);
  world.store!.carryOut(world.broker, world.nowMs, 1);
  world.settle();
  expect([client.packets.length, client.closed]).toEqual([3_001, false]);
  carryOut(world);
  const texts = client.takeAll().flatMap((packet) => (packet.type === "publish" ? [toText(packet.payload)] : []));
  const numbers = Array.from({ length: 6_000 }, (_, at) => `${at}`);
  expect(texts).toEqual([...numbers.slice(0, 3_000), "x".repeat(100_000), ...numbers.slice(3_000)]);
  expect([client.closed, client.connection.withheldBytes]).toEqual([true, 0]);
});

test("clients that come again and again, because the store does not answer, are told that it is busy", () => {
  const store = new HeldStore();
  const world = new World({ store, limits: { storeBacklogBytesMax: 1_000 } });
  store.automatic = false;
  const dials = Array.from({ length: 100 }, () => world.dial(KEPT));
  const refused = dials.filter((client) => client.packets.some((packet) => packet.type === "connack"));
  expect(refused.length).toBeGreaterThan(50);
  for (const client of refused) expect(client.take("connack").reasonCode).toBe(0x89);
  const bytes = store.calls.reduce((sum, call) => sum + (call.what === "commit" ? call.records.length : 0), 0);
  expect(bytes).toBeLessThan(3_000);
  // Who keeps nothing has nothing to wait for.
  expect(world.connect({ clientId: "clean" }).closed).toBe(false);
  carryOut(world);
  expect(world.dial(KEPT).closed).toBe(false);
});

test("what waits for a client is sent once its CONNACK is, and to nobody who was taken over before that", () => {
  const { world, store } = begin();
  const client = world.connect(KEPT);
  client.subscribe("t", { qos: 1 });
  client.drop();
  const publisher = world.connect();
  for (let at = 0; at < 100; at++) publisher.publish("t", `${at}`, { qos: 1 });
  store.automatic = false;
  const { publishSent } = world.broker.statistics;
  const dials = Array.from({ length: 20 }, () => world.dial(KEPT));
  expect(world.broker.statistics.publishSent).toBe(publishSent);
  carryOut(world);
  expect(world.broker.statistics.publishSent).toBe(publishSent + 100);
  expect(types(dials.at(-1)!).length).toBe(101);
  publisher.sendPublish("t", "live", { qos: 1 });
  expect(types(dials.at(-1)!).length).toBe(102);
});

test("clients that come back at once are sent what waits for them a few in each turn", () => {
  const { world, store } = begin();
  const names = Array.from({ length: 30 }, (_, at): ConnectInit => ({ ...KEPT, clientId: `kept ${at}` }));
  for (const name of names) {
    const client = world.connect(name);
    client.subscribe("t", { qos: 1 });
    client.drop();
  }
  world.connect().publish("t", "x", { qos: 1 });
  store.automatic = false;
  const back = names.map((name) => world.dial(name));
  const served = () => back.filter((client) => types(client).includes("publish")).length;
  const last = store.calls.findLast((call) => call.what === "commit")!;
  store.writeSilently(store.calls.length);
  world.broker.committed(last.ticket, world.nowMs);
  expect(world.broker.settle(world.nowMs)).toBe(world.nowMs);
  expect([served(), back.every((client) => types(client)[0] === "connack")]).toEqual([8, true]);
  world.advance(0);
  expect(served()).toBe(30);
});
