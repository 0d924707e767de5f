/**
 * What the broker keeps is a copy, and only as much as it needs: runtimes hand over byte arrays of their own kind, whose
 * `slice` may be a view, and chunks of which one packet is a small part.
 */
import { expect, test } from "bun:test";
import { createBroker } from "rqtt";
import { encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import type { AuthPlugin, Verdict } from "../../src/core/gate/provider.ts";
import { accept, goOn, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, connectPacket, type TestClient, toBytes, toText, World } from "../support/world.ts";

const CHUNK_BYTES = 512 * 1024;

function encode(...packets: Packet[]): Uint8Array {
  const writer = new Writer();
  for (const packet of packets) encodePacket(writer, packet, 5);
  return writer.view().slice();
}

/** Gives the broker bytes in memory that is written over as soon as the call has returned, and a settled turn. */
function giveLent(client: TestClient, bytes: Uint8Array, between: () => void = () => {}): void {
  const { broker, nowMs } = client.world;
  const lent = Buffer.from(bytes);
  broker.receive(client.connection, lent, nowMs);
  lent.fill(0x58);
  between();
  client.world.settle();
}

const WILL: ConnectInit["will"] = {
  topicName: "will",
  payload: "last words",
  properties: { correlationData: toBytes("ticket-1"), contentType: "text/plain" },
};

test("a Will is what CONNECT said, whatever becomes of the bytes it came in", () => {
  const world = new World();
  const watcher = world.connect();
  watcher.subscribe("will");
  const client = world.open();
  giveLent(client, encode(connectPacket("client", { will: WILL })));
  client.drop();
  const [will] = watcher.takePublishes();
  expect([toText(will!.payload), toText(will!.properties.correlationData!)]).toEqual(["last words", "ticket-1"]);
});

test("what waits for a verdict is what the client sent: Will, password, authentication data, later packets", () => {
  const auth = new ScriptedAuth((request) => (request.clientId === "watcher" ? accept() : undefined));
  const world = new World({ auth });
  const watcher = world.connect({ clientId: "watcher" });
  watcher.subscribe("#");
  const client = world.open();
  const properties = { authenticationMethod: "M", authenticationData: toBytes("first") };
  const connect = connectPacket("client", { username: "u", password: "secret", will: WILL, properties });
  giveLent(client, encode(connect));
  expect([toText(auth.last.password!), toText(auth.last.authenticationData!)]).toEqual(["secret", "first"]);
  auth.decide(world, goOn("?"));
  const step = { authenticationMethod: "M", authenticationData: toBytes("second") };
  giveLent(client, encode({ type: "auth", reasonCode: 0x18, properties: step }));
  expect([toText(auth.last.password!), toText(auth.last.authenticationData!)]).toEqual(["secret", "second"]);
  giveLent(
    client,
    encode({
      type: "publish",
      dup: false,
      qos: 0,
      retain: false,
      topicName: "held",
      payload: toBytes("kept in order"),
      properties: {},
    }),
  );
  auth.decide(world, accept());
  client.drop();
  const received = watcher.takePublishes();
  expect(received.map((publish) => [publish.topicName, toText(publish.payload)])).toEqual([
    ["held", "kept in order"],
    ["will", "last words"],
  ]);
  expect(toText(received[1]!.properties.correlationData!)).toBe("ticket-1");
});

test("what is queued or retained is what was published", () => {
  const world = new World();
  const away = world.connect({ clientId: "away", properties: { sessionExpiryInterval: 100 } });
  away.subscribe("a", { qos: 1 });
  away.drop();
  const publisher = world.connect();
  const properties = { correlationData: toBytes("c"), userProperties: [["k", "v"]] as [string, string][] };
  giveLent(
    publisher,
    encode({
      type: "publish",
      dup: false,
      qos: 1,
      retain: true,
      packetId: 1,
      topicName: "a",
      payload: toBytes("p".repeat(100)),
      properties,
    }),
  );
  const back = world.connect({ clientId: "away", cleanStart: false });
  back.subscribe("a", { qos: 1 });
  const received = back.takePublishes();
  expect(received.map((publish) => toText(publish.payload))).toEqual(["p".repeat(100), "p".repeat(100)]);
  expect(received.map((publish) => publish.properties)).toEqual([properties, properties]);
});

test("a Will, a queued or a retained message keeps its own bytes alive, not the chunk it arrived in", () => {
  const world = new World();
  const away = world.connect({ clientId: "away", properties: { sessionExpiryInterval: 100 } });
  away.subscribe("a", { qos: 1 });
  const awaySession = away.connection.session!;
  away.drop();
  const client = world.open();
  const packets = encode(connectPacket("client", { will: WILL }), {
    type: "publish",
    dup: false,
    qos: 1,
    retain: true,
    packetId: 1,
    topicName: "a",
    payload: toBytes("small"),
    properties: { contentType: "text/plain" },
  });
  // A read full of packets: PINGREQ after PINGREQ behind the two that are kept.
  const chunk = Buffer.alloc(CHUNK_BYTES + packets.length);
  chunk.set(packets);
  for (let at = packets.length; at < chunk.length; at += 2) chunk[at] = 0xc0;
  world.broker.receive(client.connection, chunk, world.nowMs);
  const { will } = client.connection.session!;
  const queued = awaySession.queue!.shift()!;
  const kept = [will!.message, queued.message].flatMap((message) => [message.payload, message.properties]);
  kept.push(will!.message.topicName.bytes, queued.message.topicName.bytes);
  for (const bytes of kept) expect(bytes.buffer.byteLength).toBeLessThan(1024);
});

/** Bytes that are not alike anywhere. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7 + seed * 13) & 0xff);
}

/** One in four payloads comes with more properties than payload. */
function contentTypeOf(payload: Uint8Array, at: number): string {
  return "x".repeat(at % 4 === 3 ? Math.min(60_000, payload.length) : 1);
}

/** Sends a PUBLISH in these many pieces, each in memory that is gone when the broker has taken it. */
function publishInPieces(client: TestClient, at: number, payload: Uint8Array, pieces: number): void {
  const bytes = encode({
    type: "publish",
    dup: false,
    qos: 1,
    retain: true,
    packetId: 1,
    topicName: `t/${at}`,
    payload,
    properties: { contentType: contentTypeOf(payload, at), messageExpiryInterval: 1000 },
  });
  const step = Math.ceil(bytes.length / pieces);
  for (let from = 0; from < bytes.length; from += step) client.sendBytes(bytes.subarray(from, from + step));
}

test("what arrived in one piece or several is kept as it was published, and nothing that comes later changes it", () => {
  const world = new World();
  const away = world.connect({ clientId: "away", properties: { sessionExpiryInterval: 100 } });
  away.subscribe("#", { qos: 1 });
  const awaySession = away.connection.session!;
  away.drop();
  const publisher = world.connect();
  const sizes = [10, 60, 100, 1_000, 70_000, 300_000, 1_000, 500_000];
  for (const [at, size] of sizes.entries()) publishInPieces(publisher, at, pattern(size, at), 1 + ((at * 3) % 5));
  // Others of the same sizes, from the same connection and from another one, which nobody keeps.
  for (const client of [publisher, world.connect()]) {
    for (const size of sizes) {
      const payload = new Uint8Array(size).fill(0x58);
      const head = { type: "publish", dup: false, qos: 0, retain: false, topicName: "noise" } as const;
      const noise = encode({ ...head, payload, properties: {} });
      client.sendBytes(noise.subarray(0, noise.length >> 1));
      client.sendBytes(noise.subarray(noise.length >> 1));
    }
  }
  const queued = awaySession.queue!.all();
  for (const { message } of queued) {
    const buffers = new Set([message.payload.buffer, message.properties.buffer]);
    const held = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(held).toBeLessThanOrEqual(message.sizeBytes * (8 / 7) + 64);
  }
  const back = world.connect({ clientId: "away", cleanStart: false });
  const received = back.takePublishes();
  back.subscribe("#", { qos: 1 });
  const retained = back.takePublishes().toSorted((a, b) => a.topicName.localeCompare(b.topicName));
  for (const publishes of [received, retained]) {
    expect(publishes.map(({ topicName }) => topicName)).toEqual(sizes.map((_, at) => `t/${at}`));
    for (const [at, { payload, properties }] of publishes.entries()) {
      expect(Buffer.compare(payload, pattern(sizes[at]!, at))).toBe(0);
      expect(properties).toEqual({ contentType: contentTypeOf(payload, at), messageExpiryInterval: 1000 });
    }
  }
});

/** Lets everybody in, but only when told to. */
function slowPlugin(verdict: Promise<Verdict>): AuthPlugin {
  return { apiVersion: 1, name: "slow", create: () => ({ connect: () => verdict }) };
}

test("an in-process client may reuse its bytes, whatever kind of array they are, as soon as `send` has returned", async () => {
  const verdict = Promise.withResolvers<Verdict>();
  const broker = await createBroker({ sysIntervalMs: 0, plugins: [{ plugin: slowPlugin(verdict.promise) }] });
  try {
    const connection = broker.connect();
    const answered = Promise.withResolvers<void>();
    const received: number[] = [];
    connection.onreceive = (bytes) => {
      received.push(...bytes);
      if (Buffer.from(received).includes("hello")) answered.resolve();
    };
    connection.onclose = () => answered.reject(new Error("the broker closed"));
    const filter = { topicFilter: "a", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    const packets: Packet[] = [
      connectPacket("client", {}),
      { type: "subscribe", packetId: 1, properties: {}, filters: [filter] },
      {
        type: "publish",
        dup: false,
        qos: 0,
        retain: false,
        topicName: "a",
        payload: toBytes("hello"),
        properties: {},
      },
    ];
    // All but the first wait for the verdict.
    for (const packet of packets) {
      const lent = Buffer.from(encode(packet));
      connection.send(lent);
      lent.fill(0x58);
    }
    verdict.resolve({ do: "accept", principal: { id: "client", permissions: "everything" } });
    await answered.promise;
    connection.close();
  } finally {
    await broker.close();
  }
});
