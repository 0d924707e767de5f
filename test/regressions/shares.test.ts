/** Shared Subscriptions (MQTT 5.0 section 4.8.2): nothing is lost that somebody could take, and many shares cost what they use. */
import { expect, test } from "bun:test";
import type { Session } from "../../src/core/session/session.ts";
import { arrayWork } from "../support/array-work.ts";
import { resume, texts } from "../support/publish-dialogue.ts";
import { type TestClient, World } from "../support/world.ts";

/** Makes one client a member of `count` shares of a filter, each with a name of its own. */
function join(client: TestClient, topicFilter: string, count: number, prefix = "g"): void {
  for (let from = 0; from < count; from += 1000) {
    const filters = Array.from({ length: Math.min(1000, count - from) }, (_, at) => {
      return `$share/${prefix}${from + at}/${topicFilter}`;
    });
    const { reasonCodes } = client.subscribe(filters, { qos: 1 });
    if (reasonCodes.some((code) => code !== 1)) throw new Error("a share was refused");
    client.bytes.length = 0;
  }
}

test("a message for more shares than a call takes arguments is routed to each, and its publisher stays", () => {
  const world = new World();
  for (let at = 0; at < 7; at++) {
    const member = world.connect();
    join(member, "x/#", 20_000, `m${at}_`);
    member.stall();
  }
  const other = world.connect();
  other.subscribe("+/y", { qos: 1 });
  const publisher = world.connect();
  expect(publisher.publish("x/y", "hello", { qos: 1 })).toBe(0);
  expect([publisher.closed, world.log]).toEqual([false, []]);
  expect(texts(other.takePublishes())).toEqual(["hello"]);
  expect(world.broker.statistics.publishSent).toBeGreaterThan(7);
});

test("joining and leaving a share does not look at the other shares of its filter", () => {
  const workFor = (count: number): number => {
    const world = new World();
    const client = world.connect();
    return arrayWork(() => {
      join(client, "x", count);
      client.drop();
    });
  };
  expect(workFor(4000)).toBeLessThan(3 * workFor(2000));
});

test("a message is copied once, however many shares of one session it goes to", () => {
  const world = new World();
  const client = world.connect({ clientId: "client" });
  join(client, "x", 100);
  const session = client.connection.session!;
  world.connect().publish("x", new Uint8Array(1000), { qos: 1 });
  const messages = session.inflight.inOrder().map(({ message }) => message);
  expect(messages.length).toBe(100);
  expect(new Set(messages.map(({ payload }) => payload.buffer)).size).toBe(1);
});

test("a member that is away with QoS 0 is passed over: the message goes to one whose queue can hold it", () => {
  const world = new World();
  const publisher = world.connect();
  for (const [clientId, qos] of [["lost", 0] as const, ["kept", 1] as const]) {
    const member = resume(world, clientId);
    member.subscribe("$share/g/a", { qos });
    member.drop();
  }
  for (let at = 0; at < 4; at++) expect(publisher.publish("a", `${at}`, { qos: 1 })).toBe(0);
  expect(texts(resume(world, "kept").takePublishes())).toEqual(["0", "1", "2", "3"]);
  expect(resume(world, "lost").takePublishes()).toEqual([]);
});

test("nobody but members away with QoS 0: the publisher is told that nobody took it", () => {
  const world = new World();
  const member = resume(world, "lost");
  member.subscribe("$share/g/a", { qos: 0 });
  member.drop();
  expect(world.connect().publish("a", "", { qos: 1 })).toBe(0x10);
});

/** What a session still has to send, window and queue together, as text. */
function waiting(session: Session): string[] {
  const under = session.inflight.inOrder().map(({ message }) => message);
  const decoder = new TextDecoder();
  return under.map((message) => decoder.decode(message.payload.subarray(message.payloadStart, message.payloadEnd)));
}

test("a member that leaves keeps what the others have no room for, and sends it when it returns", () => {
  const world = new World({ limits: { queueMessagesMax: 2 } });
  const publisher = world.connect();
  const members = ["a", "b"].map((clientId) => resume(world, clientId, { properties: { receiveMaximum: 1 } }));
  for (const member of members) member.subscribe("$share/g/t", { qos: 1 });
  for (let at = 0; at < 6; at++) expect(publisher.publish("t", `${at}`, { qos: 1 })).toBe(0);
  const [leaving, staying] = members as [TestClient, TestClient];
  const { session } = leaving.connection;
  leaving.drop();
  expect(waiting(session!).length + session!.queueLength).toBe(3);
  const taken = [...texts(staying.takePublishes()), ...texts(resume(world, "a").takePublishes())];
  expect(taken.sort()).toEqual(["0", "1", "2", "3", "4", "5"]);
  expect(world.broker.statistics.dropped.queueFull).toBe(0);
});

test("a member that leaves hands over as much as fits, to whoever has room, and no more", () => {
  const world = new World({ limits: { queueMessagesMax: 3 } });
  const publisher = world.connect();
  const init = { properties: { receiveMaximum: 1 } };
  const [leaving, staying] = [resume(world, "a", init), resume(world, "b", init)];
  leaving.subscribe("$share/g/t", { qos: 1 });
  for (let at = 0; at < 4; at++) expect(publisher.publish("t", `${at}`, { qos: 1 })).toBe(0);
  staying.subscribe("$share/g/t", { qos: 1 });
  staying.subscribe("own", { qos: 1 });
  for (let at = 0; at < 3; at++) expect(publisher.publish("own", `own ${at}`, { qos: 1 })).toBe(0);
  const { session } = leaving.connection;
  leaving.drop();
  expect(waiting(session!).length + session!.queueLength).toBe(3);
  const received = texts(staying.takePublishes());
  expect(received).toEqual(["own 0", "own 1", "own 2", "0"]);
  expect(texts(resume(world, "a").takePublishes())).toEqual(["1", "2", "3"]);
  expect(session!.queuedBytes).toBe(0);
});
