/** Presets: what they fill in, what they refuse to start with, and what they say when a token is refused. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Provider } from "rqtt/plugin";
import oauth from "../../plugins/oauth.ts";
import { PRESETS, unknownIssuerHint } from "../../plugins/token/issuer-presets.ts";
import { badCredentials } from "../../plugins/token/token-refused.ts";
import { filesUnder, readText } from "../support/repository.ts";
import { createProvider, login, newKey, rulesIn, signToken, testServices } from "../support/token-kit.ts";

const running: { close?(): unknown; stop?(closeAll: boolean): unknown }[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await (one.close?.() ?? one.stop?.(true));
});

const key = await newKey("RS256", "k");
const services = testServices(".", { SECRET: "s" });
const asking = {
  clientId: "c",
  clientSecret: { env: "SECRET" },
  always: true,
  endpoint: "https://org.okta.com/introspect",
};

/** A provider whose only issuer has these settings; its keys come from a server of this test. */
async function start(settings: Record<string, unknown>): Promise<Provider> {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => Response.json({ keys: [key.jwk] }) });
  running.push({ stop: (all) => server.stop(all) });
  const main = { jwks: `http://127.0.0.1:${server.port}/`, ...settings };
  const provider = await createProvider(oauth, { issuers: { main } }, services);
  running.push(provider);
  return provider;
}

const complete: [string, Record<string, unknown>, Record<string, unknown>, string, string[]][] = [
  [
    "auth0",
    { issuer: "https://t.eu.auth0.com/", audience: "https://api" },
    {
      sub: "auth0|1",
      aud: ["https://api", "https://t.eu.auth0.com/userinfo"],
      permissions: ["mqtt:write:a"],
      scope: "mqtt:read:b",
    },
    "main:auth0|1",
    ["sub b", "pub a"],
  ],
  [
    "keycloak",
    { issuer: "https://sso.example/realms/plant", audience: "rqtt" },
    { sub: "u", aud: ["rqtt", "account"], scope: "email mqtt:read:b", preferred_username: "al" },
    "main:u",
    ["sub b"],
  ],
  [
    "entra",
    { issuer: "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0", audience: "guid" },
    { aud: "guid", oid: "object", sub: "pairwise", roles: ["mqtt:write:a"] },
    "main:object",
    ["pub a"],
  ],
  [
    "okta",
    { issuer: "https://org.okta.com/oauth2/default", audience: "api://default" },
    { aud: "api://default", sub: "0oa", scp: ["mqtt:read:b"] },
    "main:0oa",
    ["sub b"],
  ],
  [
    "google",
    { audience: "client.apps.googleusercontent.com", require: [{ claim: "hd", has: "example.com" }] },
    {
      aud: "client.apps.googleusercontent.com",
      sub: "1",
      email: "a@example.com",
      email_verified: true,
      hd: "example.com",
    },
    "main:1",
    [],
  ],
  [
    "github-actions",
    {
      audience: "rqtt",
      require: [
        { claim: "repository_id", has: "7" },
        { claim: "ref", has: "refs/heads/main" },
      ],
    },
    { aud: "rqtt", sub: "repo:o/r:ref:refs/heads/main", repository_id: "7", repository: "o/r", ref: "refs/heads/main" },
    "main:7",
    [],
  ],
];

