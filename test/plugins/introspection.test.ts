/** Answers of an introspection endpoint (RFC 7662), taken as strictly as tokens, remembered no longer than they are good. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Provider, Verdict } from "rqtt/plugin";
import oauth, { createOauth } from "../../plugins/oauth.ts";
import { HandSchedule, login, testServices } from "../support/token-kit.ts";

const ISSUER_URL = "https://issuer.example";
const TOKEN = "opaque-token-of-thirty-characters";
const running: { close?(): unknown; stop?(closeAll: boolean): unknown }[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await (one.close?.() ?? one.stop?.(true));
});

/** A provider that asks an endpoint of this test, which answers as `answer` says. */
async function world(answer: (nowSeconds: number) => unknown, changes: Record<string, unknown> = {}) {
  const schedule = new HandSchedule();
  const asked: { authorization: string | null; body: string }[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      asked.push({ authorization: request.headers.get("authorization"), body: await request.text() });
      const given = answer(schedule.nowMs() / 1000);
      return given instanceof Response ? given : Response.json(given);
    },
  });
  running.push({ stop: (all) => server.stop(all) });
  const base = `http://127.0.0.1:${server.port}`;
  const introspection = { clientId: "rs:1", clientSecret: { env: "SECRET" }, endpoint: base, always: true, ...changes };
  const main = { issuer: ISSUER_URL, audience: "rqtt", algorithms: ["RS256"], introspection };
  const checked = await oauth.config["~standard"].validate({ issuers: { main } });
  if (checked.issues !== undefined) throw new Error(checked.issues[0]?.message);
  const services = { ...testServices(".", { SECRET: "canary secret" }), nowMs: schedule.nowMs };
  const provider: Provider = await createOauth(checked.value, services, schedule);
  running.push(provider);
  return { provider, schedule, asked, lines: services.lines };
}

async function word(verdict: Promise<Verdict>): Promise<string> {
  const answer = await verdict;
  return answer.do === "refuse" ? answer.because : answer.do;
}

/** What an endpoint says of a good token. */
const good = (nowSeconds: number) => ({
  active: true,
  sub: "a",
  aud: "rqtt",
  exp: nowSeconds + 600,
  token_type: "Bearer",
});

describe("an answer", () => {
  test("that is complete lets in; the question has the token and the client's credentials", async () => {
    for (const authentication of ["basic", "post"]) {
      const { provider, asked } = await world(good, { authentication });
      expect(await login(provider, TOKEN)).toMatchObject({ do: "accept", principal: { id: "main:a" } });
      const fields = new URLSearchParams(asked[0]!.body);
      expect(fields.get("token")).toBe(TOKEN);
      if (authentication === "post")
        expect([fields.get("client_id"), fields.get("client_secret")]).toEqual(["rs:1", "canary secret"]);
      else expect(asked[0]!.authorization).toBe(`Basic ${btoa("rs%3A1:canary+secret")}`);
    }
  });

  test("A: of another issuer or audience, expired, without exp, not valid yet, or bound keeps out", async () => {
    const wrong: Record<string, unknown>[] = [
      { iss: "https://evil.example" },
      { iss: `${ISSUER_URL}/` },
      { aud: "other" },
      { aud: ["other"] },
      { aud: undefined },
      { exp: undefined },
      { exp: "9999999999" },
      { exp: 1 },
      { nbf: 99_999_999_999 },
      { nbf: "1" },
      { token_type: "DPoP" },
      { cnf: { jkt: "x" } },
      { cnf: { "x5t#S256": "x" } },
      { sub: undefined },
      { active: false },
    ];
    for (const changes of wrong) {
      const { provider } = await world((nowSeconds) => ({ ...good(nowSeconds), ...changes }));
      expect([changes, await word(login(provider, TOKEN))]).toEqual([changes, "bad-credentials"]);
    }
    for (const changes of [{ iss: ISSUER_URL }, { aud: ["x", "rqtt"] }, { token_type: undefined }, { nbf: 1 }]) {
      const { provider } = await world((nowSeconds) => ({ ...good(nowSeconds), ...changes }));
      expect(await word(login(provider, TOKEN))).toBe("accept");
    }
  });

  test("B: that is none is an outage, not a refusal and not a yes", async () => {
    const answers: (() => unknown)[] = [
      () => ({ active: "true" }),
      () => ({}),
      () => [],
      () => new Response("active"),
      () => new Response(null, { status: 204 }),
      () => new Response(null, { status: 302, headers: { location: "/" } }),
      () => new Response(null, { status: 500 }),
      () => new Response(" ".repeat(300_000), { headers: { "content-type": "application/json" } }),
    ];
    for (const answer of answers) {
      const { provider, lines } = await world(answer);
      expect(await word(login(provider, TOKEN))).toBe("unavailable");
      expect(lines.join()).toContain("introspection-failed");
      expect(lines.join()).not.toMatch(/canary|opaque-token/u);
    }
  });
});

describe("memory", () => {
  test("B: a positive answer does not outlive exp", async () => {
    const { provider, schedule, asked } = await world((nowSeconds) => ({ ...good(nowSeconds), exp: nowSeconds + 10 }));
    await login(provider, TOKEN);
    schedule.advance(9_000);
    expect(await word(login(provider, TOKEN))).toBe("accept");
    expect(asked).toHaveLength(1);
    schedule.advance(1_000);
    await login(provider, TOKEN);
    expect(asked).toHaveLength(2);
  });

  test("B: a negative answer is short-lived, and cacheSeconds = 0 remembers nothing", async () => {
    let active = false;
    const { provider, schedule, asked } = await world((nowSeconds) => ({ ...good(nowSeconds), active }));
    expect(await word(login(provider, TOKEN))).toBe("bad-credentials");
    active = true;
    expect(await word(login(provider, TOKEN))).toBe("bad-credentials");
    schedule.advance(10_000);
    expect(await word(login(provider, TOKEN))).toBe("accept");
    expect(asked).toHaveLength(2);
    const forgetful = await world(good, { cacheSeconds: 0 });
    for (let at = 0; at < 3; at++) await login(forgetful.provider, TOKEN);
    expect(forgetful.asked).toHaveLength(3);
  });

  test("B: a flood of tokens is busy beyond a bound, and does not disturb those that are remembered", async () => {
    const held = Promise.withResolvers<void>();
    let isHeld = false;
    const { provider } = await world((nowSeconds) => {
      const answer = Response.json({ ...good(nowSeconds), active: !isHeld });
      if (!isHeld) return answer;
      return new Response(new ReadableStream({ pull: (to) => held.promise.then(() => to.close()) }));
    });
    await login(provider, TOKEN);
    isHeld = true;
    const flood = Array.from({ length: 400 }, (_, at) => word(login(provider, `${"f".repeat(40)}${at}`)));
    expect(await word(login(provider, TOKEN))).toBe("accept");
    held.resolve();
    const words = await Promise.all(flood);
    expect(words.filter((one) => one === "busy")).toHaveLength(400 - 16 - 256);
    expect(words).not.toContain("accept");
  });
});
