/**
 * MQTT 5.0 section 1.5 at a running broker: what ill-formed strings and integers do to a connection, and to nobody else.
 */
import { expect, test } from "bun:test";
import { expectAlive, expectDisconnect, expectRefusal } from "../support/ending.ts";
import {
  joinBytes,
  prefixed,
  propertyList,
  type RawPart,
  rawConnect,
  rawPacket,
  splitPackets,
} from "../support/raw-packet.ts";
import { fromHex, toBytes, toHex, toText, World } from "../support/world.ts";

const ILL_FORMED: readonly (readonly [what: string, hex: string])[] = [
  ["a lone continuation byte", "61 80"],
  ["a sequence cut short", "61 e2 82"],
  ["an overlong form of two bytes", "c0 af"],
  ["an overlong form of three bytes", "e0 80 af"],
  ["the first surrogate, U+D800", "ed a0 80"],
  ["the last surrogate, U+DFFF", "ed bf bf"],
  ["a surrogate pair", "ed a0 bd ed b8 80"],
  ["a code point above U+10FFFF", "f4 90 80 80"],
  ["a byte that is never UTF-8", "61 ff"],
];

/** A packet of a connected client, with `string` at one of the places where a packet has a string. */
const PLACES: readonly (readonly [where: string, packet: (string: RawPart) => Uint8Array])[] = [
  ["Topic Name of PUBLISH", (string) => rawPacket(0x30, string, "00")],
  ["Topic Name of a QoS 1 PUBLISH", (string) => rawPacket(0x32, string, "00 01 00")],
  ["Content Type of PUBLISH", (string) => rawPacket(0x30, prefixed("a"), propertyList("03", string))],
  ["Response Topic of PUBLISH", (string) => rawPacket(0x30, prefixed("a"), propertyList("08", string))],
  [
    "User Property name of PUBLISH",
    (string) => rawPacket(0x30, prefixed("a"), propertyList("26", string, prefixed("v"))),
  ],
  [
    "User Property value of PUBLISH",
    (string) => rawPacket(0x30, prefixed("a"), propertyList("26", prefixed("k"), string)),
  ],
  ["Topic Filter of SUBSCRIBE", (string) => rawPacket(0x82, "00 01 00", string, "00")],
  ["second Topic Filter of SUBSCRIBE", (string) => rawPacket(0x82, "00 01 00", prefixed("a"), "00", string, "00")],
  ["Topic Filter of UNSUBSCRIBE", (string) => rawPacket(0xa2, "00 01 00", string)],
  ["Reason String of PUBACK", (string) => rawPacket(0x40, "00 01 80", propertyList("1f", string))],
  ["Reason String of DISCONNECT", (string) => rawPacket(0xe0, "00", propertyList("1f", string))],
  [
    "User Property of SUBSCRIBE",
    (string) => rawPacket(0x82, "00 01", propertyList("26", string, prefixed("v")), prefixed("a"), "00"),
  ],
];

/** A CONNECT with `string` at one of its places. */
const CONNECT_PLACES: readonly (readonly [where: string, packet: (string: RawPart) => Uint8Array])[] = [
  ["Client Identifier", (string) => rawConnect({ payload: [string] })],
  [
    "Will Topic",
    (string) =>
      rawConnect({
        connectFlags: 0x06,
        payload: [prefixed("c"), "00", string, prefixed("")],
      }),
  ],
  [
    "Content Type of the Will",
    (string) =>
      rawConnect({
        connectFlags: 0x06,
        payload: [prefixed("c"), propertyList("03", string), prefixed("w"), prefixed("")],
      }),
  ],
  ["User Name", (string) => rawConnect({ connectFlags: 0x82, payload: [prefixed("c"), string] })],
  ["Authentication Method", (string) => rawConnect({ properties: joinBytes("15", string) })],
  ["User Property name", (string) => rawConnect({ properties: joinBytes("26", string, prefixed("v")) })],
  ["User Property value", (string) => rawConnect({ properties: joinBytes("26", prefixed("k"), string) })],
];

