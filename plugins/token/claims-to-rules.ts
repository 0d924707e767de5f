/**
 * From verified claims to rules: what the settings grant to whoever holds a claim, and what scopes of the token grant.
 *
 * Invariant: a missing claim grants nothing, and what is wrong with a scope makes it void; it never grants more than it says.
 * A scope is `mqtt:read:FILTER` or `mqtt:write:FILTER`, percent-encoded once; RFC 6749 section 3.3, RFC 3986 section 2.1.
 */
import type { Rule, RuleSet } from "../../src/core/gate/provider.ts";
import { rule, rules } from "../rules/rule-setting.ts";
import { group, list, optional, type Setting } from "../settings.ts";
import { type ClaimPath, type Claims, type Condition, claimAt, condition, holds, oneOrList } from "./claim-path.ts";

export interface ClaimRules extends RuleSet {
  /** All of them have to hold. */
  readonly when: readonly Condition[];
  readonly deny: readonly Rule[];
}

export interface ScopeSettings {
  readonly scopeClaims: readonly ClaimPath[];
  readonly scopePrefix: string;
}

/** `{ when = { claim = "roles", has = "sensor" }, allow = [...], deny = [...] }` */
export function claimRules(): Setting<ClaimRules> {
  return group({ when: optional(oneOrList(condition()), []), ...rules() });
}

export function claimRulesList(): Setting<readonly ClaimRules[]> {
  return optional(list(claimRules()), []);
}

const SCOPES_MAX = 1024;
const strictRule = rule();

export function rulesOf(claims: Claims, settings: ScopeSettings & { readonly rules: readonly ClaimRules[] }): RuleSet {
  const granted = settings.rules.filter(({ when }) => when.every((condition) => holds(claims, condition)));
  const scoped = scopesOf(claims, settings.scopeClaims).flatMap(
    (scope) => ruleOfScope(scope, settings.scopePrefix) ?? [],
  );
  return {
    allow: [...granted.flatMap(({ allow }) => allow), ...scoped],
    deny: granted.flatMap(({ deny }) => deny),
  };
}

/** Scopes of all named claims; each claim is a text with spaces or a list of texts. */
export function scopesOf(claims: Claims, paths: readonly ClaimPath[]): readonly string[] {
  const scopes = paths.flatMap((path) => {
    const value = claimAt(claims, path);
    if (typeof value === "string") return value.split(" ");
    return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
  });
  return scopes.slice(0, SCOPES_MAX);
}

/** The rule that a scope stands for; `undefined` where it is another service's or void. */
export function ruleOfScope(scope: string, prefix: string): Rule | undefined {
  if (!scope.startsWith(prefix)) return undefined;
  const rest = scope.slice(prefix.length);
  const on = rest.startsWith("read:") ? "sub" : rest.startsWith("write:") ? "pub" : undefined;
  if (on === undefined) return undefined;
  try {
    return strictRule.read({ on, filter: decodeURIComponent(rest.slice(rest.indexOf(":") + 1)) }, []);
  } catch {
    // A broken percent-encoding or no Topic Filter: which one, the issuer has to find out.
    return undefined;
  }
}
