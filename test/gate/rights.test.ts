/**
 * Rights at a running broker: who owns a session, which client ids are for whom, what a narrower right takes back, what a
 * revocation and an expiry do. The authority is scripted; clients speak to a Broker in memory.
 */
import { describe, expect, test } from "bun:test";
import type { Permissions, PrincipalInit, Verdict } from "../../src/core/gate/provider.ts";
import type { AuthHost } from "../../src/core/ports.ts";
import { toText, World } from "../support/world.ts";

/** An authority that knows users by name: what it says of one may change while the broker runs. */
class Users implements AuthHost {
  readonly principals = new Map<string, PrincipalInit>();

  set(username: string, permissions: Permissions, changes: Partial<PrincipalInit> = {}): this {
    this.principals.set(username, { id: username, provider: "users", permissions, ...changes });
    return this;
  }

  ask({
    username = "",
    authenticationData,
  }: {
    username?: string | undefined;
    authenticationData?: Uint8Array | undefined;
  }): Verdict {
    const name = authenticationData === undefined ? username : toText(authenticationData);
    const principal = this.principals.get(name);
    return principal === undefined ? { do: "refuse", because: "bad-credentials" } : { do: "accept", principal };
  }

  abandon(): void {}
}

const sub = (filter: string): Permissions => ({ allow: [{ on: "sub", filter }] });
const method = (name: string) => ({ authenticationMethod: "M", authenticationData: new TextEncoder().encode(name) });

describe("D: sessions have owners", () => {
  test("another identity neither resumes, takes over nor deletes a session, and leaves no trace on it", () => {
    const users = new Users().set("a", "everything").set("b", "everything");
    const world = new World({ auth: users });
    const owner = world.connect({ clientId: "c", username: "a", properties: { sessionExpiryInterval: 100 } });
    owner.subscribe("x");
    for (const cleanStart of [true, false]) {
      const thief = world.dial({ clientId: "c", username: "b", cleanStart });
      expect(thief.take("connack").reasonCode).toBe(0x85);
      expect([thief.closed, owner.closed]).toEqual([true, false]);
    }
    owner.drop();
    expect(world.dial({ clientId: "c", username: "b" }).take("connack").reasonCode).toBe(0x85);
    expect(world.dial({ clientId: "c", username: "nobody" }).take("connack").reasonCode).toBe(0x86);
    const back = world.connect({ clientId: "c", username: "a", cleanStart: false });
    expect(back.connack?.sessionPresent).toBe(true);
    expect(world.connect({ username: "b" }).publish("x", "", { qos: 1 })).toBe(0);
  });

  test("E: equal ids of two providers are two owners", () => {
    const users = new Users().set("a", "everything").set("b", "everything", { id: "a", provider: "other" });
    const world = new World({ auth: users });
    world.connect({ clientId: "c", username: "a" });
    expect(world.dial({ clientId: "c", username: "b" }).take("connack").reasonCode).toBe(0x85);
  });

  test("client ids by rule: equal, or with a prefix that keeps identities apart", () => {
    const users = new Users()
      .set("exact", "everything", { clientId: { equals: "c1" } })
      .set("fleet1", "everything", { clientId: { prefix: "fleet1:" } })
      .set("loose", "everything", { clientId: { prefix: "loose" } });
    const world = new World({ auth: users });
    const code = (username: string, clientId: string, level: 4 | 5 = 5) =>
      world.dial({ username, clientId, level }).take("connack").reasonCode;
    expect([code("exact", "c1"), code("exact", "c2"), code("exact", "c2", 4)]).toEqual([0, 0x85, 2]);
    expect([code("fleet1", "fleet1:a"), code("fleet1", "fleet1-eu:a"), code("fleet1", "fleet1")]).toEqual([
      0, 0x85, 0x85,
    ]);
    expect(code("loose", "loose1")).toBe(0x85);
  });
});

