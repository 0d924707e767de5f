/** Message delivery retry: what a resumed session is sent again (MQTT 5.0 section 4.4, MQTT 3.1.1 section 4.4). */
import { expect, test } from "bun:test";
import { acknowledge, LEVELS, outline, resume, texts } from "../support/publish-dialogue.ts";
import { World } from "../support/world.ts";

for (const level of LEVELS) {
  test(`[MQTT-4.4.0-1] [MQTT311-4.4.0-1] [MQTT311-4.6.0-1] PUBLISH and PUBREL again, original ids and order (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    for (const [at, qos] of ([1, 2, 1, 2, 2, 1] as const).entries()) publisher.publish("a", `${at + 1}`, { qos });
    expect(first.takeAll()).toHaveLength(6);
    acknowledge(first, "puback", 1);
    acknowledge(first, "pubrec", 4);
    acknowledge(first, "pubrec", 2);
    acknowledge(first, "pubcomp", 4);
    first.drop();
    publisher.publish("a", "7", { qos: 1 });
    const again = resume(world, "subscriber", { level }).takeAll();
    expect(outline(again.filter((packet) => packet.type === "pubrel"))).toEqual(["pubrel 2"]);
    const publishes = again.filter((packet) => packet.type === "publish");
    expect(texts(publishes)).toEqual(["3", "5", "6", "7"]);
    expect(publishes.map((publish) => [publish.packetId, publish.dup, publish.qos]).slice(0, 3)).toEqual([
      [3, true, 1],
      [5, true, 2],
      [6, true, 1],
    ]);
    expect([publishes[3]?.dup, publishes[3]?.qos]).toEqual([false, 1]);
    // The id of a message that is not acknowledged is not given to the new one.
    expect([2, 3, 5, 6]).not.toContain(publishes[3]?.packetId);
  });

  test(`[MQTT-4.4.0-1] a message that is sent again is the same message (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a/+", { qos: 1 }, level === 5 ? { subscriptionIdentifiers: [3] } : {});
    const payload = Uint8Array.from({ length: 256 }, (_, at) => at);
    const properties = { contentType: "x", userProperties: [["k", "v"]] as [string, string][] };
    world.connect().publish("a/é", payload, { qos: 2, properties });
    const sent = first.take("publish");
    first.drop();
    expect(resume(world, "subscriber", { level }).take("publish")).toEqual({ ...sent, dup: true });
  });

  test(`[MQTT-4.4.0-1] nothing is sent again while the connection lasts (level ${level})`, () => {
    const world = new World();
    const subscriber = resume(world, "subscriber", { level });
    subscriber.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    for (const qos of [1, 2, 2] as const) publisher.publish("a", "x", { qos });
    expect(outline(subscriber.takeAll())).toEqual(["publish 1", "publish 2", "publish 3"]);
    acknowledge(subscriber, "pubrec", 3);
    expect(outline(subscriber.takeAll())).toEqual(["pubrel 3"]);
    world.advance(86_400_000);
    subscriber.send({ type: "pingreq" });
    subscriber.subscribe("b");
    publisher.publish("b", "y", { qos: 1 });
    expect(outline(subscriber.takeAll())).toEqual(["pingresp", "publish 4"]);
  });

  test(`[MQTT-4.4.0-1] a clean start is sent nothing of the old session (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    for (const qos of [1, 2, 2] as const) publisher.publish("a", "x", { qos });
    first.takeAll();
    acknowledge(first, "pubrec", 2);
    first.drop();
    publisher.publish("a", "queued", { qos: 1 });
    const clean = resume(world, "subscriber", { level, cleanStart: true });
    expect([clean.connack?.sessionPresent, clean.packets]).toEqual([false, []]);
    clean.subscribe("a");
    publisher.publish("a", "new", { qos: 1 });
    const fresh = clean.take("publish");
    expect([fresh.packetId, fresh.dup, ...texts([fresh])]).toEqual([1, false, "new"]);
  });

  test(`[MQTT-4.4.0-1] a take-over resumes the session: sent again to the new connection only (level ${level})`, () => {
    const world = new World();
    const old = resume(world, "subscriber", { level });
    old.subscribe("a", { qos: 1 });
    world.connect().publish("a", "x", { qos: 1 });
    old.takeAll();
    const current = resume(world, "subscriber", { level });
    expect(outline(old.takeAll())).toEqual(level === 5 ? ["disconnect"] : []);
    expect(old.closed).toBe(true);
    expect(outline(current.takeAll())).toEqual(["publish 1 dup"]);
  });

  test(`[MQTT-4.4.0-1] CONNACK comes before what is sent again (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a", { qos: 1 });
    world.connect().publish("a", "x", { qos: 1 });
    first.drop();
    const properties = level === 5 ? { sessionExpiryInterval: 1000 } : {};
    const second = world.dial({ level, clientId: "subscriber", cleanStart: false, properties });
    expect(outline(second.takeAll())).toEqual(["connack", "publish 1 dup"]);
  });

  test(`[MQTT-4.4.0-1] a subscription ended meanwhile does not stop what was already sent (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { level });
    first.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    for (const qos of [1, 2] as const) publisher.publish("a", "x", { qos });
    first.unsubscribe("a");
    first.drop();
    expect(outline(resume(world, "subscriber", { level }).takeAll())).toEqual(["publish 1 dup", "publish 2 dup"]);
  });
}

test("[MQTT-4.4.0-1] an acknowledgement of an earlier connection counts: ids stay those of the session", () => {
  const world = new World();
  const first = resume(world, "subscriber");
  first.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  for (const text of ["1", "2"]) publisher.publish("a", text, { qos: 1 });
  first.drop();
  const second = resume(world, "subscriber");
  expect(outline(second.takeAll())).toEqual(["publish 1 dup", "publish 2 dup"]);
  acknowledge(second, "puback", 1);
  acknowledge(second, "puback", 2);
  publisher.publish("a", "3", { qos: 1 });
  expect(texts(second.takePublishes())).toEqual(["3"]);
  second.drop();
  expect(resume(world, "subscriber").packets).toEqual([]);
});

test("[MQTT-4.4.0-1] a message waiting for its PUBACK counts once in the new connection's window", () => {
  const world = new World();
  const first = resume(world, "subscriber", { properties: { receiveMaximum: 3 } });
  first.subscribe("a", { qos: 1 });
  const publisher = world.connect();
  for (let at = 1; at <= 5; at++) publisher.publish("a", `${at}`, { qos: 1 });
  expect(outline(first.takeAll())).toEqual(["publish 1", "publish 2", "publish 3"]);
  first.drop();
  const second = resume(world, "subscriber", { properties: { receiveMaximum: 4 } });
  expect(outline(second.takeAll())).toEqual(["publish 1 dup", "publish 2 dup", "publish 3 dup", "publish 4"]);
  acknowledge(second, "puback", 1);
  expect(outline(second.takeAll())).toEqual(["publish 5"]);
});

for (const reasonCode of [0x80, 0x83, 0x87, 0x97]) {
  test(`[MQTT-4.4.0-2] PUBACK or PUBREC 0x${reasonCode.toString(16)} ends the message: never sent again`, () => {
    const world = new World();
    const first = resume(world, "subscriber", { properties: { receiveMaximum: 2 } });
    first.subscribe("a", { qos: 2 });
    const publisher = world.connect();
    for (const qos of [1, 2, 1] as const) publisher.publish("a", "x", { qos });
    expect(outline(first.takeAll())).toEqual(["publish 1", "publish 2"]);
    acknowledge(first, "pubrec", 2, reasonCode);
    expect(outline(first.takeAll())).toEqual(["publish 3"]);
    acknowledge(first, "puback", 1, reasonCode);
    acknowledge(first, "puback", 3, reasonCode);
    first.drop();
    expect(resume(world, "subscriber").packets).toEqual([]);
  });
}
