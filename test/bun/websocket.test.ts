/** MQTT over WebSocket, through real sockets (MQTT 5.0 and 3.1.1, section 6). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createBroker, type RunningBroker } from "rqtt";
import type { ProtocolLevel } from "../../src/core/codec/packet.ts";
import { field, frame, glue } from "../support/hand-made.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { encodeFrame, Opcode, WebSocketPeer } from "../support/websocket-peer.ts";
import { toBytes, toText } from "../support/world.ts";

const PACKET_BYTES_MAX = 100_000;
const EMPTY = new Uint8Array(0);

let broker: RunningBroker;
const peers: { reset(): void }[] = [];

beforeAll(async () => {
  broker = await createBroker({
    listeners: ["ws://127.0.0.1:0/mqtt", "ws://127.0.0.1:0/other/path", "mqtt://127.0.0.1:0"],
    limits: { packetBytesMax: PACKET_BYTES_MAX },
  });
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.reset();
});
afterAll(() => broker.close());

async function open(protocols = "mqtt", url = broker.urls[0]!): Promise<WebSocketPeer> {
  const peer = await WebSocketPeer.open(url, protocols);
  peers.push(peer);
  return peer;
}

let clientIds = 0;

/** CONNECT for a client id of its own. */
function connectBytes(level: ProtocolLevel): Uint8Array {
  const clientId = Buffer.from(`ws${++clientIds}`).toString("hex");
  return level === 5
    ? frame(0x10, "00 04 4d 51 54 54 05 02 00 00 00", field(clientId))
    : frame(0x10, "00 04 4d 51 54 54 04 02 00 00", field(clientId));
}

function subscribeBytes(level: ProtocolLevel, topicFilter: string): Uint8Array {
  const filter = Buffer.from(topicFilter).toString("hex");
  return frame(0x82, level === 5 ? "00 01 00" : "00 01", field(filter), "00");
}

async function connected(level: ProtocolLevel = 5, url = broker.urls[0]!): Promise<WebSocketPeer> {
  const peer = await open("mqtt", url);
  await peer.write(connectBytes(level));
  expect(await peer.inbox.packet(level)).toMatchObject({ type: "connack", reasonCode: 0 });
  return peer;
}

async function subscribed(level: ProtocolLevel, topicFilter: string): Promise<WebSocketPeer> {
  const peer = await connected(level);
  await peer.write(subscribeBytes(level, topicFilter));
  expect((await peer.inbox.packet(level))?.type).toBe("suback");
  return peer;
}

async function nextPayload(peer: WebSocketPeer, level: ProtocolLevel = 5): Promise<string> {
  const packet = await peer.inbox.packet(level);
  return packet?.type === "publish" ? toText(packet.payload) : `${packet?.type}`;
}

/** Proves that what was sent before had no effect: the next message that the watcher sees is this one. */
async function expectNothingElse(watcher: WebSocketPeer, topicName: string): Promise<void> {
  const publisher = await connected();
  await publisher.write(publishBytes(topicName, toBytes("next")));
  expect(await nextPayload(watcher)).toBe("next");
}

describe("the handshake", () => {
  test.each(["mqtt", "mqtt, mqttv3.1", "mqttv3.1, mqtt", "soap,mqtt,wamp"])(
    "[MQTT-6.0.0-4] [MQTT311-6.0.0-4] offered <%s>, mqtt is selected and returned",
    async (protocols) => {
      const peer = await open(protocols);
      expect(peer.handshake).toEqual({ status: 101, protocol: "mqtt" });
    },
  );

  test.each(["", "soap", "mqttv3.1", "xmqtt", "mqtt5"])(
    "[MQTT-6.0.0-3] [MQTT311-6.0.0-3] offered <%s>, the handshake is refused with 400",
    async (protocols) => {
      const peer = await open(protocols);
      expect(peer.handshake).toEqual({ status: 400, protocol: null });
    },
  );

  test("another path, and a request that is no handshake, get no WebSocket", async () => {
    const elsewhere = await open("mqtt", broker.urls[0]!.replace("/mqtt", "/nothing"));
    expect(elsewhere.handshake.status).toBeGreaterThanOrEqual(400);
    const response = await fetch(broker.urls[0]!.replace("ws:", "http:"));
    expect(response.status).toBeGreaterThanOrEqual(400);
  });

  test("[MQTT-6.0.0-4] an ordinary WebSocket client sees the subprotocol", async () => {
    const client = new WebSocket(broker.urls[0]!, ["mqtt"]);
    await new Promise((resolve, reject) => {
      client.onopen = resolve;
      client.onerror = reject;
    });
    expect(client.protocol).toBe("mqtt");
    client.close();
  });
});

