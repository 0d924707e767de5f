/** MQTT 3.1.1 section 4.7: Topic Names, Topic Filters and wildcards. */
import { describe, expect, test } from "bun:test";
import { field, frame } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toBytes, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

/** The failure code, or the end of the connection; no subscription either way. */
function expectRefused(topicFilter: string): void {
  const world = new World();
  const client = connect(world);
  const filter = { topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
  if (client.closed) expect(client.packets).toEqual([]);
  else expect(client.take("suback").reasonCodes).toEqual([0x80]);
  for (const topicName of ["a", "a/b", "b", "/"]) {
    expect(world.connect().publish(topicName, "", { qos: 1 })).toBe(0x10);
  }
}

/** Those of the names that a subscriber to the filter receives. */
function matching(filter: string, names: readonly string[]): string[] {
  const world = new World();
  const client = connect(world);
  client.subscribe(filter, { qos: 1 });
  const publisher = connect(world);
  for (const topicName of names) publisher.publish(topicName, "", { qos: 1 });
  return client.takePublishes().map((publish) => publish.topicName);
}

describe("4.7.1 wildcards", () => {
  test.each(["#", "+", "a/#", "+/b", "a/b#"])(
    "[MQTT311-4.7.1-1] Topic Name %s closes the connection; as a Will Topic too",
    (topicName) => {
      const client = connect(new World());
      client.sendPublish(topicName);
      expectSilentClose(client);
      expectSilentClose(new World().dial({ level, will: { topicName } }));
    },
  );

  test.each(["a#", "#a", "#/a", "a/#/b", "##", "a/b#"])("[MQTT311-4.7.1-2] Topic Filter %s is refused", expectRefused);

  test.each(["a+", "+a", "a/b+", "++", "+a/b"])("[MQTT311-4.7.1-3] Topic Filter %s is refused", expectRefused);

  const names = ["a", "a/", "/a", "a/b", "a/b/c", "/", "//", "b", "b/a", "a//c", "ab"];

  test.each([
    ["#", names],
    ["a/#", ["a", "a/", "a/b", "a/b/c", "a//c"]],
    ["/#", ["/a", "/", "//"]],
    ["a/b/#", ["a/b", "a/b/c"]],
  ])("[MQTT311-4.7.1-2] %s matches", (filter, expected) => {
    expect(matching(filter, names)).toEqual(expected);
  });

  test.each([
    ["+", ["a", "b", "ab"]],
    ["+/+", ["a/", "/a", "a/b", "/", "b/a"]],
    ["a/+", ["a/", "a/b"]],
    ["/+", ["/a", "/"]],
    ["a/+/c", ["a/b/c", "a//c"]],
    ["+/a", ["/a", "b/a"]],
    ["+/b/#", ["a/b", "a/b/c"]],
  ])("[MQTT311-4.7.1-3] %s matches", (filter, expected) => {
    expect(matching(filter, names)).toEqual(expected);
  });
});

describe("4.7.2 topics beginning with $", () => {
  test("[MQTT311-4.7.2-1] filters that begin with a wildcard do not match them, $SYS/# does", () => {
    const world = new World({ config: { sysIntervalMs: 1000 } });
    const wild = connect(world);
    wild.subscribe(["#", "+/#", "+/broker/version", "+/+/+"]);
    const own = connect(world);
    own.subscribe("$SYS/#");
    world.advance(5000);
    expect(wild.packets).toEqual([]);
    expect(own.takePublishes().map((publish) => publish.topicName)).toContain("$SYS/broker/version");
    const late = connect(world);
    late.subscribe(["#", "+/broker/version"]);
    expect(late.packets).toEqual([]);
    late.subscribe("$SYS/+/version");
    expect(late.takePublishes().map((publish) => publish.topicName)).toEqual(["$SYS/broker/version"]);
  });
});

describe("4.7.3 semantics", () => {
  test("[MQTT311-4.7.3-1] an empty Topic Name closes the connection, an empty Topic Filter is refused", () => {
    const client = connect(new World());
    client.sendBytes(frame(0x30, field(""), "78"));
    expectSilentClose(client);
    expectSilentClose(new World().dial({ level, will: { topicName: "" } }));
    expectRefused("");
  });

  test("[MQTT311-4.7.3-2] U+0000 in a name or a filter closes the connection", () => {
    for (const bytes of [
      frame(0x30, field("61 00"), "78"),
      frame(0x82, "00 01", field("61 00"), "00"),
      frame(0xa2, "00 01", field("00")),
    ]) {
      const client = connect(new World());
      client.sendBytes(bytes);
      expectSilentClose(client);
    }
  });

  test("[MQTT311-4.7.3-3] names and filters of 65535 bytes work", () => {
    const topicName = "ü".repeat(32_767) + "x";
    expect(toBytes(topicName).length).toBe(65_535);
    expect(matching(topicName, [topicName, "x"])).toEqual([topicName]);
    expect(matching("+", [topicName])).toEqual([topicName]);
  });

  test.each([
    ["ACCOUNTS", "Accounts"],
    ["/finance", "finance"],
    ["\u00e9", "e\u0301"],
    ["\ufb01", "fi"],
    ["a ", "a"],
    ["a/../b", "b"],
    ["a%2fb", "a/b"],
  ])("[MQTT311-4.7.3-4] %s is not %s", (one, two) => {
    expect(matching(one, [one, two])).toEqual([one]);
    expect(matching(two, [one, two])).toEqual([two]);
  });
});
