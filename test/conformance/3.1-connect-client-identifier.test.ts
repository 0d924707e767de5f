/**
 * MQTT 5.0 section 3.1.3.1 with Assigned Client Identifier of 3.2.2.3.7: which ids are accepted, and whose session they name.
 */
import { expect, test } from "bun:test";
import { expectAlive, expectDisconnect, expectRefusal } from "../support/ending.ts";
import { prefixed, rawConnect } from "../support/raw-packet.ts";
import { answers, refuse } from "../support/scripted-auth.ts";
import { fromHex, toBytes, World } from "../support/world.ts";

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

test("[MQTT-3.1.3-5] every id of 1 to 23 bytes is accepted as it is", () => {
  const world = new World();
  for (let length = 1; length <= 23; length++) {
    const clientId = ALPHABET.slice(length, length * 2);
    const client = world.connect({ clientId });
    expect(client.connack?.properties.assignedClientIdentifier).toBeUndefined();
  }
});

test("[MQTT-3.1.3-5] every character of 0-9, a-z and A-Z is accepted, and tells clients apart", () => {
  const world = new World();
  const clients = [...ALPHABET].map((clientId) => world.connect({ clientId }));
  expect(clients).toHaveLength(62);
  for (const client of clients) expectAlive(client);
});

for (const [what, clientId] of [
  ["24 bytes", "a".repeat(24)],
  ["65,535 bytes", "a".repeat(65_535)],
  ["spaces and slashes", " a/b c "],
  ["wildcards", "+/#"],
  ["letters from elsewhere", "clé-ключ-鍵-\u{1F511}"],
] as const) {
  test(`a client id of ${what} is accepted`, () => {
    const world = new World();
    const init = { clientId, cleanStart: false, properties: { sessionExpiryInterval: 100 } };
    world.connect(init).drop();
    expect(world.connect(init).connack?.sessionPresent).toBe(true);
  });
}

test("[MQTT-3.1.3-3] a CONNECT without a client id is malformed: CONNACK 0x81", () => {
  const client = new World().open();
  client.sendBytes(rawConnect({ payload: [] }));
  expectRefusal(client, 0x81);
});

test("[MQTT-3.1.3-4] a client id that is not UTF-8 is malformed: CONNACK 0x81", () => {
  const client = new World().open();
  client.sendBytes(rawConnect({ payload: [prefixed(fromHex("c3 28"))] }));
  expectRefusal(client, 0x81);
});

for (const cleanStart of [true, false]) {
  test(`[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] empty id with Clean Start ${Number(cleanStart)}: an assigned one comes back`, () => {
    const world = new World();
    const properties = { sessionExpiryInterval: 100 };
    const client = world.connect({ clientId: "", cleanStart, properties });
    const assigned = client.connack?.properties.assignedClientIdentifier ?? "";
    expect(assigned).not.toBe("");
    expect(client.connack?.sessionPresent).toBe(false);
    client.subscribe("a");
    client.drop();
    const resumed = world.connect({ clientId: assigned, cleanStart: false, properties });
    expect(resumed.connack?.sessionPresent).toBe(true);
    expect(resumed.connack?.properties.assignedClientIdentifier).toBeUndefined();
    world.connect().publish("a");
    expect(resumed.takePublishes()).toHaveLength(1);
  });
}

test("[MQTT-3.2.2-16] assigned ids are unique among those assigned", () => {
  const world = new World();
  const clients = Array.from({ length: 20 }, () => world.connect({ clientId: "" }));
  const assigned = clients.map((client) => client.connack?.properties.assignedClientIdentifier);
  expect(new Set(assigned).size).toBe(20);
  for (const client of clients) expectAlive(client);
});

test("[MQTT-3.1.3-6] [MQTT-3.2.2-16] an assigned id is not that of a session of somebody else, connected or away", () => {
  const world = new World();
  const properties = { sessionExpiryInterval: 100 };
  // The world's next ids are assigned1, assigned2, ...: taken before the broker draws them.
  const connected = world.connect({ clientId: "assigned1" });
  const away = world.connect({ clientId: "assigned2", properties });
  away.drop();
  const client = world.connect({ clientId: "", cleanStart: false });
  expect(client.connack?.sessionPresent).toBe(false);
  expect(client.connack?.properties.assignedClientIdentifier).not.toBeOneOf(["assigned1", "assigned2"]);
  expectAlive(connected);
  expect(world.connect({ clientId: "assigned2", cleanStart: false, properties }).connack?.sessionPresent).toBe(true);
});

test("[MQTT-3.1.3-7] the assigned id is the client's id from then on: another CONNECT with it takes over", () => {
  const world = new World();
  const client = world.connect({ clientId: "" });
  world.connect({ clientId: client.connack?.properties.assignedClientIdentifier ?? "" });
  expectDisconnect(client, 0x8e);
});

test("[MQTT-3.1.3-8] an id the authority rejects: CONNACK 0x85, then closed", () => {
  const world = new World({ auth: answers(refuse("client-id")) });
  expectRefusal(world.dial({ clientId: "not-you" }), 0x85);
});

test("[MQTT-3.1.3-2] an id names the same session however it is cased or composed only when its bytes are the same", () => {
  const world = new World();
  const properties = { sessionExpiryInterval: 100 };
  world.connect({ clientId: "caf\u00e9", properties }).drop();
  expect(toBytes("cafe\u0301")).not.toEqual(toBytes("caf\u00e9"));
  for (const clientId of ["cafe\u0301", "CAF\u00c9", "cafe"]) {
    expect(world.connect({ clientId, cleanStart: false }).connack?.sessionPresent).toBe(false);
  }
  expect(world.connect({ clientId: "caf\u00e9", cleanStart: false }).connack?.sessionPresent).toBe(true);
});
