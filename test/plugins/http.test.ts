/** http: what the service is asked, what its answers amount to, what is kept and for how long. */
import { afterAll, describe, expect, test } from "bun:test";
import http from "../../plugins/http.ts";
import { createServices } from "../../src/bun/plugin-services.ts";
import type { FetchAnswer, PluginHostServices } from "../../src/core/gate/provider.ts";
import { conformance, harness } from "../../src/plugin-testing/harness.ts";

const anna = { username: "anna", password: "canary-pass" };
const url = "https://accounts.example/mqtt";
const allow = [{ on: "both", filter: "users/${id}/#" }];
const yes = { allow: true, id: "u1" };

interface Asked {
  readonly url: string;
  readonly method: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** A service that answers what it is told, and what it was asked. */
function service(status: number, body: unknown, headers: Record<string, string> = {}) {
  const asked: Asked[] = [];
  const answer = { status, headers, text: typeof body === "string" ? body : JSON.stringify(body) };
  const fetch: PluginHostServices["fetch"] = async (target, init = {}): Promise<FetchAnswer> => {
    asked.push({ url: target, method: init.method, headers: init.headers ?? {}, body: init.body });
    return answer;
  };
  return { asked, fetch, answer };
}

/** What becomes of anna when the service answers this. */
async function outcome(status: number, body: unknown) {
  const { fetch } = service(status, body);
  const door = await harness(http, { url, allow }, { fetch });
  const result = await door.connect(anna);
  await door.close();
  expect(JSON.stringify([result.verdict, door.logged])).not.toContain("canary");
  return result;
}

test("keeps the contract", async () => {
  const fetch: PluginHostServices["fetch"] = async (_url, init) => {
    const isRight = (JSON.parse(init?.body ?? "{}") as { password?: string }).password === anna.password;
    return { status: isRight ? 200 : 403, headers: {}, text: isRight ? JSON.stringify(yes) : "" };
  };
  const bad = [
    { ...anna, password: "wrong" },
    { ...anna, password: "" },
    { ...anna, password: undefined },
    { ...anna, password: Uint8Array.of(0xff) },
  ];
  const key = { env: { KEY: "canary-key-of-the-service" } };
  const settings = { url, headers: { "x-key": { env: "KEY" } }, cacheEntries: 0 };
  await conformance(http, settings, { good: [anna], bad, foreign: [{}] }, { fetch, ...key });
});

describe("what the service is asked", () => {
  test("POST: the chosen fields as JSON, headers from settings and secrets", async () => {
    const { asked, fetch } = service(200, yes);
    const headers = { "X-Plain": "plain", authorization: { env: "KEY" } };
    const send = ["username", "password", "clientId", "protocolLevel", "address", "will", "origin"];
    const door = await harness(http, { url, headers, send }, { fetch, env: { KEY: "Bearer s3cret" } });
    const will = { topicName: "w", qos: 1, retain: true } as const;
    await door.connect({
      ...anna,
      clientId: "c",
      level: 4,
      will,
      address: "198.51.100.7",
      upgrade: { origin: "https://a" },
    });
    await door.close();
    expect(asked).toHaveLength(1);
    const [{ method, headers: sent, body, url: to }] = asked as [Asked];
    expect([method, to]).toEqual(["POST", url]);
    expect(sent).toMatchObject({
      "x-plain": "plain",
      authorization: "Bearer s3cret",
      "content-type": "application/json",
    });
    const peer = { address: "198.51.100.7", origin: "https://a" };
    expect(JSON.parse(body!)).toEqual({ ...anna, clientId: "c", protocolLevel: 4, will, ...peer });
  });

  test("F: GET puts no credential into the URL: the password is Basic authorization", async () => {
    const { asked, fetch } = service(200, yes);
    const door = await harness(http, { url: `${url}?v=1`, method: "GET" }, { fetch });
    await door.connect({ username: "a\u00fc", password: "p:w", clientId: "c&d" });
    await door.close();
    const [{ method, headers, body, url: to }] = asked as [Asked];
    expect([method, to, body]).toEqual(["GET", `${url}?v=1&clientId=c%26d`, undefined]);
    expect(headers["authorization"]).toBe(`Basic ${new TextEncoder().encode("a\u00fc:p:w").toBase64()}`);
  });

  test.each([
    ["no credential that is asked for", {}, {}, "skip"],
    ["a certificate, when certificates are not asked for", {}, { certificate: certificate() }, "skip"],
    ["a certificate, when they are", { send: ["certificate"] }, { certificate: certificate() }, "accept"],
    ["nothing, when no credential is asked for", { send: ["address"] }, {}, "accept"],
    [
      "a token of the upgrade request",
      { send: ["authorization"] },
      { upgrade: { authorization: "Bearer x" } },
      "accept",
    ],
    ["B: a user name without password", {}, { username: "anna" }, "refuse"],
    ["B: an empty password", {}, { username: "anna", password: "" }, "refuse"],
    ["a password that is no text", {}, { username: "anna", password: Uint8Array.of(0xc3) }, "refuse"],
    ["a user name that Basic cannot carry", { method: "GET" }, { username: "a:b", password: "c" }, "refuse"],
  ] as const)("%s", async (_name, settings, init, expected) => {
    const { asked, fetch } = service(200, yes);
    const door = await harness(http, { url, ...settings }, { fetch });
    expect((await door.connect(init)).verdict?.do).toBe(expected);
    expect(asked).toHaveLength(expected === "accept" ? 1 : 0);
    await door.close();
  });
});

function certificate() {
  return { sha256: "x", subject: "CN=a", commonName: "a", alternativeNames: [] };
}

describe("what an answer amounts to", () => {
  test("yes, with rules of the settings or of the answer", async () => {
    const door = await harness(http, { url, allow }, { fetch: service(200, yes).fetch });
    const client = await door.connect(anna);
    expect([client.principal?.id, client.can("pub", "users/u1/a"), client.can("pub", "own")]).toEqual([
      "u1",
      true,
      false,
    ]);
    await door.close();
    const rules = { allow: [{ on: "pub", filter: "own", maxQos: 0, retain: false }], deny: [] };
    const other = await harness(http, { url, allow }, { fetch: service(200, { ...yes, rules }).fetch });
    const second = await other.connect(anna);
    expect([second.can("pub", "users/u1/a"), second.can("pub", "own"), second.can("pub", "own", { qos: 1 })]).toEqual([
      false,
      true,
      false,
    ]);
    await other.close();
  });

  test("expiresAt in milliseconds or as ISO 8601 ends the connection", async () => {
    const nowMs = Date.UTC(2026, 0, 1);
    for (const expiresAt of [nowMs + 60_000, "2026-01-01T00:01:00Z", "2026-01-01T01:01:00+01:00"]) {
      const door = await harness(http, { url }, { fetch: service(200, { ...yes, expiresAt }).fetch, nowMs });
      const client = await door.connect(anna);
      door.advance(59_999);
      expect([client.accepted, client.endedWith]).toEqual([true, undefined]);
      door.advance(1);
      expect(client.endedWith).toBe(0x87);
      await door.close();
    }
  });

  test.each([
    ["allow false", 200, { allow: false, tell: "pay first" }, "pay first"],
    ["403", 403, { allow: false, tell: "pay first" }, "pay first"],
    ["403 with allow true", 403, { allow: true, id: "u1" }, undefined],
    ["403 without a body", 403, "", undefined],
    ["tell that is too long", 200, { allow: false, tell: "x".repeat(257) }, undefined],
  ])("no: %s", async (_name, status, body, tell) => {
    const { verdict, reasonCode, returnCode, reasonString } = await outcome(status, body);
    expect([verdict?.do, reasonCode, returnCode, reasonString]).toEqual(["refuse", 0x86, 4, tell]);
  });

  const junk: [string, number, unknown][] = [
    ["a web page", 200, "<!doctype html>"],
    ["nothing", 200, ""],
    ["null", 200, null],
    ["a list", 200, [yes]],
    ["true", 200, true],
    ["an empty table", 200, {}],
    ["allow as text", 200, { ...yes, allow: "true" }],
    ["allow as a number", 200, { ...yes, allow: 1 }],
    ["no id", 200, { allow: true }],
    ["an empty id", 200, { ...yes, id: "" }],
    ["an id that is a number", 200, { ...yes, id: 7 }],
    ["an id with NUL", 200, { ...yes, id: "u1\0" }],
    ["an id without end", 200, { ...yes, id: "u".repeat(513) }],
    ["a misspelt key", 200, { ...yes, expires: 1 }],
    ["an expiry in seconds", 200, { ...yes, expiresAt: 1_900_000_000 }],
    ["an expiry that is over", 200, { ...yes, expiresAt: "2001-01-01T00:00:00Z" }],
    ["an expiry without zone", 200, { ...yes, expiresAt: "2099-01-01T00:00:00" }],
    ["an expiry without end", 200, { ...yes, expiresAt: 1e18 }],
    ["rules that are a list", 200, { ...yes, rules: [] }],
    ["everything", 200, { ...yes, rules: "everything" }],
    ["a rule of another kind", 200, { ...yes, rules: { allow: [{ on: "pub", topic: "#" }] } }],
    ["a filter that is none", 200, { ...yes, rules: { allow: [{ on: "pub", filter: "a#" }] } }],
    ["status 201", 201, yes],
    ["status 204", 204, ""],
    ["a redirect", 302, yes],
    ["status 401", 401, yes],
    ["status 404", 404, yes],
    ["status 500", 500, { allow: false }],
  ];
  test.each(junk)("unavailable: %s", async (_name, status, body) => {
    const { verdict, reasonCode, returnCode } = await outcome(status, body);
    expect([verdict?.do, reasonCode, returnCode]).toEqual(["refuse", 0x88, 3]);
  });

  test("F: an error of fetch that quotes a header or the URL does not reach the log", async () => {
    const fetch = async () => {
      throw new TypeError("Header 'authorization' has invalid value: 'canary-pass'");
    };
    const door = await harness(http, { url }, { fetch });
    expect((await door.connect(anna)).reasonCode).toBe(0x88);
    expect(door.logged.length).toBeGreaterThan(0);
    expect(JSON.stringify(door.logged)).not.toContain("canary");
    await door.close();
  });
});

describe("what is kept", () => {
  /** How often the service is asked for two logins with `pauseMs` between them. */
  async function asks(
    cacheControl: string,
    pauseMs: number,
    settings: object = {},
    status = 200,
    second: object = anna,
  ) {
    const { asked, fetch } = service(status, status === 200 ? yes : "", { "cache-control": cacheControl });
    const door = await harness(http, { url, ...settings }, { fetch });
    const first = await door.connect(anna);
    door.advance(pauseMs);
    const again = await door.connect({ ...anna, ...second });
    expect(again.reasonCode).toBe(first.reasonCode);
    await door.close();
    return asked.length;
  }
  const sendLess = { send: ["username", "password"] };

  test.each([
    ["", 0, 2],
    ["max-age=60", 59_999, 1],
    ["max-age=60", 60_000, 2],
    ["private, Max-Age=60", 1, 1],
    ["no-store, max-age=60", 1, 2],
    ["no-cache, max-age=60", 1, 2],
    ["max-age=60, max-age=1", 1, 2],
    ["max-age=-1", 1, 2],
    ["max-age=abc", 1, 2],
    ["s-maxage=60", 1, 2],
    ["max-age=999999", 299_999, 1],
    ["max-age=999999", 300_000, 2],
  ])("a yes with %p, again after %p ms: asked %p times", async (cacheControl, pauseMs, times) => {
    expect(await asks(cacheControl, pauseMs, sendLess)).toBe(times);
  });

  test("a yes is not kept beyond its own expiry", async () => {
    const nowMs = Date.UTC(2026, 0, 1);
    const { asked, fetch } = service(200, { ...yes, expiresAt: nowMs + 1_000 }, { "cache-control": "max-age=60" });
    const door = await harness(http, { url, ...sendLess }, { fetch, nowMs });
    await door.connect(anna);
    door.advance(1_000);
    expect((await door.connect(anna)).reasonCode).toBe(0x88);
    expect(asked).toHaveLength(2);
    await door.close();
  });

  test("a no is kept only when the settings say so, a failure never", async () => {
    expect(await asks("max-age=60", 1, sendLess, 403)).toBe(2);
    expect(await asks("max-age=60", 1, { ...sendLess, cacheRefusals: true }, 403)).toBe(1);
    expect(await asks("", 1, { ...sendLess, cacheRefusals: true }, 403)).toBe(2);
    expect(await asks("max-age=60", 1, { ...sendLess, cacheRefusals: true }, 500)).toBe(2);
  });

  test("another question is another entry: password, user name, and whatever else is sent", async () => {
    expect(await asks("max-age=60", 1, sendLess, 200, { password: "other" })).toBe(2);
    expect(await asks("max-age=60", 1, sendLess, 200, { username: "other" })).toBe(2);
    expect(await asks("max-age=60", 1, sendLess, 200, { clientId: "other" })).toBe(1);
    expect(await asks("max-age=60", 1, {}, 200, { clientId: "other" })).toBe(2);
    expect(await asks("max-age=60", 1, { ...sendLess, method: "GET" }, 200, { password: "other" })).toBe(2);
    expect(await asks("max-age=60", 1, { ...sendLess, method: "GET" })).toBe(1);
  });

  test("the cache is bounded: the least recently used goes first", async () => {
    const { asked, fetch } = service(200, yes, { "cache-control": "max-age=60" });
    const door = await harness(http, { url, ...sendLess, cacheEntries: 2 }, { fetch });
    for (const username of ["a", "b", "a", "c", "a", "b"]) await door.connect({ ...anna, username });
    const names = asked.map(({ body }) => (JSON.parse(body!) as { username: string }).username);
    expect(names).toEqual(["a", "b", "c", "b"]);
    await door.close();
  });
});

describe("bounds", () => {
  test("one more than may wait is busy, and a client that has gone is not asked about", async () => {
    const gate = Promise.withResolvers<void>();
    let asked = 0;
    const fetch: PluginHostServices["fetch"] = async () => {
      asked++;
      await gate.promise;
      return { status: 200, headers: {}, text: JSON.stringify(yes) };
    };
    const door = await harness(http, { url, running: 1, waiting: 1 }, { fetch });
    const first = door.connect(anna);
    const gone = new AbortController();
    const second = door.ask({ ...anna, clientId: "gone" }, { signal: gone.signal });
    const third = await door.connect(anna);
    expect([third.verdict?.do, third.reasonCode, third.returnCode]).toEqual(["refuse", 0x89, 3]);
    gone.abort();
    gate.resolve();
    expect((await first).accepted).toBe(true);
    expect((await second).answer).toMatchObject({ do: "refuse", because: "unavailable" });
    expect(asked).toBe(1);
    await door.close();
  });

  test.each([
    [{ url: "accounts" }, "url: expected a URL"],
    [{ url: "http://accounts.example/" }, "url: http is for loopback only"],
    [{ url: "ftp://127.0.0.1/" }, "url: expected https"],
    [{ url: "https://user:pw@accounts.example/" }, "url: credentials belong into headers"],
    [{ url, method: "PUT" }, 'method: expected "GET" or "POST"'],
    [{ url, method: "GET", send: ["certificate", "password"] }, "send: certificate cannot be sent in a GET"],
    [{ url, method: "GET", headers: { Authorization: "Bearer x" } }, "headers.authorization:"],
    [{ url, send: ["token"] }, "send.0: expected"],
    [{ url, headers: { "a b": "c" } }, "headers.a b: not the name of a header"],
    [{ url, headers: { a: "c\r\nx: y" } }, "headers.a: its value cannot be sent"],
    [{ url, headers: { a: { env: "MISSING" } } }, "MISSING is not set"],
    [{ url, timeoutMs: 60_000 }, "timeoutMs: expected"],
    [{ url, timeout: 1 }, "timeout: unknown setting"],
    [{}, "url: expected"],
  ])("wrong settings refuse the start: %p", async (wrong, complaint) => {
    await expect(harness(http, wrong)).rejects.toThrow(complaint);
  });
});

describe("a real service on loopback", () => {
  const hang = Promise.withResolvers<Response>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/silent") return hang.promise;
      if (pathname === "/elsewhere") return Response.redirect("/yes", 302);
      if (pathname === "/huge") return Response.json({ ...yes, tell: "x".repeat(100_000) });
      const { username } = (await request.json()) as { username: string };
      return Response.json({ allow: true, id: username });
    },
  });
  afterAll(async () => {
    hang.resolve(new Response());
    await server.stop(true);
  });

  async function ask(path: string) {
    const log = { write() {} };
    const services = createServices({ plugin: "http", log, folder: ".", env: {}, drop: () => 0 });
    const settings = { url: `http://127.0.0.1:${server.port}${path}`, timeoutMs: 200 };
    const door = await harness(http, settings, { fetch: services.fetch });
    const { verdict } = await door.connect(anna);
    await door.close();
    services.close();
    return verdict;
  }

  test("that answers", async () => {
    expect(await ask("/yes")).toMatchObject({ do: "accept", principal: { id: "anna", provider: "http" } });
  });

  test.each(["/silent", "/elsewhere", "/huge"])("unavailable: %s", async (path) => {
    expect(await ask(path)).toMatchObject({ do: "refuse", because: "unavailable" });
  });
});
