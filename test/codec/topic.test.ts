/**
 * Topic Names and Topic Filters (MQTT 5.0 section 4.7, MQTT 3.1.1 section 4.7): syntax, matching, coverage and overlap
 * against brute force over small alphabets, with a matcher that is a regular expression.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PeerError } from "../../src/core/codec/peer-error.ts";
import {
  checkTopicName,
  checkTopicNameBytes,
  filterCovers,
  filtersOverlap,
  parseTopicFilter,
  topicMatches,
} from "../../src/core/codec/topic.ts";
import { encodeUtf8 } from "../../src/core/codec/utf8.ts";

const SEED = 47;
const LEVELS_MAX = 128;

/** Every list of `count` items. */
function lists<T>(items: readonly T[], count: number): T[][] {
  if (count === 0) return [[]];
  return lists(items, count - 1).flatMap((list) => items.map((item) => [...list, item]));
}

const upTo = (items: readonly string[], count: number): string[] =>
  Array.from({ length: count }, (_, index) => lists(items, index + 1).map((levels) => levels.join("/"))).flat();

/** The rules of section 4.7 as a regular expression. */
function expression(topicFilter: string): RegExp {
  const levels = topicFilter.split("/").map((level) => {
    if (level === "+") return "[^/]*";
    return level.replaceAll("$", "\\$");
  });
  const hidden = /^[+#]/.test(topicFilter) ? "(?!\\$)" : "";
  if (levels.at(-1) !== "#") return new RegExp(`^${hidden}${levels.join("/")}$`, "u");
  const parent = levels.slice(0, -1).join("/");
  return levels.length === 1 ? new RegExp(`^${hidden}`, "u") : new RegExp(`^${hidden}${parent}(/.*)?$`, "u");
}

/** "z" stands in no filter: for the names that only a wildcard matches. */
const NAMES: readonly string[] = upTo(["", "a", "$a", "z"], 4).filter((name) => name !== "");
const FILTERS: readonly string[] = [
  ...upTo(["", "a", "$a", "+"], 3),
  ...["", ...upTo(["", "a", "$a", "+"], 2).map((parent) => `${parent}/`)].map((parent) => `${parent}#`),
].filter((filter) => filter !== "");

/** What each filter matches, by the regular expression. */
const MATCHED: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  FILTERS.map((filter) => [filter, new Set(NAMES.filter((name) => expression(filter).test(name)))]),
);

const PAIRS = FILTERS.flatMap((first) => FILTERS.map((second) => [first, second] as const));

