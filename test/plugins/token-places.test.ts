/** Where a token may travel: password, user name, WebSocket Authorization, and Authentication Data of each method. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectRequest, Provider } from "rqtt/plugin";
import jwt from "../../plugins/jwt.ts";
import {
  AUDIENCE,
  bytes,
  createProvider,
  exchange,
  ISSUER,
  never,
  newKey,
  pemOf,
  request,
  type SigningKey,
  signToken,
  type TestServices,
  testServices,
} from "../support/token-kit.ts";

const METHODS = ["OAUTH2-JWT", "CUSTOM-JWT", "K8S-SAT", "OAUTHBEARER"];
let folder: string;
let services: TestServices;
let key: SigningKey;
let token: string;
let stranger: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rqtt-places-"));
  services = testServices(folder);
  key = await newKey("EdDSA", "k");
  await Bun.write(join(folder, "key.pem"), await pemOf(key));
  token = await signToken(key);
  stranger = await signToken(key, { claims: { iss: "urn:stranger" } });
});
afterAll(async () => {
  services.close();
  await rm(folder, { recursive: true });
});

function provider(settings: Record<string, unknown> = {}): Promise<Provider> {
  const main = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["EdDSA"], keys: { file: "key.pem" } };
  return createProvider(jwt, { issuers: { main }, ...settings }, services);
}

async function outcome(by: Provider, changes: Partial<ConnectRequest>): Promise<string> {
  const verdict = await by.connect!(request(changes), never);
  return verdict.do === "refuse" ? verdict.because : verdict.do;
}

describe("CONNECT without a method", () => {
  test("A: the password holds the token, the user name is anything", async () => {
    const by = await provider();
    for (const protocolLevel of [3, 4, 5] as const) {
      for (const username of [undefined, "", "alice", "root"]) {
        expect(await outcome(by, { protocolLevel, username, password: bytes(token) })).toBe("accept");
      }
    }
    expect(await outcome(by, {})).toBe("skip");
    expect(await outcome(by, { username: token })).toBe("skip");
    expect(await outcome(by, { username: token, password: bytes("x") })).toBe("skip");
  });

  test("A: a token in the user name is looked at only where the settings say so", async () => {
    const by = await provider({ tokenIn: ["username"] });
    expect(by.methods).toBeUndefined();
    expect(await outcome(by, { username: token })).toBe("accept");
    expect(await outcome(by, { username: token, password: bytes("anything") })).toBe("accept");
    expect(await outcome(by, { username: "alice", password: bytes(token) })).toBe("skip");
    expect(await outcome(by, { username: stranger })).toBe("bad-credentials");
  });

  test("A: tokens in both places that disagree", async () => {
    const by = await provider({ tokenIn: ["username", "password"] });
    const another = await signToken(key, { claims: { sub: "bob" } });
    expect(await outcome(by, { username: token, password: bytes(token) })).toBe("accept");
    expect(await outcome(by, { username: token, password: bytes(another) })).toBe("bad-credentials");
    expect(await outcome(by, { username: `${token}.x.y`, password: bytes(token) })).toBe("bad-credentials");
  });

  test("the Authorization of a WebSocket upgrade is looked at only where the settings say so", async () => {
    const upgrade = (authorization: string) => ({
      peer: { ...request().peer, upgrade: { origin: undefined, authorization, cookies: {}, query: {} } },
    });
    expect(await outcome(await provider(), upgrade(`Bearer ${token}`))).toBe("skip");
    const by = await provider({ tokenIn: ["authorization"] });
    expect(await outcome(by, upgrade(`bearer ${token}`))).toBe("accept");
    expect(await outcome(by, upgrade(`Bearer ${stranger}`))).toBe("bad-credentials");
    expect(await outcome(by, upgrade(`Basic ${token}`))).toBe("skip");
  });

  test("a token of an issuer that nobody configured is refused, or left to the next provider if the settings say so", async () => {
    expect(await outcome(await provider(), { password: bytes(stranger) })).toBe("bad-credentials");
    const lenient = await provider({ otherIssuers: "skip" });
    expect(await outcome(lenient, { password: bytes(stranger) })).toBe("skip");
    expect(await outcome(lenient, { password: bytes(`${token}A`) })).toBe("bad-credentials");
    const nameless = await signToken(key, { claims: { iss: undefined } });
    expect(await outcome(lenient, { password: bytes(nameless) })).toBe("bad-credentials");
    expect(await exchange(lenient, "OAUTH2-JWT", stranger)).toMatchObject({ do: "refuse", because: "bad-credentials" });
  });
});

describe("Authentication Methods", () => {
  const frame = (auth: string, header = "n,,", more = "") => `${header}\u0001${more}auth=${auth}\u0001\u0001`;
  const dataFor = (method: string, held: string) => (method === "OAUTHBEARER" ? frame(`Bearer ${held}`) : held);

  test("each takes one message and answers at once", async () => {
    const by = await provider();
    expect(by.methods).toEqual(METHODS);
    for (const method of METHODS) {
      expect(await exchange(by, method, dataFor(method, token))).toMatchObject({
        do: "accept",
        principal: { id: "main:alice" },
      });
      const one = by.exchange!(request({ authenticationMethod: method }));
      await one.step(bytes(dataFor(method, token)), never);
      expect(await one.step(bytes(dataFor(method, token)), never)).toMatchObject({ do: "refuse" });
    }
    expect((await provider({ methods: ["K8S-SAT"] })).methods).toEqual(["K8S-SAT"]);
  });

  test("A: Authentication Data missing, empty, no token, too long, of another method", async () => {
    const by = await provider();
    for (const method of METHODS) {
      const wrong = [
        undefined,
        "",
        "secret",
        dataFor(method, "secret"),
        dataFor(method, `${token}x`),
        dataFor(method, stranger),
      ];
      const long = dataFor(method, await signToken(key, { claims: { groups: "g".repeat(20_000) } }));
      const other = method === "OAUTHBEARER" ? token : frame(`Bearer ${token}`);
      for (const data of [...wrong, long, other]) {
        expect(await exchange(by, method, data)).toMatchObject({ do: "refuse", because: "bad-credentials" });
      }
    }
  });

  test("A: a password beside a method is not looked at", async () => {
    const by = await provider();
    const verdict = await exchange(by, "OAUTH2-JWT", "secret", { password: bytes(token), username: token });
    expect(verdict).toMatchObject({ do: "refuse", because: "bad-credentials" });
  });

  test("OAUTHBEARER: what RFC 7628 allows", async () => {
    const by = await provider();
    const good = [
      frame(`Bearer ${token}`, "n,a=alice,"),
      frame(`Bearer ${token}`, "n,a=main:alice,"),
      frame(`bearer  ${token}`, "y,,", "host=example.com\u0001port=1883\u0001"),
    ];
    for (const data of good) expect(await exchange(by, "OAUTHBEARER", data)).toMatchObject({ do: "accept" });
  });

  test("OAUTHBEARER: what it does not", async () => {
    const by = await provider();
    const bearer = `Bearer ${token}`;
    const bad = [
      token,
      `n,,\u0001auth=${bearer}\u0001`,
      `n,,\u0001auth=${bearer}`,
      `n,,auth=${bearer}\u0001\u0001`,
      frame(bearer, "p=tls-exporter,,"),
      frame(bearer, "n,"),
      frame(bearer, "n,b=alice,"),
      frame(bearer, "n,a==FFx,"),
      frame(bearer, "n,,", `auth=${bearer}\u0001`),
      frame(bearer, "n,,", "novalue\u0001"),
      frame(`Basic ${token}`),
      frame(""),
      "n,,\u0001\u0001",
      `${frame(bearer)}x`,
    ];
    for (const data of bad) {
      expect(await exchange(by, "OAUTHBEARER", data)).toMatchObject({ do: "refuse", because: "bad-credentials" });
    }
  });

  test("OAUTHBEARER: a client that asks to be somebody else is not authorized", async () => {
    const by = await provider();
    for (const name of ["bob", "alice=2C", "alic", "other:alice"]) {
      const verdict = await exchange(by, "OAUTHBEARER", frame(`Bearer ${token}`, `n,a=${name},`));
      expect(verdict).toMatchObject({ do: "refuse", because: "not-authorized" });
    }
  });

  test("D: re-authentication as someone else is refused, as the same it is not", async () => {
    const by = await provider();
    const current = { id: "main:alice", permissions: "everything", provider: "jwt" } as const;
    const fresh = await signToken(key, { claims: { exp: Math.floor(Date.now() / 1000) + 3600 } });
    const bob = await signToken(key, { claims: { sub: "bob" } });
    expect(await exchange(by, "OAUTH2-JWT", fresh, { current })).toMatchObject({ principal: { id: "main:alice" } });
    expect(await exchange(by, "OAUTH2-JWT", bob, { current })).toMatchObject({
      do: "refuse",
      because: "not-authorized",
      log: expect.stringContaining("the token is somebody else's"),
    });
  });
});
