/** Servers that break the protocol: each gets the DISCONNECT that says so, and whoever waits a typed error. */
import { describe, expect, test } from "bun:test";
import { type Client, type ClientOptions, connect, DEADLINE, MqttError } from "rqtt/client";
import { MISDEEDS, publishOf } from "./misdeeds.ts";
import { rejection, type ScriptedConnection, ScriptedServer } from "./scripted-server.ts";

async function online(options: ClientOptions = {}): Promise<{ client: Client; server: ScriptedConnection }> {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, options);
  const server = await script.connection();
  await server.accept();
  return { client: await connecting, server };
}

test.each(MISDEEDS.filter(([, code]) => code))("%s", async (_, code, _small, misbehave, options) => {
  const { client, server } = await online(options);
  const states: unknown[] = [];
  client.onstate = (state, error) => states.push(state, error?.code);
  const pending = client.publish("a", "b", { qos: 1 });
  pending.catch(() => {});
  const asking = client.subscribe("c");
  asking.catch(() => {});
  await server.packet("publish");
  await server.packet("subscribe");
  misbehave(server);
  expect(await server.packet("disconnect")).toMatchObject({ reasonCode: code });
  await server.end();
  for (const error of [await rejection(pending), await rejection(asking)]) {
    expect(error).toBeInstanceOf(MqttError);
    expect(error).toMatchObject({ code, retriable: false });
    expect(`${error["packet"]}`).toMatch(/^(?:type \d+|publish|subscribe|)$/);
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
  expect((await subscription.next()).value?.topic).toBe("t");
  expect((await subscription.next()).value?.topic).toBe("t");
  expect(await rejection(subscription.next())).toMatchObject({ code: 0x93 });
});

test("a SUBACK with two reason codes for one filter", async () => {
  const { client, server } = await online();
  const subscribing = client.subscribe("t");
  subscribing.catch(() => {});
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [0, 0], properties: {} });
  expect(await server.packet("disconnect")).toMatchObject({ reasonCode: 0x82 });
  expect(await rejection(subscribing)).toMatchObject({ code: 0x82, packet: "type 9" });
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
  server.bytes([0x00, 0]);
  await server.packet("disconnect");
  expect(client.state).toBe("closed");
});

describe("before CONNACK", () => {
  async function connecting(options: ClientOptions = {}) {
    const script = new ScriptedServer();
    const promise = connect(script.transport, options);
    promise.catch(() => {});
    const server = await script.connection();
    await server.packet("connect");
    return { promise, server };
  }

  test("another packet", async () => {
    const { promise, server } = await connecting();
    server.say({ type: "pingresp" });
    await server.end();
    expect(await rejection(promise)).toMatchObject({ code: 0x82, packet: "type 13" });
  });

  test("Session Present for a new session", async () => {
    const { promise, server } = await connecting();
    server.say({ type: "connack", sessionPresent: true, reasonCode: 0, properties: {} });
    await server.end();
    expect(await rejection(promise)).toMatchObject({ code: 0x82, packet: "type 2" });
  });

  test("a refusal is typed, with the server's words", async () => {
    const { promise, server } = await connecting();
    server.say({ type: "connack", sessionPresent: false, reasonCode: 0x89, properties: { reasonString: "later" } });
    expect(await rejection(promise)).toMatchObject({
      code: 0x89,
      packet: "connect",
      reasonString: "later",
      retriable: true,
    });
  });

  test("silence ends at the deadline", async () => {
    const { promise, server } = await connecting({ deadlineMs: 20 });
    expect(await rejection(promise)).toMatchObject({ code: DEADLINE, packet: "connect", retriable: true });
    await server.end();
  });

  test("a connection that is cut", async () => {
    const { promise, server } = await connecting();
    server.cut();
    expect(await rejection(promise)).toMatchObject({ code: -4, retriable: true });
  });
});

describe("silence", () => {
  test("each operation has its deadline, and a late answer is no mistake", async () => {
    const { client, server } = await online({ deadlineMs: 20 });
    expect(await rejection(client.publish("a", "b", { qos: 1 }))).toMatchObject({ code: DEADLINE, packet: "publish" });
    expect(await rejection(client.publish("a", "b", { qos: 2 }))).toMatchObject({ code: DEADLINE, packet: "publish" });
    expect(await rejection(client.subscribe("a"))).toMatchObject({ code: DEADLINE, packet: "subscribe" });
    expect(await rejection(client.request("a", "b"))).toMatchObject({ code: DEADLINE });
    const { packetId } = await server.packet("publish");
    server.say({ type: "puback", packetId: packetId!, reasonCode: 0, properties: {} });
    const answered = client.publish("a", "c", { qos: 0 });
    await answered;
    expect(client.state).toBe("online");
    await client.close();
  });

  test("a server that does not answer PINGREQ is left", async () => {
    const { client, server } = await online({ keepAlive: 1, retryMs: 0 });
    const gone = new Promise((resolve) => {
      client.onstate = (state, error) => resolve([state, error?.code, error?.retriable]);
    });
    await server.packet("pingreq");
    expect(await server.packet("disconnect")).toMatchObject({ reasonCode: 0x8d });
    expect(await gone).toEqual(["closed", 0x8d, true]);
  });

  test("the caller's signal ends a wait, and leaves the client working", async () => {
    const { client, server } = await online();
    const controller = new AbortController();
    const publishing = client.publish("a", "b", { qos: 1, signal: controller.signal });
    publishing.catch(() => {});
    controller.abort(new Error("enough"));
    expect(await rejection(publishing)).toMatchObject({ code: -1, cause: new Error("enough") });
    expect(await rejection(client.subscribe("a", { signal: AbortSignal.abort() }))).toMatchObject({ code: -1 });
    expect(client.state).toBe("online");
    const again = client.publish("a", "c", { qos: 1 });
    await server.packet("publish");
    await server.packet("unsubscribe");
    const { packetId } = await server.packet("publish");
    server.say({ type: "puback", packetId: packetId!, reasonCode: 0x10, properties: {} });
    expect(await again).toMatchObject({ reasonCode: 0x10 });
    await client.close();
  });

  test("the client's signal ends the client", async () => {
    const controller = new AbortController();
    const { client, server } = await online({ signal: controller.signal });
    const publishing = client.publish("a", "b", { qos: 1 });
    publishing.catch(() => {});
    controller.abort();
    expect(await rejection(publishing)).toMatchObject({ code: -1 });
    await server.end();
    expect(client.state).toBe("closed");
    expect(await rejection(connect(new ScriptedServer().transport, { signal: AbortSignal.abort() }))).toMatchObject({
      code: -1,
    });
  });
});
