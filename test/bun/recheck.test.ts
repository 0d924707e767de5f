/**
 * A chain that follows another judges everybody who is in: what each answer amounts to, what is asked and how much of it at
 * once, and what happens when something else happens meanwhile.
 */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { type CreateBrokerOptions, createBroker, type RunningBroker } from "rqtt";
import { EVIDENCE_BYTES_MAX, type PluginHostServices } from "rqtt/plugin";
import { createChain, type PluginUse } from "../../src/bun/plugin-chain.ts";
import { PluginHost } from "../../src/bun/plugin-host.ts";
import type {
  AbortSignalLike,
  ConnectRequest,
  Principal,
  PrincipalInit,
  Provider,
  RecheckRequest,
  Rule,
  Verdict,
} from "../../src/core/gate/provider.ts";
import type { Judgement } from "../../src/core/handle/rejudge.ts";
import { type InProcessClient, join } from "../support/in-process-client.ts";
import { LogLines } from "../support/user-file.ts";

let log = new LogLines();
const running: RunningBroker[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((broker) => broker.close()));
  log = new LogLines();
});

/** A chain of one plugin. */
function chainOf(provider: Provider | ((host: PluginHostServices) => Provider), name = "users"): PluginUse[] {
  const create = (_config: unknown, host: PluginHostServices) =>
    typeof provider === "function" ? provider(host) : provider;
  return [{ plugin: { apiVersion: 1, name, create } }];
}

const both = (...filters: string[]): readonly Rule[] => filters.map((filter) => ({ on: "both", filter }));
const accept = (id: string, allow: readonly Rule[] = both("#"), more: Partial<PrincipalInit> = {}): Verdict => ({
  do: "accept",
  principal: { id, permissions: { allow }, ...more },
});

/** Lets in everybody, by user name. */
const everybody = (more: Partial<PrincipalInit> = {}): Provider => ({
  connect: ({ username = "" }: ConnectRequest) => accept(username, both("#"), { username, ...more }),
});
/** Judges by what `recheck` says; lets nobody in. */
const judging = (recheck: Provider["recheck"]): Provider => ({
  connect: () => ({ do: "refuse", because: "bad-credentials" }),
  ...(recheck === undefined ? {} : { recheck }),
});

async function start(provider: Provider | ((host: PluginHostServices) => Provider), options: CreateBrokerOptions = {}) {
  const broker = await createBroker({ sysIntervalMs: 0, log, plugins: chainOf(provider), ...options });
  running.push(broker);
  return broker;
}

