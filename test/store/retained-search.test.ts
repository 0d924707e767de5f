/** A search for retained messages that the end of the process cuts short: SUBACK has promised all of them. */
import { expect, test } from "bun:test";
import { HeldStore } from "../support/held-store.ts";
import { type ConnectInit, type TestClient, World } from "../support/world.ts";

const COUNT = 10;
const KEPT: ConnectInit = {
  clientId: "kept",
  cleanStart: false,
  properties: { sessionExpiryInterval: 3600, receiveMaximum: 2 },
};

function restart(world: World): World {
  return new World({ store: world.store!, nowMs: world.nowMs + 1 });
}

function begin(): { world: World; client: TestClient } {
  const world = new World({ store: new HeldStore() });
  const publisher = world.connect();
  for (let at = 0; at < COUNT; at++) publisher.publish(`r/${at}`, "old", { qos: 1, retain: true });
  const client = world.connect(KEPT);
  client.subscribe("r/#", { qos: 1 });
  return { world, client };
}

/** Everything that comes, acknowledged as it comes: Topic Name, text, RETAIN. */
function everything(client: TestClient): [string, string, boolean][] {
  const seen: [string, string, boolean][] = [];
  for (let round = 0; round < 2 * COUNT; round++) {
    for (const { topicName, payload, retain } of client.takePublishes())
      seen.push([topicName, new TextDecoder().decode(payload), retain]);
  }
  return seen;
}

const topicNames = (of: readonly (readonly [string, ...unknown[]])[]) => [...new Set(of.map(([name]) => name))].sort();
const all = Array.from({ length: COUNT }, (_, at) => `r/${at}`);

test("begins anew after kill -9, once, whether its client was there or had left", () => {
  const { world } = begin();
  const second = restart(world);
  const third = restart(second);
  expect(topicNames(everything(third.connect(KEPT)))).toEqual(all);
  expect(everything(restart(third).connect(KEPT))).toEqual([]);
});

test("comes behind what was queued meanwhile: the newest is the last", () => {
  const { world } = begin();
  const publisher = world.connect();
  publisher.publish("r/3", "new", { qos: 1, retain: true });
  publisher.publish("r/3", "newest", { qos: 1, retain: true });
  const seen = everything(restart(world).connect(KEPT));
  expect(topicNames(seen)).toEqual(all);
  const third = seen.filter(([name]) => name === "r/3").map(([, text, retain]) => [text, retain]);
  expect(third.slice(-3)).toEqual([
    ["new", false],
    ["newest", false],
    ["newest", true],
  ]);
});

test("does not begin anew for a subscription that is gone, or was made anew", () => {
  const { world } = begin();
  world.connect().publish("r/0", "queued", { qos: 1 });
  world.connect().publish("r/1", "queued", { qos: 1 });
  world.connect().publish("r/2", "queued", { qos: 1 });
  const client = restart(world).connect(KEPT);
  client.unsubscribe("r/#");
  client.subscribe("r/#", { qos: 1, retainHandling: 2 });
  expect(everything(client).filter(([, text, retain]) => retain && text === "old").length).toBeLessThanOrEqual(2);
});

test("is not stored where it is over with SUBACK", () => {
  const world = new World({ store: new HeldStore() });
  world.connect().publish("r/0", "old", { qos: 1, retain: true });
  const client = world.connect(KEPT);
  client.subscribe("r/#", { qos: 1 });
  expect(everything(client).length).toBe(1);
  expect(everything(restart(world).connect(KEPT))).toEqual([]);
});
