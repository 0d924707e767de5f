/**
 * MQTT 5.0 sections 3.1.2.5, 3.1.3.2.2 and 3.1.4: the Will Delay Interval against the end of the session, resuming, taking over.
 *
 * The rule: a Will is due when its delay has passed or its session ends, whichever is first; a connection to the same
 * session before that cancels it; DISCONNECT 0x00 removes it.
 */
import { expect, test } from "bun:test";
import { expectClosedSilently, expectDisconnect } from "../support/ending.ts";
import { accept, answers, refuse } from "../support/scripted-auth.ts";
import { type ConnectInit, type TestClient, toText, World, type WorldOptions } from "../support/world.ts";

interface Scene {
  readonly world: World;
  readonly client: TestClient;
  /** How often the Will has been published since the last look. */
  wills(): number;
}

function connectInit(delay: number | undefined, expiry: number, more: ConnectInit = {}): ConnectInit {
  return {
    clientId: "mortal",
    cleanStart: false,
    properties: { sessionExpiryInterval: expiry },
    will: { topicName: "will", payload: "gone", properties: delay === undefined ? {} : { willDelayInterval: delay } },
    ...more,
  };
}

/** A connected client whose Will has this delay and whose session this expiry, both in seconds. */
function scene(delay: number | undefined, expiry: number, options: WorldOptions = {}): Scene {
  const world = new World(options);
  const observer = world.connect({ clientId: "observer" });
  observer.subscribe("will");
  const client = world.connect(connectInit(delay, expiry));
  const wills = (): number => {
    const payloads = observer.takePublishes().map(({ payload }) => toText(payload));
    for (const payload of payloads) expect(payload).toBe("gone");
    return payloads.length;
  };
  return { world, client, wills };
}

const RESUME: ConnectInit = { clientId: "mortal", cleanStart: false, properties: { sessionExpiryInterval: 1000 } };

for (const [delay, expiry, dueMs] of [
  [5, 10, 5_000],
  [10, 5, 5_000],
  [5, 5, 5_000],
  [1, 0xffffffff, 1_000],
  [0xffffffff, 20, 20_000],
  [100_000, 0xffffffff, 100_000_000],
] as const) {
  test(`[MQTT-3.1.2-8] delay ${delay} s, session expiry ${expiry} s: the Will comes after ${dueMs / 1000} s, once`, () => {
    const { world, client, wills } = scene(delay, expiry);
    client.drop();
    world.advance(dueMs - 1);
    expect(wills()).toBe(0);
    world.advance(1);
    expect(wills()).toBe(1);
    world.advance(1_000_000_000);
    expect(wills()).toBe(0);
  });
}

for (const [delay, expiry] of [
  [undefined, 0],
  [undefined, 100],
  [0, 100],
  [5, 0],
  [0xffffffff, 0],
] as const) {
  test(`[MQTT-3.1.2-8] delay ${delay ?? "absent"}, session expiry ${expiry} s: the Will comes at once, once`, () => {
    const { world, client, wills } = scene(delay, expiry);
    client.drop();
    expect(wills()).toBe(1);
    world.advance(1_000_000);
    expect(wills()).toBe(0);
  });
}

test("[MQTT-3.1.3-9] resuming within the delay suppresses the Will, also after the delay and the end of the session", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  world.advance(4_999);
  const resumed = world.connect(RESUME);
  expect(resumed.connack?.sessionPresent).toBe(true);
  world.advance(10_000);
  resumed.disconnect();
  world.advance(2_000_000);
  expect(wills()).toBe(0);
});

test("[MQTT-3.1.3-9] a suppressed Will does not come back when the next connection, without a Will, is lost", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  world.advance(1_000);
  world.connect(RESUME).drop();
  world.advance(2_000_000);
  expect(wills()).toBe(0);
});

test("[MQTT-3.1.3-9] the delay of the old Will does not publish the new one while its client is connected", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  world.advance(1_000);
  const resumed = world.connect(connectInit(5, 100));
  world.advance(1_000_000);
  expect(wills()).toBe(0);
  resumed.drop();
  world.advance(5_000);
  expect(wills()).toBe(1);
});

