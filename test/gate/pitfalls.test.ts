/** Pitfalls of topics (C), Will and session (D) and identities (E) at a running broker, one by one. */
import { expect, test } from "bun:test";
import type { Permissions, PrincipalInit, Verdict } from "../../src/core/gate/provider.ts";
import type { AuthHost, AuthRequest } from "../../src/core/ports.ts";
import { connectPacket, toBytes, toText, World, type WorldOptions } from "../support/world.ts";

/** Everybody is who the user name says; what one may do can be changed while the broker runs. */
class Rights implements AuthHost {
  readonly of = new Map<string, PrincipalInit>();
  /** While set, re-authentications are asked and not answered. */
  waiting: number[] | undefined;

  set(name: string, permissions: Permissions, changes: Partial<PrincipalInit> = {}): this {
    this.of.set(name, { id: name, provider: "rights", permissions, ...changes });
    return this;
  }

  verdictFor(name: string): Verdict {
    const principal = this.of.get(name);
    return principal === undefined ? { do: "refuse", because: "bad-credentials" } : { do: "accept", principal };
  }

  ask({ id, phase, username, authenticationData }: AuthRequest): Verdict | undefined {
    if (phase === "reauthenticate" && this.waiting !== undefined) {
      this.waiting.push(id);
      return undefined;
    }
    return this.verdictFor(authenticationData === undefined ? (username ?? "") : toText(authenticationData));
  }

  abandon(): void {}
}

const method = (name: string) => ({ authenticationMethod: "M", authenticationData: toBytes(name) });

function worldOf(rights: Rights, options: WorldOptions = {}): World {
  return new World({ ...options, auth: rights.set("admin", "everything") });
}

test("C: every filter of a SUBSCRIBE is checked, whatever the first one was", () => {
  const world = worldOf(new Rights().set("a", { allow: [{ on: "sub", filter: "mine/#" }] }));
  const client = world.connect({ username: "a" });
  const filters = ["mine/x", "#", "yours", "mine/+", "$share/g/yours", "$SYS/#"];
  expect(client.subscribe(filters, { qos: 1 }).reasonCodes).toEqual([1, 0x87, 0x87, 1, 0x87, 0x87]);
  const admin = world.connect({ username: "admin" });
  for (const topicName of ["yours", "mine/x"]) admin.publish(topicName, topicName, { qos: 1 });
  expect(client.takePublishes().map(({ topicName }) => topicName)).toEqual(["mine/x"]);
});

test("C: a share name or a filter that is none is refused before any right is looked at", () => {
  const world = worldOf(new Rights().set("a", { allow: [{ on: "sub", filter: "#" }] }));
  const client = world.connect({ username: "a" });
  expect(client.subscribe(["$share//x", "$share/+/x", "$share/g/", "a/#/b"]).reasonCodes).toEqual([
    0x8f, 0x8f, 0x8f, 0x8f,
  ]);
});

test("C: empty levels and letters of another case are other topics", () => {
  const world = worldOf(new Rights().set("a", { allow: [{ on: "both", filter: "a/b" }] }));
  const client = world.connect({ username: "a" });
  for (const topicName of ["a//b", "a/b/", "/a/b", "A/b", "a/B", "/"]) {
    expect(client.publish(topicName, "", { qos: 1 })).toBe(0x87);
    expect(client.subscribe(topicName).reasonCodes).toEqual([0x87]);
  }
});

test("C: an alias that was allowed and is given another topic carries no right with it", () => {
  const world = worldOf(new Rights().set("a", { allow: [{ on: "pub", filter: "ok" }] }));
  const client = world.connect({ username: "a" });
  const send = (topicName: string) => client.publish(topicName, "", { qos: 1, properties: { topicAlias: 7 } });
  expect([send("ok"), send(""), send("no"), send(""), send("ok"), send("")]).toEqual([
    0x10, 0x10, 0x87, 0x87, 0x10, 0x10,
  ]);
});

test("C: RETAIN that a rule forbids is refused, the same message without it is not", () => {
  const world = worldOf(new Rights().set("a", { allow: [{ on: "pub", filter: "t", retain: false }] }));
  const client = world.connect({ username: "a" });
  expect(client.publish("t", "x", { qos: 1, retain: true })).toBe(0x87);
  expect(client.publish("t", "x", { qos: 1 })).toBe(0x10);
});

test("D: a Will is checked with its QoS and RETAIN when connecting", () => {
  const rights = new Rights().set("a", { allow: [{ on: "pub", filter: "w/#", maxQos: 1, retain: false }] });
  const world = worldOf(rights);
  const code = (will: { topicName: string; qos?: 0 | 1 | 2; retain?: boolean }) =>
    world.dial({ username: "a", will }).take("connack").reasonCode;
  expect(code({ topicName: "w/x", qos: 1 })).toBe(0);
  expect(code({ topicName: "w/x", qos: 2 })).toBe(0x87);
  expect(code({ topicName: "w/x", retain: true })).toBe(0x87);
  expect(code({ topicName: "x" })).toBe(0x87);
});

