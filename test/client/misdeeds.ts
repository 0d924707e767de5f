/** What a server may do to a client that the protocol forbids, and the reason code that it is told by each of the two clients. */
import type { Packet } from "../../src/core/codec/packet.ts";
import type { ScriptedConnection } from "./scripted-server.ts";

type Misdeed = readonly [
  name: string,
  /** 0: no mistake, to this client. */
  large: number,
  small: number,
  misbehave: (server: ScriptedConnection) => void,
  options?: { readonly packetBytesMax: number },
];

export const publishOf = (init: Partial<Extract<Packet, { type: "publish" }>>): Packet => ({
  type: "publish",
  dup: false,
  qos: 0,
  retain: false,
  topicName: "t",
  payload: new TextEncoder().encode("p"),
  properties: {},
  ...init,
});

/** Packet Identifier 1 is that of a PUBLISH at QoS 1, 2 that of a SUBSCRIBE. */
export const MISDEEDS: readonly Misdeed[] = [
  ["packet type 0", 0x81, 0x82, (server) => server.bytes([0x00, 0])],
  ["flags in PUBACK", 0x81, 0x81, (server) => server.bytes([0x41, 2, 0, 1])],
  ["flags in PUBACK that would be QoS 2 elsewhere", 0x81, 0x81, (server) => server.bytes([0x44, 2, 0, 1])],
  ["a length of five bytes", 0x81, 0x81, (server) => server.bytes([0x30, 0xff, 0xff, 0xff, 0xff, 1])],
  ["a length with a byte too many", 0x81, 0x81, (server) => server.bytes([0xd0, 0x80, 0])],
  ["a body cut short", 0x81, 0x81, (server) => server.bytes([0x30, 3, 0, 5, 0x61])],
  ["a PUBLISH without its properties", 0x81, 0x81, (server) => server.bytes([0x30, 3, 0, 1, 0x61])],
  ["a SUBACK without its reason code", 0x82, 0x81, (server) => server.bytes([0x90, 3, 0, 2, 0])],
  ["properties that go beyond the packet", 0x81, 0x81, (server) => server.bytes([0x30, 6, 0, 1, 0x61, 9, 1, 0])],
  [
    "a property that goes beyond the list",
    0x81,
    0x81,
    (server) => server.bytes([0x30, 9, 0, 1, 0x61, 2, 3, 0, 1, 0x61, 0]),
  ],
  ["a DISCONNECT with more than its properties", 0x81, 0x81, (server) => server.bytes([0xe0, 3, 0, 0, 0])],
  ["ill-formed UTF-8", 0x81, 0x81, (server) => server.bytes([0x30, 4, 0, 1, 0xff, 0])],
  ["QoS 3", 0x81, 0x81, (server) => server.bytes([0x36, 6, 0, 1, 0x61, 0, 1, 0])],
  ["QoS 2", 0, 0x9b, (server) => server.say(publishOf({ qos: 2, packetId: 1 }))],
  ["a property of another packet", 0x81, 0, (server) => server.bytes([0x30, 6, 0, 1, 0x61, 2, 0x21, 1])],
  ["an unknown property", 0x81, 0x81, (server) => server.bytes([0x30, 6, 0, 1, 0x61, 2, 4, 1])],
  ["a property number beyond the table", 0x81, 0x81, (server) => server.bytes([0x30, 6, 0, 1, 0x61, 2, 99, 1])],
  ["a property twice", 0x82, 0x82, (server) => server.bytes([0x30, 8, 0, 1, 0x61, 4, 1, 0, 1, 0])],
  ["a second CONNACK", 0x82, 0x82, (server) => server.bytes([0x20, 3, 0, 0, 0])],
  ["a packet that only clients send", 0x82, 0x82, (server) => server.bytes([0xc0, 0])],
  ["PUBREC", 0x82, 0x82, (server) => server.bytes([0x50, 2, 0, 1])],
  ["PUBACK for nothing", 0x82, 0x82, (server) => server.bytes([0x40, 2, 0, 9])],
  ["PUBACK for a SUBSCRIBE", 0x82, 0x82, (server) => server.bytes([0x40, 2, 0, 2])],
  ["PUBCOMP for nothing", 0x82, 0x82, (server) => server.bytes([0x70, 2, 0, 9])],
  ["SUBACK for a PUBLISH", 0x82, 0x82, (server) => server.bytes([0x90, 4, 0, 1, 0, 0])],
  ["SUBACK for nothing", 0x82, 0x82, (server) => server.bytes([0x90, 4, 0, 9, 0, 0])],
  ["SUBACK with two reason codes for one filter", 0x82, 0x81, (server) => server.bytes([0x90, 5, 0, 2, 0, 0, 0])],
  ["UNSUBACK for nothing", 0x82, 0x82, (server) => server.bytes([0xb0, 4, 0, 9, 0, 0])],
  ["Packet Identifier 0", 0x82, 0x82, (server) => server.bytes([0x32, 6, 0, 1, 0x61, 0, 0, 0])],
  ["AUTH without an exchange", 0x82, 0x82, (server) => server.say({ type: "auth", reasonCode: 0x18, properties: {} })],
  ["an empty Topic Name", 0x82, 0x90, (server) => server.bytes([0x30, 3, 0, 0, 0])],
  ["a wildcard in a Topic Name", 0x90, 0x90, (server) => server.say(publishOf({ topicName: "a/#" }))],
  [
    "a Topic Alias never set",
    0x94,
    0x94,
    (server) => server.say(publishOf({ topicName: "", properties: { topicAlias: 1 } })),
  ],
  [
    "a Topic Alias that was not allowed",
    0x94,
    0x94,
    (server) => server.say(publishOf({ properties: { topicAlias: 17 } })),
  ],
  [
    "a packet larger than announced",
    0x95,
    0x95,
    (server) => server.say(publishOf({ payload: new Uint8Array(200) })),
    { packetBytesMax: 100 },
  ],
  [
    "only the header of a packet larger than announced",
    0x95,
    0x95,
    (server) => server.bytes([0x30, 0xff, 0xff, 0xff, 0x7f]),
    { packetBytesMax: 100 },
  ],
];
