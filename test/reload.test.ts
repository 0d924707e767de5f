/** SIGHUP with clients connected, on a real process: rights come and go in place, and who may not stay is told 0x87. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodePacket, encodePacket, type Packet } from "../src/core/codec/packet.ts";
import { Reader } from "../src/core/codec/reader.ts";
import { Writer } from "../src/core/codec/writer.ts";
import { type LineProcess, startLineProcess } from "./support/line-process.ts";
import { RawClient } from "./support/raw-client.ts";
import { ROOT } from "./support/repository.ts";
import { newKey, pemOf, type SigningKey, signToken } from "./support/token-kit.ts";
import { cheapHash } from "./support/user-file.ts";
import { type ConnectInit, connectPacket, toBytes } from "./support/world.ts";

setDefaultTimeout(30_000);

const MAIN = join(ROOT, "src", "main.ts");
const CANARY = "canary-5e21a9";
const folder = mkdtempSync(join(tmpdir(), "rqtt-reload-"));
let key: SigningKey;
let token: string;

beforeAll(async () => {
  key = await newKey("ES256", "first");
  write("factory.pem", await pemOf(key));
  write("users", `ada:${await cheapHash("lovelace")}\nallow ada both #\n`);
  token = await signToken(key, { claims: { password: CANARY } });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, content: string): void {
  writeFileSync(join(folder, name), content, { mode: 0o600 });
}

const users = '[[auth.chain]]\nuse = "password-file"\nfile = "users"\nunknownUsers = "skip"\n';
/** A chain that takes tokens, with these rules for everybody. */
const tokens = (...rules: string[]): string => `
  [[auth.chain]]
  use = "jwt"
  [auth.chain.issuers.factory]
  issuer = "https://issuer.example"
  audience = "rqtt"
  algorithms = ["ES256"]
  keys = { file = "factory.pem" }
  rules = [{ allow = [${rules.join(", ")}] }]
`;
const sub = (filter: string): string => `{ on = "sub", filter = "${filter}" }`;
const pub = (filter: string): string => `{ on = "pub", filter = "${filter}" }`;

interface Broker {
  readonly child: LineProcess;
  readonly port: number;
  /** Another configuration, and SIGHUP; resolves when it is in force for everybody. */
  reload(chain: string): Promise<void>;
  stop(): Promise<void>;
}

async function startBroker(name: string, chain: string): Promise<Broker> {
  const settings = `[admin]\nsocket = "${name}.sock"\n[log]\nlevel = "debug"\n`;
  write(`${name}.toml`, settings + chain);
  const argv = ["--no-orphans", MAIN, "--config", `${name}.toml`, "--listen", "mqtt://127.0.0.1:0"];
  const child = startLineProcess([process.execPath, ...argv], { cwd: folder });
  const ready = await child.line((line) => line.startsWith("rqtt ready"));
  return {
    child,
    port: Number(new URL(ready.split(" ")[2]!).port),
    async reload(next) {
      write(`${name}.toml`, settings + next);
      child.signal("SIGHUP");
      await child.stderrLine((line) => line.includes("auth-reloaded"));
    },
    async stop() {
      child.signal("SIGTERM");
      expect(await child.exited).toBe(0);
    },
  };
}

