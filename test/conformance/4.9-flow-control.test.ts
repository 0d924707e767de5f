/** Flow control with Receive Maximum, both ways (MQTT 5.0 sections 3.3.4 and 4.9). */
import { expect, test } from "bun:test";
import {
  acknowledge,
  expectDisconnect,
  outline,
  resume,
  takeUnacknowledged,
  texts,
} from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

/** A client with a window of `receiveMaximum`, subscribed to everything, and a publisher. */
function pair(receiveMaximum: number): { subscriber: TestClient; publisher: TestClient; world: World } {
  const world = new World();
  const subscriber = world.connect({ properties: { receiveMaximum } });
  subscriber.subscribe("#", { qos: 2 });
  return { subscriber, publisher: world.connect(), world };
}

for (const receiveMaximum of [1, 2, 7]) {
  test(`[MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2] at most ${receiveMaximum} unacknowledged QoS 1 and 2 messages`, () => {
    const { subscriber, publisher } = pair(receiveMaximum);
    for (let at = 0; at < 20; at++) publisher.publish("a", `${at}`, { qos: at % 2 === 0 ? 1 : 2 });
    expect(subscriber.packets).toHaveLength(receiveMaximum);
    const seen: string[] = [];
    while (subscriber.packets.length > 0) {
      expect(subscriber.packets.length).toBeLessThanOrEqual(receiveMaximum);
      const publish = subscriber.take("publish");
      seen.push(...texts([publish]));
      if (publish.qos === 1) {
        acknowledge(subscriber, "puback", publish.packetId);
      } else {
        acknowledge(subscriber, "pubrec", publish.packetId);
        expect(subscriber.packets.pop()?.type).toBe("pubrel");
        acknowledge(subscriber, "pubcomp", publish.packetId);
      }
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, at) => `${at}`));
  });
}

test("(4.9) without Receive Maximum the window is at least as large as what is sent at once here", () => {
  const world = new World();
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect();
  for (let at = 0; at < 500; at++) publisher.publish("a", "", { qos: 1 });
  expect(subscriber.packets).toHaveLength(500);
});

test("[MQTT-4.9.0-1] a QoS 2 message gives its place back at PUBCOMP, not at PUBREC", () => {
  const { subscriber, publisher } = pair(1);
  for (const text of ["1", "2"]) publisher.publish("a", text, { qos: 2 });
  expect(outline(subscriber.takeAll())).toEqual(["publish 1"]);
  acknowledge(subscriber, "pubrec", 1);
  expect(outline(subscriber.takeAll())).toEqual(["pubrel 1"]);
  acknowledge(subscriber, "pubcomp", 1);
  expect(outline(subscriber.takeAll())).toEqual(["publish 2"]);
});

test("[MQTT-4.9.0-1] PUBACK and a PUBREC of 0x80 or more give the place back", () => {
  const { subscriber, publisher } = pair(1);
  for (const qos of [2, 1, 1, 2] as const) publisher.publish("a", "", { qos });
  expect(outline(subscriber.takeAll())).toEqual(["publish 1"]);
  acknowledge(subscriber, "pubrec", 1, 0x83);
  expect(outline(subscriber.takeAll())).toEqual(["publish 2"]);
  acknowledge(subscriber, "puback", 2, 0x80);
  expect(outline(subscriber.takeAll())).toEqual(["publish 3"]);
  acknowledge(subscriber, "puback", 3);
  expect(outline(subscriber.takeAll())).toEqual(["publish 4"]);
});

test("[MQTT-4.9.0-1] acknowledgements beyond what is outstanding do not widen the window", () => {
  const { subscriber, publisher } = pair(2);
  publisher.publish("a", "", { qos: 1 });
  expect(outline(subscriber.takeAll())).toEqual(["publish 1"]);
  for (const packetId of [1, 1, 1, 50]) acknowledge(subscriber, "puback", packetId);
  acknowledge(subscriber, "pubcomp", 51);
  for (let at = 0; at < 5; at++) publisher.publish("a", "", { qos: 1 });
  expect(takeUnacknowledged(subscriber)).toHaveLength(2);
});

