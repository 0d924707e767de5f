/** What a client may do, as the last line of an explanation: a person reads here which rules came out. */
import type { Check, Permissions, Rule } from "../../src/core/gate/provider.ts";

const RULES_SHOWN_MAX = 20;

/** Never a failure: who has no rights gets in, and may do nothing. */
export function rightsCheck(permissions: Permissions): Check {
  const expected = "rules that allow something";
  if (permissions === "everything") return { name: "rights", ok: true, expected, found: "everything" };
  const { allow, deny = [] } = permissions;
  const texts = [...allow.map((rule) => `allow ${ruleText(rule)}`), ...deny.map((rule) => `deny ${ruleText(rule)}`)];
  const shown = texts.slice(0, RULES_SHOWN_MAX);
  if (shown.length < texts.length) shown.push(`and ${texts.length - shown.length} more`);
  const found = shown.length === 0 ? "none" : shown.join("; ");
  if (allow.length > 0) return { name: "rights", ok: true, expected, found };
  return { name: "rights", ok: true, expected, found, hint: "the client gets in and may do nothing" };
}

function ruleText({ on, filter, maxQos, retain, share }: Rule): string {
  const details = [
    ...(maxQos === undefined ? [] : [`maxQos=${maxQos}`]),
    ...(retain === false ? ["not retained"] : []),
    ...(share === undefined || share === true ? [] : [share === false ? "not shared" : `share=${share.join("|")}`]),
  ];
  return [on, filter, ...details].join(" ");
}