async function enter({ port }: Broker, clientId: string, init: ConnectInit) {
  const raw = await RawClient.connect(port);
  const client = {
    raw,
    send(packet: Packet): void {
      const writer = new Writer();
      encodePacket(writer, packet, 5);
      raw.send(writer.view().slice());
    },
    async next(): Promise<Packet> {
      const packet = Uint8Array.from(await raw.packet());
      const lengthEnd = packet.findIndex((byte, at) => at > 0 && byte < 0x80);
      return decodePacket(packet[0]!, new Reader(packet.slice(lengthEnd + 1)), 5);
    },
    async subscribe(topicFilter: string): Promise<unknown> {
      const filter = { topicFilter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
      client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
      const packet = await client.next();
      return packet.type === "suback" ? packet.reasonCodes[0] : packet;
    },
    async publish(topicName: string): Promise<unknown> {
      const payload = toBytes("x");
      const packet = { type: "publish", dup: false, qos: 1, retain: false, packetId: 2, topicName, payload } as const;
      client.send({ ...packet, properties: {} });
      const answer = await client.next();
      return answer.type === "puback" ? answer.reasonCode : answer;
    },
    /** Resolves when everything that was on its way to the client is there. */
    async ping(): Promise<Packet> {
      client.send({ type: "pingreq" });
      return client.next();
    },
  };
  client.send(connectPacket(clientId, init));
  expect(await client.next()).toMatchObject({ type: "connack", reasonCode: 0 });
  return client;
}

const ADA = { username: "ada", password: "lovelace" };

describe("SIGHUP", () => {
  test("D: a rule that is gone takes the live subscription with it, one that is new works at once, nobody is disconnected", async () => {
    const broker = await startBroker("rules", users + tokens(sub("a"), sub("b")));
    const ada = await enter(broker, "ada", ADA);
    const device = await enter(broker, "device", { password: token });
    expect([await device.subscribe("a"), await device.subscribe("b"), await device.subscribe("c")]).toEqual([
      1, 1, 0x87,
    ]);
    await broker.reload(users + tokens(sub("b"), sub("c")));
    // Nobody is subscribed to "a" any more; to "b" somebody is.
    expect([await ada.publish("a"), await ada.publish("b")]).toEqual([0x10, 0]);
    expect(await device.next()).toMatchObject({ type: "publish", topicName: "b" });
    expect(await device.ping()).toMatchObject({ type: "pingresp" });
    expect([await device.subscribe("a"), await device.subscribe("c")]).toEqual([0x87, 1]);
    const lines = broker.child.stderr().split("\n");
    expect(lines.filter((line) => line.includes("subscription-revoked"))).toHaveLength(1);
    const [counted] = lines.filter((line) => line.includes("sessions-rechecked"));
    expect(counted).toMatch(/kept=1 changed=1 out=0 anew=0 unjudged=0/u);
    await broker.stop();
  });

  test("a provider that is gone: its clients are told 0x87, the others stay; a wrong chain changes nothing", async () => {
    const broker = await startBroker("providers", users + tokens(sub("a"), pub("will")));
    const ada = await enter(broker, "ada", ADA);
    const device = await enter(broker, "device", { password: token, will: { topicName: "will" } });
    await device.subscribe("a");
    await ada.subscribe("will");
    write("providers.toml", `${users}file = 1\n`);
    broker.child.signal("SIGHUP");
    await broker.child.stderrLine((line) => line.includes("auth-reload-refused"));
    expect([await ada.publish("a"), await device.next()]).toMatchObject([0, { type: "publish" }]);
    await broker.reload(users);
    expect(await device.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
    await device.raw.closed;
    // Rights that are taken take the Will along.
    expect(await ada.ping()).toMatchObject({ type: "pingresp" });
    await broker.stop();
  });

  test("from everybody to a chain: who came in without credentials does not stay", async () => {
    const broker = await startBroker("opened", "");
    const anybody = await enter(broker, "anybody", {});
    await broker.reload(users);
    expect(await anybody.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
    await broker.stop();
  });

  test.each(["keep", "drop"])("with auth.onReload = %s nobody is judged", async (onReload) => {
    const settings = `[auth]\nonReload = "${onReload}"\n`;
    const broker = await startBroker(onReload, settings + users + tokens(sub("a")));
    const device = await enter(broker, "device", { password: token });
    await device.subscribe("a");
    await broker.reload(settings + users);
    const next = onReload === "keep" ? await device.ping() : await device.next();
    expect(next.type).toBe(onReload === "keep" ? "pingresp" : "disconnect");
    expect(broker.child.stderr()).not.toInclude("sessions-rechecked");
    await broker.stop();
  });

  test("F: what is kept of a token reaches neither log nor auth explain, whatever becomes of its client", async () => {
    const broker = await startBroker("canary", tokens(sub("a")));
    const explain = async (): Promise<string> => {
      const argv = ["auth", "explain", "device", "--config", "canary.toml"];
      const child = Bun.spawn([process.execPath, MAIN, ...argv], { cwd: folder, stdout: "pipe", stderr: "pipe" });
      return (await Promise.all([child.stdout.text(), child.stderr.text()])).join("\n");
    };
    const device = await enter(broker, "device", { password: token, properties: { sessionExpiryInterval: 100 } });
    await broker.reload(tokens(sub("b")));
    const said = await explain();
    expect(said).toInclude("allow sub b");
    await broker.reload(tokens(sub("b")).replace('"rqtt"', '"another"'));
    await device.raw.closed;
    const all = [said, await explain(), ...broker.child.lines, broker.child.stderr()].join("\n");
    expect(all).toInclude("aud: the token is for somebody else");
    expect(all).not.toContain("canary-");
    for (const part of token.split(".")) expect(all).not.toContain(part);
    await broker.stop();
  });
});
