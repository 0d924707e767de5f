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
import type { PrincipalInit, Rule, RuleSet } from "./provider.ts";

const ANY_QOS: QoS = 2;
const PLACEHOLDER = /\$\{([^}]*)\}/gu;
/** What no value of a placeholder may contain: separators, wildcards, U+0000. */
const UNSAFE_PARTS = ["/", "+", "#", "\u0000"];
/** Verdicts on topics remembered by one grant. */
const REMEMBERED_MAX = 1024;

export class Grant {
  /** Whether every PUBLISH to a topic that does not begin with "$" is allowed, so that the topic need not be looked at. */
  readonly publishesAnything: boolean;
  /** Whether deliveries have to be looked at one by one: only with deny rules. */
  readonly deniesDeliveries: boolean;
  readonly allowsEverything: boolean;
  readonly #everything: boolean;
  readonly #publishAllow: readonly Rule[];
  readonly #publishDeny: readonly Rule[];
  readonly #subscribeAllow: readonly Rule[];
  readonly #subscribeDeny: readonly Rule[];
  /** The highest QoS that may be published (-1: none) by Topic Name, with a prefix that says whether retained. */
  #remembered: Map<string, number> | null = null;

  constructor(principal: PrincipalInit, clientId: string, ceiling: Ceiling) {
    const { permissions } = principal;
    this.#everything = permissions === "everything";
    const { allow, deny = [] }: RuleSet = permissions === "everything" ? { allow: [] } : permissions;
    const fill = (rules: readonly Rule[], isDeny: boolean): Rule[] =>
      rules.flatMap((rule) => fillIn(rule, principal, clientId, isDeny));
    const allowed = fill(allow, false);
    const denied = [...fill(deny, true), ...ceiling.deny];
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
    this.deniesDeliveries = this.#subscribeDeny.length > 0;
    this.allowsEverything = this.#everything && denied.length === 0;
  }

  /** Whether a message may be published: a PUBLISH, or a Will. */
  mayPublish(topicName: string, qos: QoS, retain: boolean): boolean {
    const key = retain ? `r${topicName}` : `-${topicName}`;
    const remembered = (this.#remembered ??= new Map());
    let qosMax = remembered.get(key);
    if (qosMax === undefined) {
      qosMax = this.#publishQosMax(topicName, retain);
      // Full: begin anew. Whoever publishes to ever new topics pays for looking, and no memory.
      if (remembered.size >= REMEMBERED_MAX) remembered.clear();
      remembered.set(key, qosMax);
    }
    return qos <= qosMax;
  }

  /** The highest QoS at which a message may be published to a topic; -1: none. */
  #publishQosMax(topicName: string, retain: boolean): number {
    if (this.#publishDeny.some((rule) => topicMatches(rule.filter, topicName))) return -1;
    if (this.#everything) return ANY_QOS;
    let qosMax = -1;
    for (const rule of this.#publishAllow) {
      if (retain && rule.retain === false) continue;
      if (topicMatches(rule.filter, topicName)) qosMax = Math.max(qosMax, rule.maxQos ?? ANY_QOS);
    }
    return qosMax;
  }

  /** The QoS granted to a subscription, or -1. `topicFilter` is without `$share/`; `shareName` is "" for an ordinary one. */
  maySubscribe(topicFilter: string, shareName: string, qos: QoS): QoS | -1 {
    if (this.#subscribeDeny.some((rule) => filtersOverlap(rule.filter, topicFilter))) return -1;
    if (this.#everything) return qos;
    let granted: QoS | -1 = -1;
    for (const rule of this.#subscribeAllow) {
      if (!filterCovers(rule.filter, topicFilter) || !allowsShare(rule, shareName)) continue;
      const ceiling = Math.min(qos, rule.maxQos ?? ANY_QOS) as QoS;
      if (ceiling > granted) granted = ceiling;
    }
    return granted;
  }

  /** Whether a message on this topic may be delivered; asked only where `deniesDeliveries`. */
  mayReceive(topicName: string): boolean {
    return !this.#subscribeDeny.some((rule) => topicMatches(rule.filter, topicName));
  }
}

function allowsShare(rule: Rule, shareName: string): boolean {
  if (shareName === "" || rule.share === undefined || rule.share === true) return true;
  return rule.share !== false && rule.share.includes(shareName);
}

/** The rule with its placeholders filled in; none where it is void. */
function fillIn(rule: Rule, principal: PrincipalInit, clientId: string, isDeny: boolean): Rule[] {
  let isSafe = true;
  const filter = rule.filter.replace(PLACEHOLDER, (_all, name: string) => {
    const value = placeholderValue(name, principal, clientId);
    if (value !== undefined && isSafeLevel(value)) return value;
    isSafe = false;
    return "+";
  });
  if (!isSafe && !isDeny) return [];
  // A deny rule that cannot be filled in denies whatever it could have meant: the levels in question become "+".
  const whole = isSafe ? filter : filter.replace(/[^/]*\+[^/]*/gu, "+");
  if (parseTopicFilter(whole, Number.POSITIVE_INFINITY) === undefined)
    return isDeny ? [{ on: rule.on, filter: "#" }] : [];
  return [{ ...rule, filter: whole }];
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
