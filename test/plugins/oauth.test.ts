/**
 * The provider `oauth` with a real issuer on loopback: discovery, rotation, outages, opaque tokens by introspection. Pitfalls B.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Provider, Verdict } from "rqtt/plugin";
import oauth, { createOauth } from "../../plugins/oauth.ts";
import { RESOURCE_SERVER, startTestIssuer, type TestIssuer } from "../../src/plugin-testing/test-issuer.ts";
import {
  createProvider,
  exchange,
  HandSchedule,
  login,
  newKey,
  rulesIn,
  signToken,
  type TestServices,
  testServices,
} from "../support/token-kit.ts";

const JWKS = "/jwks";
const INTROSPECTION = "/token/introspection";
const DISCOVERY = "/.well-known/openid-configuration";
const introspection = { clientId: RESOURCE_SERVER.id, clientSecret: { env: "RS_SECRET" } };

let issuer: TestIssuer;
let services: TestServices;
const running: Provider[] = [];

beforeAll(async () => {
  issuer = await startTestIssuer();
});
afterAll(() => issuer.close());
afterEach(async () => {
  issuer.isDown = false;
  for (const provider of running.splice(0)) await provider.close?.();
});

/** A provider for the test issuer. */
async function start(changes: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Promise<Provider> {
  services = testServices(".", { RS_SECRET: RESOURCE_SERVER.secret });
  const main = { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"], ...changes };
  const provider = await createProvider(oauth, { issuers: { main }, ...more }, services);
  running.push(provider);
  return provider;
}

/** The same, with time that the test moves; the issuer is `main` alone. */
async function startByHand(changes: Record<string, unknown> = {}) {
  const schedule = new HandSchedule();
  schedule.advance(Date.now() - schedule.nowMs());
  services = { ...testServices(".", { RS_SECRET: RESOURCE_SERVER.secret }), nowMs: schedule.nowMs };
  const main = { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"], ...changes };
  const checked = await oauth.config["~standard"].validate({ issuers: { main } });
  if (checked.issues !== undefined) throw new Error(checked.issues[0]?.message);
  const provider = await createOauth(checked.value, services, schedule);
  running.push(provider);
  return { provider, schedule };
}

async function word(verdict: Promise<Verdict>): Promise<string> {
  const answer = await verdict;
  return answer.do === "refuse" ? answer.because : answer.do;
}

function askedFor(path: string): number {
  return issuer.asked.get(path) ?? 0;
}

describe("signed tokens", () => {
  test("of a discovered issuer let their holder in, with the rights of scopes and claims", async () => {
    const rules = [{ when: { claim: "roles", has: "sensor" }, allow: [{ on: "pub", filter: "own/${claim.device}" }] }];
    const provider = await start({ rules, requiredType: "at+jwt" });
    const token = await issuer.token("urn:jwt", "mqtt:read:cmd/# mqtt:write:tele/+ other:scope");
    const verdict = await login(provider, token);
    expect(verdict).toMatchObject({ do: "accept", principal: { id: "main:device-1", attributes: { device: "d1" } } });
    expect(rulesIn(verdict)).toEqual(["pub own/${claim.device}", "sub cmd/#", "pub tele/+"]);
    expect(await word(exchange(provider, "OAUTH2-JWT", token))).toBe("accept");
    expect(services.lines).toEqual(['info issuer-keys-loaded {"issuer":"main","keys":1,"plugin":"test"}']);
  });

  test("A: of the issuer for another audience, and forged in its name", async () => {
    const provider = await start({ audience: "another" });
    const verdict = await login(provider, await issuer.token("urn:jwt"));
    expect(verdict).toMatchObject({ because: "bad-credentials", log: expect.stringContaining('found "rqtt"') });
    const forger = await newKey("RS256", "key-1");
    const forged = await signToken(forger, { claims: { iss: issuer.issuer } });
    expect(await word(login(await start(), forged))).toBe("bad-credentials");
  });

  test("A: an opaque token, or a password, is not ours without introspection", async () => {
    const provider = await start();
    expect(await word(login(provider, await issuer.token("urn:opaque")))).toBe("skip");
    expect(await word(login(provider, "password"))).toBe("skip");
    const verdict = await exchange(provider, "OAUTH2-JWT", await issuer.token("urn:opaque"));
    expect(verdict).toMatchObject({
      because: "bad-credentials",
      log: expect.stringContaining("configure introspection"),
    });
  });

  test("B: rotation with overlap and without", async () => {
    const { provider, schedule } = await startByHand();
    const first = await issuer.token("urn:jwt");
    expect(await word(login(provider, first))).toBe("accept");
    await issuer.rotate(true);
    const second = await issuer.token("urn:jwt");
    expect(await word(login(provider, second))).toBe("accept");
    expect(await word(login(provider, first))).toBe("accept");
    await issuer.rotate(false);
    const third = await issuer.token("urn:jwt");
    expect(await word(login(provider, third))).toBe("bad-credentials");
    schedule.advance(30_000);
    expect(await word(login(provider, third))).toBe("accept");
    expect(await word(login(provider, second))).toBe("bad-credentials");
  });

  test("B: issuer down at start is unavailable, never bad credentials, and heals by itself", async () => {
    const token = await issuer.token("urn:jwt");
    issuer.isDown = true;
    const { provider, schedule } = await startByHand();
    expect(await word(login(provider, token))).toBe("unavailable");
    expect(await word(login(provider, token))).toBe("unavailable");
    expect(services.lines).toEqual([expect.stringContaining("publishes no metadata (answers 503 and 503)")]);
    issuer.isDown = false;
    schedule.advance(1_000);
    await services.logged("issuer-keys-loaded");
    expect(await word(login(provider, token))).toBe("accept");
  });

  test("B: issuer down later, a known key verifies and an unknown one is refused without asking", async () => {
    const { provider, schedule } = await startByHand();
    const token = await issuer.token("urn:jwt");
    expect(await word(login(provider, token))).toBe("accept");
    issuer.isDown = true;
    const stranger = await newKey("RS256", "unknown");
    const unknown = await signToken(stranger, { claims: { iss: issuer.issuer } });
    expect(await word(login(provider, unknown))).toBe("unavailable");
    const before = askedFor(JWKS);
    for (let at = 0; at < 20; at++) expect(await word(login(provider, unknown))).toBe("unavailable");
    expect(await word(login(provider, token))).toBe("accept");
    expect(askedFor(JWKS)).toBe(before);
    expect(schedule.waiting).toBe(1);
  });

  test("B: one discovery and one key set, however many clients come at once", async () => {
    const before = [askedFor(DISCOVERY), askedFor(JWKS)];
    const provider = await start();
    const token = await issuer.token("urn:jwt");
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => word(login(provider, token))));
    expect(new Set(verdicts)).toEqual(new Set(["accept"]));
    expect([askedFor(DISCOVERY), askedFor(JWKS)]).toEqual(before.map((count) => count + 1));
  });

  test("nothing waits or asks after close", async () => {
    const { provider, schedule } = await startByHand();
    await login(provider, await issuer.token("urn:jwt"));
    await provider.close?.();
    expect(schedule.waiting).toBe(0);
  });
});

describe("opaque tokens", () => {
  test("are asked about, and their scopes are rights", async () => {
    const provider = await start({ introspection, idClaim: "client_id" });
    const token = await issuer.token("urn:opaque", "mqtt:read:cmd/#");
    const verdict = await login(provider, token);
    expect(verdict).toMatchObject({ do: "accept", principal: { id: "main:device-1" } });
    expect(rulesIn(verdict)).toEqual(["sub cmd/#"]);
    expect(await word(exchange(provider, "CUSTOM-JWT", token))).toBe("accept");
    // Signed ones are verified as ever.
    expect(await word(login(provider, await issuer.token("urn:jwt")))).toBe("accept");
  });

  test("A: without an audience, and bound to nobody, are for somebody else", async () => {
    const bare = await issuer.token(undefined);
    const strict = await start({ introspection, idClaim: "client_id" });
    expect(await login(strict, bare)).toMatchObject({
      because: "bad-credentials",
      log: expect.stringContaining("aud: "),
    });
    const lenient = await start({ introspection: { ...introspection, audienceOptional: true }, idClaim: "client_id" });
    expect(await word(login(lenient, bare))).toBe("accept");
  });

  test("B: introspection says active false, for a token that was never issued or was revoked", async () => {
    const { provider, schedule } = await startByHand({ introspection, idClaim: "client_id" });
    const stranger = "x".repeat(43);
    expect(await word(login(provider, stranger))).toBe("bad-credentials");
    const token = await issuer.token("urn:opaque");
    expect(await word(login(provider, token))).toBe("accept");
    await issuer.revoke(token);
    // A positive answer outlives the token's revocation for as long as it is remembered, and no longer.
    schedule.advance(55_000);
    const asked = askedFor(INTROSPECTION);
    expect(await word(login(provider, token))).toBe("accept");
    expect(askedFor(INTROSPECTION)).toBe(asked);
    schedule.advance(5_000);
    expect(await word(login(provider, token))).toBe("bad-credentials");
  });

  test("B: introspection answers are remembered, shared, and bounded by exp", async () => {
    const { provider, schedule } = await startByHand({ introspection, idClaim: "client_id" });
    const token = await issuer.token("urn:opaque");
    const before = askedFor(INTROSPECTION);
    const verdicts = await Promise.all(Array.from({ length: 30 }, () => word(login(provider, token))));
    expect(new Set(verdicts)).toEqual(new Set(["accept"]));
    expect(askedFor(INTROSPECTION)).toBe(before + 1);
    for (let at = 0; at < 5; at++) await login(provider, "y".repeat(43));
    expect(askedFor(INTROSPECTION)).toBe(before + 2);
    schedule.advance(61_000);
    expect(await word(login(provider, token))).toBe("bad-credentials");
  });

  test("B: introspection outage is unavailable and is not remembered", async () => {
    const { provider, schedule } = await startByHand({ introspection, idClaim: "client_id" });
    await login(provider, await issuer.token("urn:jwt"));
    const token = await issuer.token("urn:opaque");
    issuer.isDown = true;
    expect(await word(login(provider, token))).toBe("unavailable");
    const asked = [...issuer.asked.values()].reduce((sum, count) => sum + count);
    for (let at = 0; at < 10; at++) expect(await word(login(provider, token))).toBe("unavailable");
    expect([...issuer.asked.values()].reduce((sum, count) => sum + count)).toBe(asked);
    issuer.isDown = false;
    schedule.advance(500);
    expect(await word(login(provider, token))).toBe("accept");
  });

  test("B: a wrong client secret is unavailable, and the log says what to look at", async () => {
    const wrong = { ...introspection, clientSecret: { env: "WRONG" } };
    services = testServices(".", { WRONG: "canary-client-secret" });
    const main = { issuer: issuer.issuer, audience: "rqtt", algorithms: ["RS256"], introspection: wrong };
    const provider = await createProvider(oauth, { issuers: { main } }, services);
    running.push(provider);
    expect(await word(login(provider, await issuer.token("urn:opaque")))).toBe("unavailable");
    expect(services.lines.join()).toContain("401: the issuer does not know the client id or secret");
    expect(services.lines.join()).not.toContain("canary");
  });

  test("B: a token that the issuer does not want to be asked about keeps nobody else out", async () => {
    const always = { ...introspection, always: true };
    const provider = await start({ introspection: always, idClaim: "client_id" });
    expect(await word(login(provider, await issuer.token("urn:jwt")))).toBe("bad-credentials");
    expect(await word(login(provider, await issuer.token("urn:opaque")))).toBe("accept");
  });

  test("short passwords, and long ones with other characters, are nobody's token", async () => {
    const provider = await start({ introspection: { ...introspection, prefix: "opq_", lengthMin: 12 } });
    const before = askedFor(INTROSPECTION);
    for (const password of ["secret", "opq_short", `x${"y".repeat(40)}`, "opq_a long pass phrase", "opq_ä".repeat(9)]) {
      expect(await word(login(provider, password))).toBe("skip");
    }
    expect(askedFor(INTROSPECTION)).toBe(before);
    expect(await word(login(provider, "opq_ABCDEFGH"))).toBe("bad-credentials");
  });
});

test("F: no token and no secret is in the log", async () => {
  const provider = await start({ introspection, idClaim: "client_id" });
  const tokens = [await issuer.token("urn:jwt"), await issuer.token("urn:opaque"), "z".repeat(50)];
  const verdicts: Verdict[] = [];
  for (const isDown of [false, true]) {
    issuer.isDown = isDown;
    for (const token of tokens) verdicts.push(await login(provider, token), await login(provider, `${token}x`));
  }
  const refusals = verdicts.filter((verdict) => verdict.do === "refuse");
  expect(refusals.length).toBeGreaterThan(3);
  const text = JSON.stringify([services.lines, refusals]);
  for (const token of tokens) expect(text).not.toContain(token.slice(-40));
  expect(text).not.toContain(RESOURCE_SERVER.secret);
});
