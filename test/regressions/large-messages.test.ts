/** Large messages to many receivers: one copy of the payload for all of them, byte for byte what was published. */
import { expect, test } from "bun:test";
import { type Framed, RecordingWire } from "../support/recording-wire.ts";
import { publishBytes } from "../support/tcp-peer.ts";
import { toBytes, World } from "../support/world.ts";

const KB = 1024;

/** Bytes that are not alike anywhere. */
function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7 + 1) & 0xff);
}

function payloadOf({ packet }: Framed): Uint8Array {
  if (packet.type !== "publish") throw new Error(`found ${packet.type}`);
  return packet.payload;
}

test("a payload that is large is not copied for each of its receivers", () => {
  for (const qos of [0, 1] as const) {
    const world = new World();
    const wires = Array.from({ length: 50 }, (_, at) => RecordingWire.connect(world, `r${at}`));
    for (const wire of wires) wire.subscribe("a", qos);
    const payload = pattern(300 * KB);
    const publisher = world.connect();
    publisher.sendPublish("a", payload, { qos });
    for (const wire of wires) {
      expect(wire.takeFramed().map(payloadOf)).toEqual([payload]);
    }
    const carriers = wires.flatMap((wire) => wire.sends.filter(({ bytes }) => bytes.length >= payload.length));
    expect(carriers.length).toBe(wires.length);
    // A transport that cannot pass it on at once may keep it as it is: nobody changes it any more.
    expect(carriers.every(({ lasting }) => lasting)).toBe(true);
    expect(new Set(carriers.map(({ bytes }) => bytes.buffer)).size).toBe(1);
  }
});

test("what a transport may keep does not change after the turn, nor with the bytes it was published in", () => {
  const world = new World();
  const wire = RecordingWire.connect(world, "r");
  wire.subscribe("a", 0);
  const payload = pattern(100 * KB);
  const publisher = world.connect();
  publisher.sendPublish("a", payload); // the bytes given to the broker are written over
  const [kept] = wire.sends.filter(({ bytes }) => bytes.length === payload.length);
  for (let i = 0; i < 20; i++) publisher.sendPublish("a", new Uint8Array(100 * KB).fill(i));
  expect(Buffer.compare(kept!.bytes, payload)).toBe(0);
});

test("what a member of a share may keep does not change either, at QoS 0 no more than at QoS 1", () => {
  for (const qos of [0, 1] as const) {
    const world = new World();
    const wires = ["one", "two"].map((group) => {
      const wire = RecordingWire.connect(world, group);
      wire.subscribe(`$share/${group}/a`, qos);
      return wire;
    });
    const payload = pattern(100 * KB);
    world.connect().sendPublish("a", payload, { qos });
    for (const wire of wires) {
      const [kept] = wire.sends.filter(({ lasting }) => lasting);
      expect(Buffer.compare(kept!.bytes, payload)).toBe(0);
    }
  }
});

test("large and small messages stay in order and whole, with every property a receiver may have", () => {
  for (const level of [4, 5] as const) {
    for (const aliases of level === 5 ? [0, 5] : [0]) {
      const world = new World();
      const wire = RecordingWire.connect(world, "r", { level, properties: { topicAliasMaximum: aliases } });
      wire.subscribe("#", 1, level === 5 ? { subscriptionIdentifiers: [7] } : {});
      const second = RecordingWire.connect(world, "s", { level });
      second.subscribe("#", 1);
      const sizes = [10, 64 * KB - 1, 64 * KB, 5, 64 * KB + 1, 0, 200 * KB, 1];
      const publisher = world.connect();
      const properties = { contentType: "x", messageExpiryInterval: 60 };
      for (const size of sizes) publisher.publish("a/b", pattern(size), { qos: 1, properties });
      for (const receiver of [wire, second]) {
        const framed = receiver.takeFramed();
        expect(framed.map((one) => payloadOf(one).length)).toEqual(sizes);
        for (const one of framed) expect(Buffer.compare(payloadOf(one), pattern(payloadOf(one).length))).toBe(0);
        for (const { packet } of framed) {
          if (packet.type !== "publish" || level !== 5) continue;
          expect(packet.properties.contentType).toBe("x");
          expect(packet.properties.messageExpiryInterval).toBe(60);
          expect(packet.properties.subscriptionIdentifiers).toEqual(receiver === wire ? [7] : undefined);
        }
      }
    }
  }
});

test("a message too large for a receiver is left out whole: nothing of it is written", () => {
  const world = new World();
  const small = RecordingWire.connect(world, "small", { properties: { maximumPacketSize: 70 * KB } });
  small.subscribe("a", 1);
  const large = RecordingWire.connect(world, "large");
  large.subscribe("a", 1);
  const publisher = world.connect();
  for (const size of [100 * KB, 65 * KB, 100 * KB]) publisher.publish("a", pattern(size), { qos: 1 });
  publisher.publish("a", toBytes("end"), { qos: 1 });
  expect(small.takeFramed().map((one) => payloadOf(one).length)).toEqual([65 * KB, 3]);
  expect(large.takeFramed().map((one) => payloadOf(one).length)).toEqual([100 * KB, 65 * KB, 100 * KB, 3]);
  expect(world.broker.statistics.dropped.tooLarge).toBe(2);
});

test("a turn of many messages for one client is written as it grows, not gathered until the end", () => {
  const world = new World();
  const wire = RecordingWire.connect(world, "r");
  wire.subscribe("a", 0);
  const publisher = world.connect();
  wire.sends.length = 0;
  const packets = Array.from({ length: 100 }, () => ({
    type: "publish" as const,
    dup: false,
    qos: 0 as const,
    retain: false,
    topicName: "a",
    payload: pattern(40 * KB),
    properties: {},
  }));
  publisher.send(...packets); // one read of the broker
  expect(wire.takeFramed().length).toBe(100);
  const largest = Math.max(...wire.sends.map(({ bytes }) => bytes.length));
  expect(largest).toBeLessThan(128 * KB);
  // ... and not packet by packet either.
  expect(wire.sends.length).toBeLessThanOrEqual(51);
});

test("while a turn goes on no client's outbox holds more than one write's worth, however many clients there are", () => {
  const world = new World();
  const wires = Array.from({ length: 20 }, (_, at) => RecordingWire.connect(world, `r${at}`));
  for (const wire of wires) wire.subscribe("a", 0);
  const publisher = RecordingWire.connect(world, "publisher");
  for (let at = 0; at < 4; at++) {
    world.broker.receive(publisher.connection, publishBytes("a", pattern(40 * KB)), world.nowMs);
    for (const { connection } of wires) expect(connection.outbox?.length ?? 0).toBeLessThan(64 * KB);
  }
  world.settle();
  for (const wire of wires) expect(wire.takeFramed().length).toBe(4);
});
