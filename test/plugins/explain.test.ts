/**
 * `Provider.explain` of the token and password providers: every check with what was expected and found, and no credential.
 *
 * Throughout: all checks hold exactly if the provider lets in.
 */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuthPlugin, Check, ConnectRequest, PluginHostServices, Provider } from "rqtt/plugin";
import jwt from "../../plugins/jwt.ts";
import oauth from "../../plugins/oauth.ts";
import { hashPassword, scramEntry } from "../../plugins/password/hash.ts";
import passwordFile from "../../plugins/password-file.ts";
import scramFile from "../../plugins/scram-file.ts";
import { RESOURCE_SERVER, startTestIssuer } from "../../src/plugin-testing/test-issuer.ts";
import {
  AUDIENCE,
  base64url,
  bytes,
  createProvider,
  ISSUER,
  never,
  newKey,
  pemOf,
  request,
  type SigningKey,
  signToken,
  type TokenParts,
  testServices,
  tokenByHand,
} from "../support/token-kit.ts";

const folder = mkdtempSync(join(tmpdir(), "rqtt-explain-"));
const key: SigningKey = await newKey("ES256", "key-1");
const rsa: SigningKey = await newKey("RS256", "rsa-1");
writeFileSync(join(folder, "issuer.pem"), await pemOf(key));
writeFileSync(join(folder, "keys.json"), JSON.stringify({ keys: [key.jwk] }));
const running: Provider[] = [];
/** When the tokens of `withJwt` are looked at, and by default made. */
const NOW_MS = 1_750_000_000_000;
const NOW = NOW_MS / 1000;

