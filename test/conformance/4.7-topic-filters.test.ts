/**
 * MQTT 5.0 section 4.7: what a Topic Name and a Topic Filter may be, and which names a filter matches, all through the
 * broker: a filter matches when a subscriber receives the message, live and retained alike.
 */
import { describe, expect, test } from "bun:test";
import { expectConnackRefusal, expectDisconnect } from "../support/refusal.ts";
import { naiveMatch } from "../support/topic-model.ts";
import { type TestClient, toBytes, toHex, toText, World } from "../support/world.ts";

/** Subscribing fails: a failure code for the filter, or the end of the connection; in no case a subscription. */
function expectRefused(client: TestClient, topicFilter: string): void {
  const filter = { topicFilter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
  if (client.closed) expect(client.take("disconnect").reasonCode).toBeOneOf([0x81, 0x82, 0x8f]);
  else expect(client.take("suback").reasonCodes).toEqual([0x8f]);
}

function received(client: TestClient): string[] {
  return client.takePublishes().map((publish) => publish.topicName);
}

/** Whether the filter brings the message to a subscriber and, retained, to a later one. */
function matches(topicFilter: string, topicName: string): boolean {
  const world = new World();
  const publisher = world.connect();
  const before = world.connect();
  expect(before.subscribe(topicFilter).reasonCodes).toEqual([2]);
  publisher.publish(topicName, "x", { retain: true });
  const after = world.connect();
  after.subscribe(topicFilter);
  const live = received(before);
  expect(received(after)).toEqual(live);
  expect(live).toEqual(live.length === 0 ? [] : [topicName]);
  return live.length === 1;
}

describe("4.7.1 wildcards", () => {
  test.each(["#", "+", "a/#", "a/+", "+/a", "a+", "a#", "a/b#c/d", "/+"])(
    "[MQTT-4.7.0-1] [MQTT-3.3.2-2] Topic Name %s is refused with 0x90 and reaches nobody",
    (topicName) => {
      const world = new World();
      const watcher = world.connect();
      watcher.subscribe("#");
      const client = world.connect();
      client.sendPublish(topicName, "x", { qos: 1 });
      expectDisconnect(client, 0x90);
      expect(watcher.packets).toEqual([]);
    },
  );

  test("[MQTT-4.7.0-1] so is a Will Topic with a wildcard, in CONNACK", () => {
    for (const topicName of ["will/#", "+", "a+b"]) {
      expectConnackRefusal(new World().dial({ will: { topicName } }), 0x90);
    }
  });

  test.each(["a#", "#a", "a/b#", "#/a", "a/#/b", "#/#", "##", "a/##", "/#/", "a/#b", "+#", "a/+#", "$share/g/a#"])(
    "[MQTT-4.7.1-1] # has to be the whole last level: %s is refused",
    (filter) => {
      const world = new World();
      expectRefused(world.connect(), filter);
      expect(world.connect().publish("a/b", "", { qos: 1 })).toBe(0x10);
    },
  );

  test.each(["a+", "+a", "a/b+/c", "++", "a/+b", "+a/b", "/++/", "a/b+", "$share/g/a+"])(
    "[MQTT-4.7.1-2] + has to be a whole level: %s is refused",
    (filter) => {
      const world = new World();
      expectRefused(world.connect(), filter);
      expect(world.connect().publish("a/b", "", { qos: 1 })).toBe(0x10);
    },
  );

  test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] the wildcards where they are allowed", () => {
    const filters = ["#", "+", "/#", "/+", "+/", "+/+", "+/#", "a/#", "a/+", "a/+/b", "+/a/+", "/+/#", "//#", "+//+"];
    expect(new World().connect().subscribe(filters).reasonCodes).toEqual(filters.map(() => 2));
  });
});

