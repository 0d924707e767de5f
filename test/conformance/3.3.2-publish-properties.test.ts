/** PUBLISH variable header: Topic Name and the properties that travel end to end (MQTT 5.0 section 3.3.2). */
import { expect, test } from "bun:test";
import type { Properties } from "../../src/core/codec/property.ts";
import { expectDisconnect, LEVELS, leaveSession, rawPublish, resume, texts } from "../support/publish-dialogue.ts";
import { toBytes, toHex, World } from "../support/world.ts";

const ILL_FORMED = ["c3 28", "ed a0 80", "61 00 62", "f4 90 80 80", "c0 af", "e2 82"];

/** What a subscriber gets of a message with these properties: live, retained, and after waiting for a session. */
function forwarded(properties: Properties, payload: string | Uint8Array = "x"): Properties[] {
  const world = new World();
  leaveSession(world, "away", "a", 1);
  const live = world.connect();
  live.subscribe("a");
  world.connect().publish("a", payload, { qos: 1, retain: true, properties });
  const late = world.connect();
  late.subscribe("a");
  return [live, late, resume(world, "away")].map((client) => client.take("publish").properties);
}

for (const level of LEVELS) {
  test(`[MQTT-3.3.2-1] [MQTT311-3.3.2-1] an ill-formed Topic Name is malformed (level ${level})`, () => {
    for (const topicName of ILL_FORMED) {
      const world = new World();
      const subscriber = world.connect();
      subscriber.subscribe("#");
      const publisher = world.connect({ level });
      const length = topicName.split(" ").length;
      const bytes = `30 0${length + (level === 5 ? 3 : 2)} 00 0${length} ${topicName}`;
      publisher.sendBytes(level === 5 ? `${bytes} 00` : bytes);
      expectDisconnect(publisher, 0x81);
      expect(subscriber.packets).toEqual([]);
    }
  });

  test(`[MQTT-3.3.2-1] [MQTT311-3.3.2-1] the Topic Name comes first in what is sent, as UTF-8 (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe("#", { qos: 0 });
    subscriber.bytes.length = 0;
    world.connect().publish("é/𝄞", "x");
    expect(toHex(subscriber.bytes)).toBe(
      level === 5 ? "30 0b 00 07 c3 a9 2f f0 9d 84 9e 00 78" : "30 0a 00 07 c3 a9 2f f0 9d 84 9e 78",
    );
  });

  test(`[MQTT-3.3.2-2] [MQTT311-3.3.2-2] a wildcard in a Topic Name closes the connection (level ${level})`, () => {
    for (const topicName of ["#", "a/#", "+", "a/+/b", "a+", "a#b"]) {
      for (const qos of [0, 1, 2] as const) {
        const world = new World();
        const subscriber = world.connect();
        subscriber.subscribe("#");
        const publisher = world.connect({ level });
        publisher.sendPublish(topicName, "x", { qos, retain: true });
        expectDisconnect(publisher, 0x90);
        expect(subscriber.packets).toEqual([]);
      }
    }
  });

  test(`[MQTT-3.3.2-3] [MQTT311-3.3.2-3] only what matches a filter arrives, under its own name (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe(["a/+", "b/#", "c"]);
    const publisher = world.connect({ level });
    const published = ["a", "a/x", "a/x/y", "b", "b/x/y", "c", "C", "c/", "/c", "d"];
    for (const topicName of published) publisher.publish(topicName, topicName, { qos: 1 });
    const received = subscriber.takePublishes();
    expect(texts(received)).toEqual(["a/x", "b", "b/x/y", "c"]);
    expect(received.map((publish) => publish.topicName)).toEqual(texts(received));
  });
}

test("(3.3.2.1) an empty Topic Name without a Topic Alias is a Protocol Error", () => {
  const publisher = new World().connect();
  publisher.sendPublish("", "x");
  expectDisconnect(publisher, 0x82);
});

test("[MQTT-3.3.2-4] the Payload Format Indicator is passed on unchanged: 1, 0 or absent", () => {
  for (const payloadFormatIndicator of [0, 1]) {
    for (const properties of forwarded({ payloadFormatIndicator }))
      expect(properties).toEqual({ payloadFormatIndicator });
  }
  for (const properties of forwarded({})) expect(properties).toEqual({});
  const binary = new Uint8Array([0xff, 0xfe, 0x00]);
  for (const properties of forwarded({ payloadFormatIndicator: 0 }, binary)) {
    expect(properties).toEqual({ payloadFormatIndicator: 0 });
  }
});

test("[MQTT-3.3.2-13] an ill-formed Response Topic is malformed", () => {
  for (const string of ILL_FORMED) {
    const publisher = new World().connect();
    publisher.sendBytes(rawPublish("61", `08 000${string.split(" ").length} ${string}`));
    expectDisconnect(publisher, 0x81);
  }
});

