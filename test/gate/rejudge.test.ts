/**
 * Sessions judged anew at a running broker: whose rights are replaced in place, whose are taken, and who is left alone because
 * somebody has judged it since. The authority is scripted; clients speak to a Broker in memory.
 */
import { describe, expect, test } from "bun:test";
import type { Permissions, Principal, PrincipalInit } from "../../src/core/gate/provider.ts";
import type { Judgement } from "../../src/core/handle/rejudge.ts";
import { accept, refuse, ScriptedAuth } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

const METHOD = { authenticationMethod: "m" };
const AWAY = { sessionExpiryInterval: 1_000 };
const EVERYTHING: Permissions = "everything";

const allow = (...filters: string[]): Permissions => ({
  allow: filters.map((filter) => ({ on: "both", filter })),
});
const stay = (changes: Partial<PrincipalInit> = {}): Judgement => ({
  do: "stay",
  principal: { id: "anna", provider: "scripted", permissions: EVERYTHING, ...changes },
});
const out: Judgement = { do: "out", why: "the account is gone" };
const anew: Judgement = { do: "anew", why: "nobody can tell" };

/** A watcher who sees everything, and a client "c" that came in as anna with every right. */
function scene(init: ConnectInit = {}) {
  const auth = new ScriptedAuth(({ username }) => accept(username === "watcher" ? { id: "watcher" } : {}));
  const world = new World({ auth });
  const watcher = world.connect({ username: "watcher" });
  watcher.subscribe("#");
  const client = world.connect({ clientId: "c", ...init });
  const principalOf = (clientId = "c"): Principal =>
    [...world.broker.principals()].find((session) => session.clientId === clientId)!.principal;
  const judge = (judgement: Judgement, asked = principalOf()) => {
    const became = world.broker.rejudge("c", asked, judgement, world.nowMs);
    world.settle();
    return became;
  };
  const events = () => world.log.map(({ event }) => event);
  const back = (more: ConnectInit = {}) => world.connect({ clientId: "c", cleanStart: false, ...more });
  return { auth, world, watcher, client, principalOf, judge, events, back };
}

const topics = (client: TestClient) => client.takePublishes().map(({ topicName }) => topicName);