/** Sends one bad packet as a client with a Will that nobody else is affected by; the observer sees the Will alone. */
function expectMalformed(packet: Uint8Array): void {
  const world = new World();
  const observer = world.connect();
  observer.subscribe(["#"]);
  const client = world.connect({ will: { topicName: "gone" } });
  client.sendBytes(packet);
  expectDisconnect(client, 0x81);
  expect(observer.takePublishes().map(({ topicName }) => topicName)).toEqual(["gone"]);
  expectAlive(observer);
}

for (const [what, hex] of ILL_FORMED) {
  test(`[MQTT-1.5.4-1] a Topic Name with ${what} closes the connection`, () => {
    expectMalformed(rawPacket(0x30, prefixed(fromHex(hex)), "00"));
  });

  test(`[MQTT-1.5.4-1] a Client Identifier with ${what} is refused`, () => {
    const client = new World().open();
    client.sendBytes(rawConnect({ payload: [prefixed(fromHex(hex))] }));
    expectRefusal(client, 0x81);
  });
}

for (const [where, packet] of PLACES) {
  const isPair = where.startsWith("User Property") ? ", MQTT-1.5.7-1" : "";
  test(`[MQTT-1.5.4-1${isPair}] ill-formed UTF-8 in the ${where} closes the connection`, () => {
    expectMalformed(packet(prefixed(fromHex("61 ed a0 80 62"))));
  });

  test(`[MQTT-1.5.4-2${isPair}] U+0000 in the ${where} closes the connection`, () => {
    expectMalformed(packet(prefixed("a\0b")));
  });
}

for (const [where, packet] of CONNECT_PLACES) {
  test(`[MQTT-1.5.4-1] ill-formed UTF-8 in the ${where} of CONNECT is refused`, () => {
    const client = new World().open();
    client.sendBytes(packet(prefixed(fromHex("61 ed a0 80"))));
    expectRefusal(client, 0x81);
  });

  test(`[MQTT-1.5.4-2] U+0000 in the ${where} of CONNECT is refused`, () => {
    const client = new World().open();
    client.sendBytes(packet(prefixed("a\0")));
    expectRefusal(client, 0x81);
  });
}

test("[MQTT-1.5.7-1] name and value of a User Property are strings of their own: both are checked, both reach the receiver", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("a");
  const userProperties: [string, string][] = [
    ["", ""],
    ["\u{1F600}", "ÿ"],
    ["same", "1"],
    ["same", "2"],
  ];
  client.publish("a", "", { properties: { userProperties } });
  expect(client.takePublishes()[0]?.properties.userProperties).toEqual(userProperties);
  client.sendBytes(rawPacket(0x30, prefixed("a"), propertyList("26", prefixed("ok"), prefixed(fromHex("c0 80")))));
  expectDisconnect(client, 0x81);
});

test("[MQTT-1.5.4-1] the limits of well-formed UTF-8 are accepted, and payloads and binary data are not strings", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("#");
  const topicName = "\u007f\u0080\u07ff\u0800\ud7ff\ue000\u{10000}\u{10ffff}";
  client.publish(topicName, fromHex("ff fe 00 ed a0 80"), {
    properties: { correlationData: fromHex("00 ff c0") },
  });
  const [message] = client.takePublishes();
  expect(message?.topicName).toBe(topicName);
  expect(toHex(message!.payload)).toBe("ff fe 00 ed a0 80");
  expect(toHex(message!.properties.correlationData!)).toBe("00 ff c0");
});

test("[MQTT-1.5.4-3] EF BB BF in a Topic Name is a character: kept, and part of what matches", () => {
  const world = new World();
  const marked = world.connect();
  const plain = world.connect();
  marked.subscribe(["\ufefftopic/\ufeff"]);
  plain.subscribe(["topic/", "topic/\ufeff", "topic"]);
  marked.sendBytes(rawPacket(0x30, prefixed(fromHex("ef bb bf 74 6f 70 69 63 2f ef bb bf")), "00"));
  expect(marked.takePublishes().map(({ topicName }) => topicName)).toEqual(["\ufefftopic/\ufeff"]);
  expect(toHex(marked.bytes)).toContain("ef bb bf 74 6f 70 69 63 2f ef bb bf");
  expect(plain.takePublishes()).toEqual([]);
});