describe("matching", () => {
  test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] every small filter against every small name", () => {
    const wrong = FILTERS.flatMap((filter) =>
      NAMES.filter((name) => topicMatches(filter, name) !== MATCHED.get(filter)!.has(name)).map(
        (name) => `${filter} and ${name}`,
      ),
    );
    expect(wrong).toEqual([]);
    expect(FILTERS.length * NAMES.length).toBeGreaterThan(30_000);
  });

  test("the examples of the specification", () => {
    const matching: readonly (readonly [string, string, boolean])[] = [
      ["sport/tennis/player1/#", "sport/tennis/player1", true],
      ["sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
      ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
      ["sport/#", "sport", true],
      ["sport/tennis/+", "sport/tennis/player1", true],
      ["sport/tennis/+", "sport/tennis/player1/ranking", false],
      ["sport/+", "sport", false],
      ["sport/+", "sport/", true],
      ["+/+", "/finance", true],
      ["/+", "/finance", true],
      ["+", "/finance", false],
      ["ACCOUNTS", "Accounts", false],
    ];
    for (const [filter, name, matches] of matching)
      expect([filter, name, topicMatches(filter, name)]).toEqual([filter, name, matches]);
  });

  test("[MQTT-4.7.2-1] [MQTT311-4.7.2-1] a filter that begins with a wildcard matches no name that begins with $", () => {
    for (const filter of ["#", "+", "+/#", "+/monitor/Clients", "+/+"]) {
      for (const name of ["$SYS", "$SYS/monitor/Clients", "$SYS/monitor", "$", "$/"])
        expect(topicMatches(filter, name)).toBe(false);
    }
    expect(topicMatches("$SYS/#", "$SYS/monitor/Clients")).toBe(true);
    expect(topicMatches("$SYS/#", "$SYS")).toBe(true);
    expect(topicMatches("$SYS/+/Clients", "$SYS/monitor/Clients")).toBe(true);
    expect(topicMatches("+/$SYS", "a/$SYS")).toBe(true);
    expect(topicMatches("#", "a/$SYS")).toBe(true);
  });

  test("[MQTT-4.7.3-4] [MQTT311-4.7.3-4] nothing is normalized or substituted", () => {
    const alike: readonly (readonly [string, string])[] = [
      ["\u00e9", "e\u0301"],
      ["a", "A"],
      ["a", "\u{feff}a"],
      ["a", " a"],
      ["\u212b", "\u00c5"],
      ["a//b", "a/b"],
    ];
    for (const [first, second] of alike) {
      expect([topicMatches(first, second), topicMatches(second, first)]).toEqual([false, false]);
      expect([topicMatches(first, first), topicMatches(second, second)]).toEqual([true, true]);
    }
  });

  test("a name matches itself and the filters made of it by putting wildcards in", () => {
    const level = fc.string({ unit: "binary", maxLength: 5 }).map((text) => text.replaceAll(/[+#/\0]/gu, "x"));
    fc.assert(
      fc.property(fc.array(level, { minLength: 1, maxLength: 8 }), fc.nat(), fc.nat(), (levels, place, depth) => {
        const name = levels.join("/");
        if (name === "") return;
        expect(topicMatches(name, name)).toBe(true);
        const hidden = name.startsWith("$");
        const at = place % levels.length;
        expect(topicMatches(levels.with(at, "+").join("/"), name)).toBe(!(hidden && at === 0));
        const kept = depth % (levels.length + 1);
        expect(topicMatches([...levels.slice(0, kept), "#"].join("/"), name)).toBe(!(hidden && kept === 0));
        expect(topicMatches(`${name}/+`, name)).toBe(false);
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });
});

describe("one filter and another", () => {
  test("a filter covers another when it matches every name that the other matches", () => {
    const wrong = PAIRS.filter(([allowed, requested]) => {
      const all = [...MATCHED.get(requested)!].every((name) => MATCHED.get(allowed)!.has(name));
      return filterCovers(allowed, requested) !== all;
    });
    expect(wrong).toEqual([]);
  });

  test("filters overlap when there is a name that both match", () => {
    const wrong = PAIRS.filter(([first, second]) => {
      const some = [...MATCHED.get(first)!].some((name) => MATCHED.get(second)!.has(name));
      return filtersOverlap(first, second) !== some;
    });
    expect(wrong).toEqual([]);
  });
});

describe("Topic Filters", () => {
  const VALID = /^(?:(?:\+|[^/+#]*)\/)*(?:\+|#|[^/+#]*)$/u;
  const valid = (filter: string): boolean => filter !== "" && VALID.test(filter);

  test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT311-4.7.1-2] [MQTT311-4.7.1-3] every text of up to six characters", () => {
    for (let length = 0; length <= 6; length++) {
      for (const characters of lists(["/", "+", "#", "a", "$"], length)) {
        const filter = characters.join("");
        const parsed = parseTopicFilter(filter, LEVELS_MAX);
        const expected = { shareName: "", topicFilter: filter, hasWildcard: /[+#]/.test(filter) };
        if (!Bun.deepEquals(parsed, valid(filter) ? expected : undefined))
          expect({ filter, parsed }).toEqual({ filter, parsed: undefined });
      }
    }
  });

  test("[MQTT-4.8.2-1] [MQTT-4.8.2-2] $share/ and every text of up to six characters", () => {
    for (let length = 0; length <= 6; length++) {
      for (const characters of lists(["/", "+", "#", "a"], length)) {
        const rest = characters.join("");
        const [, shareName, topicFilter] = /^([^/+#]+)\/(.+)$/u.exec(rest) ?? [];
        const good = shareName !== undefined && valid(topicFilter!);
        const expected = good
          ? { shareName, topicFilter: topicFilter!, hasWildcard: /[+#]/.test(topicFilter!) }
          : undefined;
        const parsed = parseTopicFilter(`$share/${rest}`, LEVELS_MAX);
        if (!Bun.deepEquals(parsed, expected)) expect({ rest, parsed }).toEqual({ rest, parsed: expected });
      }
    }
  });

  test("only $share with its separator makes a Shared Subscription", () => {
    for (const filter of ["$shared/g/a", "$Share/g/a", "a/$share/g/a", "$SHARE/g/a", " $share/g/a"]) {
      expect(parseTopicFilter(filter, LEVELS_MAX)).toEqual({ shareName: "", topicFilter: filter, hasWildcard: false });
    }
    expect(parseTopicFilter("$share/g/$share/h/a", LEVELS_MAX)?.topicFilter).toBe("$share/h/a");
    expect(parseTopicFilter("$share/\u{1f600}/a", LEVELS_MAX)?.shareName).toBe("\u{1f600}");
  });

  test("as many levels as allowed, and one more; a share is not counted", () => {
    expect(parseTopicFilter("a/b/c", 3)).toBeDefined();
    expect(parseTopicFilter("a/b/c/d", 3)).toBeUndefined();
    expect(parseTopicFilter("///", 3)).toBeUndefined();
    expect(parseTopicFilter("a/+/#", 3)).toBeDefined();
    expect(parseTopicFilter("$share/g/a/b/c", 3)).toBeDefined();
    expect(parseTopicFilter("$share/g/a/b/c/d", 3)).toBeUndefined();
  });
});

describe("Topic Names", () => {
  const ID = "MQTT-3.3.2-2";

  /** The refusal of the string check and of the byte check, which have to agree. */
  function refusals(name: string, levelsMax: number): (PeerError | undefined)[] {
    const bytes = encodeUtf8(`xx${name}xx`);
    const attempts = [
      () => checkTopicName(name, levelsMax, ID),
      () => checkTopicNameBytes(bytes, 2, bytes.length - 2, levelsMax),
    ];
    return attempts.map((attempt) => {
      try {
        attempt();
        return undefined;
      } catch (error) {
        if (error instanceof PeerError) return error;
        throw error;
      }
    });
  }

  test("[MQTT-4.7.0-1] [MQTT311-4.7.1-1] every text of up to five characters: wildcards are refused", () => {
    for (let length = 1; length <= 5; length++) {
      for (const characters of lists(["/", "+", "#", "a", "\u{1f600}", "!"], length)) {
        const name = characters.join("");
        const expected = /[+#]/.test(name) ? 0x90 : undefined;
        const codes = refusals(name, LEVELS_MAX).map((refusal) => refusal?.reasonCode);
        if (codes[0] !== expected || codes[1] !== expected)
          expect({ name, codes }).toEqual({ name, codes: [expected, expected] });
      }
    }
  });

  test("[MQTT-4.7.3-1] [MQTT311-4.7.3-1] a name has at least one character", () => {
    for (const refusal of refusals("", LEVELS_MAX)) {
      expect(refusal).toMatchObject({ reasonCode: 0x90, statement: "MQTT-4.7.3-1" });
    }
    expect(parseTopicFilter("", LEVELS_MAX)).toBeUndefined();
    expect(parseTopicFilter("$share/g/", LEVELS_MAX)).toBeUndefined();
    expect(refusals("/", LEVELS_MAX)).toEqual([undefined, undefined]);
    expect(refusals(" ", LEVELS_MAX)).toEqual([undefined, undefined]);
  });

  test("as many levels as allowed, and one more", () => {
    for (const [name, levels] of [
      ["a", 1],
      ["/", 2],
      ["a/b/c", 3],
      ["///", 4],
    ] as const) {
      expect(refusals(name, levels)).toEqual([undefined, undefined]);
      for (const refusal of refusals(name, levels - 1)) expect(refusal).toMatchObject({ reasonCode: 0x90 });
    }
  });

  test("no byte of a longer character is taken for a separator or a wildcard", () => {
    const name = "\u2b23\u232b\u2f2f\u{2b23f}\u012b\u0123\u012f";
    expect(refusals(name, 1)).toEqual([undefined, undefined]);
  });
});
