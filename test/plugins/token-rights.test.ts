/** From the claims of a verified token to who its holder is and what it may do: rules, scopes, conditions, bindings, names. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectRequest, PeerCertificate, Verdict } from "rqtt/plugin";
import jwt from "../../plugins/jwt.ts";
import { attributesOf, claimAt } from "../../plugins/token/claim-path.ts";
import { ruleOfScope } from "../../plugins/token/claims-to-rules.ts";
import {
  AUDIENCE,
  createProvider,
  ISSUER,
  login,
  newKey,
  pemOf,
  request,
  rulesIn,
  type SigningKey,
  signToken,
  type TestServices,
  testServices,
} from "../support/token-kit.ts";

let folder: string;
let services: TestServices;
let key: SigningKey;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rqtt-rights-"));
  services = testServices(folder);
  key = await newKey("EdDSA", "k");
  await Bun.write(join(folder, "key.pem"), await pemOf(key));
});
afterAll(async () => {
  services.close();
  await rm(folder, { recursive: true });
});

/** What a token with these claims gets from a provider with one issuer, `main`, with these settings. */
async function verdictFor(
  settings: Record<string, unknown>,
  claims: Record<string, unknown> = {},
  changes: Partial<ConnectRequest> = {},
): Promise<Verdict> {
  const main = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["EdDSA"], keys: { file: "key.pem" }, ...settings };
  const provider = await createProvider(jwt, { issuers: { main } }, services);
  const verdict = await login(provider, await signToken(key, { claims }), changes);
  await provider.close?.();
  return verdict;
}

async function principalFor(settings: Record<string, unknown>, claims: Record<string, unknown> = {}) {
  const verdict = await verdictFor(settings, claims, { username: "chosen-by-the-client" });
  if (verdict.do !== "accept") throw new Error(JSON.stringify(verdict));
  return verdict.principal;
}

async function whyRefused(verdict: Promise<Verdict>): Promise<[string, string]> {
  const answer = await verdict;
  if (answer.do !== "refuse") throw new Error(JSON.stringify(answer));
  return [answer.because, answer.log ?? ""];
}

describe("rules", () => {
  const sensor = { when: { claim: "roles", has: "sensor" }, allow: [{ on: "pub", filter: "tele/${claim.sub}/#" }] };

  test("go to those whose claim holds the value, alone or in a list, and to nobody else", async () => {
    const rules = [sensor, { allow: [{ on: "sub", filter: "news" }], deny: [{ on: "both", filter: "secret/#" }] }];
    const always = ["sub news", "not both secret/#"];
    for (const roles of ["sensor", ["a", "sensor"]]) {
      expect(rulesIn(await verdictFor({ rules }, { roles }))).toEqual(["pub tele/${claim.sub}/#", ...always]);
    }
    for (const roles of [undefined, "sensors", "a sensor", ["Sensor"], [["sensor"]], { sensor: true }, null, 1]) {
      expect(rulesIn(await verdictFor({ rules }, { roles }))).toEqual(always);
    }
  });

  test("read nested claims, claims with dots in their name, and values that are no texts", async () => {
    const rulesFor = (claim: unknown, has: unknown) => [{ when: { claim, has }, allow: [{ on: "pub", filter: "a" }] }];
    const granted = async (claim: unknown, has: unknown, claims: Record<string, unknown>) =>
      rulesIn(await verdictFor({ rules: rulesFor(claim, has) }, claims)).length === 1;
    expect(await granted("realm_access.roles", "r", { realm_access: { roles: ["r"] } })).toBe(true);
    expect(await granted("realm_access.roles", "r", { "realm_access.roles": ["r"] })).toBe(false);
    expect(await granted(["a.b", "c"], "r", { "a.b": { c: "r" } })).toBe(true);
    expect(await granted("https://example.com/roles", "r", { "https://example.com/roles": ["r"] })).toBe(true);
    expect(await granted("ok", true, { ok: true })).toBe(true);
    expect(await granted("ok", true, { ok: "true" })).toBe(false);
    expect(await granted("n", [1, 2], { n: 2 })).toBe(true);
    expect(await granted("constructor.name", "Object", {})).toBe(false);
    expect(await granted("__proto__.x", "r", {})).toBe(false);
    expect(claimAt({}, ["toString"])).toBeUndefined();
  });

  test("with several conditions need all of them", async () => {
    const when = [
      { claim: "a", has: "1" },
      { claim: "b", has: ["2", "3"] },
    ];
    const rules = [{ when, allow: [{ on: "pub", filter: "x" }] }];
    expect(rulesIn(await verdictFor({ rules }, { a: "1", b: "3" }))).toEqual(["pub x"]);
    for (const claims of [{ a: "1" }, { b: "2" }, { a: "1", b: "4" }, {}]) {
      expect(rulesIn(await verdictFor({ rules }, claims))).toEqual([]);
    }
  });

  test("C: no claim that grants anything is no rights, not all of them", async () => {
    expect((await principalFor({})).permissions).toEqual({ allow: [], deny: [] });
  });

  test("that cannot be meant refuse the start, with the path", async () => {
    const start = (rules: unknown) => verdictFor({ rules });
    await expect(start([{ allow: [{ on: "pub", filter: "a/#/b" }] }])).rejects.toThrow(
      "issuers.main.rules.0.allow.0.filter",
    );
    await expect(start([{ allow: [{ on: "write", filter: "a" }] }])).rejects.toThrow("rules.0.allow.0.on");
    await expect(start([{ wen: { claim: "a", has: "b" } }])).rejects.toThrow("rules.0.wen: unknown setting");
    await expect(start([{ when: { claim: "a" } }])).rejects.toThrow("rules.0.when.has");
  });
});

