/** An issuer's key set through rotations, storms and outages: what is fetched, when, and what verifies meanwhile. Pitfalls B. */
import { beforeAll, describe, expect, test } from "bun:test";
import { checkUrl, RemoteKeys } from "../../plugins/token/remote-keys.ts";
import { TokenRefused } from "../../plugins/token/token-refused.ts";
import { boundedFetch } from "../../src/bun/plugin-services.ts";
import type { FetchAnswer, FetchInit } from "../../src/core/gate/provider.ts";
import { HandSchedule, never, newKey, type SigningKey, settled } from "../support/token-kit.ts";

const URL_OF_KEYS = "https://issuer.example/keys";
let first: SigningKey;
let second: SigningKey;

beforeAll(async () => {
  [first, second] = await Promise.all([newKey("EdDSA", "first"), newKey("EdDSA", "second")]);
});

/** An issuer whose answers the test gives, and keys fetched from it. */
function world(initial: () => FetchAnswer | Promise<FetchAnswer> = keySet(first)) {
  const schedule = new HandSchedule();
  const lines: string[] = [];
  const asked: FetchInit[] = [];
  const issuer = { answer: initial };
  const keys = new RemoteKeys({
    name: "main",
    locate: () => Promise.resolve(URL_OF_KEYS),
    host: {
      fetch: async (_url, init = {}) => {
        asked.push(init);
        return await issuer.answer();
      },
      log: (level, event, fields) => void lines.push(`${level} ${event} ${JSON.stringify(fields)}`),
    },
    schedule,
  });
  const find = (kid: string, alg = "EdDSA"): Promise<string> =>
    keys.find({ alg, kid }, never).then(
      () => "found",
      (error) => (error instanceof TokenRefused ? error.because : error.code),
    );
  /** Time passes, and what it started comes to its end. */
  const advance = async (ms: number): Promise<void> => {
    schedule.advance(ms);
    await settled();
  };
  return { schedule, lines, asked, issuer, keys, find, advance };
}

function keySet(...held: readonly SigningKey[]) {
  return (): FetchAnswer => ({ status: 200, headers: {}, text: JSON.stringify({ keys: held.map(({ jwk }) => jwk) }) });
}

function down(): never {
  throw new Error("connection refused");
}

const DAY_MS = 86_400_000;

describe("loading", () => {
  test("begins at once; tokens that come meanwhile wait for it, and for no second one", async () => {
    const gate = Promise.withResolvers<FetchAnswer>();
    const { find, asked } = world(() => gate.promise);
    const waiting = Array.from({ length: 50 }, () => find("first"));
    gate.resolve(keySet(first)());
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["found"]));
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({ bytesMax: 262_144 });
    expect(asked[0]!.timeoutMs).toBeLessThan(5_000);
  });

  test("a client that leaves waits no longer", async () => {
    const { keys } = world(() => new Promise(() => {}));
    const leaving = new AbortController();
    const found = keys.find({ alg: "EdDSA", kid: "first" }, leaving.signal);
    leaving.abort();
    await expect(found).rejects.toThrow("aborted");
    keys.close();
  });

  test("B: issuer down at start is unavailable, and is tried again with growing pauses until it works", async () => {
    const { find, asked, issuer, advance, lines } = world(down);
    expect(await find("first")).toBe("unavailable");
    expect(await find("first")).toBe("unavailable");
    expect(asked).toHaveLength(1);
    const pauses: number[] = [];
    for (let attempt = 2; attempt <= 9; attempt++) {
      let waited = 0;
      while (asked.length < attempt) {
        await advance(1_000);
        waited++;
      }
      pauses.push(waited);
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    issuer.answer = keySet(first);
    await advance(60_000);
    expect(await find("first")).toBe("found");
    expect(lines).toEqual([
      'warn issuer-unreachable {"issuer":"main","error":"connection refused"}',
      'info issuer-keys-loaded {"issuer":"main","keys":1}',
    ]);
  });

  test("close ends what runs and what waits, and nothing begins afterwards", async () => {
    const idle = world();
    await idle.find("first");
    expect(idle.schedule.waiting).toBe(1);
    idle.keys.close();
    expect(idle.schedule.waiting).toBe(0);
    const gate = Promise.withResolvers<FetchAnswer>();
    const busy = world(() => gate.promise);
    await settled();
    busy.keys.close();
    expect((busy.asked[0]!.signal as AbortSignal).aborted).toBe(true);
    gate.reject(new Error("aborted"));
    await busy.advance(DAY_MS);
    expect([busy.asked.length, busy.schedule.waiting, busy.lines]).toEqual([1, 0, []]);
  });
});

