/**
 * A canary in every place where a credential may stand, of a client or of the settings: it reaches no log, no complaint and no
 * output of a command.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBroker, type RunningBroker } from "rqtt";
import http from "../../plugins/http.ts";
import jwt from "../../plugins/jwt.ts";
import oauth from "../../plugins/oauth.ts";
import { hashPassword, scramEntry } from "../../plugins/password/hash.ts";
import passwordFile from "../../plugins/password-file.ts";
import scramFile from "../../plugins/scram-file.ts";
import type { PluginUse } from "../../src/bun/plugin-chain.ts";
import { encodePacket, type Packet, type ProtocolLevel } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { startLineProcess } from "../support/line-process.ts";
import { RawClient } from "../support/raw-client.ts";
import { ROOT } from "../support/repository.ts";
import { AUDIENCE, bytes, ISSUER, newKey, pemOf, type SigningKey, signToken } from "../support/token-kit.ts";
import { LogLines } from "../support/user-file.ts";
import { WebSocketPeer } from "../support/websocket-peer.ts";
import { type ConnectInit, connectPacket } from "../support/world.ts";

setDefaultTimeout(30_000);

const CANARY = "canary-71f2c0";
const MAIN = join(ROOT, "src", "main.ts");
const folder = mkdtempSync(join(tmpdir(), "rqtt-secrets-"));
const brokers: RunningBroker[] = [];
const issuer = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("broken", { status: 500 }) });
const down = `http://127.0.0.1:${issuer.port}`;
const jwtKeys = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256"] };
let key: SigningKey;

beforeAll(async () => {
  key = await newKey("ES256", "first");
  write("factory.pem", await pemOf(key));
  write("users", `door:${await hashPassword(CANARY)}\nallow door both door/#\n`);
  write("scram", `door:${await scramEntry(CANARY, "SCRAM-SHA-256", 4_096)}\nallow door both door/#\n`);
  write("secret", `${CANARY}-of-the-service`);
});
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.close()));
});
afterAll(async () => {
  await issuer.stop(true);
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, content: string): void {
  writeFileSync(join(folder, name), content);
  chmodSync(join(folder, name), 0o600);
}

function encode(packet: Packet, level: ProtocolLevel): Uint8Array {
  const writer = new Writer();
  encodePacket(writer, packet, level);
  return writer.view().slice();
}

describe("the canary", () => {
  const introspection = { clientId: "rs", clientSecret: { file: "secret" }, endpoint: `${down}/ask`, lengthMin: 8 };
  const chains: readonly [string, { plugin: PluginUse["plugin"]; config: object }][] = [
    ["password-file", { plugin: passwordFile, config: { file: "users" } }],
    ["scram-file", { plugin: scramFile, config: { file: "scram" } }],
    ["http", { plugin: http, config: { url: `${down}/ask`, method: "GET" } }],
    [
      "jwt",
      {
        plugin: jwt,
        config: {
          issuers: { main: { ...jwtKeys, keys: { file: "factory.pem" } } },
          tokenIn: ["username", "password", "auth", "authorization"],
        },
      },
    ],
    [
      "oauth",
      {
        plugin: oauth,
        config: { issuers: { main: { ...jwtKeys, issuer: down, jwks: `${down}/keys`, introspection } } },
      },
    ],
  ];
  /** Every place of CONNECT where a credential may stand, with a canary or a token that holds one. */
  const logins = (token: string): ConnectInit[] => {
    const withData = (authenticationMethod: string, data: string): ConnectInit => ({
      username: CANARY,
      properties: { authenticationMethod, authenticationData: bytes(data) },
    });
    return [
      { username: CANARY, password: CANARY },
      { username: CANARY },
      { username: "door", password: CANARY },
      { username: "door", password: `${CANARY}x` },
      { username: token, password: token },
      { username: `${CANARY}\u{7f}`, password: CANARY.repeat(100) },
      withData("OAUTH2-JWT", token),
      withData("OAUTH2-JWT", CANARY),
      withData("OAUTHBEARER", `n,a=${CANARY},\u{1}auth=Bearer ${CANARY}\u{1}\u{1}`),
      withData("SCRAM-SHA-256", `n,,n=${CANARY},r=${CANARY}`),
      withData("SCRAM-SHA-256", CANARY),
      withData("NOBODYS", CANARY),
    ];
  };

  test.each(chains)(
    "F: the canary in user name, password, Authentication Data and URL reaches no log: %s",
    async (_, use) => {
      const log = new LogLines();
      const broker = await createBroker({
        listeners: ["ws://127.0.0.1:0/mqtt"],
        sysIntervalMs: 0,
        log,
        folder,
        plugins: [{ plugin: use.plugin, config: use.config }],
      });
      brokers.push(broker);
      const token = await signToken(key, { claims: { sub: CANARY, password: CANARY, exp: 1_000 } });
      const forged = `${token.slice(0, -8)}AAAAAAAA`;
      const headers = { Authorization: `Bearer ${forged}`, Cookie: `s=${CANARY}` };
      for (const init of [...logins(token), ...logins(forged)]) {
        for (const level of init.properties === undefined ? ([4, 5] as const) : ([5] as const)) {
          const peer = await WebSocketPeer.open(`${broker.urls[0]!}?token=${CANARY}`, "mqtt", { headers });
          await peer.write(encode(connectPacket("client", { ...init, level }), level));
          expect<(string | undefined)[]>(["connack", "auth"]).toContain((await peer.inbox.packet(level))?.type);
          peer.reset();
        }
      }
      const elsewhere = await WebSocketPeer.open(broker.urls[0]!.replace("/mqtt", `/${CANARY}`), "mqtt", { headers });
      expect(elsewhere.handshake.status).not.toBe(101);
      elsewhere.reset();
      await broker.close();
      expect(log.lines.length).toBeGreaterThan(10);
      const text = log.lines.join("\n");
      expect(text).not.toContain("canary");
      expect(text).not.toContain(Buffer.from(CANARY).toString("base64").slice(0, 16));
      for (const part of `${token}.${forged}`.split(".")) expect(text).not.toContain(part);
    },
  );

  const issuers = (main: object) => ({ issuers: { main: { ...jwtKeys, issuer: down, ...main } } });
  test.each<[string, PluginUse["plugin"], object, string]>([
    ["jwt", jwt, issuers({ keys: { secret: CANARY } }), "issuers.main.keys.secret: expected { env"],
    ["jwt", jwt, issuers({ keys: { secret: { env: [CANARY] } } }), "issuers.main.keys.secret: expected { env"],
    ["jwt", jwt, issuers({ keys: { secret: [CANARY] } }), "issuers.main.keys.secret: expected { env"],
    ["jwt", jwt, issuers({ keys: { secret: { value: CANARY } } }), "issuers.main.keys.secret: expected { env"],
    [
      "jwt",
      jwt,
      issuers({ keys: { jwks: `https://u:${CANARY}@issuer.example/keys` } }),
      "issuers.main.keys: expected a URL without",
    ],
    [
      "oauth",
      oauth,
      issuers({ introspection: { ...introspection, clientSecret: CANARY } }),
      "introspection.clientSecret: expected { env",
    ],
    [
      "oauth",
      oauth,
      issuers({ introspection: { ...introspection, secret: CANARY } }),
      "introspection.secret: unknown setting",
    ],
    [
      "oauth",
      oauth,
      issuers({ jwks: `https://u:${CANARY}@issuer.example/keys` }),
      "issuers.main: expected a URL without",
    ],
    [
      "oauth",
      oauth,
      issuers({ introspection: { ...introspection, endpoint: `https://u:${CANARY}@a.example/` } }),
      "introspection: expected a URL without",
    ],
    ["scram-file", scramFile, { file: "scram", fakeSaltKey: CANARY }, "fakeSaltKey: expected { env"],
    ["password-file", passwordFile, { file: "users", password: CANARY }, "password: unknown setting"],
    ["http", http, { url: `https://u:${CANARY}@accounts.example/` }, "url: credentials belong into headers"],
    [
      "http",
      http,
      { url: `${down}/ask`, headers: { authorization: { value: CANARY } } },
      "headers.authorization: expected { env",
    ],
    ["http", http, { url: `${down}/ask`, authorization: CANARY }, "authorization: unknown setting"],
    ["http", http, { url: `${down}/ask`, headers: CANARY }, "headers: expected a table, found a text"],
    ["jwt", jwt, { issuers: { main: { ...jwtKeys, keys: CANARY } } }, "found a text"],
    [
      "oauth",
      oauth,
      { issuers: { main: { preset: "auth0", issuer: `https://u:${CANARY}@i.example/k`, audience: "a" } } },
      "expected a URL without user name and password",
    ],
    [
      "oauth",
      oauth,
      { issuers: { main: { issuer: `https://i.example/k?key=${CANARY}`, audience: "a", algorithms: ["RS256"] } } },
      "expected a URL without ? and #",
    ],
  ])(
    "F: the canary typed into the settings reaches no configuration complaint: %s %#",
    async (_, plugin, config, expected) => {
      const log = new LogLines();
      const refused = createBroker({
        folder,
        log,
        sysIntervalMs: 0,
        plugins: [{ plugin, config }],
      });
      const error = await refused.then(
        (broker) => void brokers.push(broker),
        (complaint: Error) => complaint,
      );
      expect(error).toBeInstanceOf(Error);
      expect((error as Error).message).toContain(expected);
      expect(`${error}\n${(error as Error).stack}\n${log.lines.join("\n")}`).not.toContain("canary");
    },
  );

  async function rqtt(argv: readonly string[], input = ""): Promise<string> {
    const stdin = bytes(input);
    const child = Bun.spawn([process.execPath, MAIN, ...argv], { cwd: folder, stdin, stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return stdout + stderr;
  }

  test("F: the canary in a listener's URL reaches no configuration complaint", async () => {
    for (const url of [`mqtt://u:${CANARY}@127.0.0.1:0`, `ws://127.0.0.1:0/mqtt?key=${CANARY}`]) {
      const error = await createBroker({ listeners: [url] }).catch((complaint: Error) => complaint);
      expect(String(error)).toContain("ListenError");
      expect(String(error)).not.toContain("canary");
      write("url.json", JSON.stringify({ listeners: [{ url }] }));
      for (const argv of [
        ["--listen", url],
        ["--config", "url.json"],
      ]) {
        const said = await rqtt(argv);
        expect(said).toContain("expected a URL without");
        expect(said).not.toContain("canary");
      }
    }
  });

  test("F: the canary reaches no output of auth check, and none of auth hash but the hash", async () => {
    const chain = [
      { use: "password-file", file: "users" },
      { use: "scram-file", file: "scram" },
    ];
    write("check.json", JSON.stringify({ auth: { chain } }));
    const asked: readonly [readonly string[], string][] = [
      [["--username", "door"], "let in by password-file"],
      [["--username", `${CANARY}-name`], "kept out: bad-credentials"],
      [["--username", "door", "--method", "SCRAM-SHA-256"], "would be let in"],
      [["--username", `${CANARY}-name`, "--method", "SCRAM-SHA-256"], "NO"],
    ];
    for (const [argv, expected] of asked) {
      const said = await rqtt(["auth", "check", "--config", "check.json", ...argv], `${CANARY}\n`);
      expect(said).toMatch(new RegExp(expected, "u"));
      expect(said).not.toContain("canary");
    }
    expect(await rqtt(["auth", "hash"], `${CANARY}\n`)).not.toContain("canary");
    expect(await rqtt(["auth", "hash", CANARY])).not.toContain("canary");
  });

  test("F: the canary reaches no output of auth explain, and none of the broker's", async () => {
    const main = { ...jwtKeys, keys: { file: "factory.pem" } };
    const chain = [
      { use: "jwt", issuers: { main }, tokenIn: ["username", "password"] },
      { use: "password-file", file: "users" },
    ];
    const listeners = [{ url: "mqtt://127.0.0.1:0" }];
    write("explain.json", JSON.stringify({ admin: { socket: "rqtt.sock" }, listeners, auth: { chain } }));
    const child = startLineProcess([process.execPath, "--no-orphans", MAIN, "--config", "explain.json"], {
      cwd: folder,
    });
    const ready = await child.line((line) => line.startsWith("rqtt ready"));
    const port = Number(new URL(ready.split(" ")[2]!).port);
    const token = await signToken(key, { claims: { jti: CANARY, password: CANARY } });
    const clients: [string, ConnectInit][] = [
      ["by-password", { username: "door", password: CANARY }],
      ["by-token", { username: token, cleanStart: false, properties: { sessionExpiryInterval: 60 } }],
      ["kept-out", { username: CANARY, password: `${CANARY}x` }],
    ];
    const open: RawClient[] = [];
    let said = "";
    for (const [clientId, init] of clients) {
      const client = await RawClient.connect(port);
      open.push(client);
      client.send(encode(connectPacket(clientId, init), 5));
      expect((await client.packet())[3]).toBe(clientId === "kept-out" ? 0x86 : 0);
      said += await rqtt(["auth", "explain", clientId, "--config", "explain.json"]);
    }
    for (const client of open) client.end();
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
    expect(said).toInclude('let in by password-file as "door"');
    expect(said).toInclude('let in by jwt as "main:alice"');
    const kept = readdirSync(join(folder, "data")).map((name) => readFileSync(join(folder, "data", name), "latin1"));
    expect(kept.join("")).toInclude("main:alice");
    const all = [said, ...child.lines, child.stderr(), ...kept].join("\n");
    expect(all).not.toContain("canary");
    for (const part of token.split(".")) expect(all).not.toContain(part);
  });
});
