/**
 * A broker that begins with what its store has: deadlines that have passed meanwhile, rights that were lowered, limits that are lower
 * now, rows that could not be read.
 */
import { describe, expect, test } from "bun:test";
import { Broker } from "../../src/core/broker.ts";
import { allowAll } from "../../src/core/gate/allow-all.ts";
import type { Permissions, Principal } from "../../src/core/gate/provider.ts";
import { DEFAULT_BROKER_CONFIG } from "../../src/core/limits.ts";
import { readRecords } from "../../src/core/store/read-records.ts";
import { RecordWriter } from "../../src/core/store/record-writer.ts";
import { IGNORING_SINK } from "../../src/core/store/store-record.ts";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, World } from "../support/world.ts";

function kept(clientId: string, sessionExpiryInterval = 3600): ConnectInit {
  return { clientId, cleanStart: false, properties: { sessionExpiryInterval } };
}

function texts(world: World, clientId: string): string[] {
  return world
    .connect(kept(clientId))
    .takePublishes()
    .map(({ payload }) => new TextDecoder().decode(payload));
}

describe("what has fallen due while there was no broker", () => {
  test("is done before the first client is let in: a session that has expired is not resumed", () => {
    const store = new HeldStore();
    const world = new World({ store });
    const will = { topicName: "w", payload: "gone", qos: 1, properties: { willDelayInterval: 10 } } as const;
    world.connect(kept("watcher")).subscribe("w", { qos: 1 });
    world.connect({ ...kept("short", 100), will }).drop();
    const again = new World({ store, nowMs: world.nowMs + 200_000 });
    expect(texts(again, "watcher")).toEqual(["gone"]);
    expect(again.connect(kept("short")).connack!.sessionPresent).toBe(false);
  });
});

test("a subscription whose QoS was lowered stays so", () => {
  const store = new HeldStore();
  const first = new World({ store });
  const client = first.connect(kept("c"));
  client.subscribe("t", { qos: 2 });
  client.drop();
  const asked = (world: World): Principal => [...world.broker.principals()][0]!.principal;
  const lower: Permissions = { allow: [{ on: "sub", filter: "t", maxQos: 1 }] };
  const principal = { ...asked(first), permissions: lower };
  expect(first.broker.rejudge("c", asked(first), { do: "stay", principal }, first.nowMs)).toBe("changed");
  first.settle();
  const again = new World({ store, nowMs: first.nowMs + 1 });
  again.connect().publish("t", "x", { qos: 2 });
  expect(
    again
      .connect(kept("c"))
      .takePublishes()
      .map(({ qos }) => qos),
  ).toEqual([1]);
});

/** A broker on a store, as it is made: before it knows what the store's clock says. */
function start(store: HeldStore, processMs: number, brokerMs: number): Broker {
  const ids = { clientId: () => "x", seed: () => 1 };
  const config = { ...DEFAULT_BROKER_CONFIG, sysIntervalMs: 0 };
  const broker = new Broker(config, { auth: allowAll, log: { write() {} }, ids, store }, processMs);
  const restoration = broker.restore();
  restoration.finish(store.engine.load(restoration.sink), brokerMs);
  return broker;
}

test("a place that could not be read is not given to another message, also where the clock was set back", () => {
  const store = new HeldStore();
  const world = new World({ store });
  const client = world.connect(kept("c"));
  client.subscribe("t", { qos: 2 });
  world.connect().publish("t", "under way", { qos: 2 });
  const { brokerMs } = store.engine.load(IGNORING_SINK);
  let sequence = 0;
  store.engine.load({ ...IGNORING_SINK, queuePut: (row) => void (sequence = row.sequence) });
  // It is damaged: it does not come back.
  const { load } = store.engine;
  store.engine.load = (sink) => load.call(store.engine, { ...sink, queuePut() {} });
  store.automatic = false;
  const broker = start(store, brokerMs - 3_600_000, brokerMs);
  const written: number[] = [];
  const publisher = new RecordingClient(broker, brokerMs);
  publisher.connect();
  publisher.publish("t");
  broker.settle(brokerMs);
  for (const call of store.calls) {
    if (call.what !== "commit") continue;
    readRecords(call.records, { ...IGNORING_SINK, queuePut: (row) => void written.push(row.sequence) });
  }
  expect(written.length).toBe(1);
  expect(written[0]!).toBeGreaterThan(sequence);
});

/** Speaks to a broker without a world around it. */
class RecordingClient {
  readonly #broker: Broker;
  readonly #nowMs: number;
  readonly #connection: ReturnType<Broker["open"]>;

  constructor(broker: Broker, nowMs: number) {
    this.#broker = broker;
    this.#nowMs = nowMs;
    const wire = { remoteAddress: "x", listener: "x", send: () => 0, pause() {}, resume() {}, close() {} };
    this.#connection = broker.open(wire, nowMs);
  }

  connect(): void {
    this.#send("10 0e 00 04 4d 51 54 54 04 02 00 00 00 02 70 71");
  }

  publish(topicName: string): void {
    this.#send(`32 05 00 01 ${Buffer.from(topicName).toString("hex")} 00 01`);
  }

  #send(hex: string): void {
    this.#broker.receive(this.#connection, Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex")), this.#nowMs);
  }
}

test("what is under way twice under one Packet Identifier counts once", () => {
  const store = new HeldStore();
  const world = new World({ store });
  const client = world.connect(kept("c"));
  client.subscribe("t", { qos: 2 });
  const publisher = world.connect();
  for (const text of ["one", "two"]) publisher.publish("t", text, { qos: 2 });
  const [first, second] = client.takeAll();
  if (first?.type !== "publish" || second?.type !== "publish") throw new Error("expected two messages");
  let sequence = 0;
  store.engine.load({ ...IGNORING_SINK, queuePut: (row) => void (sequence = row.sequence) });
  const writer = new RecordWriter();
  writer.time(1);
  writer.queueProgress(1, sequence, 2, first.packetId!);
  store.engine.apply([writer.take()], "fsync");
  const again = new World({ store, nowMs: world.nowMs + 1 });
  const back = again.connect(kept("c"));
  back.takePublishes();
  expect(back.connection.session!.queuedBytes).toBe(0);
});
