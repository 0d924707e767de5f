/** Servers that break the protocol: each gets the DISCONNECT that says so, and whoever waits a typed error of the small client. */
import { describe, expect, test } from "bun:test";
import { connect, MqttError } from "rqtt/client/small";
import type { SmallClient, SmallOptions } from "../../src/client/small/small-options.ts";
import type { Transport } from "../../src/client/transport.ts";
import { fuzzPacket } from "../fuzz/packet-fuzzer.ts";
import { Random } from "../fuzz/random.ts";
import { MISDEEDS, publishOf } from "./misdeeds.ts";
import { rejection, type ScriptedConnection, ScriptedServer } from "./scripted-server.ts";

async function online(options: SmallOptions = {}): Promise<{ client: SmallClient; server: ScriptedConnection }> {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, options);
  const server = await script.connection();
  await server.accept();
  return { client: await connecting, server };
}

test.each(MISDEEDS.filter(([, , code]) => code))("%s", async (_, _large, code, misbehave, options) => {
  const { client, server } = await online(options);
  const states: unknown[] = [];
  client.onstate = (state, error) => states.push(state, error?.code);
  const pending = client.publish("a", "b", { qos: 1 });
  pending.catch(() => {});
  const asking = client.subscribe("c");
  asking.catch(() => {});
  expect(await server.packet("publish")).toMatchObject({ packetId: 1 });
  expect(await server.packet("subscribe")).toMatchObject({ packetId: 2 });
  misbehave(server);
  // What it says afterwards is not heard.
  server.say({ type: "puback", packetId: 1, reasonCode: 0, properties: {} });
  expect(await server.packet("disconnect")).toMatchObject({ reasonCode: code });
  await server.end();
  for (const error of [await rejection(pending), await rejection(asking)]) {
    expect(error).toBeInstanceOf(MqttError);
    expect(error).toMatchObject({ code, packet: "" });
  }
  expect(states).toEqual(["closed", code]);
  expect(await rejection(client.publish("a", "b"))).toMatchObject({ code: -3 });
});

test("more QoS 1 messages than the Receive Maximum", async () => {
  const { client, server } = await online({ receiveMaximum: 2 });
  const subscribing = client.subscribe("t", { qos: 1, ack: "manual" });
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [1], properties: {} });
  const subscription = await subscribing;
  for (let id = 1; id <= 3; id++) server.say(publishOf({ qos: 1, packetId: id }));
  expect(await server.packet("disconnect")).toMatchObject({ reasonCode: 0x93 });
  expect(client.state).toBe("closed");
  expect((await subscription.next()).value?.topic).toBe("t");
  expect((await subscription.next()).value?.topic).toBe("t");
  expect(await rejection(subscription.next())).toMatchObject({ code: 0x93 });
});

test("a refused subscription is told, and no more; an abandoned one is undone", async () => {
  const { client, server } = await online();
  const refused = client.subscribe("t");
  const first = await server.packet("subscribe");
  const reasonString = "not yours";
  server.say({ type: "suback", packetId: first.packetId, reasonCodes: [0x87], properties: { reasonString } });
  expect(await rejection(refused)).toMatchObject({ code: 0x87, packet: "subscribe", reasonString });
  expect(server.waiting).toEqual([]);
  expect(await rejection(client.subscribe("u", { deadlineMs: 5 }))).toMatchObject({ code: -2, packet: "subscribe" });
  const second = await server.packet("subscribe");
  const { packetId, topicFilters } = await server.packet("unsubscribe");
  expect(topicFilters).toEqual(["u"]);
  server.say({ type: "suback", packetId: second.packetId, reasonCodes: [0], properties: {} });
  server.say({ type: "unsuback", packetId, reasonCodes: [0], properties: {} });
  client.close();
  await server.packet("disconnect");
});

test("a Maximum Packet Size that nothing fits in", async () => {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, { keepAlive: 1, retryMs: 0 });
  const server = await script.connection();
  await server.accept({ maximumPacketSize: 1 });
  const client = await connecting;
  expect(await rejection(client.publish("a", "b", { qos: 1 }))).toMatchObject({ code: 0x95, packet: "publish" });
  expect(await rejection(client.subscribe("a"))).toMatchObject({ code: 0x95 });
  await server.packet("pingreq");
  client.close();
});

