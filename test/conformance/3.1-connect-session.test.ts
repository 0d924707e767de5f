/**
 * MQTT 5.0 sections 3.1.2.4 and 3.1.2.11.2, with Session Present of 3.2.2.1.1: Clean Start and Session Expiry Interval.
 */
import { expect, test } from "bun:test";
import { expectAlive } from "../support/ending.ts";
import { accept, answers, refuse } from "../support/scripted-auth.ts";
import { type ConnectInit, toText, World } from "../support/world.ts";

const HOUR: ConnectInit = { clientId: "keeper", cleanStart: false, properties: { sessionExpiryInterval: 3600 } };

/** A session of "keeper" that is away, with a subscription of "kept" and one queued message. */
function worldWithSession(): World {
  const world = new World();
  const client = world.connect(HOUR);
  client.subscribe("kept");
  client.disconnect();
  world.connect({ clientId: "publisher" }).publish("kept", "queued", { qos: 1 });
  return world;
}

test("[MQTT-3.1.2-4] [MQTT-3.2.2-2] Clean Start 1 throws the old session away: Session Present 0, no subscription, no message", () => {
  const world = worldWithSession();
  const client = world.connect({ ...HOUR, cleanStart: true });
  expect(client.connack?.sessionPresent).toBe(false);
  world.connect().publish("kept", "new");
  expect(client.takeAll()).toEqual([]);
});

test("[MQTT-3.1.2-4] the session that Clean Start 1 began is the one found later", () => {
  const world = worldWithSession();
  const fresh = world.connect({ ...HOUR, cleanStart: true });
  fresh.subscribe("other");
  fresh.drop();
  const resumed = world.connect(HOUR);
  expect(resumed.connack?.sessionPresent).toBe(true);
  const publisher = world.connect();
  publisher.publish("kept", "no");
  publisher.publish("other", "yes");
  expect(resumed.takePublishes().map(({ payload }) => toText(payload))).toEqual(["yes"]);
});

test("[MQTT-3.1.2-4] the expiry of the session that was thrown away does not hit the new one", () => {
  const world = worldWithSession();
  world.advance(3_599_000);
  const fresh = world.connect({ ...HOUR, cleanStart: true });
  fresh.subscribe("other");
  fresh.drop();
  world.advance(10_000);
  const resumed = world.connect(HOUR);
  expect(resumed.connack?.sessionPresent).toBe(true);
  world.connect().publish("other", "x");
  expect(resumed.takePublishes()).toHaveLength(1);
});

test("[MQTT-3.1.2-5] [MQTT-3.2.2-3] Clean Start 0 with a session resumes it: Session Present 1, subscription and message", () => {
  const world = worldWithSession();
  const client = world.connect(HOUR);
  expect(client.connack?.sessionPresent).toBe(true);
  world.connect().publish("kept", "new", { qos: 1 });
  expect(client.takePublishes().map(({ payload }) => toText(payload))).toEqual(["queued", "new"]);
});

test("[MQTT-3.1.2-5] a take-over with Clean Start 0 resumes the session of the connection it ends", () => {
  const world = new World();
  const old = world.connect(HOUR);
  old.subscribe("kept");
  const client = world.connect(HOUR);
  expect(old.closed).toBe(true);
  expect(client.connack?.sessionPresent).toBe(true);
  world.connect().publish("kept", "x");
  expect(client.takePublishes()).toHaveLength(1);
});

test("[MQTT-3.1.2-6] [MQTT-3.2.2-3] Clean Start 0 without a session creates one: Session Present 0, and it can be resumed", () => {
  const world = new World();
  const client = world.connect(HOUR);
  expect(client.connack?.sessionPresent).toBe(false);
  client.disconnect();
  expect(world.connect(HOUR).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-6] Clean Start 0 after the session has expired creates a new one", () => {
  const world = worldWithSession();
  world.advance(3_600_000);
  const client = world.connect(HOUR);
  expect(client.connack?.sessionPresent).toBe(false);
  world.connect().publish("kept", "new");
  expect(client.takeAll()).toEqual([]);
});

test("[MQTT-3.1.4-4] the Clean Start rules hold for each client id by itself", () => {
  const world = worldWithSession();
  expect(world.connect({ ...HOUR, clientId: "Keeper" }).connack?.sessionPresent).toBe(false);
  world.connect({ ...HOUR, clientId: "keepe", cleanStart: true });
  expect(world.connect(HOUR).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.4-4] Clean Start is carried out for accepted clients only", () => {
  const auth = answers(accept(), refuse("bad-credentials"), accept());
  const world = new World({ auth });
  const client = world.connect(HOUR);
  client.disconnect();
  const refused = world.dial({ ...HOUR, cleanStart: true });
  expect(refused.take("connack")).toMatchObject({ reasonCode: 0x86, sessionPresent: false });
  expect(world.connect(HOUR).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-23] [MQTT-4.1.0-2] a session is kept until its Session Expiry Interval has passed since the close", () => {
  const init: ConnectInit = { ...HOUR, properties: { sessionExpiryInterval: 10 } };
  const world = new World();
  world.connect(init).disconnect();
  world.advance(9_999);
  const client = world.connect(init);
  expect(client.connack?.sessionPresent).toBe(true);
  world.advance(60_000); // connected: the interval does not run
  client.drop();
  world.advance(9_999);
  expect(world.connect(init).connack?.sessionPresent).toBe(true);
});

