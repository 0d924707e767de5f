/**
 * Clients that are in while the providers of the house are loaded again: what each of them still knows, what it takes back,
 * and where it has to say that it cannot tell. Pitfalls B and D.
 */
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import allowAll from "../../plugins/allow-all.ts";
import clientCertificate from "../../plugins/client-certificate.ts";
import http from "../../plugins/http.ts";
import jwt from "../../plugins/jwt.ts";
import oauth from "../../plugins/oauth.ts";
import { scramEntry } from "../../plugins/password/hash.ts";
import passwordFile from "../../plugins/password-file.ts";
import scramFile from "../../plugins/scram-file.ts";
import template from "../../plugins/template.ts";
import {
  type AuthPlugin,
  EVIDENCE_BYTES_MAX,
  type PeerCertificate,
  type PluginHostServices,
} from "../../src/core/gate/provider.ts";
import { type Harness, harness, type LoginResult } from "../../src/plugin-testing/harness.ts";
import type { Surroundings } from "../../src/plugin-testing/lent-services.ts";
import { ScramClient } from "../support/scram-client.ts";
import {
  AUDIENCE,
  bytes,
  ISSUER,
  newKey,
  pemOf,
  type SigningKey,
  signToken,
  type TokenParts,
  tokenByHand,
} from "../support/token-kit.ts";
import { cheapHash } from "../support/user-file.ts";

const doors: Harness[] = [];
afterEach(async () => {
  for (const door of doors.splice(0)) await door.close();
});

async function open<Settings>(plugin: AuthPlugin<Settings>, settings: unknown, surroundings: Surroundings = {}) {
  const door = await harness(plugin, settings, surroundings);
  doors.push(door);
  return door;
}

