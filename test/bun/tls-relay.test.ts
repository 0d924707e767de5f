/**
 * WebSocket listeners that ask for client certificates: what a certificate is good for there, what a ticket is not, how far
 * a request gets that is no good, how connections end, and what is left behind. The matrix of certificates and versions,
 * and long streams of bytes, are in tls.test.ts for all transports alike.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket, TLSOptions } from "bun";
import { connectAsync } from "mqtt";
import { createBroker, type ListenerOptions, type RunningBroker } from "rqtt";
import clientCertificate from "../../plugins/client-certificate.ts";
import jwt from "../../plugins/jwt.ts";
import { Handshakes } from "../../src/bun/handshakes.ts";
import type { ListenContext } from "../../src/bun/tcp.ts";
import { readTls } from "../../src/bun/tls.ts";
import { openTlsRelay } from "../../src/bun/tls-relay.ts";
import { encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { LogFields } from "../../src/core/ports.ts";
import { parseListenerUrl } from "../../src/listener-url.ts";
import { type Certificates, type Identity, makeCertificates, opensslCommand } from "../support/certificates.ts";
import { frame } from "../support/hand-made.ts";
import { recordLogins } from "../support/recorded-logins.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { AUDIENCE, ISSUER, newKey, signToken } from "../support/token-kit.ts";
import { encodeFrame, Opcode, WebSocketPeer } from "../support/websocket-peer.ts";
import { type ConnectInit, connectPacket } from "../support/world.ts";

const HEAD_BYTES_MAX = 16 * 1024;
const UPGRADE = [
  "Host: localhost",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
  "Sec-WebSocket-Protocol: mqtt",
];

type Client = "none" | "good" | "rogue" | "odd" | "cut";

const missing = opensslCommand === null ? ": the openssl command is not installed" : "";

describe.skipIf(missing !== "")(`the relay before wss${missing}`, withCertificates);

function withCertificates(): void {
  let made: Certificates;
  /** Where the brokers' sockets are, and nothing else. */
  let work: string;
  const usual = process.env["TMPDIR"];
  const brokers: RunningBroker[] = [];
  const peers: { reset(): void }[] = [];
  const logged: { event: string; fields: LogFields }[] = [];

  beforeAll(() => {
    made = makeCertificates();
    work = mkdtempSync(join(tmpdir(), "rqtt-relay-"));
    process.env["TMPDIR"] = work;
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.reset();
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    logged.length = 0;
    expect(readdirSync(work)).toEqual([]);
  });
  afterAll(() => {
    if (usual === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = usual;
    made.remove();
    rmSync(work, { recursive: true });
  });

  const listener = (more: Partial<ListenerOptions> = {}): ListenerOptions => ({
    url: "wss://127.0.0.1:0/mqtt",
    certificate: made.server.cert,
    key: made.server.key,
    clientCa: made.ca,
    ...more,
  });

  async function start(options: Parameters<typeof createBroker>[0] = {}): Promise<RunningBroker> {
    const log = { write: (_: string, event: string, fields: LogFields) => void logged.push({ event, fields }) };
    const broker = await createBroker({ sysIntervalMs: 0, log, listeners: [listener()], ...options });
    brokers.push(broker);
    return broker;
  }

  function tlsOf(client: Client): TLSOptions {
    const identity: Partial<Identity> = client === "none" ? {} : made[client];
    return { ca: made.ca, serverName: "localhost", ...identity };
  }

  async function open(broker: RunningBroker, client: Client = "good"): Promise<WebSocketPeer> {
    const peer = await WebSocketPeer.open(broker.urls[0]!, "mqtt", { tls: tlsOf(client) });
    peers.push(peer);
    return peer;
  }

  /** The reason code of the CONNACK. */
  async function login(peer: WebSocketPeer, init: ConnectInit = {}, clientId = "client"): Promise<number> {
    await peer.write(encode(connectPacket(clientId, init)));
    const packet = await peer.inbox.packet();
    return packet?.type === "connack" ? packet.reasonCode : Number.NaN;
  }

  /** TLS, and below it nothing that a client would do by itself. */
  async function raw(broker: RunningBroker, ...pieces: (string | Uint8Array)[]): Promise<TcpPeer> {
    const peer = await TcpPeer.open(broker.urls[0]!, tlsOf("good"));
    peers.push(peer);
    for (const piece of pieces) {
      await peer.write(bytesOf(piece));
      // The relay, which is in this process, reads it before there is more.
      await new Promise(setImmediate);
    }
    return peer;
  }

  const rest = async (peer: TcpPeer): Promise<string> => Buffer.from(await peer.inbox.rest()).toString("latin1");

  /** The folder of the only listener that has one. */
  const socketFolder = (): string => join(work, readdirSync(work)[0]!);

  describe("who it is", () => {
    test("client-certificate lets a client in under its Common Name, with its rights and no others", async () => {
      const allow = [{ on: "pub", filter: "door/${id}/#" }];
      const config = { identity: "common-name", allow };
      const broker = await start({
        listeners: [listener({ clientCertificate: "optional" })],
        plugins: [{ plugin: clientCertificate, config }],
      });
      const door = await open(broker);
      expect(await login(door, { username: "somebody" }, "one")).toBe(0);
      expect(broker.report("one")?.connection).toMatchObject({
        principal: "door",
        remoteAddress: "127.0.0.1",
        listener: broker.urls[0]!,
      });
      await door.write(publishBytes("door/door/open", bytesOf("x"), 1));
      expect(await door.inbox.packet()).toMatchObject({ type: "puback", reasonCode: 0x10 });
      await door.write(publishBytes("door/other/open", bytesOf("x"), 2));
      expect(await door.inbox.packet()).toMatchObject({ type: "puback", reasonCode: 0x87 });
      // Whose certificate has two names is nobody; so is who has none.
      expect(await login(await open(broker, "odd"))).toBe(0x87);
      expect(await login(await open(broker, "none"))).toBe(0x87);
      // At the same time, and none is taken for another.
      const logins = ["good", "odd", "good", "none", "cut", "good"] as const;
      const all = await Promise.all(logins.map(async (client, at) => login(await open(broker, client), {}, `${at}`)));
      expect(all).toEqual([0, 0x87, 0, 0x87, 0x87, 0]);
    });

    test("a token that is bound to a certificate (cnf) needs that certificate", async () => {
      const key = await newKey("EdDSA", "k");
      writeFileSync(join(made.folder, "keys.json"), JSON.stringify({ keys: [key.jwk] }));
      const main = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["EdDSA"], keys: { file: "keys.json" } };
      const logins = recordLogins(() => ({ do: "skip" }));
      const broker = await start({
        listeners: [listener({ clientCertificate: "optional" })],
        folder: made.folder,
        plugins: [{ plugin: logins.plugin }, { plugin: jwt, config: { issuers: { main } } }],
      });
      await login(await open(broker));
      const { sha256 } = logins.requests[0]!.peer.certificate!;
      const password = await signToken(key, { claims: { cnf: { "x5t#S256": sha256 } } });
      expect(await login(await open(broker, "good"), { password })).toBe(0);
      expect(await login(await open(broker, "cut"), { password })).toBe(0x86);
      expect(await login(await open(broker, "none"), { password })).toBe(0x86);
      const unbound = await signToken(key);
      expect(await login(await open(broker, "none"), { password: unbound })).toBe(0);
    });

    test("MQTT.js connects with its certificate and gets a megabyte back", async () => {
      const logins = recordLogins();
      const broker = await start({ plugins: [{ plugin: logins.plugin }] });
      const url = broker.urls[0]!.replace("127.0.0.1", "localhost");
      const options = { ca: made.ca, ...made.good, reconnectPeriod: 0 };
      const client = await connectAsync(url, { ...options, protocolVersion: 5 });
      const echo = new Promise<Buffer>((resolve) => client.once("message", (_, payload) => resolve(payload)));
      const payload = Buffer.from(Array.from({ length: 1_000_000 }, (_, at) => (at * at) >> 7));
      await client.subscribeAsync("echo", { qos: 1 });
      await client.publishAsync("echo", payload, { qos: 1 });
      expect(Buffer.compare(await echo, payload)).toBe(0);
      await client.endAsync();
      expect(logins.requests.map(({ peer }) => peer.certificate?.commonName)).toEqual(["door"]);
    });
  });

  describe("tickets", () => {
    test.each([
      ["one of the client's own", "Rqtt-Ticket: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
      ["an empty one", "rqtt-ticket:"],
      ["one that goes on with the listener's", " folded"],
      ["one beside it", "RQTT-TICKET: a\r\nRqtt-Ticket: b"],
    ])("%s is refused, and reaches no provider", async (_name, line) => {
      const logins = recordLogins();
      const broker = await start({ plugins: [{ plugin: logins.plugin }] });
      const peer = await raw(broker, request([line, ...UPGRADE]), encodeFrame(Opcode.binary, connectBytes()));
      expect(await rest(peer)).toStartWith("HTTP/1.1 400 ");
      expect([logins.requests.length, broker.statistics.connectionsOpened]).toEqual([0, 0]);
    });

    test("past the relay there is nothing: the socket is in a folder of this user alone, and asks for a ticket", async () => {
      const logins = recordLogins();
      const broker = await start({ plugins: [{ plugin: logins.plugin }] });
      expect(statSync(socketFolder()).mode & 0o777).toBe(0o700);
      for (const line of ["X: y", "Rqtt-Ticket: undefined", "Rqtt-Ticket:"]) {
        const answer = Promise.withResolvers<string>();
        let text = "";
        const intruder = await Bun.connect({
          unix: join(socketFolder(), "ws"),
          socket: {
            data: (_, bytes) => void (text += bytes.toString("latin1")),
            close: () => answer.resolve(text),
          },
        });
        intruder.write(request([line, ...UPGRADE]));
        expect(await answer.promise).toStartWith("HTTP/1.1 400 ");
      }
      expect([logins.requests.length, broker.statistics.connectionsOpened]).toEqual([0, 0]);
    });

    test("a connection has one request: a second one, at once or later, is not answered", async () => {
      const broker = await start();
      const elsewhere = `GET / HTTP/1.1\r\nHost: localhost\r\n\r\n`;
      const together = await rest(await raw(broker, elsewhere + request(UPGRADE)));
      expect(together).toStartWith("HTTP/1.1 404 ");
      expect(together.match(/HTTP\/1\.1/gu)).toHaveLength(1);
      const peer = await raw(broker, elsewhere);
      expect(await rest(peer)).toStartWith("HTTP/1.1 404 ");
      await peer.write(bytesOf(request(UPGRADE)));
      expect(broker.statistics.connectionsOpened).toBe(0);
      // Behind an upgrade it is no request but a broken frame.
      const behind = await rest(await raw(broker, request(UPGRADE) + request(UPGRADE)));
      expect(behind).toStartWith("HTTP/1.1 101 ");
      expect(behind.match(/HTTP\/1\.1/gu)).toHaveLength(1);
      expect(broker.statistics.connectionsOpened).toBe(1);
    });

    test("each is new, stands behind the request line, is taken once, and not when its client is gone", async () => {
      const parsed = parseListenerUrl("wss://127.0.0.1:0/mqtt", listener());
      if (!parsed.ok) throw new Error(parsed.expected);
      const log = { write() {} };
      const counts = { unauthenticatedCount: 0, connectionCount: 0 } as never;
      const handshakes = new Handshakes(counts, DEFAULT_LIMITS, log);
      const context = { limits: DEFAULT_LIMITS, log, handshakes } as unknown as ListenContext;
      const relay = openTlsRelay(parsed.listener, readTls(parsed.listener, ".", {})!, context);
      const received: string[] = [];
      const closed = Promise.withResolvers<void>();
      let arrived = Promise.withResolvers<void>();
      const server = Bun.listen({
        unix: relay.socketPath,
        socket: {
          data(_: Socket<undefined>, bytes) {
            received.push(bytes.toString("latin1"));
            arrived.resolve();
          },
          close: () => closed.resolve(),
        },
      });
      const url = `wss://127.0.0.1:${relay.listen()}/mqtt`;
      const tickets: string[] = [];
      const clients: TcpPeer[] = [];
      for (const client of ["good", "cut"] as const) {
        arrived = Promise.withResolvers();
        const peer = await TcpPeer.open(url, tlsOf(client));
        await peer.write(bytesOf(request(UPGRADE)));
        await arrived.promise;
        const [, ticket, after] = /^GET \/mqtt HTTP\/1\.1\r\nRqtt-Ticket: ([\w-]{43})\r\n(.*)$/su.exec(
          received.at(-1)!,
        )!;
        expect(after).toBe(request(UPGRADE).slice("GET /mqtt HTTP/1.1\r\n".length));
        tickets.push(ticket!);
        clients.push(peer);
      }
      const ask = (value: string) => new Request("http://x/", { headers: { "rqtt-ticket": value } });
      expect(tickets[0]).not.toBe(tickets[1]);
      expect(relay.take(ask(tickets.join(", ")))).toBeUndefined();
      expect(relay.take(ask(tickets[0]!))?.certificate?.commonName).toBe("door");
      expect(relay.take(ask(tickets[0]!))).toBeUndefined();
      clients[1]!.reset();
      await closed.promise;
      expect(relay.take(ask(tickets[1]!))).toBeUndefined();
      relay.stop();
      relay.destroyAll();
      server.stop(true);
      expect(relay.count).toBe(0);
    });
  });

  describe("the head of the request", () => {
    const long = (bytes: number) => `Authorization: ${"x".repeat(bytes)}`;

    test("may come byte by byte, with frames behind it", async () => {
      const broker = await start();
      const text = request(UPGRADE);
      const last = Buffer.concat([bytesOf(text.slice(-1)), encodeFrame(Opcode.binary, connectBytes())]);
      const peer = await raw(broker, ...text.slice(0, -1), last);
      const head = /^HTTP\/1\.1 101 .*?\r\n\r\n/su;
      let answer = "";
      while (!head.test(answer)) answer += String.fromCharCode((await peer.inbox.take(1))![0]!);
      // A binary frame with a CONNACK.
      expect((await peer.inbox.take(3))!.subarray(0, 1)).toEqual(Uint8Array.of(0x82));
    });

    test("may hold a token of 12 KiB", async () => {
      const logins = recordLogins();
      const broker = await start({ plugins: [{ plugin: logins.plugin }] });
      const upgrade = { tls: tlsOf("good"), headers: { Authorization: "x".repeat(12 * 1024) } };
      const peer = await WebSocketPeer.open(broker.urls[0]!, "mqtt", upgrade);
      peers.push(peer);
      expect(await login(peer)).toBe(0);
      expect(logins.requests[0]!.peer.upgrade?.authorization?.length).toBe(12 * 1024);
    });

    test.each([
      ["complete, in one piece", [request([...UPGRADE, long(HEAD_BYTES_MAX)])]],
      ["complete, with its end in a piece of its own", [request([long(HEAD_BYTES_MAX)]).slice(0, -2), "\r\n"]],
      ["without an end", Array.from({ length: 17 }, () => "x".repeat(1024))],
    ])("of more than 16 KiB gets 431: %s", async (_name, pieces) => {
      const broker = await start();
      const peer = await raw(broker, ...pieces);
      expect(await rest(peer)).toStartWith("HTTP/1.1 431 ");
      const why = `a request head of more than ${HEAD_BYTES_MAX} bytes`;
      const fields = { listener: broker.urls[0]!, remoteAddress: "127.0.0.1", why };
      expect(logged).toEqual([{ event: "upgrade-failed", fields }]);
      expect(broker.statistics.connectionsOpened).toBe(0);
    });

    test.each([
      ["nothing", ""],
      ["half a head", request(UPGRADE).slice(0, 40)],
    ])("has its time: who sends %s is cut", async (_name, text) => {
      const broker = await start({ limits: { connectDeadlineMs: 50 } });
      const peer = await raw(broker, text);
      expect(await rest(peer)).toBe("");
      const why = "not finished within 50 ms";
      expect(logged).toEqual([{ event: "upgrade-failed", fields: expect.objectContaining({ why }) }]);
    });

    test("keeps its place among the newcomers until there is a WebSocket", async () => {
      const broker = await start({ limits: { unauthenticatedMax: 2 } });
      const silent = [await raw(broker), await raw(broker, "GET /mqtt")];
      await expect(open(broker)).rejects.toThrow("the answer ends early");
      expect(logged).toEqual([{ event: "connection-limit", fields: { remoteAddress: "127.0.0.1" } }]);
      silent[0]!.close();
      await silent[0]!.inbox.rest();
      const peer = await open(broker);
      expect(peer.handshake.status).toBe(101);
      expect(await login(peer)).toBe(0);
      expect(await login(await open(broker), {}, "another")).toBe(0);
    });

    test("one that is refused is logged as such, and over", async () => {
      const broker = await start();
      expect(await rest(await raw(broker, request(UPGRADE, "/nothing")))).toStartWith("HTTP/1.1 404 ");
      const why = "the request was refused";
      expect(logged).toEqual([{ event: "upgrade-failed", fields: expect.objectContaining({ why }) }]);
    });
  });

  test("a socket that somebody has removed: 503 and a line in the log, and who is connected stays", async () => {
    const broker = await start();
    const early = await open(broker);
    rmSync(join(socketFolder(), "ws"));
    expect((await open(broker)).handshake.status).toBe(503);
    const why = "the WebSocket server is not reached: ENOENT";
    expect(logged).toEqual([{ event: "upgrade-failed", fields: expect.objectContaining({ why }) }]);
    expect(await login(early)).toBe(0);
  });

  describe("ends", () => {
    test("a refused login is a CONNACK with its reason, and a close code that says the same", async () => {
      const logins = recordLogins(() => ({ do: "refuse", because: "banned" }));
      const broker = await start({ plugins: [{ plugin: logins.plugin }] });
      for (let round = 0; round < 5; round++) {
        const peer = await open(broker);
        expect(await login(peer)).toBe(0x8a);
        expect(await peer.closed).toBe(4000 + 0x8a);
      }
    });

    test("the end of the broker too, and nothing of it stays behind", async () => {
      const broker = await start();
      const path = join(socketFolder(), "ws");
      expect(readFileSync("/proc/net/unix", "latin1")).toContain(path);
      const clients = await Promise.all(Array.from({ length: 20 }, () => open(broker)));
      for (const [at, peer] of clients.entries()) expect(await login(peer, {}, `client ${at}`)).toBe(0);
      const silent = await raw(broker, "GET /mqtt");
      // As long as it takes: for the silent one that would be for ever.
      await broker.close(3_600_000);
      for (const peer of clients) {
        expect(await peer.inbox.packet()).toMatchObject({ type: "disconnect", reasonCode: 0x8b });
        expect(await peer.closed).toBe(4000 + 0x8b);
      }
      expect(await rest(silent)).toBe("");
      expect(existsSync(path)).toBe(false);
      expect(readFileSync("/proc/net/unix", "latin1")).not.toContain(path);
    });

    test("what a client sent before its FIN is received, however much it is", async () => {
      const broker = await start();
      const watcher = await open(broker);
      expect(await login(watcher, {}, "watcher")).toBe(0);
      await watcher.write(frame(0x82, "00 01 00 00 01 61 00"));
      expect((await watcher.inbox.packet())?.type).toBe("suback");
      const payload = new Uint8Array(1_900_000).map((_, at) => (at * at) >> 6);
      const hasty = await open(broker);
      expect(await login(hasty, {}, "hasty")).toBe(0);
      await hasty.write(publishBytes("a", payload));
      hasty.tcp.shutdown();
      const packet = await watcher.inbox.packet();
      expect(packet?.type === "publish" && Buffer.compare(packet.payload, payload)).toBe(0);
      expect(await hasty.tcp.inbox.rest()).toHaveLength(0);
    });

    test("a client that does not hang up keeps its place for a while, and is cut", async () => {
      const broker = await start({ limits: { connectionsMax: 1 } });
      // A second CONNECT is a Protocol Error.
      const twice = encodeFrame(Opcode.binary, Buffer.concat([connectBytes(), connectBytes()]));
      const stubborn = await raw(broker, request(UPGRADE), twice);
      await stubborn.inbox.rest();
      await expect(open(broker)).rejects.toThrow("the answer ends early");
      expect(logged.at(-1)).toEqual({ event: "connection-limit", fields: { remoteAddress: "127.0.0.1" } });
      expect(broker.connectionCount).toBe(0);
      let status: number | undefined;
      while (status === undefined) {
        status = await open(broker).then(
          ({ handshake }) => handshake.status,
          () => undefined,
        );
      }
      expect(status).toBe(101);
    });
  });

  describe("what a listener starts with", () => {
    test("what earlier ones have left behind is no hindrance", async () => {
      const left = join(work, "rqtt-wss-abcdef");
      mkdirSync(left, { mode: 0o700 });
      writeFileSync(join(left, "ws"), "");
      const broker = await start();
      expect(await login(await open(broker))).toBe(0);
      await broker.close();
      expect(readdirSync(work)).toEqual(["rqtt-wss-abcdef"]);
      rmSync(left, { recursive: true });
    });

    test("an address that is taken: no listener, and no folder", async () => {
      const broker = await start();
      const before = readdirSync(work);
      const again = start({ listeners: [listener({ url: broker.urls[0]! })] });
      await expect(again).rejects.toThrow("cannot listen: another program has this address");
      expect(readdirSync(work)).toEqual(before);
    });

    test("a folder for temporary files that cannot be had is named", async () => {
      const deep = join(work, "x".repeat(100));
      mkdirSync(deep);
      try {
        process.env["TMPDIR"] = join(work, "gone");
        await expect(start()).rejects.toThrow(
          `wss://127.0.0.1:0/mqtt: TMPDIR: expected a folder to make a socket in, found ENOENT (${work}/gone)`,
        );
        process.env["TMPDIR"] = deep;
        await expect(start()).rejects.toThrow("TMPDIR: expected a path of at most 84 bytes, for a socket's name");
        expect(readdirSync(deep)).toEqual([]);
      } finally {
        process.env["TMPDIR"] = work;
        rmSync(deep, { recursive: true });
      }
    });
  });
}

function request(lines: readonly string[], path = "/mqtt"): string {
  return `GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

function bytesOf(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? new TextEncoder().encode(text) : text;
}

function encode(packet: Packet): Uint8Array {
  const writer = new Writer();
  encodePacket(writer, packet, 5);
  return writer.view().slice();
}

function connectBytes(): Uint8Array {
  return encode(connectPacket("raw", {}));
}