for (const [how, end] of [
  ["DISCONNECT", (client: { disconnect(): void }) => client.disconnect()],
  ["a lost connection", (client: { drop(): void }) => client.drop()],
] as const) {
  test(`[MQTT-4.1.0-2] [MQTT-3.2.2-3] after ${how} the session is gone when its Session Expiry Interval has passed`, () => {
    const init: ConnectInit = { ...HOUR, properties: { sessionExpiryInterval: 10 } };
    const world = new World();
    end(world.connect(init));
    world.advance(10_000);
    expect(world.connect(init).connack?.sessionPresent).toBe(false);
  });

  test(`[MQTT-3.1.2-23] [MQTT-4.1.0-2] with Session Expiry Interval absent or 0, ${how} ends the session`, () => {
    for (const properties of [{}, { sessionExpiryInterval: 0 }]) {
      const world = new World();
      const init: ConnectInit = { clientId: "brief", cleanStart: false, properties };
      end(world.connect(init));
      expect(world.connect(init).connack?.sessionPresent).toBe(false);
    }
  });
}

test("[MQTT-3.1.2-23] Session Expiry Interval 0xFFFFFFFF: the session does not expire", () => {
  const init: ConnectInit = { ...HOUR, properties: { sessionExpiryInterval: 0xffffffff } };
  const world = new World();
  world.connect(init).disconnect();
  world.advance(200 * 365 * 86_400_000);
  expect(world.connect(init).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-23] a long Session Expiry Interval does not expire early", () => {
  const init: ConnectInit = { ...HOUR, properties: { sessionExpiryInterval: 0xfffffffe } };
  const world = new World();
  world.connect(init).disconnect();
  world.advance(0xfffffffe * 1000 - 1);
  expect(world.connect(init).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.2-23] each connection sets the Session Expiry Interval of the session anew", () => {
  const world = new World();
  world.connect(HOUR).disconnect();
  const client = world.connect({ clientId: "keeper", cleanStart: false });
  expect(client.connack?.sessionPresent).toBe(true);
  client.disconnect();
  expect(world.connect(HOUR).connack?.sessionPresent).toBe(false);
});

test("[MQTT-3.2.2-6] a refused CONNECT says Session Present 0 even where a session is stored, and leaves it stored", () => {
  const auth = answers(accept(), refuse("not-authorized"), accept());
  const world = new World({ auth });
  world.connect(HOUR).disconnect();
  const refused = world.dial(HOUR);
  expect(refused.take("connack")).toMatchObject({ reasonCode: 0x87, sessionPresent: false });
  expect(world.connect(HOUR).connack?.sessionPresent).toBe(true);
});

test("the Session Expiry Interval is lowered to the longest one granted, and CONNACK says so", () => {
  const world = new World({ capabilities: { sessionExpiryIntervalMax: 60 } });
  const client = world.connect(HOUR);
  expect(client.connack?.properties.sessionExpiryInterval).toBe(60);
  client.disconnect();
  world.advance(60_000);
  const later = world.connect({ ...HOUR, properties: { sessionExpiryInterval: 59 } });
  expect(later.connack?.sessionPresent).toBe(false);
  expect(later.connack?.properties.sessionExpiryInterval).toBeUndefined();
});

test("a principal's own longest Session Expiry Interval lowers it further", () => {
  const world = new World({ auth: answers(accept({ sessionExpiryIntervalMax: 5 })) });
  const client = world.connect(HOUR);
  expect(client.connack?.properties.sessionExpiryInterval).toBe(5);
  client.disconnect();
  world.advance(5_000);
  expect(world.connect(HOUR).connack?.sessionPresent).toBe(false);
});

test("[MQTT-3.1.3-2] the client id names the session: two clients have two", () => {
  const world = new World();
  const first = world.connect({ ...HOUR, clientId: "first" });
  const second = world.connect({ ...HOUR, clientId: "second" });
  first.subscribe("for/first");
  second.subscribe("for/second");
  first.drop();
  second.drop();
  const publisher = world.connect();
  publisher.publish("for/first", "1", { qos: 1 });
  publisher.publish("for/second", "2", { qos: 1 });
  for (const [clientId, payload] of [
    ["second", "2"],
    ["first", "1"],
  ] as const) {
    const client = world.connect({ ...HOUR, clientId });
    expect(client.connack?.sessionPresent).toBe(true);
    expect(client.takePublishes().map((message) => toText(message.payload))).toEqual([payload]);
    expectAlive(client);
  }
});