/** A client that is in, with a subscription to everything. */
async function enter(broker: RunningBroker, clientId: string): Promise<InProcessClient> {
  const client = join(broker, clientId, { username: clientId, properties: { sessionExpiryInterval: 1_000 } });
  expect(await client.next()).toMatchObject({ type: "connack", reasonCode: 0 });
  const filter = { topicFilter: "#", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  client.send({ type: "subscribe", packetId: 1, filters: [filter], properties: {} });
  expect(await client.next()).toMatchObject({ type: "suback", reasonCodes: [0] });
  return client;
}

async function away(broker: RunningBroker, clientId: string): Promise<void> {
  const client = await enter(broker, clientId);
  client.close();
}

const counts = (line: string | undefined): unknown => JSON.parse(line?.replace(/^info sessions-rechecked /u, "") ?? "");
const none = { kept: 0, changed: 0, out: 0, anew: 0, unjudged: 0 };

describe("what an answer amounts to", () => {
  const refuse = (because: string): Verdict => ({ do: "refuse", because }) as Verdict;
  const rows: readonly [string, Provider["recheck"], "kept" | "changed" | "out" | "anew"][] = [
    ["accept with the same rights", ({ principal }) => accept(principal.id), "kept"],
    ["accept with other rights, late", async ({ principal }) => accept(principal.id, both("a")), "changed"],
    ["accept with what was asked about", ({ principal }) => ({ do: "accept", principal }), "kept"],
    ["accept with another id", () => accept("somebody"), "out"],
    ["accept with a client id rule", ({ principal }) => accept(principal.id, [], { clientId: { equals: "x" } }), "out"],
    ["refuse", async () => refuse("not-authorized"), "out"],
    ["refuse, bad credentials", () => refuse("bad-credentials"), "out"],
    ["skip", () => ({ do: "skip" }), "out"],
    ["unavailable", () => refuse("unavailable"), "anew"],
    ["busy", async () => refuse("busy"), "anew"],
    ["a full limiter", () => Promise.reject(Object.assign(new Error("full"), { name: "BusyError" })), "anew"],
    ["continue", () => ({ do: "continue" }), "anew"],
    ["junk", () => true as unknown as Verdict, "anew"],
    ["a promise of junk", () => Promise.resolve(undefined) as unknown as Promise<Verdict>, "anew"],
    [
      "a throw",
      () => {
        throw new Error("broken");
      },
      "anew",
    ],
    ["a rejection", () => Promise.reject(new Error("broken")), "anew"],
    ["no recheck at all", undefined, "anew"],
  ];

  test.each(rows)("%s", async (_name, recheck, became) => {
    const broker = await start(everybody());
    const there = await enter(broker, "there");
    await away(broker, "away");
    const line = log.next("sessions-rechecked");
    await broker.replacePlugins(chainOf(judging(recheck)));
    const both = became === "anew" ? { anew: 1, unjudged: 1 } : { [became]: 2 };
    expect(counts(await line)).toEqual({ ...none, ...both });
    expect([there, "away"].map((_one, at) => broker.report(at === 0 ? "there" : "away")?.connected)).toEqual([
      became === "kept" || became === "changed",
      false,
    ]);
    if (became === "out" || became === "anew") {
      expect(await there.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
      expect(await there.closed).toBe(0x87);
    }
    const subscriptions = became === "kept" || became === "anew" ? ["#"] : [];
    expect(broker.report("away")?.subscriptions).toEqual(subscriptions);
    expect(log.lines.filter((entry) => entry.includes("broken"))).toEqual([]);
  });

  test("a provider that is not in the chain any more: everybody whom it had let in is out", async () => {
    const broker = await start(everybody());
    const there = await enter(broker, "there");
    await away(broker, "away");
    let asked = 0;
    const other = judging(() => {
      asked++;
      return { do: "skip" };
    });
    await broker.replacePlugins(chainOf(other, "others"));
    expect(await there.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
    expect([broker.report("away")?.allow, asked]).toEqual([[], 0]);
    expect(log.lines).toContainEqual(expect.stringContaining("its provider is not in the chain any more"));
  });

  test("no chain at all: everybody is out", async () => {
    const broker = await start(everybody());
    const there = await enter(broker, "there");
    await broker.replacePlugins([]);
    expect(await there.closed).toBe(0x87);
  });

  test("keep judges nobody, drop disconnects everybody, and neither asks", async () => {
    const broker = await start(everybody());
    const there = await enter(broker, "there");
    const never = judging(() => {
      throw new Error("asked");
    });
    await broker.replacePlugins(chainOf(never), "keep");
    expect(broker.report("there")?.connected).toBe(true);
    await broker.replacePlugins(chainOf(never), "drop");
    expect(await there.closed).toBe(0x87);
    expect(log.lines.filter((line) => /plugin-failed|rechecked/u.test(line))).toEqual([]);
  });

  test("silence: the deadline passes, the signal is aborted, and who is there has to come in anew", async () => {
    const told: Judgement[] = [];
    const signals: AbortSignalLike[] = [];
    const silent = judging((_request, signal) => {
      signals.push(signal);
      return new Promise<Verdict>(() => {});
    });
    const host = new PluginHost([], { log, sink: () => {}, callDeadlineMs: 1 });
    const principal: Principal = { id: "p", provider: "users", generation: 0, permissions: "everything" };
    await host.replace(await createChain(chainOf(silent), { log }), {
      principals: () => [{ clientId: "c", principal }],
      rejudge(_clientId, _asked, judgement) {
        told.push(judgement);
        return "anew";
      },
    });
    expect(told).toMatchObject([{ do: "anew" }]);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    await host.close();
  });

  test("a provider that fails five times in a row is not asked for a while: the others have to come in anew", async () => {
    const broker = await start(everybody());
    const clients = await Promise.all(Array.from({ length: 8 }, (_, at) => enter(broker, `c${at}`)));
    let asked = 0;
    const broken = judging(() => {
      asked++;
      throw new Error("broken");
    });
    await broker.replacePlugins(chainOf(broken));
    expect(await Promise.all(clients.map(({ closed }) => closed))).toEqual(clients.map(() => 0x87));
    expect([asked, broker.providers[0]]).toMatchObject([5, { outcomes: { failed: 5 }, notAsked: 3 }]);
  });
});

describe("what is asked", () => {
  test("who it is, as it was let in, with the evidence; a copy, which may be changed without harm", async () => {
    const broker = await start(everybody({ evidence: "seen", attributes: { group: "g" } }));
    await away(broker, "anna");
    const requests: RecheckRequest[] = [];
    const nosy = judging((request) => {
      requests.push({ ...request, principal: { ...request.principal } });
      Object.assign(request.principal, { id: "bert", evidence: "changed" });
      return { do: "refuse", because: "unavailable" };
    });
    for (let at = 0; at < 2; at++) await broker.replacePlugins(chainOf(nosy));
    const principal = { id: "anna", username: "anna", evidence: "seen", attributes: { group: "g" }, provider: "users" };
    expect(requests).toHaveLength(2);
    for (const request of requests) expect(request).toMatchObject({ clientId: "anna", principal });
  });

  test("expiry by the wall clock, which may have been set meanwhile", async () => {
    const hourMs = 3_600_000;
    const expiresAtMs = Date.now() + hourMs;
    const broker = await start(everybody({ expiresAtMs }));
    await enter(broker, "anna");
    const before = broker.report("anna")!.connection!.expiresAtMs!;
    const { now } = Date;
    const clock = spyOn(Date, "now").mockImplementation(() => now() + hourMs);
    try {
      let asked = 0;
      const echo = judging(({ principal }) => {
        asked = principal.expiresAtMs!;
        return { do: "accept", principal };
      });
      await broker.replacePlugins(chainOf(echo));
      // Both clocks are read one after the other.
      expect(Math.abs(asked - (expiresAtMs + hourMs))).toBeLessThan(10_000);
      expect(Math.abs(broker.report("anna")!.connection!.expiresAtMs! - before)).toBeLessThan(10_000);
    } finally {
      clock.mockRestore();
    }
  });

  test("evidence that an accept leaves out stays, and what it says replaces it", async () => {
    const broker = await start(everybody({ evidence: "first" }));
    await enter(broker, "anna");
    const seen: (string | undefined)[] = [];
    for (const evidence of [undefined, "second", undefined, undefined]) {
      const noting = judging(({ principal }) => {
        seen.push(principal.evidence);
        return accept("anna", both("#"), evidence === undefined ? {} : { evidence });
      });
      await broker.replacePlugins(chainOf(noting));
    }
    expect(seen).toEqual(["first", "first", "second", "second"]);
  });

  test("evidence has at most 16 KiB; with more the verdict has the wrong form", async () => {
    const broker = await start({
      connect: ({ username = "" }) => accept(username, [], { evidence: username.repeat(EVIDENCE_BYTES_MAX / 2) }),
    });
    const code = async (username: string) => {
      const packet = await join(broker, username, { username }).next();
      return packet.type === "connack" ? packet.reasonCode : packet.type;
    };
    // Two bytes each, and three.
    expect([await code("\u00e4"), await code("\u20ac")]).toEqual([0, 0x88]);
    const odd = await start({ connect: () => accept("p", [], { evidence: 1 as unknown as string }) });
    expect(await join(odd, "c").next()).toMatchObject({ type: "connack", reasonCode: 0x88 });
  });

  test("nobody twice, and nobody whom the new chain has let in itself", async () => {
    const broker = await start(everybody());
    await enter(broker, "old");
    const asked: string[] = [];
    const gate = Promise.withResolvers<void>();
    const provider: Provider = {
      ...everybody(),
      async recheck({ clientId, principal }) {
        asked.push(clientId);
        await gate.promise;
        return accept(principal.id);
      },
    };
    const replaced = broker.replacePlugins(chainOf(provider));
    while (asked.length === 0) await new Promise(setImmediate);
    await enter(broker, "new");
    gate.resolve();
    await replaced;
    expect(asked).toEqual(["old"]);
  });
});

describe("how much at once", () => {
  test("at most 64 questions", async () => {
    const broker = await start(everybody());
    await Promise.all(Array.from({ length: 200 }, (_, at) => enter(broker, `c${at}`)));
    let asking = 0;
    let askingMax = 0;
    const slow = judging(async ({ principal }) => {
      askingMax = Math.max(askingMax, ++asking);
      await new Promise(setImmediate);
      await new Promise(setImmediate);
      asking--;
      return accept(principal.id);
    });
    const line = log.next("sessions-rechecked");
    await broker.replacePlugins(chainOf(slow));
    expect([askingMax, counts(await line)]).toEqual([64, { ...none, kept: 200 }]);
  });

  test("a turn of the event loop is short, however quickly a provider answers", async () => {
    const broker = await start(everybody());
    await Promise.all(Array.from({ length: 500 }, (_, at) => enter(broker, `c${at}`)));
    let thisTurn = 0;
    let thisTurnMax = 0;
    const quick = judging(({ principal }) => {
      thisTurnMax = Math.max(thisTurnMax, ++thisTurn);
      if (thisTurn === 1) {
        setImmediate(() => {
          thisTurn = 0;
        });
      }
      return accept(principal.id);
    });
    await broker.replacePlugins(chainOf(quick));
    expect(thisTurnMax).toBeGreaterThan(0);
    expect(thisTurnMax).toBeLessThanOrEqual(128);
  });
});

describe("meanwhile", () => {
  /** A provider whose answers wait for the test. */
  function waiting(answer: (principal: Principal) => Verdict) {
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<AbortSignalLike>();
    const provider = judging(async ({ principal }, signal) => {
      asked.resolve(signal);
      await gate.promise;
      return answer(principal);
    });
    return { provider, asked: asked.promise, open: gate.resolve };
  }

  test("a second reload: the later one judges everybody, the earlier one stops", async () => {
    const broker = await start(everybody());
    await enter(broker, "anna");
    await away(broker, "bert");
    const first = waiting(() => ({ do: "refuse", because: "banned" }));
    const earlier = broker.replacePlugins(chainOf(first.provider));
    const signal = await first.asked;
    const line = log.next("sessions-rechecked");
    const later = broker.replacePlugins(chainOf(judging(({ principal }) => accept(principal.id, both("a")))));
    await Promise.all([earlier, later]);
    expect(signal.aborted).toBe(true);
    expect(counts(await line)).toEqual({ ...none, changed: 2 });
    first.open();
    await first.provider.recheck?.({ clientId: "x", principal: { id: "x", permissions: "everything" } }, signal);
    expect(["anna", "bert"].map((clientId) => broker.report(clientId)?.allow)).toEqual([both("a"), both("a")]);
    expect(log.lines.filter((entry) => entry.includes("sessions-recheck-stopped"))).toHaveLength(1);
  });

  test("a second reload that fails leaves the first one judging", async () => {
    const broker = await start(everybody());
    await enter(broker, "anna");
    const first = waiting(({ id }) => accept(id, both("a")));
    const earlier = broker.replacePlugins(chainOf(first.provider));
    await first.asked;
    const failing = broker.replacePlugins(chainOf(() => Promise.reject(new Error("no file")) as never));
    await expect(failing).rejects.toThrow("no file");
    first.open();
    await earlier;
    expect(broker.report("anna")?.allow).toEqual(both("a"));
  });

  /** A broker with a client that is in, and one whose login the old chain has begun and not ended. */
  async function withLateLogin() {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const broker = await start({
      async connect({ username = "" }) {
        if (username === "early") return accept(username);
        begun.resolve();
        await gate.promise;
        return accept(username);
      },
    });
    const early = await enter(broker, "early");
    const late = join(broker, "late", { username: "late" });
    await begun.promise;
    return { broker, early, late, gate };
  }

  test("drop disconnects those too whose login the old chain had begun", async () => {
    const { broker, early, late, gate } = await withLateLogin();
    const replaced = broker.replacePlugins(chainOf(everybody()), "drop");
    expect(await early.closed).toBe(0x87);
    await enter(broker, "new");
    gate.resolve();
    expect(await late.next()).toMatchObject({ type: "connack", reasonCode: 0 });
    expect(await late.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
    await replaced;
    expect(broker.report("new")?.connected).toBe(true);
  });

  test("a login that the old chain has begun is judged by the new one when it has ended", async () => {
    const { broker, early, late, gate } = await withLateLogin();
    const replaced = broker.replacePlugins(chainOf(judging(() => ({ do: "refuse", because: "banned", log: "gone" }))));
    // Everybody who is there has been judged by then.
    expect(await early.closed).toBe(0x87);
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    gate.resolve();
    expect(await late.next()).toMatchObject({ type: "connack", reasonCode: 0 });
    expect(await late.next()).toMatchObject({ type: "disconnect", reasonCode: 0x87 });
    await replaced;
    expect(log.lines).toContainEqual(expect.stringContaining("banned: gone"));
  });

  test("who cannot be judged is asked about once, also where the old chain has to be waited for", async () => {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const broker = await start({
      async connect({ username = "" }) {
        if (username !== "late") return accept(username);
        begun.resolve();
        await gate.promise;
        return { do: "refuse", because: "bad-credentials" };
      },
    });
    await away(broker, "away");
    const late = join(broker, "late", { username: "late" });
    await begun.promise;
    const asked: string[] = [];
    const unsure = judging(({ clientId }) => {
      asked.push(clientId);
      gate.resolve();
      return { do: "refuse", because: "unavailable" };
    });
    const line = log.next("sessions-rechecked");
    await broker.replacePlugins(chainOf(unsure));
    expect(await late.next()).toMatchObject({ type: "connack", reasonCode: 0x86 });
    expect([asked, counts(await line)]).toEqual([["away"], { ...none, unjudged: 1 }]);
  });

  test("the old chain stays open until everybody is judged, and drops nobody who is", async () => {
    let drop: PluginHostServices["drop"] = () => -1;
    const closed: string[] = [];
    const broker = await start((host) => {
      ({ drop } = host);
      return { ...everybody(), close: () => void closed.push("old") };
    });
    await enter(broker, "anna");
    await enter(broker, "bert");
    const judge = judging(({ clientId, principal }) => {
      expect(closed).toEqual([]);
      // Of the two only the one that is not judged yet is the old chain's.
      if (clientId === "bert") expect(drop(() => true, "old file changed")).toBe(1);
      return accept(principal.id);
    });
    await broker.replacePlugins(chainOf(judge));
    expect(closed).toEqual(["old"]);
    expect([drop(() => true, "old file changed"), broker.report("anna")?.connected]).toEqual([0, true]);
    expect(broker.report("bert")).toMatchObject({ connected: false, allow: [] });
  });

  test("a broker that is closed does not wait for answers, and leaves no chain open", async () => {
    let closed = 0;
    const close = async () => {
      await new Promise(setImmediate);
      closed++;
    };
    const broker = await start({ ...everybody(), close });
    await enter(broker, "anna");
    const never = waiting(() => ({ do: "skip" }));
    const replaced = broker.replacePlugins(chainOf({ ...never.provider, close }));
    const signal = await never.asked;
    await broker.close();
    expect([signal.aborted, closed]).toEqual([true, 2]);
    await replaced;
  });
});

test("F: evidence reaches no log, no report and no packet", async () => {
  const evidence = "canary-91b2";
  const broker = await start(everybody({ evidence }));
  await enter(broker, "kept");
  const gone = await enter(broker, "gone");
  await enter(broker, "odd");
  const judge = judging(({ clientId, principal }) => {
    if (clientId === "gone") return { do: "refuse", because: "banned" };
    if (clientId === "odd") throw new Error(principal.evidence);
    return { do: "accept", principal };
  });
  await broker.replacePlugins(chainOf(judge));
  const told = [await gone.next(), ...log.lines, broker.report("kept"), broker.report("odd"), broker.providers];
  expect(log.lines).toContainEqual(expect.stringContaining("plugin-failed"));
  expect(JSON.stringify(told)).not.toContain("canary");
});
