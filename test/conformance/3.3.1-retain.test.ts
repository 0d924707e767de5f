/** RETAIN: the retained store, Retain Handling, Retain As Published (MQTT 5.0 section 3.3.1.3, MQTT 3.1.1 section 3.3.1.3). */
import { expect, test } from "bun:test";
import { LEVELS, resume, texts } from "../support/publish-dialogue.ts";
import { World } from "../support/world.ts";

/** The retained payloads of a filter, as a newcomer sees them. */
function retained(world: World, topicFilter: string): string[] {
  const reader = world.connect();
  reader.subscribe(topicFilter);
  const found = reader.takePublishes();
  expect(found.map((publish) => publish.retain)).toEqual(found.map(() => true));
  reader.disconnect();
  return texts(found);
}

for (const level of LEVELS) {
  test(`[MQTT-3.3.1-5] [MQTT311-3.3.1-5] [MQTT311-3.3.1-6] RETAIN 1 stores, and replaces what the topic had (level ${level})`, () => {
    const world = new World();
    const publisher = world.connect({ level });
    publisher.publish("a/1", "old", { qos: 1, retain: true });
    publisher.publish("a/1", "new", { qos: 2, retain: true });
    publisher.publish("a/2", "other", { qos: 1, retain: true });
    publisher.disconnect();
    const reader = world.connect({ level });
    reader.subscribe("a/+");
    const found = reader.takePublishes().map((publish) => [publish.topicName, ...texts([publish]), publish.qos]);
    expect(found.sort()).toEqual([
      ["a/1", "new", 2],
      ["a/2", "other", 1],
    ]);
  });

  test(`[MQTT-3.3.1-5] [MQTT311-3.3.1-7] a retained QoS 0 message replaces one of a higher QoS (level ${level})`, () => {
    const world = new World();
    const publisher = world.connect({ level });
    publisher.publish("a", "two", { qos: 2, retain: true });
    publisher.publish("a", "zero", { qos: 0, retain: true });
    expect(retained(world, "a")).toEqual(["zero"]);
  });

  test(`[MQTT-3.3.1-6] [MQTT311-3.3.1-10] an empty retained payload is delivered and deletes (level ${level})`, () => {
    for (const qos of [0, 1, 2] as const) {
      const world = new World();
      const publisher = world.connect({ level });
      publisher.publish("a", "kept", { qos: 1, retain: true });
      publisher.publish("b", "stays", { qos: 1, retain: true });
      const established = world.connect({ level });
      established.subscribe("a");
      established.takePublishes();
      publisher.publish("a", "", { qos, retain: true });
      const [deletion, ...more] = established.takePublishes();
      expect(more).toEqual([]);
      expect([deletion?.topicName, deletion?.payload.length, deletion?.qos, deletion?.retain]).toEqual([
        "a",
        0,
        qos,
        false,
      ]);
      expect(retained(world, "#")).toEqual(["stays"]);
    }
  });

  test(`[MQTT-3.3.1-7] [MQTT311-3.3.1-11] an empty payload is never stored (level ${level})`, () => {
    const world = new World({ limits: { retainedMessagesMax: 1 } });
    const publisher = world.connect({ level });
    publisher.publish("a", "", { qos: 1, retain: true });
    expect(retained(world, "#")).toEqual([]);
    publisher.publish("b", "the one", { qos: 1, retain: true });
    expect(retained(world, "#")).toEqual(["the one"]);
  });

  test(`[MQTT-3.3.1-8] [MQTT311-3.3.1-12] RETAIN 0 neither stores, replaces nor deletes (level ${level})`, () => {
    const world = new World();
    const publisher = world.connect({ level });
    publisher.publish("a", "kept", { qos: 1, retain: true });
    publisher.publish("a", "passing", { qos: 1 });
    publisher.publish("a", "", { qos: 1 });
    publisher.publish("b", "passing", { qos: 1 });
    expect(retained(world, "#")).toEqual(["kept"]);
  });

  test(`[MQTT-3.3.1-9] [MQTT311-3.3.1-6] [MQTT311-3.3.1-8] every SUBSCRIBE brings the matching ones, RETAIN 1 (level ${level})`, () => {
    const world = new World();
    world.connect({ level }).publish("a/b", "kept", { qos: 1, retain: true });
    const reader = world.connect({ level });
    for (const topicFilter of ["a/b", "a/b", "a/#", "+/b"]) {
      reader.subscribe(topicFilter);
      expect(reader.takePublishes().map((publish) => [publish.retain, publish.dup])).toEqual([[true, false]]);
    }
    reader.subscribe(["c", "a"]);
    expect(reader.packets).toEqual([]);
  });

  test(`[MQTT-3.3.1-12] [MQTT311-3.3.1-9] an established subscription sees RETAIN 0 (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe("a", { retainAsPublished: false });
    const publisher = world.connect({ level });
    publisher.publish("a", "1", { qos: 1, retain: true });
    publisher.publish("a", "2", { qos: 0, retain: true });
    publisher.publish("a", "3", { qos: 1 });
    const seen = subscriber.takePublishes();
    expect(texts(seen)).toEqual(["1", "2", "3"]);
    expect(seen.map((publish) => publish.retain)).toEqual([false, false, false]);
  });
}

test("[MQTT-3.3.1-9] SUBACK comes first, then the retained messages at no more than the granted QoS", () => {
  const world = new World();
  world.connect().publish("a", "kept", { qos: 2, retain: true });
  const reader = world.connect();
  for (const qos of [0, 1, 2] as const) {
    const filter = { topicFilter: "a", qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    reader.send({ type: "subscribe", packetId: 9, filters: [filter], properties: {} });
    expect(reader.take("suback").reasonCodes).toEqual([qos]);
    expect(reader.takePublishes().map((publish) => publish.qos)).toEqual([qos]);
  }
});

test("[MQTT-3.3.1-10] Retain Handling 1 sends them to a new subscription", () => {
  const world = new World();
  world.connect().publish("a", "kept", { qos: 1, retain: true });
  const reader = world.connect();
  reader.subscribe("a", { retainHandling: 1 });
  expect(texts(reader.takePublishes())).toEqual(["kept"]);
  reader.subscribe("a", { retainHandling: 1, qos: 1 });
  expect(reader.packets).toEqual([]);
  reader.subscribe("+", { retainHandling: 1 });
  expect(texts(reader.takePublishes())).toEqual(["kept"]);
  reader.unsubscribe("a");
  reader.subscribe("a", { retainHandling: 1 });
  expect(texts(reader.takePublishes())).toEqual(["kept"]);
});

test("[MQTT-3.3.1-10] Retain Handling 1: a subscription that the session kept is not new", () => {
  const world = new World();
  world.connect().publish("a", "kept", { qos: 1, retain: true });
  const first = resume(world, "reader");
  first.subscribe("a", { retainHandling: 1 });
  expect(texts(first.takePublishes())).toEqual(["kept"]);
  first.drop();
  const second = resume(world, "reader");
  expect(second.packets).toEqual([]);
  second.subscribe("a", { retainHandling: 1 });
  expect(second.packets).toEqual([]);
  second.drop();
  const third = resume(world, "reader", { cleanStart: true });
  third.subscribe("a", { retainHandling: 1 });
  expect(texts(third.takePublishes())).toEqual(["kept"]);
});

test("[MQTT-3.3.1-11] Retain Handling 2 sends none, new subscription or not", () => {
  const world = new World();
  const publisher = world.connect();
  publisher.publish("a", "kept", { qos: 1, retain: true });
  const reader = world.connect();
  reader.subscribe("a", { retainHandling: 2 });
  reader.subscribe("a", { retainHandling: 2 });
  expect(reader.packets).toEqual([]);
  publisher.publish("a", "live", { qos: 1 });
  expect(texts(reader.takePublishes())).toEqual(["live"]);
});

test("[MQTT-3.3.1-10] [MQTT-3.3.1-11] one SUBSCRIBE may mix Retain Handling: each filter has its own", () => {
  const world = new World();
  const publisher = world.connect();
  for (const topicName of ["a", "b", "c"]) publisher.publish(topicName, topicName, { qos: 1, retain: true });
  const reader = world.connect();
  reader.subscribe("b");
  reader.takePublishes();
  const options = { qos: 1, noLocal: false, retainAsPublished: false } as const;
  const filters = [
    { ...options, topicFilter: "a", retainHandling: 0 },
    { ...options, topicFilter: "b", retainHandling: 1 },
    { ...options, topicFilter: "c", retainHandling: 2 },
  ] as const;
  reader.send({ type: "subscribe", packetId: 77, filters: [...filters], properties: {} });
  expect(reader.take("suback").reasonCodes).toEqual([1, 1, 1]);
  expect(texts(reader.takePublishes())).toEqual(["a"]);
});

test("[MQTT-3.3.1-13] Retain As Published 1 forwards RETAIN as it came", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("a", { retainAsPublished: true });
  const publisher = world.connect();
  publisher.publish("a", "1", { qos: 1, retain: true });
  publisher.publish("a", "2", { qos: 1 });
  publisher.publish("a", "3", { qos: 0, retain: true });
  publisher.publish("a", "", { qos: 1, retain: true });
  expect(subscriber.takePublishes().map((publish) => publish.retain)).toEqual([true, false, true, true]);
});

test("[MQTT-3.3.1-12] [MQTT-3.3.1-13] Retain As Published is kept for messages that wait for the session", () => {
  const world = new World();
  for (const retainAsPublished of [false, true]) {
    const clientId = `reader ${retainAsPublished}`;
    const reader = resume(world, clientId);
    reader.subscribe("a", { retainAsPublished, retainHandling: 2 });
    reader.drop();
    world.connect().publish("a", "x", { qos: 1, retain: true });
    expect(
      resume(world, clientId)
        .takePublishes()
        .map((publish) => publish.retain),
    ).toEqual([retainAsPublished]);
  }
});

test("[MQTT-3.3.1-9] Retain As Published 0 does not clear RETAIN on what a new subscription brings", () => {
  const world = new World();
  world.connect().publish("a", "kept", { qos: 1, retain: true });
  for (const retainAsPublished of [false, true]) {
    const reader = world.connect();
    reader.subscribe("a", { retainAsPublished });
    expect(reader.takePublishes().map((publish) => publish.retain)).toEqual([true]);
  }
});

test("[MQTT-3.3.1-5] a retained message outlives the session of its publisher and keeps its properties", () => {
  const world = new World();
  const publisher = world.connect();
  const properties = {
    payloadFormatIndicator: 1,
    contentType: "text/plain",
    responseTopic: "answers",
    correlationData: new Uint8Array([1, 2, 3]),
    userProperties: [["k", "v"]] as [string, string][],
  };
  publisher.publish("a", "kept", { qos: 1, retain: true, properties });
  publisher.disconnect();
  const reader = world.connect();
  reader.subscribe("a");
  expect(reader.take("publish").properties).toEqual(properties);
});

test("[MQTT-3.3.1-6] deleting a topic's retained message leaves those above and below it", () => {
  const world = new World();
  const publisher = world.connect();
  const topicNames = ["a", "a/b", "a/b/c", "a/b/c/d", "/", "a/", "a//c"];
  for (const topicName of topicNames) publisher.publish(topicName, topicName, { qos: 1, retain: true });
  const left = new Set(topicNames);
  for (const topicName of ["a/b", "a/b/c/d", "a//c", "a", "/", "a/b/c", "a/"]) {
    publisher.publish(topicName, "", { qos: 1, retain: true });
    left.delete(topicName);
    expect(retained(world, "#").sort()).toEqual([...left].sort());
    expect(retained(world, "a/b/#").sort()).toEqual([...left].filter((name) => name.startsWith("a/b")).sort());
  }
});

for (const qos of [1, 2] as const) {
  test(`[MQTT-3.3.1-9] all of them arrive, whatever the window and the bounds of the queue (QoS ${qos})`, () => {
    const world = new World({ limits: { queueMessagesMax: 3, queueBytesMax: 10_000 } });
    const publisher = world.connect();
    const payload = "x".repeat(3000);
    for (let at = 0; at < 20; at++) publisher.publish(`a/${at}`, payload, { qos: 2, retain: true });
    for (const receiveMaximum of [1, 5, 65_535]) {
      const reader = world.connect({ properties: { receiveMaximum } });
      reader.subscribe("a/+", { qos });
      expect(reader.packets.length).toBeLessThanOrEqual(receiveMaximum);
      const found = reader.takePublishes();
      expect(new Set(found.map((publish) => publish.topicName)).size).toBe(20);
      expect(found.map((publish) => [publish.qos, publish.retain, publish.dup])).toEqual(
        Array(20).fill([qos, true, false]),
      );
    }
  });
}

test("[MQTT-3.3.1-9] [MQTT-4.6.0-5] what was replaced or deleted before its turn does not arrive after its successor", () => {
  const world = new World();
  const publisher = world.connect();
  for (const topicName of ["1", "2", "3", "4"]) publisher.publish(topicName, "old", { qos: 1, retain: true });
  const reader = world.connect({ properties: { receiveMaximum: 1 } });
  reader.subscribe("+", { qos: 1 });
  const first = reader.packets[0];
  if (first?.type !== "publish") throw new Error("no retained message");
  const others = ["1", "2", "3", "4"].filter((topicName) => topicName !== first.topicName);
  publisher.publish(others[0]!, "new", { qos: 1, retain: true });
  publisher.publish(others[1]!, "", { qos: 1, retain: true });
  const last = new Map<string, string>();
  for (const publish of reader.takePublishes()) last.set(publish.topicName, texts([publish])[0]!);
  expect(others.map((topicName) => last.get(topicName))).toEqual(["new", "", "old"]);
});

test("[MQTT-3.3.2-5] a retained message that expires before its turn does not arrive", () => {
  const world = new World();
  const publisher = world.connect();
  for (const topicName of ["1", "2", "3"]) {
    const properties = { messageExpiryInterval: 5 };
    publisher.publish(topicName, "short", { qos: 1, retain: true, properties });
  }
  const reader = world.connect({ properties: { receiveMaximum: 1 } });
  reader.subscribe("+", { qos: 1 });
  world.advance(5_000);
  expect(reader.takePublishes()).toHaveLength(1);
});
