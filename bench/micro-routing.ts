/**
 * Micro-benchmarks of what finds receivers: topic table, topic tree, router, retained messages
 * (MQTT 5.0 sections 4.7 and 3.3.1.3).
 *
 * Subscriptions are those of `filter-set.ts`, a hundred to a session. A topic that hits matches exactly one of them. Topics
 * come in an order that has nothing to do with the order of the filters.
 */
import { ApplicationMessage } from "../src/core/application-message.ts";
import { encodeUtf8 } from "../src/core/codec/utf8.ts";
import { EVERYTHING } from "../src/core/gate/allow-all.ts";
import { Grant } from "../src/core/gate/grant.ts";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import { RetainedStore } from "../src/core/router/retained.ts";
import { Router } from "../src/core/router/router.ts";
import { TopicTable } from "../src/core/router/topic-table.ts";
import { TopicTree } from "../src/core/router/topic-tree.ts";
import { Session } from "../src/core/session/session.ts";
import { Subscription } from "../src/core/session/subscription.ts";
import { filterText, topicText } from "./filter-set.ts";
import type { MemoryBenchmark, MicroBenchmark, Timed } from "./micro-measure.ts";

const LEVELS_MAX = DEFAULT_LIMITS.topicLevelsMax;
/** The broker draws one at its start; any is as good as any other. */
const SEED = 0x2545f491;
const SUBSCRIPTIONS_PER_SESSION = 100;
/** Topics that a lookup goes round. */
const TOPICS = 20_000;
/** So many that a name has long left the topic table when it comes again. */
const NEW_TOPICS = 200_000;
const MEASURABLE = 100_000;
/** Shares no factor with the numbers of filters and topics, so that steps of it visit all. */
const STRIDE = 7_919;

/** Topic Names one behind the other: name i is bytes[starts[i], starts[i + 1]). */
interface TopicNames {
  readonly count: number;
  readonly bytes: Uint8Array;
  readonly starts: Uint32Array;
}

function topicNames(count: number, nth: (n: number) => string): TopicNames {
  const names = Array.from({ length: count }, (_, n) => encodeUtf8(nth(n)));
  const starts = new Uint32Array(count + 1);
  for (const [n, name] of names.entries()) starts[n + 1] = starts[n] + name.length;
  const bytes = new Uint8Array(starts[count]);
  for (const [n, name] of names.entries()) bytes.set(name, starts[n]);
  return { count, bytes, starts };
}

const PRINCIPAL = { id: "bench", permissions: EVERYTHING };
const GRANT = new Grant(PRINCIPAL, "bench", { deny: [] });

/** Subscriptions as a broker has them: in the router and with their session. */
function subscribeAll(router: Router, count: number): Session[] {
  const sessions: Session[] = [];
  for (let n = 0; n < count; n++) {
    if (n % SUBSCRIPTIONS_PER_SESSION === 0) sessions.push(new Session(`client${n}`, "owner", GRANT, PRINCIPAL));
    const session = sessions[sessions.length - 1];
    const filter = filterText(n);
    const subscription = new Subscription(session, filter);
    (session.subscriptions ??= new Map()).set(filter, subscription);
    router.add(subscription, "");
  }
  return sessions;
}

export function treeOf(filters: number, seed = SEED): TopicTree {
  const tree = new TopicTree(LEVELS_MAX, seed);
  const session = new Session("client", "owner", GRANT, PRINCIPAL);
  for (let n = 0; n < filters; n++) {
    const filter = filterText(n);
    tree.add(filter, new Subscription(session, filter), "");
  }
  return tree;
}

function matchesTree(filters: number, hit: boolean): Timed {
  const tree = treeOf(filters);
  const offset = hit ? 0 : filters;
  const topics = Array.from({ length: TOPICS }, (_, n) => encodeUtf8(topicText(((n * STRIDE) % filters) + offset)));
  let matched = 0;
  const visitor = {
    visit() {
      matched++;
    },
  };
  return {
    operationsPerStep: TOPICS,
    expected: hit ? TOPICS : 0,
    step() {
      matched = 0;
      for (const topic of topics) tree.match(topic, visitor);
      return matched;
    },
  };
}

