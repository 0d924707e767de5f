/** Limits that count memory: what subscriptions, retained messages and Topic Aliases weigh, not only how many they are. */
import { describe, expect, test } from "bun:test";
import { resume } from "../support/publish-dialogue.ts";
import { expectDisconnect } from "../support/refusal.ts";
import { World } from "../support/world.ts";

/** What a level of a filter or a name counts for. */
const LEVEL_BYTES = 200;

function weight(name: string): number {
  return name.length + name.split("/").length * LEVEL_BYTES;
}

describe("subscriptionBytesMax", () => {
  const wide = ["aa", "bb", "cc"];
  const limits = { subscriptionBytesMax: 3 * weight("aa") };

  test("filters and their levels count: one more gets 0x97 in SUBACK, the connection goes on", () => {
    const client = new World({ limits }).connect();
    expect(client.subscribe([...wide, "d"], { qos: 1 }).reasonCodes).toEqual([1, 1, 1, 0x97]);
    expect(client.closed).toBe(false);
    const deep = new World({ limits }).connect();
    expect(deep.subscribe(["a/b/c", "d"], { qos: 1 }).reasonCodes).toEqual([1, 0x97]);
    const long = new World({ limits }).connect();
    expect(long.subscribe(["x".repeat(3 * weight("aa") - LEVEL_BYTES), "d"], { qos: 1 }).reasonCodes).toEqual([
      1, 0x97,
    ]);
    expect(new World({ limits }).connect().subscribe("x".repeat(500)).reasonCodes).toEqual([0x97]);
  });

  test("3.1.1: 0x80", () => {
    const client = new World({ limits }).connect({ level: 4 });
    expect(client.subscribe([...wide, "d"], { qos: 1 }).reasonCodes).toEqual([1, 1, 1, 0x80]);
  });

  test("replacing a subscription takes no more room, unsubscribing gives it back", () => {
    const client = new World({ limits }).connect();
    client.subscribe(wide, { qos: 0 });
    expect(client.subscribe(wide, { qos: 2 }).reasonCodes).toEqual([2, 2, 2]);
    client.unsubscribe("bb");
    expect(client.subscribe(["dd", "ee"], { qos: 1 }).reasonCodes).toEqual([1, 0x97]);
    client.unsubscribe([...wide, "dd"]);
    expect(client.connection.session!.subscriptionBytes).toBe(0);
  });

  test("the name of a share counts, and the weight stays with the session", () => {
    const world = new World({ limits: { subscriptionBytesMax: weight("$share/g/aa") } });
    const client = resume(world, "client");
    expect(client.subscribe(["$share/g/aa", "b"], { qos: 1 }).reasonCodes).toEqual([1, 0x97]);
    client.drop();
    const back = resume(world, "client");
    expect(back.subscribe("b").reasonCodes).toEqual([0x97]);
    expect(world.connect().subscribe(wide, { qos: 1 }).reasonCodes).toEqual([1, 1, 1]);
  });

  test("the default bounds deep filters long before their number does", () => {
    const client = new World().connect();
    const tail = "/0".repeat(127);
    let granted = 0;
    for (let from = 0; from < 2000; from += 500) {
      const { reasonCodes } = client.subscribe(
        Array.from({ length: 500 }, (_, at) => `${from + at}${tail}`),
        { qos: 1 },
      );
      granted += reasonCodes.filter((code) => code === 1).length;
    }
    expect(granted).toBeGreaterThan(1000);
    expect(granted).toBeLessThan(1400);
  });
});

describe("retainedBytesMax", () => {
  const limits = { retainedBytesMax: weight("a/b/c") + 10 };
  const retain = { qos: 1, retain: true } as const;

  test("levels of the Topic Name count: what is too deep for the room that is left gets 0x97", () => {
    const world = new World({ limits });
    const publisher = world.connect();
    expect(publisher.publish("a/b/c/d", "x", retain)).toBe(0x97);
    expect(publisher.publish("a/b/c", "0123456789", retain)).toBe(0x10);
    expect(publisher.publish("d", "x", retain)).toBe(0x97);
    // In place of what is there: as much as fits, no more.
    expect(publisher.publish("a/b/c", "01234567890", retain)).toBe(0x97);
    expect(publisher.publish("a/b/c", "x", retain)).toBe(0x10);
    expect(publisher.publish("a/b/c", "", retain)).toBe(0x10);
    expect(publisher.publish("d/e", "x", retain)).toBe(0x10);
    const reader = world.connect();
    reader.subscribe("#");
    expect(reader.takePublishes().map(({ topicName }) => topicName)).toEqual(["d/e"]);
  });
});

describe("topicAliasBytesMax", () => {
  const limits = { topicAliasBytesMax: 10 };

  test("a client's aliases: Topic Names up to the bound, one byte more is answered with DISCONNECT 0x97", () => {
    const world = new World({ limits });
    const client = world.connect();
    const alias = (topicName: string, topicAlias: number) =>
      client.sendPublish(topicName, "", { properties: { topicAlias } });
    alias("12345", 1);
    alias("67890", 2);
    expect(client.closed).toBe(false);
    alias("", 1);
    // Another meaning in place of the old one counts once.
    alias("abcde", 1);
    alias("abc", 1);
    alias("xy", 3);
    expect([client.packets, client.closed]).toEqual([[], false]);
    alias("z", 4);
    expectDisconnect(client, 0x97);
  });

  test("the broker's aliases: none are set beyond the bound, messages go on with their names", () => {
    const world = new World({ limits });
    const client = world.connect({ properties: { topicAliasMaximum: 100 } });
    client.subscribe("#", { qos: 1 });
    const publisher = world.connect();
    const names = ["12345", "678901", "67890", "x", "12345", "67890", "x"];
    for (const topicName of names) publisher.publish(topicName, "", { qos: 1 });
    const received = client.takePublishes().map(({ topicName, properties }) => [topicName, properties.topicAlias]);
    expect(received).toEqual([
      ["12345", 1],
      ["678901", undefined],
      ["67890", 2],
      ["x", undefined],
      ["", 1],
      ["", 2],
      ["x", undefined],
    ]);
  });

  test("an alias that was not sent after all leaves its room to others", () => {
    const world = new World({ limits });
    const client = world.connect({ properties: { topicAliasMaximum: 100, maximumPacketSize: 60 } });
    client.subscribe("#", { qos: 1 });
    const publisher = world.connect();
    publisher.publish("1234567890", "x".repeat(100), { qos: 1 }); // too large for this client
    publisher.publish("abcdefghij", "", { qos: 1 });
    const received = client.takePublishes().map(({ topicName, properties }) => [topicName, properties.topicAlias]);
    expect(received).toEqual([["abcdefghij", 1]]);
  });

  test("the bound is each connection's own, and ends with it", () => {
    const world = new World({ limits });
    for (let at = 0; at < 3; at++) {
      const client = resume(world, `client${at % 2}`, { properties: { topicAliasMaximum: 5 } });
      client.sendPublish("1234567890", "", { properties: { topicAlias: 1 } });
      expect(client.closed).toBe(false);
      client.drop();
    }
  });
});
