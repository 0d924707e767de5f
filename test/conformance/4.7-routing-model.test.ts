/**
 * Routing against a model, with random subscriptions and messages (MQTT 5.0 sections 3.3.4, 3.8.4, 3.10.4, 4.1 and 4.7).
 *
 * The model knows the naive matcher, the highest QoS, the identifiers, the last retained message of a topic, and what waits
 * for a client that is away. What the broker delivers has to be the same, packet for packet.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { naiveMatch } from "../support/topic-model.ts";
import { type TestClient, toText, World } from "../support/world.ts";

interface ModelClient {
  readonly clientId: string;
  readonly level: ProtocolLevel;
  /** `undefined` while it is away. */
  client: TestClient | undefined;
  filters: Map<string, { qos: QoS; identifier: number }>;
  /** What it will find when it is back. */
  waiting: string[];
}

type Step =
  | { do: "subscribe"; who: number; topicFilter: string; qos: QoS; identifier: number }
  | { do: "unsubscribe"; who: number; topicFilter: string }
  | { do: "publish"; topicName: string; payload: string; qos: QoS; retain: boolean }
  | { do: "leave"; who: number }
  | { do: "return"; who: number; clean: boolean };

const CLIENTS = 3;
const who = fc.nat({ max: CLIENTS - 1 });
const qos = fc.constantFrom<QoS>(0, 1, 2);

const level = fc.constantFrom("", "a", "b", "ab", "ü", "$");
const topicName = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((name) => name !== "" && !name.startsWith("$"));
const topicFilter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, "#"] : levels).join("/"))
  .filter((filter) => filter !== "");
const identifier = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 268_435_455 }));
const payload = fc.constantFrom("", "x", "y");

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("subscribe" as const), who, topicFilter, qos, identifier }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("unsubscribe" as const), who, topicFilter }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("publish" as const), topicName, payload, qos, retain: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("return" as const), who, clean: fc.boolean() }) },
);

/** A delivered message in a form that compares and sorts. */
function line(name: string, text: string, at: QoS, retain: boolean, identifiers: readonly number[]): string {
  const sorted = [...new Set(identifiers)].sort((a, b) => a - b);
  return `${name} <${text}> qos ${at} retain ${retain} ids ${sorted.join(",")}`;
}

function received(client: TestClient): string[] {
  return client.takePublishes().map((publish) => {
    const identifiers = publish.properties.subscriptionIdentifiers ?? [];
    return line(publish.topicName, toText(publish.payload), publish.qos, publish.retain, identifiers);
  });
}

class Model {
  readonly world = new World();
  readonly publisher = this.world.connect({ clientId: "publisher" });
  readonly clients: ModelClient[];
  readonly retained = new Map<string, { text: string; qos: QoS }>();

  constructor(levels: readonly ProtocolLevel[]) {
    this.clients = levels.map((protocolLevel, index) => ({
      clientId: `client ${index}`,
      level: protocolLevel,
      client: undefined,
      filters: new Map(),
      waiting: [],
    }));
    for (const actor of this.clients) this.#return(actor, true);
  }

  run(next: Step): void {
    if (next.do === "publish") return this.#publish(next);
    const actor = this.clients[next.who]!;
    if (next.do === "return" && actor.client === undefined) this.#return(actor, next.clean);
    if (actor.client === undefined) return;
    if (next.do === "subscribe") this.#subscribe(actor, actor.client, next);
    if (next.do === "unsubscribe") this.#unsubscribe(actor, actor.client, next.topicFilter);
    if (next.do === "leave") {
      actor.client.drop();
      actor.client = undefined;
    }
  }

