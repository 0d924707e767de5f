/** MQTT 3.1.1 sections 4.3 (QoS), 4.4 (retry), 4.5 (receipt) and 4.6 (ordering); 3.6 (PUBREL). */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import type { Publish } from "../../src/core/codec/publish.ts";
import { frame } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const level = 4;
const ME = { clientId: "me", cleanStart: false };

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

function answer(
  client: TestClient,
  type: "puback" | "pubrec" | "pubrel" | "pubcomp",
  packetId: number | undefined,
): void {
  client.send({ type, packetId: packetId ?? 0, reasonCode: 0, properties: {} });
}

/** A short line for each packet received, which are taken. */
function outline(client: TestClient): string[] {
  return client.takeAll().map((packet) => {
    if (packet.type === "publish") return `publish ${toText(packet.payload)}${packet.dup ? " dup" : ""}`;
    return "packetId" in packet ? `${packet.type} ${packet.packetId}` : packet.type;
  });
}

describe("4.3.1 QoS 0", () => {
  test("[MQTT311-4.3.1-1] goes out with QoS 0 and DUP 0, and is not sent again", () => {
    const world = new World();
    const client = connect(world, ME);
    client.subscribe("a", { qos: 0 });
    connect(world).publish("a", "x", { qos: 0 });
    expect(client.take("publish")).toMatchObject({ qos: 0, dup: false });
    client.drop();
    expect(connect(world, ME).packets).toEqual([]);
  });
});

describe("4.3.2 QoS 1", () => {
  test("[MQTT311-4.3.2-1] sent once with DUP 0, unacknowledged until PUBACK", () => {
    const world = new World();
    const client = connect(world, ME);
    client.subscribe("a", { qos: 1 });
    connect(world).publish("a", "x", { qos: 1 });
    const { packetId, dup } = client.take("publish");
    expect(dup).toBe(false);
    world.advance(3_600_000);
    expect(client.packets).toEqual([]);
    client.drop();
    const again = connect(world, ME);
    expect(again.take("publish")).toMatchObject({ packetId, dup: true });
    answer(again, "puback", packetId);
    again.drop();
    expect(connect(world, ME).packets).toEqual([]);
  });

  test("[MQTT311-4.3.2-2] PUBACK answers; afterwards the identifier means a new message, DUP or not", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("a");
    const client = connect(world);
    for (const [payload, dup] of [
      ["1", false],
      ["1", true],
      ["2", false],
    ] as const) {
      client.sendPublish("a", payload, { qos: 1, packetId: 9, dup });
      expect(client.take("puback").packetId).toBe(9);
    }
    expect(texts(watcher)).toEqual(["1", "1", "2"]);
  });
});

