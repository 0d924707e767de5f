/** The plugin host: every request gets one verdict, and whatever a provider does wrong keeps the client out. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { optional, table, text, whole } from "../../plugins/settings.ts";
import { closeChain, createChain, loadPlugin } from "../../src/bun/plugin-chain.ts";
import { PluginHost } from "../../src/bun/plugin-host.ts";
import type { AuthPlugin, Provider, Verdict } from "../../src/core/gate/provider.ts";
import type { AuthRequest } from "../../src/core/ports.ts";

const logged: { event: string; fields: Record<string, unknown> }[] = [];
const log = {
  write: (_level: string, event: string, fields: Record<string, unknown>) => void logged.push({ event, fields }),
};

const accept: Verdict = { do: "accept", principal: { id: "p", permissions: "everything" } };
const skip: Verdict = { do: "skip" };

function plugin(name: string, provider: Provider): AuthPlugin {
  return { apiVersion: 1, name, create: () => provider };
}

function request(changes: Partial<AuthRequest> = {}): AuthRequest {
  return {
    id: 1,
    exchangeId: 1,
    phase: "connect",
    protocolLevel: 5,
    clientId: "c",
    cleanStart: true,
    username: "canary-user",
    password: new TextEncoder().encode("canary-password"),
    authenticationMethod: undefined,
    authenticationData: undefined,
    userProperties: [],
    will: undefined,
    remoteAddress: "192.0.2.1",
    listener: "test://",
    current: undefined,
    ...changes,
  };
}

/** A host over these providers, with the verdicts that came later. */
async function hostOf(...providers: Provider[]) {
  const chain = await createChain(
    providers.map((provider, at) => ({ plugin: plugin(`p${at}`, provider) })),
    { log },
  );
  const later: [number, Verdict][] = [];
  let arrived = Promise.withResolvers<void>();
  const host = new PluginHost(chain, {
    log,
    sink(id, verdict) {
      later.push([id, verdict]);
      arrived.resolve();
      arrived = Promise.withResolvers<void>();
    },
  });
  return { host, chain, later, next: () => arrived.promise };
}

describe("the chain", () => {
  test("is asked in order until one does not skip, and the accepting provider's name is on the principal", async () => {
    const asked: number[] = [];
    const provider = (at: number, verdict: Verdict): Provider => ({
      connect: () => {
        asked.push(at);
        return verdict;
      },
    });
    const methodsOnly: Provider = { methods: ["M"], exchange: () => ({ step: () => skip }) };
    const { host } = await hostOf(provider(0, skip), methodsOnly, provider(2, accept), provider(3, skip));
    expect(host.ask(request())).toMatchObject({ do: "accept", principal: { id: "p", provider: "p2" } });
    expect(asked).toEqual([0, 2]);
  });

  test("that skips to its end refuses, and so does an empty one", async () => {
    for (const providers of [[], [{ connect: () => skip }, { connect: async () => skip }]]) {
      const { host, later, next } = await hostOf(...providers);
      const arrived = next();
      const verdict = host.ask(request());
      if (verdict === undefined) await arrived;
      expect(verdict ?? later[0]![1]).toMatchObject({ do: "refuse", because: "not-authorized" });
    }
  });

  test("a refusal is final: the next provider is not asked", async () => {
    const { host } = await hostOf(
      { connect: () => ({ do: "refuse", because: "bad-credentials" }) },
      { connect: () => accept },
    );
    expect(host.ask(request())).toEqual({ do: "refuse", because: "bad-credentials" });
  });

  test("goes on with the next provider when one skips late", async () => {
    const { host, later, next } = await hostOf({ connect: async () => skip }, { connect: () => accept });
    const arrived = next();
    expect(host.ask(request({ id: 7 }))).toBeUndefined();
    await arrived;
    expect(later).toMatchObject([[7, { do: "accept", principal: { provider: "p1" } }]]);
  });

  test("two providers cannot own one Authentication Method, and what was made is closed again", async () => {
    let closed = 0;
    const exchange = () => ({ step: () => skip });
    const provider: Provider = { methods: ["M"], exchange, close: () => void closed++ };
    await expect(hostOf(provider, provider)).rejects.toThrow("both want Authentication Method M");
    expect(closed).toBe(2);
  });

  test("a provider that cannot close does not keep the others open", async () => {
    let closed = 0;
    const { chain } = await hostOf(
      { connect: () => skip, close: () => Promise.reject(new Error("no")) },
      { connect: () => skip, close: () => void closed++ },
    );
    await closeChain(chain, log);
    expect(closed).toBe(1);
  });
});

