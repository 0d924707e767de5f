/**
 * The bounds on subscribing: Topic Filters in one packet, subscriptions of one session, levels of a filter. What is at the
 * bound works, what is one above it is refused, and nobody else notices.
 */
import { describe, expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { expectDisconnect, expectSilentClose } from "../support/refusal.ts";
import { type TestClient, World } from "../support/world.ts";

function filters(count: number, prefix = "f"): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}/${index}`);
}

function askAll(client: TestClient, topicFilters: readonly string[]): void {
  const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  const asked = topicFilters.map((topicFilter) => ({ ...options, topicFilter }));
  client.send({ type: "subscribe", packetId: 1, filters: asked, properties: {} });
}

describe("filtersPerPacketMax", () => {
  const limits = { filtersPerPacketMax: 3 };

  test("as many filters as allowed are subscribed and unsubscribed", () => {
    const client = new World({ limits }).connect();
    expect(client.subscribe(filters(3)).reasonCodes).toEqual([2, 2, 2]);
    expect(client.unsubscribe(filters(3)).reasonCodes).toEqual([0, 0, 0]);
  });

  test("one more in SUBSCRIBE: DISCONNECT 0x97, nothing subscribed", () => {
    const world = new World({ limits });
    const client = world.connect({ clientId: "me", properties: { sessionExpiryInterval: 100 } });
    askAll(client, filters(4));
    expectDisconnect(client, 0x97);
    expect(world.connect().publish("f/0", "", { qos: 1 })).toBe(0x10);
  });

  test("one more in UNSUBSCRIBE: DISCONNECT 0x97, nothing removed", () => {
    const world = new World({ limits });
    const client = world.connect({ clientId: "me", properties: { sessionExpiryInterval: 100 } });
    client.subscribe("f/0");
    client.send({ type: "unsubscribe", packetId: 1, topicFilters: filters(4), properties: {} });
    expectDisconnect(client, 0x97);
    expect(world.connect().publish("f/0", "", { qos: 1 })).toBe(0);
  });

  test("3.1.1: the connection ends", () => {
    const world = new World({ limits });
    const subscriber = world.connect({ level: 4 });
    askAll(subscriber, filters(4));
    expectSilentClose(subscriber);
    const unsubscriber = world.connect({ level: 4 });
    unsubscriber.send({ type: "unsubscribe", packetId: 1, topicFilters: filters(4), properties: {} });
    expectSilentClose(unsubscriber);
  });

  test("the default is enough for a thousand and stops at its number", () => {
    const client = new World().connect();
    expect(client.subscribe(filters(DEFAULT_LIMITS.filtersPerPacketMax)).reasonCodes.length).toBe(1024);
    askAll(client, filters(DEFAULT_LIMITS.filtersPerPacketMax + 1));
    expectDisconnect(client, 0x97);
  });
});

describe("subscriptionsPerClientMax", () => {
  const limits = { subscriptionsPerClientMax: 3 };

  test("one more than allowed gets 0x97 in SUBACK, the connection goes on", () => {
    const world = new World({ limits });
    const client = world.connect();
    expect(client.subscribe(filters(5), { qos: 1 }).reasonCodes).toEqual([1, 1, 1, 0x97, 0x97]);
    expect(client.subscribe("x").reasonCodes).toEqual([0x97]);
    const publisher = world.connect();
    expect(publisher.publish("f/2", "", { qos: 1 })).toBe(0);
    expect(publisher.publish("f/3", "", { qos: 1 })).toBe(0x10);
  });

  test("3.1.1: 0x80", () => {
    const client = new World({ limits }).connect({ level: 4 });
    expect(client.subscribe(filters(4), { qos: 1 }).reasonCodes).toEqual([1, 1, 1, 0x80]);
  });

  test("a subscription that is there already can be replaced at the bound", () => {
    const client = new World({ limits }).connect();
    client.subscribe(filters(3), { qos: 0 });
    expect(client.subscribe(filters(4), { qos: 2 }).reasonCodes).toEqual([2, 2, 2, 0x97]);
  });

  test("unsubscribing makes room", () => {
    const client = new World({ limits }).connect();
    client.subscribe(filters(3));
    client.unsubscribe(filters(2));
    expect(client.subscribe(filters(3, "g")).reasonCodes).toEqual([2, 2, 0x97]);
  });

  test("shared subscriptions count, wildcards count as one", () => {
    const client = new World({ limits }).connect();
    const asked = ["$share/g/a", "$share/h/a", "#", "a"];
    expect(client.subscribe(asked).reasonCodes).toEqual([2, 2, 2, 0x97]);
    client.unsubscribe("$share/g/a");
    expect(client.subscribe("a").reasonCodes).toEqual([2]);
  });

  test("the count belongs to the session: it is resumed, and others have their own", () => {
    const world = new World({ limits });
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe(filters(3));
    client.drop();
    const again = world.connect({ ...init, cleanStart: false });
    expect(again.subscribe("x").reasonCodes).toEqual([0x97]);
    expect(world.connect().subscribe(filters(3)).reasonCodes).toEqual([2, 2, 2]);
    again.drop();
    const fresh = world.connect({ ...init, cleanStart: true });
    expect(fresh.subscribe(filters(3, "g")).reasonCodes).toEqual([2, 2, 2]);
  });
});

describe("topicLevelsMax", () => {
  const limits = { topicLevelsMax: 4 };

  test("a filter of as many levels as allowed works, one more gets 0x8F in SUBACK", () => {
    const client = new World({ limits }).connect();
    const fits = ["a/b/c/d", "+/+/+/+", "a/b/c/#", "///", "$share/g/a/b/c/d"];
    expect(client.subscribe(fits).reasonCodes).toEqual(fits.map(() => 2));
    const tooDeep = ["a/b/c/d/e", "+/+/+/+/+", "a/b/c/d/#", "////", "$share/g/a/b/c/d/e"];
    expect(client.subscribe(tooDeep).reasonCodes).toEqual(tooDeep.map(() => 0x8f));
    expect(client.closed).toBe(false);
  });

  test("3.1.1: 0x80", () => {
    const client = new World({ limits }).connect({ level: 4 });
    expect(client.subscribe(["a/b/c/d", "a/b/c/d/e"], { qos: 1 }).reasonCodes).toEqual([1, 0x80]);
  });

  test("a Topic Name of one level more: DISCONNECT 0x90, and nobody gets it", () => {
    const world = new World({ limits });
    const watcher = world.connect();
    watcher.subscribe("#");
    const client = world.connect();
    client.publish("a/b/c/d", "", { qos: 1 });
    expect(watcher.takePublishes().length).toBe(1);
    client.sendPublish("a/b/c/d/e", "", { qos: 1 });
    expectDisconnect(client, 0x90);
    expect(watcher.packets).toEqual([]);
  });

  test("the default: 128 levels work, empty or not, 129 do not", () => {
    const world = new World();
    const client = world.connect();
    const deepest = Array.from({ length: 128 }, () => "a").join("/");
    expect(client.subscribe([deepest, "/".repeat(127)]).reasonCodes).toEqual([2, 2]);
    expect(client.subscribe([`${deepest}/a`, "/".repeat(128)]).reasonCodes).toEqual([0x8f, 0x8f]);
    const publisher = world.connect();
    expect(publisher.publish(deepest, "", { qos: 1 })).toBe(0);
    expect(publisher.publish("/".repeat(127), "", { qos: 1 })).toBe(0);
    expect(client.takePublishes().length).toBe(2);
  });
});
