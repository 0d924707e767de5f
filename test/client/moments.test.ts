/** Moments in which the client went wrong once; the comment of each test says how and where. */
import { describe, expect, test } from "bun:test";
import { type Client, type ClientOptions, connect, type Subscription } from "rqtt/client";
import { connect as connectSmall } from "rqtt/client/small";
import type { Properties } from "../../src/core/codec/property.ts";
import { take } from "./client-suite.ts";
import { rejection, type ScriptedConnection, ScriptedServer } from "./scripted-server.ts";

/** What both have the same way; the small one has less. */
type Connect = typeof connect;
const BOTH: readonly (readonly [string, Connect])[] = [
  ["rqtt/client", connect],
  ["rqtt/client/small", connectSmall as unknown as Connect],
];

interface Pair {
  readonly client: Client;
  readonly script: ScriptedServer;
  readonly server: ScriptedConnection;
}

type Setting = readonly [options?: ClientOptions, properties?: Properties, sessionPresent?: boolean];

async function pairOf(
  join: Connect,
  ...[options = {}, properties = {}, sessionPresent = false]: Setting
): Promise<Pair> {
  const { protocolLevel = 5 } = options;
  const script = new ScriptedServer(protocolLevel);
  const connecting = join(script.transport, { retryMs: 1, ...options });
  const server = await script.connection();
  await server.accept(properties, sessionPresent);
  return { client: await connecting, script, server };
}

const pair = (...setting: Setting): Promise<Pair> => pairOf(connect, ...setting);

async function grant(server: ScriptedConnection, promise: Promise<Subscription>, code = 1): Promise<Subscription> {
  const { packetId } = await server.packet("subscribe");
  server.say({ type: "suback", packetId, reasonCodes: [code], properties: {} });
  return promise;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function publish(server: ScriptedConnection, qos: 0 | 1 | 2, text: string, packetId = 0, dup = false): void {
  const id = qos > 0 ? { packetId } : {};
  const fields = { type: "publish", dup, qos, retain: false, topicName: "s", properties: {} } as const;
  server.say({ ...fields, ...id, payload: bytes(text) });
}

describe.each(BOTH)("%s", (_, join) => {
  const pair = (...setting: Setting): Promise<Pair> => pairOf(join, ...setting);

  // outbound.ts, `ask`: what had waited left after the first of several subscriptions, before the others were made again.
  test("all subscriptions are made again before what waits is sent", async () => {
    const { client, script, server } = await pair();
    await grant(server, client.subscribe("s", { qos: 1 }));
    await grant(server, client.subscribe("t", { qos: 1 }));
    server.cut();
    const waits = client.publish("t", "waits");
    const again = await script.connection();
    await again.accept();
    await waits;
    expect(again.waiting).toEqual(["subscribe", "subscribe", "publish"]);
    await client.close();
  });

  // subscribe.ts: what came between SUBSCRIBE and SUBACK was given before what had come earlier and waited.
  test("messages of an older session are given in the order in which they came", async () => {
    const { client, server } = await pair({ cleanStart: false, clientId: "c" }, {}, true);
    publish(server, 1, "1", 1);
    const subscribing = client.subscribe("s", { qos: 1 });
    publish(server, 1, "2", 2);
    const subscription = await grant(server, subscribing);
    publish(server, 1, "3", 3);
    expect((await take(subscription, 3)).map((message) => message.text())).toEqual(["1", "2", "3"]);
    await client.close();
  });

  // subscribe.ts: messages that came before a SUBSCRIBE was refused, or given up, were never acknowledged, nor any after them.
  test.each(["refused", "aborted"])("messages of a subscription that was %s do not hold up the others", async (how) => {
    const { client, server } = await pair();
    const controller = new AbortController();
    const subscribing = client.subscribe("s", { qos: 1, signal: controller.signal });
    const { packetId } = await server.packet("subscribe");
    publish(server, 1, "early", 1);
    if (how === "refused") server.say({ type: "suback", packetId, reasonCodes: [0x87], properties: {} });
    else controller.abort();
    await rejection(subscribing);
    expect(await server.packet("puback")).toMatchObject({ packetId: 1 });
    await client.close();
  });

  // operation.ts: what was no signal threw when the operation was already known, and again in close(), which ended half-way.
  test("what is no signal is refused at once, and the client can be closed", async () => {
    const { client } = await pair({ deadlineMs: 20 });
    const signal = new AbortController() as unknown as AbortSignal;
    expect(await rejection((async () => client.publish("a", "b", { signal }))())).toBeInstanceOf(TypeError);
    const subscribing = rejection(client.subscribe("s"));
    await client.close();
    expect(await subscribing).toMatchObject({ code: -3 });
  });

  // subscribe.ts: what came before SUBACK and was sent again with the session was given twice.
  test("what came before the connection was lost is not given twice, though the subscription was not granted yet", async () => {
    const { client, script, server } = await pair();
    const subscribing = client.subscribe("s", { qos: 1 });
    await server.packet("subscribe");
    publish(server, 1, "1", 1);
    server.cut();
    const again = await script.connection();
    await again.accept({}, true);
    const subscription = await grant(again, subscribing);
    publish(again, 1, "1", 1, true);
    publish(again, 1, "2", 2);
    expect((await take(subscription, 2)).map((message) => message.text())).toEqual(["1", "2"]);
    await client.close();
  });

  // outbound.ts: what is in flight counted as waiting while offline, so that nothing else could wait.
  test("what is in flight does not fill the queue while the client is away", async () => {
    const { client, server } = await pair({ queueMax: 2, retryMs: 20_000 });
    for (let i = 0; i < 2; i++) client.publish("a", "", { qos: 1 }).catch(() => {});
    server.cut();
    const waits = rejection(client.publish("a", ""));
    await client.close();
    expect(await waits).toMatchObject({ code: -3 });
  });

  // operation.ts and engine.ts: a wait above 31 bits was none.
  test("a deadline that is far away", async () => {
    const { client, server } = await pair({ deadlineMs: Infinity });
    const published = client.publish("a", "", { qos: 1, deadlineMs: Infinity });
    const { packetId } = await server.packet("publish");
    expect(await rejection(client.publish("b", "", { qos: 1, deadlineMs: 20 }))).toMatchObject({ code: -2 });
    server.say({ type: "puback", packetId: packetId!, reasonCode: 0, properties: {} });
    expect(await published).toMatchObject({ reasonCode: 0 });
    await client.close();
  });

  // subscribe.ts: where the session was lost and the CONNACK that said so too, the next one tells of a session that has no
  // subscriptions; they were never made again.
  test("subscriptions are made again after a CONNECT that nobody answered", async () => {
    const { client, script, server } = await pair();
    await grant(server, client.subscribe("s", { qos: 1 }));
    server.cut();
    const unanswered = await script.connection();
    await unanswered.packet("connect");
    unanswered.cut();
    const again = await script.connection();
    await again.accept({}, true);
    expect((await again.packet("subscribe")).filters).toMatchObject([{ topicFilter: "s" }]);
    await client.close();
  });

  // engine.ts, `live`: a signal that outlives its clients held them all.
  test("a signal holds no client that has ended", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, given);
    };
    signal.removeEventListener = (...given: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, given);
    };
    const { client } = await pair({ signal });
    await client.close();
    expect(listeners).toBe(0);
  });

  // outbound.ts, the listener: what was published in the very moment of connecting left before what had waited for it.
  test("what has waited for a connection leaves before what is published when it is there", async () => {
    const { client, script, server } = await pair();
    server.cut();
    client.publish("a", "1", { qos: 1 }).catch(() => {});
    const again = await script.connection();
    await again.packet("connect");
    void Promise.resolve().then(() => client.publish("a", "2", { qos: 1 }).catch(() => {}));
    again.say({ type: "connack", sessionPresent: true, reasonCode: 0, properties: {} });
    for (const text of ["1", "2"]) expect((await again.packet("publish")).payload).toEqual(bytes(text));
    await client.close();
  });
});

