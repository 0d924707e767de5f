/**
 * A principal's permissions, compiled: what the gate asks on CONNECT (Will), SUBSCRIBE, PUBLISH and delivery, without waiting.
 *
 * What no allow rule covers is refused; a deny rule always wins, and the configuration's ceiling is denied on top. A
 * subscription has to be covered by a rule as a filter, wildcards included, not merely matched as a topic. Placeholders are
 * filled in here, once: a value that could change the shape of a filter makes its allow rule void and its deny rule wider.
 */
import type { QoS } from "../codec/packet.ts";
import { filterCovers, filtersOverlap, parseTopicFilter, topicMatches } from "../codec/topic.ts";
import type { Ceiling } from "../limits.ts";
import type { Permissions, PrincipalInit, Rule, RuleSet } from "./provider.ts";

const ANY_QOS: QoS = 2;
const PLACEHOLDER = /\$\{([^}]*)\}/gu;
/** What no value of a placeholder may contain: separators, wildcards, U+0000. */
const UNSAFE_PARTS = ["/", "+", "#", "\u0000"];
/** Verdicts on topics remembered by one grant. */
const REMEMBERED_MAX = 1024;
const REMEMBERED_CHARACTERS_MAX = 256;

export class Grant {
  /** Whether every PUBLISH to a topic that does not begin with "$" is allowed, so that the topic need not be looked at. */
  readonly publishesAnything: boolean;
  /** Whether deliveries have to be looked at one by one: only with deny rules. */
  readonly deniesDeliveries: boolean;
  readonly allowsEverything: boolean;
  /** The rules with their placeholders filled in, without the ceiling: what a session that outlives the process needs to know. */
  readonly filled: Permissions;
  readonly #everything: boolean;
  /** The rules about publishing with their filters taken apart, since a PUBLISH looks at all of them. */
  readonly #publishAllowed: readonly SplitRule[];
  readonly #publishDenied: readonly SplitRule[];
  readonly #publishAllow: readonly Rule[];
  readonly #publishDeny: readonly Rule[];
  readonly #subscribeAllow: readonly Rule[];
  readonly #subscribeDeny: readonly Rule[];
  /** The highest QoS that may be published (-1: none), by Topic Name. */
  #remembered: Map<string, number> | null = null;
  #rememberedRetained: Map<string, number> | null = null;