describe("what is no verdict keeps the client out", () => {
  const junk: [string, () => unknown][] = [
    ["undefined", () => undefined],
    ["a boolean", () => true],
    ["an unknown word", () => ({ do: "allow" })],
    ["a refusal without a known reason", () => ({ do: "refuse", because: "because" })],
    ["an accept without a principal", () => ({ do: "accept" })],
    ["a principal without an id", () => ({ do: "accept", principal: { id: "", permissions: "everything" } })],
    ["a principal without permissions", () => ({ do: "accept", principal: { id: "a" } })],
    [
      "an expiry that is no number",
      () => ({ do: "accept", principal: { ...accept, id: "a", expiresAtMs: Number.NaN } }),
    ],
    ["continue from connect", () => ({ do: "continue" })],
    [
      "a throw",
      () => {
        throw new Error("broken");
      },
    ],
    ["a rejection", () => Promise.reject(new Error("broken"))],
    ["a promise of junk", () => Promise.resolve("yes")],
  ];

  test.each(junk)("%s", async (_name, answer) => {
    logged.length = 0;
    const { host, later, next } = await hostOf({ connect: () => answer() as Verdict }, { connect: () => accept });
    const arrived = next();
    const verdict = host.ask(request());
    if (verdict === undefined) await arrived;
    expect(verdict ?? later[0]![1]).toMatchObject({ do: "refuse", because: "unavailable" });
    expect(logged).toHaveLength(1);
    expect(JSON.stringify(logged)).not.toContain("canary");
  });
});

describe("exchanges", () => {
  test("go to the owner of the method, step by step, on one object", async () => {
    const steps: (string | undefined)[] = [];
    const { host } = await hostOf(
      { connect: () => accept },
      {
        methods: ["M"],
        exchange: () => ({
          step: (data) => {
            steps.push(data === undefined ? undefined : new TextDecoder().decode(data));
            return steps.length < 3 ? { do: "continue", data: Uint8Array.of(steps.length) } : accept;
          },
        }),
      },
    );
    const ask = (phase: AuthRequest["phase"], text?: string) =>
      host.ask(
        request({
          phase,
          authenticationMethod: "M",
          authenticationData: text === undefined ? undefined : new TextEncoder().encode(text),
        }),
      );
    expect(ask("connect")).toEqual({ do: "continue", data: Uint8Array.of(1) });
    expect(ask("continue", "two")).toEqual({ do: "continue", data: Uint8Array.of(2) });
    expect(ask("continue", "three")).toMatchObject({ do: "accept", principal: { provider: "p1" } });
    expect(steps).toEqual([undefined, "two", "three"]);
  });

  test("a method that nobody owns is a bad method, whatever connect would say", async () => {
    const { host } = await hostOf({ connect: () => accept });
    expect(host.ask(request({ authenticationMethod: "M" }))).toMatchObject({ do: "refuse", because: "bad-method" });
  });

  test("skip from an exchange, and a provider that cannot begin one, keep the client out", async () => {
    const skips: Provider = { methods: ["M"], exchange: () => ({ step: () => skip }) };
    const throws: Provider = {
      methods: ["N"],
      exchange: () => {
        throw new Error("broken");
      },
    };
    const { host } = await hostOf(skips, throws);
    for (const authenticationMethod of ["M", "N"]) {
      const verdict = host.ask(request({ authenticationMethod, exchangeId: 2 }));
      expect(verdict).toMatchObject({ do: "refuse", because: "unavailable" });
    }
  });

  test("a client that leaves aborts what runs, and the late answer is nobody's", async () => {
    let aborted = 0;
    const answer = Promise.withResolvers<Verdict>();
    const { host, later } = await hostOf({
      methods: ["M"],
      exchange: () => ({
        step: (_data, signal) => {
          signal.addEventListener("abort", () => aborted++);
          return answer.promise;
        },
        abort: () => void aborted++,
      }),
    });
    expect(host.ask(request({ authenticationMethod: "M" }))).toBeUndefined();
    host.abandon(1);
    // The listener hears of it behind what runs.
    expect(aborted).toBe(1);
    await Promise.resolve();
    expect(aborted).toBe(2);
    answer.resolve(accept);
    await answer.promise;
    await Promise.resolve();
    // The core ignores a verdict that it no longer waits for; one at most may come.
    expect(later.length).toBeLessThanOrEqual(1);
  });
});

