/** A rule as one line for a person. */
import type { Rule } from "../core/gate/provider.ts";

export function ruleText({ on, filter, maxQos, retain, share }: Rule): string {
  const details = [
    maxQos === undefined ? "" : `maxQos=${maxQos}`,
    retain === false ? "not retained" : "",
    share === undefined || share === true ? "" : share === false ? "not shared" : `share=${share.join("|")}`,
  ];
  return [on, filter, ...details].filter((part) => part !== "").join(" ");
}