test("D: a bad credential with Clean Start deletes nobody's session", () => {
  const world = worldOf(new Rights());
  const owner = world.connect({ clientId: "c", username: "admin", properties: { sessionExpiryInterval: 100 } });
  owner.subscribe("x");
  owner.drop();
  expect(world.dial({ clientId: "c", username: "nobody", cleanStart: true }).take("connack").reasonCode).toBe(0x86);
  const back = world.connect({ clientId: "c", username: "admin", cleanStart: false });
  expect(back.connack?.sessionPresent).toBe(true);
});

test("D: a QoS 2 message whose right is lost before PUBREL is finished, and not routed again", () => {
  const rights = new Rights().set("a", "everything");
  const world = worldOf(rights);
  const watcher = world.connect({ username: "admin" });
  watcher.subscribe("t");
  const client = world.connect({ properties: { ...method("a"), sessionExpiryInterval: 100 }, clientId: "c" });
  client.sendPublish("t", "once", { qos: 2, packetId: 5 });
  expect(client.take("pubrec").reasonCode).toBe(0);
  rights.set("a", { allow: [] });
  client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
  client.take("auth");
  client.sendPublish("t", "once", { qos: 2, packetId: 5, dup: true });
  expect(client.take("pubrec")).toMatchObject({ packetId: 5, reasonCode: 0 });
  client.send({ type: "pubrel", packetId: 5, reasonCode: 0, properties: {} });
  expect(client.take("pubcomp").reasonCode).toBe(0);
  client.sendPublish("t", "twice", { qos: 2, packetId: 5 });
  expect(client.take("pubrec").reasonCode).toBe(0x87);
  expect(watcher.takePublishes().map(({ payload }) => toText(payload))).toEqual(["once"]);
});

test("D: a retained message stays when its author loses the right, and a reader's rights decide who gets it", () => {
  const rights = new Rights().set("a", "everything").set("r", { allow: [{ on: "sub", filter: "other" }] });
  const world = worldOf(rights);
  const author = world.connect({ username: "a" });
  author.publish("t", "kept", { qos: 1, retain: true });
  world.broker.drop(({ id }) => id === "a", "gone", true, world.nowMs);
  world.settle();
  const admin = world.connect({ username: "admin" });
  admin.subscribe("t");
  expect(admin.takePublishes()).toHaveLength(1);
  expect(world.connect({ username: "r" }).subscribe("t").reasonCodes).toEqual([0x87]);
});

test("D: expiry during a re-authentication waits for it, no longer than that may take", () => {
  const rights = new Rights();
  const world = worldOf(rights, { limits: { authDeadlineMs: 10_000 } });
  const connect = (clientId: string) => {
    rights.set("a", "everything", { expiresAtMs: world.nowMs + 5_000 });
    rights.waiting = undefined;
    const client = world.connect({ clientId, properties: method("a") });
    world.advance(4_000);
    rights.waiting = [];
    client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
    return client;
  };
  const renewed = connect("renewed");
  world.advance(3_000);
  expect(renewed.closed).toBe(false);
  rights.set("a", "everything", { expiresAtMs: world.nowMs + 60_000 });
  world.broker.verdict(rights.waiting![0]!, rights.verdictFor("a"), world.nowMs);
  world.settle();
  expect(renewed.take("auth").reasonCode).toBe(0);
  world.advance(50_000);
  expect(renewed.closed).toBe(false);
  const late = connect("late");
  world.advance(9_999);
  expect(late.closed).toBe(false);
  world.advance(1);
  expect(late.take("disconnect").reasonCode).toBe(0x87);
});

test("D: a PUBLISH that races a re-authentication is judged by the rights in force", () => {
  const rights = new Rights().set("a", "everything");
  const world = worldOf(rights);
  const client = world.connect({ properties: method("a") });
  rights.waiting = [];
  client.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
  expect(client.publish("t", "", { qos: 1 })).toBe(0x10);
  rights.set("a", { allow: [] });
  world.broker.verdict(rights.waiting[0]!, rights.verdictFor("a"), world.nowMs);
  world.settle();
  client.take("auth");
  expect(client.publish("t", "", { qos: 1 })).toBe(0x87);
});

test("E: a client id that the server assigns keeps to the rule about client ids too", () => {
  const rights = new Rights()
    .set("prefix", "everything", { clientId: { prefix: "prefix~" } })
    .set("free", "everything");
  const world = worldOf(rights);
  expect(world.dial({ username: "prefix", clientId: "" }).take("connack").reasonCode).toBe(0x85);
  expect(world.dial({ username: "free", clientId: "" }).take("connack").reasonCode).toBe(0);
});

test("E: names that look alike but differ in their bytes are different names", () => {
  const rights = new Rights().set("\u00e9", { allow: [{ on: "pub", filter: "u/${id}" }] });
  const world = worldOf(rights);
  expect(world.dial({ username: "e\u0301" }).take("connack").reasonCode).toBe(0x86);
  const client = world.connect({ username: "\u00e9" });
  expect(client.publish("u/\u00e9", "", { qos: 1 })).toBe(0x10);
  expect(client.publish("u/e\u0301", "", { qos: 1 })).toBe(0x87);
});

