/** The broker as receiver: QoS 1 and 2 from a publisher (MQTT 5.0 section 4.3, MQTT 3.1.1 section 4.3). */
import { expect, test } from "bun:test";
import { acknowledge, LEVELS, leaveSession, outline, resume, texts } from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

function watcher(world: World): TestClient {
  const subscriber = world.connect();
  subscriber.subscribe("a", { qos: 2 });
  return subscriber;
}

/** Sends QoS 2 message 9 and takes the PUBREC. */
function begin(publisher: TestClient, text: string, dup = false): void {
  publisher.sendPublish("a", text, { qos: 2, packetId: 9, dup });
  const pubrec = publisher.take("pubrec");
  expect(pubrec.packetId).toBe(9);
  expect(pubrec.reasonCode).toBeLessThan(0x80);
}

/** Releases message 9. */
function release(publisher: TestClient): void {
  acknowledge(publisher, "pubrel", 9);
  expect(publisher.take("pubcomp")).toMatchObject({ packetId: 9, reasonCode: 0 });
}

for (const level of LEVELS) {
  test(`[MQTT-4.3.2-4] [MQTT311-4.3.2-2] what PUBACK said is taken is delivered, the publisher gone or not (level ${level})`, () => {
    const world = new World();
    leaveSession(world, "away", "a", 1);
    const publisher = world.connect({ level });
    publisher.sendPublish("a", "x", { qos: 1, packetId: 600 });
    expect(publisher.take("puback")).toMatchObject({ packetId: 600, reasonCode: 0 });
    publisher.drop();
    expect(texts(resume(world, "away").takePublishes())).toEqual(["x"]);
  });

  test(`[MQTT-4.3.2-5] [MQTT311-4.3.2-2] after PUBACK the same id is a new message, DUP or not (level ${level})`, () => {
    const world = new World();
    const subscriber = watcher(world);
    const publisher = world.connect({ level });
    for (const [text, dup] of [
      ["1", false],
      ["2", false],
      ["3", true],
      ["3", true],
    ] as const) {
      publisher.sendPublish("a", text, { qos: 1, packetId: 9, dup });
      expect(publisher.take("puback")).toMatchObject({ packetId: 9, reasonCode: 0 });
    }
    expect(texts(subscriber.takePublishes())).toEqual(["1", "2", "3", "3"]);
  });

  test(`[MQTT-4.3.3-8] [MQTT311-4.3.3-2] what PUBREC said is taken is delivered, the publisher gone or not (level ${level})`, () => {
    const world = new World();
    leaveSession(world, "away", "a", 2);
    const publisher = world.connect({ level });
    begin(publisher, "x");
    publisher.drop();
    expect(texts(resume(world, "away").takePublishes())).toEqual(["x"]);
  });

  test(`[MQTT-4.3.3-10] [MQTT311-4.3.3-2] until PUBREL a repeat gets PUBREC and is not delivered again (level ${level})`, () => {
    const world = new World();
    const subscriber = watcher(world);
    const publisher = world.connect({ level });
    begin(publisher, "once");
    for (const dup of [true, false, true]) begin(publisher, "once", dup);
    expect(texts(subscriber.takePublishes())).toEqual(["once"]);
    release(publisher);
    expect(subscriber.packets).toEqual([]);
  });

  test(`[MQTT-4.3.3-10] [MQTT311-4.3.3-2] that holds across connections of the session (level ${level})`, () => {
    const world = new World();
    const subscriber = watcher(world);
    let publisher = resume(world, "publisher", { level });
    begin(publisher, "once");
    for (let round = 0; round < 2; round++) {
      publisher.drop();
      world.advance(60_000);
      publisher = resume(world, "publisher", { level });
      begin(publisher, "once", true);
    }
    publisher.drop();
    publisher = resume(world, "publisher", { level });
    release(publisher);
    expect(texts(subscriber.takePublishes())).toEqual(["once"]);
  });

  test(`[MQTT-4.3.3-10] without subscribers the id is taken all the same (level ${level})`, () => {
    const world = new World();
    const publisher = world.connect({ level });
    begin(publisher, "nobody wants it");
    const subscriber = watcher(world);
    begin(publisher, "nobody wants it", true);
    expect(subscriber.packets).toEqual([]);
    release(publisher);
  });

  test(`[MQTT-4.3.3-10] a new session does not know the old one's ids (level ${level})`, () => {
    const world = new World();
    const subscriber = watcher(world);
    const first = resume(world, "publisher", { level });
    begin(first, "1");
    first.drop();
    const second = resume(world, "publisher", { level, cleanStart: true });
    begin(second, "2");
    expect(texts(subscriber.takePublishes())).toEqual(["1", "2"]);
  });

  test(`[MQTT-4.3.3-11] [MQTT311-4.3.3-2] PUBREL is answered with PUBCOMP of the same id, in any order (level ${level})`, () => {
    const world = new World();
    const publisher = world.connect({ level });
    for (const packetId of [1, 2, 3, 0xffff]) publisher.sendPublish("a", "x", { qos: 2, packetId });
    expect(outline(publisher.takeAll())).toEqual(["pubrec 1", "pubrec 2", "pubrec 3", "pubrec 65535"]);
    for (const packetId of [3, 0xffff, 1, 2]) {
      acknowledge(publisher, "pubrel", packetId);
      expect(publisher.take("pubcomp")).toMatchObject({ packetId, reasonCode: 0 });
    }
  });

  test(`[MQTT-4.3.3-11] a PUBREL that comes again on a new connection still gets its PUBCOMP (level ${level})`, () => {
    const world = new World();
    const first = resume(world, "publisher", { level });
    begin(first, "x");
    first.drop();
    const second = resume(world, "publisher", { level });
    release(second);
    second.drop();
    const third = resume(world, "publisher", { level });
    acknowledge(third, "pubrel", 9);
    expect(third.take("pubcomp").packetId).toBe(9);
    expect(third.closed).toBe(false);
  });

  test(`[MQTT-4.3.3-12] [MQTT311-4.3.3-2] after PUBCOMP the same id is a new message, DUP or not (level ${level})`, () => {
    const world = new World();
    const subscriber = watcher(world);
    const publisher = world.connect({ level });
    for (const [text, dup] of [
      ["1", false],
      ["2", false],
      ["3", true],
    ] as const) {
      begin(publisher, text, dup);
      release(publisher);
    }
    expect(texts(subscriber.takePublishes())).toEqual(["1", "2", "3"]);
  });
}

test("[MQTT-4.3.3-9] after a PUBREC of 0x80 or more the same id is a new message", () => {
  const world = new World({ limits: { queueMessagesMax: 1 } });
  leaveSession(world, "away", "a", 2);
  const publisher = world.connect();
  expect(publisher.publish("a", "1", { qos: 2 })).toBe(0);
  for (const topicName of ["a", "$SYS/x"]) {
    publisher.sendPublish(topicName, "refused", { qos: 2, packetId: 9 });
    expect(publisher.take("pubrec").reasonCode).toBeGreaterThanOrEqual(0x80);
  }
  expect(texts(resume(world, "away").takePublishes())).toEqual(["1"]);
  begin(publisher, "2");
  release(publisher);
  expect(texts(resume(world, "away").takePublishes())).toEqual(["2"]);
});

test("[MQTT-4.3.3-9] a refused QoS 2 message is not waiting for PUBREL", () => {
  const publisher = new World().connect();
  publisher.sendPublish("$SYS/x", "refused", { qos: 2, packetId: 9 });
  expect(publisher.take("pubrec").reasonCode).toBe(0x87);
  acknowledge(publisher, "pubrel", 9);
  expect(publisher.take("pubcomp").reasonCode).toBe(0x92);
});
