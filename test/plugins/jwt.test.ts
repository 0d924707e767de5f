/**
 * The provider `jwt`: what a forged, stolen, stale, misdirected or malformed token gets. RFC 7515, 7519, 8725; pitfalls A.
 *
 * One issuer with an RSA and an Ed25519 key in a key set, one with a secret, unless a test makes its own.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importJWK } from "jose";
import type { Provider, Verdict } from "rqtt/plugin";
import jwt from "../../plugins/jwt.ts";
import {
  AUDIENCE,
  base64url,
  bytes,
  createProvider,
  ISSUER,
  login,
  newKey,
  ordinaryClaims,
  pemOf,
  type SigningKey,
  signToken,
  type TestServices,
  testServices,
  tokenByHand,
} from "../support/token-kit.ts";

const SECRET = "a secret of more than thirty-two bytes";
let folder: string;
let services: TestServices;
let rsa: SigningKey;
let edwards: SigningKey;
let other: SigningKey;
let provider: Provider;
const seen: string[] = [];

const plain = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["RS256", "EdDSA"], keys: { file: "keys.json" } };

/** A provider with one issuer, `main`, that differs from the plain one. */
function withIssuer(changes: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Promise<Provider> {
  return createProvider(jwt, { issuers: { main: { ...plain, ...changes } }, ...more }, services);
}

async function verdictOn(token: string, by: Provider = provider): Promise<Verdict> {
  seen.push(token);
  return await login(by, token);
}

async function expectRefused(token: string, why: RegExp, by: Provider = provider): Promise<void> {
  const verdict = await verdictOn(token, by);
  expect(verdict).toEqual(expect.objectContaining({ do: "refuse", because: "bad-credentials" }));
  if (verdict.do === "refuse") expect(verdict.log ?? "").toMatch(why);
}

async function expectAccepted(token: string, by: Provider = provider): Promise<void> {
  expect(await verdictOn(token, by)).toEqual(expect.objectContaining({ do: "accept" }));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rqtt-jwt-"));
  services = testServices(folder, { HMAC: SECRET });
  [rsa, edwards, other] = await Promise.all([newKey("RS256", "rsa"), newKey("EdDSA", "ed"), newKey("RS256", "rsa")]);
  await Bun.write(join(folder, "keys.json"), JSON.stringify({ keys: [rsa.jwk, edwards.jwk] }));
  await Bun.write(join(folder, "rsa.pem"), await pemOf(rsa));
  provider = await createProvider(
    jwt,
    {
      issuers: {
        main: plain,
        shared: { issuer: "urn:shared", audience: AUDIENCE, algorithms: ["HS256"], keys: { secret: { env: "HMAC" } } },
      },
    },
    services,
  );
});
afterAll(async () => {
  await provider.close?.();
  services.close();
  await rm(folder, { recursive: true });
});

async function hmac(input: Uint8Array<ArrayBuffer>, secret: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", key, input);
}

const rsaSign = (key: SigningKey) => (input: Uint8Array<ArrayBuffer>) =>
  crypto.subtle.sign("RSASSA-PKCS1-v1_5", key.privateKey, input);
const payload = (claims: Record<string, unknown> = {}) => JSON.stringify(ordinaryClaims({ claims }));
const header = (members: Record<string, unknown> = {}) => JSON.stringify({ alg: "RS256", kid: "rsa", ...members });

describe("a good token", () => {
  test("lets its holder in, by the id that issuer and subject make, until it expires", async () => {
    const exp = Math.floor(Date.now() / 1000) + 300;
    for (const key of [rsa, edwards]) {
      expect(await verdictOn(await signToken(key, { claims: { exp, group: "g", nested: { a: "b" } } }))).toEqual({
        do: "accept",
        principal: {
          id: "main:alice",
          expiresAtMs: exp * 1000,
          permissions: { allow: [], deny: [] },
          attributes: { iss: ISSUER, aud: AUDIENCE, sub: "alice", group: "g", "nested.a": "b" },
          evidence: expect.any(String),
        },
      });
    }
  });

  test("may be signed with a secret, where the issuer has one", async () => {
    const claims = payload({ iss: "urn:shared" });
    await expectAccepted(await tokenByHand('{"alg":"HS256"}', claims, (input) => hmac(input, bytes(SECRET))));
    await expectRefused(
      await tokenByHand('{"alg":"HS256"}', claims, (input) => hmac(input, bytes(`${SECRET}!`))),
      /^issuer shared: signature: /u,
    );
  });
});

