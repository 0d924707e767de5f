/**
 * A broker that was killed and started from its store says what one says that was never stopped and whose clients have all lost
 * their connections at that moment: the same random dialogue with both.
 *
 * Not compared, since they may differ: DUP, and the Packet Identifiers of what is sent for the first time. Wills of sessions that
 * end with their connection are nothing that a store keeps.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Packet, ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import type { Properties } from "../../src/core/codec/property.ts";
import type { Session } from "../../src/core/session/session.ts";
import type { MemoryEngine } from "../../src/core/store/memory-engine.ts";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, toText, World } from "../support/world.ts";

const RUNS = Number(process.env["RQTT_TEST_RUNS"] ?? 600);
const SEED = process.env["RQTT_TEST_SEED"] === undefined ? {} : { seed: Number(process.env["RQTT_TEST_SEED"]) };
/** Letters that something between a client and a disk could take for something else. */
const CLIENT_IDS = ["a", "\ufeffb", "\u{1f600}'\uffff", 'd\\"%'];
const LEVELS: readonly ProtocolLevel[] = [5, 5, 5, 4];

type Step =
  | { do: "connect"; who: number; clean: boolean; expiry: number; will: number }
  | { do: "leave"; who: number; how: "drop" | "disconnect" | "with-will"; expiry: number }
  | { do: "subscribe"; who: number; filter: string; qos: QoS; options: number; identifier: number }
  | { do: "unsubscribe"; who: number; filter: string }
  | { do: "publish"; who: number; topicName: string; qos: QoS; retain: boolean; empty: boolean; expiry: number }
  | { do: "repeat"; who: number; packetId: number; release: boolean }
  | { do: "acknowledge"; who: number; count: number; half: boolean }
  | { do: "wait"; seconds: number }
  | { do: "restart" };

const who = fc.nat({ max: CLIENT_IDS.length - 1 });
const qos = fc.constantFrom<QoS>(0, 1, 2);
const topicName = fc.constantFrom("t/1", "t/2", "t/\ufeff", "\u00fc/\u{1f600}", "w/0");
const filter = fc.constantFrom("t/1", "t/+", "t/#", "#", "t/\ufeff", "\u00fc/+", "+/+", "w/0");
const expiry = fc.constantFrom(0, 5, 20, 1000);
const of = <T extends Step["do"]>(what: T) => fc.constant(what);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: of("connect"),
      who,
      clean: fc.constantFrom(false, false, false, true),
      expiry,
      will: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: of("leave"), who, how: fc.constantFrom("drop", "disconnect", "with-will"), expiry }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: of("subscribe"), who, filter, qos, options: fc.nat(3), identifier: fc.nat(3) }),
  },
  { weight: 1, arbitrary: fc.record({ do: of("unsubscribe"), who, filter }) },
  {
    weight: 9,
    arbitrary: fc.record({
      do: of("publish"),
      who,
      topicName,
      qos,
      retain: fc.constantFrom(false, false, false, true),
      empty: fc.constantFrom(false, false, false, true),
      expiry: fc.constantFrom(-1, -1, -1, 3, 15),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: of("repeat"), who, packetId: fc.integer({ min: 1, max: 2 }), release: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: of("acknowledge"), who, count: fc.integer({ min: 1, max: 6 }), half: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: of("wait"), seconds: fc.constantFrom(1, 4, 10, 30) }) },
  { weight: 2, arbitrary: fc.constant({ do: "restart" }) },
);

/** One client as it is in one of the two worlds. */
interface Side {
  client: TestClient | undefined;
  session: Session | null;
  /** PUBLISH packets without an answer, oldest first. */
  open: { text: string; packetId: number; qos: QoS; received: boolean }[];
  /** What was so when the process ended: text and Packet Identifier. */
  before: Set<string>;
}

/** Searches for retained messages that were cut short begin anew, which is looked at in retained-search.test.ts. */
function forgetSearches(engine: MemoryEngine): void {
  const { load } = engine;
  engine.load = (sink) =>
    load.call(engine, { ...sink, subscriptionPut: (row) => sink.subscriptionPut({ ...row, isSearching: false }) });
}