describe.each<[ProtocolLevel]>([[4], [5]])("frames, level %i", (level) => {
  test("[MQTT-6.0.0-1] [MQTT311-6.0.0-1] a text frame closes the connection and is not taken for MQTT", async () => {
    const watcher = await subscribed(5, `text${level}`);
    const name = Buffer.from(`text${level}`).toString("hex");
    // All of it is ASCII: a fine PUBLISH, a fine text.
    const publish = frame(0x30, field(name), level === 5 ? "00" : "", "78");
    const peer = await connected(level);
    await peer.frame(Opcode.text, publish);
    await peer.closed;
    await expectNothingElse(watcher, `text${level}`);
  });

  test("[MQTT-6.0.0-1] [MQTT311-6.0.0-1] so does one before CONNECT, an empty one and one in pieces", async () => {
    const first = await open();
    await first.frame(Opcode.text, toBytes("hello"));
    await first.closed;
    const empty = await connected(level);
    await empty.frame(Opcode.text, EMPTY);
    await empty.closed;
    const pieces = await connected(level);
    await pieces.frame(Opcode.text, toBytes("hel"), false);
    await pieces.frame(Opcode.continuation, toBytes("lo"));
    await pieces.closed;
  });

  test("[MQTT-6.0.0-1] [MQTT311-6.0.0-1] what follows a text frame in the same segment is not taken either", async () => {
    const watcher = await subscribed(5, `behind${level}`);
    const peer = await connected(level);
    const publish = publishBytes(`behind${level}`, toBytes("x"), 0, level);
    await peer.tcp.write(glue(encodeFrame(Opcode.text, toBytes("x")), encodeFrame(Opcode.binary, publish)));
    await peer.closed;
    await expectNothingElse(watcher, `behind${level}`);
  });

  test("[MQTT-6.0.0-1] [MQTT311-6.0.0-1] a text frame is a failure: the Will is published", async () => {
    const watcher = await subscribed(5, `will${level}`);
    const peer = await open();
    const [version, will] = level === 5 ? ["05", "00"] : ["04", ""];
    const topicName = Buffer.from(`will${level}`).toString("hex");
    const properties = level === 5 ? "00" : "";
    await peer.write(
      frame(
        0x10,
        `00 04 4d 51 54 54 ${version} 06 00 00 ${properties}`,
        field("7777"),
        will!,
        field(topicName),
        field("676f6e65"),
      ),
    );
    expect((await peer.inbox.packet(level))?.type).toBe("connack");
    await peer.frame(Opcode.text, toBytes("x"));
    await peer.closed;
    expect(await nextPayload(watcher)).toBe("gone");
  });

  /** CONNECT, SUBSCRIBE and three PUBLISH packets; the third is longer than one length byte can say. */
  function conversation(topicName: string): Uint8Array {
    return glue(
      connectBytes(level),
      subscribeBytes(level, topicName),
      publishBytes(topicName, toBytes("one"), 0, level),
      publishBytes(topicName, EMPTY, 0, level),
      publishBytes(topicName, toBytes("3".repeat(300)), 0, level),
    );
  }

  async function expectConversation(peer: WebSocketPeer): Promise<void> {
    expect((await peer.inbox.packet(level))?.type).toBe("connack");
    expect((await peer.inbox.packet(level))?.type).toBe("suback");
    expect(await nextPayload(peer, level)).toBe("one");
    expect(await nextPayload(peer, level)).toBe("");
    expect(await nextPayload(peer, level)).toBe("3".repeat(300));
    // [MQTT-6.0.0-1] holds for the broker as well: all it sent is binary.
    expect(peer.opcodes.every((opcode) => opcode === Opcode.binary)).toBe(true);
  }

  test("[MQTT-6.0.0-2] [MQTT311-6.0.0-2] one frame may hold many packets", async () => {
    const peer = await open();
    await peer.write(conversation(`joined${level}`));
    await expectConversation(peer);
  });

  test.each([1, 2, 3, 7, 16, 100])(
    "[MQTT-6.0.0-2] [MQTT311-6.0.0-2] a packet may be spread over frames of %i bytes",
    async (size) => {
      const peer = await open();
      const bytes = conversation(`spread${level}/${size}`);
      for (let at = 0; at < bytes.length; at += size) await peer.write(bytes.subarray(at, at + size));
      await expectConversation(peer);
    },
  );

  test("[MQTT-6.0.0-2] [MQTT311-6.0.0-2] and a message over continuation frames", async () => {
    const peer = await open();
    const bytes = conversation(`fragments${level}`);
    for (let at = 0; at < bytes.length; at += 5) {
      const [opcode, fin] = [at === 0 ? Opcode.binary : Opcode.continuation, at + 5 >= bytes.length];
      await peer.frame(opcode, bytes.subarray(at, at + 5), fin);
      // A control frame may come in between.
      if (at === 10) await peer.frame(Opcode.ping, toBytes("p"));
    }
    while ((await peer.inbox.packet(level))?.type !== "publish");
    expect(peer.opcodes).toContain(Opcode.pong);
    expect(await nextPayload(peer, level)).toBe("");
    expect(await nextPayload(peer, level)).toBe("3".repeat(300));
  });

  test("[MQTT-6.0.0-2] [MQTT311-6.0.0-2] frames without content change nothing, wherever they come", async () => {
    const peer = await open();
    const bytes = conversation(`empty${level}`);
    await peer.write(EMPTY);
    for (const byte of bytes) {
      await peer.write(Uint8Array.of(byte));
      await peer.write(EMPTY);
    }
    await expectConversation(peer);
  });
});