test("[MQTT-3.3.2-14] a Response Topic with a wildcard is a Protocol Error", () => {
  for (const responseTopic of ["#", "a/+", "a/+/b", "a#"]) {
    const world = new World();
    const subscriber = world.connect();
    subscriber.subscribe("#");
    const publisher = world.connect();
    publisher.sendPublish("a", "x", { qos: 1, properties: { responseTopic } });
    expectDisconnect(publisher, 0x82);
    expect(subscriber.packets).toEqual([]);
  }
});

test("[MQTT-3.3.2-15] the Response Topic is passed on unchanged", () => {
  for (const responseTopic of ["answers/client 1", "$x/é𝄞", "/", "\ufeffbom"]) {
    for (const properties of forwarded({ responseTopic })) expect(properties).toEqual({ responseTopic });
  }
});

test("[MQTT-3.3.2-16] Correlation Data are passed on unchanged, whatever the bytes", () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, at) => at);
  for (const correlationData of [everyByte, new Uint8Array(0), new Uint8Array(5000).fill(0xff)]) {
    for (const properties of forwarded({ correlationData })) expect(properties).toEqual({ correlationData });
  }
});

test("[MQTT-3.3.2-17] [MQTT-3.3.2-18] all User Properties are passed on, repeated names too, in their order", () => {
  const userProperties: [string, string][] = [
    ["z", "1"],
    ["a", "2"],
    ["z", "3"],
    ["", ""],
    ["z", "1"],
    ["é", "𝄞"],
  ];
  for (const properties of forwarded({ userProperties })) expect(properties).toEqual({ userProperties });
});

test("[MQTT-3.3.2-19] an ill-formed Content Type is malformed", () => {
  for (const string of ILL_FORMED) {
    const publisher = new World().connect();
    publisher.sendBytes(rawPublish("61", `03 000${string.split(" ").length} ${string}`));
    expectDisconnect(publisher, 0x81);
  }
});

test("[MQTT-3.3.2-20] the Content Type is passed on unchanged", () => {
  for (const contentType of ["application/json; charset=utf-8", "", "é𝄞"]) {
    for (const properties of forwarded({ contentType })) expect(properties).toEqual({ contentType });
  }
});

test("[MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20] all of them together", () => {
  const all: Properties = {
    payloadFormatIndicator: 1,
    contentType: "text/plain",
    responseTopic: "answers",
    correlationData: toBytes("id"),
    userProperties: [["k", "v"]],
  };
  for (const properties of forwarded({ ...all, messageExpiryInterval: 100 })) {
    expect(properties).toEqual({ ...all, messageExpiryInterval: 100 });
  }
});

test("(3.3.2.3) properties that a PUBLISH cannot have, or not twice, or not with this value", () => {
  const cases: readonly (readonly [propertiesHex: string, reasonCode: number])[] = [
    ["01 02", 0x82], // Payload Format Indicator 2
    ["01 00 01 00", 0x82],
    ["02 00000001 02 00000001", 0x82],
    ["03 0001 61 03 0001 61", 0x82],
    ["08 0001 61 08 0001 61", 0x82],
    ["09 0001 61 09 0001 61", 0x82],
    ["23 0001 23 0001", 0x82],
    ["7f 00", 0x81], // no such property
    ["11 00000001", 0x81], // Session Expiry Interval: not in PUBLISH
    ["1f 0001 61", 0x81], // Reason String: not in PUBLISH
    ["02 0001", 0x81], // ends within the value
    ["26 0001 61", 0x81], // a name without a value
    ["26 0001 61 0002 c328", 0x81],
  ];
  for (const [propertiesHex, reasonCode] of cases) {
    const world = new World();
    const subscriber = world.connect();
    subscriber.subscribe("#");
    const publisher = world.connect();
    publisher.sendBytes(rawPublish("61", propertiesHex));
    expectDisconnect(publisher, reasonCode);
    expect(subscriber.packets).toEqual([]);
  }
});

test("(3.3.2.3) a message crosses protocol levels: properties go, payload stays", () => {
  const world = new World();
  const old = world.connect({ level: 4 });
  old.subscribe("a");
  const recent = world.connect();
  recent.subscribe("a");
  recent.publish("a", "from 5", { qos: 1, properties: { contentType: "text/plain", messageExpiryInterval: 9 } });
  old.publish("a", "from 4", { qos: 1 });
  expect(texts(old.takePublishes())).toEqual(["from 5", "from 4"]);
  const received = recent.takePublishes();
  expect(texts(received)).toEqual(["from 5", "from 4"]);
  expect(received[1]?.properties).toEqual({});
});
