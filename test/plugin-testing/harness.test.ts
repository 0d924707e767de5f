/** The harness: what it shows of a plugin is what a client of the real broker would see. */
import { describe, expect, test } from "bun:test";
import type {
  AuthPlugin,
  ConnectRequest,
  Exchange,
  PluginHostServices,
  Provider,
  Refusal,
  Rule,
  Verdict,
} from "../../src/core/gate/provider.ts";
import { harness } from "../../src/plugin-testing/harness.ts";

function plugin(create: (host: PluginHostServices) => Provider): AuthPlugin {
  return { apiVersion: 1, name: "door", create: (_settings, host) => create(host) };
}

const open = (answer: (request: ConnectRequest) => unknown) =>
  harness(plugin(() => ({ connect: answer as (request: ConnectRequest) => Verdict })));
const accept = (allow: readonly Rule[], more: object = {}): Verdict => ({
  do: "accept",
  principal: { id: "anna", permissions: { allow }, ...more },
});
const text = (data: Uint8Array | undefined) => (data === undefined ? undefined : new TextDecoder().decode(data));

describe("reason codes", () => {
  const table: [Refusal, number, number][] = [
    ["bad-credentials", 0x86, 4],
    ["not-authorized", 0x87, 5],
    ["client-id", 0x85, 2],
    ["banned", 0x8a, 5],
    ["unavailable", 0x88, 3],
    ["busy", 0x89, 3],
    ["bad-method", 0x8c, 5],
  ];
  test.each(table)("%s is 0x%x in MQTT 5.0 and %i in 3.1.1", async (because, reasonCode, returnCode) => {
    const door = await open(() => ({ do: "refuse", because, tell: "so it is" }));
    const now = await door.connect();
    expect([now.accepted, now.reasonCode, now.returnCode, now.reasonString]).toEqual([
      false,
      reasonCode,
      returnCode,
      "so it is",
    ]);
    for (const level of [3, 4] as const) {
      const old = await door.connect({ level });
      expect([old.reasonCode, old.returnCode, old.reasonString]).toEqual([reasonCode, returnCode, undefined]);
    }
    await door.close();
  });

  test.each([
    [
      "a throw",
      0x88,
      () => {
        throw new Error("broken");
      },
    ],
    ["a rejection", 0x88, () => Promise.reject(new Error("broken"))],
    ["junk", 0x88, () => "yes"],
    ["a promise of junk", 0x88, async () => undefined],
    ["continue", 0x88, () => ({ do: "continue" })],
    ["skip", 0x87, () => ({ do: "skip" })],
    ["a full limiter", 0x89, () => Promise.reject(Object.assign(new Error("full"), { name: "BusyError" }))],
  ])("%s keeps out with 0x%x", async (_name, reasonCode, answer) => {
    const door = await open(answer);
    const result = await door.connect({ username: "u", password: "canary" });
    expect([result.accepted, result.reasonCode]).toEqual([false, reasonCode]);
    expect(JSON.stringify(door.logged)).not.toContain("canary");
    await door.close();
  });

  test("a client id that is not for this principal, a Will that is not allowed, an expiry in the past", async () => {
    const door = await open(() => accept([], { clientId: { prefix: "anna-" } }));
    expect((await door.connect({ clientId: "bert-1" })).reasonCode).toBe(0x85);
    expect((await door.connect({ clientId: "anna-1" })).accepted).toBe(true);
    expect((await door.connect({ clientId: "anna-2", will: { topicName: "w" } })).reasonCode).toBe(0x87);
    await door.close();
    const late = await open(() => accept([], { expiresAtMs: 1 }));
    expect((await late.connect()).reasonCode).toBe(0x88);
    await late.close();
  });
});

describe("what a client may do", () => {
  const rules: Rule[] = [
    { on: "pub", filter: "a/${id}/+", maxQos: 1, retain: false },
    { on: "sub", filter: "b/#", share: ["g"] },
  ];

  test.each([3, 4, 5] as const)("at level %i", async (level) => {
    const door = await open(() => accept(rules));
    const client = await door.connect({ level });
    const may = [0, 1, 2].map((qos) => client.can("pub", "a/anna/x", { qos: qos as 0 | 1 | 2 }));
    expect(may).toEqual([true, true, false]);
    expect(client.can("pub", "a/anna/x", { retain: true })).toBe(false);
    expect([client.can("pub", "a/anna/x/y"), client.can("pub", "a/bert/x"), client.can("pub", "$SYS/x")]).toEqual([
      false,
      false,
      false,
    ]);
    expect([client.can("sub", "b/#"), client.canSubscribe("#"), client.can("sub", "a/anna/+")]).toEqual([
      true,
      false,
      false,
    ]);
    expect([client.canSubscribe("$share/g/b/c"), client.canSubscribe("$share/h/b/c")]).toEqual([true, false]);
    expect([door.can("pub", "a/anna/x"), door.canSubscribe("b/c")]).toEqual([true, true]);
    expect(client.endedWith).toBeUndefined();
    await door.close();
  });

  test("asking does not change the answer: many messages at QoS 2 are open at no time", async () => {
    const door = await open(() => accept([{ on: "both", filter: "#" }]));
    const client = await door.connect();
    for (let round = 0; round < 1_100; round++)
      if (!client.can("pub", "x", { qos: 2, retain: true })) throw new Error(`${round}`);
    expect([client.subscribe("#", 1), client.endedWith]).toEqual([1, undefined]);
    await door.close();
  });

  test("nobody was let in, or it is gone", async () => {
    const door = await open(({ username }) => (username === undefined ? { do: "skip" } : accept([])));
    await door.connect();
    expect(() => door.can("pub", "a")).toThrow("no client was let in");
    const client = await door.connect({ username: "u" });
    expect(() => client.can("pub", "a/#")).toThrow("not a Topic Name");
    client.disconnect();
    expect(() => client.can("pub", "a")).toThrow("not online");
    await door.close();
  });
});

