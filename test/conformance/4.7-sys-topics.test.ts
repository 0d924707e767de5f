/**
 * The broker's own topics under $SYS/broker (MQTT 5.0 section 4.7.2): what they say, when, and that no client writes them.
 */
import { describe, expect, test } from "bun:test";
import type { ProtocolLevel, QoS } from "../../src/core/codec/packet.ts";
import { expectConnackRefusal } from "../support/refusal.ts";
import { type TestClient, toText, World } from "../support/world.ts";

const INTERVAL_MS = 1000;
const config = { sysIntervalMs: INTERVAL_MS, version: "rqtt 9.8.7" };

/** The values last received, by what stands behind `$SYS/broker/`. */
function values(client: TestClient): Map<string, string> {
  const found = new Map<string, string>();
  for (const publish of client.takePublishes()) {
    expect(publish.topicName).toStartWith("$SYS/broker/");
    found.set(publish.topicName.slice("$SYS/broker/".length), toText(publish.payload));
  }
  return found;
}

function numbersUnder(found: ReadonlyMap<string, string>, prefix: string): number[] {
  const under = [...found].filter(([name]) => name === prefix || name.startsWith(`${prefix}/`));
  return under.map(([, value]) => Number.parseFloat(value));
}

function watch(world: World): TestClient {
  const watcher = world.connect({ clientId: "watcher" });
  watcher.subscribe("$SYS/broker/#");
  watcher.takePublishes();
  return watcher;
}

describe("what they say", () => {
  test("version, uptime, clients, messages and bytes are published at every interval", () => {
    const world = new World({ config });
    const watcher = watch(world);
    for (let round = 0; round < 3; round++) {
      world.advance(INTERVAL_MS);
      const found = values(watcher);
      expect([...found.keys()]).toContain("uptime");
      for (const prefix of ["uptime", "clients", "messages", "bytes"]) {
        const numbers = numbersUnder(found, prefix);
        expect([prefix, numbers.length > 0, numbers.every(Number.isFinite)]).toEqual([prefix, true, true]);
      }
    }
  });

  test("version is the configured one and is there for a new subscriber", () => {
    const world = new World({ config });
    world.advance(INTERVAL_MS);
    const client = world.connect();
    client.subscribe("$SYS/broker/version");
    const publishes = client.takePublishes();
    expect(publishes.map(({ payload, retain }) => [toText(payload), retain])).toEqual([["rqtt 9.8.7", true]]);
  });

  test("uptime counts seconds", () => {
    const world = new World({ config });
    const watcher = watch(world);
    world.advance(65_000);
    expect(Number.parseInt(values(watcher).get("uptime") ?? "", 10)).toBe(65);
  });

  test("clients follow who comes and goes", () => {
    const world = new World({ config });
    const watcher = watch(world);
    const connected = () => {
      world.advance(INTERVAL_MS);
      return Number(values(watcher).get("clients/connected"));
    };
    expect(connected()).toBe(1);
    const two = [world.connect(), world.connect()];
    expect(connected()).toBe(3);
    two[0]!.disconnect();
    two[1]!.drop();
    expect(connected()).toBe(1);
  });

  test("messages and bytes grow with the traffic, by at least what was sent", () => {
    const world = new World({ config });
    const watcher = watch(world);
    const counters = () => {
      world.advance(INTERVAL_MS);
      return values(watcher);
    };
    const before = counters();
    const publisher = world.connect();
    for (let index = 0; index < 10; index++) publisher.publish("a", new Uint8Array(1000), { qos: 1 });
    const after = counters();
    const grown = (name: string) => Number(after.get(name)) - Number(before.get(name));
    expect(grown("messages/received")).toBeGreaterThanOrEqual(10);
    expect(grown("bytes/received")).toBeGreaterThanOrEqual(10_000);
    expect(grown("bytes/sent")).toBeGreaterThan(0);
  });

  test("a bound on levels that is lower than theirs is for clients: the broker goes on", () => {
    const world = new World({ config, limits: { topicLevelsMax: 2 } });
    const client = world.connect();
    client.subscribe("$SYS/#");
    world.advance(3 * INTERVAL_MS);
    expect(client.takePublishes().map((publish) => publish.topicName)).toContain("$SYS/broker/version");
  });

  test("an interval of 0 publishes nothing", () => {
    const world = new World({ config: { ...config, sysIntervalMs: 0 } });
    const watcher = world.connect();
    watcher.subscribe("$SYS/#");
    world.advance(3_600_000);
    expect(watcher.packets).toEqual([]);
  });

  test("reading them is a subscription like any other: QoS, Retain As Published, sharing", () => {
    const world = new World({ config });
    const [one, two] = [world.connect(), world.connect()];
    one.subscribe("$share/g/$SYS/broker/uptime", { qos: 1 });
    two.subscribe("$share/g/$SYS/broker/uptime", { qos: 1 });
    world.advance(4 * INTERVAL_MS);
    const counts = [one, two].map((client) => client.takePublishes().length);
    expect(Math.abs(counts[0]! - counts[1]!)).toBeLessThanOrEqual(1);
    expect(counts[0]! + counts[1]!).toBe(4);
  });
});

