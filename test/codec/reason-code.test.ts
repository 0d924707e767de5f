/** The reason codes against the table of MQTT 5.0 section 2.4, typed in here on its own, and the lists of each packet. */
import { describe, expect, test } from "bun:test";
import { PACKET_TYPE_NAMES, PacketType } from "../../src/core/codec/packet-type.ts";
import { isReasonCodeOf, ReasonCode } from "../../src/core/codec/reason-code.ts";
import { REASON_CODES, reasonCodeName } from "../../src/core/codec/reason-code-name.ts";
import { returnCodeOf } from "../../src/core/codec/return-code.ts";

/** Section 2.4, in its order: code, name, packets. Success, Normal disconnection and Granted QoS 0 share a code. */
const SECTION_2_4 = `
00 Success: CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH
01 Granted QoS 1: SUBACK
02 Granted QoS 2: SUBACK
04 Disconnect with Will Message: DISCONNECT
10 No matching subscribers: PUBACK PUBREC
11 No subscription existed: UNSUBACK
18 Continue authentication: AUTH
19 Re-authenticate: AUTH
80 Unspecified error: CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT
81 Malformed Packet: CONNACK DISCONNECT
82 Protocol Error: CONNACK DISCONNECT
83 Implementation specific error: CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT
84 Unsupported Protocol Version: CONNACK
85 Client Identifier not valid: CONNACK
86 Bad User Name or Password: CONNACK
87 Not authorized: CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT
88 Server unavailable: CONNACK
89 Server busy: CONNACK DISCONNECT
8a Banned: CONNACK
8b Server shutting down: DISCONNECT
8c Bad authentication method: CONNACK DISCONNECT
8d Keep Alive timeout: DISCONNECT
8e Session taken over: DISCONNECT
8f Topic Filter invalid: SUBACK UNSUBACK DISCONNECT
90 Topic Name invalid: CONNACK PUBACK PUBREC DISCONNECT
91 Packet Identifier in use: PUBACK PUBREC SUBACK UNSUBACK
92 Packet Identifier not found: PUBREL PUBCOMP
93 Receive Maximum exceeded: DISCONNECT
94 Topic Alias invalid: DISCONNECT
95 Packet too large: CONNACK DISCONNECT
96 Message rate too high: DISCONNECT
97 Quota exceeded: CONNACK PUBACK PUBREC SUBACK DISCONNECT
98 Administrative action: DISCONNECT
99 Payload format invalid: CONNACK PUBACK PUBREC DISCONNECT
9a Retain not supported: CONNACK DISCONNECT
9b QoS not supported: CONNACK DISCONNECT
9c Use another server: CONNACK DISCONNECT
9d Server moved: CONNACK DISCONNECT
9e Shared Subscriptions not supported: SUBACK DISCONNECT
9f Connection rate exceeded: CONNACK DISCONNECT
a0 Maximum connect time: DISCONNECT
a1 Subscription Identifiers not supported: SUBACK DISCONNECT
a2 Wildcard Subscriptions not supported: SUBACK DISCONNECT
`;

const LISTED = SECTION_2_4.trim()
  .split("\n")
  .map((line) => {
    const [, code, name, packets] = /^([0-9a-f]{2}) (.+): ([A-Z ]+)$/u.exec(line)!;
    return { code: Number.parseInt(code!, 16), name: name!, packets: packets!.split(" ") };
  });

/** The lists in the sections of the packets. 0x8C is a code of DISCONNECT in section 2.4 but not in section 3.14.2.1. */
const BY_SECTION: readonly (readonly [type: keyof typeof PacketType, section: string, codes: string])[] = [
  ["CONNACK", "3.2.2.2", "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"],
  ["PUBACK", "3.4.2.1", "00 10 80 83 87 90 91 97 99"],
  ["PUBREC", "3.5.2.1", "00 10 80 83 87 90 91 97 99"],
  ["PUBREL", "3.6.2.1", "00 92"],
  ["PUBCOMP", "3.7.2.1", "00 92"],
  ["SUBACK", "3.9.3", "00 01 02 80 83 87 8f 91 97 9e a1 a2"],
  ["UNSUBACK", "3.11.3", "00 11 80 83 87 8f 91"],
  [
    "DISCONNECT",
    "3.14.2.1",
    "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
  ],
  ["AUTH", "3.15.2.1", "00 18 19"],
];

const ALL_BYTES = [...Array(256).keys()];

describe("the table", () => {
  test("has the codes of section 2.4 with their names, in ascending order, and no other", () => {
    expect(REASON_CODES.map(({ code, name }) => ({ code, name }))).toEqual(
      LISTED.map(({ code, name }) => ({ code, name })),
    );
  });

  test("has the packets of section 2.4", () => {
    const packets = REASON_CODES.map(({ code, packets: mask }) => ({
      code,
      packets: PACKET_TYPE_NAMES.filter((_, type) => (mask & (1 << type)) !== 0),
    }));
    expect(packets).toEqual(LISTED.map(({ code, packets: names }) => ({ code, packets: names })));
  });

  test.each(BY_SECTION)("agrees with the list of %s in section %s", (type, _, codes) => {
    const allowed = ALL_BYTES.filter((code) => isReasonCodeOf(PacketType[type], code));
    expect(allowed).toEqual(codes.split(" ").map((code) => Number.parseInt(code, 16)));
  });

  test("gives no code to a packet without reason codes", () => {
    for (const type of ["CONNECT", "PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", "PINGREQ", "PINGRESP"] as const) {
      expect(ALL_BYTES.filter((code) => isReasonCodeOf(PacketType[type], code))).toEqual([]);
    }
  });

  test("names each code once, the constants and the names alike", () => {
    const words = (text: string): string => text.replaceAll(/[^a-z0-9]/giu, "").toLowerCase();
    expect(Object.entries(ReasonCode).map(([name, code]) => `${words(name)} ${code}`)).toEqual(
      LISTED.map(({ code, name }) => `${words(name)} ${code}`),
    );
    for (const { code, name } of LISTED) expect(reasonCodeName(code)).toBe(name);
    expect(reasonCodeName(0x7f)).toBe("0x7f");
  });
});

describe("return codes of MQTT 3.1.1", () => {
  /** Section 3.2.2.3 of MQTT 3.1.1. */
  const SAID: ReadonlyMap<number, number> = new Map([
    [0x00, 0],
    [0x84, 1],
    [0x85, 2],
    [0x88, 3],
    [0x89, 3],
    [0x86, 4],
    [0x87, 5],
    [0x8a, 5],
    [0x8c, 5],
  ]);

  test("say what they can, and nothing of all other reasons", () => {
    for (const code of ALL_BYTES)
      expect({ code, returned: returnCodeOf(code) }).toEqual({ code, returned: SAID.get(code) });
  });
});
