/**
 * Tokens through a real broker on sockets: MQTT.js with a token as its password, a raw client for AUTH and re-authentication.
 *
 * Sections 3.1.4, 3.15, 4.12; the issuer is real too.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type IClientOptions, type IConnackPacket, type MqttClient, connect as mqttConnect } from "mqtt";
import { createBroker, type RunningBroker } from "rqtt";
import jwt from "../../plugins/jwt.ts";
import oauth from "../../plugins/oauth.ts";
import { decodePacket, encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Reader } from "../../src/core/codec/reader.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { startTestIssuer, type TestIssuer } from "../../src/plugin-testing/test-issuer.ts";
import { RawClient } from "../support/raw-client.ts";
import { bytes, newKey, signToken } from "../support/token-kit.ts";
import { connectPacket } from "../support/world.ts";

let issuer: TestIssuer;
let broker: RunningBroker;
const lines: string[] = [];
const clients: MqttClient[] = [];
const raws: RawClient[] = [];

beforeAll(async () => {
  issuer = await startTestIssuer();
  const main = { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"] };
  broker = await createBroker({
    sysIntervalMs: 0,
    listeners: ["mqtt://127.0.0.1:0"],
    log: { write: (level, event, fields) => void lines.push(`${level} ${event} ${JSON.stringify(fields)}`) },
    plugins: [{ plugin: oauth, config: { issuers: { main } } }],
  });
});
afterAll(async () => {
  await broker.close();
  await issuer.close();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.endAsync(true)));
  for (const raw of raws.splice(0)) raw.end();
});

function dial(options: IClientOptions): Promise<MqttClient> {
  const client = mqttConnect(broker.urls[0]!, { reconnectPeriod: 0, ...options });
  clients.push(client);
  return new Promise((resolve, reject) => {
    client.once("connect", (_packet: IConnackPacket) => resolve(client));
    client.once("error", reject);
  });
}

/** A client of MQTT 5.0 that knows AUTH, packet by packet. */
async function rawClient() {
  const raw = await RawClient.connect(Number(new URL(broker.urls[0]!).port));
  raws.push(raw);
  return {
    send(packet: Packet): void {
      const writer = new Writer();
      encodePacket(writer, packet, 5);
      raw.send(writer.view().slice());
    },
    async next(): Promise<Packet> {
      const packet = Uint8Array.from(await raw.packet());
      const lengthBytes = packet.findIndex((byte, at) => at > 0 && byte < 0x80);
      return decodePacket(packet[0]!, new Reader(packet.slice(lengthBytes + 1)), 5);
    },
    closed: raw.closed,
  };
}

const withMethod = (clientId: string, authenticationMethod: string, data: string): Packet =>
  connectPacket(clientId, { properties: { authenticationMethod, authenticationData: bytes(data) } });

describe("MQTT.js", () => {
  test.each([4, 5] as const)(
    "of level %d gets in with a token as its password, and has its rights and no others",
    async (protocolVersion) => {
      const password = await issuer.token("urn:jwt", "mqtt:read:cmd/# mqtt:write:tele/+");
      const client = await dial({ protocolVersion, username: "anything", password });
      const granted = await client.subscribeAsync(["cmd/a", "#"], { qos: 1 }).catch((error) => error);
      const codes = Array.isArray(granted) ? granted.map(({ qos }) => qos) : granted.packet?.granted;
      expect(codes).toEqual([1, protocolVersion === 5 ? 0x87 : 0x80]);
      await client.publishAsync("tele/a", "x", { qos: 1 });
      const refused = await client.publishAsync("cmd/a", "x", { qos: 1 }).then(
        (packet) => (packet as { reasonCode?: number } | undefined)?.reasonCode ?? 0,
        (error) => error.code,
      );
      expect(refused).toBe(protocolVersion === 5 ? 0x87 : 0);
    },
  );

  test.each([
    [4, 4],
    [5, 0x86],
  ] as const)("of level %d is told %d for a token that does not verify", async (protocolVersion, code) => {
    const forger = await newKey("RS256", "key-1");
    const password = await signToken(forger, { claims: { iss: issuer.issuer } });
    await expect(dial({ protocolVersion, username: "u", password })).rejects.toMatchObject({ code });
  });
});