describe("4.3.3 QoS 2", () => {
  test("[MQTT311-4.3.3-1] PUBLISH, PUBREC, PUBREL, PUBCOMP; after PUBREL the PUBLISH is not sent again", () => {
    const world = new World();
    const client = connect(world, ME);
    client.subscribe("a", { qos: 2 });
    connect(world).publish("a", "x", { qos: 2 });
    const { packetId, dup, qos } = client.take("publish");
    expect([dup, qos]).toEqual([false, 2]);
    answer(client, "pubrec", packetId);
    expect(outline(client)).toEqual([`pubrel ${packetId}`]);
    client.drop();
    const again = connect(world, ME);
    expect(outline(again)).toEqual([`pubrel ${packetId}`]);
    answer(again, "pubcomp", packetId);
    again.drop();
    expect(connect(world, ME).packets).toEqual([]);
  });

  test("[MQTT311-4.3.3-1] a PUBREC that comes again is answered with PUBREL again", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe("a", { qos: 2 });
    connect(world).publish("a", "x", { qos: 2 });
    const { packetId } = client.take("publish");
    answer(client, "pubrec", packetId);
    answer(client, "pubrec", packetId);
    expect(outline(client)).toEqual([`pubrel ${packetId}`, `pubrel ${packetId}`]);
  });

  test("[MQTT311-4.3.3-2] until PUBREL the same identifier is the same message: PUBREC again, one delivery", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("a");
    let client = connect(world, ME);
    client.sendPublish("a", "1", { qos: 2, packetId: 5 });
    client.sendPublish("a", "1", { qos: 2, packetId: 5, dup: true });
    expect(outline(client)).toEqual(["pubrec 5", "pubrec 5"]);
    client.drop();
    client = connect(world, ME);
    client.sendPublish("a", "1", { qos: 2, packetId: 5, dup: true });
    answer(client, "pubrel", 5);
    expect(outline(client)).toEqual(["pubrec 5", "pubcomp 5"]);
    expect(texts(watcher)).toEqual(["1"]);
    client.sendPublish("a", "2", { qos: 2, packetId: 5 });
    expect(outline(client)).toEqual(["pubrec 5"]);
    expect(texts(watcher)).toEqual(["2"]);
  });

  test("[MQTT311-4.3.3-2] a PUBREL that comes again, or for nothing, is answered with PUBCOMP", () => {
    const client = connect(new World());
    client.sendPublish("a", "1", { qos: 2, packetId: 5 });
    for (let round = 0; round < 2; round++) answer(client, "pubrel", 5);
    answer(client, "pubrel", 77);
    expect(outline(client)).toEqual(["pubrec 5", "pubcomp 5", "pubcomp 5", "pubcomp 77"]);
  });

  test("[MQTT311-4.3.3-2] two clients' equal identifiers are two messages", () => {
    const world = new World();
    const watcher = connect(world);
    watcher.subscribe("a");
    for (const payload of ["1", "2"]) connect(world).sendPublish("a", payload, { qos: 2, packetId: 5 });
    expect(texts(watcher)).toEqual(["1", "2"]);
  });

  test("[MQTT311-3.6.1-1] PUBREL with flags other than 0010 closes the connection", () => {
    for (const flags of [0, 1, 3, 4, 6, 8, 10, 15]) {
      const client = connect(new World());
      client.publish("a", "", { qos: 1 });
      client.sendPublish("a", "1", { qos: 2, packetId: 5 });
      client.take("pubrec");
      client.sendBytes(frame(0x60 | flags, "00 05"));
      expectSilentClose(client);
    }
  });
});

describe("4.4 delivery again", () => {
  test("[MQTT311-4.4.0-1] everything unacknowledged comes again with its identifier when the session is resumed", () => {
    const world = new World();
    const client = connect(world, ME);
    client.subscribe("a");
    const publisher = connect(world);
    for (const [payload, qos] of [
      ["1", 1],
      ["2", 2],
      ["3", 1],
      ["4", 2],
    ] as const) {
      publisher.publish("a", payload, { qos });
    }
    const sent = client.takeAll() as Publish[];
    answer(client, "pubrec", sent[1]!.packetId);
    answer(client, "puback", sent[2]!.packetId);
    expect(outline(client)).toEqual([`pubrel ${sent[1]!.packetId}`]);
    client.drop();
    const again = connect(world, ME);
    const packets = again.takeAll().map((packet) => ("packetId" in packet ? [packet.type, packet.packetId] : []));
    expect(packets).toEqual([
      ["publish", sent[0]!.packetId],
      ["pubrel", sent[1]!.packetId],
      ["publish", sent[3]!.packetId],
    ]);
  });

  test("[MQTT311-4.4.0-1] nothing comes again while the connection lasts", () => {
    const world = new World();
    const client = connect(world, ME);
    client.subscribe("a");
    connect(world).publish("a", "x", { qos: 1 });
    connect(world).publish("a", "x", { qos: 2 });
    expect(outline(client).length).toBe(2);
    for (let hour = 0; hour < 24; hour++) world.advance(3_600_000);
    expect(client.packets).toEqual([]);
  });
});