describe("trouble", () => {
  test("no answer in time is a refusal, the signal is aborted, and the late answer is nobody's", async () => {
    const answer = Promise.withResolvers<Verdict>();
    let signal: { aborted: boolean } | undefined;
    const chain = await createChain(
      [
        {
          plugin: plugin("slow", {
            connect: (_request, given) => {
              signal = given;
              return answer.promise;
            },
          }),
        },
      ],
      { log },
    );
    const verdict = Promise.withResolvers<Verdict>();
    const verdicts: Verdict[] = [];
    const host = new PluginHost(chain, {
      log,
      callDeadlineMs: 1,
      sink(_id, given) {
        verdicts.push(given);
        verdict.resolve(given);
      },
    });
    expect(host.ask(request())).toBeUndefined();
    expect(await verdict.promise).toMatchObject({ do: "refuse", because: "unavailable" });
    answer.resolve(accept);
    await answer.promise;
    await host.close();
    expect(signal?.aborted).toBe(true);
    expect(verdicts).toHaveLength(1);
  });

  test("a provider that fails five times in a row is not asked for a while; a refusal is no failure", async () => {
    let calls = 0;
    const { host } = await hostOf({
      connect: () => {
        calls++;
        throw new Error("backend gone");
      },
    });
    for (let at = 0; at < 8; at++) expect(host.ask(request())).toMatchObject({ because: "unavailable" });
    expect(calls).toBe(5);
    expect(host.report()).toMatchObject([{ outcomes: { failed: 5 }, notAsked: 3, breakerOpen: true }]);
    const refusing = await hostOf({ connect: () => ({ do: "refuse", because: "bad-credentials" }) });
    for (let at = 0; at < 8; at++) refusing.host.ask(request());
    expect(refusing.host.report()).toMatchObject([{ outcomes: { refuse: 8, failed: 0 }, breakerOpen: false }]);
  });

  test("too much to do is busy, not unavailable", async () => {
    const { host } = await hostOf({
      connect: () => {
        throw Object.assign(new Error("full"), { name: "BusyError" });
      },
    });
    expect(host.ask(request())).toMatchObject({ do: "refuse", because: "busy" });
  });

  test("a chain that is replaced ends what it began, then is closed; new clients are asked by the new one", async () => {
    const answer = Promise.withResolvers<Verdict>();
    let closed = 0;
    const { host, later, next } = await hostOf({ connect: () => answer.promise, close: () => void closed++ });
    expect(host.ask(request())).toBeUndefined();
    const other = await createChain([{ plugin: plugin("other", { connect: () => accept }) }], { log });
    const replaced = host.replace(other);
    expect(host.ask(request({ id: 2, exchangeId: 2 }))).toMatchObject({ principal: { provider: "other" } });
    expect(closed).toBe(0);
    const arrived = next();
    answer.resolve(accept);
    await arrived;
    await replaced;
    expect(closed).toBe(1);
    expect(later).toMatchObject([[1, { principal: { provider: "p0" } }]]);
  });

  test("settings are checked by the plugin's own schema, and the error names the path", async () => {
    const schema = table({ url: text("a URL"), retries: optional(whole(0, 5), 1) });
    const strict: AuthPlugin<{ url: string; retries: number }> = {
      apiVersion: 1,
      name: "strict",
      config: schema,
      create: () => ({ connect: () => skip }),
    };
    const start = (config: unknown) => createChain([{ plugin: strict, config }], { log });
    expect(await start({ url: "x" })).toHaveLength(1);
    await expect(start({})).rejects.toThrow("auth.chain[0].url: expected a URL, found nothing");
    await expect(start({ url: "x", retries: 9 })).rejects.toThrow("auth.chain[0].retries: expected a whole number");
    await expect(start({ url: "x", retires: 1 })).rejects.toThrow("auth.chain[0].retires: unknown setting");
  });

  test("plugins are loaded by name, by path and by package; what is none is told", async () => {
    expect((await loadPlugin("allow-all", ".", "auth.chain[0]")).name).toBe("allow-all");
    const path = join(import.meta.dir, "..", "..", "plugins");
    expect((await loadPlugin("./allow-all.ts", path, "auth.chain[0]")).name).toBe("allow-all");
    await expect(loadPlugin("no-such-plugin", ".", "auth.chain[2]")).rejects.toThrow("auth.chain[2].use: cannot load");
    await expect(loadPlugin("./settings.ts", path, "auth.chain[0]")).rejects.toThrow("no plugin as its default export");
  });
});