describe("4.7.1 matching", () => {
  test.each([
    [
      "sport/tennis/player1/#",
      ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/a/b"],
      ["sport/tennis", "sport/tennis/player10", "sport/tennis/player2"],
    ],
    ["sport/#", ["sport", "sport/", "sport/a", "sport//"], ["sports", "Sport", "/sport"]],
    ["#", ["a", "/", "a/b/c", "/a", "//"], []],
    [
      "sport/tennis/+",
      ["sport/tennis/player1", "sport/tennis/", "sport/tennis/player2"],
      ["sport/tennis/player1/ranking", "sport/tennis"],
    ],
    ["sport/+", ["sport/", "sport/a"], ["sport", "sport/a/", "sport/a/b"]],
    ["+/+", ["/finance", "a/b", "/", "a/"], ["finance", "a/b/c", "//"]],
    ["/+", ["/finance", "/"], ["finance", "//", "a/b"]],
    ["+", ["finance", "a"], ["/finance", "/", "a/"]],
    ["+/tennis/#", ["a/tennis", "/tennis", "a/tennis/b/c"], ["tennis", "a/b/tennis"]],
    ["sport/+/player1", ["sport/tennis/player1", "sport//player1"], ["sport/player1", "sport/a/b/player1"]],
    ["a//b", ["a//b"], ["a/b", "a///b", "a/x/b"]],
    ["/a", ["/a"], ["a", "//a", "/a/"]],
    ["a/", ["a/"], ["a", "a//"]],
    ["/", ["/"], ["//", "a", "a/"]],
    ["//", ["//"], ["/", "///"]],
    ["+//#", ["//", "a//", "a//b", "//b/c", "a/"], ["a", "/a", "a/b/c"]],
  ] as const)("[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-4] filter %s", (filter, matching, others) => {
    for (const topicName of matching) expect([topicName, matches(filter, topicName)]).toEqual([topicName, true]);
    for (const topicName of others) expect([topicName, matches(filter, topicName)]).toEqual([topicName, false]);
  });

  test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] every filter of up to three levels against every name of up to three levels", () => {
    const levels = (alphabet: string[]) => {
      const one = alphabet;
      const two = one.flatMap((a) => alphabet.map((b) => `${a}/${b}`));
      return [...one, ...two, ...two.flatMap((a) => alphabet.map((b) => `${a}/${b}`))].filter((text) => text !== "");
    };
    const filters = levels(["", "a", "b", "+", "#"]).filter((filter) => !/#./.test(filter));
    const names = levels(["", "a", "b"]);
    const world = new World();
    const subscribers = filters.map((filter) => {
      const client = world.connect();
      client.subscribe(filter, { qos: 0 });
      return client;
    });
    const publisher = world.connect();
    for (const topicName of names) {
      publisher.publish(topicName);
      const got = filters.filter((_, index) => received(subscribers[index]!).length === 1);
      expect([topicName, got]).toEqual([topicName, filters.filter((filter) => naiveMatch(filter, topicName))]);
    }
  });
});

describe("4.7.2 topics beginning with $", () => {
  const config = { sysIntervalMs: 1000, version: "1.2.3" };
  const VERSION = "$SYS/broker/version";

  test.each(["#", "+/#", "+/broker/version", "+/+/+", "+/broker/#", "$share/g/#", "$share/g/+/broker/version"])(
    "[MQTT-4.7.2-1] %s brings no $SYS message, live or retained",
    (filter) => {
      const world = new World({ config });
      const live = world.connect();
      live.subscribe(filter);
      world.advance(5000);
      expect(received(live)).toEqual([]);
      const late = world.connect();
      late.subscribe(filter);
      expect(received(late)).toEqual([]);
    },
  );

  test.each(["$SYS/#", "$SYS/broker/#", "$SYS/broker/+", "$SYS/+/version", VERSION])(
    "[MQTT-4.7.2-1] %s, which begins with $SYS itself, does",
    (filter) => {
      const world = new World({ config });
      world.advance(5000);
      const client = world.connect();
      client.subscribe(filter);
      expect(received(client)).toContain(VERSION);
    },
  );

  test("[MQTT-4.7.2-1] a $ further back is an ordinary character", () => {
    expect(matches("#", "a/$b")).toBe(true);
    expect(matches("a/+", "a/$b")).toBe(true);
    expect(matches("+/$SYS", "a/$SYS")).toBe(true);
    expect(matches("+", "a$")).toBe(true);
  });
});

