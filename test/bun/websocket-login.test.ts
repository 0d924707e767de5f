/**
 * Logging in over WebSocket: which pages may connect, what of the upgrade request reaches a provider, and how a page learns
 * that it was refused.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { type CreateBrokerOptions, createBroker, type RunningBroker } from "rqtt";
import type { Refusal } from "rqtt/plugin";
import { encodePacket, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import type { LogFields } from "../../src/core/ports.ts";
import { type RecordedLogins, recordLogins } from "../support/recorded-logins.ts";
import { WebSocketPeer } from "../support/websocket-peer.ts";
import { connectPacket } from "../support/world.ts";

const ORIGINS = ["https://app.example", "http://localhost:3000"];

const peers: { reset(): void }[] = [];
const logged: [string, LogFields][] = [];
let broker: RunningBroker | undefined;

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.reset();
  await broker?.close();
  broker = undefined;
  logged.length = 0;
});

async function start(logins: RecordedLogins, listener: { origins?: readonly string[] } = {}): Promise<string> {
  const options: CreateBrokerOptions = {
    listeners: [{ url: "ws://127.0.0.1:0/mqtt", ...listener }],
    plugins: [{ plugin: logins.plugin }],
    sysIntervalMs: 0,
    log: { write: (_, event, fields) => void logged.push([event, fields]) },
  };
  broker = await createBroker(options);
  return broker.urls[0]!;
}

async function upgrade(url: string, headers: Record<string, string> = {}): Promise<WebSocketPeer> {
  const peer = await WebSocketPeer.open(url, "mqtt", { headers });
  peers.push(peer);
  return peer;
}

async function sendConnect(peer: WebSocketPeer, level: ProtocolLevel = 5): Promise<void> {
  const writer = new Writer();
  encodePacket(writer, connectPacket("page", { level }), level);
  await peer.write(writer.view().slice());
}

/** What a provider is told of the upgrade of a client that connects. */
async function toldOf(url: string, logins: RecordedLogins, headers: Record<string, string> = {}) {
  const peer = await upgrade(url, headers);
  await sendConnect(peer);
  expect(await peer.inbox.packet()).toMatchObject({ type: "connack", reasonCode: 0 });
  return logins.requests.at(-1)!.peer.upgrade!;
}

describe("Origin", () => {
  test.each(ORIGINS)("%s, which is on the list, connects and is told to the provider", async (origin) => {
    const logins = recordLogins();
    const url = await start(logins, { origins: ORIGINS });
    expect((await toldOf(url, logins, { Origin: origin })).origin).toBe(origin);
  });

  test.each([
    "https://evil.example",
    "https://app.example.evil.example",
    "https://app.example:8443",
    "http://app.example",
    "https://app.example/",
    "HTTPS://APP.EXAMPLE",
    "null",
    "",
    "https://app.example, https://evil.example",
  ])("<%s>, which is not, gets 403 and reaches no provider", async (origin) => {
    const logins = recordLogins();
    const peer = await upgrade(await start(logins, { origins: ORIGINS }), { Origin: origin });
    expect(peer.handshake.status).toBe(403);
    expect(broker!.statistics.connectionsOpened).toBe(0);
    expect(logins.requests).toEqual([]);
  });

  test("none at all gets 403 too where there is a list", async () => {
    const peer = await upgrade(await start(recordLogins(), { origins: ORIGINS }));
    expect(peer.handshake.status).toBe(403);
  });

  test("a page gives its own, whatever else it sends", async () => {
    const url = await start(recordLogins(), { origins: ORIGINS });
    const headers = { Origin: "https://evil.example", "X-Forwarded-Origin": ORIGINS[0]!, Referer: `${ORIGINS[0]}/` };
    expect((await upgrade(url, headers)).handshake.status).toBe(403);
  });

  test("F: an option of one listener holds there and not on the other: origins, ws", async () => {
    const listeners = [{ url: "ws://127.0.0.1:0/a", origins: ORIGINS }, "ws://127.0.0.1:0/b"];
    listeners.push({ url: "ws://127.0.0.1:0/c", origins: ["https://other.example"] });
    broker = await createBroker({ listeners, sysIntervalMs: 0 });
    const statuses = async (headers: Record<string, string>) => {
      const opened = await Promise.all(broker!.urls.map((url) => upgrade(url, headers)));
      return opened.map(({ handshake }) => handshake.status);
    };
    expect(await statuses({ Origin: ORIGINS[0]! })).toEqual([101, 101, 403]);
    expect(await statuses({ Origin: "https://other.example" })).toEqual([403, 101, 101]);
    expect(await statuses({ Origin: "https://evil.example" })).toEqual([403, 101, 403]);
    expect(await statuses({})).toEqual([403, 101, 403]);
  });

  test("without a list every origin may connect, and none", async () => {
    const logins = recordLogins();
    const url = await start(logins);
    expect((await toldOf(url, logins, { Origin: "https://any.example" })).origin).toBe("https://any.example");
    expect((await toldOf(url, logins)).origin).toBeUndefined();
  });
});