describe("D: fewer rights than before", () => {
  test("a session that is resumed loses what is no longer covered: subscriptions and waiting messages", () => {
    const users = new Users().set("a", { allow: [{ on: "sub", filter: "#" }] }).set("p", "everything");
    const world = new World({ auth: users });
    const client = world.connect({ clientId: "c", username: "a", properties: { sessionExpiryInterval: 100 } });
    client.subscribe(["keep/#", "lose/#"]);
    const publisher = world.connect({ username: "p" });
    publisher.publish("lose/1", "in flight", { qos: 1 });
    client.drop();
    publisher.publish("lose/2", "queued", { qos: 1 });
    publisher.publish("keep/1", "kept", { qos: 1 });
    users.set("a", sub("keep/#"));
    const back = world.connect({ clientId: "c", username: "a", cleanStart: false });
    expect(back.takePublishes().map(({ topicName }) => topicName)).toEqual(["keep/1"]);
    expect(publisher.publish("lose/3", "", { qos: 1 })).toBe(0x10);
    expect(world.log.map(({ event }) => event)).toEqual(
      expect.arrayContaining(["subscription-revoked", "messages-revoked"]),
    );
    expect(back.publish("keep/1", "", { qos: 1 })).toBe(0x87);
  });

  test("re-authentication takes back subscriptions, queued messages and the Will, and lowers QoS", () => {
    const users = new Users().set("a", "everything").set("p", "everything");
    const world = new World({ auth: users });
    const client = world.connect({
      clientId: "c",
      will: { topicName: "will", payload: "gone" },
      properties: { ...method("a"), receiveMaximum: 1 },
    });
    client.subscribe(["keep", "lose"]);
    const publisher = world.connect({ username: "p" });
    publisher.subscribe("will");
    publisher.publish("keep", "1", { qos: 1 });
    publisher.publish("lose", "2", { qos: 1 });
    const first = client.take("publish");
    users.set("a", { allow: [{ on: "sub", filter: "keep", maxQos: 0 }] });
    client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
    expect(client.take("auth").reasonCode).toBe(0);
    client.send({ type: "puback", packetId: first.packetId!, reasonCode: 0, properties: {} });
    expect(client.packets).toEqual([]);
    publisher.publish("keep", "3", { qos: 1 });
    expect(client.takePublishes().map(({ qos, payload }) => [qos, toText(payload)])).toEqual([[0, "3"]]);
    client.drop();
    expect(publisher.takePublishes()).toEqual([]);
  });

  test("deny rules hold on every way of delivery: live, queued, replayed, retained, shared", () => {
    const users = new Users().set("a", sub("#")).set("p", "everything");
    const world = new World({ auth: users });
    const publisher = world.connect({ username: "p" });
    const client = world.connect({ clientId: "c", username: "a", properties: { sessionExpiryInterval: 100 } });
    client.subscribe(["x/+", "$share/g/s/+"]);
    publisher.publish("x/secret", "replayed", { qos: 1 });
    client.drop();
    publisher.publish("x/secret", "queued", { qos: 1 });
    publisher.publish("x/secret", "retained", { qos: 1, retain: true });
    users.set("a", {
      allow: [{ on: "sub", filter: "#" }],
      deny: [
        { on: "sub", filter: "x/secret" },
        { on: "sub", filter: "s/secret" },
      ],
    });
    const back = world.connect({ clientId: "c", username: "a", cleanStart: false });
    expect(back.subscribe("x/open").reasonCodes).toEqual([2]);
    expect(back.subscribe(["x/+", "x/secret", "#"]).reasonCodes).toEqual([0x87, 0x87, 0x87]);
    publisher.publish("x/secret", "live");
    publisher.publish("s/secret", "shared");
    publisher.publish("x/open", "fine");
    expect(back.takePublishes().map(({ payload }) => toText(payload))).toEqual(["fine"]);
  });

  test("a delayed Will is published with the rights its client has then", () => {
    const users = new Users().set("a", "everything").set("p", "everything");
    const world = new World({ auth: users });
    const watcher = world.connect({ username: "p" });
    watcher.subscribe("#");
    const client = world.connect({
      clientId: "c",
      username: "a",
      will: { topicName: "w", properties: { willDelayInterval: 10 } },
      properties: { sessionExpiryInterval: 100 },
    });
    client.drop();
    world.advance(10_000);
    expect(watcher.takePublishes().map(({ topicName }) => topicName)).toEqual(["w"]);
    users.set("a", sub("x"));
    expect(world.dial({ username: "a", will: { topicName: "w" } }).take("connack").reasonCode).toBe(0x87);
  });
});

