/** conformance: each way of breaking the contract is found, and a plugin that keeps it passes. */
import { describe, expect, test } from "bun:test";
import allowAll from "../../plugins/allow-all.ts";
import type {
  AuthPlugin,
  ConnectRequest,
  Exchange,
  PluginHostServices,
  Provider,
  Verdict,
} from "../../src/core/gate/provider.ts";
import { conformance } from "../../src/plugin-testing/harness.ts";

const good = [{ username: "anna", password: "right-password" }];
const bad = [{ username: "anna", password: "wrong" }];
const foreign = [{}];

const ACCEPT: Verdict = { do: "accept", principal: { id: "anna", permissions: { allow: [] } } };
const REFUSE: Verdict = { do: "refuse", because: "bad-credentials" };

function isAnna({ username, password }: ConnectRequest): boolean {
  return username === "anna" && new TextDecoder().decode(password) === "right-password";
}

function decide(request: ConnectRequest): Verdict {
  if (request.username === undefined || request.password === undefined) return { do: "skip" };
  return isAnna(request) ? ACCEPT : REFUSE;
}

/** A plugin that keeps the contract but for what `changed` breaks. */
function plugin(changed: (host: PluginHostServices) => Partial<Record<keyof Provider, unknown>> = () => ({})) {
  return {
    apiVersion: 1,
    name: "door",
    create: (_settings, host) => ({ connect: decide, ...changed(host) }) as Provider,
  } satisfies AuthPlugin;
}

async function complaints(broken: AuthPlugin, samples = {}, surroundings = {}): Promise<string[]> {
  try {
    await conformance(broken, {}, { good, bad, foreign, ...samples }, surroundings);
    return [];
  } catch (error) {
    const [head, ...lines] = (error as Error).message.split("\n");
    expect(head).toContain("plugin door does not keep the contract");
    return lines;
  }
}

const when = (condition: (request: ConnectRequest) => boolean, answer: (request: ConnectRequest) => unknown) => () => ({
  connect: (request: ConnectRequest) => (condition(request) ? answer(request) : decide(request)),
});
const always = () => true;
const isWrong = (request: ConnectRequest) => request.username === "anna" && !isAnna(request);

test("a plugin that keeps the contract passes, at once or late", async () => {
  expect(await complaints(plugin())).toEqual([]);
  expect(await complaints(plugin(when(always, async (request) => decide(request))))).toEqual([]);
});

test("allow-all passes as far as it goes: it has no bad credentials", async () => {
  await expect(conformance(allowAll, {}, { good: [{}, ...good], bad: [] })).rejects.toThrow(
    "plugin allow-all does not keep the contract:\n- samples.bad is empty: nothing shows that anybody is kept out",
  );
});

