/**
 * A program that builds one topic tree and times matches one by one: what the slowest of them take, which a mean does not
 * tell. In memory, without sockets; a reading of the clock, some 30 ns, counts with each.
 */
import { encodeUtf8 } from "../src/core/codec/utf8.ts";
import { topicText } from "./filter-set.ts";
import { percentile } from "./latency.ts";
import { treeOf } from "./micro-routing.ts";
import { printLine, readPlan } from "./program.ts";

export interface MatchPlan {
  readonly filters: number;
  readonly matches: number;
}

export interface MatchTimes {
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly p999Micros: number;
}

/** Shares no factor with the numbers of filters, so that steps of it visit all. */
const STRIDE = 7_919;
const TOPICS = 20_000;

function timed({ filters, matches }: MatchPlan): MatchTimes {
  // As the broker does at its start.
  const tree = treeOf(filters, crypto.getRandomValues(new Uint32Array(1))[0]);
  const topics = Array.from({ length: Math.min(TOPICS, filters) }, (_, n) =>
    encodeUtf8(topicText((n * STRIDE) % filters)),
  );
  let matched = 0;
  const visitor = {
    visit() {
      matched++;
    },
  };
  const nanos = new Float64Array(matches);
  // The first half is warm-up.
  for (let n = -matches; n < matches; n++) {
    const topic = topics[(n + matches) % topics.length];
    const startNanos = Bun.nanoseconds();
    tree.match(topic, visitor);
    if (n >= 0) nanos[n] = Bun.nanoseconds() - startNanos;
  }
  if (matched !== 2 * matches) throw new Error(`${matched} filters matched instead of ${2 * matches}`);
  nanos.sort();
  const at = (share: number) => percentile(nanos, share) / 1000;
  return { p50Micros: at(0.5), p99Micros: at(0.99), p999Micros: at(0.999) };
}

printLine(timed(await readPlan<MatchPlan>()));
