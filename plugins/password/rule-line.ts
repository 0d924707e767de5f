/**
 * A rule line of a user file: who may, or may not, do what, on which topics.
 *
 *   allow|deny  everybody|@GROUP|USER  pub|sub|both  FILTER  [maxQos=0|1|2] [retain=yes|no] [share=yes|no|NAME,NAME]
 *
 * Refuses whatever it does not know: a rule that was mistyped must never be a rule that does nothing. Words with blanks stand
 * in double quotes. Placeholders are left for the host to fill in.
 */
import type { Rule } from "../../src/core/gate/provider.ts";

export const EVERYBODY = "everybody";

export interface RuleLine {
  readonly effect: "allow" | "deny";
  /** `everybody`, `@group` or a user's name. */
  readonly who: string;
  readonly rule: Rule;
}

const EXPECTED = "expected allow|deny everybody|@GROUP|USER pub|sub|both FILTER [maxQos=..] [retain=..] [share=..]";
const FILTER_BYTES_MAX = 65_535;
const PLACEHOLDERS = ["${id}", "${username}", "${clientId}"];
const ANSWERS: Readonly<Record<string, boolean>> = { yes: true, no: false };

export function isRuleLine(line: string): boolean {
  return /^(?:allow|deny)(?:\s|$)/u.test(line);
}

/** Reads one line; throws an Error that says what was expected. */
export function readRuleLine(line: string): RuleLine {
  const [effect, who = "", on = "", filter = "", ...options] = wordsOf(line);
  if ((effect !== "allow" && effect !== "deny") || who === "" || who === "@") throw new Error(EXPECTED);
  if (on !== "pub" && on !== "sub" && on !== "both") throw new Error(EXPECTED);
  checkFilter(filter);
  if (effect === "deny" && options.length > 0) {
    throw new Error("expected no options: a deny rule forbids its topics at every QoS, retained or not, shared or not");
  }
  const rule = options.reduce<Rule>((built, option) => withOption(built, option), { on, filter });
  return { effect, who, rule };
}

function wordsOf(line: string): string[] {
  const words: string[] = [];
  let rest = line.trim();
  while (rest !== "") {
    const match = /^(?:"([^"]*)"|([^\s"]+))(?:\s+|$)/u.exec(rest);
    if (match === null) throw new Error(`${EXPECTED}; double quotes go around a whole word`);
    words.push(match[1] ?? match[2]!);
    rest = rest.slice(match[0].length);
  }
  return words;
}

function withOption(rule: Rule, option: string): Rule {
  const equals = option.indexOf("=");
  const key = equals < 0 ? option : option.slice(0, equals);
  const value = equals < 0 ? "" : option.slice(equals + 1);
  if (Object.hasOwn(rule, key)) throw new Error(`expected ${key} once`);
  switch (key) {
    case "maxQos":
      if (value !== "0" && value !== "1" && value !== "2") throw new Error("expected maxQos=0, maxQos=1 or maxQos=2");
      return { ...rule, maxQos: value === "0" ? 0 : value === "1" ? 1 : 2 };
    case "retain":
      if (rule.on === "sub") throw new Error("expected retain only with pub or both");
      if (!Object.hasOwn(ANSWERS, value)) throw new Error("expected retain=yes or retain=no");
      return { ...rule, retain: ANSWERS[value]! };
    case "share":
      if (rule.on === "pub") throw new Error("expected share only with sub or both");
      return { ...rule, share: shareOf(value) };
    default:
      throw new Error("expected options maxQos=, retain= or share=");
  }
}

function shareOf(value: string): boolean | readonly string[] {
  if (Object.hasOwn(ANSWERS, value)) return ANSWERS[value]!;
  const names = value.split(",");
  if (names.some((name) => name === "" || /[/+#\0]/u.test(name))) {
    throw new Error("expected share=yes, share=no or share=NAME,NAME without / + #");
  }
  return names;
}

/** MQTT 5.0 section 4.7, and what a rule's filter may not be beyond it. */
function checkFilter(filter: string): void {
  if (filter === "") throw new Error(`${EXPECTED}; FILTER is missing`);
  if (filter.includes("\0") || Buffer.byteLength(filter) > FILTER_BYTES_MAX) {
    throw new Error(`expected a topic filter without U+0000, at most ${FILTER_BYTES_MAX} bytes long`);
  }
  const levels = filter.split("/");
  if (levels[0] === "$share")
    throw new Error("expected the filter without $share/NAME/; the option share= says the rest");
  for (const [at, level] of levels.entries()) {
    if (level.includes("#") && (level !== "#" || at < levels.length - 1)) {
      throw new Error('expected "#" only as the last level, alone in it');
    }
    if (level.includes("+") && level !== "+") throw new Error('expected "+" alone in its level');
  }
  for (const [placeholder] of filter.matchAll(/\$\{[^}]*\}?/gu)) {
    if (!PLACEHOLDERS.includes(placeholder)) throw new Error(`expected no placeholders but ${PLACEHOLDERS.join(", ")}`);
  }
}