describe("a preset", () => {
  test.each(complete)("%s fills in the rest", async (preset, settings, claims, id, rules) => {
    const provider = await start({ preset, ...settings });
    const iss = settings["issuer"] ?? PRESETS[preset as "google"].issuer;
    const verdict = await login(provider, await signToken(key, { claims: { ...claims, iss } }));
    expect(verdict).toMatchObject({ do: "accept", principal: { id } });
    expect(rulesIn(verdict)).toEqual(rules);
  });

  test.each(complete)("%s says what to do about another audience", async (preset, settings, claims) => {
    const provider = await start({ preset, ...settings });
    const iss = settings["issuer"] ?? PRESETS[preset as "google"].issuer;
    const verdict = await login(provider, await signToken(key, { claims: { ...claims, iss, aud: "account" } }));
    expect(verdict).toMatchObject({
      because: "bad-credentials",
      log: expect.stringMatching(/aud: .*found "account"; (?:ask|add|compare)/u),
    });
  });

  const wrong: [string, string, Record<string, unknown>][] = [
    ["auth0", "with the slash at the end", { issuer: "https://t.eu.auth0.com", audience: "a" }],
    ["auth0", "the Identifier of your API", { issuer: "https://t.eu.auth0.com/" }],
    ["auth0", "expected https://TENANT", { audience: "a" }],
    ["keycloak", "without a slash at the end", { issuer: "https://sso.example/realms/plant/", audience: "a" }],
    ["keycloak", "expected https://HOST/realms/REALM", { issuer: "https://sso.example", audience: "a" }],
    ["entra", "the issuer of one tenant", { issuer: "https://login.microsoftonline.com/common/v2.0", audience: "a" }],
    [
      "entra",
      "expected https://login.microsoftonline.com",
      { issuer: "https://login.microsoftonline.com/t", audience: "a" },
    ],
    ["okta", "organization's own server", { issuer: "https://org.okta.com", audience: "a" }],
    ["google", "anybody with a Google account", { audience: "a" }],
    ["google", "anybody with a Google account", { audience: "a", rules: [{ allow: [{ on: "pub", filter: "a" }] }] }],
    ["google", "expected https://accounts.google.com", { issuer: "https://google.com", audience: "a" }],
    ["github-actions", "every workflow gets this audience", { audience: "https://github.com/owner" }],
    ["github-actions", "any repository of the world", { audience: "rqtt" }],
    [
      "github-actions",
      "any branch and pull request",
      { audience: "a", require: [{ claim: "repository", has: "o/r" }] },
    ],
  ];
  test.each(wrong)("%s refuses the start: %s", async (preset, why, settings) => {
    const refused = start({ preset, ...settings });
    await expect(refused).rejects.toThrow("issuers.main");
    await expect(refused).rejects.toThrow(why);
  });

  test("google needs a verified address; okta's own server is asked about every token", async () => {
    const require = [{ claim: "email", has: ["a@example.com"] }];
    const provider = await start({ preset: "google", audience: "a", require });
    const claims = { iss: "https://accounts.google.com", aud: "a", email: "a@example.com", email_verified: false };
    expect(await login(provider, await signToken(key, { claims }))).toMatchObject({
      because: "not-authorized",
      log: expect.stringContaining("--include-email"),
    });
    await start({ preset: "okta", issuer: "https://org.okta.com", audience: "a", introspection: asking });
  });
});

describe("the pages", () => {
  const pages = [...filesUnder("plugins/issuers/*.md"), "plugins/oauth.md"];

  test.each(pages)("%s shows settings that start", async (page) => {
    const toml = /```toml\n([\s\S]*?)```/u.exec(readText(page))?.[1] ?? "";
    const { auth } = Bun.TOML.parse(toml) as { auth: { chain: { use: string }[] } };
    const [{ use, ...settings }] = auth.chain as [{ use: string }];
    expect(use).toBe("oauth");
    const offline = { ...services, fetch: () => Promise.reject(new Error("offline")) };
    running.push(await createProvider(oauth, settings, offline));
  });

  test("are there for every preset", () => {
    const named = Object.keys(PRESETS).map((preset) => `plugins/issuers/${preset}.md`);
    expect(filesUnder("plugins/issuers/*.md")).toEqual(named.sort());
  });
});

test("only one issuer can be asked about opaque tokens", async () => {
  const one = { audience: "a", algorithms: ["RS256"], introspection: asking };
  const issuers = { a: { ...one, issuer: "https://a.example" }, b: { ...one, issuer: "https://b.example" } };
  await expect(createProvider(oauth, { issuers }, services)).rejects.toThrow("introspection at one issuer at most");
});

test("an unknown issuer that looks like a known one comes with advice", () => {
  const advice: [string, string, string][] = [
    ["https://t.auth0.com", "https://t.auth0.com/", "slash at the end"],
    ["https://sts.windows.net/t/", "https://login.microsoftonline.com/t/v2.0", "requestedAccessTokenVersion"],
    ["http://keycloak:8080/realms/r", "https://sso.example/realms/r", "KC_HOSTNAME"],
    ["https://org.okta.com", "https://org.okta.com/oauth2/default", "own server"],
  ];
  for (const [found, known, text] of advice) expect(unknownIssuerHint(found, [known])).toContain(text);
  expect(unknownIssuerHint("https://a.example", ["https://b.example"])).toBeUndefined();
});

test("hints are about the check that failed", () => {
  const hint = (preset: keyof typeof PRESETS, check: string) => PRESETS[preset].hint(badCredentials(check, ""));
  expect(hint("entra", "signature")).toContain("Graph");
  expect(hint("github-actions", "exp")).toContain("minutes");
  expect(hint("keycloak", "sub")).toContain("lightweight");
  expect(hint("auth0", "nbf")).toBeUndefined();
});