describe("expiry and revocation", () => {
  test("CONNACK says when; then the Will is published, v5 is told 0x87 and 3.1.1 is closed", () => {
    const users = new Users().set("p", "everything");
    const world = new World({ auth: users, store: null });
    const watcher = world.connect({ username: "p" });
    watcher.subscribe("will/+");
    users.set("a", "everything", { expiresAtMs: world.nowMs + 60_000 });
    const expires = String(Math.floor((world.nowMs + 60_000) / 1000));
    const v5 = world.connect({ username: "a", will: { topicName: "will/5" } });
    expect(v5.connack?.properties.userProperties).toEqual([["auth-expires", expires]]);
    const v4 = world.connect({ username: "a", level: 4, will: { topicName: "will/4" } });
    world.advance(59_999);
    expect([v5.closed, v4.closed]).toEqual([false, false]);
    world.advance(1);
    expect(v5.take("disconnect").reasonCode).toBe(0x87);
    expect([v5.closed, v4.closed, v4.packets.length]).toEqual([true, true, 0]);
    expect(
      watcher
        .takePublishes()
        .map(({ topicName }) => topicName)
        .sort(),
    ).toEqual(["will/4", "will/5"]);
  });

  test("re-authentication moves the expiry, and another identity cannot do it", () => {
    const users = new Users();
    const world = new World({ auth: users });
    users.set("a", "everything", { expiresAtMs: world.nowMs + 1_000 });
    const client = world.connect({ properties: method("a") });
    users.set("a", "everything", { expiresAtMs: world.nowMs + 3_600_000 });
    client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
    const later = String(Math.floor((world.nowMs + 3_600_000) / 1000));
    expect(client.take("auth").properties.userProperties).toEqual([["auth-expires", later]]);
    world.advance(3_599_999);
    expect(client.closed).toBe(false);
    users.set("b", "everything");
    client.send({ type: "auth", reasonCode: 0x19, properties: method("b") });
    expect(client.take("disconnect").reasonCode).toBe(0x87);
  });

  test("[MQTT-3.1.2-29] AUTH has no User Property for who wants none", () => {
    const users = new Users();
    const world = new World({ auth: users });
    users.set("a", "everything", { expiresAtMs: world.nowMs + 1_000 });
    const client = world.connect({ properties: { ...method("a"), requestProblemInformation: 0 } });
    client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
    expect(client.take("auth").properties).toEqual({ authenticationMethod: "M" });
  });

  test("drop ends the connections it picks, and only those", () => {
    const users = new Users().set("a", "everything").set("b", "everything");
    const world = new World({ auth: users });
    const [a, b] = [world.connect({ username: "a" }), world.connect({ username: "b", clientId: "b1" })];
    expect(world.broker.drop((principal) => principal.id === "a", "gone", true, world.nowMs)).toBe(1);
    world.settle();
    expect(a.take("disconnect").reasonCode).toBe(0x87);
    expect([a.closed, b.closed]).toEqual([true, false]);
    expect(world.broker.drop((_principal, clientId) => clientId === "b1", "gone", true, world.nowMs)).toBe(1);
  });
});