describe("algorithms and signatures", () => {
  test("A: alg none", async () => {
    const unsigned = await tokenByHand('{"alg":"none"}', payload(), () => new Uint8Array());
    await expectRefused(unsigned, /not signed/u);
    await expectRefused(`${unsigned}AAAA`, /alg: not one of/u);
    for (const alg of ["None", "NONE", "nOnE", ""]) {
      await expectRefused(await tokenByHand(JSON.stringify({ alg }), payload(), rsaSign(rsa)), /alg|token/u);
    }
  });

  test("A: alg confusion, HS256 with the public key", async () => {
    const pem = bytes(await pemOf(rsa));
    const forged = await tokenByHand(header({ alg: "HS256" }), payload(), (input) => hmac(input, pem));
    await expectRefused(forged, /alg: not one of/u);
    const byPem = await withIssuer({ algorithms: ["RS256"], keys: { file: "rsa.pem" } });
    await expectRefused(forged, /alg: not one of/u, byPem);
    await byPem.close?.();
    // And nobody can set it up that way by mistake.
    await expect(withIssuer({ algorithms: ["RS256", "HS256"] })).rejects.toThrow("HS256 needs keys = { secret");
    await expect(withIssuer({ keys: { secret: { env: "HMAC" } } })).rejects.toThrow("RS256 does not go with a secret");
  });

  test("A: PS256 with an RSA key that names no algorithm", async () => {
    const { alg: _alg, ...jwk } = rsa.jwk;
    await Bun.write(join(folder, "bare.json"), JSON.stringify({ keys: [jwk] }));
    const pss = (await importJWK({ ...rsa.privateJwk, alg: "PS256" })) as CryptoKey;
    const token = await signToken({ ...rsa, privateKey: pss, alg: "PS256" });
    const strict = await withIssuer({ algorithms: ["RS256"], keys: { file: "bare.json" } });
    await expectRefused(token, /alg: not one of/u, strict);
    await expectAccepted(token, await withIssuer({ algorithms: ["PS256"], keys: { file: "bare.json" } }));
  });

  test("A: EdDSA and Ed25519 are one algorithm, whichever name the settings, the key and the token use", async () => {
    for (const named of ["EdDSA", "Ed25519"]) {
      await Bun.write(join(folder, `${named}.json`), JSON.stringify({ keys: [{ ...edwards.jwk, alg: named }] }));
      const one = await withIssuer({ algorithms: [named], keys: { file: `${named}.json` } });
      for (const alg of ["EdDSA", "Ed25519"]) await expectAccepted(await signToken(edwards, { header: { alg } }), one);
    }
  });

  test("A: signature of another key with the same id, of nobody, changed claims", async () => {
    await expectRefused(await signToken(other), /signature: /u);
    const [head, , signature] = (await signToken(rsa)).split(".");
    const claims = base64url(bytes(payload({ sub: "root" })));
    await expectRefused(`${head}.${claims}.${signature}`, /signature: /u);
    await expectRefused(`${head}.${claims}.${base64url(new Uint8Array(256))}`, /signature: /u);
  });

  test("A: keys that the token brings along (jwk, jku, x5u, x5c) are not looked at", async () => {
    let fetched = 0;
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => {
        fetched++;
        return Response.json({ keys: [other.jwk] });
      },
    });
    const url = `http://127.0.0.1:${server.port}/keys`;
    for (const brought of [{ jwk: other.jwk }, { jku: url }, { x5u: url }, { x5c: ["MIIB"] }]) {
      await expectRefused(await signToken(other, { header: brought }), /signature: /u);
      await expectAccepted(await signToken(rsa, { header: brought }));
    }
    expect(fetched).toBe(0);
    await server.stop(true);
  });

  test("A: unknown crit, unencoded payload", async () => {
    await expectRefused(await tokenByHand(header({ crit: ["x"], x: 1 }), payload(), rsaSign(rsa)), /token: /u);
    await expectRefused(await tokenByHand(header({ crit: [] }), payload(), rsaSign(rsa)), /token: /u);
    await expectRefused(await tokenByHand(header({ crit: ["b64"], b64: false }), payload(), rsaSign(rsa)), /token: /u);
  });
});

