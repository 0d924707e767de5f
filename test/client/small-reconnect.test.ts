/** What the small client says again after a loss, what it gives up, what waits while it is away, and when it stops trying. */
import { expect, spyOn, test } from "bun:test";
import { connect } from "rqtt/client/small";
import type {
  SmallClient,
  SmallMessage,
  SmallOptions,
  SmallSubscribeOptions,
  SmallSubscription,
} from "../../src/client/small/small-options.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import { rejection, type ScriptedConnection, ScriptedServer } from "./scripted-server.ts";

interface Pair {
  readonly client: SmallClient;
  readonly script: ScriptedServer;
  readonly server: ScriptedConnection;
}

async function pair(options: SmallOptions = {}, properties: Properties = {}, sessionPresent = false): Promise<Pair> {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, { retryMs: 1, ...options });
  const server = await script.connection();
  await server.accept(properties, sessionPresent);
  return { client: await connecting, script, server };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Subscribes, and has it granted; answers with the Subscription Identifiers too. */
async function subscribed(
  { client, server }: Pick<Pair, "client" | "server">,
  filter: string,
  options: SmallSubscribeOptions = {},
): Promise<{ subscription: SmallSubscription; properties: Properties }> {
  const subscribing = client.subscribe(filter, options);
  const { packetId, properties } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [options.qos ?? 0], properties: {} });
  return { subscription: await subscribing, properties };
}

function deliver(server: ScriptedConnection, packetId: number, topicName = "s", properties: Properties = {}): void {
  const fields = { dup: false, retain: false, topicName, payload: bytes(`${packetId}`), properties } as const;
  server.say(packetId ? { type: "publish", qos: 1, packetId, ...fields } : { type: "publish", qos: 0, ...fields });
}

const puback = (packetId: number | undefined, reasonCode = 0) =>
  ({ type: "puback", packetId: packetId!, reasonCode, properties: {} }) as const;

async function take(messages: AsyncIterator<SmallMessage>, count: number): Promise<SmallMessage[]> {
  const taken: SmallMessage[] = [];
  while (taken.length < count) taken.push((await messages.next()).value!);
  return taken;
}

test("what is in flight is said again with DUP and its identifier, in order, when the session is there", async () => {
  const { client, script, server } = await pair();
  const published = ["1", "2", "3"].map((text) => client.publish("a", text, { qos: 1 }));
  const ids: number[] = [];
  for (let i = 0; i < 3; i++) {
    const publish = await server.packet("publish");
    expect(publish.dup).toBe(false);
    ids.push(publish.packetId!);
  }
  const asking = client.subscribe("late");
  await server.packet("subscribe");
  server.say(puback(ids[1]));
  server.cut();
  expect(client.state).toBe("offline");
  published.push(client.publish("a", "4", { qos: 1 }));
  const again = await script.connection();
  // One at a time now: the order stays.
  expect(await again.accept({ receiveMaximum: 1 }, true)).toMatchObject({ cleanStart: false });
  expect(await again.packet("publish")).toMatchObject({ packetId: ids[0], dup: true, payload: bytes("1") });
  // What is no PUBLISH does not wait for that [MQTT-3.3.4-8].
  const { packetId } = await again.packet("subscribe");
  again.say({ type: "suback", packetId, reasonCodes: [0], properties: {} });
  await asking;
  expect(again.waiting).toEqual([]);
  again.say(puback(ids[0]));
  expect(await again.packet("publish")).toMatchObject({ packetId: ids[2], dup: true, payload: bytes("3") });
  again.say(puback(ids[2]));
  const fourth = await again.packet("publish");
  expect(fourth).toMatchObject({ dup: false, payload: bytes("4") });
  again.say(puback(fourth.packetId, 0x10));
  expect((await Promise.all(published)).map(({ reasonCode }) => reasonCode)).toEqual([0, 0, 0, 0x10]);
  client.close();
});