describe("rights that are withdrawn", () => {
  test("take the Will with them, of clients that are there and of sessions that are away", () => {
    const users = new Users().set("a", "everything").set("p", "everything");
    const world = new World({ auth: users });
    const watcher = world.connect({ username: "p" });
    watcher.subscribe("#");
    const will = (topicName: string) => ({ topicName, properties: { willDelayInterval: 100 } });
    const away = world.connect({
      clientId: "away",
      username: "a",
      will: will("w/away"),
      properties: { sessionExpiryInterval: 1000 },
    });
    away.subscribe("x");
    away.drop();
    world.connect({ clientId: "there", username: "a", will: { topicName: "w/there" } });
    world.broker.drop((principal) => principal.id === "a", "gone", true, world.nowMs);
    world.settle();
    world.advance(500_000);
    expect(watcher.takePublishes()).toEqual([]);
    expect(world.connect({ username: "p" }).publish("x", "", { qos: 1 })).toBe(0);
  });

  test("a drop that withdraws nothing leaves Wills as they are", () => {
    const users = new Users().set("a", "everything").set("p", "everything");
    const world = new World({ auth: users });
    const watcher = world.connect({ username: "p" });
    watcher.subscribe("w");
    world.connect({ username: "a", will: { topicName: "w" } });
    world.broker.drop((principal) => principal.id === "a", "anew", false, world.nowMs);
    world.settle();
    expect(watcher.takePublishes()).toHaveLength(1);
  });

  test("re-authentication keeps to the rule about client ids and to the longest session granted", () => {
    const users = new Users().set("a", "everything");
    const world = new World({ auth: users });
    const client = world.connect({ clientId: "dev1", properties: { ...method("a"), sessionExpiryInterval: 1000 } });
    users.set("a", "everything", { sessionExpiryIntervalMax: 10 });
    client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
    expect(client.take("auth").reasonCode).toBe(0);
    users.set("a", "everything", { clientId: { equals: "dev2" } });
    client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
    expect(client.take("disconnect").reasonCode).toBe(0x87);
    world.advance(10_000);
    expect(world.broker.report("dev1")).toBeUndefined();
  });
});

describe("a refused PUBLISH", () => {
  test("ends the connection where denyAction is disconnect", () => {
    const users = new Users().set("a", sub("#"));
    const world = new World({ auth: users, config: { denyAction: "disconnect" } });
    for (const qos of [0, 1, 2] as const) {
      const client = world.connect({ username: "a" });
      client.sendPublish("x", "", { qos });
      expect(client.take("disconnect").reasonCode).toBe(0x87);
      expect(client.packets).toEqual([]);
    }
    const old = world.connect({ username: "a", level: 4 });
    old.sendPublish("x", "", { qos: 1 });
    expect([old.closed, old.packets.length]).toEqual([true, 0]);
  });

  test("C: an alias of a refused topic is refused again, and means nothing on the next connection", () => {
    const users = new Users().set("a", { allow: [{ on: "both", filter: "ok" }] });
    const world = new World({ auth: users });
    const client = world.connect({ username: "a" });
    expect(client.publish("no", "", { qos: 1, properties: { topicAlias: 1 } })).toBe(0x87);
    expect(client.publish("", "", { qos: 1, properties: { topicAlias: 1 } })).toBe(0x87);
    expect(client.publish("ok", "", { qos: 1, properties: { topicAlias: 1 } })).toBe(0x10);
    expect(client.publish("", "", { qos: 1, properties: { topicAlias: 1 } })).toBe(0x10);
  });

  test("C: deleting a retained message is a write", () => {
    const users = new Users().set("p", "everything").set("a", { allow: [{ on: "both", filter: "#", retain: false }] });
    const world = new World({ auth: users });
    world.connect({ username: "p" }).publish("r", "stays", { qos: 1, retain: true });
    const client = world.connect({ username: "a" });
    expect(client.publish("r", "", { qos: 1, retain: true })).toBe(0x87);
    client.subscribe("r");
    expect(client.takePublishes()).toHaveLength(1);
  });
});