test("[MQTT-3.1.3-9] resuming after the delay comes too late: the Will was sent, and is not sent again", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  world.advance(5_000);
  expect(wills()).toBe(1);
  expect(world.connect(RESUME).connack?.sessionPresent).toBe(true);
  world.advance(10_000);
  expect(wills()).toBe(0);
});

test("[MQTT-3.1.3-9] a client that keeps coming back within the delay never shows its Will; when it stays away it does", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  for (let round = 0; round < 5; round++) {
    world.advance(4_000);
    world.connect(connectInit(5, 100)).drop();
  }
  expect(wills()).toBe(0);
  world.advance(4_999);
  expect(wills()).toBe(0);
  world.advance(1);
  expect(wills()).toBe(1);
});

test("[MQTT-3.1.2-8] [MQTT-3.1.2-4] Clean Start 1 within the delay ends the session: the Will is sent at once", () => {
  const { world, client, wills } = scene(50, 100);
  client.drop();
  world.advance(3_000);
  expect(wills()).toBe(0);
  expect(world.connect({ ...RESUME, cleanStart: true }).connack?.sessionPresent).toBe(false);
  expect(wills()).toBe(1);
  world.advance(100_000);
  expect(wills()).toBe(0);
});

test("[MQTT-3.1.3-9] a CONNECT that is refused within the delay does not count as a connection to the session", () => {
  const auth = answers(accept(), accept(), refuse("bad-credentials"), accept());
  const { world, client, wills } = scene(5, 100, { auth });
  client.drop();
  world.advance(3_000);
  expect(world.dial({ ...RESUME, cleanStart: true }).take("connack").reasonCode).toBe(0x86);
  expect(wills()).toBe(0);
  world.advance(2_000);
  expect(wills()).toBe(1);
});

test("[MQTT-3.1.3-9] a connection of another client id does not cancel the Will", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  world.advance(3_000);
  world.connect({ ...RESUME, clientId: "somebody" });
  world.advance(2_000);
  expect(wills()).toBe(1);
});

for (const [delay, expiry, cleanStart, sent, why] of [
  [0, 100, false, 1, "the connection is closed and the delay is 0"],
  [undefined, 100, false, 1, "the connection is closed and the delay is 0"],
  [50, 100, false, 0, "the session goes on within the delay"],
  [0, 100, true, 1, "the session ends"],
  [50, 100, true, 1, "the session ends"],
  [50, 0, false, 1, "the session ends with its connection"],
  [50, 0, true, 1, "the session ends with its connection"],
  [0, 0, false, 1, "the connection is closed and the delay is 0"],
] as const) {
  const name = `delay ${delay ?? "absent"}, expiry ${expiry}, Clean Start ${Number(cleanStart)}`;
  test(`[MQTT-3.1.4-3] [MQTT-3.1.2-8] take-over with ${name}: ${sent === 1 ? "Will" : "no Will"}, since ${why}`, () => {
    const { world, client, wills } = scene(delay, expiry);
    const taker = world.connect({ ...RESUME, cleanStart });
    expectDisconnect(client, 0x8e);
    expect(taker.connack?.sessionPresent).toBe(!cleanStart && expiry > 0);
    expect(wills()).toBe(sent);
    client.drop();
    world.advance(100_000);
    expect(wills()).toBe(0);
  });
}

for (const [reasonCode, delay, expiry, dueMs] of [
  [0x04, 0, 100, 0],
  [0x04, 5, 100, 5_000],
  [0x04, 5, 0, 0],
  [0x04, 50, 10, 10_000],
  [0x80, 5, 100, 5_000],
  [0x98, 0, 0, 0],
] as const) {
  const code = `0x${reasonCode.toString(16).padStart(2, "0")}`;
  test(`[MQTT-3.1.2-8] DISCONNECT ${code} with delay ${delay} s, expiry ${expiry} s: the Will after ${dueMs / 1000} s`, () => {
    const { world, client, wills } = scene(delay, expiry);
    client.disconnect(reasonCode);
    expectClosedSilently(client);
    if (dueMs > 0) {
      world.advance(dueMs - 1);
      expect(wills()).toBe(0);
      world.advance(1);
    }
    expect(wills()).toBe(1);
    client.drop();
    world.advance(1_000_000);
    expect(wills()).toBe(0);
  });
}

