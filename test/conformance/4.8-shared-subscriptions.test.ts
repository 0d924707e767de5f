/**
 * MQTT 5.0 section 4.8.2: what a shared subscription is, who is in the group, and who gets which message.
 * What happens when a member leaves is in 4.8-shared-handover.test.ts.
 */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import { expectDisconnect } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

function members(world: World, count: number, filter: string, qos: QoS = 2, init: ConnectInit = {}): TestClient[] {
  return Array.from({ length: count }, () => {
    const client = world.connect(init);
    expect(client.subscribe(filter, { qos }).reasonCodes).toEqual([qos]);
    return client;
  });
}

function publishNumbers(world: World, topicName: string, count: number, qos: QoS = 1): void {
  const publisher = world.connect();
  for (let index = 0; index < count; index++) publisher.publish(topicName, `${index}`, { qos });
  publisher.disconnect();
}

describe("share names and filters", () => {
  /** Refused with a failure code or the end of the connection; in no case a subscription. */
  function expectRefused(topicFilter: string): void {
    const client = new World().connect();
    const filter = { topicFilter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
    if (client.closed) expect(client.take("disconnect").reasonCode).toBeOneOf([0x81, 0x82, 0x8f]);
    else expect(client.take("suback").reasonCodes).toEqual([0x8f]);
  }

  test.each(["$share//a", "$share/", "$share"])("[MQTT-4.8.2-1] %s has no share name and is refused", expectRefused);

  test.each(["$share/g", "$share/g/", "$share/g+/a", "$share/+/a", "$share/#", "$share/#/a", "$share/a#b/c"])(
    "[MQTT-4.8.2-2] %s is refused: a share name without wildcards, then / and a filter",
    expectRefused,
  );

  test.each([
    ["$share/g/a", "a"],
    ["$share/g//a", "/a"],
    ["$share/g//", "/"],
    ["$share/g/+/b", "a/b"],
    ["$share/g/#", "a/b/c"],
    ["$share/a b ü $x/a", "a"],
    ["$share/$share/$share/a", undefined],
    [`$share/${"n".repeat(1000)}/a`, "a"],
  ])("[MQTT-4.8.2-1] [MQTT-4.8.2-2] %s shares what its filter says", (filter, topicName) => {
    const world = new World();
    const [client] = members(world, 1, filter);
    if (topicName === undefined) return;
    world.connect().publish(topicName, "x");
    expect(texts(client!)).toEqual(["x"]);
  });

  test("what only looks like $share is a plain filter for $ topics", () => {
    const world = new World();
    const client = world.connect();
    const filters = ["$shared/g/a", "$Share/g/a", "$SHARE/g/a", "share/g/a"];
    expect(client.subscribe(filters).reasonCodes).toEqual([2, 2, 2, 2]);
    const publisher = world.connect();
    publisher.publish("a", "x");
    expect(client.packets).toEqual([]);
    publisher.publish("share/g/a", "y");
    expect(texts(client)).toEqual(["y"]);
  });

  test("share names are compared exactly", () => {
    const world = new World();
    const groups = ["$share/g/a", "$share/G/a", "$share/g /a", "$share/\u00e9/a", "$share/e\u0301/a"];
    const clients = groups.map((filter) => members(world, 1, filter)[0]!);
    world.connect().publish("a", "x");
    expect(clients.map(texts)).toEqual(groups.map(() => ["x"]));
  });
});

describe("who gets a message", () => {
  test("one member of the group, by turns", () => {
    const world = new World();
    const group = members(world, 3, "$share/g/a", 1);
    publishNumbers(world, "a", 12);
    const got = group.map(texts);
    expect(got.map((list) => list.length)).toEqual([4, 4, 4]);
    expect(
      got
        .flat()
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 12 }, (_, index) => index));
    // Round robin: no member twice before the others had their turn.
    for (let turn = 0; turn < 4; turn++) {
      const owners = [0, 1, 2].map((k) => got.findIndex((list) => list.includes(`${turn * 3 + k}`)));
      expect(new Set(owners).size).toBe(3);
    }
  });

  test.each<QoS>([0, 1, 2])("by turns at QoS %i, and with a wildcard filter over several topics", (qos) => {
    const world = new World();
    const group = members(world, 2, "$share/g/#", qos);
    const publisher = world.connect();
    for (let index = 0; index < 10; index++) publisher.publish(`t/${index}`, "x", { qos });
    const got = group.map((client) => client.takePublishes());
    expect(got.map((list) => list.length)).toEqual([5, 5]);
    expect(got.flat().every((publish) => publish.qos === qos)).toBe(true);
  });

  test("a plain subscriber and every group get a copy each", () => {
    const world = new World();
    const plain = members(world, 1, "a");
    const one = members(world, 2, "$share/one/a");
    const two = members(world, 3, "$share/two/a");
    const wild = members(world, 2, "$share/one/+");
    publishNumbers(world, "a", 6);
    const counts = [plain, one, two, wild].map((group) => group.map((client) => texts(client).length));
    // Same share name with another filter is another shared subscription.
    expect(counts).toEqual([[6], [3, 3], [2, 2, 2], [3, 3]]);
  });

  test("one client in two groups and subscribed plainly gets three copies", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("$share/g/a", { qos: 0 }, { subscriptionIdentifiers: [1] });
    client.subscribe("$share/h/a", { qos: 1 }, { subscriptionIdentifiers: [2] });
    client.subscribe("a", { qos: 2 }, { subscriptionIdentifiers: [3] });
    world.connect().publish("a", "x", { qos: 2 });
    const copies = client.takePublishes().map(({ qos, properties }) => [qos, properties.subscriptionIdentifiers]);
    expect(copies.sort()).toEqual([
      [0, [1]],
      [1, [2]],
      [2, [3]],
    ]);
  });

  test("subscribing again changes the options, not the number of turns", () => {
    const world = new World();
    const [one, two] = members(world, 2, "$share/g/a", 0) as [TestClient, TestClient];
    for (let index = 0; index < 3; index++) one.subscribe("$share/g/a", { qos: 1 });
    publishNumbers(world, "a", 4);
    expect(one.takePublishes().map((publish) => publish.qos)).toEqual([1, 1]);
    expect(two.takePublishes().map((publish) => publish.qos)).toEqual([0, 0]);
  });

  test("a newcomer takes its turn, one who unsubscribes takes none", () => {
    const world = new World();
    const [one] = members(world, 1, "$share/g/a") as [TestClient];
    publishNumbers(world, "a", 2);
    expect(texts(one).length).toBe(2);
    const [two] = members(world, 1, "$share/g/a") as [TestClient];
    publishNumbers(world, "a", 4);
    expect([texts(one).length, texts(two).length]).toEqual([2, 2]);
    one.unsubscribe("$share/g/a");
    publishNumbers(world, "a", 3);
    expect([texts(one).length, texts(two).length]).toEqual([0, 3]);
    two.unsubscribe("$share/g/a");
    expect(world.connect().publish("a", "", { qos: 1 })).toBe(0x10);
  });

  test("connected members are preferred to absent ones", () => {
    const world = new World();
    const lasting = { properties: { sessionExpiryInterval: 100 } };
    const [away, here] = members(world, 2, "$share/g/a", 1, lasting) as [TestClient, TestClient];
    away.drop();
    publishNumbers(world, "a", 4);
    expect(texts(here).length).toBe(4);
    const back = world.connect({ ...lasting, clientId: away.clientId, cleanStart: false });
    expect(texts(back)).toEqual([]);
    publishNumbers(world, "a", 4);
    expect([texts(here).length, texts(back).length]).toEqual([2, 2]);
  });

  test("with all members absent a message waits for one of them, and for one only", () => {
    const world = new World();
    const lasting = { properties: { sessionExpiryInterval: 100 } };
    const group = members(world, 2, "$share/g/a", 1, lasting);
    for (const client of group) client.drop();
    publishNumbers(world, "a", 5);
    const back = group.map(({ clientId }) => world.connect({ ...lasting, clientId, cleanStart: false }));
    const got = back.flatMap(texts);
    expect(got.sort()).toEqual(["0", "1", "2", "3", "4"]);
  });

  test("a publisher in the group may get its own message", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("$share/g/a");
    client.publish("a", "own");
    expect(texts(client)).toEqual(["own"]);
  });
});