describe("before CONNACK", () => {
  async function connecting(options: SmallOptions = {}) {
    const script = new ScriptedServer();
    const promise = connect(script.transport, options);
    promise.catch(() => {});
    const server = await script.connection();
    await server.packet("connect");
    return { promise, server, script };
  }

  test.each([
    ["another packet", 0x82, [0xd0, 0]],
    ["a DISCONNECT", 0x82, [0xe0, 0]],
    ["Session Present for a new session", 0x82, [0x20, 3, 1, 0, 0]],
    ["flags that are none", 0x82, [0x20, 3, 2, 0, 0]],
    ["a CONNACK without properties", 0x81, [0x20, 2, 0, 0]],
    ["a CONNACK cut short", 0x81, [0x20, 1, 0]],
    ["text", 0x82, [...Buffer.from("HTTP/1.1 426 Upgrade Required\r\n".repeat(4))]],
  ] as const)("%s: hung up without a word", async (_, code, bytes) => {
    const { promise, server } = await connecting();
    server.bytes(bytes);
    await server.end();
    const error = await rejection(promise);
    expect(error).toBeInstanceOf(MqttError);
    expect(error).toMatchObject({ code });
    expect(server.waiting).toEqual([]);
  });

  test("a refusal is typed, with the server's words, and the first is the last", async () => {
    const { promise, server } = await connecting({ retryMs: 1 });
    const properties = { reasonString: "who are you?" };
    server.say({ type: "connack", sessionPresent: false, reasonCode: 0x88, properties });
    expect(await rejection(promise)).toMatchObject({
      code: 0x88,
      packet: "connect",
      reasonString: "who are you?",
      retriable: true,
    });
    await server.end();
  });

  test("a connection that ends, and one that stays silent", async () => {
    const { promise, server } = await connecting();
    server.cut();
    expect(await rejection(promise)).toMatchObject({ code: -4, packet: "connect", reasonString: "cut" });
    const silent = await connecting({ deadlineMs: 10 });
    expect(await rejection(silent.promise)).toMatchObject({ code: -2, packet: "connect" });
    await silent.server.end();
    const unopened: Transport = () => ({ send() {}, close() {} });
    expect(await rejection(connect(unopened, { deadlineMs: 10 }))).toMatchObject({ code: -2 });
  });

  test("a CONNECT that cannot be written", async () => {
    const script = new ScriptedServer();
    expect(await rejection(connect(script.transport, { clientId: "\ud800" }))).toMatchObject({ code: 0x81 });
    expect(await rejection(connect("no:url:at:all"))).toBeInstanceOf(Error);
  });
});

describe("silence", () => {
  test("each operation has its deadline, and a late answer is no mistake", async () => {
    const { client, server } = await online({ deadlineMs: 20 });
    expect(await rejection(client.publish("a", "b", { qos: 1 }))).toMatchObject({ code: -2, packet: "publish" });
    expect(await rejection(client.subscribe("a"))).toMatchObject({ code: -2, packet: "subscribe" });
    const { packetId } = await server.packet("publish");
    server.say({ type: "puback", packetId: packetId!, reasonCode: 0, properties: {} });
    await client.publish("a", "c", { qos: 0 });
    expect(client.state).toBe("online");
    client.close();
  });

  test("a server that does not answer PINGREQ is left, and called again; one that answers is not", async () => {
    const script = new ScriptedServer();
    const connecting = connect(script.transport, { keepAlive: 100, retryMs: 1 });
    const server = await script.connection();
    await server.accept({ serverKeepAlive: 1 });
    const client = await connecting;
    await server.packet("pingreq");
    server.say({ type: "pingresp" });
    await server.packet("pingreq");
    const gone = new Promise((resolve) => {
      client.onstate = (state, error) => resolve([state, error?.code, error?.retriable]);
    });
    expect(await server.packet("disconnect")).toMatchObject({ reasonCode: 0x8d });
    expect(await gone).toEqual(["offline", 0x8d, true]);
    const again = await script.connection();
    await again.accept({ serverKeepAlive: 1 }, true);
    await again.packet("pingreq");
    client.close();
  });

  test("the caller's signal ends a wait, and leaves the client working", async () => {
    const { client, server } = await online();
    const controller = new AbortController();
    const publishing = client.publish("a", "b", { qos: 1, signal: controller.signal });
    publishing.catch(() => {});
    controller.abort(new Error("enough"));
    expect(await rejection(publishing)).toMatchObject({ code: -1, cause: new Error("enough") });
    expect(await rejection(client.publish("a", "x", { signal: AbortSignal.abort() }))).toMatchObject({ code: -1 });
    const again = client.publish("a", "c", { qos: 1 });
    expect(await server.packet("publish")).toMatchObject({ packetId: 1 });
    const { packetId } = await server.packet("publish");
    expect(packetId).toBe(2);
    server.say({ type: "puback", packetId: packetId!, reasonCode: 0x10, properties: {} });
    expect(await again).toMatchObject({ reasonCode: 0x10 });
    expect(server.waiting).toEqual([]);
    client.close();
  });

  test("the client's signal ends the client", async () => {
    const controller = new AbortController();
    const { client, server } = await online({ signal: controller.signal });
    const publishing = client.publish("a", "b", { qos: 1 });
    publishing.catch(() => {});
    controller.abort();
    expect(await rejection(publishing)).toMatchObject({ code: -1 });
    await server.packet("publish");
    await server.packet("disconnect");
    await server.end();
    expect(client.state).toBe("closed");
    const { transport } = new ScriptedServer();
    expect(await rejection(connect(transport, { signal: AbortSignal.abort() }))).toMatchObject({ code: -1 });
  });
});

