/** A failure while one client is served stays with that client: nobody gets its bytes, nobody's packets are kept back. */
import { expect, test } from "bun:test";
import type { Grant } from "../../src/core/gate/grant.ts";
import { texts } from "../support/publish-dialogue.ts";
import { RecordingWire } from "../support/recording-wire.ts";
import { answers, goOn } from "../support/scripted-auth.ts";
import { World } from "../support/world.ts";

/** A grant with a bug in it. */
function brokenGrant(grant: Grant): Grant {
  return Object.create(grant, {
    deniesDeliveries: { value: true },
    mayReceive: {
      value: () => {
        throw new TypeError("a bug");
      },
    },
  }) as Grant;
}

test("a failure in the middle of a message's deliveries: the next message carries its own bytes", () => {
  const world = new World();
  const reader = world.connect();
  reader.subscribe("t/#", { qos: 0 });
  const broken = world.connect();
  broken.subscribe("t/#", { qos: 0 });
  const session = broken.connection.session!;
  const { grant } = session;
  session.grant = brokenGrant(grant);
  world.connect().sendPublish("t/secret", "for those who may read t");
  expect(world.log.map(({ event }) => event)).toEqual(["bug"]);
  expect(texts(reader.takePublishes())).toEqual(["for those who may read t"]);
  session.grant = grant;
  broken.drop();
  const others = [world.connect(), world.connect()];
  others[0]!.subscribe("u/1", { qos: 0 });
  others[1]!.subscribe("u/2", { qos: 0 });
  const publisher = world.connect();
  publisher.sendPublish("u/1", "hello");
  publisher.sendPublish("u/2", "there");
  expect(others.map((other) => other.takePublishes().map(({ topicName }) => topicName))).toEqual([["u/1"], ["u/2"]]);
});

test("a transport that throws is closed and keeps nobody else's packets back", () => {
  const world = new World();
  const failing = RecordingWire.connect(world, "failing");
  failing.subscribe("a", 0);
  const others = [world.connect(), world.connect()];
  for (const other of others) other.subscribe("a", { qos: 0 });
  failing.send = () => {
    throw new Error("the transport is broken");
  };
  const publisher = world.connect();
  for (const payload of ["1", "2", "3"]) {
    expect(() => publisher.sendPublish("a", payload)).not.toThrow();
  }
  for (const other of others) expect(texts(other.takePublishes())).toEqual(["1", "2", "3"]);
  expect(failing.closed).toBe(true);
  expect(publisher.closed).toBe(false);
});

test("Response Information that would not fit into a string is left out: CONNACK is whole", () => {
  const world = new World();
  for (const [length, isGiven] of [
    [65_535 - "response/".length, true],
    [65_535 - "response/".length + 1, false],
    [65_535, false],
  ] as const) {
    const clientId = "x".repeat(length);
    const client = world.connect({ clientId, properties: { requestResponseInformation: 1 } });
    expect(client.connack!.properties.responseInformation).toBe(isGiven ? `response/${clientId}` : undefined);
    client.send({ type: "pingreq" });
    expect(client.takeAll()).toEqual([{ type: "pingresp" }]);
  }
  expect(world.log).toEqual([]);
});

test("an answer that cannot be encoded leaves no half packet in front of the next one", () => {
  // More than a Binary Data can hold: AUTH cannot be written, so the client is refused.
  const world = new World({ auth: answers(goOn("x".repeat(70_000))) });
  const client = world.dial({ properties: { authenticationMethod: "M" } });
  expect(client.take("connack").reasonCode).toBe(0x83);
  expect([client.packets, client.closed]).toEqual([[], true]);
});
