/**
 * MQTT 5.0 section 4.8.2: what becomes of a shared subscription's messages when the member that was to get them goes, or
 * refuses them. QoS 1 and waiting messages go to another member, a QoS 2 delivery that has begun stays where it is.
 */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const FILTER = "$share/g/a";
const LASTING = { properties: { sessionExpiryInterval: 100 } } satisfies ConnectInit;

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

function join(world: World, qos: QoS = 2, init: ConnectInit = {}): TestClient {
  const client = world.connect(init);
  client.subscribe(FILTER, { qos });
  return client;
}

/** A group of a client that was sent the messages and has not answered, and one that joined afterwards. */
function group(
  count: number,
  qos: QoS,
  init: ConnectInit = {},
): { world: World; first: TestClient; other: TestClient } {
  const world = new World();
  const first = join(world, qos, init);
  const publisher = world.connect();
  for (let index = 1; index <= count; index++) publisher.publish("a", `${index}`, { qos });
  const other = join(world, qos);
  expect(other.packets).toEqual([]);
  return { world, first, other };
}

function again(world: World, client: TestClient): TestClient {
  return world.connect({ ...LASTING, clientId: client.clientId, cleanStart: false });
}

describe("QoS 1 and waiting messages", () => {
  test("an unacknowledged message goes to another member when the session ends with the connection", () => {
    const { first, other } = group(2, 1);
    first.drop();
    const taken = other.takePublishes();
    expect(taken.map((publish) => [toText(publish.payload), publish.qos, publish.dup])).toEqual([
      ["1", 1, false],
      ["2", 1, false],
    ]);
  });

  test("so it does on DISCONNECT, and on DISCONNECT that ends a longer session", () => {
    for (const [init, properties] of [
      [{}, {}],
      [LASTING, { sessionExpiryInterval: 0 }],
    ] as const) {
      const { first, other } = group(1, 1, init);
      first.disconnect(0, properties);
      expect(texts(other)).toEqual(["1"]);
    }
  });

  test("and when a Clean Start throws the session away", () => {
    const { world, first, other } = group(1, 1, LASTING);
    const fresh = world.connect({ clientId: first.clientId, cleanStart: true });
    expect(texts(other)).toEqual(["1"]);
    expect(fresh.packets).toEqual([]);
  });

  test("what was acknowledged stays with who acknowledged it", () => {
    const { first, other } = group(3, 1);
    const [, second] = first.takeAll() as [Publish, Publish, Publish];
    first.send({ type: "puback", packetId: second.packetId!, reasonCode: 0, properties: {} });
    first.drop();
    expect(texts(other)).toEqual(["1", "3"]);
  });

  test("messages that wait behind the Receive Maximum go too, in order", () => {
    const { first, other } = group(5, 1, { properties: { receiveMaximum: 2 } });
    expect(first.packets.length).toBe(2);
    first.drop();
    expect(texts(other)).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("waiting QoS 2 messages that were never sent go too", () => {
    const { first, other } = group(3, 2, { properties: { receiveMaximum: 1 } });
    first.drop();
    // The first was begun and may go to nobody else.
    expect(texts(other)).toEqual(["2", "3"]);
  });

  test("a kept session: each message reaches somebody once, at the latest when the session ends", () => {
    const { world, first, other } = group(3, 1, { properties: { receiveMaximum: 1, sessionExpiryInterval: 100 } });
    first.takeAll();
    first.drop();
    world.advance(101_000);
    expect(texts(other)).toEqual(["1", "2", "3"]);
    expect(texts(again(world, first))).toEqual([]);
  });

  test("a kept session that is resumed: nothing is lost", () => {
    const { world, first, other } = group(3, 1, { properties: { receiveMaximum: 1, sessionExpiryInterval: 100 } });
    first.drop();
    const back = again(world, first);
    expect(new Set([...texts(other), ...texts(back)])).toEqual(new Set(["1", "2", "3"]));
  });

  test("messages that waited for an absent group go to the member that is there when the other's session ends", () => {
    const world = new World();
    const first = join(world, 1, LASTING);
    first.drop();
    world.connect().publish("a", "x", { qos: 1 });
    const other = join(world, 1);
    world.advance(101_000);
    expect(texts(other)).toEqual(["x"]);
  });

  test("the taker's own options hold: QoS and identifier", () => {
    const world = new World();
    const first = world.connect();
    first.subscribe(FILTER, { qos: 1 }, { subscriptionIdentifiers: [1] });
    world.connect().publish("a", "x", { qos: 1 });
    const other = world.connect();
    other.subscribe(FILTER, { qos: 0 }, { subscriptionIdentifiers: [2] });
    first.drop();
    const taken = other.takePublishes().map(({ qos, properties }) => [qos, properties.subscriptionIdentifiers]);
    expect(taken).toEqual([[0, [2]]]);
  });

  test("[MQTT-3.8.4-8] a taker with a higher granted QoS gets the message at the QoS it was published with", () => {
    const world = new World();
    const first = join(world, 1);
    world.connect().publish("a", "x", { qos: 2 });
    expect(first.packets).toMatchObject([{ type: "publish", qos: 1 }]);
    const other = join(world, 2);
    first.drop();
    expect(other.takePublishes().map((publish) => publish.qos)).toEqual([2]);
  });

  test.each([true, false])(
    "[MQTT-3.3.1-12] [MQTT-3.3.1-13] Retain As Published %p of the taker holds",
    (retainAsPublished) => {
      const world = new World();
      const first = world.connect();
      first.subscribe(FILTER, { retainAsPublished: !retainAsPublished });
      world.connect().publish("a", "x", { qos: 1, retain: true });
      const other = world.connect();
      other.subscribe(FILTER, { retainAsPublished });
      first.drop();
      expect(other.takePublishes().map((publish) => publish.retain)).toEqual([retainAsPublished]);
    },
  );

  test("the message's lifetime goes on", () => {
    const world = new World();
    const first = join(world, 1);
    const publisher = world.connect();
    publisher.publish("a", "short", { qos: 1, properties: { messageExpiryInterval: 3 } });
    publisher.publish("a", "long", { qos: 1, properties: { messageExpiryInterval: 10 } });
    const other = join(world, 1);
    world.advance(4000);
    first.drop();
    const taken = other
      .takePublishes()
      .map(({ payload, properties }) => [toText(payload), properties.messageExpiryInterval]);
    expect(taken).toEqual([["long", 6]]);
  });

  test("they are shared out among several members, and stay in the group", () => {
    const world = new World();
    const first = join(world, 1);
    const publisher = world.connect();
    for (let index = 0; index < 6; index++) publisher.publish("a", `${index}`, { qos: 1 });
    const others = [join(world, 1), join(world, 1)];
    const outsider = world.connect();
    outsider.subscribe("$share/h/a");
    outsider.subscribe("a");
    first.drop();
    const got = others.map(texts);
    expect(got.flat().sort()).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(got.every((list) => list.length > 0)).toBe(true);
    expect(outsider.packets).toEqual([]);
  });

  test("without another member they are gone; a later one starts with nothing", () => {
    const world = new World();
    const first = join(world, 1);
    world.connect().publish("a", "x", { qos: 1 });
    first.drop();
    expect(join(world, 1).packets).toEqual([]);
  });

  test("a member's plain subscription is no part of the group: its copies go to nobody", () => {
    const world = new World();
    const first = join(world, 1);
    first.subscribe("a", { qos: 1 });
    world.connect().publish("a", "x", { qos: 1 });
    expect(first.packets.length).toBe(2);
    const other = join(world, 1);
    first.drop();
    expect(texts(other)).toEqual(["x"]);
  });

  test("one who unsubscribes finishes what it was sent; the others do not get it as well", () => {
    const { first, other } = group(2, 1);
    first.unsubscribe(FILTER);
    expect(texts(first)).toEqual(["1", "2"]);
    first.drop();
    expect(texts(other)).toEqual([]);
  });
});

describe("QoS 2", () => {
  const stages = ["sent", "received"] as const;

  /** The message is on its way to `first`: sent, or also received as far as PUBREC. */
  function begun(stage: (typeof stages)[number]) {
    const parties = group(1, 2, LASTING);
    const packetId = parties.first.take("publish").packetId!;
    if (stage === "received") {
      parties.first.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
      expect(parties.first.take("pubrel").packetId).toBe(packetId);
    }
    return { ...parties, packetId };
  }

  test.each(stages)(
    "[MQTT-4.8.2-4] a delivery that was %s is completed to the same member when it is back",
    (stage) => {
      const { world, first, other, packetId } = begun(stage);
      first.drop();
      world.advance(50_000);
      expect(other.packets).toEqual([]);
      const back = again(world, first);
      if (stage === "sent") {
        expect(back.take("publish")).toMatchObject({ packetId, qos: 2, dup: true });
        back.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
      }
      expect(back.take("pubrel").packetId).toBe(packetId);
      back.send({ type: "pubcomp", packetId, reasonCode: 0, properties: {} });
      back.drop();
      world.advance(200_000);
      expect(other.packets).toEqual([]);
    },
  );

  test.each(stages)("[MQTT-4.8.2-5] a delivery that was %s goes to nobody else when the session ends", (stage) => {
    const { world, first, other } = begun(stage);
    first.drop();
    world.advance(200_000);
    expect(other.packets).toEqual([]);
    expect(join(world).packets).toEqual([]);
  });

  test.each(stages)("[MQTT-4.8.2-5] nor when a delivery that was %s ends with DISCONNECT or Clean Start", (stage) => {
    for (const end of ["disconnect", "clean start"]) {
      const { world, first, other } = begun(stage);
      if (end === "disconnect") first.disconnect(0, { sessionExpiryInterval: 0 });
      else world.connect({ clientId: first.clientId, cleanStart: true });
      expect(other.packets).toEqual([]);
    }
  });
});

describe("refusals by the member", () => {
  test.each([0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])(
    "[MQTT-4.8.2-6] PUBACK code %i discards the message for the whole group",
    (reasonCode) => {
      const { world, first, other } = group(1, 1, LASTING);
      const { packetId } = first.take("publish");
      first.send({ type: "puback", packetId: packetId!, reasonCode, properties: {} });
      first.drop();
      expect(again(world, first).packets).toEqual([]);
      world.advance(200_000);
      expect(other.packets).toEqual([]);
    },
  );

  test.each([0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])(
    "[MQTT-4.8.2-6] PUBREC code %i does too, and no PUBREL follows",
    (reasonCode) => {
      const { world, first, other } = group(1, 2, LASTING);
      const { packetId } = first.take("publish");
      first.send({ type: "pubrec", packetId: packetId!, reasonCode, properties: {} });
      expect(first.packets).toEqual([]);
      first.drop();
      expect(again(world, first).packets).toEqual([]);
      world.advance(200_000);
      expect(other.packets).toEqual([]);
    },
  );

  test("the group goes on: the next messages are shared out as before", () => {
    const { world, first, other } = group(1, 1);
    const { packetId } = first.take("publish");
    first.send({ type: "puback", packetId: packetId!, reasonCode: 0x80, properties: {} });
    const publisher = world.connect();
    for (let index = 0; index < 4; index++) publisher.publish("a", `${index}`, { qos: 1 });
    expect([texts(first).length, texts(other).length]).toEqual([2, 2]);
  });
});
