/**
 * Routing against a model, with random subscriptions and messages (MQTT 5.0 sections 3.3.4, 3.8.4, 3.10.4 and 4.7).
 *
 * The model knows the naive matcher, the highest QoS, the identifiers and the last retained message of a topic. What the
 * broker delivers has to be the same, packet for packet.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { naiveMatch } from "../support/topic-model.ts";
import { type TestClient, toText, World } from "../support/world.ts";

interface ModelClient {
  readonly client: TestClient;
  readonly level: ProtocolLevel;
  readonly filters: Map<string, { qos: QoS; identifier: number }>;
}

type Step =
  | { do: "subscribe"; who: number; topicFilter: string; qos: QoS; identifier: number }
  | { do: "unsubscribe"; who: number; topicFilter: string }
  | { do: "publish"; who: number; topicName: string; payload: string; qos: QoS; retain: boolean };

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

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("subscribe" as const),
    who,
    topicFilter,
    qos,
    identifier: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 268_435_455 })),
  }),
  fc.record({ do: fc.constant("unsubscribe" as const), who, topicFilter }),
  fc.record({
    do: fc.constant("publish" as const),
    who,
    topicName,
    payload: fc.constantFrom("", "x", "y"),
    qos,
    retain: fc.boolean(),
  }),
);

/** A delivered message in a form that compares and sorts. */
function line(name: string, payload: string, q: QoS, retain: boolean, identifiers: readonly number[]): string {
  const sorted = [...new Set(identifiers)].sort((a, b) => a - b);
  return `${name} <${payload}> qos ${q} retain ${retain} ids ${sorted.join(",")}`;
}

function received(client: TestClient): string[] {
  return client
    .takePublishes()
    .map((publish) =>
      line(
        publish.topicName,
        toText(publish.payload),
        publish.qos,
        publish.retain,
        publish.properties.subscriptionIdentifiers ?? [],
      ),
    );
}

class Model {
  readonly world = new World();
  readonly clients: ModelClient[];
  readonly retained = new Map<string, { payload: string; qos: QoS }>();

  constructor(levels: readonly ProtocolLevel[]) {
    this.clients = levels.map((protocolLevel) => ({
      client: this.world.connect({ level: protocolLevel }),
      level: protocolLevel,
      filters: new Map(),
    }));
  }

  run(next: Step): void {
    const actor = this.clients[next.who]!;
    if (next.do === "subscribe") this.#subscribe(actor, next);
    else if (next.do === "unsubscribe") this.#unsubscribe(actor, next.topicFilter);
    else this.#publish(actor, next);
  }

  #subscribe(actor: ModelClient, next: Extract<Step, { do: "subscribe" }>): void {
    const identifier = actor.level === 5 ? next.identifier : 0;
    const properties = identifier === 0 ? {} : { subscriptionIdentifiers: [identifier] };
    const suback = actor.client.subscribe(next.topicFilter, { qos: next.qos }, properties);
    expect(suback.reasonCodes).toEqual([next.qos]);
    actor.filters.set(next.topicFilter, { qos: next.qos, identifier });
    const expected = [...this.retained]
      .filter(([name]) => naiveMatch(next.topicFilter, name))
      .map(([name, kept]) => {
        const delivered = Math.min(kept.qos, next.qos) as QoS;
        return line(name, kept.payload, delivered, true, identifier === 0 ? [] : [identifier]);
      });
    expect(received(actor.client).sort()).toEqual(expected.sort());
  }

  #unsubscribe(actor: ModelClient, filter: string): void {
    const known = actor.filters.delete(filter);
    const { reasonCodes } = actor.client.unsubscribe(filter);
    expect(reasonCodes).toEqual(actor.level === 5 ? [known ? 0 : 0x11] : []);
  }

  #publish(actor: ModelClient, next: Extract<Step, { do: "publish" }>): void {
    if (next.retain && next.payload === "") this.retained.delete(next.topicName);
    else if (next.retain) this.retained.set(next.topicName, { payload: next.payload, qos: next.qos });
    const expected = this.clients.map(({ filters }) => {
      const matching = [...filters].filter(([filter]) => naiveMatch(filter, next.topicName)).map(([, entry]) => entry);
      if (matching.length === 0) return [];
      const granted = Math.max(...matching.map((entry) => entry.qos));
      const identifiers = matching.map((entry) => entry.identifier).filter((identifier) => identifier !== 0);
      const delivered = Math.min(granted, next.qos) as QoS;
      return [line(next.topicName, next.payload, delivered, false, identifiers)];
    });
    const reasonCode = actor.client.publish(next.topicName, next.payload, { qos: next.qos, retain: next.retain });
    const heard = expected.some((lines) => lines.length > 0);
    expect(reasonCode).toBe(actor.level === 5 && next.qos > 0 && !heard ? 0x10 : 0);
    expect(this.clients.map(({ client }) => received(client))).toEqual(expected);
  }
}

test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-4] [MQTT-3.3.4-2] random subscriptions and messages, compared with a model", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom<ProtocolLevel>(4, 5), { minLength: CLIENTS, maxLength: CLIENTS }),
      fc.array(step, { minLength: 1, maxLength: 40 }),
      (levels, steps) => {
        const model = new Model(levels);
        for (const next of steps) model.run(next);
      },
    ),
    { numRuns: 400 },
  );
}, 30_000);

test("[MQTT-4.7.1-1] [MQTT-4.7.1-2] many filters on few levels: the cached route follows every subscribe and unsubscribe", () => {
  const small = fc.constantFrom("a", "a/b", "b", "/", "a/b/c");
  const wild = fc.constantFrom("#", "+", "a/#", "a/+", "a", "+/b", "a/b/#", "+/+/c", "/#");
  const change = fc.record({ subscribe: fc.boolean(), who, topicFilter: wild, topicName: small });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 60 }), (changes) => {
      const model = new Model([5, 5, 5]);
      for (const { subscribe, topicFilter: filter, topicName: name, who: index } of changes) {
        if (subscribe) model.run({ do: "subscribe", who: index, topicFilter: filter, qos: 1, identifier: 0 });
        else model.run({ do: "unsubscribe", who: index, topicFilter: filter });
        model.run({ do: "publish", who: index, topicName: name, payload: "x", qos: 1, retain: false });
      }
    }),
    { numRuns: 200 },
  );
}, 30_000);
