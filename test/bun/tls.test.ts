/**
 * TLS listeners, through real sockets: who is let in with which certificate, on TCP and WebSocket alike, which versions are
 * spoken, what reaches the providers, what a listener refuses to start with, and that no byte is lost on the way.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { constants, createHash, X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TLSOptions } from "bun";
import { createBroker, type ListenerOptions, type RunningBroker } from "rqtt";
import { readTls } from "../../src/bun/tls.ts";
import { encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import type { LogFields } from "../../src/core/ports.ts";
import { parseListenerUrl } from "../../src/listener-url.ts";
import { type Certificates, type Identity, makeCertificates, opensslCommand } from "../support/certificates.ts";
import type { Inbox } from "../support/inbox.ts";
import { startLineProcess } from "../support/line-process.ts";
import { recordLogins } from "../support/recorded-logins.ts";
import { ROOT } from "../support/repository.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { WebSocketPeer } from "../support/websocket-peer.ts";
import { connectPacket } from "../support/world.ts";

const TEST_MS = 60_000;
const TLS_1_2: TLSOptions = { secureOptions: constants.SSL_OP_NO_TLSv1_3 };
const TLS_1_3: TLSOptions = { secureOptions: constants.SSL_OP_NO_TLSv1_2 };

type Client = "none" | "good" | "expired" | "rogue" | "odd" | "cut";
type Transport = "mqtts" | "wss";

/** Both ends of one connection, whatever is below MQTT. */
interface Peer {
  readonly inbox: Inbox;
  write(bytes: Uint8Array): Promise<void>;
  pause(): void;
  resume(): void;
  reset(): void;
}

/** Why nothing can run here, in the title of what is skipped. */
const missing = opensslCommand === null ? ": the openssl command is not installed" : "";

describe.skipIf(missing !== "")(`TLS${missing}`, withCertificates);