  #return(actor: ModelClient, clean: boolean): void {
    const properties = actor.level === 5 ? { sessionExpiryInterval: 1000 } : {};
    // A 3.1.1 client that asks for a clean session keeps none: it comes back a second time to stay.
    if (clean && actor.level === 4) {
      this.world.connect({ level: actor.level, clientId: actor.clientId, cleanStart: true }).disconnect();
    }
    const cleanStart = clean && actor.level === 5;
    actor.client = this.world.connect({ level: actor.level, clientId: actor.clientId, cleanStart, properties });
    if (clean) {
      actor.filters = new Map();
      actor.waiting = [];
    }
    expect(received(actor.client)).toEqual(actor.waiting);
    actor.waiting = [];
  }

  #subscribe(actor: ModelClient, client: TestClient, next: Extract<Step, { do: "subscribe" }>): void {
    const id = actor.level === 5 ? next.identifier : 0;
    const ids = id === 0 ? [] : [id];
    const properties = id === 0 ? {} : { subscriptionIdentifiers: ids };
    expect(client.subscribe(next.topicFilter, { qos: next.qos }, properties).reasonCodes).toEqual([next.qos]);
    actor.filters.set(next.topicFilter, { qos: next.qos, identifier: id });
    const expected = [...this.retained]
      .filter(([name]) => naiveMatch(next.topicFilter, name))
      .map(([name, kept]) => line(name, kept.text, Math.min(kept.qos, next.qos) as QoS, true, ids));
    expect(received(client).sort()).toEqual(expected.sort());
  }

  #unsubscribe(actor: ModelClient, client: TestClient, filter: string): void {
    const known = actor.filters.delete(filter);
    const { reasonCodes } = client.unsubscribe(filter);
    expect(reasonCodes).toEqual(actor.level === 5 ? [known ? 0 : 0x11] : []);
  }

  #publish(next: Extract<Step, { do: "publish" }>): void {
    if (next.retain && next.payload === "") this.retained.delete(next.topicName);
    else if (next.retain) this.retained.set(next.topicName, { text: next.payload, qos: next.qos });
    const expected = this.clients.map(({ filters }) => {
      const matching = [...filters].filter(([filter]) => naiveMatch(filter, next.topicName)).map(([, entry]) => entry);
      if (matching.length === 0) return undefined;
      const granted = Math.max(...matching.map((entry) => entry.qos));
      const identifiers = matching.map((entry) => entry.identifier).filter((id) => id !== 0);
      const delivered = Math.min(granted, next.qos) as QoS;
      return { qos: delivered, text: line(next.topicName, next.payload, delivered, false, identifiers) };
    });
    const { qos: sent, retain } = next;
    const reasonCode = this.publisher.publish(next.topicName, next.payload, { qos: sent, retain });
    if (sent > 0) expect(reasonCode).toBe(expected.some((one) => one !== undefined) ? 0 : 0x10);
    for (const [index, actor] of this.clients.entries()) {
      const mine = expected[index];
      if (actor.client !== undefined) expect(received(actor.client)).toEqual(mine === undefined ? [] : [mine.text]);
      else if (mine !== undefined && mine.qos > 0) actor.waiting.push(mine.text);
    }
  }
}

test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-4] [MQTT-3.3.4-2] [MQTT-4.5.0-1] random steps of random clients", () => {
  const levels = fc.array(fc.constantFrom<ProtocolLevel>(4, 5), { minLength: CLIENTS, maxLength: CLIENTS });
  fc.assert(
    fc.property(levels, fc.array(step, { minLength: 1, maxLength: 50 }), (protocolLevels, steps) => {
      const model = new Model(protocolLevels);
      for (const next of steps) model.run(next);
    }),
    { numRuns: 300 },
  );
}, 30_000);

test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] few topics, many changes: routes follow every subscribe and unsubscribe", () => {
  const small = fc.constantFrom("a", "a/b", "b", "/", "a/b/c");
  const wild = fc.constantFrom("#", "+", "a/#", "a/+", "a", "+/b", "a/b/#", "+/+/c", "/#");
  const change = fc.record({ subscribe: fc.boolean(), who, topicFilter: wild, qos, identifier, topicName: small });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), (changes) => {
      const model = new Model([5, 5, 5]);
      for (const { subscribe, topicName: name, ...rest } of changes) {
        if (subscribe) model.run({ do: "subscribe", ...rest });
        else model.run({ do: "unsubscribe", who: rest.who, topicFilter: rest.topicFilter });
        model.run({ do: "publish", topicName: name, payload: "x", qos: 2, retain: false });
      }
    }),
    { numRuns: 200 },
  );
}, 30_000);

test("[MQTT-3.10.4-1] thousands of filters side by side: each is found until it is removed, in any order", () => {
  const world = new World();
  const client = world.connect();
  const publisher = world.connect();
  const names = Array.from({ length: 3000 }, (_, index) => `s/${(index * 7919) % 3000}/${index % 3 === 0 ? "x" : "y"}`);
  for (let at = 0; at < names.length; at += 1000) client.subscribe(names.slice(at, at + 1000), { qos: 0 });
  const held = new Set(names);
  // A fixed shuffle: 1663 has no factor in common with 3000.
  const order = names.map((_, index) => names[(index * 1663) % names.length]!);
  for (let at = 0; at < order.length; at += 250) {
    const leaving = order.slice(at, at + 250);
    expect(client.unsubscribe(leaving).reasonCodes).toEqual(leaving.map(() => 0));
    for (const name of leaving) held.delete(name);
    for (const name of names) publisher.publish(name);
    const got = client.takePublishes().map((publish) => publish.topicName);
    expect(got).toEqual(names.filter((name) => held.has(name)));
  }
});

test("more topics than any cache holds: every one is routed, before and after a change", () => {
  const world = new World();
  const [one, two] = [world.connect(), world.connect()];
  const publisher = world.connect();
  one.subscribe("t/+", { qos: 0 });
  const count = 40_000;
  const round = () => {
    for (let index = 0; index < count; index++) publisher.publish(`t/${index}`);
    return [one, two].map((client) => new Set(client.takePublishes().map((publish) => publish.topicName)).size);
  };
  expect(round()).toEqual([count, 0]);
  two.subscribe("t/#", { qos: 0 });
  one.unsubscribe("t/+");
  expect(round()).toEqual([0, count]);
}, 30_000);
