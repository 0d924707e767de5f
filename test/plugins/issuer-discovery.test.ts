/** Where keys come from: metadata of an issuer that may lie or be found elsewhere, and files that change. Pitfalls B and F. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Provider } from "rqtt/plugin";
import jwt from "../../plugins/jwt.ts";
import oauth from "../../plugins/oauth.ts";
import {
  AUDIENCE,
  createProvider,
  ISSUER,
  login,
  newKey,
  pemOf,
  type SigningKey,
  signToken,
  type TestServices,
  testServices,
} from "../support/token-kit.ts";

let folder: string;
let services: TestServices;
let key: SigningKey;
let second: SigningKey;
const running: { close?(): unknown; stop?(closeAll: boolean): unknown }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rqtt-discovery-"));
  [key, second] = await Promise.all([newKey("ES256", "k"), newKey("ES256", "k2")]);
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(async () => {
  for (const one of running.splice(0)) await (one.close?.() ?? one.stop?.(true));
});

type Answer = (path: string, base: string) => Response | undefined;

/** A server that answers paths as the test says, and its base URL. */
function serve(answer: Answer): string {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: ({ url }, self) =>
      answer(new URL(url).pathname, `http://127.0.0.1:${self.port}`) ?? new Response(null, { status: 404 }),
  });
  running.push({ stop: (all) => server.stop(all) });
  return `http://127.0.0.1:${server.port}`;
}

async function start(issuer: string, changes: Record<string, unknown> = {}): Promise<Provider> {
  services = testServices(folder);
  const main = { issuer, audience: AUDIENCE, algorithms: ["ES256"], ...changes };
  const provider = await createProvider(oauth, { issuers: { main } }, services);
  running.push(provider);
  return provider;
}

async function outcome(provider: Provider, issuer: string, by = key): Promise<string> {
  const verdict = await login(provider, await signToken(by, { claims: { iss: issuer } }));
  return verdict.do === "refuse" ? verdict.because : verdict.do;
}

const keySet = () => Response.json({ keys: [key.jwk] });

describe("discovery", () => {
  test("finds OpenID Connect metadata below the issuer, or RFC 8414 metadata before its path", async () => {
    for (const wellKnown of [
      "/realms/r/.well-known/openid-configuration",
      "/.well-known/oauth-authorization-server/realms/r",
    ]) {
      const base = serve((path, at) => {
        if (path === wellKnown) return Response.json({ issuer: `${at}/realms/r`, jwks_uri: `${at}/keys` });
        return path === "/keys" ? keySet() : undefined;
      });
      const issuer = `${base}/realms/r`;
      expect(await outcome(await start(issuer), issuer)).toBe("accept");
    }
  });

  test("B: discovery issuer mismatch, by one slash, by host, or missing", async () => {
    const lies: unknown[] = ["https://evil.example", undefined, 7, ""];
    for (const named of ["/", ...lies]) {
      const base = serve((path, at) => {
        if (path === "/keys") return keySet();
        return Response.json({ issuer: named === "/" ? `${at}/` : named, jwks_uri: `${at}/keys` });
      });
      const provider = await start(base);
      expect(await outcome(provider, base)).toBe("unavailable");
      if (named === "/") expect(await services.logged("issuer-unreachable")).toContain(`write issuer = \\"${base}/\\"`);
    }
  });

  test("B: metadata that is none, or that leads to plain HTTP elsewhere", async () => {
    const answers: Answer[] = [
      () => new Response("<html>", { headers: { "content-type": "text/html" } }),
      () => Response.json([]),
      (_path, at) => Response.json({ issuer: at }),
      (_path, at) => Response.json({ issuer: at, jwks_uri: "http://issuer.example/keys" }),
      (_path, at) => Response.json({ issuer: at, jwks_uri: "file:///etc/passwd" }),
      () => new Response(null, { status: 302, headers: { location: "/x" } }),
      () => new Response("x".repeat(300_000), { headers: { "content-type": "application/json" } }),
    ];
    for (const answer of answers) {
      const base = serve(answer);
      expect(await outcome(await start(base), base)).toBe("unavailable");
    }
    await expect(start("http://issuer.example")).rejects.toThrow("expected an https URL");
  });

  test("is not needed where the settings name the key set", async () => {
    const base = serve((path) => (path === "/elsewhere/keys" ? keySet() : undefined));
    expect(await outcome(await start(base, { jwks: `${base}/elsewhere/keys` }), base)).toBe("accept");
    const static_ = {
      issuer: ISSUER,
      audience: AUDIENCE,
      algorithms: ["ES256"],
      keys: { jwks: `${base}/elsewhere/keys` },
    };
    const provider = await createProvider(jwt, { issuers: { main: static_ } }, services);
    running.push(provider);
    expect(await outcome(provider, ISSUER)).toBe("accept");
  });
});

