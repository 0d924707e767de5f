/** What the client says again after a loss, what it gives up, what waits while it is away, and when it stops trying. */
import { expect, test } from "bun:test";
import { type Client, type ClientOptions, connect } from "rqtt/client";
import type { Properties } from "../../src/core/codec/property.ts";
import { take } from "./client-suite.ts";
import { rejection, type ScriptedConnection, ScriptedServer } from "./scripted-server.ts";

interface Pair {
  readonly client: Client;
  readonly script: ScriptedServer;
  readonly server: ScriptedConnection;
}

async function pair(options: ClientOptions = {}, properties: Properties = {}, level: 4 | 5 = 5): Promise<Pair> {
  const script = new ScriptedServer(level);
  const connecting = connect(script.transport, { retryMs: 1, protocolLevel: level, ...options });
  const server = await script.connection();
  await server.accept(properties);
  return { client: await connecting, script, server };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const packetIdOf = (packet: { packetId?: number }): number => packet.packetId!;

test("QoS 1 and 2 in flight are said again with DUP and their identifiers, in order, when the session is there", async () => {
  const { client, script, server } = await pair();
  const one = client.publish("a", "1", { qos: 1 });
  const two = client.publish("a", "2", { qos: 2 });
  const three = client.publish("a", "3", { qos: 2 });
  const ids = [];
  for (let i = 0; i < 3; i++) ids.push(packetIdOf(await server.packet("publish")));
  server.say({ type: "pubrec", packetId: ids[2]!, reasonCode: 0, properties: {} });
  expect(await server.packet("pubrel")).toMatchObject({ packetId: ids[2] });
  server.cut();
  expect(client.state).toBe("offline");
  const four = client.publish("a", "4", { qos: 1 });
  const again = await script.connection();
  expect(await again.accept({}, true)).toMatchObject({ cleanStart: false });
  expect(await again.packet("publish")).toMatchObject({ packetId: ids[0], dup: true, qos: 1 });
  expect(await again.packet("publish")).toMatchObject({ packetId: ids[1], dup: true, qos: 2 });
  expect(await again.packet("pubrel")).toMatchObject({ packetId: ids[2] });
  const fourth = await again.packet("publish");
  expect(fourth).toMatchObject({ dup: false, payload: bytes("4") });
  again.say({ type: "puback", packetId: ids[0]!, reasonCode: 0, properties: {} });
  again.say({ type: "pubrec", packetId: ids[1]!, reasonCode: 0, properties: {} });
  again.say({ type: "pubcomp", packetId: ids[2]!, reasonCode: 0, properties: {} });
  await again.packet("pubrel");
  again.say({ type: "pubcomp", packetId: ids[1]!, reasonCode: 0, properties: {} });
  again.say({ type: "puback", packetId: fourth.packetId!, reasonCode: 0x10, properties: {} });
  expect((await Promise.all([one, two, three, four])).map(({ reasonCode }) => reasonCode)).toEqual([0, 0, 0, 0x10]);
  await client.close();
});

test("a lost session: QoS 1 is sent anew, QoS 2 that may have arrived is given up, subscriptions are made again", async () => {
  const { client, script, server } = await pair();
  const subscribing = client.subscribe("s/+", { qos: 1, noLocal: true });
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [1], properties: {} });
  const subscription = await subscribing;
  const one = client.publish("a", "1", { qos: 1 });
  const two = client.publish("a", "2", { qos: 2 });
  two.catch(() => {});
  const three = client.publish("a", "3", { qos: 2 });
  await server.packet("publish");
  await server.packet("publish");
  const released = packetIdOf(await server.packet("publish"));
  server.say({ type: "pubrec", packetId: released, reasonCode: 0, properties: {} });
  await server.packet("pubrel");
  server.cut();
  const again = await script.connection();
  await again.accept();
  expect(await rejection(two)).toMatchObject({ code: -4, packet: "publish" });
  // The server had it all when it sent PUBREC.
  expect(await three).toMatchObject({ reasonCode: 0 });
  const subscribe = await again.packet("subscribe");
  expect(subscribe.filters).toMatchObject([{ topicFilter: "s/+", qos: 1, noLocal: true }]);
  again.say({ type: "suback", packetId: subscribe.packetId, reasonCodes: [1], properties: {} });
  const first = await again.packet("publish");
  expect(first).toMatchObject({ dup: false, payload: bytes("1") });
  again.say({ type: "puback", packetId: first.packetId!, reasonCode: 0, properties: {} });
  await one;
  const { subscriptionIdentifiers } = subscribe.properties;
  again.say({
    type: "publish",
    dup: false,
    qos: 0,
    retain: false,
    topicName: "s/x",
    payload: bytes("m"),
    properties: { subscriptionIdentifiers: subscriptionIdentifiers! },
  });
  expect((await take(subscription, 1))[0]!.text()).toBe("m");
  // Refused the next time, the subscription ends with that.
  again.cut();
  const third = await script.connection();
  await third.accept();
  const refused = await third.packet("subscribe");
  third.say({ type: "suback", packetId: refused.packetId, reasonCodes: [0x87], properties: {} });
  expect(await rejection(subscription.next())).toMatchObject({ code: 0x87, packet: "subscribe" });
  await client.close();
});