/** What became of all who were in; the counts that are not zero. */
async function reload(door: Harness, settings?: unknown): Promise<object> {
  const counts = await door.recheck(settings);
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

const whyOf = (door: Harness): unknown => door.logged.findLast(({ event }) => event === "dropped")?.fields["why"];

describe("users in a file", () => {
  let users: string;
  let files: Record<string, string>;
  const anna = { username: "anna", password: "open sesame" };

  beforeAll(async () => {
    const keys = await scramEntry("open sesame", "SCRAM-SHA-256", 4_096);
    const other = await scramEntry("open sesame", "SCRAM-SHA-256", 4_096);
    const hash = await cheapHash("open sesame");
    const rules = "allow anna both a/#\nallow @g sub b\n";
    users = `anna:${hash}:g\nbert:${hash}\n${rules}`;
    files = {
      users,
      same: `# moved\n${rules}bert:${hash}\nanna:${hash}:g\n`,
      less: `anna:${hash}\nallow anna sub a/#\n`,
      more: `anna:${hash}:g\n${rules}allow anna pub c\n`,
      gone: `bert:${hash}\nallow bert both #\n`,
      changed: `anna:${await cheapHash("open sesame")}:g\n${rules}`,
      scram: `anna:${keys}:g\n${rules}`,
      "scram-less": `anna:${keys}\nallow anna sub a/#\n`,
      "scram-gone": `bert:${keys}\n`,
      "scram-changed": `anna:${other}:g\n${rules}`,
    };
  });

  async function scram(door: Harness): Promise<LoginResult> {
    const client = new ScramClient(anna);
    return door.exchange("SCRAM-SHA-256", [client.first(), (challenge) => client.final(challenge!)]);
  }

  test.each([
    ["the same users", "same", { kept: 1 }, [true, true, false]],
    ["fewer rights", "less", { changed: 1 }, [false, false, false]],
    ["more rights", "more", { changed: 1 }, [true, true, true]],
  ])("password-file, %s: the rights of the new file, in place", async (_what, file, counts, rights) => {
    const door = await open(passwordFile, { file: "users" }, { files });
    const client = await door.connect(anna);
    expect(await reload(door, { file })).toEqual(counts);
    expect([client.can("pub", "a/1"), client.canSubscribe("b"), client.can("pub", "c")]).toEqual(rights);
    expect(client.endedWith).toBeUndefined();
  });

  test.each([
    ["who is gone", { file: "gone" }, "not-authorized: not in the user file any more"],
    ["with another password", { file: "changed" }, "bad-credentials: the password was changed"],
    ["of another realm", { file: "users", realm: "r" }, "another identity"],
  ])("password-file, a user %s is out", async (_who, settings, why) => {
    const door = await open(passwordFile, { file: "users" }, { files });
    const client = await door.connect(anna);
    expect(await reload(door, settings)).toEqual({ out: 1 });
    expect([client.endedWith, whyOf(door)]).toEqual([0x87, why]);
  });

  test("scram-file: rights in place; who is gone or has other keys is out", async () => {
    const door = await open(scramFile, { file: "scram" }, { files });
    const client = await scram(door);
    expect([client.accepted, await reload(door)]).toEqual([true, { kept: 1 }]);
    expect(await reload(door, { file: "scram-less" })).toEqual({ changed: 1 });
    expect([client.can("pub", "a/1"), client.canSubscribe("a/1")]).toEqual([false, true]);
    expect(await reload(door, { file: "scram-changed" })).toEqual({ out: 1 });
    expect(client.endedWith).toBe(0x87);
    const other = await open(scramFile, { file: "scram" }, { files });
    const second = await scram(other);
    expect([await reload(other, { file: "scram-gone" }), second.endedWith]).toEqual([{ out: 1 }, 0x87]);
  });

  test("F: the evidence is nothing that a password could be guessed from", async () => {
    const door = await open(passwordFile, { file: "users" }, { files });
    const [one, two] = [await door.connect(anna), await door.connect({ ...anna, username: "bert" })];
    const [evidence, other] = [one.principal?.evidence ?? "", two.principal?.evidence ?? ""];
    // Bert has the very same hash.
    expect(evidence).not.toBe(other);
    expect(evidence).toMatch(/^[\w+/]{43}=$/u);
    for (const part of users.split(/[$:\n]/u)) if (part.length > 8) expect(evidence).not.toContain(part);
  });

  test("evidence of somebody else's making is another password", async () => {
    const door = await open(passwordFile, { file: "users" }, { files });
    const { principal } = await door.connect(anna);
    for (const evidence of ["", "x", undefined]) {
      const { evidence: _evidence, ...rest } = principal!;
      const asked = evidence === undefined ? rest : { ...rest, evidence };
      const verdict = await door.provider.recheck?.({ clientId: "c", principal: asked }, new AbortController().signal);
      expect(verdict).toMatchObject({ do: "refuse", because: "bad-credentials" });
    }
  });
});

describe("client-certificate", () => {
  const sub = (filter: string) => [{ on: "sub", filter }];
  const settings = { identity: "common-name", allow: sub("a") };
  const certificate: PeerCertificate = {
    sha256: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
    subject: "C=DE, O=Example, CN=door1",
    commonName: "door1",
    alternativeNames: ["DNS:door1.example", "URI:door1"],
  };

  test("rules are matched with the certificate's names anew", async () => {
    const door = await open(clientCertificate, settings);
    const client = await door.connect({ certificate });
    expect(await reload(door)).toEqual({ kept: 1 });
    const rules = [{ identity: "door*", allow: sub("b") }];
    expect(await reload(door, { ...settings, rules })).toEqual({ changed: 1 });
    expect([client.canSubscribe("a"), client.canSubscribe("b")]).toEqual([false, true]);
    // The same identity from another place.
    expect(await reload(door, { identity: "alternative-name", prefix: "URI:", allow: [] })).toEqual({ changed: 1 });
    expect(client.endedWith).toBeUndefined();
  });

  test.each([
    ["another identity", { identity: "subject", allow: [] }, "another identity"],
    [
      "no identity",
      { identity: "alternative-name", prefix: "IP:", allow: [] },
      /^not-authorized: certificate without/u,
    ],
  ])("that has %s under the new settings is out", async (_what, changed, why) => {
    const door = await open(clientCertificate, settings);
    const client = await door.connect({ certificate });
    expect(await reload(door, changed)).toEqual({ out: 1 });
    expect(client.endedWith).toBe(0x87);
    expect(String(whyOf(door))).toMatch(why);
  });

  test("with names too long to keep, its client has to come in anew", async () => {
    const door = await open(clientCertificate, settings);
    const alternativeNames = [`DNS:${"x".repeat(EVIDENCE_BYTES_MAX)}`];
    const client = await door.connect({ certificate: { ...certificate, alternativeNames } });
    expect([client.accepted, client.principal?.evidence]).toEqual([true, undefined]);
    expect([await reload(door), client.endedWith]).toEqual([{ anew: 1 }, 0x87]);
  });
});

describe("jwt", () => {
  const nowMs = 1_750_000_000_000;
  const main = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256"], keys: { file: "keys" } };
  const rules = [{ allow: [{ on: "sub", filter: "a" }] }];
  const settings = { issuers: { main: { ...main, rules } } };
  const withMain = (changes: object) => ({ issuers: { main: { ...main, rules, ...changes } } });
  let key: SigningKey;
  let other: SigningKey;
  let files: Record<string, string>;

  beforeAll(async () => {
    [key, other] = await Promise.all([newKey("ES256", "first"), newKey("ES256", "first")]);
    const second = { ...other.jwk, kid: "second" };
    const set = (...keys: object[]) => JSON.stringify({ keys });
    files = {
      keys: set(key.jwk),
      both: set(key.jwk, second),
      withdrawn: set(second),
      replaced: set(other.jwk),
      pem: await pemOf(key),
      "other-pem": await pemOf(other),
    };
  });

  async function enter(parts: TokenParts = {}, changed: unknown = settings) {
    const door = await open(jwt, changed, { files, nowMs, env: { ONE: "x".repeat(32), TWO: "y".repeat(32) } });
    const password = await signToken(key, { nowMs, ...parts });
    const client = await door.connect({ password });
    expect(client.reasonCode).toBe(0);
    return { door, client, password };
  }

  test("claims that were verified are judged by the new rules, again and again", async () => {
    const { door, client } = await enter({ claims: { roles: ["sensor"], scope: "mqtt:read:s" } });
    expect(await reload(door)).toEqual({ kept: 1 });
    const when = { claim: "roles", has: "sensor" };
    expect(await reload(door, withMain({ rules: [{ when, allow: [{ on: "sub", filter: "b" }] }] }))).toEqual({
      changed: 1,
    });
    expect([client.canSubscribe("a"), client.canSubscribe("b"), client.canSubscribe("s")]).toEqual([false, true, true]);
    expect(await reload(door, withMain({ keys: { file: "both" }, algorithms: ["RS256", "ES256"] }))).toEqual({
      changed: 1,
    });
    expect([client.endedWith, client.canSubscribe("a")]).toEqual([undefined, true]);
  });

  test.each<[string, object, RegExp]>([
    ["its issuer is not there any more", { issuers: { main: { ...main, issuer: "urn:x" } } }, /iss: no configured/u],
    ["its issuer has another name", { issuers: { other: { ...main, rules } } }, /^another identity$/u],
    ["its audience", withMain({ audience: "another" }), /aud: the token is for somebody else/u],
    ["a required claim", withMain({ require: [{ claim: "plant", has: "north" }] }), /^not-authorized: .*plant/u],
    ["the required type", withMain({ requiredType: "at+jwt" }), /typ: the token is of another kind/u],
    ["its algorithm", withMain({ algorithms: ["RS256"], keys: { file: "both" } }), /alg: not one of this issuer's/u],
    ["the age it had at the login", withMain({ tokenAgeSecondsMax: 10 }), /iat: the token is older/u],
    ["who its holder is", withMain({ idClaim: "jti" }), /jti: the token does not say/u],
    ["which client ids", withMain({ clientId: { equals: "device" } }), /^not with this client id$/u],
    ["B: a key that was withdrawn", withMain({ keys: { file: "withdrawn" } }), /kid: the issuer has no such key/u],
    ["B: another key of the same name", withMain({ keys: { file: "replaced" } }), /kid: the issuer has another key/u],
  ])("is out where the new settings do not take the token: %s", async (_what, changed, why) => {
    const iat = nowMs / 1000 - 60;
    const { door, client } = await enter({ claims: { device: "d1", iat } });
    expect(await reload(door, changed)).toEqual({ out: 1 });
    expect(client.endedWith).toBe(0x87);
    expect(String(whyOf(door))).toMatch(why);
  });

  test("B: a PEM file with another key, and another secret", async () => {
    const pem = withMain({ keys: { file: "pem" } });
    const first = await enter({}, pem);
    expect(await reload(first.door, pem)).toEqual({ kept: 1 });
    // The same key, wherever it stands.
    expect(await reload(first.door, settings)).toEqual({ kept: 1 });
    expect(await reload(first.door, withMain({ keys: { file: "other-pem" } }))).toEqual({ out: 1 });
    const shared = (env: string) => withMain({ algorithms: ["HS256"], keys: { secret: { env } } });
    const door = await open(jwt, shared("ONE"), { nowMs, env: { ONE: "x".repeat(32), TWO: "y".repeat(32) } });
    const hmac = async (input: Uint8Array<ArrayBuffer>) => {
      const algorithm = { name: "HMAC", hash: "SHA-256" };
      const secret = await crypto.subtle.importKey("raw", bytes("x".repeat(32)), algorithm, false, ["sign"]);
      return crypto.subtle.sign("HMAC", secret, input);
    };
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: "alice", exp: nowMs / 1000 + 60 };
    const client = await door.connect({ password: await tokenByHand('{"alg":"HS256"}', JSON.stringify(claims), hmac) });
    expect([client.accepted, await reload(door, shared("ONE"))]).toEqual([true, { kept: 1 }]);
    expect([await reload(door, shared("TWO")), client.endedWith]).toEqual([{ out: 1 }, 0x87]);
  });

  test("times count as at the login: reloads neither prolong a connection nor call a token too old", async () => {
    const bounded = withMain({ connectionSecondsMax: 100, tokenAgeSecondsMax: 30 });
    const { door, client } = await enter({ claims: { exp: nowMs / 1000 + 1_000 } }, bounded);
    door.advance(60_000);
    expect(await reload(door, bounded)).toEqual({ kept: 1 });
    door.advance(39_999);
    expect(client.endedWith).toBeUndefined();
    door.advance(1);
    expect(client.endedWith).toBe(0x87);
    const longer = await enter({ claims: { exp: nowMs / 1000 + 1_000 } }, bounded);
    expect(await reload(longer.door, settings)).toEqual({ kept: 1 });
    longer.door.advance(999_999);
    expect(longer.client.endedWith).toBeUndefined();
    longer.door.advance(1);
    expect(longer.client.endedWith).toBe(0x87);
  });

  test("B, D: a token that has expired while its client is away costs it nothing, even if its key was given up since", async () => {
    const { door, client } = await enter();
    const { principal } = client;
    door.advance(599_999);
    const ask = (asked: object) =>
      door.provider.recheck?.({ clientId: "c", principal: asked as typeof principal & object }, AbortSignal.any([]));
    expect(await ask(principal!)).toMatchObject({ do: "accept", principal: { id: "main:alice" } });
    await door.recheck(withMain({ keys: { file: "withdrawn" } }));
    expect(await ask(principal!)).toMatchObject({ do: "refuse", because: "bad-credentials" });
    door.advance(1);
    const expired = { do: "accept", principal: { id: "main:alice", expiresAtMs: nowMs + 600_000 } };
    expect(await ask(principal!)).toMatchObject(expired);
  });

  test("a token that is bound to a certificate stays bound to the connection that showed it", async () => {
    const certificate = { sha256: "thumb", subject: "CN=a", commonName: "a", alternativeNames: [] };
    const door = await open(jwt, settings, { files, nowMs });
    const password = await signToken(key, { nowMs, claims: { cnf: { "x5t#S256": "thumb" } } });
    const client = await door.connect({ password, certificate });
    expect([client.accepted, await reload(door), client.endedWith]).toEqual([true, { kept: 1 }, undefined]);
  });

  test("claims that are too large to be kept: its client has to come in anew", async () => {
    const large = { ...settings, maxTokenBytes: 65_535 };
    const { door, client } = await enter({ claims: { groups: "g".repeat(EVIDENCE_BYTES_MAX) } }, large);
    expect(client.principal?.evidence).toBeUndefined();
    expect([await reload(door, large), client.endedWith]).toEqual([{ anew: 1 }, 0x87]);
    expect(whyOf(door)).toBe("unavailable: token: nothing of it was kept");
  });

  test("F: the evidence has neither the token nor the key in it, and what is no evidence is not believed", async () => {
    const { door, client, password } = await enter();
    const { principal } = client;
    const evidence = principal?.evidence ?? "";
    for (const part of [...password.split("."), key.jwk.x!, key.jwk.y!]) expect(evidence).not.toContain(part);
    const kept = JSON.parse(evidence) as Record<string, unknown>;
    const strange = [
      { ...kept, claims: [] },
      { ...kept, alg: 1 },
      { ...kept, kid: {} },
      { ...kept, key: undefined },
      { ...kept, presentedAtMs: "0" },
      [kept],
    ];
    for (const one of strange) {
      const asked = { ...principal!, evidence: JSON.stringify(one) };
      const verdict = await door.provider.recheck?.({ clientId: "c", principal: asked }, new AbortController().signal);
      expect(verdict).toMatchObject({ do: "refuse", because: "unavailable" });
    }
  });
});

describe("oauth", () => {
  const issuerUrl = "https://login.example";
  const answer = (value: object) => ({ status: 200, headers: {}, text: JSON.stringify(value) });
  let key: SigningKey;
  let next: SigningKey;
  beforeAll(async () => {
    [key, next] = await Promise.all([newKey("ES256", "first"), newKey("ES256", "second")]);
  });

  /** An issuer with these keys, or one that is down. */
  function issuer() {
    const state = { keys: [key], isDown: false, fetched: 0 };
    const fetch: PluginHostServices["fetch"] = async (url) => {
      if (url.endsWith("/ask")) {
        const exp = Math.floor(Date.now() / 1000) + 600;
        return answer({ active: true, sub: "alice", aud: AUDIENCE, exp });
      }
      state.fetched++;
      if (state.isDown) throw new TypeError("connection refused");
      return answer({ keys: state.keys.map(({ jwk }) => jwk) });
    };
    return { state, fetch };
  }

  const main = { issuer: issuerUrl, audience: AUDIENCE, algorithms: ["ES256"], jwks: `${issuerUrl}/keys` };
  const introspection = { clientId: "rs", clientSecret: { env: "SECRET" }, endpoint: `${issuerUrl}/ask` };
  const env = { SECRET: "secret of the service" };

  test("B: the keys that the issuer has now decide: overlap keeps, withdrawal ends, and one look is enough for all", async () => {
    const { state, fetch } = issuer();
    const door = await open(oauth, { issuers: { main } }, { fetch });
    const clients: LoginResult[] = [];
    for (let at = 0; at < 5; at++) {
      const claims = { iss: issuerUrl, sub: `device-${at}` };
      clients.push(await door.connect({ password: await signToken(key, { claims }) }));
    }
    expect(clients.map(({ accepted }) => accepted)).toEqual(clients.map(() => true));
    state.keys = [key, next];
    expect(await reload(door)).toEqual({ kept: 5 });
    state.keys = [next];
    state.fetched = 0;
    expect(await reload(door)).toEqual({ out: 5 });
    // Once at the start, and once for a key that nobody knows.
    expect(state.fetched).toBe(2);
    expect(clients.map(({ endedWith }) => endedWith)).toEqual(clients.map(() => 0x87));
  });

  test("B: an issuer that cannot be reached says nothing: its clients have to come in anew", async () => {
    const { state, fetch } = issuer();
    const door = await open(oauth, { issuers: { main } }, { fetch });
    const client = await door.connect({ password: await signToken(key, { claims: { iss: issuerUrl } }) });
    state.isDown = true;
    expect([await reload(door), client.endedWith]).toEqual([{ anew: 1 }, 0x87]);
    expect(String(whyOf(door))).toStartWith("unavailable: issuer main: keys:");
  });

  test("B: an opaque token is not kept, so that its client has to come in anew", async () => {
    const settings = { issuers: { main: { ...main, introspection } } };
    const door = await open(oauth, settings, { fetch: issuer().fetch, env });
    const client = await door.connect({ password: "an-opaque-token-of-many-characters" });
    expect([client.accepted, client.principal?.evidence]).toEqual([true, undefined]);
    expect([await reload(door, settings), client.endedWith]).toEqual([{ anew: 1 }, 0x87]);
  });

  test("B: signed tokens that the issuer is to be asked about from now on: the same", async () => {
    const door = await open(oauth, { issuers: { main } }, { fetch: issuer().fetch, env });
    const client = await door.connect({ password: await signToken(key, { claims: { iss: issuerUrl } }) });
    const always = { issuers: { main: { ...main, introspection: { ...introspection, always: true } } } };
    expect([client.accepted, await reload(door, always), client.endedWith]).toEqual([true, { anew: 1 }, 0x87]);
  });
});

describe("the others", () => {
  test("allow-all keeps everybody", async () => {
    const door = await open(allowAll, {});
    const client = await door.connect({ username: "anybody" });
    expect([await reload(door), client.can("pub", "a"), client.endedWith]).toEqual([{ kept: 1 }, true, undefined]);
  });

  test("http and template cannot ask again without the credential: their clients have to come in anew", async () => {
    const yes = { status: 200, headers: {}, text: '{"allow":true,"id":"u1"}' };
    const service = { url: "https://accounts.example/mqtt" };
    const asking = await open(http, service, { fetch: async () => yes });
    const asked = await asking.connect({ username: "anna", password: "pass" });
    expect([await reload(asking, service), asked.endedWith]).toEqual([{ anew: 1 }, 0x87]);
    const badges = { badges: { file: "badges" }, area: "doors" };
    const door = await open(template, badges, { files: { badges: "anna 4711" } });
    const client = await door.connect({ username: "anna", password: "4711" });
    expect([await reload(door, badges), client.endedWith]).toEqual([{ anew: 1 }, 0x87]);
  });
});
