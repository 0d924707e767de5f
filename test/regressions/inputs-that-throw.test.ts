/** No input of the broker throws, and a failure while one client is served stays with that client. */
import { expect, test } from "bun:test";
import type { Grant } from "../../src/core/gate/grant.ts";
import { texts } from "../support/publish-dialogue.ts";
import { RecordingWire } from "../support/recording-wire.ts";
import { World } from "../support/world.ts";

test("a failure while a search is taken up again ends that client's connection; `tick` does not throw", () => {
  const world = new World();
  const publisher = world.connect();
  for (let at = 0; at < 15_000; at++) publisher.sendPublish(`r/${at}`, "x", { retain: true });
  const client = world.connect();
  client.subscribe("#", { qos: 0 });
  const other = world.connect();
  other.subscribe("#", { qos: 0 });
  const session = client.connection.session!;
  session.grant = Object.create(session.grant, {
    deniesDeliveries: { value: true },
    mayReceive: {
      value: () => {
        throw new TypeError("a bug");
      },
    },
  }) as Grant;
  expect(() => world.advance(0)).not.toThrow();
  world.advance(0);
  expect(client.closed).toBe(true);
  expect(other.takePublishes().length).toBe(15_000);
});

test("a transport that throws in the middle of a turn ends neither the publisher nor the other deliveries", () => {
  const world = new World();
  const failing = RecordingWire.connect(world, "failing");
  failing.subscribe("a", 0);
  const other = world.connect();
  other.subscribe("a", { qos: 0 });
  failing.send = () => {
    throw new Error("the transport is broken");
  };
  const publisher = world.connect();
  publisher.sendPublish("a", "x".repeat(100_000));
  expect(publisher.closed).toBe(false);
  expect(texts(other.takePublishes()).map(({ length }) => length)).toEqual([100_000]);
});