afterEach(async () => {
  for (const provider of running.splice(0)) await provider.close?.();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function start<Config>(
  plugin: AuthPlugin<Config>,
  settings: unknown,
  services: Partial<PluginHostServices> = {},
): Promise<Provider> {
  const host = { ...testServices(folder, { RS_SECRET: RESOURCE_SERVER.secret }), ...services };
  const provider = await createProvider(plugin, settings, host);
  running.push(provider);
  return provider;
}

function withJwt(changes: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Promise<Provider> {
  const main = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256"], keys: { file: "keys.json" }, ...changes };
  return start(jwt, { issuers: { main }, ...more }, { nowMs: () => NOW_MS });
}

const made = (parts: TokenParts = {}, by = key) => signToken(by, { nowMs: NOW_MS, ...parts });

/** Whether a provider lets in, asked in the ordinary way. */
async function letsIn(provider: Provider, asked: ConnectRequest, data?: Uint8Array): Promise<boolean> {
  const verdict =
    asked.authenticationMethod === undefined
      ? await provider.connect!(asked, never)
      : await provider.exchange!(asked).step(data, never);
  return verdict.do === "accept";
}

/** The explanation, after it was compared with the verdict. */
async function explain(provider: Provider, asked: ConnectRequest, data?: Uint8Array): Promise<readonly Check[]> {
  const checks = await provider.explain!(asked, data);
  expect(checks.length).toBeGreaterThan(0);
  expect([checks, checks.every(({ ok }) => ok)]).toEqual([checks, await letsIn(provider, asked, data)]);
  return checks;
}

const explainToken = (provider: Provider, token: string, changes: Partial<ConnectRequest> = {}) =>
  explain(provider, request({ password: bytes(token), ...changes }));

/** What failed, by name. */
const failed = (checks: readonly Check[]) => checks.filter(({ ok }) => !ok).map(({ name }) => name);

function named(checks: readonly Check[], name: string): Check {
  const found = checks.find((check) => check.name === name);
  if (found === undefined) throw new Error(`no check ${name} in ${checks.map((check) => check.name).join(", ")}`);
  return found;
}

describe("a signed token", () => {
  test("that is good: every check says what it found, the rights included", async () => {
    const provider = await withJwt({
      require: [{ claim: "fleet", has: "north" }],
      rules: [
        { when: { claim: "roles", has: "sensor" }, allow: [{ on: "pub", filter: "tele/${claim.sub}", maxQos: 1 }] },
      ],
      tokenAgeSecondsMax: 60,
      clientId: { prefix: "sub" },
    });
    const claims = { fleet: "north", roles: ["sensor"], scope: "mqtt:read:cmd/# other", nbf: 1_000 };
    const checks = await explainToken(provider, await made({ claims, header: { typ: "JWT" } }));
    expect(checks.map(({ name }) => name).join(", ")).toBe(
      "token, size, form, iss, typ, alg, kid, signature, aud, exp, nbf, iat, fleet, identity, client id, scopes, rights",
    );
    expect(named(checks, "kid").found).toBe('"key-1"');
    expect(named(checks, "iss").found).toBe(`"${ISSUER}"`);
    expect(named(checks, "exp").found).toBe("2025-06-15T15:16:40Z, in 10 min");
    expect(named(checks, "identity").found).toBe("main:alice, from sub");
    expect(named(checks, "client id").found).toBe('ids that begin with "alice~"');
    expect(named(checks, "rights").found).toBe("allow pub tele/${claim.sub} maxQos=1; allow sub cmd/#");
  });

  test.each([
    ["expired", { claims: { exp: NOW - 300 } }, "exp", "a time to come", /^2025-06-15T15:01:40Z, 300 s ago: expired$/u],
    ["no expiry", { claims: { exp: undefined } }, "exp", "a time to come", /^nothing: not a time$/u],
    ["an expiry that is a text", { claims: { exp: "never" } }, "exp", "a time to come", /^"never": not a time$/u],
    ["not yet valid", { claims: { nbf: NOW + 3_000 } }, "nbf", "a time that has come", /Z, in 50 min: /u],
    ["another audience", { claims: { aud: ["account", "x"] } }, "aud", '"rqtt"', /^\["account","x"\]: /u],
    ["no audience", { claims: { aud: undefined } }, "aud", '"rqtt"', /^nothing: /u],
    ["another type", { header: { typ: "logout+jwt" } }, "typ", "jwt or at+jwt or nothing", /^"logout\+jwt": /u],
    ["an unknown key", { header: { kid: "gone" } }, "kid", "one of the issuer's keys", /^kid "gone", alg "ES256": /u],
    ["a bound one", { claims: { cnf: { jkt: "x" } } }, "cnf", "the certificate that the token is bound to", /^jkt: /u],
    ["no holder", { claims: { sub: "" } }, "identity", "who the holder is, in sub", /does not say who its holder is/u],
    ["an age that is none", { claims: { iat: "x" } }, "iat", "a time", /^"x": not a time$/u],
  ] as const)("%s: the check that fails says what was expected and found", async (_, parts, name, expected, found) => {
    const checks = await explainToken(await withJwt(), await made(parts));
    expect(failed(checks).filter((other) => other !== "signature")).toEqual([name]);
    expect(named(checks, name).expected).toBe(expected);
    expect(named(checks, name).found).toMatch(found);
  });

  test("goes on after what fails, so that everything that is wrong is said at once", async () => {
    const claims = { iss: "https://issuer.example/", aud: "another", exp: 1_000, fleet: "south" };
    const provider = await withJwt({ require: [{ claim: "fleet", has: "north" }], tokenAgeSecondsMax: 60 });
    const checks = await explainToken(provider, await made({ claims: { ...claims, iat: 900 } }));
    expect(failed(checks)).toEqual(["iss", "aud", "exp", "iat", "fleet"]);
    expect(named(checks, "iss").hint).toInclude("only by the slash at the end");
    expect(named(checks, "fleet").found).toBe('"south": a required claim differs');
    expect(named(checks, "signature").ok).toBe(true);
  });

  test("that does not verify: what it claims is marked, what it has no key for is not looked at", async () => {
    const other = await newKey("ES256", "key-1");
    const forged = await explainToken(await withJwt(), await made({}, other));
    expect(failed(forged)).toEqual(["signature"]);
    for (const name of ["iss", "aud", "exp", "identity", "rights"]) {
      expect(named(forged, name).found).toEndWith(" (unverified)");
    }
    const wrong = await explainToken(await withJwt(), await made({}, rsa));
    expect(failed(wrong)).toEqual(["alg", "signature"]);
    expect(named(wrong, "alg")).toMatchObject({ expected: "ES256", found: expect.stringMatching(/^"RS256": /u) });
    expect(named(wrong, "signature").found).toBe("not looked at, for the algorithm");
    const none = `${base64url(bytes('{"alg":"none"}'))}.${base64url(bytes('{"iss":"https://issuer.example"}'))}.`;
    expect(failed(await explainToken(await withJwt(), none))).toEqual(
      expect.arrayContaining(["alg", "signature", "aud", "exp", "identity"]),
    );
    const unsigned = (await made()).replace(/[^.]*$/u, "");
    expect(failed(await explainToken(await withJwt(), unsigned))).toEqual(["signature"]);
  });

  test.each([
    ["nothing", undefined, "token", /left to the next provider/u],
    ["a password", "opensesame", "token", /left to the next provider/u],
    ["an encrypted one", "eyJhbGciOiJkaXIifQ.a.b.c.d", "form", /encrypted/u],
    ["no JSON", "eyJhbGciOiJkaXIif.AAAA.AAAA", "form", /header is no object in JSON/u],
    ["one that is too long", `eyJ${"A".repeat(20_000)}.a.b`, "token", /longer than maxTokenBytes, 16384/u],
  ])("%s in its place", async (_, text, name, found) => {
    const asked = request(text === undefined ? {} : { password: bytes(text) });
    const checks = await explain(await withJwt(), asked);
    expect(failed(checks)).toEqual([name]);
    expect(named(checks, name).found).toMatch(found);
    if (text !== undefined) expect(JSON.stringify(checks)).not.toContain(text);
  });

  test("of an issuer that none of several is", async () => {
    const second = {
      issuer: "https://second.example",
      audience: "b",
      algorithms: ["ES256"],
      keys: { file: "issuer.pem" },
    };
    const main = { ...second, issuer: ISSUER };
    const token = await made({ claims: { iss: "https://third.example" } });
    const checks = await explainToken(await start(jwt, { issuers: { main, second } }), token);
    expect(checks.at(-1)).toMatchObject({
      name: "iss",
      expected: `"${ISSUER}" or "https://second.example"`,
      found: '"https://third.example" (unverified): no configured issuer',
    });
  });

  test("as Authentication Data: bare, in the frame of OAUTHBEARER, by a method of nobody, for somebody else", async () => {
    const token = await made();
    const by = (method: string, data: string, more = {}) =>
      withJwt({}, more).then((one) => one.explain!(request({ authenticationMethod: method }), bytes(data)));
    const bare = await by("OAUTH2-JWT", token);
    expect([failed(bare), named(bare, "token").found]).toEqual([[], "a signed token (JWT) by OAUTH2-JWT"]);
    const frame = (who: string) => `n,a=${who},\u0001auth=Bearer ${token}\u0001\u0001`;
    expect(failed(await by("OAUTHBEARER", frame("alice")))).toEqual([]);
    expect(failed(await by("OAUTHBEARER", frame("bob")))).toEqual(["same person"]);
    expect(failed(await by("OAUTHBEARER", token))).toEqual(["token"]);
    expect(failed(await by("OAUTH2-JWT", ""))).toEqual(["token"]);
    expect(failed(await by("K8S-SAT", token, { methods: ["OAUTH2-JWT"] }))).toEqual(["token"]);
  });

  test("whose scopes say nothing that can be meant: they are named, and the client may do nothing", async () => {
    const token = await made({ claims: { scope: "mqtt:read:a/#/b other" } });
    const checks = await explainToken(await withJwt(), token);
    expect(named(checks, "scopes").hint).toInclude('void: "mqtt:read:a/#/b"');
    expect(named(checks, "rights")).toMatchObject({ found: "none", hint: "the client gets in and may do nothing" });
  });

  test("what only the decision itself minds is said at the end", async () => {
    const header = JSON.stringify({ alg: "ES256", kid: "key-1", b64: false, crit: ["b64"] });
    const sign = (input: Uint8Array<ArrayBuffer>) =>
      crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.privateKey, input);
    const payload = JSON.stringify({ iss: ISSUER, aud: AUDIENCE, sub: "a", exp: NOW + 60 });
    const checks = await explainToken(await withJwt(), await tokenByHand(header, payload, sign));
    expect(failed(checks)).toEqual(["verdict"]);
  });
});

describe("issuers", () => {
  const keySet = () => Promise.resolve({ status: 200, headers: {}, text: JSON.stringify({ keys: [rsa.jwk] }) });

  test.each([
    ["keycloak", "https://login.example/realms/plant", {}, { aud: "account" }, "aud", "add an Audience mapper"],
    [
      "entra",
      "https://login.microsoftonline.com/t/v2.0",
      {},
      { iss: "https://sts.windows.net/t/" },
      "iss",
      "requestedAccessTokenVersion",
    ],
    ["auth0", "https://tenant.eu.auth0.com/", {}, { iss: "https://tenant.eu.auth0.com" }, "iss", "slash at the end"],
    ["okta", "https://org.okta.com/oauth2/default", {}, { aud: "x" }, "aud", "Authorization Servers"],
    [
      "google",
      undefined,
      { require: [{ claim: "hd", has: "example.com" }] },
      { hd: "example.com" },
      "email_verified",
      "--include-email",
    ],
    [
      "github-actions",
      undefined,
      {
        require: [
          { claim: "repository_id", has: "1" },
          { claim: "ref", has: "main" },
        ],
      },
      { repository_id: "1", ref: "main", exp: 1_000 },
      "exp",
      "fetch one right before connecting",
    ],
  ])("%s: its own advice", async (preset, url, changes, claims, name, hint) => {
    const main = {
      preset,
      audience: "rqtt",
      jwks: "https://keys.example/",
      ...(url ? { issuer: url } : {}),
      ...changes,
    };
    const provider = await start(oauth, { issuers: { main } }, { fetch: keySet });
    const own = { github: "https://token.actions.githubusercontent.com", google: "https://accounts.google.com" };
    const iss = url ?? (preset === "google" ? own.google : own.github);
    const token = await signToken(rsa, { claims: { iss, oid: "o", ...claims } });
    const checks = await explainToken(provider, token);
    expect(named(checks, name)).toMatchObject({ ok: false, hint: expect.stringContaining(hint) });
    expect(named(checks, "signature").ok).toBe(true);
  });

  test("auth0: an encrypted token has no issuer to look at, but its cause is known", async () => {
    const main = {
      preset: "auth0",
      issuer: "https://tenant.eu.auth0.com/",
      audience: "rqtt",
      jwks: "https://keys.example/",
    };
    const provider = await start(oauth, { issuers: { main } }, { fetch: keySet });
    const checks = await explainToken(provider, "eyJhbGciOiJkaXIifQ.a.b.c.d");
    expect(named(checks, "form").hint).toInclude("ask for the token with an audience");
  });

  test("an issuer that cannot be reached: the keys are missing, and the claims are shown all the same", async () => {
    const main = { issuer: ISSUER, audience: "other", algorithms: ["ES256"], jwks: "https://keys.example/" };
    const away = { fetch: () => Promise.reject(new Error("away")) };
    const checks = await explainToken(await start(oauth, { issuers: { main } }, away), await signToken(key));
    expect(failed(checks)).toEqual(["kid", "signature", "aud"]);
    expect(named(checks, "kid").found).toInclude("could not be loaded");
  });

  test("an opaque token: what the issuer answers, and what it says of a revoked one", async () => {
    const issuer = await startTestIssuer();
    try {
      const introspection = { clientId: RESOURCE_SERVER.id, clientSecret: { env: "RS_SECRET" } };
      const settings = (changes: object) => ({
        issuers: {
          main: { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"], introspection, ...changes },
        },
      });
      const idClaim = "client_id";
      const token = await issuer.token("urn:opaque", "mqtt:read:cmd/#");
      const good = await explainToken(await start(oauth, settings({ idClaim })), token);
      expect(named(good, "introspection").found).toBe("active");
      expect(named(good, "rights").found).toBe("allow sub cmd/#");
      const other = await explainToken(await start(oauth, settings({ idClaim, audience: "x" })), token);
      expect(named(other, "aud")).toMatchObject({
        ok: false,
        expected: '"x"',
        found: expect.stringMatching(/^"rqtt"/u),
      });
      const bare = await issuer.token(undefined);
      expect(failed(await explainToken(await start(oauth, settings({ idClaim })), bare))).toEqual(["aud"]);
      await issuer.revoke(token);
      const revoked = await explainToken(await start(oauth, settings({ idClaim })), token);
      expect(failed(revoked)).toEqual(["introspection"]);
      expect(JSON.stringify([good, other, revoked])).not.toContain(token);
    } finally {
      await issuer.close();
    }
  });
});

describe("users of a file", () => {
  async function file(name: string, line: string): Promise<string> {
    writeFileSync(join(folder, name), `door:${line}:sensors\nallow @sensors pub door/#\n`);
    chmodSync(join(folder, name), 0o600);
    return name;
  }
  const asked = (username: string | undefined, password: string | undefined) =>
    request({ username, password: password === undefined ? undefined : bytes(password) });

  test("password-file: user, back-off, hash, password and rights", async () => {
    const users = await file("users", await hashPassword("opensesame"));
    const provider = await start(passwordFile, { file: users, failuresPerUserMax: 3 });
    const good = await explain(provider, asked("door", "opensesame"));
    expect(good.map(({ name, ok, found }) => [name, ok, found])).toEqual([
      ["user", true, '"door", in sensors'],
      ["back-off", true, "none; failures in this process: 0 of the user, 0 of the address"],
      ["hash", true, "argon2id m=19456 t=2 p=1"],
      ["password", true, "it fits"],
      ["rights", true, "allow pub door/#"],
    ]);
    const wrong = await explain(provider, asked("door", "opensesam"));
    expect(named(wrong, "password")).toMatchObject({ ok: false, found: "another one" });
    expect(failed(await explain(provider, asked("window", "opensesame")))).toEqual(["user"]);
    expect(failed(await explain(provider, asked("door", undefined)))).toEqual(["password"]);
    expect(failed(await explain(provider, asked(undefined, "opensesame")))).toEqual(["username"]);
  });

  test("password-file: who has to wait is told so, and an explanation counts as no failure", async () => {
    const users = await file("waiting", await hashPassword("opensesame"));
    const provider = await start(passwordFile, { file: users, failuresPerUserMax: 2 });
    const wrong = asked("door", "guess");
    for (let times = 0; times < 5; times++)
      expect(failed(await provider.explain!(wrong, undefined))).toEqual(["password"]);
    for (let times = 0; times < 2; times++) await provider.connect!(wrong, never);
    const waiting = await explain(provider, asked("door", "opensesame"));
    expect(failed(waiting)).toEqual(["back-off"]);
    expect(named(waiting, "back-off").found).toMatch(/^1 s; .*: 2 of the user, 2 of the address$/u);
    expect(named(waiting, "password").ok).toBe(true);
  });

  test("password-file: users left to the next provider, and a hash that is cheap", async () => {
    const cheap = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const provider = await start(passwordFile, { file: await file("cheap", cheap), unknownUsers: "skip" });
    const unknown = await explain(provider, asked("window", "x"));
    expect(named(unknown, "user").found).toBe("another one: left to the next provider");
    expect(named(await explain(provider, asked("door", "x")), "hash").hint).toInclude("cheaper to guess");
  });

  test("scram-file: keys for the method, and whether the password fits them", async () => {
    const users = await file("scram", await scramEntry("opensesame"));
    const provider = await start(scramFile, { file: users });
    const by = (method: string | undefined, password: string) =>
      provider.explain!(request({ username: "door", authenticationMethod: method }), bytes(password));
    const good = await by("SCRAM-SHA-256", "opensesame");
    expect([failed(good), named(good, "keys").found]).toEqual([[], "SCRAM-SHA-256, 15000 iterations"]);
    expect(failed(await by("SCRAM-SHA-256", "guess"))).toEqual(["password"]);
    expect(failed(await by("SCRAM-SHA-256", "\u0007"))).toEqual(["password"]);
    expect(failed(await by("SCRAM-SHA-512", "opensesame"))).toEqual(["keys"]);
    expect(failed(await by(undefined, "opensesame"))).toEqual(["method"]);
  });

  test("F: no secret is in any of it, whatever place it was typed in", async () => {
    const canary = "canary-71f2c0";
    const password = await start(passwordFile, { file: await file("canaries", await hashPassword(canary)) });
    const scram = await start(scramFile, { file: await file("canaries-scram", await scramEntry(canary)) });
    const token = await made({ claims: { jti: canary, password: canary } });
    const tokens = await withJwt({}, { tokenIn: ["password", "username", "auth"] });
    const method = { authenticationMethod: "SCRAM-SHA-256" };
    const all: (readonly Check[])[] = [
      await password.explain!(asked("door", canary), undefined),
      await password.explain!(asked(canary, canary), undefined),
      await password.explain!(asked(token, token), undefined),
      await scram.explain!(request({ ...method, username: "door" }), bytes(canary)),
      await scram.explain!(request({ ...method, username: canary }), bytes(canary)),
      await tokens.explain!(asked(token, undefined), undefined),
      await tokens.explain!(asked(canary, token), undefined),
      await tokens.explain!(asked(canary, canary), undefined),
      await tokens.explain!(request({ authenticationMethod: "OAUTH2-JWT" }), bytes(canary)),
    ];
    const text = JSON.stringify(all);
    expect(text).not.toContain(canary);
    for (const part of token.split(".")) expect(text).not.toContain(part);
    expect(text).not.toMatch(/\$argon2id|AAAAAA/u);
  });
});