test("a lost session: what is in flight is sent as new, subscriptions are made again, before anything else", async () => {
  const { client, script, server } = await pair({ queueMax: 2 });
  const { subscription, properties } = await subscribed({ client, server }, "s/+", { qos: 1, noLocal: true });
  expect(properties.subscriptionIdentifiers).toHaveLength(1);
  const one = client.publish("a", "1", { qos: 1 });
  await server.packet("publish");
  deliver(server, 9, "s/x", properties);
  server.cut();
  const two = client.publish("a", "2", { qos: 1 });
  const three = client.publish("a", "3");
  const again = await script.connection();
  await again.accept({ receiveMaximum: 1 });
  const subscribe = await again.packet("subscribe");
  expect(subscribe.filters).toMatchObject([{ topicFilter: "s/+", qos: 1, noLocal: true }]);
  expect(subscribe.properties).toEqual(properties);
  again.say({ type: "suback", packetId: subscribe.packetId, reasonCodes: [1], properties: {} });
  const first = await again.packet("publish");
  expect(first).toMatchObject({ dup: false, payload: bytes("1") });
  again.say(puback(first.packetId));
  await one;
  const second = await again.packet("publish");
  expect(second).toMatchObject({ dup: false, payload: bytes("2") });
  again.say(puback(second.packetId));
  await two;
  expect(await again.packet("publish")).toMatchObject({ qos: 0, payload: bytes("3") });
  await three;
  // What had come before is still there, and is acknowledged to nobody.
  deliver(again, 0, "s/x", properties);
  expect((await take(subscription, 2)).map((message) => message.text())).toEqual(["9", "0"]);
  expect(again.waiting).toEqual([]);
  // Refused the next time, the subscription ends with that.
  again.cut();
  const third = await script.connection();
  await third.accept();
  const refused = await third.packet("subscribe");
  third.cut();
  const fourth = await script.connection();
  await fourth.accept();
  // Asked again once, though nobody had answered.
  expect((await fourth.packet("subscribe")).packetId).toBe(refused.packetId);
  expect(fourth.waiting).toEqual([]);
  fourth.say({ type: "suback", packetId: refused.packetId, reasonCodes: [0x87], properties: {} });
  expect(await rejection(subscription.next())).toMatchObject({ code: 0x87, packet: "subscribe" });
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
  client.close();
});

test("a server that takes its time to grant a subscription again does not end it", async () => {
  const { client, script, server } = await pair({ deadlineMs: 10 });
  const { subscription } = await subscribed({ client, server }, "s");
  server.cut();
  const again = await script.connection();
  await again.accept();
  const { packetId } = await again.packet("subscribe");
  for (let i = 0; i < 2; i++) {
    expect(await rejection(client.publish("a", "x", { qos: 1 }))).toMatchObject({ code: -2 });
    await again.packet("publish");
  }
  again.say({ type: "suback", packetId, reasonCodes: [0], properties: {} });
  deliver(again, 0);
  expect((await take(subscription, 1))[0]!.topic).toBe("s");
  client.close();
});

test("a resumed session: what was not acknowledged comes again, once, and is acknowledged on the new connection", async () => {
  const { client, script, server } = await pair();
  const { subscription } = await subscribed({ client, server }, "s", { qos: 1 });
  for (const id of [0, 1, 2]) deliver(server, id);
  server.cut();
  const again = await script.connection();
  await again.accept({}, true);
  for (const id of [2, 1]) deliver(again, id);
  expect((await take(subscription, 3)).map((message) => message.text())).toEqual(["0", "2", "1"]);
  expect(await again.packet("puback")).toMatchObject({ packetId: 2 });
  // One that is held over a loss is not acknowledged to the next connection before it has come again.
  again.cut();
  const third = await script.connection();
  await third.accept({}, true);
  deliver(third, 1);
  deliver(third, 3);
  const [again1] = await take(subscription, 1);
  expect(again1!.text()).toBe("1");
  expect(third.waiting).toEqual([]);
  expect((await take(subscription, 1))[0]!.text()).toBe("3");
  expect(await third.packet("puback")).toMatchObject({ packetId: 1 });
  client.close();
});