// authentication.ts, the handler of AUTH: an answer that came after the deadline was a Protocol Error, and the end.
test("an answer to a renewal that was given up is no mistake", async () => {
  const { client, server } = await pair({ token: async () => "token", deadlineMs: 20 });
  expect(await rejection(client.renew())).toMatchObject({ code: -2 });
  await server.packet("auth");
  server.say({ type: "auth", reasonCode: 0, properties: { authenticationMethod: "OAUTH2-JWT" } });
  expect(client.state).toBe("online");
  await client.close();
});

// inbound.ts, the handler of PUBLISH: sent again after somebody had subscribed, it waited for the next to do so, for ever.
test("QoS 2 that nobody had claimed is given when it comes again", async () => {
  const { client, script, server } = await pair({ cleanStart: false, clientId: "c" }, {}, true);
  publish(server, 2, "early", 1);
  server.cut();
  const again = await script.connection();
  await again.accept({}, true);
  const subscription = await grant(again, client.subscribe("s", { qos: 2 }), 2);
  publish(again, 2, "early", 1, true);
  publish(again, 2, "late", 2);
  expect((await take(subscription, 2)).map((message) => message.text())).toEqual(["early", "late"]);
  await client.close();
});

// inbound.ts, `keepsUnclaimed`: in a session that had just begun, too, what nobody took was kept, and held up the rest.
test("a session that has just begun has nothing that waits for a subscription", async () => {
  const { client, server } = await pair({ cleanStart: false, clientId: "c" });
  publish(server, 1, "stray", 1);
  expect(await server.packet("puback")).toMatchObject({ packetId: 1 });
  await client.close();
});

// requests.ts: every client counted from 1, so that with a Response Topic of its own it took an answer to somebody else,
// or to itself before it was started again.
test("Correlation Data is nobody else's", async () => {
  const seen = new Set<string>();
  for (let round = 0; round < 2; round++) {
    const { client, server } = await pair({ responseTopic: "answers" });
    client.request("question", "?").catch(() => {});
    await server.packet("subscribe");
    seen.add(`${(await server.packet("publish")).properties.correlationData}`);
    await client.close();
  }
  expect(seen.size).toBe(2);
});

// outbound.ts, `settle`: a PUBCOMP that was lost with the connection was followed by one with 0x92, and that by a rejection.
test("QoS 2 that was through when the connection was lost has arrived", async () => {
  const { client, script, server } = await pair();
  const published = client.publish("a", "b", { qos: 2 });
  const packetId = (await server.packet("publish")).packetId!;
  server.say({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
  await server.packet("pubrel");
  server.cut();
  const again = await script.connection();
  await again.accept({}, true);
  await again.packet("pubrel");
  again.say({ type: "pubcomp", packetId, reasonCode: 0x92, properties: {} });
  expect(await published).toMatchObject({ reasonCode: 0x92 });
  await client.close();
});

// close.ts: what cannot be sent was thrown out of close() instead of rejecting it.
test("close() rejects what cannot be sent", async () => {
  const { client } = await pair();
  const closing = client.close({ properties: { reasonString: "\0" } });
  expect(await rejection(closing)).toMatchObject({ code: 0x81 });
  await client.close();
});