describe("what reaches the provider", () => {
  test("Authorization, cookies and the query, as they were sent", async () => {
    const logins = recordLogins();
    const url = await start(logins);
    const told = await toldOf(`${url}?ticket=abc%2Fdef&tenant=one`, logins, {
      Authorization: "Bearer eyJ.abc.def",
      Cookie: 'session=s%20id; theme="dark"; empty=; spaced = x ',
    });
    expect(told.authorization).toBe("Bearer eyJ.abc.def");
    expect({ ...told.cookies }).toEqual({ session: "s%20id", theme: '"dark"', empty: "", spaced: "x" });
    expect({ ...told.query }).toEqual({ ticket: "abc/def", tenant: "one" });
  });

  test("nothing was sent: nothing is there", async () => {
    const logins = recordLogins();
    const told = await toldOf(await start(logins), logins);
    expect(told.authorization).toBeUndefined();
    expect(Object.keys(told.cookies)).toEqual([]);
    expect(Object.keys(told.query)).toEqual([]);
  });

  test("a cookie or parameter that is there twice is not sent, for nobody can tell which one counts", async () => {
    const logins = recordLogins();
    const url = await start(logins);
    const told = await toldOf(`${url}?ticket=a&ticket=b&ticket=c&other=1`, logins, { Cookie: "s=1; s=2; t=3" });
    expect({ ...told.cookies }).toEqual({ t: "3" });
    expect({ ...told.query }).toEqual({ other: "1" });
  });

  test("a name that objects have by themselves is a name like any other", async () => {
    const logins = recordLogins();
    const url = await start(logins);
    const told = await toldOf(`${url}?__proto__=p`, logins, { Cookie: "constructor=c" });
    expect(Object.entries(told.query)).toEqual([["__proto__", "p"]]);
    expect(told.cookies["constructor"]).toBe("c");
    expect(told.cookies["toString"]).toBeUndefined();
  });

  test.each<[string, string, Record<string, string>]>([
    ["65 cookies", "", { Cookie: Array.from({ length: 65 }, (_, index) => `c${index}=x`).join("; ") }],
    ["65 parameters", `?${Array.from({ length: 65 }, (_, index) => `c${index}=x`).join("&")}`, {}],
    ["17 KiB of Authorization", "", { Authorization: "x".repeat(17 * 1024) }],
  ])("%s are too much: 431", async (_name, query, headers) => {
    const logins = recordLogins();
    const url = await start(logins);
    expect((await upgrade(url + query, headers)).handshake.status).toBe(431);
    expect(broker!.statistics.connectionsOpened).toBe(0);
  });

  test("a token of 12 KiB, 64 cookies and 64 parameters are not", async () => {
    const logins = recordLogins();
    const url = await start(logins);
    const many = Array.from({ length: 64 }, (_, index) => `c${index}=x`);
    const headers = { Authorization: `Bearer ${"x".repeat(12 * 1024)}`, Cookie: many.join("; ") };
    const told = await toldOf(`${url}?${many.join("&")}`, logins, headers);
    expect(told.authorization?.length).toBe(7 + 12 * 1024);
    expect(Object.keys(told.cookies).length + Object.keys(told.query).length).toBe(128);
  });

  test("F: canary in Authorization, cookie and query never reaches the log", async () => {
    const logins = recordLogins(() => ({ do: "refuse", because: "bad-credentials" }));
    const url = await start(logins, { origins: ["https://app.example"] });
    const headers = { Authorization: "Bearer canary-1", Cookie: "s=canary-2", Origin: "https://app.example" };
    const peer = await upgrade(`${url}?ticket=canary-3`, headers);
    await sendConnect(peer);
    await peer.closed;
    expect(
      (await upgrade(`${url}?ticket=canary-4`, { ...headers, Origin: "https://canary.example" })).handshake.status,
    ).toBe(403);
    expect(logins.requests.length).toBe(1);
    expect(logged.length).toBeGreaterThan(0);
    expect(JSON.stringify(logged)).not.toContain("canary");
  });
});

describe("a refused login is CONNACK with its reason, then a close code that says the same", () => {
  test.each<[Refusal, number, number]>([
    ["bad-credentials", 0x86, 4],
    ["not-authorized", 0x87, 5],
    ["client-id", 0x85, 2],
    ["banned", 0x8a, 5],
    ["unavailable", 0x88, 3],
    ["busy", 0x89, 3],
    ["bad-method", 0x8c, 5],
  ])("%s", async (because, reasonCode, returnCode) => {
    const url = await start(recordLogins(() => ({ do: "refuse", because })));
    for (const [level, code] of [
      [5, reasonCode],
      [4, returnCode],
    ] as const) {
      const peer = await upgrade(url);
      await sendConnect(peer, level);
      expect(await peer.inbox.packet(level)).toMatchObject({ type: "connack", reasonCode: code });
      expect(await peer.inbox.packet(level)).toBeUndefined();
      // The close code does not know about versions: a page can always tell the reasons apart.
      expect(await peer.closed).toBe(4000 + reasonCode);
    }
  });

  test("a page reads it with nothing but the browser's own WebSocket", async () => {
    const url = await start(recordLogins(() => ({ do: "refuse", because: "banned" })));
    const socket = new WebSocket(url, "mqtt");
    socket.binaryType = "arraybuffer";
    const first = Promise.withResolvers<Uint8Array>();
    const end = Promise.withResolvers<CloseEvent>();
    socket.onmessage = ({ data }) => first.resolve(new Uint8Array(data as ArrayBuffer));
    socket.onclose = (event) => end.resolve(event);
    socket.onopen = () => {
      const writer = new Writer();
      encodePacket(writer, connectPacket("page", {}), 5);
      socket.send(writer.view().slice());
    };
    expect((await first.promise)[0]).toBe(0x20);
    expect((await first.promise)[3]).toBe(0x8a);
    expect(await end.promise).toMatchObject({ code: 4138, wasClean: true });
  });
});
