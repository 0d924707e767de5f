/** Message ordering: per publisher, topic and QoS, for every ordinary subscription (MQTT 5.0 section 4.6). */
import { expect, test } from "bun:test";
import { acknowledge, LEVELS, outline, resume, takeUnacknowledged, texts } from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `${from + at}`);

/** Publishes the numbers in this order, at this QoS. */
function publishAll(publisher: TestClient, topicName: string, list: readonly string[], qos: 0 | 1 | 2): void {
  for (const text of list) publisher.publish(topicName, text, { qos });
}

for (const level of LEVELS) {
  for (const qos of [0, 1, 2] as const) {
    test(`[MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6] order is kept, whatever the filter (level ${level}, QoS ${qos})`, () => {
      const world = new World();
      const subscribers = ["a/b", "a/+", "#"].map((topicFilter) => {
        const client = world.connect({ level, properties: level === 5 ? { receiveMaximum: 3 } : {} });
        client.subscribe(topicFilter);
        return client;
      });
      publishAll(world.connect({ level }), "a/b", numbers(1, 40), qos);
      for (const client of subscribers) expect(texts(client.takePublishes())).toEqual(numbers(1, 40));
    });
  }

  for (const qos of [1, 2] as const) {
    test(`[MQTT-4.6.0-5] [MQTT311-4.6.0-6] what waited comes before what is published later (level ${level}, QoS ${qos})`, () => {
      const world = new World();
      const publisher = world.connect();
      const first = resume(world, "subscriber", { level });
      first.subscribe("a", { qos });
      publishAll(publisher, "a", numbers(1, 3), qos);
      expect(texts(takeUnacknowledged(first))).toEqual(numbers(1, 3));
      first.drop();
      publishAll(publisher, "a", numbers(4, 6), qos);
      const second = resume(world, "subscriber", { level });
      publishAll(publisher, "a", numbers(7, 9), qos);
      expect(texts(second.takePublishes())).toEqual(numbers(1, 9));
    });

    test(`[MQTT-4.6.0-5] [MQTT311-4.6.0-6] a place that becomes free goes to the oldest (level ${level}, QoS ${qos})`, () => {
      const world = new World({ limits: { inflightMax: 2 } });
      const subscriber = world.connect({ level });
      subscriber.subscribe("a", { qos });
      const publisher = world.connect();
      const seen: string[] = [];
      for (let at = 1; at <= 20; at++) {
        publisher.publish("a", `${at}`, { qos });
        if (at % 4 === 0) seen.push(...texts(subscriber.takePublishes()));
      }
      expect(seen).toEqual(numbers(1, 20));
    });

    test(`[MQTT-4.6.0-5] lost connections do not change the order (level ${level}, QoS ${qos})`, () => {
      const world = new World({ limits: { inflightMax: 4 } });
      const publisher = world.connect();
      let subscriber = resume(world, "subscriber", { level });
      subscriber.subscribe("a", { qos });
      publishAll(publisher, "a", numbers(1, 12), qos);
      const firstSeen: string[] = [];
      for (let round = 0; round < 12; round++) {
        const received = takeUnacknowledged(subscriber);
        for (const text of texts(received)) if (!firstSeen.includes(text)) firstSeen.push(text);
        const oldest = received[0];
        if (oldest !== undefined) {
          acknowledge(subscriber, qos === 1 ? "puback" : "pubrec", oldest.packetId);
          if (qos === 2) acknowledge(subscriber, "pubcomp", oldest.packetId);
        }
        subscriber.drop();
        subscriber = resume(world, "subscriber", { level });
      }
      firstSeen.push(...texts(subscriber.takePublishes()).filter((text) => !firstSeen.includes(text)));
      expect(firstSeen).toEqual(numbers(1, 12));
    });
  }

  test(`[MQTT-4.6.0-5] [MQTT311-4.6.0-6] publishers and topics that interleave each keep their order (level ${level})`, () => {
    const world = new World();
    const subscriber = world.connect({ level });
    subscriber.subscribe("#");
    const publishers = [world.connect(), world.connect({ level: 4 }), world.connect()];
    for (let at = 1; at <= 30; at++) {
      for (const [who, publisher] of publishers.entries()) {
        publisher.publish(`t${at % 2}`, `${who} ${at}`, { qos: ((at >> 1) % 3) as 0 | 1 | 2 });
      }
    }
    const streams = new Map<string, number[]>();
    for (const publish of subscriber.takePublishes()) {
      const [who, at] = texts([publish])[0]!.split(" ");
      const stream = `${who} ${publish.topicName} ${publish.qos}`;
      streams.set(stream, [...(streams.get(stream) ?? []), Number(at)]);
    }
    expect(streams.size).toBe(18);
    for (const list of streams.values()) {
      expect(list).toHaveLength(5);
      expect(list).toEqual([...list].sort((a, b) => a - b));
    }
  });
}