describe("rotation", () => {
  test("B: rotation with overlap, the new key is fetched when the first token names it", async () => {
    const { find, asked, issuer } = world();
    await find("first");
    issuer.answer = keySet(first, second);
    expect(await find("second")).toBe("found");
    expect(await find("first")).toBe("found");
    expect(asked).toHaveLength(2);
  });

  test("B: rotation without overlap, the old key is gone with the next fetch", async () => {
    const { find, issuer } = world();
    await find("first");
    issuer.answer = keySet(second);
    expect(await find("first")).toBe("found");
    expect(await find("second")).toBe("found");
    expect(await find("first")).toBe("ERR_JWKS_NO_MATCHING_KEY");
  });

  test("B: a key that was withdrawn is forgotten within ten minutes, the last one too", async () => {
    const { find, issuer, advance } = world();
    await find("first");
    issuer.answer = keySet();
    await advance(600_000);
    expect(await find("first")).toBe("ERR_JWKS_NO_MATCHING_KEY");
  });

  test("B: an unknown-kid storm fetches once per cooldown", async () => {
    const { find, asked, issuer, advance } = world();
    await find("first");
    for (let at = 0; at < 100; at++) expect(await find(`unknown-${at}`)).toBe("ERR_JWKS_NO_MATCHING_KEY");
    await Promise.all(Array.from({ length: 100 }, (_, at) => find(`at-once-${at}`)));
    expect(asked).toHaveLength(2);
    issuer.answer = keySet(first, second);
    await advance(29_000);
    expect(await find("second")).toBe("ERR_JWKS_NO_MATCHING_KEY");
    await advance(1_000);
    expect(await find("second")).toBe("found");
    expect(asked).toHaveLength(3);
  });

  test("a token with an algorithm that no key set has fetches nothing", async () => {
    const { find, asked } = world();
    await find("first");
    for (const alg of ["HS256", "none", "x"]) expect(await find("first", alg)).toBe("ERR_JOSE_NOT_SUPPORTED");
    expect(asked).toHaveLength(1);
  });
});

describe("outage", () => {
  test("B: issuer down later, known keys verify, unknown ones are refused at once without a fetch", async () => {
    const { find, asked, issuer, advance } = world();
    await find("first");
    issuer.answer = down;
    await advance(600_000);
    expect(asked).toHaveLength(2);
    for (let at = 0; at < 100; at++) expect(await find(`unknown-${at}`)).toBe("unavailable");
    expect(await find("first")).toBe("found");
    expect(asked).toHaveLength(2);
    issuer.answer = keySet(first, second);
    await advance(1_000);
    expect(await find("second")).toBe("found");
    // And unknown keys are a reason to ask again.
    expect(await find("third")).toBe("ERR_JWKS_NO_MATCHING_KEY");
    expect(asked).toHaveLength(4);
  });

  test("B: keys older than a day verify nothing", async () => {
    const { find, issuer, schedule, advance } = world();
    await find("first");
    issuer.answer = down;
    const sinceMs = schedule.nowMs();
    while (schedule.nowMs() - sinceMs < DAY_MS - 60_000) await advance(60_000);
    expect(await find("first")).toBe("found");
    await advance(60_000);
    expect(await find("first")).toBe("unavailable");
    issuer.answer = keySet(first);
    await advance(60_000);
    expect(await find("first")).toBe("found");
  });

  test("B: what is no key set leaves the last good one in force", async () => {
    const huge = JSON.stringify({ keys: Array.from({ length: 201 }, () => first.jwk) });
    for (const text of ["", "null", "[]", "{}", '{"keys":{}}', "<html>", huge]) {
      const { find, issuer, advance, lines } = world();
      await find("first");
      issuer.answer = () => ({ status: 200, headers: {}, text });
      await advance(600_000);
      expect(await find("first")).toBe("found");
      expect(lines.at(-1)).toContain("issuer-unreachable");
    }
  });
});

