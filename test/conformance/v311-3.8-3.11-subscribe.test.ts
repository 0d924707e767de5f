/** MQTT 3.1.1 sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK. */
import { describe, expect, test } from "bun:test";
import type { QoS } from "../../src/core/codec/packet.ts";
import { field, frame } from "../support/hand-made.ts";
import { expectSilentClose } from "../support/refusal.ts";
import { type ConnectInit, type TestClient, toHex, toText, World } from "../support/world.ts";

const level = 4;

function connect(world: World, init: ConnectInit = {}): TestClient {
  return world.connect({ level, ...init });
}

function texts(client: TestClient): string[] {
  return client.takePublishes().map((publish) => toText(publish.payload));
}

/** Bytes of everything since the mark. */
function since(client: TestClient, mark: number): string {
  return toHex(client.bytes.slice(mark));
}

function expectNoSubscription(world: World, topicName: string): void {
  expect(world.connect().publish(topicName, "", { qos: 1 })).toBe(0x10);
}

describe("3.8 SUBSCRIBE", () => {
  test("[MQTT311-3.8.1-1] flags other than 0010 close the connection, nothing is subscribed", () => {
    for (const flags of [0, 1, 3, 6, 8, 10, 15]) {
      const world = new World();
      const client = connect(world, { clientId: "me", cleanStart: false });
      client.sendBytes(frame(0x80 | flags, "00 01", field("61"), "01"));
      expectSilentClose(client);
      expectNoSubscription(world, "a");
    }
  });

  test("[MQTT311-3.8.3-3] a SUBSCRIBE without Topic Filter closes the connection", () => {
    const client = connect(new World());
    client.sendBytes("82 02 00 01");
    expectSilentClose(client);
  });

  test.each([3, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xfc, 0x83])(
    "[MQTT311-3.8.3-4] Requested QoS byte code %i closes the connection, nothing is subscribed",
    (byte) => {
      const world = new World();
      const client = connect(world, { clientId: "me", cleanStart: false });
      client.sendBytes(frame(0x82, "00 01", field("62"), "01", field("61"), byte.toString(16).padStart(2, "0")));
      expectSilentClose(client);
      expectNoSubscription(world, "a");
      expectNoSubscription(world, "b");
    },
  );

  test("a payload cut short closes the connection", () => {
    for (const bytes of ["82 05 00 01 00 01 61", "82 06 00 01 00 05 61 00", "82 03 00 01 00", "82 01 00"]) {
      const client = connect(new World());
      client.sendBytes(bytes);
      expectSilentClose(client);
    }
  });

  test("[MQTT311-3.8.4-1] [MQTT311-3.8.4-2] SUBACK answers with the same identifier, without properties", () => {
    const client = connect(new World());
    const mark = client.bytes.length;
    client.sendBytes(frame(0x82, "12 34", field("61"), "01"));
    expect(since(client, mark)).toBe("90 03 12 34 01");
  });

  test("[MQTT311-3.8.4-3] the same filter again replaces the subscription: one copy at the new QoS", () => {
    const world = new World();
    const client = connect(world);
    const publisher = connect(world);
    for (const qos of [2, 0, 1] as const) {
      client.subscribe("a/+", { qos });
      publisher.publish("a/b", "x", { qos: 2 });
      expect(client.takePublishes().map((publish) => publish.qos)).toEqual([qos]);
    }
    client.unsubscribe("a/+");
    publisher.publish("a/b", "x", { qos: 2 });
    expect(client.packets).toEqual([]);
  });

  test("[MQTT311-3.8.4-3] and loses nothing that is on its way", () => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    const client = connect(world, init);
    client.subscribe("a", { qos: 1 });
    const publisher = connect(world);
    publisher.publish("a", "1", { qos: 1 });
    client.subscribe("a", { qos: 1 });
    publisher.publish("a", "2", { qos: 1 });
    client.drop();
    expect(texts(connect(world, init))).toEqual(["1", "2"]);
  });

  test("[MQTT311-3.8.4-4] [MQTT311-3.8.4-5] several filters: one SUBACK, one return code each", () => {
    const world = new World();
    const publisher = connect(world);
    publisher.publish("a", "kept a", { retain: true });
    publisher.publish("b", "kept b", { retain: true });
    const client = connect(world);
    const mark = client.bytes.length;
    client.sendBytes(frame(0x82, "00 07", field("61"), "02", field("62"), "00", field("63"), "01"));
    expect(since(client, mark)).toStartWith("90 05 00 07 02 00 01");
    client.take("suback");
    expect(texts(client).sort()).toEqual(["kept a", "kept b"]);
    for (const topicName of ["a", "b", "c"]) publisher.publish(topicName, topicName, { qos: 2 });
    const seen = client.takePublishes().map(({ payload, qos }) => `${toText(payload)}${qos}`);
    expect(seen.sort()).toEqual(["a2", "b0", "c1"]);
  });

  test("[MQTT311-3.8.4-6] delivery is at the lower of published and granted QoS", () => {
    const world = new World();
    const publisher = connect(world);
    for (const granted of [0, 1, 2] as const) {
      const client = connect(world);
      client.subscribe("a", { qos: granted });
      for (const published of [0, 1, 2] as const) publisher.publish("a", "x", { qos: published });
      const lower = ([0, 1, 2] as const).map((published) => Math.min(granted, published) as QoS);
      expect(client.takePublishes().map((publish) => publish.qos)).toEqual(lower);
    }
  });
});

