/** Tokens: at each connection, renewed in the session before they expire, as the password, and when there is none. */
import { expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { createBroker } from "rqtt";
import { type Client, connect } from "rqtt/client";
import { inProcess } from "rqtt/client/in-process";
import jwtPlugin from "../../plugins/jwt.ts";
import { AUDIENCE, ISSUER, newKey, pemOf, signToken } from "../support/token-kit.ts";
import { rejection, type ScriptedConnection, ScriptedServer } from "./scripted-server.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;
const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

function tokens(make: (count: number) => string): { token: () => Promise<string>; readonly fetched: number } {
  let fetched = 0;
  return {
    token: () => Promise.resolve(make(++fetched)),
    get fetched() {
      return fetched;
    },
  };
}

/** A client that is there with `token 1`; the next is `token 2`. */
async function withTokens(): Promise<{ script: ScriptedServer; server: ScriptedConnection; client: Client }> {
  const script = new ScriptedServer();
  const { token } = tokens((count) => `token ${count}`);
  const connecting = connect(script.transport, { token, retryMs: 1 });
  const server = await script.connection();
  await server.accept();
  return { script, server, client: await connecting };
}

test("a token goes into CONNECT, and a fresh one into AUTH before the server's auth-expires", async () => {
  const script = new ScriptedServer();
  const source = tokens((count) => `token ${count}`);
  const connecting = connect(script.transport, { token: source.token });
  const server = await script.connection();
  const soon = { userProperties: [["auth-expires", `${inSeconds(1)}`]] as [string, string][] };
  expect((await server.accept(soon)).properties).toMatchObject({
    authenticationMethod: "OAUTH2-JWT",
    authenticationData: bytes("token 1"),
  });
  const client = await connecting;
  const auth = await server.packet("auth");
  expect(auth).toMatchObject({
    reasonCode: 0x19,
    properties: { authenticationMethod: "OAUTH2-JWT", authenticationData: bytes("token 2") },
  });
  server.say({ type: "auth", reasonCode: 0, properties: { authenticationMethod: "OAUTH2-JWT" } });
  await client.publish("a", "b");
  await server.packet("publish");
  expect(client.state).toBe("online");
  await client.close();
});

test("a JWT that says when it expires needs no word of the server; the next one counts from then on", async () => {
  const script = new ScriptedServer();
  const source = tokens((count) => jwt({ exp: inSeconds(count < 3 ? 2 : 600), jti: `${count}` }));
  const connecting = connect(script.transport, { token: source.token });
  const server = await script.connection();
  await server.accept();
  const client = await connecting;
  for (let round = 0; round < 2; round++) {
    expect((await server.packet("auth")).reasonCode).toBe(0x19);
    server.say({ type: "auth", reasonCode: 0, properties: { authenticationMethod: "OAUTH2-JWT" } });
  }
  expect(source.fetched).toBe(3);
  await client.close();
});

test("a renewal that the server refuses ends in a connection with a fresh token", async () => {
  const { script, server, client } = await withTokens();
  const renewing = client.renew();
  renewing.catch(() => {});
  await server.packet("auth");
  server.say({ type: "disconnect", reasonCode: 0x87, properties: {} });
  expect(await rejection(renewing)).toMatchObject({ code: 0x87 });
  const again = await script.connection();
  expect((await again.accept()).properties.authenticationData).toEqual(bytes("token 3"));
  await client.close();
});

test("a right that is missing when the connection comes back is asked for again, each time with a fresh token", async () => {
  const { script, server, client } = await withTokens();
  server.cut();
  for (const token of ["token 2", "token 3"]) {
    const again = await script.connection();
    expect((await again.packet("connect")).properties.authenticationData).toEqual(bytes(token));
    again.say({ type: "connack", sessionPresent: false, reasonCode: 0x87, properties: {} });
  }
  expect((await (await script.connection()).accept()).properties.authenticationData).toEqual(bytes("token 4"));
  await client.publish("a", "b");
  expect(client.state).toBe("online");
  await client.close();
});

test("a token that comes after its deadline is not sent", async () => {
  const script = new ScriptedServer();
  const late = Promise.withResolvers<string>();
  const source = tokens((count) => `token ${count}`);
  const token = (): Promise<string> => (source.fetched < 1 ? source.token() : late.promise);
  const connecting = connect(script.transport, { token, deadlineMs: 20 });
  const server = await script.connection();
  await server.accept();
  const client = await connecting;
  expect(await rejection(client.renew())).toMatchObject({ code: -2, packet: "auth" });
  late.resolve("late");
  await client.publish("a", "b");
  expect((await server.packet("publish")).topicName).toBe("a");
  await client.close();
});

test.each([
  ["MQTT 5.0 without an Authentication Method", 5, { authMethod: "" }],
  ["MQTT 3.1.1", 4, {}],
] as const)("as the password: %s", async (_, level, options) => {
  const script = new ScriptedServer(level);
  const connecting = connect(script.transport, { protocolLevel: level, token: async () => "secret", ...options });
  const server = await script.connection();
  const { password, username, properties } = await server.accept();
  expect({ password, username }).toEqual({ password: bytes("secret"), username: "" });
  expect(properties.authenticationMethod).toBeUndefined();
  const client = await connecting;
  expect(await rejection(client.renew())).toMatchObject({ packet: "auth" });
  await client.close();
});

test("a client that is printed shows no secret", async () => {
  const script = new ScriptedServer();
  const connecting = connect(script.transport, { username: "u", password: "hush", token: async () => "psst" });
  await (await script.connection()).accept();
  const client = await connecting;
  expect(client.state).toBe("online");
  for (const printed of [Bun.inspect(client), JSON.stringify(client), inspect(client, { depth: 9 })]) {
    expect(printed).not.toMatch(/hush|psst/);
  }
  await client.close();
});

test("no token, no connection: the cause is told", async () => {
  const failing = connect(new ScriptedServer().transport, { token: () => Promise.reject(new Error("login needed")) });
  expect(await rejection(failing)).toMatchObject({ packet: "connect", cause: new Error("login needed") });
  const silent = connect(new ScriptedServer().transport, { token: () => new Promise(() => {}), deadlineMs: 10 });
  expect(await rejection(silent)).toMatchObject({ code: -2 });
});

test("rqtt with the jwt plugin: in with a token, renewed in the session, kept out with an expired one", async () => {
  const key = await newKey("ES256", "k");
  const folder = await mkdtemp(join(tmpdir(), "rqtt-client-"));
  await writeFile(join(folder, "key.pem"), await pemOf(key));
  const rules = [{ allow: [{ on: "both", filter: "#" }] }];
  const main = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256"], keys: { file: "key.pem" }, rules };
  const broker = await createBroker({ folder, plugins: [{ plugin: jwtPlugin, config: { issuers: { main } } }] });
  try {
    const client = await connect(inProcess(broker), { token: () => signToken(key) });
    expect(client.properties.userProperties?.[0]?.[0]).toBe("auth-expires");
    await client.renew();
    expect((await client.publish("a", "b", { qos: 1 })).reasonCode).toBe(0x10);
    await client.close();
    const refused = connect(inProcess(broker), { token: () => signToken(key, { claims: { exp: inSeconds(-600) } }) });
    expect(await rejection(refused)).toMatchObject({ code: 0x86, packet: "connect", retriable: false });
  } finally {
    await broker.close();
    await rm(folder, { recursive: true });
  }
});
