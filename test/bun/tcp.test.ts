/**
 * MQTT over TCP, through real sockets (MQTT 5.0 section 4.2; MQTT 3.1.1 section 7): the transport is ordered, lossless and
 * two-way, whatever the segments look like, and its end means what the specification says.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createBroker, type RunningBroker } from "rqtt";
import type { ProtocolLevel } from "../../src/core/codec/packet.ts";
import { field, frame, glue } from "../support/hand-made.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { toText } from "../support/world.ts";

let broker: RunningBroker;
const peers: TcpPeer[] = [];

beforeAll(async () => {
  broker = await createBroker({ listeners: ["mqtt://127.0.0.1:0", "mqtt://127.0.0.1:0"] });
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.reset();
});
afterAll(() => broker.close());

async function open(listener = 0): Promise<TcpPeer> {
  const peer = await TcpPeer.open(broker.urls[listener]!);
  peers.push(peer);
  return peer;
}

let clientIds = 0;
async function connected(init: Parameters<TcpPeer["connect"]>[1] = {}, listener = 0): Promise<TcpPeer> {
  const peer = await open(listener);
  await peer.connect(`tcp${++clientIds}`, init);
  return peer;
}

/** Bytes that differ from place to place, so that a lost, doubled or swapped piece shows. */
function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

describe.each<[ProtocolLevel]>([[3], [4], [5]])("level %i", (level) => {
  test("[MQTT-4.2-1] [MQTT311-7.1.1-1] what goes in comes out: in order, complete, in both directions at once", async () => {
    const [one, two] = [await connected({ level }), await connected({ level })];
    await one.subscribe(`${level}/to one`, 0);
    await two.subscribe(`${level}/to two`, 0);
    const sizes = Array.from(
      { length: 150 },
      (_, index) => ((index * index * 37) % 6000) + (index % 10 === 9 ? 60_000 : 0),
    );
    const talk = async (from: TcpPeer, to: TcpPeer, topicName: string, seed: number) => {
      for (const [index, size] of sizes.entries()) {
        await from.write(publishBytes(topicName, pattern(size, seed + index), 0, level));
        const packet = await to.inbox.packet(level);
        if (packet?.type !== "publish") throw new Error(`got ${packet?.type}`);
        expect(Buffer.compare(packet.payload, pattern(size, seed + index))).toBe(0);
      }
    };
    await Promise.all([talk(one, two, `${level}/to two`, 1), talk(two, one, `${level}/to one`, 100_000)]);
  });

  test("[MQTT-4.2-1] QoS 1 in one burst: acknowledged and delivered in order", async () => {
    const subscriber = await connected({ level });
    await subscriber.subscribe(`${level}/burst`, 1);
    const publisher = await connected({ level });
    const count = 500;
    const burst = Array.from({ length: count }, (_, index) =>
      publishBytes(`${level}/burst`, pattern(index, index), index + 1, level),
    );
    await publisher.write(Buffer.concat(burst));
    for (let index = 0; index < count; index++) {
      expect(await publisher.inbox.packet(level)).toMatchObject({ type: "puback", packetId: index + 1 });
      const packet = await subscriber.inbox.packet(level);
      if (packet?.type !== "publish") throw new Error(`got ${packet?.type}`);
      expect(Buffer.compare(packet.payload, pattern(index, index))).toBe(0);
      await subscriber.send({ type: "puback", packetId: packet.packetId!, reasonCode: 0, properties: {} });
    }
  });
});

test("a packet may arrive byte by byte", async () => {
  const peer = await open();
  const connect = frame(0x10, "00 04 4d 51 54 54 05 02 00 00 00", field("62 62 62"));
  const subscribe = frame(0x82, "00 01 00", field("78"), "00");
  const publish = frame(0x30, field("78"), "00", "68 69");
  for (const byte of glue(connect, subscribe, publish)) await peer.write(Uint8Array.of(byte));
  expect((await peer.inbox.packet())?.type).toBe("connack");
  expect((await peer.inbox.packet())?.type).toBe("suback");
  expect(await peer.inbox.packet()).toMatchObject({ type: "publish", topicName: "x" });
});

describe("the end of a connection", () => {
  test.each(["shutdown", "reset"] as const)("%s by the client without DISCONNECT publishes its Will", async (how) => {
    const watcher = await connected();
    await watcher.subscribe(`will/${how}`, 0);
    const client = await connected({ will: { topicName: `will/${how}`, payload: "gone" } });
    client[how]();
    const packet = await watcher.inbox.packet();
    expect(packet?.type === "publish" && toText(packet.payload)).toBe("gone");
    // The broker ends its side too.
    expect((await client.inbox.rest()).length).toBe(0);
  });

  test("after DISCONNECT the broker closes", async () => {
    const client = await connected();
    await client.send({ type: "disconnect", reasonCode: 0, properties: {} });
    expect((await client.inbox.rest()).length).toBe(0);
  });

  test("the reason of a close arrives even when much unread input follows the bad packet", async () => {
    for (let round = 0; round < 5; round++) {
      const client = await connected();
      await client.write(glue(frame(0x82, "00 01 00"), pattern(100_000, round)));
      expect(await client.inbox.packet()).toMatchObject({ type: "disconnect", reasonCode: 0x82 });
      expect(await client.inbox.packet()).toBeUndefined();
    }
  });

  test("before CONNECT anything else is closed without an answer", async () => {
    for (const bytes of ["c0 00", "474554202f20485454502f312e310d0a0d0a", "00 00", "ff ff ff ff ff"]) {
      const client = await open();
      await client.write(bytes);
      expect((await client.inbox.rest()).length).toBe(0);
    }
  });
});

test("several listeners are one broker", async () => {
  expect(new Set(broker.urls).size).toBe(2);
  const subscriber = await connected({}, 0);
  await subscriber.subscribe("across", 0);
  const publisher = await connected({}, 1);
  await publisher.write(publishBytes("across", new TextEncoder().encode("x")));
  expect(await subscriber.inbox.packet()).toMatchObject({ type: "publish", topicName: "across" });
});