describe("found", () => {
  const rows: [string, () => Partial<Record<keyof Provider, unknown>>, string][] = [
    [
      "a wrong password that is skipped",
      when(isWrong, () => ({ do: "skip" })),
      "bad[0] at level 3: expected refuse, found skip",
    ],
    [
      "a wrong password that is let in",
      when(isWrong, () => ACCEPT),
      "bad[0] at level 5: expected refuse, found accept",
    ],
    [
      "a right password that is refused",
      when(isAnna, () => REFUSE),
      "good[0] at level 4: expected accept, found refuse",
    ],
    [
      "a level that is forgotten",
      when(
        (request) => request.protocolLevel === 3,
        () => REFUSE,
      ),
      "good[0] at level 3: expected accept, found refuse",
    ],
    [
      "somebody else's client that is refused",
      when(
        (request) => request.username === undefined,
        () => REFUSE,
      ),
      "foreign[0] at level 5: expected skip, found refuse",
    ],
    [
      "a throw for a wrong password",
      when(isWrong, () => {
        throw new Error("no match");
      }),
      "bad[0] at level 5: expected refuse, found throw (Error: no match)",
    ],
    ["junk", when(isWrong, () => true), "bad[0] at level 5: no verdict"],
    [
      "a word without a code",
      when(isWrong, () => ({ ...REFUSE, because: "no" })),
      "refuse because no: a word without a code",
    ],
    ["continue from connect", when(isWrong, () => ({ do: "continue" })), "continue from connect"],
    [
      "an id that is empty",
      when(isAnna, () => ({ do: "accept", principal: { id: "", permissions: { allow: [] } } })),
      "the principal has no id",
    ],
    [
      "a key that means nothing",
      when(isAnna, () => ({ do: "accept", principal: { id: "a", expiresAt: 1, permissions: { allow: [] } } })),
      "the principal has expiresAt, which means nothing",
    ],
    [
      "an expiry in seconds",
      when(isAnna, () => ({
        do: "accept",
        principal: { id: "a", expiresAtMs: 1_900_000_000, permissions: { allow: [] } },
      })),
      "accepted, but the broker answered 0x88",
    ],
    [
      "a rule of the wrong form",
      when(isAnna, () => ({
        do: "accept",
        principal: { id: "a", permissions: { allow: [{ on: "all", filter: "#" }] } },
      })),
      "rule 1: on is not pub, sub or both",
    ],
    [
      "E: a table that is not a map",
      when(always, (request) => {
        const pins: Record<string, string> = { anna: "right-password" };
        const pin = pins[request.username ?? ""];
        if (request.username === undefined || request.password === undefined) return { do: "skip" };
        return pin !== undefined && pin.trim() === new TextDecoder().decode(request.password) ? ACCEPT : REFUSE;
      }),
      'user name "__proto__", password empty at level 5: throws',
    ],
    [
      "a decoder that throws",
      when(always, (request) => {
        new TextDecoder("utf-8", { fatal: true }).decode(request.password);
        return decide(request);
      }),
      "password of strange bytes at level 5: throws",
    ],
  ];

  test.each(rows)("%s", async (_name, changed, complaint) => {
    expect((await complaints(plugin(changed))).join("\n")).toContain(complaint);
  });

  test("samples that show nothing", async () => {
    expect(await complaints(plugin(), { good: [], bad: [] })).toEqual([
      "- samples.good is empty: nothing shows that anybody is let in",
      "- samples.bad is empty: nothing shows that anybody is kept out",
    ]);
  });

  test("settings that take an unknown key", async () => {
    const lax = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } } as const;
    expect(await complaints({ ...plugin(), config: lax })).toEqual([
      "- an unknown setting is no error: a typing mistake would pass in silence",
    ]);
  });
});

describe("F: secrets that are told", () => {
  const password = (request: ConnectRequest) => new TextDecoder().decode(request.password);
  const logged = (host: PluginHostServices, verdict: Verdict) => (request: ConnectRequest) => {
    host.log("info", "asked", { got: password(request) });
    return verdict;
  };
  const rows: [string, (host: PluginHostServices) => Partial<Record<keyof Provider, unknown>>][] = [
    ["in the log", (host) => when(isWrong, logged(host, REFUSE))()],
    ["of the right password", (host) => when(isAnna, logged(host, ACCEPT))()],
    ["in the verdict's log", when(isWrong, (request) => ({ ...REFUSE, log: `got ${password(request)}` }))],
    ["to the client", when(isWrong, (request) => ({ ...REFUSE, tell: `not ${password(request)}` }))],
    ["as base64", when(isWrong, (request) => ({ ...REFUSE, log: request.password?.toBase64() }))],
    ["as hex", when(isWrong, (request) => ({ ...REFUSE, log: request.password?.toHex() }))],
  ];

  test.each(rows)("%s", async (_name, changed) => {
    const told = await complaints(plugin(changed));
    expect(told.join("\n")).toContain("tells a secret");
    expect(told.join("\n")).not.toContain("right-password");
  });

  test("of the environment", async () => {
    const broken = plugin((host) => {
      void host.secret({ env: "KEY" }).then((key) => host.log("debug", "key", { key }));
      return {};
    });
    expect(await complaints(broken, {}, { env: { KEY: "canary-key" } })).toEqual([
      "- tells a secret: debug key key=[secret] plugin=door",
    ]);
  });
});