describe("what a key set may hold", () => {
  test("A: secrets and private keys in a published set are left out", async () => {
    const secret = { kty: "oct", kid: "secret", alg: "HS256", k: "c2VjcmV0" };
    const text = JSON.stringify({ keys: [secret, first.privateJwk, null, "x", second.jwk, { kty: "RSA" }] });
    const { find } = world(() => ({ status: 200, headers: {}, text }));
    expect(await find("secret", "HS256")).toBe("ERR_JOSE_NOT_SUPPORTED");
    expect(await find("first")).toBe("ERR_JWKS_NO_MATCHING_KEY");
    expect(await find("second")).toBe("found");
  });

  test("keys for encryption are not for signatures", async () => {
    const text = JSON.stringify({ keys: [{ ...first.jwk, use: "enc" }, second.jwk] });
    const { find } = world(() => ({ status: 200, headers: {}, text }));
    expect(await find("first")).toBe("ERR_JWKS_NO_MATCHING_KEY");
  });
});

describe("a hostile server", () => {
  /** Keys from a real server on loopback, through the host's own bounded fetch. */
  async function verdictFrom(answer: (request: Request) => Response): Promise<[string, string]> {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
    const lines: string[] = [];
    const keys = new RemoteKeys({
      name: "main",
      locate: () => Promise.resolve(`http://127.0.0.1:${server.port}/keys`),
      host: { fetch: boundedFetch, log: (_level, event, fields) => void lines.push(`${event} ${fields?.["error"]}`) },
      schedule: new HandSchedule(),
    });
    const outcome = await keys.find({ alg: "EdDSA", kid: "first" }, never).then(
      () => "found",
      (error) => error.because,
    );
    keys.close();
    await server.stop(true);
    return [outcome, lines.join()];
  }

  test("B: redirect, huge body, non-200, media type with parameters", async () => {
    const good = JSON.stringify({ keys: [first.jwk] });
    const redirect = ({ url }: Request) =>
      url.endsWith("/keys")
        ? new Response(good, { status: 302, headers: { location: "/elsewhere" } })
        : new Response(good);
    expect(await verdictFrom(redirect)).toEqual(["unavailable", expect.stringContaining("redirects are not followed")]);
    expect(await verdictFrom(() => new Response(good + " ".repeat(300_000)))).toEqual([
      "unavailable",
      expect.stringContaining("more than 262144 bytes"),
    ]);
    for (const status of [204, 404, 500, 503]) {
      const body = status === 204 ? null : good;
      expect((await verdictFrom(() => new Response(body, { status })))[0]).toBe("unavailable");
    }
    const headers = { "content-type": "application/jwk-set+json; charset=utf-8" };
    expect((await verdictFrom(() => new Response(good, { headers })))[0]).toBe("found");
  });

  test("B: slow-loris, a body that never ends stops at close", async () => {
    const asked = Promise.withResolvers<void>();
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch() {
        asked.resolve();
        const endless = new ReadableStream({
          pull(controller) {
            controller.enqueue("{");
            return new Promise(() => {});
          },
        });
        return new Response(endless);
      },
    });
    const ended = Promise.withResolvers<string>();
    const keys = new RemoteKeys({
      name: "main",
      locate: () => Promise.resolve(`http://127.0.0.1:${server.port}/keys`),
      host: {
        fetch: (url, init) => {
          const answer = boundedFetch(url, init);
          answer.catch((error) => ended.resolve(error.name));
          return answer;
        },
        log: () => {},
      },
      schedule: new HandSchedule(),
    });
    await asked.promise;
    keys.close();
    expect(await ended.promise).toBe("AbortError");
    await server.stop(true);
  });
});

test("only https is fetched from, or http on this machine", () => {
  for (const url of ["https://a.example/x", "http://localhost:8080/", "http://127.0.0.1/x", "http://[::1]/x"]) {
    expect(checkUrl(url)).toBe(url);
  }
  const bad = [
    "http://a.example/",
    "http://127.0.0.1.evil.example/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "x",
    "",
  ];
  for (const url of bad) expect(() => checkUrl(url)).toThrow("expected an https URL");
});
