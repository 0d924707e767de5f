/** MQTT 5.0 sections 4.8.1 and 3.3.4: plain subscriptions, overlapping ones, and subscriptions of a session that is away. */
import { describe, expect, test } from "bun:test";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { type TestClient, toText, World } from "../support/world.ts";

function seen(client: TestClient): [string, QoS][] {
  return client.takePublishes().map(({ payload, qos }) => [toText(payload), qos]);
}

describe("4.8.1 plain subscriptions", () => {
  test("every subscriber gets its own copy, whatever its level and QoS", () => {
    const world = new World();
    const subscribers = [3, 4, 5].flatMap((level) =>
      [0, 1, 2].map((qos) => {
        const client = world.connect({ level: level as ProtocolLevel });
        client.subscribe("a", { qos: qos as QoS });
        return { client, qos };
      }),
    );
    world.connect().publish("a", "x", { qos: 2 });
    for (const { client, qos } of subscribers) expect(seen(client)).toEqual([["x", qos as QoS]]);
  });

  test("a publisher that subscribes gets its own messages", () => {
    const client = new World().connect();
    client.subscribe("a", { qos: 1 });
    expect(client.publish("a", "x", { qos: 1 })).toBe(0);
    expect(seen(client)).toEqual([["x", 1]]);
  });

  test("a session without subscriptions gets nothing, and a new one starts without any", () => {
    const world = new World();
    const client = world.connect({ clientId: "me" });
    client.subscribe("#");
    client.disconnect();
    const again = world.connect({ clientId: "me" });
    expect(world.connect().publish("a", "x", { qos: 1 })).toBe(0x10);
    expect(again.packets).toEqual([]);
  });

  test("the subscriptions of a session that expired are gone", () => {
    const world = new World();
    const client = world.connect({ clientId: "me", properties: { sessionExpiryInterval: 10 } });
    client.subscribe("a");
    client.drop();
    const publisher = world.connect();
    world.advance(9_000);
    expect(publisher.publish("a", "x", { qos: 1 })).toBe(0);
    world.advance(2_000);
    expect(publisher.publish("a", "x", { qos: 1 })).toBe(0x10);
  });

  test("subscriptions hold across connections of a session", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    client.subscribe("a", { qos: 1 });
    client.disconnect();
    const publisher = world.connect();
    publisher.publish("a", "1", { qos: 1 });
    const again = world.connect({ ...init, cleanStart: false });
    publisher.publish("a", "2", { qos: 1 });
    expect(seen(again)).toEqual([
      ["1", 1],
      ["2", 1],
    ]);
  });

  test("a taken over connection gets nothing more, its successor everything", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const first = world.connect(init);
    first.subscribe("a", { qos: 1 });
    const second = world.connect({ ...init, cleanStart: false });
    expect(first.take("disconnect").reasonCode).toBe(0x8e);
    world.connect().publish("a", "x", { qos: 1 });
    expect(first.packets).toEqual([]);
    expect(seen(second)).toEqual([["x", 1]]);
  });
});

describe("leaving", () => {
  test.each(["a", "$share/g/a"])("the subscribers of %s leave in any order, the others stay subscribed", (filter) => {
    const count = 4;
    for (const order of permutations(count)) {
      const world = new World();
      const publisher = world.connect();
      const clients = Array.from({ length: count }, () => {
        const client = world.connect();
        client.subscribe(filter, { qos: 0 });
        return client;
      });
      for (let gone = 0; gone < count; gone++) {
        clients[order[gone]!]!.unsubscribe(filter);
        const left = count - gone - 1;
        for (let turn = 0; turn < left; turn++) publisher.publish("a");
        const each = filter === "a" ? left : 1;
        const stay = new Set(order.slice(gone + 1));
        expect(clients.map((client) => client.takePublishes().length)).toEqual(
          clients.map((_, index) => (stay.has(index) ? each : 0)),
        );
      }
      expect(publisher.publish("a", "", { qos: 1 })).toBe(0x10);
    }
  });

  function permutations(count: number): number[][] {
    if (count === 0) return [[]];
    return permutations(count - 1).flatMap((shorter) =>
      Array.from({ length: count }, (_, at) => [...shorter.slice(0, at), count - 1, ...shorter.slice(at)]),
    );
  }
});

describe("3.3.4 overlapping subscriptions", () => {
  const filters: readonly (readonly [string, QoS])[] = [
    ["a/b", 0],
    ["a/+", 2],
    ["a/#", 1],
    ["#", 0],
  ];

  test.each<ProtocolLevel>([3, 4, 5])(
    "[MQTT-3.3.4-2] level %i: one copy with the highest QoS that matches",
    (level) => {
      const world = new World();
      const client = world.connect({ level });
      for (const [filter, qos] of filters) client.subscribe(filter, { qos });
      const publisher = world.connect();
      publisher.publish("a/b", "1", { qos: 2 });
      publisher.publish("a/b/c", "2", { qos: 2 });
      publisher.publish("c", "3", { qos: 2 });
      publisher.publish("a/b", "4", { qos: 1 });
      expect(seen(client)).toEqual([
        ["1", 2],
        ["2", 1],
        ["3", 0],
        ["4", 1],
      ]);
    },
  );

  test("[MQTT-3.3.4-2] one copy also when it has to wait for the client", () => {
    const world = new World();
    const init = { clientId: "me", properties: { sessionExpiryInterval: 100 } };
    const client = world.connect(init);
    for (const [filter, qos] of filters) client.subscribe(filter, { qos });
    client.drop();
    world.connect().publish("a/b", "x", { qos: 2 });
    expect(seen(world.connect({ ...init, cleanStart: false }))).toEqual([["x", 2]]);
  });

  test("when one of them goes, the rest decides", () => {
    const world = new World();
    const client = world.connect();
    for (const [filter, qos] of filters) client.subscribe(filter, { qos });
    const publisher = world.connect();
    const qosNow = () => {
      publisher.publish("a/b", "x", { qos: 2 });
      return seen(client).map(([, qos]) => qos);
    };
    expect(qosNow()).toEqual([2]);
    client.unsubscribe("a/+");
    expect(qosNow()).toEqual([1]);
    client.unsubscribe("a/#");
    expect(qosNow()).toEqual([0]);
    client.unsubscribe("#");
    expect(qosNow()).toEqual([0]);
    client.unsubscribe("a/b");
    expect(qosNow()).toEqual([]);
  });
});