test("nothing is said to a connection that is not made yet", async () => {
  const { client, script, server } = await pair();
  const { subscription } = await subscribed({ client, server }, "s", { qos: 1, ack: "manual" });
  deliver(server, 1);
  const [message] = await take(subscription, 1);
  server.cut();
  const again = await script.connection();
  await again.packet("connect");
  message!.ack();
  const asking = client.publish("a", "b");
  expect(again.waiting).toEqual([]);
  again.say({ type: "connack", sessionPresent: true, reasonCode: 0, properties: {} });
  await asking;
  expect(await again.packet("publish")).toMatchObject({ payload: bytes("b") });
  client.close();
});

test("acknowledgements leave in the order of arrival, whatever the order of the readers", async () => {
  const { client, server } = await pair();
  const a = await subscribed({ client, server }, "s/a", { qos: 1, ack: "manual" });
  const b = await subscribed({ client, server }, "s/#", { qos: 1, ack: "manual" });
  const both = {
    subscriptionIdentifiers: [a, b].flatMap(({ properties }) => properties.subscriptionIdentifiers!),
  };
  deliver(server, 5, "s/a", both);
  deliver(server, 6, "s/b", b.properties);
  deliver(server, 7, "nobody", b.properties);
  const [five, six] = await take(b.subscription, 2);
  const [other] = await take(a.subscription, 1);
  six!.ack();
  six!.ack();
  five!.ack();
  five!.ack();
  // Two readers have the first: both have to say so.
  expect(server.waiting).toEqual([]);
  other!.ack();
  const [seven] = await take(b.subscription, 1);
  for (const packetId of [5, 6]) expect(await server.packet("puback")).toMatchObject({ packetId, reasonCode: 0 });
  expect(server.waiting).toEqual([]);
  seven!.ack();
  expect(await server.packet("puback")).toMatchObject({ packetId: 7 });
  client.close();
});

test("by hand, nothing is acknowledged by asking for the next, and the order stays", async () => {
  const { client, server } = await pair();
  const { subscription } = await subscribed({ client, server }, "s", { qos: 1, ack: "manual" });
  for (const id of [1, 2]) deliver(server, id);
  const [first, second] = await take(subscription, 2);
  const third = subscription.next();
  second!.ack();
  expect(server.waiting).toEqual([]);
  first!.ack();
  for (const packetId of [1, 2]) expect(await server.packet("puback")).toMatchObject({ packetId });
  deliver(server, 3);
  expect((await third).value!.text()).toBe("3");
  client.close();
});

test("a message is acknowledged when the loop asks for the next, and unread ones when the loop is left", async () => {
  const { client, server } = await pair();
  const { subscription, properties } = await subscribed({ client, server }, "s", { qos: 1 });
  for (const id of [1, 2, 3, 4]) deliver(server, id, "s", properties);
  await take(subscription, 1);
  expect(server.waiting).toEqual([]);
  await take(subscription, 1);
  expect(await server.packet("puback")).toMatchObject({ packetId: 1 });
  expect(server.waiting).toEqual([]);
  const leaving = subscription.return();
  for (const packetId of [2, 3, 4]) expect(await server.packet("puback")).toMatchObject({ packetId });
  const { packetId, topicFilters } = await server.packet("unsubscribe");
  expect(topicFilters).toEqual(["s"]);
  // Between the two, messages are for nobody, and acknowledged.
  deliver(server, 5, "s", properties);
  expect(await server.packet("puback")).toMatchObject({ packetId: 5 });
  server.say({ type: "unsuback", packetId, reasonCodes: [0x11], properties: {} });
  expect(await leaving).toMatchObject({ done: true });
  client.close();
});

test("without Subscription Identifiers, messages find their readers by topic", async () => {
  const { client, server } = await pair({}, { subscriptionIdentifiersAvailable: 0 });
  const a = await subscribed({ client, server }, "s/a");
  expect(a.properties).toEqual({});
  const all = await subscribed({ client, server }, "s/#");
  const shared = await subscribed({ client, server }, "$share/group/s/b");
  for (const topic of ["s/a", "s/b", "other"]) deliver(server, 0, topic);
  expect((await take(a.subscription, 1)).map(({ topic }) => topic)).toEqual(["s/a"]);
  expect((await take(all.subscription, 2)).map(({ topic }) => topic)).toEqual(["s/a", "s/b"]);
  expect((await take(shared.subscription, 1)).map(({ topic }) => topic)).toEqual(["s/b"]);
  client.close();
});