describe("4.5 receipt", () => {
  test("[MQTT311-4.5.0-1] an accepted message is in the session of every matching client, here or away", () => {
    const world = new World();
    const names = ["one", "two", "three"];
    const clients = names.map((clientId) => connect(world, { clientId, cleanStart: false }));
    for (const client of clients) client.subscribe("a");
    clients[1]!.drop();
    const publisher = connect(world, { clientId: "publisher" });
    publisher.publish("a", "1", { qos: 1 });
    publisher.drop();
    expect(texts(clients[0]!)).toEqual(["1"]);
    expect(texts(connect(world, { clientId: "two", cleanStart: false }))).toEqual(["1"]);
    expect(texts(clients[2]!)).toEqual(["1"]);
  });
});

describe("4.6 ordering", () => {
  test("[MQTT311-4.6.0-1] unacknowledged messages come again in the order they were sent", () => {
    const world = new World();
    const client = connect(world, ME);
    client.subscribe("#");
    const publisher = connect(world);
    const all = Array.from({ length: 50 }, (_, index) => `${index}`);
    for (const payload of all) publisher.publish(`t/${payload}`, payload, { qos: 1 });
    const sent = client.takeAll() as Publish[];
    // Acknowledged in any order: what is left keeps its order.
    for (const index of [40, 3, 17, 0]) answer(client, "puback", sent[index]!.packetId);
    client.drop();
    const left = all.filter((_, index) => ![40, 3, 17, 0].includes(index));
    const again = connect(world, ME);
    expect(outline(again)).toEqual(left.map((payload) => `publish ${payload} dup`));
  });

  test("[MQTT311-4.6.0-1] what waited comes behind what was in flight", () => {
    const world = new World({ limits: { inflightMax: 2 } });
    const client = connect(world, ME);
    client.subscribe("a", { qos: 1 });
    const publisher = connect(world);
    for (const payload of ["1", "2", "3", "4"]) publisher.publish("a", payload, { qos: 1 });
    expect(outline(client)).toEqual(["publish 1", "publish 2"]);
    client.drop();
    publisher.publish("a", "5", { qos: 1 });
    const again = connect(world, ME);
    expect(again.takePublishes().map((publish) => `${toText(publish.payload)}${publish.dup ? " dup" : ""}`)).toEqual([
      "1 dup",
      "2 dup",
      "3",
      "4",
      "5",
    ]);
  });

  test.each<[QoS]>([[0], [1], [2]])(
    "[MQTT311-4.6.0-5] [MQTT311-4.6.0-6] QoS %i messages of a publisher on a topic arrive in order",
    (qos) => {
      const world = new World({ limits: { inflightMax: 7 } });
      const client = connect(world);
      client.subscribe(["a", "b"]);
      const [one, two] = [connect(world), connect(world)];
      for (let index = 0; index < 60; index++) {
        one.publish("a", `one a ${index}`, { qos });
        two.publish("a", `two a ${index}`, { qos });
        one.publish("b", `one b ${index}`, { qos });
      }
      const got = texts(client);
      expect(got.length).toBe(180);
      for (const source of ["one a", "two a", "one b"]) {
        const numbers = got.filter((text) => text.startsWith(source)).map((text) => Number(text.slice(6)));
        expect(numbers).toEqual(Array.from({ length: 60 }, (_, index) => index));
      }
    },
  );

  test("[MQTT311-4.6.0-6] also for a subscriber that was away in between", () => {
    const world = new World();
    let client = connect(world, ME);
    client.subscribe("a", { qos: 1 });
    const publisher = connect(world);
    const got: string[] = [];
    for (let index = 0; index < 30; index++) {
      if (index % 10 === 5) client.drop();
      publisher.publish("a", `${index}`, { qos: 1 });
      if (index % 10 === 8) client = connect(world, ME);
      if (index % 10 === 9) got.push(...texts(client));
    }
    expect(got.map(Number)).toEqual(Array.from({ length: 30 }, (_, index) => index));
  });
});