describe("4.7.3 semantics", () => {
  test("[MQTT-4.7.3-1] an empty Topic Filter is refused", () => {
    for (const filter of ["", "$share/g/"]) expectRefused(new World().connect(), filter);
  });

  test("[MQTT-4.7.3-1] an empty Topic Name without Topic Alias is a Protocol Error, an empty Will Topic too", () => {
    const world = new World();
    const watcher = world.connect();
    watcher.subscribe("#");
    const client = world.connect();
    client.sendPublish("", "x", { qos: 1 });
    expectDisconnect(client, 0x82);
    expect(watcher.packets).toEqual([]);
    const dialled = world.dial({ will: { topicName: "" } });
    expect(dialled.take("connack").reasonCode).toBeOneOf([0x81, 0x82, 0x90]);
    expect(dialled.closed).toBe(true);
  });

  test("[MQTT-4.7.3-2] U+0000 in a Topic Name, a Topic Filter or a Will Topic is malformed", () => {
    const publisher = new World().connect();
    publisher.sendBytes("30 06 00 03 61 00 62 00");
    expectDisconnect(publisher, 0x81);
    const subscriber = new World().connect();
    subscriber.sendBytes("82 09 00 01 00 00 03 61 00 62 00");
    expectDisconnect(subscriber, 0x81);
    const unsubscriber = new World().connect();
    unsubscriber.sendBytes("a2 08 00 01 00 00 03 61 00 62");
    expectDisconnect(unsubscriber, 0x81);
    const dialled = new World().open();
    dialled.sendBytes("10 17 00 04 4d 51 54 54 05 06 00 00 00 00 01 63 00 00 03 61 00 62 00 01 78");
    expectConnackRefusal(dialled, 0x81);
  });

  test("[MQTT-4.7.3-3] a name and a filter of 65535 bytes work, multi-byte characters and all", () => {
    const world = new World();
    for (const topicName of ["x".repeat(65_535), "ü".repeat(32_767) + "x", "\u{1F600}".repeat(16_383) + "xyz"]) {
      expect(toBytes(topicName).length).toBe(65_535);
      const client = world.connect();
      expect(client.subscribe(topicName, { qos: 1 }).reasonCodes).toEqual([1]);
      expect(world.connect().publish(topicName, "x", { qos: 1, retain: true })).toBe(0);
      expect(received(client)).toEqual([topicName]);
      const late = world.connect();
      late.subscribe("+");
      expect(received(late)).toContain(topicName);
    }
  });

  test("[MQTT-4.7.3-4] names are compared as they are: case, spaces, accents, width, controls", () => {
    const different = [
      ["ACCOUNTS", "Accounts"],
      ["Accounts payable", "Accounts  payable"],
      ["a", "a "],
      ["a", " a"],
      ["\u00e9", "e\u0301"],
      ["\ufb01", "fi"],
      ["\u212b", "\u00c5"],
      ["\uff41", "a"],
      ["\ufeffa", "a"],
      ["a\u200db", "ab"],
      ["\u0130", "i"],
      ["a\u0001", "a"],
      ["/finance", "finance"],
      ["a/b/", "a/b"],
      ["a/./b", "a/b"],
      ["a/../b", "b"],
      ["a%2Fb", "a/b"],
      ["a\\b", "a/b"],
      ["toString", "constructor"],
    ] as const;
    for (const [one, two] of different) {
      expect([one, matches(one, one), matches(one, two), matches(two, one)]).toEqual([one, true, false, false]);
    }
  });

  // Pairs of equal 32-bit FNV-1a hashes: what is looked up by a hash has to be compared as well.
  test.each([
    ["costarring", "liquid"],
    ["kzpehb", "pubdra"],
    ["wnygqf", "yjttwv"],
  ])("[MQTT-4.7.3-4] %s and %s are told apart, as names and as levels", (one, two) => {
    const world = new World();
    const [first, second] = [world.connect(), world.connect()];
    for (const [client, word] of [[first, one] as const, [second, two] as const]) {
      client.subscribe([word, `a/${word}`, `${word}/b`]);
    }
    const publisher = world.connect();
    for (let round = 0; round < 2; round++) {
      for (const word of [one, two, one]) {
        for (const topicName of [word, `a/${word}`, `${word}/b`]) publisher.publish(topicName, "", { retain: true });
      }
      expect(received(first)).toEqual([one, `a/${one}`, `${one}/b`, one, `a/${one}`, `${one}/b`]);
      expect(received(second)).toEqual([two, `a/${two}`, `${two}/b`]);
    }
    expect(matches(one, two)).toBe(false);
  });

  test("[MQTT-4.7.3-4] the bytes of a name go out as they came in", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("#", { qos: 0 });
    const topicName = "\ufeff\u{10ffff} e\u0301/\ufffd\u0001";
    world.connect().publish(topicName, "x");
    expect(toHex(client.bytes)).toContain(toHex(toBytes(topicName)));
    expect(received(client)).toEqual([topicName]);
  });

  test("names of object properties are ordinary levels", () => {
    for (const topicName of ["__proto__", "constructor/prototype", "hasOwnProperty", "a/__proto__/b"]) {
      expect(matches(topicName, topicName)).toBe(true);
      expect(matches("+/#", topicName)).toBe(true);
      expect(matches("nothing/#", topicName)).toBe(false);
    }
  });

  test("the payload is no part of the match", () => {
    const world = new World();
    const client = world.connect();
    client.subscribe("a");
    world.connect().publish("b", "a");
    world.connect().publish("a", "b");
    expect(client.takePublishes().map((publish) => toText(publish.payload))).toEqual(["b"]);
  });
});
