/**
 * Connections that are cut at random moments, between the clients and a real broker: with a session, QoS 1 arrives at least
 * once and QoS 2 exactly once, both in the order in which they were published. A failure names its seed.
 */
import { expect, test } from "bun:test";
import { createBroker } from "rqtt";
import { connect, type Transport } from "rqtt/client";
import { inProcess } from "rqtt/client/in-process";
import { connect as connectSmall } from "rqtt/client/small";
import { Random } from "../fuzz/random.ts";

const MESSAGES = 150;
const SEEDS = [1, 2, 3];

interface Cuts {
  readonly transport: (inner: Transport) => Transport;
  /** Cuts a connection, if there is one; resolves with the next, or at once where another is left. */
  cut(random: Random): Promise<void>;
  readonly connections: number;
}

/** Wires that end without a word in either direction. */
function cutting(): Cuts {
  const live = new Set<() => void>();
  let connections = 0;
  let next = Promise.withResolvers<void>();
  return {
    transport: (inner) => (opened, received, closed) => {
      const end = (reason: string): void => {
        if (live.delete(cut)) closed(reason);
      };
      const wire = inner(opened, (bytes) => (live.has(cut) ? received(bytes) : undefined), end);
      const cut = (): void => {
        end("cut");
        wire.close();
      };
      live.add(cut);
      connections++;
      next.resolve();
      next = Promise.withResolvers();
      return { send: (bytes) => (live.has(cut) ? wire.send(bytes) : undefined), close: () => wire.close() };
    },
    async cut(random) {
      const { promise } = next;
      if (live.size > 0) random.pick([...live])();
      if (live.size === 0 || !random.oneIn(3)) await promise;
    },
    get connections() {
      return connections;
    },
  };
}

const options = { cleanStart: false, retryMs: 1, retryMsMax: 4, receiveMaximum: 8 } as const;

/** What the test needs of a client, either of the two. */
interface Peer {
  publish(topic: string, payload: string, options: { qos: never }): Promise<unknown>;
  subscribe(filter: string, options: { qos: never }): Promise<AsyncIterable<{ text(): string }>>;
  close(): unknown;
}
type Join = (transport: Transport, clientId: string) => Promise<Peer>;

const CLIENTS: readonly (readonly [string, readonly number[], Join])[] = [
  ["rqtt/client, MQTT 5.0", [1, 2], (transport, clientId) => connect(transport, { ...options, clientId })],
  [
    "rqtt/client, MQTT 3.1.1",
    [1, 2],
    (transport, clientId) => connect(transport, { ...options, clientId, protocolLevel: 4 }),
  ],
  ["rqtt/client/small", [1], (transport, clientId) => connectSmall(transport, { ...options, clientId })],
];

test.each(CLIENTS.flatMap((client) => SEEDS.map((seed) => [...client, seed] as const)))(
  "%s, QoS %p: nothing is lost (%#)",
  async (_, levels, join, seed) => {
    const random = new Random(seed);
    const broker = await createBroker({});
    const cuts = cutting();
    const [from, to] = await Promise.all(
      ["from", "to"].map((clientId) => join(cuts.transport(inProcess(broker)), clientId)),
    );
    const reading = levels.map(async (qos) => {
      const got: number[] = [];
      for await (const message of await to!.subscribe(`t/${qos}`, { qos: qos as never })) {
        got.push(Number(message.text()));
        if (got.at(-1) === MESSAGES - 1) break;
      }
      return got;
    });
    const publishing: Promise<unknown>[] = [];
    for (let i = 0; i < MESSAGES; i++) {
      for (const qos of levels) publishing.push(from!.publish(`t/${qos}`, `${i}`, { qos: qos as never }));
      // A round of the event loop, or several.
      for (let rounds = random.below(4); rounds >= 0; rounds--) await new Promise(setImmediate);
      if (random.oneIn(5)) await cuts.cut(random);
    }
    await Promise.all(publishing);
    const wanted = Array.from({ length: MESSAGES }, (__, i) => i);
    for (const [at, got] of (await Promise.all(reading)).entries()) {
      expect(levels[at] === 2 ? got : [...new Set(got)]).toEqual(wanted);
    }
    expect(cuts.connections).toBeGreaterThan(9);
    await Promise.all([from!.close(), to!.close()]);
    await broker.close();
  },
);