describe("scopes", () => {
  test("of a text with spaces and of a list become rules; others are another service's", async () => {
    const scopes = ["mqtt:read:cmd/+", "openid", "mqtt:write:tele/#", "mqtt:admin:x", "mqtt:", "MQTT:read:x"];
    for (const claims of [{ scope: scopes.join(" ") }, { scp: scopes }, { scope: scopes }]) {
      expect(rulesIn(await verdictFor({}, claims))).toEqual(["sub cmd/+", "pub tele/#"]);
    }
    const own = { scopeClaims: ["permissions"], scopePrefix: "rqtt/" };
    const claims = { permissions: ["rqtt/write:a"], scope: "rqtt/write:b mqtt:write:c" };
    expect(rulesIn(await verdictFor(own, claims))).toEqual(["pub a"]);
    expect(rulesIn(await verdictFor({ scopeClaims: [] }, { scope: "mqtt:write:c" }))).toEqual([]);
  });

  test("C: a bad scope is void, never wider", () => {
    const bad = ["", "#/a", "a/#/b", "a+", "a/b#", "%", "%zz", "%ff", "%c3%28", "%00", "$share/g/a", "a%00b", "%2e%"];
    for (const filter of bad) expect(ruleOfScope(`mqtt:read:${filter}`, "mqtt:")).toBeUndefined();
    for (const scope of ["mqtt:read", "mqtt:readwrite:a", "mqtt:all:#", "read:a", " mqtt:read:a"]) {
      expect(ruleOfScope(scope, "mqtt:")).toBeUndefined();
    }
  });

  test("C: filters are decoded once", () => {
    const filters: [string, string][] = [
      ["a%20b", "a b"],
      ["a%2Fb", "a/b"],
      ["%23", "#"],
      ["%2523", "%23"],
      ["a/+", "a/+"],
      ["caf%C3%A9/%2B", "café/+"],
      ["tele/$%7Bclaim.sub%7D/x", "tele/${claim.sub}/x"],
      ["a:b:c", "a:b:c"],
    ];
    for (const [encoded, filter] of filters) {
      expect(ruleOfScope(`mqtt:read:${encoded}`, "mqtt:")).toMatchObject({ on: "sub", filter });
    }
  });
});