describe("nobody writes them", () => {
  const names = ["$SYS/broker/version", "$SYS/broker/own", "$SYS", "$SYS/", "$", "$other/a", "$share/g/a"];

  /** A watcher of everything that could carry the forbidden message. */
  function watchers(world: World): TestClient[] {
    return [...names, "$SYS/#", "$other/#", "#"]
      .filter((filter) => !filter.startsWith("$share"))
      .map((filter) => {
        const client = world.connect();
        client.subscribe(filter);
        return client;
      });
  }

  test.each(names)("%s: PUBACK and PUBREC 0x87, QoS 0 dropped, nothing delivered or retained", (topicName) => {
    const world = new World({ config: { ...config, sysIntervalMs: 0 } });
    const watching = watchers(world);
    const client = world.connect();
    for (const retain of [false, true]) {
      expect(client.publish(topicName, "forged", { qos: 1, retain })).toBe(0x87);
      expect(client.publish(topicName, "forged", { qos: 2, retain })).toBe(0x87);
      client.publish(topicName, "forged", { qos: 0, retain });
    }
    expect(client.packets).toEqual([]);
    expect(client.closed).toBe(false);
    for (const watcher of [...watching, ...watchers(world)]) expect(watcher.packets).toEqual([]);
  });

  test("after PUBREC 0x87 the packet identifier is free again", () => {
    const client = new World().connect();
    for (let round = 0; round < 2; round++) {
      client.sendPublish("$SYS/broker/x", "", { qos: 2, packetId: 5 });
      expect(client.take("pubrec")).toMatchObject({ packetId: 5, reasonCode: 0x87 });
    }
    client.subscribe("a");
    client.sendPublish("a", "", { qos: 2, packetId: 5 });
    expect(client.packets.map((packet) => packet.type).sort()).toEqual(["publish", "pubrec"]);
  });

  test.each<[ProtocolLevel, QoS]>([
    [4, 1],
    [4, 2],
    [3, 1],
    [3, 2],
  ])("[MQTT311-3.3.5-2] level %i, QoS %i: acknowledged as if all were well, and dropped", (level, qos) => {
    const world = new World({ config: { ...config, sysIntervalMs: 0 } });
    const watching = watchers(world);
    const client = world.connect({ level });
    expect(client.publish("$SYS/broker/version", "forged", { qos, retain: true })).toBe(0);
    expect(client.closed).toBe(false);
    for (const watcher of [...watching, ...watchers(world)]) expect(watcher.packets).toEqual([]);
  });

  test("a Will there is refused when connecting", () => {
    for (const topicName of names) {
      expectConnackRefusal(new World().dial({ will: { topicName } }), 0x87);
      expectConnackRefusal(new World().dial({ level: 4, will: { topicName } }), 5);
    }
  });

  test("an empty retained message does not delete one", () => {
    const world = new World({ config });
    world.advance(INTERVAL_MS);
    world.connect().publish("$SYS/broker/version", "", { qos: 1, retain: true });
    const client = world.connect();
    client.subscribe("$SYS/broker/version");
    expect(client.takePublishes().length).toBe(1);
  });

  test("nor does a Topic Alias help", () => {
    const world = new World();
    const client = world.connect();
    const properties = { topicAlias: 1 };
    expect(client.publish("$SYS/x", "", { qos: 1, properties })).toBe(0x87);
    expect(client.publish("", "", { qos: 1, properties })).toBe(0x87);
    expect(client.closed).toBe(false);
  });
});