describe("a client that is there", () => {
  test("loses what it may not any more and keeps the rest, without being disconnected", () => {
    const { judge, watcher, client, events } = scene({
      will: { topicName: "will" },
      properties: { receiveMaximum: 1 },
    });
    client.subscribe(["keep/#", "lose/#", "$share/g/lose/+"]);
    watcher.publish("keep/1", "sent", { qos: 1 });
    watcher.publish("lose/1", "waits", { qos: 1 });
    const sent = client.take("publish");
    expect(judge(stay({ permissions: allow("keep/#") }))).toBe("changed");
    client.send({ type: "puback", packetId: sent.packetId!, reasonCode: 0, properties: {} });
    expect(client.packets).toEqual([]);
    expect(watcher.publish("lose/2", "", { qos: 1 })).toBe(0);
    watcher.publish("keep/2");
    expect(topics(client)).toEqual(["keep/2"]);
    expect([client.publish("lose/3", "", { qos: 1 }), client.publish("keep/3", "", { qos: 1 })]).toEqual([0x87, 0]);
    expect(client.subscribe("lose/#").reasonCodes).toEqual([0x87]);
    watcher.takeAll();
    client.drop();
    expect(topics(watcher)).toEqual([]);
    expect(events()).toEqual(["subscription-revoked", "subscription-revoked", "messages-revoked", "will-revoked"]);
  });

  test("may do at once what it may do now, and its QoS is lowered to what is granted", () => {
    const { auth, world, judge, watcher, client } = scene();
    expect(judge(stay({ permissions: allow("a") }))).toBe("changed");
    expect(client.subscribe("b").reasonCodes).toEqual([0x87]);
    expect(judge(stay({ permissions: allow("a", "b") }))).toBe("changed");
    expect(client.subscribe("b").reasonCodes).toEqual([2]);
    const lower: Permissions = { allow: [{ on: "sub", filter: "b", maxQos: 0 }] };
    expect(judge(stay({ permissions: lower }))).toBe("changed");
    watcher.publish("b", "", { qos: 2 });
    expect(client.takePublishes().map(({ qos }) => qos)).toEqual([0]);
    expect(auth.requests).toHaveLength(2);
    expect(world.log).toEqual([]);
  });

  test("with the same rights notices nothing; the new principal counts from then on", () => {
    const { judge, principalOf, client, events } = scene({ will: { topicName: "will" } });
    client.subscribe("a");
    expect(judge(stay({ evidence: "new", attributes: { group: "g" } }))).toBe("kept");
    expect(principalOf()).toMatchObject({ id: "anna", evidence: "new", attributes: { group: "g" } });
    expect([client.packets, events()]).toEqual([[], []]);
  });

  test("gets the new expiry, sooner, later or none; one that has passed ends it with its Will", () => {
    const { world, judge, watcher, client } = scene({ will: { topicName: "will" } });
    judge(stay({ expiresAtMs: world.nowMs + 1_000 }));
    judge(stay({ expiresAtMs: world.nowMs + 5_000 }));
    world.advance(4_999);
    judge(stay());
    world.advance(10_000);
    expect(client.closed).toBe(false);
    expect(judge(stay({ expiresAtMs: world.nowMs - 1 }))).toBe("kept");
    world.advance(0);
    expect(client.take("disconnect").reasonCode).toBe(0x87);
    expect(topics(watcher)).toEqual(["will"]);
  });

  test.each([4, 5] as const)("of level %d that may not stay is told so, and its Will is not published", (level) => {
    const { judge, watcher, client, world, events } = scene({ level, will: { topicName: "will" }, cleanStart: false });
    client.subscribe("a");
    expect(judge(out)).toBe("out");
    expect(client.takeAll().map((packet) => (packet.type === "disconnect" ? packet.reasonCode : packet.type))).toEqual(
      level === 5 ? [0x87] : [],
    );
    expect([client.closed, client.closeReason]).toEqual([true, 0x87]);
    world.advance(1_000);
    expect(topics(watcher)).toEqual([]);
    expect(events()).toEqual(["subscription-revoked", "will-revoked", "dropped"]);
    expect(world.log.at(-1)?.fields).toMatchObject({ clientId: "c", principal: "anna", why: "the account is gone" });
  });

  test.each([
    ["id", { id: "bert" }, "another identity"],
    ["provider", { provider: "other" }, "another identity"],
    ["client id rule", { clientId: { equals: "d" } }, "not with this client id"],
    ["expiry that is no number", { expiresAtMs: Number.NaN }, "principal not usable"],
  ])("may not stay with another %s", (_what, changes, why) => {
    const { judge, client, world } = scene();
    expect(judge(stay(changes))).toBe("out");
    expect(client.take("disconnect").reasonCode).toBe(0x87);
    expect(world.log.at(-1)?.fields["why"]).toBe(why);
  });

  test("that nobody can judge has to come in anew: 0x87, its Will as at any such end, its session as it was", () => {
    const { judge, watcher, client, events, back } = scene({ will: { topicName: "will" }, properties: AWAY });
    client.subscribe("a");
    expect(judge(anew)).toBe("anew");
    expect(client.take("disconnect").reasonCode).toBe(0x87);
    expect(topics(watcher)).toEqual(["will"]);
    watcher.publish("a", "", { qos: 1 });
    const again = back();
    expect([again.connack?.sessionPresent, topics(again), events()]).toEqual([true, ["a"], ["dropped"]]);
  });

  test("is granted a shorter session, which counts once it has left", () => {
    const { judge, world, client } = scene({ properties: AWAY });
    expect(judge(stay({ sessionExpiryIntervalMax: 10 }))).toBe("kept");
    world.advance(20_000);
    expect([client.closed, world.broker.report("c")?.connected]).toEqual([false, true]);
    client.drop();
    world.advance(9_999);
    expect(world.broker.report("c")).toBeDefined();
    world.advance(1);
    expect(world.broker.report("c")).toBeUndefined();
  });

  test("that authenticates again while it is judged ends up with the later verdict", () => {
    const { auth, world, judge, client } = scene({ properties: METHOD });
    auth.answer = () => undefined;
    client.send({ type: "auth", reasonCode: 0x19, properties: METHOD });
    expect(judge(stay({ permissions: allow("a") }))).toBe("changed");
    expect([client.packets, client.publish("b", "", { qos: 1 })]).toEqual([[], 0x87]);
    auth.decide(world, accept({ permissions: allow("b") }));
    expect(client.take("auth").reasonCode).toBe(0);
    expect(client.publish("b", "", { qos: 1 })).toBe(0);
  });

  test("whose rights cannot be put in force has none", () => {
    const { judge, client, events } = scene();
    const permissions = {
      get allow(): never {
        throw new Error("broken");
      },
    };
    expect(judge(stay({ permissions }))).toBe("out");
    expect(client.take("disconnect").reasonCode).toBe(0x87);
    expect(events()).toEqual(["bug", "dropped"]);
  });
});