function withCertificates(): void {
  let made: Certificates;
  const brokers: RunningBroker[] = [];
  const peers: { reset(): void }[] = [];
  const logged: { event: string; fields: LogFields }[] = [];

  let awaited: { event: string; resolve: () => void } | undefined;

  /** Resolves with the next log line of this name. */
  function nextLine(event: string): Promise<void> {
    return new Promise((resolve) => {
      awaited = { event, resolve };
    });
  }

  beforeAll(() => {
    made = makeCertificates();
  });
  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.reset();
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    logged.length = 0;
    awaited = undefined;
  });
  afterAll(() => made.remove());

  const url = (transport: Transport) => `${transport}://127.0.0.1:0`;
  const listener = (transport: Transport, more: Partial<ListenerOptions> = {}): ListenerOptions => ({
    url: url(transport),
    certificate: made.server.cert,
    key: made.server.key,
    ...more,
  });
  const mutual = (transport: Transport, clientCertificate: "required" | "optional" = "required"): ListenerOptions =>
    listener(transport, { clientCa: made.ca, clientCertificate });

  async function start(options: Parameters<typeof createBroker>[0]): Promise<RunningBroker> {
    const log = {
      write(_: string, event: string, fields: LogFields) {
        logged.push({ event, fields });
        if (event === awaited?.event) awaited.resolve();
      },
    };
    const broker = await createBroker({ sysIntervalMs: 0, log, ...options });
    brokers.push(broker);
    return broker;
  }

  function clientTls(client: Client, version: TLSOptions = {}): TLSOptions {
    const identity: Partial<Identity> = client === "none" ? {} : made[client];
    return { ca: made.ca, serverName: "localhost", ...identity, ...version };
  }

  /** A connection whose CONNECT has been sent; whether anything comes back is the test's business. */
  async function knock(broker: RunningBroker, clientId: string, tls: TLSOptions, listenerAt = 0): Promise<Peer> {
    const address = broker.urls[listenerAt]!;
    let peer: Peer;
    if (address.startsWith("wss:")) {
      const tcp = await WebSocketPeer.open(address, "mqtt", { tls }).catch(() => undefined);
      if (tcp === undefined) throw new Error("no answer to the upgrade");
      peers.push(tcp);
      peer = {
        inbox: tcp.inbox,
        write: (bytes) => tcp.write(bytes),
        pause: () => tcp.tcp.pause(),
        resume: () => tcp.tcp.resume(),
        reset: () => tcp.reset(),
      };
    } else {
      const tcp = await TcpPeer.open(address, tls);
      peers.push(tcp);
      peer = tcp;
    }
    await peer.write(encode(connectPacket(clientId, {})));
    return peer;
  }

  async function connected(broker: RunningBroker, clientId: string, tls = clientTls("none"), at = 0): Promise<Peer> {
    const peer = await knock(broker, clientId, tls, at);
    expect(await peer.inbox.packet()).toMatchObject({ type: "connack", reasonCode: 0 });
    return peer;
  }

  /** Whether a client gets to its CONNACK. */
  async function isLetIn(broker: RunningBroker, tls: TLSOptions, at = 0): Promise<boolean> {
    const peer = await knock(broker, "knocking", tls, at).catch(() => undefined);
    return (await peer?.inbox.packet())?.type === "connack";
  }

  const versions: [string, TLSOptions][] = [
    ["TLS 1.2", TLS_1_2],
    ["TLS 1.3", TLS_1_3],
  ];

  describe.each<Transport>(["mqtts", "wss"])("%s", (transport) => {
    describe.each(versions)("%s", (_name, version) => {
      test.each<[Client, boolean]>([
        ["none", false],
        ["rogue", false],
        ["expired", false],
        ["good", true],
      ])("required: client certificate %s, let in: %p", async (client, expected) => {
        const logins = recordLogins();
        const broker = await start({ listeners: [mutual(transport)], plugins: [{ plugin: logins.plugin }] });
        // More than once: a refusal must not depend on how reads fall.
        for (let round = 0; round < 5; round++)
          expect(await isLetIn(broker, clientTls(client, version))).toBe(expected);
        expect(logins.requests.length).toBe(expected ? 5 : 0);
        const { connectionsOpened, bytesReceived } = broker.statistics;
        expect(connectionsOpened).toBe(expected ? 5 : 0);
        if (!expected) expect(bytesReceived).toBe(0);
      });
    });

    test("without clientCa nobody is asked for a certificate, and one that comes says nothing", async () => {
      const logins = recordLogins();
      const broker = await start({ listeners: [listener(transport)], plugins: [{ plugin: logins.plugin }] });
      for (const client of ["none", "rogue", "good"] as const) await connected(broker, client, clientTls(client));
      expect(logins.requests.map(({ peer }) => peer.certificate)).toEqual([undefined, undefined, undefined]);
    });

    test("a client certificate is verified anew on every connection: no session is resumed", async () => {
      const broker = await start({ listeners: [mutual(transport)] });
      const session = join(made.folder, `${transport}-session`);
      for (const version of ["-tls1_2", "-tls1_3"]) {
        expect(await sClient(broker.urls[0]!, ["-sess_out", session, version])).toContain("\nNew, TLSv1.");
        // A client that has nothing to resume with has to begin anew.
        const more = (await Bun.file(session).exists()) ? ["-sess_in", session] : [];
        expect(await sClient(broker.urls[0]!, [...more, version])).toContain("\nNew, TLSv1.");
      }
    });
  });

  /** The ways that bytes can take through a listener; one that asks for certificates on wss has a relay before it. */
  const ways: [string, () => ListenerOptions][] = [
    ["mqtts", () => listener("mqtts")],
    ["wss", () => listener("wss")],
    ["wss with clientCa", () => mutual("wss")],
  ];

  describe.each(ways)("%s: bytes", (_name, way) => {
    test.each([
      ["-tls1", false],
      ["-tls1_1", false],
      ["-tls1_2", true],
      ["-tls1_3", true],
    ])("%s is spoken: %p", async (version, expected) => {
      const broker = await start({ listeners: [way()] });
      // At its usual level of security the client would not even ask for the old ones.
      const old = expected ? [] : ["-cipher", "ALL:@SECLEVEL=0"];
      const output = await sClient(broker.urls[0]!, [version, ...old]);
      if (expected) expect(output).toMatch(/\nNew, TLSv1\.[23], Cipher is [A-Z]/u);
      else expect(output).toContain("alert protocol version");
    });

    test(
      "a large transfer to a reader that pauses arrives byte by byte",
      async () => {
        const broker = await start({ listeners: [way()] });
        const reader = await connected(broker, "reader", clientTls("good"));
        await reader.write(encode(subscribeTo("bulk")));
        expect((await reader.inbox.packet())?.type).toBe("suback");
        const writer = await connected(broker, "writer", clientTls("good"));
        reader.pause();
        const sizes = Array.from(
          { length: 100 },
          (_, index) => ((index * 7919) % 100_000) + (index % 10 === 0 ? 1_900_000 : 1),
        );
        const total = sizes.reduce((sum, size) => sum + size);
        for (const [index, size] of sizes.entries()) {
          await writer.write(publishBytes("bulk", pattern(size, index), index + 1));
          expect(await writer.inbox.packet()).toMatchObject({ type: "puback", packetId: index + 1, reasonCode: 0 });
        }
        // All is published, and most of it waits in the broker.
        expect(reader.inbox.arrivedBytes).toBeLessThan(total / 2);
        reader.resume();
        for (const [index, size] of sizes.entries()) {
          const packet = await reader.inbox.packet();
          if (packet?.type !== "publish") throw new Error(`got ${packet?.type}`);
          expect(Buffer.compare(packet.payload, pattern(size, index))).toBe(0);
          await reader.write(encode({ type: "puback", packetId: packet.packetId!, reasonCode: 0, properties: {} }));
        }
      },
      TEST_MS,
    );

    test("many writers at once: each byte in its place", async () => {
      const broker = await start({ listeners: [way()] });
      const talk = async (name: string, seed: number) => {
        const peer = await connected(broker, name, clientTls("good"));
        await peer.write(encode(subscribeTo(name)));
        expect((await peer.inbox.packet())?.type).toBe("suback");
        for (let index = 0; index < 30; index++) {
          const payload = pattern((index * 1543) % 40_000, seed + index);
          await peer.write(publishBytes(name, payload));
          const packet = await peer.inbox.packet();
          expect(packet?.type === "publish" && Buffer.compare(packet.payload, payload)).toBe(0);
        }
      };
      await Promise.all([1, 2, 3, 4].map((seed) => talk(`client ${seed}`, seed * 1000)));
    });

    test("the end of the connection without DISCONNECT publishes the Will", async () => {
      const broker = await start({ listeners: [way()] });
      const watcher = await connected(broker, "watcher", clientTls("good"));
      await watcher.write(encode(subscribeTo("will")));
      expect((await watcher.inbox.packet())?.type).toBe("suback");
      const tls = clientTls("good");
      const address = broker.urls[0]!;
      const doomed = address.startsWith("wss:")
        ? await WebSocketPeer.open(address, "mqtt", { tls })
        : await TcpPeer.open(address, tls);
      await doomed.write(encode(connectPacket("doomed", { will: { topicName: "will", payload: "gone" } })));
      expect((await doomed.inbox.packet())?.type).toBe("connack");
      doomed.reset();
      expect(await watcher.inbox.packet()).toMatchObject({ type: "publish", topicName: "will" });
    });
  });

  test("F: an option of one listener holds there and not on the other: clientCa, mqtts and wss", async () => {
    const transports = ["mqtts", "wss"] as const;
    // The one with the option comes first, then last: neither order may carry it over.
    for (const isFirst of [true, false]) {
      const listeners = transports.flatMap((transport) => {
        const pair = [mutual(transport), listener(transport)];
        return isFirst ? pair : pair.reverse();
      });
      const broker = await start({ listeners });
      const answers = async (client: Client) => {
        const all: boolean[] = [];
        for (const at of listeners.keys()) all.push(await isLetIn(broker, clientTls(client), at));
        return all;
      };
      const onlyWithout = isFirst ? [false, true, false, true] : [true, false, true, false];
      expect(await answers("none")).toEqual(onlyWithout);
      expect(await answers("rogue")).toEqual(onlyWithout);
      expect(await answers("good")).toEqual([true, true, true, true]);
    }
  });

  test("F: an option of one listener holds there and not on the other: origins, wss", async () => {
    const listeners = [listener("wss", { origins: ["https://app.example"] }), listener("wss"), mutual("wss")];
    const broker = await start({ listeners });
    const statuses = async (origin: string) => {
      const all: number[] = [];
      for (const address of broker.urls) {
        const page = await WebSocketPeer.open(address, "mqtt", { tls: clientTls("good"), headers: { Origin: origin } });
        peers.push(page);
        all.push(page.handshake.status);
      }
      return all;
    };
    expect(await statuses("https://app.example")).toEqual([101, 101, 101]);
    expect(await statuses("https://evil.example")).toEqual([403, 101, 101]);
    // And the list of the one says nothing of the other's certificates.
    expect(await isLetIn(broker, clientTls("none"), 1)).toBe(true);
    expect(await isLetIn(broker, clientTls("none"), 2)).toBe(false);
  });

  /** What openssl s_client prints of a handshake with the good certificate. */
  async function sClient(address: string, more: readonly string[]): Promise<string> {
    const { host } = new URL(address);
    const files = ["-CAfile", "ca.pem", "-cert", "good.pem", "-key", "good.key"];
    const child = Bun.spawn(["openssl", "s_client", "-connect", host, ...files, ...more], {
      cwd: made.folder,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return output + errors;
  }

  describe.each<Transport>(["mqtts", "wss"])("what is told of a certificate on %s", (transport) => {
    async function certificateOf(client: Client) {
      const logins = recordLogins();
      const broker = await start({ listeners: [mutual(transport)], plugins: [{ plugin: logins.plugin }] });
      await connected(broker, client, clientTls(client));
      return logins.requests[0]!.peer.certificate;
    }

    test("its hash, subject, Common Name and alternative names", async () => {
      const der = new X509Certificate(made.good.cert).raw;
      expect(await certificateOf("good")).toEqual({
        sha256: createHash("sha256").update(der).digest("base64url"),
        subject: "C=DE, O=Example, CN=door",
        commonName: "door",
        alternativeNames: ["DNS:door.example", "URI:urn:door"],
      });
    });

    test("E: cert with two CN has none, and a name that looks like two is one", async () => {
      expect(await certificateOf("odd")).toMatchObject({
        subject: "O=Ex\\, CN=admin\\+x, CN=one, CN=two",
        commonName: undefined,
        alternativeNames: ["DNS:door.example", "URI:urn:a, DNS:admin.example"],
      });
    });

    test("E: cert CN with NUL is no name", async () => {
      expect(await certificateOf("cut")).toMatchObject({
        subject: "C=DE, O=Example, CN=door\\00admin",
        commonName: undefined,
      });
    });
  });

  test.each<Transport>(["mqtts", "wss"])(
    "optional on %s: a client may come without, one with a bad certificate may not",
    async (transport) => {
      const logins = recordLogins();
      const broker = await start({ listeners: [mutual(transport, "optional")], plugins: [{ plugin: logins.plugin }] });
      for (const [, version] of versions) {
        expect(await isLetIn(broker, clientTls("none", version))).toBe(true);
        expect(await isLetIn(broker, clientTls("good", version))).toBe(true);
        expect(await isLetIn(broker, clientTls("rogue", version))).toBe(false);
        expect(await isLetIn(broker, clientTls("expired", version))).toBe(false);
      }
      const names = logins.requests.map(({ peer }) => peer.certificate?.commonName);
      expect(names).toEqual([undefined, "door", undefined, "door"]);
    },
  );

  describe.each<Transport>(["mqtts", "wss"])("handshakes on %s", (transport) => {
    test("a failed one is one line that names the listener, the address and the reason", async () => {
      const broker = await start({ listeners: [mutual(transport)] });
      expect(await isLetIn(broker, clientTls("rogue"))).toBe(false);
      expect(await isLetIn(broker, clientTls("expired"))).toBe(false);
      expect(await isLetIn(broker, clientTls("none", TLS_1_2))).toBe(false);
      const plain = await TcpPeer.open(broker.urls[0]!);
      await plain.write(encode(connectPacket("plain", {})));
      expect((await plain.inbox.rest())[0]).not.toBe(0x20);
      const lines = logged.filter(({ event }) => event === "tls-handshake-failed");
      expect(lines.map(({ fields }) => fields)).toEqual([
        { listener: broker.urls[0]!, remoteAddress: "127.0.0.1", why: "unable to verify the first certificate" },
        { listener: broker.urls[0]!, remoteAddress: "127.0.0.1", why: "certificate has expired" },
        { listener: broker.urls[0]!, remoteAddress: "127.0.0.1", why: "peer did not return a certificate" },
        { listener: broker.urls[0]!, remoteAddress: "127.0.0.1", why: "wrong version number" },
      ]);
      expect(broker.statistics.connectionsOpened).toBe(0);
    });

    test("one that is not finished in time is cut", async () => {
      const broker = await start({ listeners: [mutual(transport)], limits: { connectDeadlineMs: 50 } });
      const silent = await TcpPeer.open(broker.urls[0]!);
      expect((await silent.inbox.rest()).length).toBe(0);
      expect(logged).toEqual([
        { event: "tls-handshake-failed", fields: expect.objectContaining({ why: "not finished within 50 ms" }) },
      ]);
    });

    test("they count against unauthenticatedMax: one too many is cut, and a place that is given back is taken", async () => {
      const broker = await start({ listeners: [mutual(transport)], limits: { unauthenticatedMax: 2 } });
      const silent = [await TcpPeer.open(broker.urls[0]!), await TcpPeer.open(broker.urls[0]!)];
      peers.push(...silent);
      const third = await TcpPeer.open(broker.urls[0]!);
      expect((await third.inbox.rest()).length).toBe(0);
      expect(logged).toContainEqual({ event: "connection-limit", fields: { remoteAddress: "127.0.0.1" } });
      const failed = nextLine("tls-handshake-failed");
      silent[0]!.close();
      await failed;
      await connected(broker, "late", clientTls("good"));
    });

    test("closing the broker does not wait for them", async () => {
      const broker = await start({ listeners: [mutual(transport)] });
      const silent = await TcpPeer.open(broker.urls[0]!);
      await connected(broker, "one", clientTls("good"));
      await broker.close(3_600_000);
      expect((await silent.inbox.rest()).length).toBe(0);
    });
  });

  describe("what a listener starts with", () => {
    test("files by path, beside the folder that is given", async () => {
      const files = { certificate: "server.pem", key: "server.key", clientCa: join(made.folder, "ca.pem") };
      const broker = await start({ listeners: [{ url: url("mqtts"), ...files }], folder: made.folder });
      expect(broker.urls[0]).toMatch(/^mqtts:\/\/127\.0\.0\.1:\d+$/u);
      await connected(broker, "by path", clientTls("good"));
    });

    const text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    test.each<[string, () => Partial<ListenerOptions>, string]>([
      [
        "no file",
        () => ({ certificate: "/gone.pem" }),
        "certificate: expected a PEM file that can be read, found ENOENT",
      ],
      [
        "a key for a certificate",
        () => ({ certificate: made.server.key }),
        "certificate: expected certificates in PEM",
      ],
      ["a broken certificate", () => ({ certificate: text }), "certificate: .*found a broken one \\(number 1\\)"],
      [
        "a certificate for a key",
        () => ({ key: made.server.cert }),
        "key: expected a private key in PEM without passphrase",
      ],
      [
        "another key",
        () => ({ key: made.good.key }),
        "key: expected the private key of the certificate, found another one",
      ],
      [
        "a CA without certificates",
        () => ({ clientCa: made.server.key }),
        "clientCa: expected certificates in PEM, found none",
      ],
      ["a half broken CA", () => ({ clientCa: made.ca + text }), "clientCa: .*found a broken one \\(number 2\\)"],
      ["no certificate", () => ({ certificate: undefined as never }), "certificate: expected a PEM file"],
      [
        "a misspelt key",
        () => ({ clientCA: made.ca }) as Partial<ListenerOptions>,
        "clientCA: expected no other keys than",
      ],
      [
        "a misspelt policy",
        () => ({ clientCa: made.ca, clientCertificate: "no" as never }),
        "clientCertificate: expected",
      ],
    ])("%s: the start is refused", async (_name, more, message) => {
      const refused = start({ listeners: [listener("mqtts", more())] }).catch((error: Error) => error);
      const error = (await refused) as Error;
      expect(error.name).toBe("ListenError");
      expect(error.message).toMatch(new RegExp(`^mqtts://127\\.0\\.0\\.1:0: ${message}`, "u"));
      expect(error.message).not.toContain("BEGIN");
    });

    const MAIN = join(ROOT, "src", "main.ts");
    const command = (certificate: string) => {
      const files = { certificate, key: join(made.folder, "server.key"), clientCa: join(made.folder, "ca.pem") };
      const listeners = [
        { url: url("mqtts"), ...files },
        { url: url("wss"), ...files, origins: ["https://app.example"] },
      ];
      const config = join(made.folder, "rqtt.json");
      writeFileSync(config, JSON.stringify({ listeners }));
      return [process.execPath, "--no-orphans", MAIN, "--config", config];
    };

    test("the command line: a file's listeners with all that belongs to them", async () => {
      const child = startLineProcess(command(join(made.folder, "server.pem")), { env: {} });
      const ready = await child.line((line) => line.startsWith("rqtt ready"));
      const [secure, web] = ready.split(" ").slice(2) as [string, string];
      expect([new URL(secure).protocol, new URL(web).protocol]).toEqual(["mqtts:", "wss:"]);
      const peer = await TcpPeer.open(secure, clientTls("good"));
      await peer.connect("good");
      const nameless = await TcpPeer.open(secure, clientTls("none"));
      expect((await nameless.inbox.rest()).length).toBe(0);
      const page = await WebSocketPeer.open(web, "mqtt", { tls: clientTls("good") });
      expect(page.handshake.status).toBe(403);
      child.signal("SIGTERM");
      expect(await child.exited).toBe(0);
    });

    test("the command line: a listener that cannot be had is one line and exit code 1", async () => {
      const gone = startLineProcess(command("/gone.pem"), { env: {} });
      expect(await gone.exited).toBe(1);
      expect(gone.stderr()).toMatch(/^rqtt: mqtts:\/\/127\.0\.0\.1:0: certificate: .*found ENOENT \(\/gone\.pem\)$/u);
      const unsafe = startLineProcess(command(join(made.folder, "server.pem")), {
        env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" },
      });
      expect(await unsafe.exited).toBe(1);
      expect(unsafe.stderr()).toContain("rqtt: mqtts://127.0.0.1:0: NODE_TLS_REJECT_UNAUTHORIZED=0 ");
    });

    test("NODE_TLS_REJECT_UNAUTHORIZED=0 is refused", () => {
      const parsed = parseListenerUrl(url("mqtts"), listener("mqtts"));
      if (!parsed.ok) throw new Error(parsed.expected);
      expect(() => readTls(parsed.listener, ".", { NODE_TLS_REJECT_UNAUTHORIZED: "0" })).toThrow(
        "NODE_TLS_REJECT_UNAUTHORIZED=0 switches verification off: unset it",
      );
      expect(readTls(parsed.listener, ".", {})?.options.rejectUnauthorized).toBe(true);
    });
  });
}

function encode(packet: Packet): Uint8Array {
  const writer = new Writer();
  encodePacket(writer, packet, 5);
  return writer.view().slice();
}

function subscribeTo(topicFilter: string): Packet {
  const filter = { topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  return { type: "subscribe", packetId: 1, filters: [filter], properties: {} };
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