describe("services that fail", () => {
  const yes: PluginHostServices["fetch"] = async (_url, init) => ({
    status: init?.body === "right-password" ? 200 : 403,
    headers: {},
    text: '{"id":"anna"}',
  });
  /** Asks a service, and judges its answer in a way of its own. */
  const asks = (
    judge: (status: number, text: string) => Verdict,
    failed: (error: unknown) => Verdict,
    withSignal = true,
  ) =>
    plugin((host) => ({
      async connect(request: ConnectRequest, signal: AbortSignal): Promise<Verdict> {
        if (request.username === undefined || request.password === undefined) return { do: "skip" };
        const body = new TextDecoder().decode(request.password);
        try {
          const init = withSignal ? { body, signal } : { body };
          const { status, text } = await host.fetch("https://a.example", init);
          return judge(status, text);
        } catch (error) {
          return failed(error);
        }
      },
    }));
  const careful = (status: number, text: string): Verdict => {
    if (status === 403) return REFUSE;
    if (status !== 200) return { do: "refuse", because: "unavailable" };
    return (JSON.parse(text) as { id: string }).id === "anna" ? ACCEPT : { do: "refuse", because: "unavailable" };
  };
  const rethrow = (error: unknown): Verdict => {
    throw error;
  };

  test("a plugin that throws or says unavailable passes", async () => {
    expect(await complaints(asks(careful, rethrow), {}, { fetch: yes })).toEqual([]);
    expect(
      await complaints(
        asks(careful, () => ({ do: "refuse", because: "unavailable" })),
        {},
        { fetch: yes },
      ),
    ).toEqual([]);
  });

  test.each([
    ["letting in", asks(careful, () => ACCEPT), "a service that cannot be reached: lets in"],
    ["skipping", asks(careful, () => ({ do: "skip" })), "a service that answers null: skips"],
    [
      "blaming the client",
      asks(careful, () => REFUSE),
      "a service that cannot be reached: refuses because bad-credentials",
    ],
    [
      "not reading",
      asks((status) => (status === 403 ? REFUSE : ACCEPT), rethrow),
      "a service that answers 500: lets in",
    ],
    [
      "reading half",
      asks((status) => (status === 200 ? ACCEPT : REFUSE), rethrow),
      "a service that answers with a web page: lets in",
    ],
    ["waiting on", asks(careful, rethrow, false), "good[0]: goes on after its signal was aborted"],
  ] as const)("%s is found", async (_name, broken, complaint) => {
    expect((await complaints(broken, {}, { fetch: yes })).join("\n")).toContain(complaint);
  });
});

describe("after close", () => {
  test("a timer that still runs is found, one that is cleared is not", async () => {
    const stops: (() => void)[] = [];
    const leaves = plugin(() => {
      const timer = setInterval(() => {}, 60_000);
      stops.push(() => clearInterval(timer));
      return {};
    });
    expect((await complaints(leaves)).join("\n")).toMatch(/^- after close \d+ timers are still running$/u);
    for (const stop of stops) stop();
    const tidy = plugin(() => {
      const timer = setTimeout(() => {}, 60_000);
      return { close: () => clearTimeout(timer) };
    });
    expect(await complaints(tidy)).toEqual([]);
  });

  test("a call of fetch that goes on is found", async () => {
    const never = Promise.withResolvers<never>();
    const leaves = plugin((host) => {
      host.fetch("https://a.example").catch(() => {});
      return {};
    });
    const found = await complaints(leaves, {}, { fetch: () => never.promise });
    expect(found.join("\n")).toContain("after close 1 calls of fetch or jobs of a limiter go on");
  });

  test("the timers of the process are as they were", async () => {
    const { setTimeout: before, clearTimeout: clear } = globalThis;
    await complaints(plugin());
    await complaints(plugin(when(isWrong, () => true)));
    expect([globalThis.setTimeout, globalThis.clearTimeout]).toEqual([before, clear]);
  });
});

describe("exchanges", () => {
  const samples = {
    good: [{ method: "PIN", data: ["hello", (challenge?: Uint8Array) => `4711${challenge?.[0]}`] }],
    bad: [{ method: "PIN", data: ["hello", "0000"] }],
  };
  const exchange = (step: (text: string | undefined, at: number) => Verdict) => ({
    methods: ["PIN"],
    exchange(): Exchange {
      let at = 0;
      return { step: (data) => step(data === undefined ? undefined : new TextDecoder().decode(data), ++at) };
    },
  });
  const careful = (text: string | undefined, at: number): Verdict => {
    if (at === 1) return text === "hello" ? { do: "continue", data: Uint8Array.of(7) } : REFUSE;
    return text === "47117" ? ACCEPT : REFUSE;
  };

  test("that keep the contract pass", async () => {
    expect(
      await complaints(
        plugin(() => exchange(careful)),
        samples,
      ),
    ).toEqual([]);
  });

  test.each([
    ["let anybody in", () => ACCEPT, "method PIN, data absent: lets in"],
    ["skip", () => ({ do: "skip" }) as const, "skip from an exchange"],
    [
      "throw without data",
      (text: string | undefined, at: number) => careful(text!.trim(), at),
      "method PIN, data absent: throws",
    ],
  ])("that %s are found", async (_name, step, complaint) => {
    expect(
      (
        await complaints(
          plugin(() => exchange(step)),
          samples,
        )
      ).join("\n"),
    ).toContain(complaint);
  });
});