test.each([
  ["a session that somebody else took", 0x8e, "closed"],
  ["a server that shuts down", 0x8b, "offline"],
  ["no reason", 0, "offline"],
] as const)("DISCONNECT for %s", async (_, code, state) => {
  const { client, server } = await online({ retryMs: 20_000 });
  const changed = new Promise((resolve) => {
    client.onstate = (now, error) => resolve([now, error?.code, error?.reasonString]);
  });
  server.say({ type: "disconnect", reasonCode: code, properties: { reasonString: "why" } });
  expect(await changed).toEqual([state, code || -4, "why"]);
  expect(server.waiting).toEqual([]);
  client.close();
});

test("what follows a DISCONNECT in the same piece is not heard", async () => {
  const { client, server } = await online({ retryMs: 20_000 });
  const states: unknown[] = [];
  client.onstate = (state) => states.push(state);
  server.bytes([0xe0, 1, 0x8b, 0x40, 2, 0, 9, 0x00, 0]);
  await server.end();
  await Promise.resolve();
  expect(states).toEqual(["offline"]);
  client.close();
});

test("all Packet Identifiers in use: refused, not searched for ever", async () => {
  const { client, server } = await online();
  const settled: Promise<unknown>[] = [];
  for (let i = 0; i < 65_535; i++) settled.push(client.publish("a", "", { qos: 1 }).catch(() => {}));
  expect(await rejection(client.subscribe("a"))).toMatchObject({ code: 0x97, packet: "subscribe" });
  server.say({ type: "puback", packetId: 77, reasonCode: 0, properties: {} });
  settled.push(client.publish("a", "", { qos: 1 }).catch(() => {}));
  for (let i = 0; i < 65_535; i++) await server.packet("publish");
  expect(await server.packet("publish")).toMatchObject({ packetId: 77 });
  client.close();
  await Promise.all(settled);
}, 30_000);

test("the listener is called when all is done, so that what it throws is the page's alone", async () => {
  const { client, server } = await online();
  const states: string[] = [];
  client.onstate = (state) => states.push(state);
  client.close();
  expect(client.state).toBe("closed");
  expect(states).toEqual([]);
  await server.packet("disconnect");
  expect(states).toEqual(["closed"]);
});

test("fuzzed packets and bytes: nothing is thrown, nothing hangs, and what ends the client is an MqttError", async () => {
  const random = new Random(20_262);
  const ended = { alive: 0, closed: 0, offline: 0 };
  for (let round = 0; round < 3_000; round++) {
    let events!: { opened(): void; received(bytes: Uint8Array): void };
    const sent: Uint8Array[] = [];
    const connecting = connect(
      (opened, received) => {
        events = { opened, received };
        return { send: (bytes) => sent.push(bytes), close() {} };
      },
      { retryMs: 60_000, cleanStart: false, packetBytesMax: 10_000 },
    );
    events.opened();
    events.received(new Uint8Array([0x20, 3, round % 2, 0, 0]));
    const client = await connecting;
    const waiting = [
      client.publish("a", "b", { qos: 1 }),
      client.subscribe("t/#", { qos: 1 }).then((subscription) => subscription.next()),
    ];
    for (const promise of waiting) promise.catch(() => {});
    const pieces = Array.from({ length: 4 }, () =>
      random.oneIn(4)
        ? Uint8Array.from({ length: random.between(1, 12) }, () => random.below(256))
        : fuzzPacket(random).bytes,
    );
    for (const piece of pieces) {
      const cut = random.below(piece.length + 1);
      events.received(piece.slice(0, cut));
      events.received(piece.slice(cut));
      await Promise.resolve();
    }
    const { state } = client;
    ended[state === "online" ? "alive" : (state as "closed" | "offline")]++;
    client.close();
    const outcomes = await Promise.allSettled(waiting);
    for (const outcome of outcomes) {
      if (outcome.status === "rejected" && !(outcome.reason instanceof MqttError)) {
        throw new Error(pieces.map((piece) => Buffer.from(piece).toString("hex")).join(" "), { cause: outcome.reason });
      }
    }
    expect(client.state).toBe("closed");
  }
  for (const count of Object.values(ended)) expect(count).toBeGreaterThan(20);
}, 60_000);
