/** Compiled permissions: what is covered, what is denied, what a placeholder may stand for. */
import { describe, expect, test } from "bun:test";
import { Grant } from "../../src/core/gate/grant.ts";
import type { Permissions, PrincipalInit, Rule } from "../../src/core/gate/provider.ts";

function grant(permissions: Permissions, changes: Partial<PrincipalInit> = {}, ceiling: readonly Rule[] = []): Grant {
  return new Grant({ id: "door", ...changes, permissions }, "client", { deny: ceiling });
}

const allow = (...rules: Rule[]) => grant({ allow: rules });

describe("publishing", () => {
  test("is allowed by a rule that matches, with its QoS and RETAIN", () => {
    const g = allow(
      { on: "pub", filter: "a/+", maxQos: 1 },
      { on: "both", filter: "b/#", retain: false },
      { on: "sub", filter: "c" },
    );
    expect([0, 1, 2].map((qos) => g.mayPublish("a/x", qos as 0, false))).toEqual([true, true, false]);
    expect([g.mayPublish("b", 2, false), g.mayPublish("b", 0, true), g.mayPublish("a/x", 0, true)]).toEqual([
      true,
      false,
      true,
    ]);
    expect([g.mayPublish("c", 0, false), g.mayPublish("a/x/y", 0, false)]).toEqual([false, false]);
  });

  test("the answer does not depend on what was asked before", () => {
    const g = allow({ on: "pub", filter: "a", maxQos: 0 }, { on: "pub", filter: "+", maxQos: 1, retain: false });
    for (let round = 0; round < 2; round++) {
      expect([g.mayPublish("a", 1, false), g.mayPublish("a", 1, true), g.mayPublish("a", 0, true)]).toEqual([
        true,
        false,
        true,
      ]);
    }
  });

  test("ten thousand topics are remembered in bounded memory and answered right", () => {
    const g = allow({ on: "pub", filter: "a/+" });
    for (let at = 0; at < 10_000; at++)
      expect(g.mayPublish(at % 2 === 0 ? `a/${at}` : `b/${at}`, 0, false)).toBe(at % 2 === 0);
  });

  test("a deny rule wins, and so does the ceiling, over everything too", () => {
    const denied = grant({ allow: [{ on: "both", filter: "#" }], deny: [{ on: "pub", filter: "secret/#" }] });
    expect([denied.mayPublish("secret/a", 0, false), denied.mayPublish("a", 0, false)]).toEqual([false, true]);
    expect(denied.publishesAnything).toBe(false);
    const capped = grant("everything", {}, [{ on: "both", filter: "secret/#" }]);
    expect([capped.mayPublish("secret", 0, false), capped.mayPublish("a", 0, false)]).toEqual([false, true]);
    expect([capped.publishesAnything, capped.allowsEverything]).toEqual([false, false]);
  });
});

describe("subscribing", () => {
  test("C: a holder of a/+ asks for more than it covers", () => {
    const g = allow({ on: "sub", filter: "a/+" });
    for (const filter of ["a/#", "#", "+/+", "a/+/#", "a", "a/b/c", "+/b"])
      expect(g.maySubscribe(filter, "", 2)).toBe(-1);
    for (const filter of ["a/+", "a/b", "a/"]) expect(g.maySubscribe(filter, "", 2)).toBe(2);
  });

  test("C: $ topics are not covered by a leading wildcard", () => {
    const g = allow({ on: "sub", filter: "#" });
    expect([g.maySubscribe("$SYS/#", "", 0), g.maySubscribe("#", "", 0)]).toEqual([-1, 0]);
    expect(allow({ on: "sub", filter: "$SYS/#" }).maySubscribe("$SYS/broker/uptime", "", 0)).toBe(0);
    expect(grant("everything").maySubscribe("$SYS/#", "", 1)).toBe(1);
  });

  test("QoS is lowered to the best rule that covers", () => {
    const g = allow({ on: "sub", filter: "a/#", maxQos: 0 }, { on: "sub", filter: "a/b", maxQos: 1 });
    expect([g.maySubscribe("a/b", "", 2), g.maySubscribe("a/c", "", 2), g.maySubscribe("a/b", "", 0)]).toEqual([
      1, 0, 0,
    ]);
  });

  test("C: share names are allowed, forbidden or listed", () => {
    const g = (share?: boolean | string[]) =>
      allow({ on: "sub", filter: "a", ...(share === undefined ? {} : { share }) });
    expect([undefined, true, false, ["g"], ["h"]].map((share) => g(share).maySubscribe("a", "g", 1))).toEqual([
      1, 1, -1, 1, -1,
    ]);
    expect(g(false).maySubscribe("a", "", 1)).toBe(1);
  });

  test("C: a deny rule that overlaps refuses, and every delivery is looked at", () => {
    const g = grant({ allow: [{ on: "sub", filter: "#" }], deny: [{ on: "sub", filter: "a/secret/+" }] });
    for (const filter of ["#", "a/#", "+/+/+", "a/secret/x"]) expect(g.maySubscribe(filter, "", 0)).toBe(-1);
    expect(g.maySubscribe("a/public", "", 0)).toBe(0);
    expect([g.deniesDeliveries, g.mayReceive("a/secret/x"), g.mayReceive("a/public")]).toEqual([true, false, true]);
    expect(allow({ on: "sub", filter: "#" }).deniesDeliveries).toBe(false);
  });
});