describe("key ids", () => {
  test("A: kid with a path, SQL, __proto__, a list, or very long", async () => {
    for (const kid of ["../../etc/passwd", "' OR 1=1 --", "__proto__", "constructor", ""]) {
      await expectRefused(await signToken(rsa, { header: { kid } }), /kid: the issuer has no such key/u);
    }
    for (const kid of [["rsa"], { rsa: 1 }, 7, null, "k".repeat(2000)]) {
      await expectRefused(await tokenByHand(header({ kid }), payload(), rsaSign(rsa)), /kid: is no text/u);
    }
    await expectRefused(await signToken(rsa, { header: { kid: "k".repeat(65_536) } }), /maxTokenBytes/u);
  });

  test("A: no kid with two keys that fit is refused, with one it is enough", async () => {
    const second = await newKey("RS256", "rsa2");
    await Bun.write(join(folder, "two.json"), JSON.stringify({ keys: [rsa.jwk, second.jwk] }));
    const token = await signToken(rsa, { header: { kid: undefined } });
    await expectRefused(token, /kid: more than one key/u, await withIssuer({ keys: { file: "two.json" } }));
    await expectAccepted(token);
    await expectAccepted(token, await withIssuer({ algorithms: ["RS256"], keys: { file: "rsa.pem" } }));
  });
});

describe("claims", () => {
  test("A: missing exp", async () => {
    await expectRefused(await signToken(rsa, { claims: { exp: undefined } }), /exp: the claim is missing/u);
  });

  test("A: exp as text, very late, not a whole number, without end", async () => {
    const soon = Date.now() / 1000 + 60.5;
    await expectRefused(await signToken(rsa, { claims: { exp: String(soon) } }), /exp: not a valid value/u);
    await expectRefused(await signToken(rsa, { claims: { exp: null } }), /exp: not a valid value/u);
    const endless = payload().replace(/"exp":\d+/u, '"exp":1e999');
    await expectRefused(await tokenByHand(header(), endless, rsaSign(rsa)), /exp: not a/u);
    expect(await verdictOn(await signToken(rsa, { claims: { exp: soon } }))).toMatchObject({
      principal: { expiresAtMs: Math.floor(soon * 1000) },
    });
    const late = await verdictOn(await signToken(rsa, { claims: { exp: 1e18 } }));
    expect(late).toMatchObject({ do: "accept", principal: { expiresAtMs: 8.64e15 } });
  });

  test("A: clock skew, both ways", async () => {
    const now = Math.floor(Date.now() / 1000);
    await expectRefused(await signToken(rsa, { claims: { exp: now - 100 } }), /exp: expired 1\d\d s ago/u);
    await expectRefused(await signToken(rsa, { claims: { exp: now - 1 } }), /exp: expired just now/u);
    await expectAccepted(await signToken(rsa, { claims: { nbf: now + 3 } }));
    await expectRefused(await signToken(rsa, { claims: { nbf: now + 60 } }), /nbf: the token is not valid yet/u);
    await expectAccepted(
      await signToken(rsa, { claims: { nbf: now + 60 } }),
      await withIssuer({ clockSkewSeconds: 90 }),
    );
    const young = await withIssuer({ tokenAgeSecondsMax: 60 });
    await expectRefused(await signToken(rsa, { claims: { iat: now - 100 } }), /iat: the token is older/u, young);
    await expectRefused(await signToken(rsa, { claims: { iat: undefined } }), /iat: the claim is missing/u, young);
  });

  test("A: aud wrong, missing, in a list, empty, a prefix, of another form", async () => {
    for (const aud of ["other", "", "RQTT", "rqtt ", "rqt", [], ["other", "account"], [["rqtt"]], { rqtt: 1 }, true]) {
      await expectRefused(await signToken(rsa, { claims: { aud } }), /aud: the token is for somebody else/u);
    }
    await expectRefused(await signToken(rsa, { claims: { aud: undefined } }), /aud: .*found nothing/u);
    await expectAccepted(await signToken(rsa, { claims: { aud: ["other", AUDIENCE] } }));
    const several = await withIssuer({ audience: ["first", "second"] });
    await expectAccepted(await signToken(rsa, { claims: { aud: "second" } }), several);
    await expectRefused(await signToken(rsa), /expected "first" or "second", found "rqtt"/u, several);
  });

  test("A: issuer with and without a slash at the end, of another case, missing, of another form", async () => {
    await expectRefused(await signToken(rsa, { claims: { iss: `${ISSUER}/` } }), /differs .* only by the slash/u);
    for (const iss of [ISSUER.toUpperCase(), "https://evil.example", "__proto__"]) {
      await expectRefused(await signToken(rsa, { claims: { iss } }), /iss: no configured issuer/u);
    }
    for (const iss of [undefined, "", [ISSUER], 1, null]) {
      await expectRefused(await signToken(rsa, { claims: { iss } }), /iss: the token names no issuer/u);
    }
  });

  test("A: another issuer's key for this issuer's name", async () => {
    const token = await tokenByHand('{"alg":"HS256"}', payload(), (input) => hmac(input, bytes(SECRET)));
    await expectRefused(token, /^issuer main: alg: /u);
    const crossed = await tokenByHand(header(), payload({ iss: "urn:shared" }), rsaSign(rsa));
    await expectRefused(crossed, /^issuer shared: alg: /u);
  });

  test("A: duplicate members are read alike when the issuer is picked and when the token is verified", async () => {
    const twice = (first: string, last: string) =>
      payload({ iss: last }).replace("{", `{"iss":${JSON.stringify(first)},`);
    await expectAccepted(await tokenByHand(header(), twice("urn:shared", ISSUER), rsaSign(rsa)));
    await expectRefused(await tokenByHand(header(), twice(ISSUER, "urn:shared"), rsaSign(rsa)), /^issuer shared: /u);
  });

  test("A: typ, an ID token or another kind of token", async () => {
    for (const typ of ["JWT", "jwt", "at+jwt", "application/at+jwt", undefined]) {
      await expectAccepted(await signToken(rsa, { header: { typ } }));
    }
    for (const typ of ["logout+jwt", "dpop+jwt", "secevent+jwt", "", 1]) {
      await expectRefused(await tokenByHand(header({ typ }), payload(), rsaSign(rsa)), /typ: /u);
    }
    const access = await withIssuer({ requiredType: "at+jwt" });
    await expectAccepted(await signToken(rsa, { header: { typ: "application/AT+JWT" } }), access);
    for (const typ of ["JWT", undefined]) {
      await expectRefused(await signToken(rsa, { header: { typ } }), /typ: .* expected at\+jwt/u, access);
    }
  });
});