test("QoS 2 from the server is given once, however often it is sent", async () => {
  const { client, script, server } = await pair();
  const subscribing = client.subscribe("s", { qos: 2, ack: "manual" });
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [2], properties: {} });
  const subscription = await subscribing;
  const publish = (id: number, dup: boolean) =>
    ({
      type: "publish",
      dup,
      qos: 2,
      retain: false,
      topicName: "s",
      packetId: id,
      payload: bytes(`${id}`),
      properties: {},
    }) as const;
  server.say(publish(7, false));
  const [message] = await take(subscription, 1);
  server.cut();
  const again = await script.connection();
  await again.accept({}, true);
  again.say(publish(7, true));
  again.say(publish(8, false));
  message!.ack();
  expect(await again.packet("pubrec")).toMatchObject({ packetId: 7, reasonCode: 0 });
  const [next] = await take(subscription, 1);
  expect(next!.text()).toBe("8");
  again.say({ type: "pubrel", packetId: 7, reasonCode: 0, properties: {} });
  expect(await again.packet("pubcomp")).toMatchObject({ packetId: 7, reasonCode: 0 });
  again.say({ type: "pubrel", packetId: 7, reasonCode: 0, properties: {} });
  expect(await again.packet("pubcomp")).toMatchObject({ packetId: 7, reasonCode: 0x92 });
  await client.close();
});

test("acknowledgements leave in the order of arrival", async () => {
  const { client, server } = await pair();
  const subscribing = client.subscribe("s", { qos: 1, ack: "manual" });
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [1], properties: {} });
  const subscription = await subscribing;
  for (const id of [5, 6]) {
    const fields = { dup: false, qos: 1, retain: false, topicName: "s", payload: bytes(""), properties: {} } as const;
    server.say({ type: "publish", packetId: id, ...fields });
  }
  const [first, second] = await take(subscription, 2);
  second!.ack(0x83);
  second!.ack();
  expect(server.waiting).toEqual([]);
  first!.ack();
  expect(await server.packet("puback")).toMatchObject({ packetId: 5, reasonCode: 0 });
  expect(await server.packet("puback")).toMatchObject({ packetId: 6, reasonCode: 0x83 });
  await client.close();
});

test("what waits offline is bounded, and given up at its deadline or with the client", async () => {
  const { client, script, server } = await pair({ queueMax: 2, retryMs: 20_000, retryMsMax: 20_000 });
  server.cut();
  const kept = client.publish("a", "1", { qos: 1 });
  kept.catch(() => {});
  expect(await rejection(client.publish("a", "2", { deadlineMs: 10 }))).toMatchObject({ code: -2 });
  const last = client.publish("a", "3");
  last.catch(() => {});
  expect(await rejection(client.publish("a", "4"))).toMatchObject({ code: 0x97, retriable: true });
  await client.close();
  expect(await rejection(kept)).toMatchObject({ code: -3, retriable: false });
  expect(await rejection(last)).toMatchObject({ code: -3 });
  void script;
});

test("the server's Receive Maximum, Maximum QoS and Maximum Packet Size are kept to", async () => {
  const { client, server } = await pair(
    {},
    { receiveMaximum: 1, maximumQos: 1, maximumPacketSize: 50, retainAvailable: 0 },
  );
  const one = client.publish("a", "1", { qos: 1 });
  const two = client.publish("a", "2", { qos: 1 });
  const first = await server.packet("publish");
  expect(server.waiting).toEqual([]);
  server.say({ type: "puback", packetId: first.packetId!, reasonCode: 0x87, properties: { reasonString: "no" } });
  expect(await rejection(one)).toMatchObject({ code: 0x87, packet: "publish", reasonString: "no" });
  const second = await server.packet("publish");
  server.say({ type: "puback", packetId: second.packetId!, reasonCode: 0, properties: {} });
  await two;
  expect(await rejection(client.publish("a", "x", { qos: 2 }))).toMatchObject({ code: 0x9b });
  expect(await rejection(client.publish("a", "x", { retain: true }))).toMatchObject({ code: 0x9a });
  expect(await rejection(client.publish("a", new Uint8Array(50)))).toMatchObject({ code: 0x95 });
  expect(await rejection(client.publish("a/+", "x"))).toMatchObject({ code: 0x90 });
  await client.publish("a", "still there");
  expect(await server.packet("publish")).toMatchObject({ payload: bytes("still there") });
  await client.close();
});

