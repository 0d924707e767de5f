/**
 * The shapes of load, by name. A row says who talks to whom and how much; `load-run.ts` turns it into connections.
 *
 * `messages` counts what publishers send, all together. Costs are given per message, or per delivery where one message
 * goes to many.
 */
import type { Qos } from "./packet-bytes.ts";
import type { Transport } from "./wire.ts";

export interface Scenario {
  readonly name: string;
  readonly summary: string;
  /** Other than TCP, the same load over TCP is measured beside it. */
  readonly transport: Transport;
  readonly publishers: number;
  readonly subscribers: number;
  /** Subscriber n gets publisher n's messages only; otherwise every subscriber gets everything. */
  readonly paired: boolean;
  readonly qos: Qos;
  readonly payloadBytes: number;
  readonly messages: number;
  /** Sent before the measurement starts. */
  readonly warmUpMessages: number;
  /** Open messages per publisher; a list means one row each. */
  readonly windows: readonly number[];
  readonly topics: "few" | "one" | "new";
  /** First levels of all topics; null: bench and the scenario's name. */
  readonly place: string | null;
  readonly ratePerSecond: number | null;
}

const SEED: Scenario = {
  name: "seed",
  summary: 'subscribe to "#", publish at QoS 1, wait for every ack and every delivery',
  transport: "tcp",
  publishers: 1,
  subscribers: 1,
  paired: false,
  qos: 1,
  payloadBytes: 16,
  messages: 1_000_000,
  warmUpMessages: 0,
  windows: [1000, 100],
  topics: "few",
  place: null,
  ratePerSecond: null,
};

export const SCENARIOS: readonly Scenario[] = [
  SEED,
  { ...SEED, name: "seed-ws", summary: "the seed benchmark over WebSocket, beside TCP", transport: "ws" },
  { ...SEED, name: "seed-tls", summary: "the seed benchmark over TLS, beside TCP", transport: "tls" },
  { ...SEED, name: "qos0", summary: "1 to 1, QoS 0", qos: 0, windows: [1000] },
  { ...SEED, name: "qos2", summary: "1 to 1, QoS 2", qos: 2, messages: 300_000, windows: [100] },
  {
    ...SEED,
    name: "fan-out",
    summary: "1 to 100, QoS 0, cost per delivery",
    subscribers: 100,
    qos: 0,
    messages: 20_000,
    windows: [100],
  },
  {
    ...SEED,
    name: "fan-in",
    summary: "50 to 1, QoS 1",
    publishers: 50,
    messages: 500_000,
    windows: [100],
    topics: "one",
  },
  {
    ...SEED,
    name: "pairs",
    summary: "100 pairs, QoS 1",
    publishers: 100,
    subscribers: 100,
    paired: true,
    messages: 500_000,
    windows: [100],
    topics: "one",
  },
  {
    ...SEED,
    name: "new-topics",
    summary: "a new topic every message, QoS 0",
    qos: 0,
    messages: 500_000,
    windows: [1000],
    topics: "new",
  },
  {
    ...SEED,
    name: "payload",
    summary: "16 KB payload, QoS 1",
    payloadBytes: 16_384,
    messages: 50_000,
    windows: [100],
  },
  {
    ...SEED,
    name: "latency",
    summary: "10,000 messages a second at a fixed rate, QoS 1",
    messages: 50_000,
    warmUpMessages: 20_000,
    windows: [10_000],
    ratePerSecond: 10_000,
  },
];

export function scenarioNamed(name: string): Scenario {
  const scenario = SCENARIOS.find((row) => row.name === name);
  if (scenario !== undefined) return scenario;
  throw new Error(`no scenario is named ${name}; there are ${SCENARIOS.map((row) => row.name).join(", ")}`);
}

export function deliveriesPerMessage(scenario: Scenario): number {
  return scenario.paired ? 1 : scenario.subscribers;
}

/** All names of a publisher have the same length, so that its packets have one layout. */
export function topicNames(scenario: Scenario, publisher: number): string[] {
  const place = scenario.place ?? `bench/${scenario.name}`;
  if (scenario.topics === "new") return [`${place}/00000000`];
  if (scenario.topics === "one") return [`${place}/${String(publisher).padStart(3, "0")}`];
  return Array.from({ length: 10 }, (_, n) => `${place}/${n}`);
}

export function topicFilter(scenario: Scenario, subscriber: number): string {
  return scenario.paired ? topicNames(scenario, subscriber)[0] : "#";
}