describe("size", () => {
  test("a packet at the bound goes through, split over frames and back", async () => {
    const watcher = await subscribed(5, "large");
    const peer = await connected();
    const payload = toBytes("z".repeat(PACKET_BYTES_MAX - 4 - 2 - 5 - 1));
    const bytes = publishBytes("large", payload);
    expect(bytes.length).toBe(PACKET_BYTES_MAX);
    for (let at = 0; at < bytes.length; at += 40_000) await peer.write(bytes.subarray(at, at + 40_000));
    expect((await nextPayload(watcher)).length).toBe(payload.length);
  });

  test("one byte more: DISCONNECT 0x95 as soon as the length is known, then the end", async () => {
    const watcher = await subscribed(5, "oversize");
    const peer = await connected();
    const bytes = publishBytes("oversize", new Uint8Array(PACKET_BYTES_MAX - 4 - 2 - 8));
    expect(bytes.length).toBe(PACKET_BYTES_MAX + 1);
    await peer.write(bytes.subarray(0, 4));
    expect(await peer.inbox.packet()).toMatchObject({ type: "disconnect", reasonCode: 0x95 });
    await peer.closed;
    await expectNothingElse(watcher, "oversize");
  });

  test("a frame may be larger than a packet: it is the packets in it that count", async () => {
    const watcher = await subscribed(5, "many");
    const peer = await connected();
    const one = publishBytes("many", new Uint8Array(1000).fill(0x79));
    const frameBytes = Buffer.concat(Array.from({ length: 150 }, () => one));
    expect(frameBytes.length).toBeGreaterThan(PACKET_BYTES_MAX);
    await peer.write(frameBytes);
    for (let count = 0; count < 150; count++) expect((await nextPayload(watcher)).length).toBe(1000);
  });

  test("but it is bounded: one that nobody needs closes the connection with 1009", async () => {
    const peer = await connected();
    await peer.write(new Uint8Array(10 * PACKET_BYTES_MAX));
    expect(await peer.closed).toBe(1009);
  });

  test("a bad packet is answered with its reason before the end", async () => {
    const peer = await connected();
    await peer.write(frame(0x80, "00 01 00", field("61"), "00"));
    expect(await peer.inbox.packet()).toMatchObject({ type: "disconnect", reasonCode: 0x81 });
    await peer.closed;
  });

  test("before CONNECT anything else is closed without a packet", async () => {
    const peer = await open();
    await peer.write(frame(0xc0));
    await peer.closed;
    expect(peer.inbox.arrivedBytes).toBe(0);
  });
});

describe("listeners", () => {
  test("several of them, WebSocket and TCP, are one broker", async () => {
    expect(new Set(broker.urls).size).toBe(3);
    const tcp = await TcpPeer.open(broker.urls[2]!);
    peers.push(tcp);
    await tcp.connect("tcp side");
    await tcp.subscribe("across", 0);
    const one = await subscribed(5, "across");
    const other = await connected(5, broker.urls[1]!);
    await other.write(publishBytes("across", toBytes("x")));
    expect(await nextPayload(one)).toBe("x");
    expect(await tcp.inbox.packet()).toMatchObject({ type: "publish", topicName: "across" });
  });

  test("each path belongs to its listener", async () => {
    const [first, second] = broker.urls as [string, string];
    expect(new URL(first).pathname).toBe("/mqtt");
    expect(new URL(second).pathname).toBe("/other/path");
    const wrong = await open("mqtt", second.replace("/other/path", "/mqtt"));
    expect(wrong.handshake.status).toBeGreaterThanOrEqual(400);
  });

  test("the end of the connection without DISCONNECT publishes the Will, however it comes", async () => {
    const watcher = await subscribed(5, "gone/+");
    for (const how of ["close", "reset", "close frame"] as const) {
      const peer = await open();
      const topicName = Buffer.from(`gone/${how[0]}`).toString("hex");
      await peer.write(
        frame(0x10, "00 04 4d 51 54 54 05 06 00 00 00", field("7776"), "00", field(topicName), field("676f6e65")),
      );
      expect((await peer.inbox.packet())?.type).toBe("connack");
      if (how === "close frame") await peer.frame(Opcode.close, Uint8Array.of(0x03, 0xe8));
      else peer.tcp[how]();
      expect(await nextPayload(watcher)).toBe("gone");
    }
  });
});