class Universe {
  world: World;
  readonly #store: HeldStore | undefined;
  readonly #sides = CLIENT_IDS.map((): Side => ({ client: undefined, session: null, open: [], before: new Set() }));
  #count = 0;

  readonly #expires: boolean;

  constructor(isStored: boolean, expires: boolean) {
    this.#expires = expires;
    this.#store = isStored ? new HeldStore() : undefined;
    if (this.#store !== undefined) forgetSearches(this.#store.engine);
    this.world = this.#start(1_750_000_000_000);
  }

  #start(nowMs: number): World {
    return new World({ store: this.#store ?? null, nowMs, limits: { queueMessagesMax: 12, retainedMessagesMax: 4 } });
  }

  /** What everybody hears of it. */
  take(step: Step): string[][] {
    this.#do(step);
    return this.#sides.map((side) => this.#heard(side));
  }

  #do(step: Step): void {
    if (step.do === "wait") return this.world.advance(step.seconds * 1000);
    if (step.do === "restart") return this.#restart();
    const side = this.#sides[step.who]!;
    if (step.do === "connect") return this.#connect(side, step);
    const { client } = side;
    if (client === undefined || client.closed) return;
    switch (step.do) {
      case "leave":
        return leave(client, step);
      case "subscribe":
        return subscribe(client, step);
      case "unsubscribe":
        return client.send({ type: "unsubscribe", packetId: 77, topicFilters: [step.filter], properties: {} });
      case "publish":
        return this.#publish(client, step);
      case "repeat":
        if (step.release) client.send({ type: "pubrel", packetId: step.packetId, reasonCode: 0, properties: {} });
        else client.sendPublish("t/1", `repeated ${++this.#count}`, { qos: 2, packetId: step.packetId, dup: true });
        return;
      case "acknowledge":
        return acknowledge(client, side, step);
    }
  }

  #restart(): void {
    // Killed with nobody noticing; in the other world all are cut off, and what is said meanwhile is heard by nobody.
    if (this.#store === undefined) for (const side of this.#sides) cutOff(side);
    for (const side of this.#sides) {
      side.client = undefined;
      for (const { text, packetId } of side.open) side.before.add(`${packetId} ${text}`);
      side.open = [];
    }
    if (this.#store !== undefined) this.world = this.#start(this.world.nowMs);
    this.world.advance(0);
  }

  #connect(side: Side, step: Extract<Step, { do: "connect" }>): void {
    side.open = [];
    const level = LEVELS[step.who]!;
    const isKept = step.expiry > 0;
    const v5: Properties = { receiveMaximum: 3, ...(isKept ? { sessionExpiryInterval: step.expiry } : {}) };
    const init: ConnectInit = {
      level,
      clientId: CLIENT_IDS[step.who]!,
      cleanStart: step.clean,
      properties: level === 5 ? v5 : {},
    };
    if (step.who === 0 && step.will > 0 && isKept) {
      const properties = { willDelayInterval: (step.will - 1) * 4, messageExpiryInterval: 1000, contentType: "w" };
      init.will = { topicName: "w/0", payload: `will ${++this.#count}`, qos: 2, properties };
    }
    side.client = this.world.dial(init);
    side.session = side.client.connection.session ?? side.session;
  }

  #publish(client: TestClient, step: Extract<Step, { do: "publish" }>): void {
    const { qos } = step;
    // Of one topic: retained messages of several come in any order.
    const retain = step.retain && step.topicName === "t/1";
    const properties: Properties = {};
    if (client.level === 5 && step.expiry >= 0 && this.#expires) properties.messageExpiryInterval = step.expiry;
    if (client.level === 5) properties.userProperties = [["n", `${this.#count}`]];
    const text = step.empty ? "" : `message ${++this.#count}`;
    client.sendPublish(step.topicName, text, { qos, retain, packetId: 10 + (this.#count % 1000), properties });
    if (qos === 2) client.send({ type: "pubrel", packetId: 10 + (this.#count % 1000), reasonCode: 0, properties: {} });
  }

  /** One line for each packet: what is in order comes in order. */
  #heard(side: Side): string[] {
    const { client } = side;
    if (client === undefined) return [];
    const lists: string[][] = [[], [], [], []];
    for (const packet of client.takeAll()) {
      if (packet.type === "publish") {
        const { packetId = 0, qos } = packet;
        const text = toText(packet.payload);
        const open = { text: `${packet.topicName} ${text}`, packetId, qos, received: false };
        if (qos > 0) side.open.push(open);
        // Under its own identifier; which one it was first sent with differs between the worlds after a restart.
        if (side.before.delete(`${packetId} ${open.text}`)) lists[1]!.push("again, as before");
        lists[qos === 0 ? 0 : 1]!.push(publishLine(packet));
      } else if (packet.type === "pubrel") {
        const known = side.open.find((open) => open.packetId === packet.packetId);
        lists[3]!.push("pubrel");
        if (known === undefined) side.open.push({ text: "pubrel", packetId: packet.packetId, qos: 2, received: true });
      } else {
        lists[3]!.push(lineOf(packet));
      }
    }
    lists[3]!.push(client.closed ? "closed" : "open");
    return lists.flat();
  }
}

function leave(client: TestClient, { how, expiry }: Extract<Step, { do: "leave" }>): void {
  if (how === "drop") client.drop();
  else if (client.level !== 5) client.disconnect();
  else client.disconnect(how === "with-will" ? 4 : 0, { sessionExpiryInterval: expiry });
}

function subscribe(client: TestClient, step: Extract<Step, { do: "subscribe" }>): void {
  const is5 = client.level === 5;
  const options = { noLocal: is5 && (step.options & 1) === 1, retainAsPublished: is5 && (step.options & 2) === 2 };
  const filters = [{ topicFilter: step.filter, qos: step.qos, retainHandling: 0 as const, ...options }];
  const properties = is5 && step.identifier > 0 ? { subscriptionIdentifiers: [step.identifier] } : {};
  client.send({ type: "subscribe", packetId: 76, filters, properties });
}

/** Retained messages that had no place in the window are not sent later. */
function cutOff({ client, session }: Side): void {
  if (session !== null) session.replays = null;
  if (client?.closed === false) client.drop();
}

/** Answers the oldest PUBLISH packets of each QoS; `half`: QoS 2 only so far that PUBREL is to come. */
function acknowledge(client: TestClient, side: Side, { count, half }: Extract<Step, { do: "acknowledge" }>): void {
  for (const qos of [1, 2] as const) {
    for (const open of side.open.filter((one) => one.qos === qos).slice(0, count)) {
      const { packetId } = open;
      if (client.closed) return;
      if (qos === 1) client.send({ type: "puback", packetId, reasonCode: 0, properties: {} });
      else if (!open.received) client.send({ type: "pubrec", packetId, reasonCode: 0, properties: {} });
      else if (!half) client.send({ type: "pubcomp", packetId, reasonCode: 0, properties: {} });
      if (qos === 2 && !open.received) open.received = true;
      else if (qos === 1 || !half) side.open.splice(side.open.indexOf(open), 1);
    }
  }
}

function publishLine(packet: Extract<Packet, { type: "publish" }>): string {
  const { topicName, qos, retain, properties, payload } = packet;
  const { subscriptionIdentifiers = [], ...rest } = properties;
  const identifiers = subscriptionIdentifiers.toSorted((a, b) => a - b);
  return JSON.stringify([topicName, toText(payload), qos, retain, identifiers, rest]);
}

function lineOf(packet: Packet): string {
  if (packet.type !== "connack") return JSON.stringify(packet);
  // That there is a store is said in it.
  const { userProperties, ...properties } = packet.properties;
  return JSON.stringify({ ...packet, properties });
}

test.each([false, true])(
  "the same dialogue with a broker that is killed and one that goes on; messages expire: %p",
  (expires) => {
    const property = fc.property(fc.array(step, { minLength: 5, maxLength: 60, size: "max" }), (steps) => {
      const killed = new Universe(true, expires);
      const going = new Universe(false, expires);
      for (const [at, one] of steps.entries()) {
        const expected = going.take(one);
        expect({ at, heard: killed.take(one) }).toEqual({ at, heard: expected });
      }
    });
    fc.assert(property, { numRuns: RUNS, ...SEED });
  },
  120_000,
);
