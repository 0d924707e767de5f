/**
 * The user file: one line for a user, one line for a rule, in any order.
 *
 *   # a comment, or an empty line
 *   door:SECRET:sensors,outdoors
 *   allow @sensors pub tele/${username}/#
 *
 * Owns the form of the file and which rules are a user's; what a secret looks like is its kind's business. A line that is not
 * understood refuses the whole file, with file and line and never with the line's text, which may hold a password in clear.
 */
import type { Rule, RuleSet } from "../../src/core/gate/provider.ts";
import { EVERYBODY, isRuleLine, type RuleLine, readRuleLine } from "./rule-line.ts";

/** What a user shows that the password is known: an argon2id hash, or keys of SCRAM. */
export interface SecretKind<S> {
  /** The form of a user's line. */
  readonly form: string;
  /** Told apart among the secrets of one user; a second one of the same sort is a mistake. */
  sortOf(secret: S): string;
  /** Throws an Error that says what was expected. */
  read(text: string, name: string): S;
}

export interface Account<S> {
  readonly name: string;
  /** By sort. */
  readonly secrets: ReadonlyMap<string, S>;
  /** The secrets as they stand in the file: changed text is a changed password. */
  readonly secretText: string;
  readonly groups: readonly string[];
  readonly permissions: RuleSet;
}

export interface Accounts<S> {
  readonly byName: ReadonlyMap<string, Account<S>>;
  readonly all: readonly Account<S>[];
  readonly ruleCount: number;
  /** What is allowed but hardly meant, for the log. */
  readonly warnings: readonly string[];
}

interface Draft<S> {
  readonly secrets: Map<string, S>;
  readonly texts: string[];
  readonly groups: Set<string>;
}

interface NumberedRule extends RuleLine {
  readonly line: number;
}

const NAME_BYTES_MAX = 256;
const WARNINGS_MAX = 20;

/** Reads the text of `file`; throws an Error that begins with file and line. */
export function readAccounts<S>(text: string, file: string, kind: SecretKind<S>): Accounts<S> {
  const drafts = new Map<string, Draft<S>>();
  const rules: NumberedRule[] = [];
  for (const [at, raw] of text.split(/\r?\n/u).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    try {
      if (isRuleLine(line)) rules.push({ ...readRuleLine(line), line: at + 1 });
      else readUserLine(line, kind, drafts);
    } catch (error) {
      throw new Error(`${file}:${at + 1}: ${error instanceof Error ? error.message : "not understood"}`);
    }
  }
  return assemble(drafts, rules, file);
}

function readUserLine<S>(line: string, kind: SecretKind<S>, drafts: Map<string, Draft<S>>): void {
  const [name = "", secretText = "", groupText, ...rest] = line.split(":");
  if (secretText === "" || rest.length > 0) throw new Error(`expected ${kind.form}, or a line with allow or deny`);
  checkName(name);
  const secret = kind.read(secretText, name);
  const draft = drafts.get(name) ?? { secrets: new Map<string, S>(), texts: [], groups: new Set<string>() };
  const sort = kind.sortOf(secret);
  if (draft.secrets.has(sort)) throw new Error("expected one line for a user, found a second one");
  draft.secrets.set(sort, secret);
  draft.texts.push(secretText);
  for (const group of groupText === undefined ? [] : groupText.split(",")) {
    if (!/^[^\s@"]+$/u.test(group.trim())) throw new Error("expected groups as NAME,NAME without blanks, @ and quotes");
    draft.groups.add(group.trim());
  }
  drafts.set(name, draft);
}

function checkName(name: string): void {
  if (name === "" || name !== name.trim() || Buffer.byteLength(name) > NAME_BYTES_MAX || /[\p{Cc}"]/u.test(name)) {
    throw new Error(`expected a user name of 1 to ${NAME_BYTES_MAX} bytes without blanks around it and without quotes`);
  }
  if (name.startsWith("@") || name === EVERYBODY) {
    throw new Error(`expected a user name that is not "${EVERYBODY}" and does not begin with "@": rules use these`);
  }
}

/** Gives each user the rules that are theirs; users with the same ones share one set. */
function assemble<S>(drafts: ReadonlyMap<string, Draft<S>>, rules: readonly NumberedRule[], file: string): Accounts<S> {
  const rulesOf = Map.groupBy(rules, ({ who }) => who);
  const sets = new Map<string, RuleSet>();
  const byName = new Map<string, Account<S>>();
  const seen = new Set([EVERYBODY]);
  const powerless: string[] = [];
  for (const [name, { secrets, texts, groups }] of drafts) {
    const roles = [EVERYBODY, ...[...groups].sort().map((group) => `@${group}`), name];
    for (const role of roles) seen.add(role);
    const key = roles.filter((role) => rulesOf.has(role)).join("\0");
    const permissions = sets.get(key) ?? ruleSet(roles.flatMap((role) => rulesOf.get(role) ?? []));
    sets.set(key, permissions);
    if (permissions.allow.length === 0) powerless.push(name);
    byName.set(name, { name, secrets, secretText: texts.join("\n"), groups: [...groups], permissions });
  }
  const warnings = warningsOf(rules, seen, powerless, byName.size, file);
  return { byName, all: [...byName.values()], ruleCount: rules.length, warnings };
}

function ruleSet(lines: readonly RuleLine[]): RuleSet {
  const only = (effect: string): Rule[] => lines.filter((line) => line.effect === effect).map(({ rule }) => rule);
  return { allow: only("allow"), deny: only("deny") };
}

/**
 * Only warnings: were a rule about nobody an error, then a file from which a user was removed in haste would be refused, and
 * the one before it, with that user, would stay in force.
 */
function warningsOf(
  rules: readonly NumberedRule[],
  seen: ReadonlySet<string>,
  powerless: readonly string[],
  userCount: number,
  file: string,
): string[] {
  const warnings = rules
    .filter(({ who }) => !seen.has(who))
    .map(({ line, who }) => `${file}:${line}: no user ${who.startsWith("@") ? "is in that group" : "has that name"}`);
  if (userCount === 0) warnings.push(`${file}: no users: nobody comes in`);
  if (powerless.length > 0) {
    warnings.push(`${file}: ${powerless.length} users without an allow rule may do nothing, such as ${powerless[0]}`);
  }
  return warnings.slice(0, WARNINGS_MAX);
}