test("Topic Aliases in both directions, begun anew with each connection", async () => {
  const { client, script, server } = await pair({}, { topicAliasMaximum: 1 });
  for (const topic of ["a", "a", "b"]) await client.publish(topic, "x");
  expect(await server.packet("publish")).toMatchObject({ topicName: "a", properties: { topicAlias: 1 } });
  expect(await server.packet("publish")).toMatchObject({ topicName: "", properties: { topicAlias: 1 } });
  expect((await server.packet("publish")).properties).toEqual({});
  const subscribing = client.subscribe("long/topic");
  const { packetId, properties } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [0], properties: {} });
  const subscription = await subscribing;
  const message = { type: "publish", dup: false, qos: 0, retain: false, payload: bytes("") } as const;
  server.say({ ...message, topicName: "long/topic", properties: { ...properties, topicAlias: 3 } });
  server.say({ ...message, topicName: "", properties: { ...properties, topicAlias: 3 } });
  expect((await take(subscription, 2)).map(({ topic }) => topic)).toEqual(["long/topic", "long/topic"]);
  server.cut();
  const again = await script.connection();
  await again.accept({ topicAliasMaximum: 1 }, true);
  await client.publish("a", "x");
  expect(await again.packet("publish")).toMatchObject({ topicName: "a", properties: { topicAlias: 1 } });
  await client.close();
});

test.each([
  ["a session that somebody else took", 0x8e, "closed"],
  ["a server that shuts down", 0x8b, "offline"],
  ["a right that is gone", 0x87, "closed"],
] as const)("DISCONNECT for %s", async (_, code, state) => {
  const { client, server } = await pair({ retryMs: 20_000 });
  const changed = new Promise((resolve) => {
    client.onstate = (now, error) => resolve([now, error?.code, error?.reasonString]);
  });
  server.say({ type: "disconnect", reasonCode: code, properties: { reasonString: "why" } });
  expect(await changed).toEqual([state, code, "why"]);
  await client.close();
});

test("states in order: connecting, online, offline, connecting, online, closed", async () => {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, {
    retryMs: 1,
    will: { topic: "w", payload: "gone", qos: 1, retain: true },
  });
  const server = await script.connection();
  expect(await server.accept({ assignedClientIdentifier: "given" })).toMatchObject({
    clientId: "",
    cleanStart: true,
    will: { topicName: "w", payload: bytes("gone"), qos: 1, retain: true },
  });
  const client = await connecting;
  const states: string[] = [client.state];
  client.onstate = (state) => states.push(state);
  server.cut();
  const refusing = await script.connection();
  await refusing.packet("connect");
  refusing.say({ type: "connack", sessionPresent: false, reasonCode: 0x88, properties: {} });
  const again = await script.connection();
  expect(await again.accept({}, true)).toMatchObject({ clientId: "given", cleanStart: false });
  await client.publish("a", "b");
  await client.close({ reasonCode: 4, properties: { reasonString: "bye" } });
  await again.packet("publish");
  expect(await again.packet("disconnect")).toMatchObject({
    reasonCode: 4,
    properties: { reasonString: "bye", sessionExpiryInterval: 0 },
  });
  expect(states).toEqual(["online", "offline", "connecting", "offline", "connecting", "online", "closed"]);
});

test("QoS 0 messages that nobody reads are dropped and counted beyond the buffer", async () => {
  const { client, server } = await pair();
  const subscribing = client.subscribe("s", { buffer: 2 });
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [0], properties: {} });
  const subscription = await subscribing;
  for (let i = 0; i < 5; i++) {
    const fields = { dup: false, qos: 0, retain: false, topicName: "s", properties: {} } as const;
    server.say({ type: "publish", payload: bytes(`${i}`), ...fields });
  }
  expect(subscription.dropped).toBe(3);
  expect((await take(subscription, 2)).map((message) => message.text())).toEqual(["0", "1"]);
  await client.close();
  expect(await subscription.next()).toEqual({ done: true, value: undefined });
});

test("clients that take up a session at the same moment choose other Subscription Identifiers", async () => {
  const identifiers = await Promise.all(
    [1, 2].map(async () => {
      const { client, server } = await pair({ cleanStart: false });
      const subscribing = client.subscribe("s");
      subscribing.catch(() => {});
      const { properties } = await server.packet("subscribe");
      await client.close();
      return properties.subscriptionIdentifiers![0];
    }),
  );
  expect(identifiers[0]).not.toBe(identifiers[1]);
});

