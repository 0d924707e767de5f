/**
 * Random dialogues of three clients against the reference model of a session: QoS 1 at least once, QoS 2 exactly once, in
 * order per publisher, topic and QoS, within the window, through stalls, lost connections, take-overs and clean starts.
 */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { MATCHES, ModelClient, TOPIC_NAMES } from "../support/session-reference.ts";
import { World } from "../support/world.ts";

type Step =
  | { readonly do: "connect"; readonly who: number; readonly cleanStart: boolean; readonly receiveMaximum: number }
  | { readonly do: "disconnect"; readonly who: number; readonly politely: boolean }
  | { readonly do: "subscribe"; readonly who: number; readonly topicFilter: string; readonly qos: QoS }
  | { readonly do: "unsubscribe"; readonly who: number; readonly topicFilter: string }
  | { readonly do: "publish"; readonly who: number; readonly topicName: string; readonly qos: QoS }
  | { readonly do: "take"; readonly who: number; readonly count: number }
  | { readonly do: "takeAndLose"; readonly who: number; readonly count: number }
  | { readonly do: "stall"; readonly who: number }
  | { readonly do: "drain"; readonly who: number }
  | { readonly do: "takeEverything"; readonly who: number }
  | { readonly do: "wait"; readonly ms: number };

interface Setting {
  readonly levels: readonly ProtocolLevel[];
  readonly inflightMax: number;
  readonly receiveMaximum: number;
  readonly outboundHighWaterBytes: number;
}

const CLIENTS = 3;
const RUNS = 400;
const who = fc.nat({ max: CLIENTS - 1 });
const qos = fc.constantFrom<QoS>(0, 1, 2);
const count = fc.integer({ min: 1, max: 6 });
const receiveMaximum = fc.constantFrom(1, 2, 3, 65_535);
const topicFilter = fc.constantFrom(...Object.keys(MATCHES));
const topicName = fc.constantFrom(...TOPIC_NAMES);
const cleanStart = fc.nat({ max: 9 }).map((number) => number === 0);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("connect" as const), who, cleanStart, receiveMaximum }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("disconnect" as const), who, politely: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("subscribe" as const), who, topicFilter, qos }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unsubscribe" as const), who, topicFilter }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constant("publish" as const), who, topicName, qos }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant("take" as const), who, count }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("takeAndLose" as const), who, count }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom("stall", "drain", "takeEverything"), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 3_600_000 }) }) },
);

/** The broker and the model side by side. */
class Dialogue {
  readonly world: World;
  readonly clients: readonly ModelClient[];
  #messages = 0;

  constructor({ levels, inflightMax, receiveMaximum: window, outboundHighWaterBytes }: Setting) {
    this.world = new World({ limits: { inflightMax, outboundHighWaterBytes, outboundLowWaterBytes: 10 } });
    this.clients = levels.map((level, at) => new ModelClient(this.world, `client ${at}`, level, inflightMax));
    for (const client of this.clients) client.connect(false, window);
  }

  run(next: Step): void {
    if (next.do === "wait") this.world.advance(next.ms);
    else this.#act(this.clients[next.who]!, next);
    for (const client of this.clients) client.observe();
  }

  #act(client: ModelClient, next: Exclude<Step, { do: "wait" }>): void {
    if (next.do === "connect") client.connect(next.cleanStart, next.receiveMaximum);
    else if (next.do === "disconnect") client.disconnect(next.politely);
    else if (next.do === "subscribe") client.subscribe(next.topicFilter, next.qos);
    else if (next.do === "unsubscribe") client.unsubscribe(next.topicFilter);
    else if (next.do === "publish") this.publish(client, next.topicName, next.qos);
    else if (next.do === "take") client.take(next.count);
    else if (next.do === "stall") client.stall();
    else if (next.do === "drain") client.drain();
    else if (next.do === "takeEverything") client.takeEverything();
    else if (next.do === "takeAndLose") {
      client.take(next.count, false);
      client.disconnect(false);
    }
  }

  publish(client: ModelClient, name: string, level: QoS): void {
    const hasReceiver = this.clients.some((other) => other.grantedQos(name) !== undefined);
    const message = client.publish(this.#messages++, name, level, hasReceiver);
    if (message !== undefined) for (const other of this.clients) other.route(message);
  }

  /** Everybody comes back and takes everything; after that the broker owes nothing. */
  end(): void {
    for (const client of this.clients) if (client.wire === undefined) client.connect(false, 2);
    for (const client of this.clients) client.takeEverything();
    for (const client of this.clients) {
      client.disconnect(false);
      client.connect(false, 65_535);
      expect(client.inbox).toEqual([]);
    }
  }
}