test("what was said is said again even after its caller has given up", async () => {
  const { client, script, server } = await pair();
  const one = client.publish("a", "1", { qos: 1 });
  const two = client.publish("a", "2", { qos: 1, deadlineMs: 10 });
  two.catch(() => {});
  const ids = [await server.packet("publish"), await server.packet("publish")].map(({ packetId }) => packetId!);
  server.cut();
  const again = await script.connection();
  await again.accept({ receiveMaximum: 1 }, true);
  expect(await again.packet("publish")).toMatchObject({ packetId: ids[0], dup: true });
  expect(await rejection(two)).toMatchObject({ code: -2 });
  again.say(puback(ids[0]));
  await one;
  expect(await again.packet("publish")).toMatchObject({ packetId: ids[1], dup: true });
  again.say(puback(ids[1]));
  client.close();
});

test("a session that was taken up: what is for a subscription that was left is not kept", async () => {
  const { client, script, server } = await pair({ cleanStart: false, clientId: "old" }, {}, true);
  const { subscription, properties } = await subscribed({ client, server }, "s", { qos: 1 });
  const leaving = subscription.unsubscribe();
  deliver(server, 1, "s", properties);
  const { packetId } = await server.packet("unsubscribe");
  expect(await server.packet("puback")).toMatchObject({ packetId: 1 });
  server.say({ type: "unsuback", packetId, reasonCodes: [0], properties: {} });
  await leaving;
  // What nobody has subscribed to comes again with the next connection, and is there once.
  deliver(server, 2, "t");
  server.cut();
  const again = await script.connection();
  await again.accept({}, true);
  deliver(again, 2, "t");
  deliver(again, 0, "t");
  const late = await subscribed({ client, server: again }, "t", { qos: 1 });
  deliver(again, 0, "t");
  expect((await take(late.subscription, 2)).map((message) => message.text())).toEqual(["2", "0"]);
  expect(await again.packet("puback")).toMatchObject({ packetId: 2 });
  client.close();
});

test("messages of an older session wait for their subscription, those of a newer one for nobody", async () => {
  const { client, script, server } = await pair({ cleanStart: false, clientId: "old" }, {}, true);
  deliver(server, 1, "old/1", { subscriptionIdentifiers: [1] });
  deliver(server, 2, "old/2", { subscriptionIdentifiers: [268_435_455] });
  deliver(server, 3, "other/3");
  const { subscription } = await subscribed({ client, server }, "old/+", { qos: 1 });
  expect((await take(subscription, 2)).map((message) => message.text())).toEqual(["1", "2"]);
  expect(await server.packet("puback")).toMatchObject({ packetId: 1 });
  const other = await subscribed({ client, server }, "other/+", { qos: 1 });
  expect((await take(other.subscription, 1)).map((message) => message.text())).toEqual(["3"]);
  server.cut();
  const again = await script.connection();
  await again.accept();
  for (let i = 0; i < 2; i++) {
    const { packetId } = await again.packet("subscribe");
    again.say({ type: "suback", packetId, reasonCodes: [1], properties: {} });
  }
  deliver(again, 4, "nobody");
  expect(await again.packet("puback")).toMatchObject({ packetId: 4 });
  client.close();
});

