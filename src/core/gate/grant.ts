/**
 * A principal's permissions, compiled: what the gate asks on CONNECT (Will), SUBSCRIBE and PUBLISH, without waiting.
 *
 * What no allow rule covers is refused; a deny rule always wins. A subscription has to be covered by one rule as a
 * filter, wildcards included, not merely matched as a topic.
 */
import type { QoS } from "../codec/packet.ts";
import { filterCovers, filtersOverlap, topicMatches } from "../codec/topic.ts";
import type { Permissions, Rule, RuleSet } from "./provider.ts";

const ANY_QOS: QoS = 2;

export class Grant {
  /** Whether every PUBLISH to a topic that does not begin with "$" is allowed, so that the topic need not be looked at. */
  readonly publishesAnything: boolean;
  /** Whether deliveries have to be looked at one by one: only with deny rules. */
  readonly deniesDeliveries: boolean;
  readonly #publishAllow: readonly Rule[];
  readonly #publishDeny: readonly Rule[];
  readonly #subscribeAllow: readonly Rule[];
  readonly #subscribeDeny: readonly Rule[];

  readonly #everything: boolean;

  constructor(permissions: Permissions) {
    this.#everything = permissions === "everything";
    const { allow, deny = [] }: RuleSet = permissions === "everything" ? { allow: [] } : permissions;
    this.#publishAllow = allow.filter((rule) => rule.on !== "sub");
    this.#subscribeAllow = allow.filter((rule) => rule.on !== "pub");
    this.#publishDeny = deny.filter((rule) => rule.on !== "sub");
    this.#subscribeDeny = deny.filter((rule) => rule.on !== "pub");
    this.publishesAnything =
      this.#everything ||
      (this.#publishDeny.length === 0 &&
        this.#publishAllow.some(
          (rule) => rule.filter === "#" && (rule.maxQos ?? ANY_QOS) === ANY_QOS && rule.retain !== false,
        ));
    this.deniesDeliveries = this.#subscribeDeny.length > 0;
  }

  /** Whether a message may be published: a PUBLISH, or a Will. */
  mayPublish(topicName: string, qos: QoS, retain: boolean): boolean {
    if (this.#everything) return true;
    const covers = (rule: Rule): boolean => topicMatches(rule.filter, topicName);
    if (this.#publishDeny.some(covers)) return false;
    return this.#publishAllow.some(
      (rule) => qos <= (rule.maxQos ?? ANY_QOS) && (!retain || rule.retain !== false) && covers(rule),
    );
  }

  /** The QoS granted to a subscription, or -1. `topicFilter` is without `$share/`; `shareName` is "" for an ordinary one. */
  maySubscribe(topicFilter: string, shareName: string, qos: QoS): QoS | -1 {
    if (this.#everything) return qos;
    if (this.#subscribeDeny.some((rule) => filtersOverlap(rule.filter, topicFilter))) return -1;
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