describe("options of a shared subscription", () => {
  test("[MQTT-4.8.2-3] each member's granted QoS holds for what it gets", () => {
    const world = new World();
    const group = ([0, 1, 2] as const).map((qos) => members(world, 1, "$share/g/a", qos)[0]!);
    for (const published of [0, 1, 2] as const) {
      publishNumbers(world, "a", 6, published);
      for (const [granted, client] of group.entries()) {
        const expected = Math.min(granted, published);
        expect(client.takePublishes().map((publish) => publish.qos)).toEqual([expected, expected] as QoS[]);
      }
    }
  });

  test("[MQTT-3.8.3-4] No Local is a Protocol Error", () => {
    const client = new World().connect();
    client.sendBytes("82 10 00 01 00 00 0a 24 73 68 61 72 65 2f 67 2f 61 04");
    expectDisconnect(client, 0x82);
  });

  test("no retained messages are sent to a new member, whatever Retain Handling says", () => {
    const world = new World();
    world.connect().publish("a", "kept", { retain: true, qos: 1 });
    for (const retainHandling of [0, 1, 2] as const) {
      const client = world.connect();
      client.subscribe(["$share/g/a", "$share/h/#"], { retainHandling });
      expect(client.packets).toEqual([]);
    }
  });

  test("Retain As Published and the identifier are the chosen member's own", () => {
    const world = new World();
    const [one, two] = [world.connect(), world.connect()];
    one.subscribe("$share/g/a", { retainAsPublished: true }, { subscriptionIdentifiers: [1] });
    two.subscribe("$share/g/a", { retainAsPublished: false }, { subscriptionIdentifiers: [2] });
    const publisher = world.connect();
    publisher.publish("a", "x", { retain: true });
    publisher.publish("a", "y", { retain: true });
    const facts = [one, two].map((client) =>
      client.takePublishes().map(({ retain, properties }) => [retain, properties.subscriptionIdentifiers]),
    );
    expect(facts).toEqual([[[true, [1]]], [[false, [2]]]]);
  });

  test("a message for a group alone counts as having a subscriber", () => {
    const world = new World();
    members(world, 1, "$share/g/a");
    expect(world.connect().publish("a", "", { qos: 1 })).toBe(0);
  });
});