test("[MQTT-4.6.0-5] one read with many PUBLISH packets is taken in its order", () => {
  const world = new World();
  const subscriber = world.connect({ properties: { receiveMaximum: 5 } });
  subscriber.subscribe("a");
  const publisher = world.connect();
  const packets = numbers(1, 20).map((text, at) => ({
    type: "publish" as const,
    dup: false,
    qos: 1 as const,
    retain: false,
    topicName: "a",
    packetId: at + 1,
    payload: new TextEncoder().encode(text),
    properties: {},
  }));
  publisher.send(...packets);
  expect(outline(publisher.takeAll())).toEqual(numbers(1, 20).map((text) => `puback ${text}`));
  expect(texts(subscriber.takePublishes())).toEqual(numbers(1, 20));
});

test("[MQTT-4.6.0-5] a publisher that sends again in its order is passed on in its order", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const first = resume(world, "publisher");
  for (const packetId of [1, 2, 3]) first.sendPublish("a", `${packetId}`, { qos: 2, packetId });
  first.drop();
  const second = resume(world, "publisher");
  for (const packetId of [1, 2, 3, 4]) second.sendPublish("a", `${packetId}`, { qos: 2, packetId, dup: packetId < 4 });
  expect(outline(second.takeAll())).toEqual(["pubrec 1", "pubrec 2", "pubrec 3", "pubrec 4"]);
  expect(texts(subscriber.takePublishes())).toEqual(["1", "2", "3", "4"]);
});

test("(4.6) the broker's own acknowledgements keep the order of the packets", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("b");
  for (const packetId of [7, 3, 5]) client.sendPublish("a", "", { qos: 1, packetId });
  expect(outline(client.takeAll())).toEqual(["puback 7", "puback 3", "puback 5"]);
  for (const packetId of [7, 3, 5]) client.sendPublish("a", "", { qos: 2, packetId });
  expect(outline(client.takeAll())).toEqual(["pubrec 7", "pubrec 3", "pubrec 5"]);
  for (const packetId of [5, 7, 3]) acknowledge(client, "pubrel", packetId);
  expect(outline(client.takeAll())).toEqual(["pubcomp 5", "pubcomp 7", "pubcomp 3"]);
  publishAll(world.connect(), "b", ["x", "y", "z"], 2);
  expect(outline(client.takeAll())).toEqual(["publish 1", "publish 2", "publish 3"]);
  for (const packetId of [1, 2, 3]) acknowledge(client, "pubrec", packetId);
  expect(outline(client.takeAll())).toEqual(["pubrel 1", "pubrel 2", "pubrel 3"]);
});

for (const qos of [0, 1] as const) {
  test(`[MQTT-4.6.0-5] a retained message never arrives after a later one of its publisher, topic and QoS (QoS ${qos})`, () => {
    const world = new World();
    const publisher = world.connect();
    publisher.publish("first", "", { qos: 1, retain: true });
    publisher.publish("a", "old", { qos, retain: true });
    const subscriber = world.connect({ properties: { receiveMaximum: 1 } });
    subscriber.subscribe(["first", "a"]);
    publisher.publish("a", "new", { qos });
    const received = subscriber.takePublishes().filter((publish) => publish.topicName === "a");
    expect(texts(received).join()).toMatch(/^(old,)?new$/);
  });
}