describe("the clock", () => {
  test("a provider that hangs is out of time after 5 s, and its signal is aborted", async () => {
    const never = Promise.withResolvers<Verdict>();
    let aborted = 0;
    const door = await harness(
      plugin(() => ({
        connect(_request, signal) {
          signal.addEventListener("abort", () => aborted++);
          return never.promise;
        },
      })),
    );
    const result = door.connect();
    door.advance(4_999);
    expect(aborted).toBe(0);
    door.advance(1);
    expect([(await result).reasonCode, aborted]).toEqual([0x88, 1]);
    never.resolve(accept([]));
    await never.promise;
    expect((await result).accepted).toBe(false);
    await door.close();
  });

  test("at its expiry a client is told 0x87", async () => {
    const door = await harness(
      plugin((host) => ({ connect: () => accept([], { expiresAtMs: host.nowMs() + 1_000 }) })),
      {},
      { nowMs: 5 },
    );
    const client = await door.connect();
    door.advance(999);
    expect([door.nowMs, client.endedWith]).toEqual([1_004, undefined]);
    door.advance(1);
    expect(client.endedWith).toBe(0x87);
    await door.close();
  });

  test("a client that goes while the provider thinks aborts the call", async () => {
    let aborted = 0;
    const door = await harness(
      plugin(() => ({
        connect(_request, signal) {
          signal.addEventListener("abort", () => aborted++);
          return new Promise<Verdict>(() => {});
        },
      })),
    );
    const result = door.connect();
    await door.close();
    expect([(await result).accepted, aborted]).toEqual([false, 1]);
  });
});

describe("exchanges", () => {
  /** Says "who", then "where", then lets in whoever answered. */
  const begin = (request: ConnectRequest): Exchange => {
    const heard: (string | undefined)[] = [];
    return {
      step(data) {
        heard.push(text(data));
        if (heard.length < 3)
          return { do: "continue", data: new TextEncoder().encode(["who", "where"][heard.length - 1]) };
        if (heard[2] === "no") return { do: "refuse", because: "not-authorized" };
        const again = request.current === undefined ? "" : " again";
        return { ...accept([]), data: new TextEncoder().encode(`hello ${heard.join("/")}${again}`) } as Verdict;
      },
    };
  };
  const talking = plugin(() => ({ methods: ["TALK"], exchange: begin }));

  test("from CONNECT to CONNACK, and again by re-authentication", async () => {
    const door = await harness(talking);
    const client = await door.exchange("TALK", ["hi", (asked) => `me (${text(asked)})`, async () => "here"]);
    expect([client.accepted, text(client.data)]).toEqual([true, "hello hi/me (who)/here"]);
    expect(client.challenges.map(text)).toEqual(["who", "where"]);
    const renewed = await client.reauthenticate([undefined, "b", "c"]);
    expect([renewed.accepted, text(renewed.data)]).toEqual([true, "hello /b/c again"]);
    const refused = await client.reauthenticate(["a", "b", "no"]);
    expect([refused.accepted, refused.reasonCode, client.endedWith]).toEqual([false, 0x87, 0x87]);
    await door.close();
  });

  test("that end early, are refused, or have no owner", async () => {
    const door = await harness(talking);
    const early = await door.exchange("TALK", ["hi"]);
    expect([early.accepted, early.reasonCode, early.verdict?.do]).toEqual([false, 0x18, "continue"]);
    const refused = await door.exchange("TALK", ["hi", "me", "no"]);
    expect([refused.reasonCode, refused.returnCode]).toEqual([0x87, 5]);
    expect((await door.exchange("WALK", ["hi"])).reasonCode).toBe(0x8c);
    await expect(door.exchange("TALK", [], { level: 4 })).rejects.toThrow("from MQTT 5.0 on");
    await door.close();
  });
});

describe("services", () => {
  test("files, secrets, the log, watching and dropping", async () => {
    const door = await harness(
      plugin((host) => {
        host.watchFile("list", () => void host.drop(({ id }) => id === "anna", "the list was changed"));
        return {
          async connect() {
            host.log("info", "asked", { list: text(await host.readFile("list")) ?? "" });
            host.log("debug", "key", {
              key: await host.secret({ env: "KEY" }),
              file: await host.secret({ file: "list" }),
            });
            return accept([]);
          },
        };
      }),
      {},
      { env: { KEY: "k" }, files: { list: "one\n" } },
    );
    const client = await door.connect();
    expect(door.logged.map(({ text: line }) => line)).toContain("debug key key=k file=one plugin=door");
    door.writeFile("list", "two");
    expect(client.endedWith).toBe(0x87);
    await door.close();
  });

  test("what the plugin itself says is told by ask, with what is wrong with it", async () => {
    const door = await open(({ username }) => {
      if (username === undefined) throw new Error("no name");
      return { do: "refuse", because: username };
    });
    const thrown = await door.ask();
    expect([thrown.threw, (thrown.error as Error).message]).toEqual([true, "no name"]);
    expect((await door.ask({ username: "odd" })).invalid).toEqual(["refuse because odd: a word without a code"]);
    expect((await door.ask({ username: "busy" })).invalid).toEqual([]);
    await door.close();
  });
});