test("what waits offline is bounded, and given up at its deadline, by its signal or with the client", async () => {
  const { client, server } = await pair({ queueMax: 2, retryMs: 20_000, retryMsMax: 20_000 });
  server.cut();
  const controller = new AbortController();
  const kept = client.publish("a", "1", { qos: 1 });
  kept.catch(() => {});
  expect(await rejection(client.publish("a", "2", { deadlineMs: 10 }))).toMatchObject({ code: -2, packet: "publish" });
  const aborted = client.publish("a", "3", { signal: controller.signal });
  aborted.catch(() => {});
  expect(await rejection(client.publish("a", "4"))).toMatchObject({ code: 0x97, retriable: true });
  controller.abort(new Error("enough"));
  expect(await rejection(aborted)).toMatchObject({ code: -1, cause: new Error("enough") });
  const last = client.subscribe("a");
  last.catch(() => {});
  expect(await rejection(client.subscribe("b"))).toMatchObject({ code: 0x97, packet: "subscribe" });
  client.close();
  expect(await rejection(kept)).toMatchObject({ code: -3, retriable: false });
  expect(await rejection(last)).toMatchObject({ code: -3 });
  expect(client.state).toBe("closed");
});

test("the server's Receive Maximum, Maximum QoS, Maximum Packet Size and Retain Available are kept to", async () => {
  const limits = { receiveMaximum: 1, maximumQos: 1, maximumPacketSize: 50, retainAvailable: 0 } as const;
  const { client, script, server } = await pair({}, limits);
  const one = client.publish("a", "1", { qos: 1 });
  const two = client.publish("a", "2", { qos: 1 });
  const first = await server.packet("publish");
  expect(server.waiting).toEqual([]);
  server.say({ type: "puback", packetId: first.packetId!, reasonCode: 0x87, properties: { reasonString: "no" } });
  expect(await rejection(one)).toMatchObject({ code: 0x87, packet: "publish", reasonString: "no" });
  const second = await server.packet("publish");
  server.say(puback(second.packetId));
  await two;
  expect(await rejection(client.publish("a", "x", { retain: true }))).toMatchObject({ code: 0x9a, packet: "publish" });
  expect(await rejection(client.publish("a", new Uint8Array(50)))).toMatchObject({ code: 0x95, packet: "publish" });
  expect(await rejection(client.subscribe("a".repeat(50)))).toMatchObject({ code: 0x95, packet: "subscribe" });
  for (const topic of ["a/+", "#", ""]) {
    expect(await rejection(client.publish(topic, "x", { qos: 1 }))).toMatchObject({ code: 0x90 });
  }
  expect(await rejection(client.publish("a", "x", { qos: 2 as 1 }))).toMatchObject({ code: 0x9b });
  await client.publish("a", "still there", { qos: 0 });
  expect(await server.packet("publish")).toMatchObject({ payload: bytes("still there") });
  server.cut();
  const again = await script.connection();
  await again.accept({ maximumQos: 0 });
  expect(await rejection(client.publish("a", "x", { qos: 1 }))).toMatchObject({ code: 0x9b });
  client.close();
});

test.each([
  ["half a surrogate pair in a topic", () => ["\ud800", {}] as const],
  ["U+0000 in a topic", () => ["a\0b", {}] as const],
  ["a topic of 64 KB", () => ["t".repeat(65_536), {}] as const],
  ["half a surrogate pair in a property", () => ["t", { 3: "\udc00" }] as const],
  ["a number that is too large", () => ["t", { 2: 2 ** 32 }] as const],
  ["a negative number", () => ["t", { 2: -1 }] as const],
  ["no property", () => ["t", { 4: 1 } as object] as const],
])("%s cannot be sent, and breaks nothing", async (_, make) => {
  const { client, server } = await pair();
  const [topic, properties] = make();
  expect(await rejection(client.publish(topic, "x", { qos: 1, properties }))).toMatchObject({ code: 0x81 });
  await client.publish("a\u{1f600}", "x", { properties: { 2: 2 ** 32 - 1, 3: "\ufeff", 38: [["k", "v"]] } });
  expect(await server.packet("publish")).toMatchObject({
    topicName: "a\u{1f600}",
    properties: { messageExpiryInterval: 2 ** 32 - 1, contentType: "\ufeff", userProperties: [["k", "v"]] },
  });
  client.close();
});