test("what was on its way to a subscription that is left does not hold up the acknowledgements after it", async () => {
  const script = new ScriptedServer(4);
  const connecting = connect(script.transport, { protocolLevel: 4, cleanStart: false, clientId: "c" });
  const server = await script.connection();
  await server.accept({}, true);
  const client = await connecting;
  const publish = (topicName: string, packetId: number) =>
    server.say({
      type: "publish",
      dup: false,
      qos: 1,
      retain: false,
      topicName,
      packetId,
      payload: bytes(""),
      properties: {},
    });
  const subscribe = async (filter: string) => {
    const subscribing = client.subscribe(filter, { qos: 1 });
    const { packetId } = await server.packet("subscribe");
    server.say({ type: "suback", packetId, reasonCodes: [1], properties: {} });
    return subscribing;
  };
  const [stays, leaves] = [await subscribe("stays"), await subscribe("leaves")];
  const leaving = leaves.unsubscribe();
  const { packetId } = await server.packet("unsubscribe");
  publish("leaves", 1);
  publish("stays", 2);
  expect((await take(stays, 1))[0]!.topic).toBe("stays");
  void stays.next();
  expect(await server.packet("puback")).toMatchObject({ packetId: 1 });
  expect(await server.packet("puback")).toMatchObject({ packetId: 2 });
  server.say({ type: "unsuback", packetId, reasonCodes: [], properties: {} });
  await leaving;
  await client.close();
});

test("only PUBLISH waits for the server's Receive Maximum [MQTT-3.3.4-8], and QoS 0 does not", async () => {
  const { client, script, server } = await pair({}, { receiveMaximum: 1 });
  const expectAll = async (connection: ScriptedConnection, topics: string[]): Promise<void> => {
    for (const topic of topics) expect((await connection.packet("publish")).topicName).toBe(topic);
  };
  const forget = (promise: Promise<unknown>): void => void promise.catch(() => {});
  forget(client.publish("one", "", { qos: 1 }));
  forget(client.publish("two", "", { qos: 1 }));
  forget(client.subscribe("s"));
  await client.publish("zero", "");
  await expectAll(server, ["one"]);
  expect((await server.packet("subscribe")).filters[0]!.topicFilter).toBe("s");
  await expectAll(server, ["zero"]);
  expect(server.waiting).toEqual([]);
  // The same for what has waited for a connection.
  server.cut();
  forget(client.publish("three", "", { qos: 2 }));
  forget(client.subscribe("t"));
  const again = await script.connection();
  await again.accept({ receiveMaximum: 1 }, true);
  await expectAll(again, ["one"]);
  for (const filter of ["s", "t"]) {
    expect((await again.packet("subscribe")).filters[0]!.topicFilter).toBe(filter);
  }
  expect(again.waiting).toEqual([]);
  await client.close();
});

test("a full queue does not keep subscriptions from being made again", async () => {
  const { client, script, server } = await pair({ queueMax: 1 });
  const subscribing = client.subscribe("s");
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [0], properties: {} });
  const subscription = await subscribing;
  server.cut();
  client.publish("a", "", { qos: 1 }).catch(() => {});
  const again = await script.connection();
  await again.accept();
  const { packetId: id } = await again.packet("subscribe");
  again.say({ type: "suback", packetId: id, reasonCodes: [0], properties: {} });
  await again.packet("publish");
  const fields = { dup: false, qos: 0, retain: false, topicName: "s", properties: {} } as const;
  again.say({ type: "publish", payload: bytes("m"), ...fields });
  expect((await take(subscription, 1))[0]!.text()).toBe("m");
  await client.close();
});

test("when every Packet Identifier is in use, what needs one is refused, and the rest goes on", async () => {
  const { client, server } = await pair();
  for (let i = 0; i < 65_535; i++) client.publish("a", "", { qos: 1 }).catch(() => {});
  expect(await rejection(client.subscribe("s"))).toMatchObject({ code: 0x97, packet: "subscribe" });
  const first = packetIdOf(await server.packet("publish"));
  server.say({ type: "puback", packetId: first, reasonCode: 0, properties: {} });
  const subscribing = client.subscribe("s");
  for (let i = 1; i < 65_535; i++) await server.packet("publish");
  const { packetId } = await server.packet("subscribe");
  expect(packetId).toBe(first);
  server.say({ type: "suback", packetId, reasonCodes: [0], properties: {} });
  expect((await subscribing).qos).toBe(0);
  await client.close();
});