test("[MQTT-3.3.4-10] [MQTT-4.9.0-3] a full window holds back nothing else: QoS 0, SUBACK, UNSUBACK, PINGRESP, PUBACK", () => {
  const { subscriber, publisher } = pair(1);
  for (const text of ["1", "2"]) publisher.publish("a", text, { qos: 1 });
  publisher.publish("a", "QoS 0");
  expect(texts(takeUnacknowledged(subscriber))).toEqual(["1", "QoS 0"]);
  subscriber.subscribe("b");
  subscriber.unsubscribe("b");
  subscriber.send({ type: "pingreq" });
  subscriber.take("pingresp");
  expect(subscriber.publish("c", "", { qos: 1 })).toBe(0);
  subscriber.sendPublish("c", "", { qos: 2, packetId: 9 });
  expect(outline(subscriber.takeAll())).toEqual(["pubrec 9"]);
  acknowledge(subscriber, "pubrel", 9);
  expect(outline(subscriber.takeAll())).toEqual(["pubcomp 9"]);
  expect(subscriber.closed).toBe(false);
});

test("[MQTT-3.3.4-10] [MQTT-4.9.0-3] a full window does not hold back PUBREL", () => {
  const { subscriber, publisher } = pair(1);
  for (const text of ["1", "2"]) publisher.publish("a", text, { qos: 2 });
  acknowledge(subscriber, "pubrec", subscriber.take("publish").packetId);
  expect(outline(subscriber.takeAll())).toEqual(["pubrel 1"]);
});

test("[MQTT-3.3.4-9] one receiver's full window is not another's", () => {
  const { publisher, subscriber, world } = pair(1);
  const other = world.connect({ properties: { receiveMaximum: 2 } });
  other.subscribe("a");
  for (let at = 0; at < 3; at++) publisher.publish("a", "", { qos: 1 });
  expect([subscriber.packets.length, other.packets.length]).toEqual([1, 2]);
});

test("[MQTT-4.9.0-1] [MQTT-4.9.0-2] each connection starts with its own window: a smaller one on resuming", () => {
  const world = new World();
  const first = resume(world, "subscriber", { properties: { receiveMaximum: 5 } });
  first.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  for (let at = 1; at <= 6; at++) publisher.publish("a", `${at}`, { qos: 1 });
  expect(first.packets).toHaveLength(5);
  first.drop();
  const second = resume(world, "subscriber", { properties: { receiveMaximum: 2 } });
  expect(outline(second.packets)).toEqual(["publish 1 dup", "publish 2 dup"]);
  const seen: string[] = [];
  while (second.packets.length > 0) {
    expect(second.packets.length).toBeLessThanOrEqual(2);
    const publish = second.take("publish");
    seen.push(...texts([publish]));
    acknowledge(second, "puback", publish.packetId);
  }
  expect(seen).toEqual(["1", "2", "3", "4", "5", "6"]);
});

test("[MQTT-4.9.0-3] on resuming a full window of PUBLISH does not hold back PUBREL", () => {
  const world = new World();
  const first = resume(world, "subscriber", { properties: { receiveMaximum: 4 } });
  first.subscribe("a", { qos: 2 });
  const publisher = world.connect();
  for (let at = 1; at <= 4; at++) publisher.publish("a", `${at}`, { qos: 2 });
  first.takeAll();
  for (const packetId of [1, 2, 3]) acknowledge(first, "pubrec", packetId);
  first.drop();
  const second = resume(world, "subscriber", { properties: { receiveMaximum: 1 } });
  const released = second.packets.filter((packet) => packet.type === "pubrel");
  expect(outline(released)).toEqual(["pubrel 1", "pubrel 2", "pubrel 3"]);
  expect(second.takePublishes().map((publish) => [publish.packetId, publish.dup])).toEqual([[4, true]]);
  second.drop();
  expect(resume(world, "subscriber").packets).toEqual([]);
});

test("[MQTT-3.3.4-7] [MQTT-4.9.0-1] a client may use all of the announced window, and no more: 0x93", () => {
  const world = new World({ limits: { receiveMaximum: 3 } });
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect();
  expect(publisher.connack?.properties.receiveMaximum).toBe(3);
  for (const packetId of [1, 2, 3]) publisher.sendPublish("a", `${packetId}`, { qos: 2, packetId });
  expect(outline(publisher.takeAll())).toEqual(["pubrec 1", "pubrec 2", "pubrec 3"]);
  publisher.sendPublish("a", "too many", { qos: 2, packetId: 4 });
  expectDisconnect(publisher, 0x93);
  expect(texts(subscriber.takePublishes())).toEqual(["1", "2", "3"]);
});