describe("a client that is away", () => {
  const will = { topicName: "will", properties: { willDelayInterval: 100 } };

  test("keeps its session, less what it may not receive or publish any more", () => {
    const { judge, world, watcher, client, events, back } = scene({ will, properties: AWAY });
    client.subscribe(["keep", "lose"]);
    watcher.publish("lose", "under way", { qos: 1 });
    client.drop();
    watcher.publish("lose", "waits", { qos: 1 });
    watcher.publish("keep", "waits", { qos: 1 });
    expect(judge(stay({ permissions: allow("keep") }))).toBe("changed");
    watcher.takeAll();
    world.advance(200_000);
    expect(topics(watcher)).toEqual([]);
    expect(events()).toEqual(["subscription-revoked", "messages-revoked", "will-revoked"]);
    const again = back();
    expect([again.connack?.sessionPresent, topics(again)]).toEqual([true, ["keep"]]);
  });

  test("is no worse off for credentials that have expired", () => {
    const { judge, watcher, client, world, back } = scene({ properties: AWAY });
    client.subscribe("a");
    client.drop();
    watcher.publish("a", "", { qos: 1 });
    expect(judge(stay({ expiresAtMs: world.nowMs - 1 }))).toBe("kept");
    world.advance(10_000);
    expect(topics(back())).toEqual(["a"]);
  });

  test("that may not stay delivers and publishes nothing, until its client has been let in again", () => {
    const { judge, principalOf, world, watcher, client, back } = scene({ will, properties: AWAY });
    client.subscribe("a");
    client.drop();
    watcher.publish("a", "waits", { qos: 1 });
    const asked = principalOf();
    expect(judge(out)).toBe("out");
    // What was withdrawn is not given back by a judgement, old or new.
    expect([...world.broker.principals()].map(({ clientId }) => clientId)).not.toContain("c");
    expect(judge(stay(), asked)).toBe("gone");
    watcher.takeAll();
    world.advance(200_000);
    expect(topics(watcher)).toEqual([]);
    const again = back();
    expect([again.connack?.sessionPresent, topics(again)]).toEqual([true, []]);
    expect([again.subscribe("a").reasonCodes, principalOf().id]).toEqual([[2], "anna"]);
  });

  test("that nobody can judge stays as it was, its Will included, and is judged when it returns", () => {
    const { auth, judge, world, watcher, client, back } = scene({ will, properties: AWAY });
    client.subscribe("a");
    client.drop();
    expect(judge(anew)).toBe("unjudged");
    world.advance(200_000);
    expect(topics(watcher)).toEqual(["will"]);
    watcher.publish("a", "waits", { qos: 1 });
    auth.answer = () => accept({ permissions: allow("b") });
    expect(topics(back())).toEqual([]);
  });

  test.each([
    ["a finite interval", 1_000],
    ["one without end", 0xffff_ffff],
  ])("ends within what its client is granted now: %s", (_what, sessionExpiryInterval) => {
    const { judge, world, client } = scene({ properties: { sessionExpiryInterval } });
    client.drop();
    world.advance(10_000);
    judge(stay({ sessionExpiryIntervalMax: 2_000 }));
    judge(stay({ sessionExpiryIntervalMax: 30 }));
    judge(stay({ sessionExpiryIntervalMax: 40 }));
    world.advance(29_999);
    expect(world.broker.report("c")).toBeDefined();
    world.advance(1);
    expect(world.broker.report("c")).toBeUndefined();
  });
});

describe("a session that changed hands while the authority was asked is left alone", () => {
  test("taken over by another connection of the same client", () => {
    const { judge, principalOf, client, back } = scene({ properties: AWAY });
    client.subscribe("a");
    const asked = principalOf();
    const next = back();
    expect([judge(out, asked), judge(anew, asked), judge(stay({ permissions: allow() }), asked)]).toEqual([
      "gone",
      "gone",
      "gone",
    ]);
    expect([next.closed, next.publish("a", "", { qos: 1 })]).toEqual([false, 0]);
  });

  test("authenticated again", () => {
    const { judge, principalOf, client } = scene({ properties: METHOD });
    const asked = principalOf();
    client.send({ type: "auth", reasonCode: 0x19, properties: METHOD });
    client.take("auth");
    expect([judge(out, asked), client.closed]).toEqual(["gone", false]);
  });

  test("ended, and begun anew by somebody else", () => {
    const { auth, judge, principalOf, client, world } = scene();
    const asked = principalOf();
    client.disconnect();
    expect(judge(out, asked)).toBe("gone");
    auth.answer = () => accept({ id: "bert" });
    const bert = world.connect({ clientId: "c" });
    expect([judge(stay({ permissions: allow() }), asked), bert.publish("a", "", { qos: 1 })]).toEqual(["gone", 0]);
  });

  test("refused meanwhile: who is not let in is nobody's concern", () => {
    const { auth, world, judge } = scene();
    auth.answer = () => refuse("bad-credentials");
    world.dial({ clientId: "c" });
    expect(judge(stay())).toBe("kept");
  });
});

test("everybody is listed who has rights to a session, there and away, while sessions come and go", () => {
  const { world, client } = scene({ properties: AWAY });
  client.drop();
  const seen: string[] = [];
  for (const { clientId, principal } of world.broker.principals()) {
    seen.push(`${clientId} ${principal.id}`);
    if (seen.length === 1) world.connect({ clientId: "late" });
  }
  expect(seen).toEqual(["client1 watcher", "c anna", "late anna"]);
});
