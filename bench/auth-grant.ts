/**
 * A principal's rules as the benchmarks have them, and micro-benchmarks of what a PUBLISH costs under eight of them.
 *
 * Of the eight, two deny and six allow; the last one allows, and all concern publishing, so that none is left out at once.
 * "Cached" goes round ten Topic Names, as the seed benchmark does; "uncached" round so many that none is remembered when
 * it comes again.
 */
import { Grant } from "../src/core/gate/grant.ts";
import type { Rule } from "../src/core/gate/provider.ts";
import type { MicroBenchmark, Timed } from "./micro-measure.ts";

const CACHED_TOPICS = 10;
/** Far more than a grant remembers. */
const UNCACHED_TOPICS = 50_000;
const STEP_TOPICS = 1_000;

export interface Rules {
  readonly allow: readonly Rule[];
  readonly deny: readonly Rule[];
}

const DENY: readonly Rule[] = [
  { on: "pub", filter: "secret/#" },
  { on: "pub", filter: "+/+/command/#" },
];
const ALLOW: readonly Rule[] = [
  { on: "both", filter: "home/${clientId}/#" },
  { on: "pub", filter: "device/+/state", maxQos: 1 },
  { on: "pub", filter: "log/${username}/#", retain: false },
  { on: "both", filter: "bench/+/config" },
  { on: "both", filter: "bench/#" },
];

export const PUBLISHER_RULES: Rules = { deny: DENY, allow: [{ on: "pub", filter: "site/+/alarm" }, ...ALLOW] };
/** Of a client that subscribes to everything as well. */
export const SEED_RULES: Rules = { deny: DENY, allow: [{ on: "sub", filter: "#" }, ...ALLOW] };

function publishes(topicCount: number): Timed {
  const principal = { id: "bench:client", username: "client", permissions: PUBLISHER_RULES };
  const grant = new Grant(principal, "client", { deny: [] });
  if (grant.mayPublish("secret/seed/0", 1, false) || grant.mayPublish("elsewhere/seed/0", 0, false)) {
    throw new Error("the grant allows what no rule allows");
  }
  const topicNames = Array.from({ length: topicCount }, (_, n) => `bench/seed/${n}`);
  let next = 0;
  return {
    operationsPerStep: STEP_TOPICS,
    expected: STEP_TOPICS,
    step() {
      let allowed = 0;
      for (let n = 0; n < STEP_TOPICS; n++) {
        if (grant.mayPublish(topicNames[next], 1, false)) allowed++;
        next = next + 1 === topicCount ? 0 : next + 1;
      }
      return allowed;
    },
  };
}

export const GRANT_BENCHMARKS: readonly MicroBenchmark[] = [
  { name: "grant/publish-cached", unit: "publish", prepare: () => publishes(CACHED_TOPICS) },
  { name: "grant/publish-uncached", unit: "publish", prepare: () => publishes(UNCACHED_TOPICS) },
];
