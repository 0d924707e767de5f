/**
 * Rules as they stand in settings or in the answer of a service: the contract's `Rule`, read strictly.
 *
 * Refuses what could be mistaken for a rule: unknown keys, an unknown word, a filter that no topic could match.
 */
import type { Rule, RuleSet } from "../../src/core/gate/provider.ts";
import { either, group, list, oneOf, onOff, optional, type Setting, text, whole } from "../settings.ts";

const FILTER = 'a Topic Filter without "$share/"';
const maxQos = { ...whole(0, 2), expected: "0, 1 or 2" } as Setting<0 | 1 | 2>;

function filter(): Setting<string> {
  const anyText = text(FILTER);
  return {
    expected: FILTER,
    // What is no filter is read as nothing, so that the complaint says what was expected.
    read: (value, path) => anyText.read(typeof value === "string" && isTopicFilter(value) ? value : undefined, path),
  };
}

function isTopicFilter(value: string): boolean {
  if (value === "" || value.startsWith("$share/")) return false;
  const levels = value.split("/");
  return levels.every((level, at) => {
    if (level === "#") return at === levels.length - 1;
    return level === "+" || !/[+#\0]/u.test(level);
  });
}

/** `{ on = "pub", filter = "a/${id}/#", maxQos = 1, retain = false, share = ["workers"] }` */
export function rule(): Setting<Rule> {
  return group({
    on: oneOf("pub", "sub", "both"),
    filter: filter(),
    maxQos: optional(maxQos),
    retain: optional(onOff()),
    share: optional(either(onOff(), list(text()))),
  });
}

/** Lists of allow and deny rules; neither has to be there. */
export function rules() {
  return { allow: optional(list(rule()), []), deny: optional(list(rule()), []) };
}

/** `{ allow = [...], deny = [...] }` */
export function ruleSet(): Setting<RuleSet> {
  return group(rules());
}
