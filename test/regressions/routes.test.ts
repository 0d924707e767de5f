/** Cached routes and overlapping subscriptions (MQTT 5.0 section 3.3.4): what they cost, and what they must not keep alive. */
import { expect, test } from "bun:test";
import { LevelHash } from "../../src/core/router/level-hash.ts";
import { Router } from "../../src/core/router/router.ts";
import { Topic, TopicTable } from "../../src/core/router/topic-table.ts";
import { Session } from "../../src/core/session/session.ts";
import { Subscription } from "../../src/core/session/subscription.ts";
import { Random } from "../fuzz/random.ts";
import { arrayWork } from "../support/array-work.ts";
import { resume } from "../support/publish-dialogue.ts";
import { toBytes, World } from "../support/world.ts";

const GRANT = {} as Session["grant"];
const CACHED_RECEIVERS_MAX = 1_000_000;

test("cached routes list a million receivers in all; then every one of them is let go, not only outdated", () => {
  const topics: Topic[] = [];
  let forgotten = 0;
  const router = new Router(128, 1, () => {
    forgotten++;
    for (const topic of topics) topic.route = null;
  });
  const receivers = 2000;
  for (let at = 0; at < receivers; at++) {
    const session = new Session(`c${at}`, "", GRANT, { id: "c", permissions: "everything" });
    for (const filter of ["t/#", "+/+"]) router.add(new Subscription(session, filter), "");
  }
  for (let at = 0; at < (2 * CACHED_RECEIVERS_MAX) / receivers; at++) {
    const topic = new Topic(toBytes(`t/${at}`), 0);
    topic.isKept = true;
    topics.push(topic);
    expect(router.routeOf(topic).receivers.length).toBe(receivers);
  }
  expect(forgotten).toBe(1);
  const cached = topics.reduce((sum, { route }) => sum + (route?.receivers.length ?? 0), 0);
  expect(cached).toBeLessThanOrEqual(CACHED_RECEIVERS_MAX);
  // A route that was let go is found anew.
  expect(router.routeOf(topics[0]!).receivers.length).toBe(receivers);
});

test("the table of topics takes the routes off all topics that it keeps", () => {
  const table = new TopicTable(128);
  const kept: Topic[] = [];
  for (let at = 0; at < 100; at++) {
    const name = toBytes(`t/${at}`);
    const topic = table.intern(name, 0, name.length);
    if (table.intern(name, 0, name.length) !== topic) continue;
    topic.route = { receivers: [], groups: [] };
    kept.push(topic);
  }
  expect(kept.length).toBeGreaterThan(50);
  table.forgetRoutes();
  expect(kept.filter(({ route }) => route !== null)).toEqual([]);
});

test("a session that has ended keeps no messages, even where a cached route still knows it", () => {
  const world = new World();
  const publisher = world.connect();
  const client = resume(world, "client", { properties: { receiveMaximum: 3 } });
  client.subscribe(["a/#", "+/b"], { qos: 1 });
  for (let at = 0; at < 10; at++) publisher.publish("a/b", "kept", { qos: 1 });
  const session = client.connection.session!;
  expect([session.inflight.count, session.queueLength]).toEqual([3, 7]);
  client.drop();
  world.connect({ clientId: "client", cleanStart: true });
  expect([session.inflight.count, session.queue, session.replays]).toEqual([0, null, null]);
  expect(session.inflight.inOrder()).toEqual([]);
  expect(world.broker.statistics.dropped.sessionEnded).toBe(10);
});

test("collecting the identifiers of overlapping subscriptions costs a step for each, not a list for each", () => {
  const workFor = (levels: number): number => {
    const world = new World();
    const client = world.connect();
    const filters: string[] = [];
    for (let mask = 0; mask < 1 << levels; mask++) {
      const parts = Array.from({ length: levels }, (_, at) => ((mask >> at) & 1 ? "a" : "+"));
      filters.push(parts.join("/"));
    }
    for (let from = 0; from < filters.length; from += 1000) {
      client.subscribe(filters.slice(from, from + 1000), { qos: 0 }, { subscriptionIdentifiers: [1] });
    }
    const topicName = Array.from({ length: levels }, () => "a").join("/");
    const publisher = world.connect();
    const work = arrayWork(() => publisher.sendPublish(topicName, "x"));
    expect(client.takePublishes()[0]!.properties.subscriptionIdentifiers!.length).toBe(filters.length);
    return work;
  };
  expect(workFor(10)).toBeLessThan(3 * workFor(9));
});

/** Level names whose hashes are equal under this seed, two by two. */
function collisions(seed: number, wanted: number): (readonly [string, string])[] {
  const hash = new LevelHash(seed);
  const random = new Random(1);
  const byHash = new Map<number, string>();
  const found: (readonly [string, string])[] = [];
  for (let tries = 0; tries < 600_000 && found.length < wanted; tries++) {
    const name = Array.from({ length: 8 }, () => String.fromCharCode(97 + random.below(26))).join("");
    const value = hash.of(toBytes(name), 0, name.length);
    const same = byHash.get(value);
    if (same === undefined) byHash.set(value, name);
    else if (same !== name) found.push([same, name]);
  }
  return found;
}

test("level names that collide for one seed of the topic tree do not collide for another that is like it in its low bits", () => {
  const seed = 0x12345679;
  const pairs = collisions(seed, 3);
  expect(pairs.length).toBe(3);
  const random = new Random(2);
  let still = 0;
  for (let at = 0; at < 50; at++) {
    const other = new LevelHash((random.below(0x100_0000) << 8) | (seed & 0xff));
    for (const [one, two] of pairs) {
      if (other.of(toBytes(one), 0, one.length) === other.of(toBytes(two), 0, two.length)) still++;
    }
  }
  expect(still).toBeLessThan(5);
});