function treeMemory(filters: number): MemoryBenchmark {
  return {
    name: `tree/${thousands(filters)}-memory`,
    unit: "subscription",
    build() {
      // A thousand alone would drown in what the runtime allocates beside them.
      const copies = Math.max(1, MEASURABLE / filters);
      const kept = Array.from({ length: copies }, () => {
        const router = new Router(LEVELS_MAX, SEED, () => {});
        return { router, sessions: subscribeAll(router, filters) };
      });
      return { kept, count: copies * filters };
    },
  };
}

function interns(names: TopicNames): Timed {
  const table = new TopicTable(LEVELS_MAX);
  const { count, bytes, starts } = names;
  return {
    operationsPerStep: count,
    expected: bytes.length,
    step() {
      let length = 0;
      for (let n = 0; n < count; n++) length += table.intern(bytes, starts[n], starts[n + 1]).bytes.length;
      return length;
    },
  };
}

/** From bytes to receivers. */
function routes(filters: number, names: TopicNames, expected: number): Timed {
  const table = new TopicTable(LEVELS_MAX);
  const router = new Router(LEVELS_MAX, SEED, () => {});
  subscribeAll(router, filters);
  const { count, bytes, starts } = names;
  return {
    operationsPerStep: count,
    expected,
    step() {
      let receivers = 0;
      for (let n = 0; n < count; n++) {
        receivers += router.routeOf(table.intern(bytes, starts[n], starts[n + 1])).receivers.length;
      }
      return receivers;
    },
  };
}

function shuffledTopics(count: number, among: number): TopicNames {
  return topicNames(count, (n) => topicText((n * STRIDE) % among));
}

/** `devices` topics `a/<n>/<name>` of each of `names` names; the filter finds one name of every device. */
function matchesRetained(devices: number, names: number): Timed {
  const store = new RetainedStore();
  const table = new TopicTable(LEVELS_MAX);
  for (let device = 0; device < devices; device++) {
    for (let name = 0; name < names; name++) {
      const message = new ApplicationMessage();
      message.topicName = table.ofText(`a/${device}/${name === 0 ? "b" : `name${name}`}`);
      message.payload = new Uint8Array(16);
      message.payloadEnd = 16;
      message.owned = true;
      store.set(message);
    }
  }
  const step = (): number => {
    const walk = store.walk("a/+/b");
    let found = 0;
    for (let entry = walk.next(); entry !== undefined; entry = walk.next()) if (entry !== null) found++;
    return found;
  };
  return { operationsPerStep: devices, expected: devices, step };
}

function thousands(count: number): string {
  return count >= 1_000_000 ? `${count / 1_000_000}m` : `${count / 1000}k`;
}

function treeBenchmarks(filters: number): MicroBenchmark[] {
  return [
    { name: `tree/${thousands(filters)}-hit`, unit: "match", prepare: () => matchesTree(filters, true) },
    { name: `tree/${thousands(filters)}-miss`, unit: "match", prepare: () => matchesTree(filters, false) },
    treeMemory(filters),
  ];
}

function newTopicBenchmark(filters: number): MicroBenchmark {
  return {
    name: `router/new-topic-${thousands(filters)}`,
    unit: "topic",
    // Every topic has one receiver as long as there is a filter for it.
    prepare: () => routes(filters, shuffledTopics(NEW_TOPICS, NEW_TOPICS), Math.min(filters, NEW_TOPICS)),
  };
}

export const ROUTING_BENCHMARKS: readonly MicroBenchmark[] = [
  { name: "topics/hit", unit: "lookup", prepare: () => interns(shuffledTopics(1000, 1000)) },
  { name: "topics/miss", unit: "lookup", prepare: () => interns(shuffledTopics(NEW_TOPICS, NEW_TOPICS)) },
  ...[1000, 100_000, 1_000_000].flatMap(treeBenchmarks),
  { name: "router/known-topic-1k", unit: "topic", prepare: () => routes(1000, shuffledTopics(1000, 1000), 1000) },
  ...[1000, 100_000].map(newTopicBenchmark),
  { name: "retained/100-of-100k", unit: "message", prepare: () => matchesRetained(100, 1000) },
  { name: "retained/100k-of-100k", unit: "message", prepare: () => matchesRetained(100_000, 1) },
];