test("unauthenticatedPerAddressMax: strangers of one address do not keep others out", () => {
  const world = new World({ limits: { unauthenticatedPerAddressMax: 2 } });
  const [first] = [world.open(5, "192.0.2.7"), world.open(5, "192.0.2.7")];
  expect(world.open(5, "192.0.2.7").closed).toBe(true);
  expect(world.open(5, "192.0.2.8").closed).toBe(false);
  first.drop();
  expect(world.open(5, "192.0.2.7").closed).toBe(false);
  expect(world.connect().closed).toBe(false);
});

test("C: a Response Topic lends nobody's rights: the responder publishes there with its own", () => {
  const rights = new Rights().set("asker", { allow: [{ on: "pub", filter: "ask" }] }).set("responder", {
    allow: [
      { on: "sub", filter: "ask" },
      { on: "pub", filter: "answers/#" },
    ],
  });
  const world = worldOf(rights);
  const admin = world.connect({ username: "admin" });
  admin.subscribe("secret/#");
  const responder = world.connect({ username: "responder" });
  responder.subscribe("ask", { qos: 1 });
  const asker = world.connect({ username: "asker" });
  asker.publish("ask", "", { qos: 1, properties: { responseTopic: "secret/1" } });
  const [request] = responder.takePublishes();
  expect(request?.properties.responseTopic).toBe("secret/1");
  expect(responder.publish("secret/1", "x", { qos: 1 })).toBe(0x87);
  expect(asker.subscribe("secret/1").reasonCodes).toEqual([0x87]);
  expect(admin.takePublishes()).toEqual([]);
});

/** Asks on as long as the client answers; counts how often it was asked. */
class Curious implements AuthHost {
  asked = 0;
  abandoned = 0;
  isSilent = false;

  ask(): Verdict | undefined {
    this.asked++;
    return this.isSilent ? undefined : { do: "continue", data: toBytes("?") };
  }

  abandon(): void {
    this.abandoned++;
  }
}

test("D: a flood of AUTH ends with the rounds that are allowed, and asks nobody any further", () => {
  const auth = new Curious();
  const world = new World({ auth, limits: { authRoundsMax: 3 } });
  const client = world.dial({ properties: method("a") });
  for (let round = 0; round < 10 && !client.closed; round++) {
    client.take("auth");
    client.send({ type: "auth", reasonCode: 0x18, properties: method("again") });
  }
  expect(client.take("connack").reasonCode).toBe(0x87);
  expect([client.closed, auth.asked, world.broker.sessionCount]).toEqual([true, 4, 0]);
});

test("D: AUTH before CONNECT, and AUTH that begins anew before CONNACK, end the connection and leave nothing", () => {
  const auth = new Curious();
  const world = new World({ auth });
  const first = world.open();
  first.send({ type: "auth", reasonCode: 0x18, properties: method("a") });
  expect([first.closed, auth.asked]).toEqual([true, 0]);
  const second = world.dial({ properties: method("a") });
  second.take("auth");
  second.send({ type: "auth", reasonCode: 0x19, properties: method("a") });
  expect([second.closed, auth.asked, world.broker.sessionCount]).toEqual([true, 1, 0]);
});

test("D: CONNECT twice is a Protocol Error, whoever the second one says it is", () => {
  const world = worldOf(new Rights().set("a", "everything"));
  const admin = world.connect({ username: "admin" });
  const client = world.connect({ username: "a", clientId: "one" });
  client.send(connectPacket("two", { username: "admin" }));
  expect(client.take("disconnect").reasonCode).toBe(0x82);
  expect([client.closed, admin.closed, world.broker.report("two")]).toEqual([true, false, undefined]);
});

test("D: a client that leaves while the provider is asked is nobody when the answer comes", () => {
  const auth = new Curious();
  auth.isSilent = true;
  const world = new World({ auth });
  const client = world.dial({ clientId: "gone", will: { topicName: "w" } });
  client.drop();
  expect(auth.abandoned).toBe(1);
  world.broker.verdict(1, { do: "accept", principal: { id: "p", permissions: "everything" } }, world.nowMs);
  world.settle();
  expect([world.broker.sessionCount, world.broker.report("gone")]).toEqual([0, undefined]);
});

test("D: a re-authentication as somebody else ends the connection and changes nothing", () => {
  const rights = new Rights().set("a", { allow: [{ on: "sub", filter: "a" }] }).set("b", "everything");
  const world = worldOf(rights);
  const client = world.connect({ clientId: "c", properties: { ...method("a"), sessionExpiryInterval: 100 } });
  client.send({ type: "auth", reasonCode: 0x19, properties: method("b") });
  expect(client.take("disconnect").reasonCode).toBe(0x87);
  expect(world.broker.report("c")).toMatchObject({ connected: false, allow: [{ on: "sub", filter: "a" }] });
});