const level = fc.constantFrom<ProtocolLevel>(4, 5, 5);
const setting: fc.Arbitrary<Setting> = fc.record({
  levels: fc.array(level, { minLength: CLIENTS, maxLength: CLIENTS }),
  inflightMax: fc.constantFrom(1, 2, 5, 4096),
  receiveMaximum,
  outboundHighWaterBytes: fc.constantFrom(20, 100, 1_000_000),
});

test("any dialogue of three clients keeps to the model of a session", () => {
  const steps = fc.array(step, { minLength: 10, maxLength: 120, size: "max" });
  fc.assert(
    fc.property(setting, steps, (chosen, dialogue) => {
      const pair = new Dialogue(chosen);
      for (const next of dialogue) pair.run(next);
      pair.end();
    }),
    { numRuns: RUNS },
  );
});

test("a long dialogue, where ids have been used and given back many times", () => {
  const steps = fc.array(step, { minLength: 2_000, maxLength: 2_000, size: "max" });
  fc.assert(
    fc.property(setting, steps, (chosen, dialogue) => {
      const pair = new Dialogue(chosen);
      for (const next of dialogue) pair.run(next);
      pair.end();
    }),
    { numRuns: 5, endOnFailure: true },
  );
});

describe("the model notices", () => {
  /** A subscriber with three messages of each QoS in its inbox. */
  function prepared(): ModelClient {
    const pair = new Dialogue({
      levels: [5, 5],
      inflightMax: 100,
      receiveMaximum: 100,
      outboundHighWaterBytes: 1_000_000,
    });
    const [subscriber, publisher] = pair.clients;
    subscriber!.subscribe("#", 2);
    for (const quality of [0, 1, 2] as const) {
      for (let at = 0; at < 3; at++) pair.publish(publisher!, "a", quality);
    }
    subscriber!.observe();
    expect(subscriber!.inbox).toHaveLength(9);
    return subscriber!;
  }

  test("nothing where nothing is wrong", () => {
    prepared().takeEverything();
  });

  for (const [at, name] of ["QoS 0", "QoS 1", "QoS 2"].entries()) {
    test(`a lost message of ${name}`, () => {
      const client = prepared();
      client.inbox.splice(at * 3 + 1, 1);
      expect(() => client.takeEverything()).toThrow("never got");
    });

    test(`a doubled message of ${name}`, () => {
      const client = prepared();
      client.inbox.splice(at * 3 + 1, 0, client.inbox[at * 3]!);
      expect(() => client.takeEverything()).toThrow();
    });

    test(`two messages of ${name} that changed places`, () => {
      const client = prepared();
      client.inbox.splice(at * 3, 2, client.inbox[at * 3 + 1]!, client.inbox[at * 3]!);
      expect(() => client.takeEverything()).toThrow("out of order");
    });

    test(`a wrong DUP, QoS or Topic Name at ${name}`, () => {
      for (const change of [{ dup: true }, { qos: ((at + 1) % 3) as QoS }, { topicName: "b" }]) {
        const client = prepared();
        Object.assign(client.inbox[at * 3]!, change);
        expect(() => client.takeEverything()).toThrow();
      }
    });
  }

  test("a message of a session that is over", () => {
    const client = prepared();
    const [old] = client.inbox;
    client.connect(true, 5);
    client.inbox.push(old!);
    expect(() => client.takeEverything()).toThrow("none of its session's");
  });
});
