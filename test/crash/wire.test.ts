/** The judge's own packets: as the specification prints them, there and back, and however a stream is divided. */
import { describe, expect, test } from "bun:test";
import * as wire from "./wire.ts";
import {
  decodeAcknowledgement,
  decodeAnswers,
  decodeConnack,
  decodeConnect,
  decodePublish,
  decodeSubscribe,
  decodeUnsubscribe,
  type Packet,
  PacketCutter,
} from "./wire-reader.ts";

const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function onlyPacket(bytes: Uint8Array): Packet {
  const [packet, ...more] = [...new PacketCutter().push(bytes)];
  expect(more).toEqual([]);
  return packet!;
}

const CONNECT: wire.Connect = {
  clientId: "me",
  cleanStart: true,
  properties: [
    [wire.SESSION_EXPIRY_INTERVAL, 3600],
    [wire.RECEIVE_MAXIMUM, 10],
  ],
};
const PUBLISH: wire.Publish = {
  topicName: "a/b",
  qos: 2,
  dup: true,
  retain: true,
  packetId: 0x1234,
  properties: [
    [wire.MESSAGE_EXPIRY_INTERVAL, 4_000_000_000],
    [wire.CONTENT_TYPE, "é"],
    [wire.CORRELATION_DATA, Uint8Array.of(0, 255)],
    [wire.SUBSCRIPTION_IDENTIFIER, 268_435_455],
    [wire.USER_PROPERTY, ["k", "v"]],
  ],
  payload: new TextEncoder().encode("hello"),
};

describe("as bytes", () => {
  test.each([
    ["CONNECT", wire.encodeConnect(CONNECT), "10 17 0004 4d515454 05 02 0000 08 11 00000e10 21 000a 0002 6d65"],
    ["CONNACK", wire.encodeConnack(true, 0), "20 03 01 00 00"],
    [
      "PUBLISH at QoS 0",
      wire.encodePublish({ ...PUBLISH, qos: 0, dup: false, retain: false, properties: [] }),
      "30 0b 0003 612f62 00 68656c6c6f",
    ],
    [
      "PUBLISH at QoS 1",
      wire.encodePublish({ ...PUBLISH, qos: 1, dup: false, properties: [] }),
      "33 0d 0003 612f62 1234 00 68656c6c6f",
    ],
    ["PUBACK", wire.encodeAcknowledgement(wire.PUBACK, 7, 0), "40 02 0007"],
    ["PUBREL", wire.encodeAcknowledgement(wire.PUBREL, 7, 0), "62 02 0007"],
    ["PUBCOMP", wire.encodeAcknowledgement(wire.PUBCOMP, 7, 0x92), "70 03 0007 92"],
    [
      "SUBSCRIBE",
      wire.encodeSubscribe(9, [{ filter: "#", qos: 2, retainHandling: 1 }], [[0x0b, 300]]),
      "82 0a 0009 03 0b ac02 0001 23 12",
    ],
    ["SUBACK", wire.encodeAnswers(wire.SUBACK, { packetId: 9, reasonCodes: [2, 0x80] }), "90 05 0009 00 02 80"],
    ["UNSUBSCRIBE", wire.encodeUnsubscribe(9, ["a"]), "a2 06 0009 00 0001 61"],
    ["PINGREQ", wire.encodeEmpty(wire.PINGREQ), "c0 00"],
  ])("%s", (_, bytes, hex) => {
    expect(hexOf(bytes)).toBe(hex.replaceAll(" ", ""));
  });
});

describe("there and back", () => {
  test("CONNECT and CONNACK", () => {
    expect(decodeConnect(onlyPacket(wire.encodeConnect(CONNECT)).body)).toEqual(CONNECT);
    const connack = decodeConnack(bytesOf("01 00 03 21 0014"));
    expect(connack).toEqual({ sessionPresent: true, reasonCode: 0, properties: [[wire.RECEIVE_MAXIMUM, 20]] });
  });

  test("PUBLISH with properties", () => {
    const packet = onlyPacket(wire.encodePublish(PUBLISH));
    expect(decodePublish(packet)).toEqual(PUBLISH);
  });

  test("SUBSCRIBE, UNSUBSCRIBE and their answers", () => {
    const filters = [
      { filter: "a/+", qos: 1, retainHandling: 2 },
      { filter: "#", qos: 2, retainHandling: 0 },
    ] as const;
    const packet = onlyPacket(wire.encodeSubscribe(3, filters, []));
    expect(decodeSubscribe(packet.body)).toEqual({ packetId: 3, properties: [], filters: [...filters] });
    expect(decodeUnsubscribe(onlyPacket(wire.encodeUnsubscribe(4, ["a", "b"])).body)).toEqual({
      packetId: 4,
      filters: ["a", "b"],
    });
    expect(decodeAnswers(bytesOf("0004 00 00 11"))).toEqual({ packetId: 4, reasonCodes: [0, 0x11] });
  });

  test("an acknowledgement with a Reason Code and without one", () => {
    expect(decodeAcknowledgement(bytesOf("0102"))).toEqual({ packetId: 0x0102, reasonCode: 0 });
    expect(decodeAcknowledgement(bytesOf("0102 97 00"))).toEqual({ packetId: 0x0102, reasonCode: 0x97 });
  });
});

describe("a stream", () => {
  const long = wire.encodePublish({ ...PUBLISH, payload: new Uint8Array(300).fill(7) });
  const stream = Buffer.concat([wire.encodeConnack(false, 0), long, wire.encodeEmpty(wire.PINGRESP)]);

  test("is cut into the same packets wherever it is divided", () => {
    for (let at = 0; at <= stream.length; at++) {
      const cutter = new PacketCutter();
      const packets: string[] = [];
      for (const part of [stream.subarray(0, at), stream.subarray(at)]) {
        for (const { type, flags, body } of cutter.push(part)) packets.push(`${type} ${flags} ${body.length}`);
      }
      expect(packets).toEqual(["32 0 3", `48 13 ${long.length - 3}`, "208 0 0"]);
      expect(cutter.isInside).toBe(false);
    }
  });

  test("byte by byte too", () => {
    const cutter = new PacketCutter();
    const types = [...stream].flatMap((byte) => [...cutter.push(Uint8Array.of(byte))].map(({ type }) => type));
    expect(types).toEqual([wire.CONNACK, wire.PUBLISH, wire.PINGRESP]);
  });
});

test.each([
  ["a Remaining Length of five bytes", () => [...new PacketCutter().push(bytesOf("30 ffffffff 7f"))]],
  ["PUBLISH at QoS 3", () => decodePublish({ type: wire.PUBLISH, flags: 6, body: bytesOf("0001 61 0001 00") })],
  ["Packet Identifier 0", () => decodePublish({ type: wire.PUBLISH, flags: 2, body: bytesOf("0001 61 0000 00") })],
  ["a property that does not exist", () => decodeConnack(bytesOf("00 00 02 7f 00"))],
  ["properties longer than their length", () => decodeConnack(bytesOf("00 00 02 21 0014"))],
  ["a string that is not UTF-8", () => decodePublish({ type: wire.PUBLISH, flags: 0, body: bytesOf("0001 ff 00") })],
  ["a packet that ends early", () => decodeConnack(bytesOf("00"))],
])("refused: %s", (_, read) => {
  expect(read).toThrow(wire.WireError);
});
