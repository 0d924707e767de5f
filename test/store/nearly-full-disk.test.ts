/**
 * A disk that is nearly full: what makes room, or moves what is there already, goes on.
 */
import { describe, expect, test } from "bun:test";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

function kept(clientId: string, more: ConnectInit["properties"] = {}): ConnectInit {
  return { clientId, cleanStart: false, properties: { sessionExpiryInterval: 3600, ...more } };
}

function begin(): World {
  return new World({ store: new HeldStore() });
}

function fill(world: World): void {
  world.broker.storeSpace(true, world.nowMs);
}

function restart(world: World): World {
  return new World({ store: world.store!, nowMs: world.nowMs + 1 });
}

function texts(world: World, clientId: string): string[] {
  return world
    .connect(kept(clientId))
    .takePublishes()
    .map(({ payload }) => new TextDecoder().decode(payload));
}

test("a retained message may be taken away, unless somebody who is kept is to hear of it", () => {
  const world = begin();
  const publisher = world.connect();
  publisher.publish("r/1", "one", { qos: 1, retain: true });
  publisher.publish("r/2", "two", { qos: 1, retain: true });
  world.connect(kept("watcher")).subscribe("r/2", { qos: 1, retainHandling: 2 });
  fill(world);
  expect(publisher.publish("r/1", "", { qos: 1, retain: true })).toBe(0x10);
  expect(publisher.publish("r/2", "", { qos: 1, retain: true })).toBe(0x97);
  const reader = restart(world).connect();
  reader.subscribe("r/#");
  expect(reader.takePublishes().map(({ topicName }) => topicName)).toEqual(["r/2"]);
});

describe("a share that a member leaves", () => {
  /** Four messages of a share: one is under way to its first member, who has the others too; the second has come late. */
  function share(world: World): TestClient[] {
    const members = ["one", "two"].map((clientId) => world.connect(kept(clientId, { receiveMaximum: 1 })));
    members[0]!.subscribe("$share/g/t", { qos: 1 });
    const publisher = world.connect();
    for (let at = 0; at < 4; at++) publisher.publish("t", `${at}`, { qos: 1 });
    members[1]!.subscribe("$share/g/t", { qos: 1 });
    fill(world);
    return members;
  }

  test("what the store has for it is neither dropped nor forgotten on its way to another member", () => {
    const world = begin();
    const [one, two] = share(world);
    one!.drop();
    two!.drop();
    const again = restart(world);
    expect([...texts(again, "one"), ...texts(again, "two")].sort()).toEqual(["0", "1", "2", "3"]);
  });

  test("the same where its session ends", () => {
    const world = begin();
    const [one, two] = share(world);
    one!.disconnect(0, { sessionExpiryInterval: 0 });
    two!.drop();
    expect(texts(restart(world), "two")).toEqual(["0", "1", "2", "3"]);
  });
});