test("[MQTT-1.5.4-3] EF BB BF makes another Client Identifier, and stays in User Properties and Content Type", () => {
  const world = new World();
  const plain = world.connect({ clientId: "id" });
  const marked = world.connect({ clientId: "\ufeffid" });
  expectAlive(plain);
  marked.subscribe("a");
  const properties = {
    contentType: "\ufefft",
    userProperties: [["\ufeffk", "\ufeff"]] as [string, string][],
  };
  plain.publish("a", "", { properties });
  expect(marked.takePublishes()[0]?.properties).toEqual(properties);
});

for (const [what, hex] of [
  ["Remaining Length in two bytes where one does", "c0 80 00"],
  ["Remaining Length in four bytes where one does", "e0 80 80 80 00"],
  ["Remaining Length of five bytes", "30 ff ff ff ff 01"],
  ["Property Length in two bytes where one does", "30 05 00 01 61 80 00"],
  ["Property Length of five bytes", "30 08 00 01 61 80 80 80 80 01"],
  ["Subscription Identifier in two bytes where one does", "82 0a 00 01 03 0b 81 00 00 01 61 00"],
] as const) {
  test(`[MQTT-1.5.5-1] a ${what} closes the connection`, () => {
    expectMalformed(fromHex(hex));
  });
}

test("[MQTT-1.5.5-1] lengths that the broker writes take the fewest bytes", () => {
  const world = new World();
  const publisher = world.connect();
  for (const [payloadBytes, lengthHex] of [
    [127 - 4, "7f"],
    [128 - 4, "80 01"],
    [16_383 - 4, "ff 7f"],
    [16_384 - 4, "80 80 01"],
  ] as const) {
    const receiver = world.connect();
    receiver.subscribe("a", { qos: 0 });
    receiver.bytes.length = 0;
    publisher.publish("a", new Uint8Array(payloadBytes));
    const header = `30 ${lengthHex} 00 01 61 00`;
    expect(toHex(receiver.bytes).slice(0, header.length)).toBe(header);
    expect(receiver.bytes.length).toBe(1 + fromHex(lengthHex).length + payloadBytes + 4);
    receiver.disconnect();
  }
});

test("[MQTT-1.5.5-1] a Property Length of 127 is one byte, of 128 two", () => {
  const world = new World();
  const publisher = world.connect();
  const receiver = world.connect();
  receiver.subscribe("a", { qos: 0 });
  receiver.bytes.length = 0;
  // Content Type takes three bytes besides its text.
  publisher.publish("a", "", { properties: { contentType: "x".repeat(124) } });
  publisher.publish("a", "", { properties: { contentType: "x".repeat(125) } });
  const [shorter, longer] = splitPackets(receiver.bytes);
  expect(toHex(shorter!.slice(0, 8))).toBe("30 83 01 00 01 61 7f 03");
  expect(toHex(longer!.slice(0, 9))).toBe("30 85 01 00 01 61 80 01 03");
});

test("[MQTT-1.5.5-1] the largest one-byte and the smallest two-byte Remaining Length are read alike, however they are cut", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("a", { qos: 0 });
  for (const payloadBytes of [123, 124]) {
    const packet = rawPacket(0x30, prefixed("a"), "00", new Uint8Array(payloadBytes).fill(0x7a));
    for (const byte of packet) client.sendBytes(Uint8Array.of(byte));
    expect(client.takePublishes().map(({ payload }) => toText(payload))).toEqual(["z".repeat(payloadBytes)]);
  }
});

test("strings and binary data may be as long as 65,535 bytes", () => {
  const world = new World();
  const client = world.connect();
  client.subscribe("#", { qos: 0 });
  const topicName = "é".repeat(32_767) + "x";
  expect(toBytes(topicName).length).toBe(65_535);
  const correlationData = new Uint8Array(65_535).fill(7);
  client.publish(topicName, "p", { properties: { correlationData } });
  const [message] = client.takePublishes();
  expect(message?.topicName).toBe(topicName);
  expect(message?.properties.correlationData).toEqual(correlationData);
});