describe("placeholders", () => {
  const rules: Rule[] = [
    { on: "both", filter: "id/${id}" },
    { on: "both", filter: "user/${username}/#" },
    { on: "both", filter: "client/${clientId}" },
    { on: "both", filter: "claim/${claim.tenant}/x" },
  ];

  test("stand for id, user name, client id and claims", () => {
    const g = grant({ allow: rules }, { username: "u", attributes: { tenant: "t" } });
    for (const topic of ["id/door", "user/u/a/b", "client/client", "claim/t/x"])
      expect(g.mayPublish(topic, 0, false)).toBe(true);
    for (const topic of ["id/x", "user/x/a", "client/x", "claim/x/x"])
      expect(g.mayPublish(topic, 0, false)).toBe(false);
  });

  test.each(["", "#", "+", "a/b", "$x", "a#", "a\0b", "/"])("E: the value %j makes an allow rule void", (value) => {
    const g = grant(
      { allow: rules },
      { id: value === "" ? "" : value, username: value, attributes: { tenant: value } },
    );
    for (const topic of [
      `id/${value}`,
      `user/${value}/a`,
      `claim/${value}/x`,
      "id/a",
      "user/a/b",
      "claim/a/x",
      "id/",
      "claim//x",
    ]) {
      expect(g.mayPublish(topic, 0, false)).toBe(false);
    }
  });

  test("E: a claim that is missing, or a name of every object, makes its rule void", () => {
    for (const name of ["tenant", "constructor", "__proto__", "toString"]) {
      const g = grant({ allow: [{ on: "both", filter: `a/\${claim.${name}}` }] }, { attributes: {} });
      expect(g.maySubscribe("a/+", "", 0)).toBe(-1);
      expect(g.mayPublish("a/undefined", 0, false)).toBe(false);
    }
  });

  test("E: a deny rule that cannot be filled in denies every filling", () => {
    const everything: Rule[] = [{ on: "both", filter: "#" }];
    const g = grant({ allow: everything, deny: [{ on: "both", filter: "x/pre-${username}/y" }] }, { username: "a/b" });
    expect([
      g.mayPublish("x/pre-q/y", 0, false),
      g.mayPublish("x/other/y", 0, false),
      g.mayPublish("z", 0, false),
    ]).toEqual([false, false, true]);
  });

  test("E: pattern characters in a value are plain characters", () => {
    const g = grant({ allow: rules }, { id: "a.*[\\^", username: "%u%c" });
    expect([
      g.mayPublish("id/a.*[\\^", 0, false),
      g.mayPublish("id/ab", 0, false),
      g.mayPublish("user/%u%c/x", 0, false),
    ]).toEqual([true, false, true]);
  });

  test("a rule whose filter is none is void, or denies everything", () => {
    expect(allow({ on: "both", filter: "a/#/b" }).mayPublish("a", 0, false)).toBe(false);
    const g = grant({ allow: [{ on: "both", filter: "#" }], deny: [{ on: "pub", filter: "a/#/b" }] });
    expect(g.mayPublish("a", 0, false)).toBe(false);
  });

  test("E: a deny rule denies what it could mean: a share's filter, an open placeholder, a first level that is anything", () => {
    const everything: Rule[] = [
      { on: "both", filter: "#" },
      { on: "sub", filter: "$SYS/#" },
    ];
    const g = (filter: string, changes: Partial<PrincipalInit> = {}) =>
      grant({ allow: everything, deny: [{ on: "sub", filter }] }, changes);
    expect(g("$share/g/secret/#").maySubscribe("secret/a", "", 0)).toBe(-1);
    expect(g("$share/g/secret/#").maySubscribe("open", "", 0)).toBe(0);
    expect(g("a/${id").maySubscribe("open", "", 0)).toBe(-1);
    for (const filter of ["${claim.x}/#", "#"]) {
      expect(g(filter, { attributes: { x: "$SYS" } }).maySubscribe("$SYS/broker", "", 0)).toBe(-1);
    }
    expect(allow({ on: "sub", filter: "a/${id" }).maySubscribe("a/${id", "", 0)).toBe(-1);
  });
});
