/** Embedding: `createBroker` with and without listeners, connections of the same process, plugins, and the end of it all. */
import { afterEach, describe, expect, test } from "bun:test";
import { type CreateBrokerOptions, createBroker, ListenError, type RunningBroker } from "rqtt";
import type { AuthPlugin } from "rqtt/plugin";
import type { Packet } from "../../src/core/codec/packet.ts";
import { join } from "../support/in-process-client.ts";
import { RawClient } from "../support/raw-client.ts";
import { connectPacket, toBytes, toText } from "../support/world.ts";

const running: RunningBroker[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((broker) => broker.close()));
});

async function start(options: CreateBrokerOptions = {}): Promise<RunningBroker> {
  const broker = await createBroker({ sysIntervalMs: 0, ...options });
  running.push(broker);
  return broker;
}

const subscribe = (topicFilter: string): Packet => ({
  type: "subscribe",
  packetId: 1,
  filters: [{ topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
  properties: {},
});

const publish = (topicName: string, payload: string, qos: 0 | 1 = 1): Packet => ({
  type: "publish",
  dup: false,
  qos,
  retain: false,
  topicName,
  ...(qos === 0 ? {} : { packetId: 9 }),
  payload: toBytes(payload),
  properties: {},
});

describe("in-process connections", () => {
  test("a broker without listeners carries messages between two of them", async () => {
    const broker = await start();
    expect(broker.urls).toEqual([]);
    const subscriber = join(broker, "s");
    expect(await subscriber.next()).toMatchObject({ type: "connack", reasonCode: 0 });
    subscriber.send(subscribe("a/#"));
    expect(await subscriber.next()).toMatchObject({ type: "suback", reasonCodes: [1] });
    const publisher = join(broker, "p");
    await publisher.next();
    publisher.send(publish("a/b", "hello"));
    expect(await publisher.next()).toMatchObject({ type: "puback", packetId: 9, reasonCode: 0 });
    const received = (await subscriber.next()) as Extract<Packet, { type: "publish" }>;
    expect([received.topicName, toText(received.payload)]).toEqual(["a/b", "hello"]);
    expect(broker.statistics.publishReceived).toBe(1);
  });

  test("a client that answers from within onreceive is served", async () => {
    const broker = await start();
    const connection = broker.connect();
    const answers: number[] = [];
    const done = Promise.withResolvers<void>();
    connection.onreceive = (bytes) => {
      answers.push(bytes[0]!);
      if (answers.length < 5) connection.send(Uint8Array.of(0xc0, 0));
      else done.resolve();
    };
    connection.send(RawClient.connectBytes(5, "c"));
    await done.promise;
    expect(answers).toEqual([0x20, 0xd0, 0xd0, 0xd0, 0xd0]);
  });

  test("thousands of messages arrive in order and none is lost, whatever the socket-less backlog", async () => {
    const broker = await start();
    const subscriber = join(broker, "s");
    await subscriber.next();
    subscriber.send(subscribe("#"));
    await subscriber.next();
    const publisher = join(broker, "p");
    await publisher.next();
    const payload = "x".repeat(1000);
    for (let at = 0; at < 3000; at++) publisher.send(publish("a", `${at} ${payload}`));
    for (let at = 0; at < 3000; at++) {
      const packet = (await subscriber.next()) as Extract<Packet, { type: "publish" }>;
      expect(toText(packet.payload.subarray(0, 6)).split(" ")[0]).toBe(String(at));
      subscriber.send({ type: "puback", packetId: packet.packetId!, reasonCode: 0, properties: {} });
    }
  });

  test("a close by the broker says why, a close by the client ends its session", async () => {
    const broker = await start();
    const bad = join(broker, "bad");
    await bad.next();
    bad.send(connectPacket("bad", {}));
    expect(await bad.next()).toMatchObject({ type: "disconnect", reasonCode: 0x82 });
    expect(await bad.closed).toBe(0x82);
    const good = join(broker, "good");
    await good.next();
    expect(broker.connectionCount).toBe(1);
    good.close();
    expect(broker.connectionCount).toBe(0);
  });
});

describe("listeners", () => {
  test("several at once, a connection of each kind reaches the same sessions", async () => {
    const broker = await start({ listeners: ["mqtt://127.0.0.1:0", "mqtt://127.0.0.1:0", "ws://127.0.0.1:0/mqtt"] });
    const ports = broker.urls.map((url) => Number(new URL(url).port));
    expect(new Set(ports).size).toBe(3);
    const subscriber = join(broker, "s");
    await subscriber.next();
    subscriber.send(subscribe("#"));
    await subscriber.next();
    for (const port of ports.slice(0, 2)) {
      const client = await RawClient.connect(port);
      client.sendConnect(5, `c${port}`);
      expect((await client.packet())[0]).toBe(0x20);
      client.send([0x30, 0x04, 0x00, 0x01, 0x61, 0x00]);
      expect(await subscriber.next()).toMatchObject({ type: "publish", topicName: "a" });
    }
  });

  test("an address that is taken, and a URL that is none, are told", async () => {
    const broker = await start({ listeners: ["mqtt://127.0.0.1:0"] });
    const taken = broker.urls[0]!;
    await expect(createBroker({ listeners: ["ws://127.0.0.1:0/mqtt", taken] })).rejects.toThrow(taken);
    await expect(createBroker({ listeners: ["http://127.0.0.1:1"] })).rejects.toBeInstanceOf(ListenError);
  });

  test("close says goodbye with 0x8B, ends every connection and frees the port", async () => {
    const broker = await createBroker({ listeners: ["mqtt://127.0.0.1:0"], sysIntervalMs: 0 });
    const port = Number(new URL(broker.urls[0]!).port);
    const client = await RawClient.connect(port);
    client.sendConnect(5, "c");
    await client.packet();
    const old = await RawClient.connect(port);
    old.sendConnect(4, "old");
    await old.packet();
    const closing = broker.close();
    expect((await client.packet()).filter((_byte, at) => at === 0 || at === 2)).toEqual([0xe0, 0x8b]);
    await Promise.all([client.closed, old.closed, closing]);
    expect(old.rest()).toEqual([]);
    expect(broker.connectionCount).toBe(0);
    await start({ listeners: [`mqtt://127.0.0.1:${port}`] });
  });
});

describe("plugins", () => {
  const doorbell: AuthPlugin = {
    apiVersion: 1,
    name: "doorbell",
    create: () => ({
      async connect(request) {
        await Promise.resolve();
        if (request.username !== "door") return { do: "refuse", because: "bad-credentials", tell: "no" };
        return { do: "accept", principal: { id: "door", permissions: { allow: [{ on: "pub", filter: "door/#" }] } } };
      },
    }),
  };

  test("decide who comes in and what for", async () => {
    const broker = await start({ plugins: [{ plugin: doorbell }] });
    const stranger = join(broker, "x", { username: "window" });
    expect(await stranger.next()).toMatchObject({
      type: "connack",
      reasonCode: 0x86,
      properties: { reasonString: "no" },
    });
    expect(await stranger.closed).toBe(0x86);
    const door = join(broker, "d", { username: "door" });
    expect(await door.next()).toMatchObject({ type: "connack", reasonCode: 0 });
    door.send(subscribe("door/bell"));
    expect(await door.next()).toMatchObject({ type: "suback", reasonCodes: [0x87] });
    door.send(publish("window/bell", "ring"));
    expect(await door.next()).toMatchObject({ type: "puback", reasonCode: 0x87 });
    door.send(publish("door/bell", "ring"));
    expect(await door.next()).toMatchObject({ type: "puback", reasonCode: 0x10 });
  });

  test("no plugin at all keeps everybody out", async () => {
    const broker = await start({ plugins: [] });
    expect(await join(broker, "x").next()).toMatchObject({ type: "connack", reasonCode: 0x87 });
  });

  test("one that cannot be created refuses the start", async () => {
    const broken: AuthPlugin = {
      apiVersion: 1,
      name: "broken",
      create: () => Promise.reject(new Error("no key file")),
    };
    await expect(createBroker({ plugins: [{ plugin: broken }] })).rejects.toThrow("no key file");
  });
});