for (const [delay, expiry] of [
  [0, 0],
  [5, 0],
  [0, 100],
  [5, 100],
] as const) {
  test(`[MQTT-3.1.2-10] [MQTT-3.14.4-3] DISCONNECT 0x00 with delay ${delay} s, expiry ${expiry} s: never a Will`, () => {
    const { world, client, wills } = scene(delay, expiry);
    client.disconnect();
    world.advance(1_000_000);
    world.connect({ ...RESUME, cleanStart: true });
    expect(wills()).toBe(0);
  });
}

for (const [connectExpiry, disconnectExpiry, delay, dueMs] of [
  [100, 0, 50, 0],
  [100, 2, 50, 2_000],
  [10, 1000, 50, 50_000],
  [100, 1000, 5, 5_000],
] as const) {
  test(`[MQTT-3.1.2-8] DISCONNECT 0x04 changes expiry ${connectExpiry} to ${disconnectExpiry} s, delay ${delay} s: Will after ${dueMs / 1000} s`, () => {
    const { world, client, wills } = scene(delay, connectExpiry);
    client.disconnect(0x04, { sessionExpiryInterval: disconnectExpiry });
    if (dueMs > 0) {
      world.advance(dueMs - 1);
      expect(wills()).toBe(0);
      world.advance(1);
    }
    expect(wills()).toBe(1);
  });
}

test("[MQTT-3.14.4-3] DISCONNECT 0x00 that makes the session expire at once still sends no Will", () => {
  const { world, client, wills } = scene(5, 100);
  client.disconnect(0, { sessionExpiryInterval: 0 });
  world.advance(100_000);
  expect(wills()).toBe(0);
});

test("[MQTT-3.1.2-8] the delay counts from the close of the connection, whoever closes it", () => {
  const { world, client, wills } = scene(5, 100);
  world.advance(60_000);
  client.sendBytes("30 02 00 05"); // malformed
  expectDisconnect(client, 0x81);
  world.advance(4_999);
  expect(wills()).toBe(0);
  world.advance(1);
  expect(wills()).toBe(1);
});

test("[MQTT-3.1.2-8] while the client is connected neither delay nor session expiry run", () => {
  const { world, wills } = scene(5, 10);
  world.advance(1_000_000);
  expect(wills()).toBe(0);
});

test("[MQTT-3.1.2-8] the Will that is due is that of the last connection, with the delay of that one", () => {
  const { world, client, wills } = scene(5, 100);
  client.drop();
  world.advance(1_000);
  world.connect(connectInit(20, 100)).drop();
  world.advance(19_999);
  expect(wills()).toBe(0);
  world.advance(1);
  expect(wills()).toBe(1);
  world.advance(100_000);
  expect(wills()).toBe(0);
});

test("the session outlives its delayed Will, and the Will Delay Interval does not travel", () => {
  const world = new World();
  const observer = world.connect();
  observer.subscribe("will");
  const properties = { willDelayInterval: 5, messageExpiryInterval: 60, contentType: "t" };
  world.connect(connectInit(5, 100, { will: { topicName: "will", payload: "gone", properties } })).drop();
  world.advance(5_000);
  expect(observer.takePublishes().map((message) => message.properties)).toEqual([
    { messageExpiryInterval: 60, contentType: "t" },
  ]);
  expect(world.connect(RESUME).connack?.sessionPresent).toBe(true);
});

test("many delayed Wills fall due each at its own time", () => {
  const world = new World();
  const observer = world.connect({ clientId: "observer" });
  observer.subscribe("will");
  for (const delay of [7, 3, 9, 1, 5]) {
    const will = { topicName: "will", payload: String(delay), properties: { willDelayInterval: delay } };
    world.connect(connectInit(0, 100, { clientId: `mortal${delay}`, will })).drop();
  }
  const seen: string[] = [];
  for (let second = 1; second <= 10; second++) {
    world.advance(1_000);
    for (const { payload } of observer.takePublishes()) seen.push(`${toText(payload)}@${second}`);
  }
  expect(seen).toEqual(["1@1", "3@3", "5@5", "7@7", "9@9"]);
});