describe("AUTH", () => {
  test.each(["OAUTH2-JWT", "CUSTOM-JWT", "K8S-SAT"])(
    "%s lets a client in, and renews its token in place",
    async (method) => {
      const client = await rawClient();
      client.send(withMethod(`auth-${method}`, method, await issuer.token("urn:jwt", "mqtt:write:tele/+")));
      expect(await client.next()).toMatchObject({
        type: "connack",
        reasonCode: 0,
        properties: { authenticationMethod: method },
      });
      const authenticationData = bytes(await issuer.token("urn:jwt", "mqtt:read:cmd/#"));
      const properties = { authenticationMethod: method, authenticationData };
      client.send({ type: "auth", reasonCode: 0x19, properties });
      expect(await client.next()).toMatchObject({ type: "auth", reasonCode: 0 });
      const filter = {
        topicFilter: "cmd/#",
        qos: 0,
        noLocal: false,
        retainAsPublished: false,
        retainHandling: 0,
      } as const;
      client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
      expect(await client.next()).toMatchObject({ type: "suback", reasonCodes: [0] });
    },
  );

  test("OAUTHBEARER with its frame", async () => {
    const client = await rawClient();
    const token = await issuer.token("urn:jwt");
    client.send(withMethod("bearer", "OAUTHBEARER", `n,,\u0001auth=Bearer ${token}\u0001\u0001`));
    expect(await client.next()).toMatchObject({ type: "connack", reasonCode: 0 });
  });

  test("a bad token is CONNACK 0x86 at CONNECT and DISCONNECT 0x87 later", async () => {
    const token = await issuer.token("urn:jwt");
    const refused = await rawClient();
    refused.send(withMethod("bad", "OAUTH2-JWT", `${token.slice(0, -4)}AAAA`));
    expect(await refused.next()).toMatchObject({ type: "connack", reasonCode: 0x86 });
    await refused.closed;
    const later = await rawClient();
    later.send(withMethod("later", "OAUTH2-JWT", token));
    expect(await later.next()).toMatchObject({ type: "connack", reasonCode: 0 });
    const properties = { authenticationMethod: "OAUTH2-JWT", authenticationData: bytes("canary-data") };
    later.send({ type: "auth", reasonCode: 0x19, properties });
    expect(await later.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
    await later.closed;
  });
});

test("B: a broker whose issuer is down says so, and its other clients are served", async () => {
  issuer.isDown = true;
  const main = { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"] };
  const other = await createBroker({
    sysIntervalMs: 0,
    listeners: ["mqtt://127.0.0.1:0"],
    plugins: [
      { plugin: oauth, config: { issuers: { main } } },
      {
        plugin: {
          apiVersion: 1,
          name: "rest",
          create: () => ({ connect: () => ({ do: "accept", principal: { id: "p", permissions: "everything" } }) }),
        },
      },
    ],
  });
  try {
    const password = await issuer.token("urn:jwt");
    const attempt = (options: IClientOptions) => {
      const client = mqttConnect(other.urls[0]!, { reconnectPeriod: 0, ...options });
      clients.push(client);
      return new Promise((resolve) => {
        client.once("connect", () => resolve(0));
        client.once("error", (error) => resolve((error as { code?: number }).code));
      });
    };
    expect(await attempt({ protocolVersion: 5, username: "u", password })).toBe(0x88);
    expect(await attempt({ protocolVersion: 4, username: "u", password })).toBe(3);
    expect(await attempt({ protocolVersion: 4, username: "u", password: "secret" })).toBe(0);
  } finally {
    issuer.isDown = false;
    await other.close();
  }
});

test("two providers of tokens need methods of their own", async () => {
  const main = { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"] };
  const fixed = { ...main, issuer: "urn:other", keys: { jwks: "https://127.0.0.1:1/keys" } };
  const chain = (methods?: string[]) => [
    { plugin: oauth, config: { issuers: { main }, otherIssuers: "skip" } },
    { plugin: jwt, config: { issuers: { fixed }, ...(methods === undefined ? {} : { methods }) } },
  ];
  await expect(createBroker({ plugins: chain() })).rejects.toThrow("both want Authentication Method OAUTH2-JWT");
  const both = await createBroker({ plugins: chain([]), sysIntervalMs: 0 });
  await both.close();
});

test("F: nothing of a token is in the broker's log", () => {
  expect(lines.length).toBeGreaterThan(0);
  const text = lines.join("\n");
  expect(text).not.toContain("canary");
  expect(text).not.toMatch(/eyJ[\w-]{20}/u);
});