  /** `isFilled`: the permissions are what another grant has as `filled`, and are taken word for word. */
  constructor(principal: PrincipalInit, clientId: string, ceiling: Ceiling, isFilled = false) {
    const { permissions } = principal;
    this.#everything = permissions === "everything";
    const { allow, deny = [] }: RuleSet = permissions === "everything" ? { allow: [] } : permissions;
    const fill = (rules: readonly Rule[], isDeny: boolean): Rule[] =>
      isFilled ? [...rules] : rules.flatMap((rule) => fillIn(rule, principal, clientId, isDeny));
    const allowed = fill(allow, false);
    const ownDenied = fill(deny, true);
    const denied = [...ownDenied, ...ceiling.deny];
    this.filled = this.#everything ? "everything" : { allow: allowed, deny: ownDenied };
    this.#publishAllow = allowed.filter((rule) => rule.on !== "sub");
    this.#subscribeAllow = allowed.filter((rule) => rule.on !== "pub");
    this.#publishDeny = denied.filter((rule) => rule.on !== "sub");
    this.#subscribeDeny = denied.filter((rule) => rule.on !== "pub");
    this.publishesAnything =
      this.#publishDeny.length === 0 &&
      (this.#everything ||
        this.#publishAllow.some(
          (rule) => rule.filter === "#" && (rule.maxQos ?? ANY_QOS) === ANY_QOS && rule.retain !== false,
        ));
    this.#publishAllowed = this.#publishAllow.map(splitRule);
    this.#publishDenied = this.#publishDeny.map(splitRule);
    this.deniesDeliveries = this.#subscribeDeny.length > 0;
    this.allowsEverything = this.#everything && denied.length === 0;
  }

  /** Whether a message may be published: a PUBLISH, or a Will. */
  mayPublish(topicName: string, qos: QoS, retain: boolean): boolean {
    const remembered = retain ? this.#rememberedRetained : this.#remembered;
    let qosMax = remembered?.get(topicName);
    if (qosMax === undefined) {
      qosMax = this.#publishQosMax(topicName, retain);
      if (topicName.length <= REMEMBERED_CHARACTERS_MAX) this.#remember(topicName, retain, qosMax);
    }
    return qos <= qosMax;
  }

  #remember(topicName: string, retain: boolean, qosMax: number): void {
    if (retain) this.#rememberedRetained ??= new Map();
    else this.#remembered ??= new Map();
    const remembered = (retain ? this.#rememberedRetained : this.#remembered)!;
    // Full: begin anew. Whoever publishes to ever new topics pays for looking, and no memory.
    if (remembered.size >= REMEMBERED_MAX) remembered.clear();
    remembered.set(topicName, qosMax);
  }

  /** The highest QoS at which a message may be published to a topic; -1: none. */
  #publishQosMax(topicName: string, retain: boolean): number {
    const levels = topicName.split("/");
    const isServers = topicName.startsWith("$");
    for (const rule of this.#publishDenied) if (rule.isAll || matchesLevels(rule, levels, isServers)) return -1;
    if (this.#everything) return ANY_QOS;
    let qosMax = -1;
    for (const rule of this.#publishAllowed) {
      if (retain && !rule.mayRetain) continue;
      if (rule.qosMax > qosMax && matchesLevels(rule, levels, isServers)) qosMax = rule.qosMax;
    }
    return qosMax;
  }

  /** The QoS granted to a subscription, or -1. `topicFilter` is without `$share/`; `shareName` is "" for an ordinary one. */
  maySubscribe(topicFilter: string, shareName: string, qos: QoS): QoS | -1 {
    if (this.#subscribeDeny.some((rule) => deniesFilter(rule, topicFilter))) return -1;
    if (this.#everything) return qos;
    let granted: QoS | -1 = -1;
    for (const rule of this.#subscribeAllow) {
      if (!filterCovers(rule.filter, topicFilter) || !allowsShare(rule, shareName)) continue;
      const ceiling = Math.min(qos, rule.maxQos ?? ANY_QOS) as QoS;
      if (ceiling > granted) granted = ceiling;
    }
    return granted;
  }

  /** Which rule decides about a PUBLISH, in words for a person. */
  explainPublish(topicName: string, qos: QoS, retain: boolean): string {
    const denied = this.#publishDeny.find((rule) => deniesTopic(rule, topicName));
    if (denied !== undefined) return `denied by the rule ${denied.filter}`;
    if (this.#everything) return "allowed: everything is";
    const matching = this.#publishAllow.filter((rule) => topicMatches(rule.filter, topicName));
    if (matching.length === 0) return "refused: no allow rule matches the topic";
    const fitting = matching.filter((rule) => !retain || rule.retain !== false);
    if (fitting.length === 0) return `refused: the rule ${matching[0]!.filter} allows no retained messages`;
    const rule = fitting.find((candidate) => qos <= (candidate.maxQos ?? ANY_QOS));
    if (rule !== undefined) return `allowed by the rule ${rule.filter}`;
    return `refused: QoS ${qos} is above what the rule ${fitting[0]!.filter} allows`;
  }

  /** Which rule decides about a subscription, in words for a person. */
  explainSubscribe(topicFilter: string, shareName: string): string {
    const denied = this.#subscribeDeny.find((rule) => deniesFilter(rule, topicFilter));
    if (denied !== undefined) return `denied: it overlaps the deny rule ${denied.filter}`;
    if (this.#everything) return "allowed: everything is";
    const covering = this.#subscribeAllow.filter((rule) => filterCovers(rule.filter, topicFilter));
    if (covering.length === 0) return "refused: no allow rule covers the whole filter";
    const rule = covering.find((candidate) => allowsShare(candidate, shareName));
    return rule === undefined
      ? `refused: the rule ${covering[0]!.filter} does not allow this share`
      : `allowed by the rule ${rule.filter}`;
  }

  /** The rules as they are in force, placeholders filled in; "everything" where there are none. */
  get rules(): { readonly allow: readonly Rule[] | "everything"; readonly deny: readonly Rule[] } {
    const union = (first: readonly Rule[], second: readonly Rule[]): Rule[] => [...new Set([...first, ...second])];
    const deny = union(this.#publishDeny, this.#subscribeDeny);
    return { allow: this.#everything ? "everything" : union(this.#publishAllow, this.#subscribeAllow), deny };
  }

  /** Whether both allow and deny the same, by rules that read the same. */
  equals(other: Grant): boolean {
    return JSON.stringify(this.rules) === JSON.stringify(other.rules);
  }

  /** Whether a message on this topic may be delivered; asked only where `deniesDeliveries`. */
  mayReceive(topicName: string): boolean {
    return !this.#subscribeDeny.some((rule) => deniesTopic(rule, topicName));
  }
}

const EVERYTHING = new Grant({ id: "", permissions: "everything" }, "", { deny: [] });

/** A principal's grant; those that look at nothing are one and the same, since most clients of an open broker are idle. */
export function grantOf(principal: PrincipalInit, clientId: string, ceiling: Ceiling): Grant {
  const looksAtNothing = principal.permissions === "everything" && ceiling.deny.length === 0;
  return looksAtNothing ? EVERYTHING : new Grant(principal, clientId, ceiling);
}

interface SplitRule {
  readonly levels: readonly string[];
  /** The filter is "#". */
  readonly isAll: boolean;
  readonly qosMax: number;
  readonly mayRetain: boolean;
}

function splitRule({ filter, maxQos, retain }: Rule): SplitRule {
  return { levels: filter.split("/"), isAll: filter === ALL, qosMax: maxQos ?? ANY_QOS, mayRetain: retain !== false };
}

/** `topicMatches` for a filter and a name that were taken apart before. */
function matchesLevels({ levels }: SplitRule, name: readonly string[], isServers: boolean): boolean {
  if (isServers && (levels[0] === "+" || levels[0] === "#")) return false;
  for (let at = 0; at < levels.length; at++) {
    const level = levels[at];
    if (level === "#") return true;
    if (at >= name.length || (level !== "+" && level !== name[at])) return false;
  }
  return levels.length === name.length;
}

function allowsShare(rule: Rule, shareName: string): boolean {
  if (shareName === "" || rule.share === undefined || rule.share === true) return true;
  return rule.share !== false && rule.share.includes(shareName);
}

/** A deny rule of "#" means everything, topics that begin with "$" included, which no leading wildcard matches otherwise. */
const ALL = "#";

function deniesTopic({ filter }: Rule, topicName: string): boolean {
  return filter === ALL || topicMatches(filter, topicName);
}

function deniesFilter({ filter }: Rule, topicFilter: string): boolean {
  return filter === ALL || filtersOverlap(filter, topicFilter);
}

/**
 * The rule with its placeholders filled in; none where it is void. A deny rule is never void: a level that cannot be filled
 * in denies every level, and a rule that makes no filter, or could begin with anything, denies everything.
 */
function fillIn(rule: Rule, principal: PrincipalInit, clientId: string, isDeny: boolean): Rule[] {
  let isSafe = true;
  // `$share/name/` in front of a rule's filter has no meaning; the filter behind it has.
  const { topicFilter: bare = rule.filter } = parseTopicFilter(rule.filter, Number.POSITIVE_INFINITY) ?? {};
  const filter = bare.replace(PLACEHOLDER, (_all, name: string) => {
    const value = placeholderValue(name, principal, clientId);
    if (value !== undefined && isSafeLevel(value)) return value;
    isSafe = false;
    return "+";
  });
  if (!isSafe && !isDeny) return [];
  const whole = isSafe ? filter : filter.replace(/[^/]*\+[^/]*/gu, "+");
  const isFilter = parseTopicFilter(whole, Number.POSITIVE_INFINITY)?.shareName === "" && !whole.includes("${");
  if (isFilter && (isSafe || !whole.startsWith("+"))) return [{ ...rule, filter: whole }];
  return isDeny ? [{ on: rule.on, filter: ALL }] : [];
}

/** Whether a value may stand in a filter: not empty, nothing that changes its shape, not the server's. */
function isSafeLevel(value: string): boolean {
  return value !== "" && !value.startsWith("$") && !UNSAFE_PARTS.some((part) => value.includes(part));
}

function placeholderValue(name: string, principal: PrincipalInit, clientId: string): string | undefined {
  if (name === "id") return principal.id;
  if (name === "username") return principal.username;
  if (name === "clientId") return clientId;
  const { attributes } = principal;
  if (!name.startsWith("claim.") || attributes === undefined) return undefined;
  const claim = name.slice("claim.".length);
  return Object.hasOwn(attributes, claim) ? attributes[claim] : undefined;
}