describe("3.9 SUBACK", () => {
  const onlyOpen = {
    ask: () =>
      ({
        do: "accept",
        principal: { id: "p", permissions: { allow: [{ on: "both", filter: "open/#", maxQos: 1 }] } },
      }) as const,
    abandon: () => {},
  };

  test("[MQTT311-3.9.3-1] return codes come in the order of the filters", () => {
    const client = connect(new World({ auth: onlyOpen }));
    const asked = ["open/a", "closed", "open/#", "closed/b", "open/+/c"];
    expect(client.subscribe(asked, { qos: 2 }).reasonCodes).toEqual([1, 0x80, 1, 0x80, 1]);
    expect(client.closed).toBe(false);
  });

  test("[MQTT311-3.9.3-2] every failure is 0x80, whatever its cause", () => {
    const world = new World({ auth: onlyOpen, limits: { subscriptionsPerClientMax: 2, topicLevelsMax: 4 } });
    const client = connect(world);
    const asked = ["closed", "open/1/2/3/4", "open/a", "open/b", "open/c"];
    expect(client.subscribe(asked, { qos: 1 }).reasonCodes).toEqual([0x80, 0x80, 1, 1, 0x80]);
    const mark = client.bytes.length;
    client.sendBytes(frame(0x82, "00 01", field("7a"), "00"));
    expect(since(client, mark)).toBe("90 03 00 01 80");
  });
});

describe("3.10 UNSUBSCRIBE, 3.11 UNSUBACK", () => {
  test("[MQTT311-3.10.1-1] flags other than 0010 close the connection, nothing is removed", () => {
    for (const flags of [0, 1, 3, 6, 8, 10, 15]) {
      const world = new World();
      const client = connect(world, { clientId: "me", cleanStart: false });
      client.subscribe("a");
      client.sendBytes(frame(0xa0 | flags, "00 01", field("61")));
      expectSilentClose(client);
      expect(world.connect().publish("a", "", { qos: 1 })).toBe(0);
    }
  });

  test("[MQTT311-3.10.3-2] an UNSUBSCRIBE without Topic Filter closes the connection", () => {
    const client = connect(new World());
    client.sendBytes("a2 02 00 01");
    expectSilentClose(client);
  });

  test("[MQTT311-3.10.4-1] filters are compared character by character; the exact one goes", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe(["a/+", "a/#", "a/b"], { qos: 0 });
    const publisher = connect(world);
    client.unsubscribe(["#", "+/b", "A/b", "a/b/", "/a/b", "+/+"]);
    publisher.publish("a/b", "1");
    expect(texts(client)).toEqual(["1"]);
    client.unsubscribe(["a/b", "a/+"]);
    publisher.publish("a/b", "2");
    expect(texts(client)).toEqual(["2"]);
    client.unsubscribe("a/#");
    publisher.publish("a/b", "3");
    expect(texts(client)).toEqual([]);
  });

  test("[MQTT311-3.10.4-2] no message is added any more, nor kept for later", () => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    const client = connect(world, init);
    client.subscribe("a");
    client.unsubscribe("a");
    const publisher = connect(world);
    publisher.publish("a", "x", { qos: 2 });
    expect(client.packets).toEqual([]);
    client.drop();
    publisher.publish("a", "x", { qos: 2 });
    expect(connect(world, init).packets).toEqual([]);
  });

  test.each<[QoS]>([[1], [2]])("[MQTT311-3.10.4-3] a QoS %i delivery that has begun is brought to its end", (qos) => {
    const world = new World();
    const init = { clientId: "me", cleanStart: false };
    const client = connect(world, init);
    client.subscribe("a");
    connect(world).publish("a", "x", { qos });
    const { packetId } = client.take("publish");
    client.unsubscribe("a");
    client.drop();
    const again = connect(world, init);
    expect(again.packets).toMatchObject([{ type: "publish", packetId, qos, dup: true }]);
    expect(texts(again)).toEqual(["x"]);
    again.drop();
    expect(connect(world, init).packets).toEqual([]);
  });

  test("[MQTT311-3.10.4-4] [MQTT311-3.10.4-5] UNSUBACK repeats the identifier, whether or not there was a subscription", () => {
    const client = connect(new World());
    client.subscribe("a");
    for (const identifier of ["12 34", "12 35"]) {
      const mark = client.bytes.length;
      client.sendBytes(frame(0xa2, identifier, field("61")));
      expect(since(client, mark)).toBe(`b0 02 ${identifier}`);
    }
  });

  test("[MQTT311-3.10.4-6] several filters: all of them go, with one UNSUBACK", () => {
    const world = new World();
    const client = connect(world);
    client.subscribe(["a", "b", "c"]);
    const mark = client.bytes.length;
    client.sendBytes(frame(0xa2, "00 09", field("61"), field("78"), field("63")));
    expect(since(client, mark)).toBe("b0 02 00 09");
    client.take("unsuback");
    const publisher = connect(world);
    for (const topicName of ["a", "b", "c"]) publisher.publish(topicName, topicName);
    expect(texts(client)).toEqual(["b"]);
  });
});