describe("form and size", () => {
  test("A: encrypted token of five parts", async () => {
    const five = [base64url(bytes('{"alg":"RSA-OAEP","enc":"A256GCM"}')), "a", "b", "c", "d"].join(".");
    await expectRefused(five, /encrypted/u);
  });

  test("A: malformed header, payload, base64", async () => {
    const [head, body, signature] = (await signToken(rsa)).split(".") as [string, string, string];
    const wrong = base64url(bytes("[1]"));
    for (const token of [`${head}.${wrong}.${signature}`, `${head}.${body.slice(0, -3)}.${signature}`, `${head}..x`]) {
      await expectRefused(token, /payload is no object/u);
    }
    for (const token of [
      `${base64url(bytes("{}"))}.${body}.${signature}`,
      `${head.slice(0, -5)}.${body}.${signature}`,
    ]) {
      // What does not begin with an object in JSON is a password like any other.
      const verdict = await verdictOn(token);
      expect(["refuse", "skip"]).toContain(verdict.do);
    }
    const bom = await tokenByHand(`\uFEFF${header()}`, payload(), rsaSign(rsa));
    expect(await verdictOn(bom)).toEqual({ do: "skip" });
  });

  test("A: longer than maxTokenBytes is refused before it is parsed, and a long password is not ours", async () => {
    await expectRefused(await signToken(rsa, { claims: { groups: "g".repeat(20_000) } }), /maxTokenBytes, 16384/u);
    await expectAccepted(
      await signToken(rsa, { claims: { groups: "g".repeat(20_000) } }),
      await withIssuer({}, { maxTokenBytes: 65_535 }),
    );
    expect(await verdictOn("p".repeat(60_000))).toEqual({ do: "skip" });
  });

  test("passwords that are no tokens are left to the next provider", async () => {
    for (const password of ["", "secret", "a.b.c", "hunter.two.x", "ey", "eyes.wide.shut!", "e.y.z", "pässword"]) {
      expect(await verdictOn(password)).toEqual({ do: "skip" });
    }
  });
});

test("F: no token, and no part that signs one, is in a log line or in a verdict", async () => {
  const signatures = seen.flatMap((token) => token.split(".").filter((part) => part.length > 40));
  expect(signatures.length).toBeGreaterThan(50);
  const again = await Promise.all(seen.map((token) => login(provider, token)));
  const texts = JSON.stringify([services.lines, again.map((verdict) => (verdict.do === "accept" ? {} : verdict))]);
  expect(signatures.filter((part) => texts.includes(part))).toEqual([]);
  expect(texts).not.toContain(SECRET);
});
