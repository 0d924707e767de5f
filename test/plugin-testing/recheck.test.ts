/** The kit and `recheck`: conformance finds what breaks that part of the contract, and the harness does what a reload does. */
import { describe, expect, test } from "bun:test";
import type { AuthPlugin, ConnectRequest, Provider, Verdict } from "../../src/core/gate/provider.ts";
import { conformance, harness } from "../../src/plugin-testing/harness.ts";
import { verdictForm } from "../../src/plugin-testing/verdict-form.ts";

const good = [{ username: "anna", password: "right-password" }];
const bad = [{ username: "anna", password: "wrong" }];

function decide({ username, password }: ConnectRequest, evidence = "seen"): Verdict {
  if (username === undefined || password === undefined) return { do: "skip" };
  const isRight = username === "anna" && new TextDecoder().decode(password) === "right-password";
  if (!isRight) return { do: "refuse", because: "bad-credentials" };
  return { do: "accept", principal: { id: "anna", permissions: { allow: [] }, evidence } };
}

const plugin = (recheck: Provider["recheck"], evidence?: string): AuthPlugin => ({
  apiVersion: 1,
  name: "door",
  create: () => ({
    connect: (request) => decide(request, evidence),
    ...(recheck === undefined ? {} : { recheck }),
  }),
});
const accept = (id: string, more: object = {}): Verdict => ({
  do: "accept",
  principal: { id, permissions: { allow: [] }, ...more },
});

async function complaints(broken: AuthPlugin): Promise<string> {
  return conformance(broken, {}, { good, bad, foreign: [{}] }).then(
    () => "",
    (error: Error) => error.message,
  );
}

describe("conformance", () => {
  test.each<[string, Provider["recheck"]]>([
    ["none at all", undefined],
    ["at once", ({ principal }) => accept(principal.id)],
    ["late, by the evidence", async ({ principal }) => (principal.evidence === "seen" ? accept("anna") : refused)],
    ["that cannot tell", () => ({ do: "refuse", because: "unavailable" })],
    ["that has too much to do", () => Promise.reject(Object.assign(new Error("full"), { name: "BusyError" }))],
  ])("a recheck that keeps the contract passes: %s", async (_name, recheck) => {
    expect(await complaints(plugin(recheck))).toBe("");
  });

  const refused: Verdict = { do: "refuse", because: "bad-credentials" };
  test.each<[string, Provider["recheck"], string]>([
    ["refuses whom it has just let in", () => refused, "good[0]: recheck: refuse for a client just let in"],
    ["skips whom it has just let in", () => ({ do: "skip" }), "good[0]: recheck: skip for a client just let in"],
    ["answers with another id", () => accept("bert"), "good[0]: recheck: accepts with another id"],
    [
      "throws",
      () => {
        throw new Error("no idea");
      },
      "good[0]: recheck: throws (Error: no idea)",
    ],
    [
      "throws on evidence that is not its own",
      ({ principal }) => (JSON.parse(`"${principal.evidence}"`) === "seen" ? accept("anna") : refused),
      'good[0]: recheck with evidence "{\\"__proto__\\":',
    ],
    ["asks on", () => ({ do: "continue" }), "good[0]: recheck: continue from recheck: only an exchange goes on"],
    ["answers junk", () => undefined as unknown as Verdict, "good[0]: recheck: no verdict"],
    [
      "has something to say to nobody",
      () => ({ ...accept("anna"), data: new Uint8Array() }) as Verdict,
      "good[0]: recheck: data from recheck: nobody is there to take it",
    ],
  ])("one that %s is found", async (_name, recheck, complaint) => {
    expect(await complaints(plugin(recheck))).toContain(complaint);
  });

  test("F: a credential kept as evidence is found, and is not told", async () => {
    const told = await complaints(plugin(({ principal }) => accept(principal.id), "pw=right-password"));
    expect(told).toContain("tells a secret: evidence pw=[secret]");
    expect(told).not.toContain("right-password");
  });

  test("evidence that the host would not take is found", () => {
    const form = (evidence: unknown) => verdictForm(accept("anna", { evidence }), "connect").invalid;
    expect([form("x".repeat(16_384)), form("\u00e4".repeat(8_192))]).toEqual([[], []]);
    expect(form("x".repeat(16_385))).toEqual(["evidence has more than 16384 bytes"]);
    expect(form({ a: 1 })).toEqual(["evidence is no text"]);
  });
});

describe("recheck of the harness", () => {
  const rules = (filter: string): Verdict => accept("anna", { permissions: { allow: [{ on: "both", filter }] } });
  const byArea: AuthPlugin<{ readonly area: string }> = {
    apiVersion: 1,
    name: "door",
    create: ({ area }) => ({
      connect: () => rules(area),
      recheck: () => (area === "shut" ? { do: "refuse", because: "banned" } : rules(area)),
    }),
  };

  test("creates the plugin anew, with these settings, and judges everybody who is in", async () => {
    const door = await harness(byArea, { area: "a" });
    const before = door.provider;
    const clients = [await door.connect(), await door.connect({ level: 4 })];
    // The harness's own client, which watches what is published, is nobody's to judge.
    expect(clients.map((client) => client.can("pub", "a"))).toEqual([true, true]);
    expect(await door.recheck()).toMatchObject({ kept: 2 });
    expect(door.provider).not.toBe(before);
    expect(await door.recheck({ area: "b" })).toMatchObject({ changed: 2 });
    expect(clients.map((client) => [client.can("pub", "a"), client.can("pub", "b")])).toEqual([
      [false, true],
      [false, true],
    ]);
    clients[1]!.disconnect();
    expect(await door.recheck({ area: "shut" })).toEqual({
      kept: 0,
      changed: 0,
      out: 1,
      anew: 0,
      unjudged: 0,
      gone: 0,
    });
    expect(clients[0]!.endedWith).toBe(0x87);
    expect((await door.connect()).can("pub", "shut")).toBe(true);
    await door.close();
  });

  test("a provider without recheck, and one that is silent until its time is up", async () => {
    const door = await harness(plugin(undefined));
    const client = await door.connect(good[0]);
    expect([await door.recheck(), client.endedWith]).toMatchObject([{ anew: 1 }, 0x87]);
    await door.close();
    let isAborted = false;
    const silent = await harness(
      plugin((_request, signal) => {
        signal.addEventListener("abort", () => {
          isAborted = true;
        });
        return new Promise<Verdict>(() => {});
      }),
    );
    await silent.connect(good[0]);
    const judged = silent.recheck();
    await new Promise(setImmediate);
    silent.advance(5_000);
    expect([await judged, isAborted]).toMatchObject([{ anew: 1 }, true]);
    await silent.close();
  });
});