describe("identity", () => {
  test("E: the same sub of two issuers is two identities", async () => {
    const one = { audience: AUDIENCE, algorithms: ["EdDSA"], keys: { file: "key.pem" } };
    const issuers = { first: { ...one, issuer: "urn:1" }, second: { ...one, issuer: "urn:2" } };
    const provider = await createProvider(jwt, { issuers }, services);
    const ids = await Promise.all(
      ["urn:1", "urn:2"].map(async (iss) => login(provider, await signToken(key, { claims: { iss } }))),
    );
    expect(ids).toMatchObject([{ principal: { id: "first:alice" } }, { principal: { id: "second:alice" } }]);
    await provider.close?.();
    await expect(createProvider(jwt, { issuers: { "a:b": issuers.first } }, services)).rejects.toThrow(
      "expected a name",
    );
    const same = { a: issuers.first, b: issuers.first };
    await expect(createProvider(jwt, { issuers: same }, services)).rejects.toThrow(
      "issuers.b.issuer: the same as that of a",
    );
  });

  test("E: sub missing, empty, of another type, too long, with control characters or half a character", async () => {
    for (const sub of [undefined, "", 7, ["alice"], null, "a".repeat(1025), "a\0b", "a\nb", "\u0085"]) {
      expect(await whyRefused(verdictFor({}, { sub }))).toEqual([
        "bad-credentials",
        expect.stringMatching(/main: sub: /u),
      ]);
    }
    expect((await principalFor({ idClaim: "oid" }, { oid: "x|1/2@#" })).id).toBe("main:x|1/2@#");
  });

  test("E: the user name comes from the token, not from the client", async () => {
    expect((await principalFor({})).username).toBeUndefined();
    const settings = { usernameClaim: "preferred_username" };
    expect((await principalFor(settings, { preferred_username: "al" })).username).toBe("al");
    expect((await principalFor(settings, { preferred_username: 7 })).username).toBeUndefined();
  });

  test("E: client ids are bound to a claim, by a separator that keeps prefixes apart", async () => {
    const clientId = { prefix: "sub" };
    expect((await principalFor({ clientId })).clientId).toEqual({ prefix: "alice~" });
    expect((await principalFor({ clientId: { equals: "device" } }, { device: "d1" })).clientId).toEqual({
      equals: "d1",
    });
    expect(await whyRefused(verdictFor({ clientId }, { sub: "a~b" }))).toEqual([
      "not-authorized",
      expect.stringContaining('has "~" in it'),
    ]);
    expect((await whyRefused(verdictFor({ clientId: { equals: "device" } })))[0]).toBe("not-authorized");
    await expect(verdictFor({ clientId: {} })).rejects.toThrow(
      "issuers.main.clientId: expected either equals or prefix",
    );
    await expect(verdictFor({ clientId: { prefix: "sub", separator: ":" } })).rejects.toThrow("clientId.separator");
  });

  test("attributes are texts, nested ones by dotted paths, and none that two claims could mean", () => {
    const claims = JSON.parse('{"a":{"b":"1","c":{"d":"2"}},"a.b":"3","n":1,"l":["x"],"__proto__":{"p":"q"},"e":""}');
    expect(attributesOf(claims)).toEqual({ "a.c.d": "2", "__proto__.p": "q", e: "" });
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`c${at}`, "v"]));
    expect(Object.keys(attributesOf(many))).toHaveLength(256);
  });

  test("required claims keep others out, and limits reach the principal", async () => {
    const require = [
      { claim: "repository_id", has: ["1", "2"] },
      { claim: "ok", has: true },
    ];
    expect((await verdictFor({ require }, { repository_id: "2", ok: true })).do).toBe("accept");
    expect(await whyRefused(verdictFor({ require }, { repository_id: "3", ok: true }))).toEqual([
      "not-authorized",
      'issuer main: repository_id: a required claim differs: expected "1" or "2"',
    ]);
    const principal = await principalFor({ connectionSecondsMax: 60, sessionExpirySecondsMax: 0 });
    expect(principal.sessionExpiryIntervalMax).toBe(0);
    expect(principal.expiresAtMs! - Date.now()).toBeLessThanOrEqual(60_000);
  });
});

describe("binding", () => {
  const certificate: PeerCertificate = { sha256: "thumb", subject: "CN=a", commonName: "a", alternativeNames: [] };
  const peer = (held?: PeerCertificate) => ({
    peer: { ...request().peer, ...(held === undefined ? {} : { certificate: held }) },
  });

  test("A: cnf without a proof", async () => {
    for (const cnf of [{ jkt: "x" }, { jwk: {} }, { kid: "k" }, {}, null, "x", [], { "x5t#S256": "thumb", jkt: "x" }]) {
      const [because, log] = await whyRefused(verdictFor({}, { cnf }, peer(certificate)));
      expect([because, log]).toEqual(["bad-credentials", expect.stringContaining("cnf: the token is bound to a key")]);
    }
  });

  test("A: cnf of a certificate needs that certificate", async () => {
    const cnf = { "x5t#S256": "thumb" };
    expect((await verdictFor({}, { cnf }, peer(certificate))).do).toBe("accept");
    expect((await whyRefused(verdictFor({}, { cnf })))[1]).toContain("the client has none");
    expect((await whyRefused(verdictFor({}, { cnf }, peer({ ...certificate, sha256: "other" }))))[1]).toContain(
      "another certificate",
    );
    expect((await whyRefused(verdictFor({}, { cnf: { "x5t#S256": 1 } }, peer(certificate))))[0]).toBe(
      "bad-credentials",
    );
  });
});