describe("keys of jwt", () => {
  const base = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256"] };
  const create = async (keys: unknown, changes: Record<string, unknown> = {}) => {
    services = testServices(folder, { SHORT: "short" });
    const provider = await createProvider(jwt, { issuers: { main: { ...base, keys, ...changes } } }, services);
    running.push(provider, services);
    return provider;
  };

  test("F: a file that changes is read again; one that cannot be read keeps the keys in force", async () => {
    const path = join(folder, "changing.pem");
    await Bun.write(path, await pemOf(key));
    const provider = await create({ file: "changing.pem" });
    expect(await outcome(provider, ISSUER)).toBe("accept");
    await Bun.write(`${path}.new`, "-----BEGIN PUBLIC KEY-----\ncanary\n-----END PUBLIC KEY-----\n");
    await rename(`${path}.new`, path);
    expect(await services.logged("issuer-keys-kept")).not.toContain("canary");
    expect(await outcome(provider, ISSUER)).toBe("accept");
    await Bun.write(`${path}.new`, await pemOf(second));
    await rename(`${path}.new`, path);
    await services.logged("issuer-keys-loaded");
    expect(await outcome(provider, ISSUER)).toBe("bad-credentials");
    expect(await outcome(provider, ISSUER, second)).toBe("accept");
  });

  test("F: keys that cannot be used refuse the start, with the path and without the key", async () => {
    const files: [string, string, string][] = [
      ["private.json", JSON.stringify({ keys: [key.privateJwk] }), "found a private or secret one"],
      ["none.json", '{"keys":[]}', "found none"],
      ["broken.json", '{"keys":canary', "found no JSON"],
      ["text.txt", "canary", "found neither PEM nor JSON"],
      ["private.pem", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", "found a private key"],
      ["other.pem", await pemOf(await newKey("EdDSA", "e")), "expected a key for ES256, found one of another kind"],
    ];
    for (const [file, text, why] of files) {
      await Bun.write(join(folder, file), text);
      const refused = create({ file });
      await expect(refused).rejects.toThrow(`issuers.main.keys: `);
      await expect(refused).rejects.toThrow(why);
      await expect(refused).rejects.not.toThrow("canary");
    }
    await expect(create({ file: "missing.pem" })).rejects.toThrow("issuers.main.keys: ");
    await Bun.write(join(folder, "unreadable.pem"), await pemOf(key));
    await chmod(join(folder, "unreadable.pem"), 0);
    if (process.getuid?.() !== 0) await expect(create({ file: "unreadable.pem" })).rejects.toThrow("issuers.main.keys");
  });

  test("secrets that are short or not there, and keys of no or two forms, refuse the start", async () => {
    const hmac = { algorithms: ["HS256"] };
    await expect(create({ secret: { env: "SHORT" } }, hmac)).rejects.toThrow("at least 32 bytes, found 5");
    await expect(create({ secret: { env: "NOWHERE" } }, hmac)).rejects.toThrow("NOWHERE is not set");
    await expect(create({ secret: "canary" }, hmac)).rejects.toThrow("keys.secret: expected { env");
    await expect(create({})).rejects.toThrow("issuers.main.keys: expected one of jwks, file and secret");
    await expect(create({ file: "a", jwks: "b" })).rejects.toThrow("expected one of jwks, file and secret");
    await expect(create({ jwks: "http://issuer.example/keys" })).rejects.toThrow("expected an https URL");
  });

  test("issuer, audience and algorithms have no default, and unknown settings are mistakes", async () => {
    await Bun.write(join(folder, "key.pem"), await pemOf(key));
    const keys = { file: "key.pem" };
    for (const name of ["issuer", "audience", "algorithms"]) {
      await expect(create(keys, { [name]: undefined })).rejects.toThrow(`issuers.main.${name}: expected`);
    }
    await expect(create(keys, { audience: [] })).rejects.toThrow("issuers.main.audience");
    await expect(create(keys, { algorithms: [] })).rejects.toThrow("issuers.main.algorithms");
    await expect(create(keys, { algorithms: ["none"] })).rejects.toThrow("issuers.main.algorithms.0");
    await expect(create(keys, { audiance: "rqtt" })).rejects.toThrow("issuers.main.audiance: unknown setting");
    await expect(createProvider(jwt, { issuers: {} }, services)).rejects.toThrow("issuers: expected at least one");
  });
});