test("states in order, the CONNECT of each attempt, and the name that the server gave", async () => {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, {
    retryMs: 1,
    username: "u",
    password: "p",
    keepAlive: 7,
    receiveMaximum: 3,
    packetBytesMax: 1_000,
    properties: { 38: [["k", "v"]] },
    will: { topic: "w", payload: "gone", qos: 1, retain: true, properties: { 24: 5 } },
  });
  const server = await script.connection();
  expect(await server.accept({ assignedClientIdentifier: "given" })).toMatchObject({
    clientId: "",
    cleanStart: true,
    keepAlive: 7,
    username: "u",
    password: bytes("p"),
    properties: {
      sessionExpiryInterval: 300,
      receiveMaximum: 3,
      maximumPacketSize: 1_000,
      userProperties: [["k", "v"]],
    },
    will: { topicName: "w", payload: bytes("gone"), qos: 1, retain: true, properties: { willDelayInterval: 5 } },
  });
  const client = await connecting;
  expect(client.clientId).toBe("given");
  const states: unknown[] = [];
  client.onstate = (state, error) => {
    states.push(error ? [state, error.code] : state);
  };
  server.cut();
  const refusing = await script.connection();
  await refusing.packet("connect");
  refusing.say({ type: "connack", sessionPresent: false, reasonCode: 0x88, properties: {} });
  const again = await script.connection();
  expect(await again.accept({}, true)).toMatchObject({ clientId: "given", cleanStart: false });
  await client.publish("a", "b");
  expect(client.sessionPresent).toBe(true);
  client.close();
  await again.packet("publish");
  expect(await again.packet("disconnect")).toMatchObject({ reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
  await again.end();
  client.close();
  await Promise.resolve();
  expect(states).toEqual([["offline", -4], "connecting", ["offline", 0x88], "connecting", "online", ["closed", -3]]);
});

test("a session with an expiry of its own is kept by close()", async () => {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, { expiry: 60 });
  const server = await script.connection();
  expect((await server.accept()).properties).toMatchObject({ sessionExpiryInterval: 60 });
  const client = await connecting;
  const { subscription } = await subscribed({ client, server }, "s");
  client.close();
  expect(await server.packet("disconnect")).toMatchObject({ properties: { sessionExpiryInterval: 60 } });
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
  expect(await rejection(client.subscribe("s"))).toMatchObject({ code: -3 });
});

test("QoS 0 messages that nobody reads are dropped and counted beyond the buffer, QoS 1 are not", async () => {
  const { client, server } = await pair();
  const { subscription } = await subscribed({ client, server }, "s", { qos: 1, buffer: 2 });
  for (const id of [0, 0, 0, 1, 0]) deliver(server, id);
  expect(subscription.dropped).toBe(2);
  expect((await take(subscription, 3)).map((message) => message.text())).toEqual(["0", "0", "1"]);
  client.close();
});

test("two that wait for the next message get one each", async () => {
  const { client, server } = await pair();
  const { subscription } = await subscribed({ client, server }, "s", { qos: 1 });
  const waiting = [subscription.next(), subscription.next()];
  for (const id of [1, 2]) deliver(server, id);
  expect((await Promise.all(waiting)).map(({ value }) => value!.text())).toEqual(["1", "2"]);
  client.close();
});

test("waits double, with chance in them, up to the longest, and begin anew with each connection", async () => {
  const { client, script, server } = await pair({ retryMs: 4, retryMsMax: 10 });
  const waits = spyOn(globalThis, "setTimeout");
  try {
    let connection = server;
    for (let i = 0; i < 4; i++) {
      connection.cut();
      connection = await script.connection();
    }
    await connection.accept();
    await client.publish("a", "b");
    connection.cut();
    connection = await script.connection();
    const waited = waits.mock.calls.map(([, ms]) => ms!).filter((ms) => ms < 1_000);
    for (const [index, longest] of [4, 8, 10, 10, 4].entries()) {
      expect(waited[index]).toBeGreaterThanOrEqual(longest / 2);
      expect(waited[index]).toBeLessThan(longest);
    }
    expect(waited).toHaveLength(5);
  } finally {
    waits.mockRestore();
  }
  client.close();
});