test("[MQTT-3.3.4-7] a QoS 1 message on top of a window full of QoS 2 closes too", () => {
  const world = new World({ limits: { receiveMaximum: 2 } });
  const subscriber = world.connect();
  subscriber.subscribe("a");
  const publisher = world.connect();
  for (const packetId of [1, 2]) publisher.sendPublish("a", "", { qos: 2, packetId });
  publisher.takeAll();
  publisher.sendPublish("a", "too many", { qos: 1, packetId: 3 });
  expectDisconnect(publisher, 0x93);
  expect(texts(subscriber.takePublishes())).toEqual(["", ""]);
});

test("[MQTT-3.3.4-8] [MQTT-4.9.0-3] with its window full a client may send everything else", () => {
  const world = new World({ limits: { receiveMaximum: 1 } });
  const publisher = world.connect();
  publisher.subscribe("a", { qos: 0 });
  publisher.sendPublish("a", "held", { qos: 2, packetId: 500 });
  expect(outline(publisher.takeAll()).sort()).toEqual(["publish", "pubrec 500"]);
  publisher.publish("a", "QoS 0");
  publisher.subscribe("b");
  publisher.unsubscribe("b");
  publisher.send({ type: "pingreq" });
  expect(outline(publisher.takeAll())).toEqual(["publish", "pingresp"]);
  // Neither a repeat of what is outstanding nor what was answered takes a second place.
  publisher.sendPublish("a", "held", { qos: 2, packetId: 500, dup: true });
  expect(outline(publisher.takeAll())).toEqual(["pubrec 500"]);
  acknowledge(publisher, "pubrel", 500);
  expect(outline(publisher.takeAll())).toEqual(["pubcomp 500"]);
  for (let at = 0; at < 3; at++) expect(publisher.publish("b", "", { qos: 1 })).toBe(0x10);
  for (let at = 0; at < 3; at++) expect(publisher.publish("b", "", { qos: 2 })).toBe(0x10);
  expect(publisher.closed).toBe(false);
});

test("[MQTT-4.9.0-1] PUBCOMP and a refusing PUBREC give the client its place back", () => {
  const world = new World({ limits: { receiveMaximum: 2 } });
  const publisher = world.connect();
  for (let round = 0; round < 5; round++) {
    publisher.sendPublish("$SYS/refused", "", { qos: 2, packetId: 1 });
    publisher.sendPublish("$SYS/refused", "", { qos: 2, packetId: 2 });
    publisher.sendPublish("$SYS/refused", "", { qos: 1, packetId: 3 });
  }
  for (let packetId = 10; packetId < 20; packetId++) {
    publisher.sendPublish("a", "", { qos: 2, packetId });
    if (packetId > 10) acknowledge(publisher, "pubrel", packetId - 1);
  }
  expect(publisher.closed).toBe(false);
});

test("[MQTT-4.9.0-1] the client's window is new on each connection", () => {
  const world = new World({ limits: { receiveMaximum: 2 } });
  const first = resume(world, "publisher");
  for (const packetId of [1, 2]) first.sendPublish("a", "", { qos: 2, packetId });
  first.takeAll();
  first.drop();
  const second = resume(world, "publisher");
  for (const packetId of [1, 2]) second.sendPublish("a", "", { qos: 2, packetId, dup: true });
  expect(outline(second.takeAll())).toEqual(["pubrec 1", "pubrec 2"]);
  second.drop();
  const third = resume(world, "publisher");
  for (const packetId of [1, 2]) acknowledge(third, "pubrel", packetId);
  expect(outline(third.takeAll())).toEqual(["pubcomp 1", "pubcomp 2"]);
  for (const packetId of [3, 4]) third.sendPublish("a", "", { qos: 2, packetId });
  expect(outline(third.takeAll())).toEqual(["pubrec 3", "pubrec 4"]);
});

test("[MQTT-4.9.0-1] a PUBREL waiting on a new connection takes no place from the client's new messages", () => {
  const world = new World({ limits: { receiveMaximum: 2 } });
  const first = resume(world, "publisher");
  for (const packetId of [1, 2]) first.sendPublish("a", "", { qos: 2, packetId });
  first.drop();
  const second = resume(world, "publisher");
  for (const packetId of [3, 4]) second.sendPublish("a", "", { qos: 2, packetId });
  expect(outline(second.takeAll())).toEqual(["pubrec 3", "pubrec 4"]);
  for (const packetId of [1, 2, 3, 4]) acknowledge(second, "pubrel", packetId);
  expect(outline(second.takeAll())).toEqual(["pubcomp 1", "pubcomp 2", "pubcomp 3", "pubcomp 4"]);
});
