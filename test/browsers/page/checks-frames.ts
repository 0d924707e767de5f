/** Handshake and frames: MQTT 5.0 section 6, and what browsers let a page send. */
import { type Check, type CheckGroup, expectEqual, expectRefused, expectTrue, type Scene } from "./check.ts";
import { Dialogue } from "./dialogue.ts";
import {
  type Bytes,
  connectPacket,
  encode,
  publishPacket,
  subscribePacket,
  toBytes,
  toText,
  uniqueName,
} from "./packets.ts";

/** Offers what the dialogue would not, and wants mqtt for an answer. */
async function opened(scene: Scene, offer: string | string[]): Promise<void> {
  const probe = new Dialogue(scene.url("open"), offer);
  await new Promise<void>((resolve, reject) => {
    probe.socket.addEventListener("open", () => resolve());
    probe.socket.addEventListener("close", () => reject(new Error("the handshake was refused")));
  });
  expectEqual(probe.socket.protocol, "mqtt", "subprotocol");
  probe.socket.close();
  await probe.end();
}

const handshake: readonly Check[] = [
  {
    name: "the subprotocol mqtt is offered, selected and returned",
    cites: ["MQTT-6.0.0-3", "MQTT-6.0.0-4"],
    run: (scene) => opened(scene, "mqtt"),
  },
  {
    name: "among several subprotocols it is mqtt that is selected",
    cites: ["MQTT-6.0.0-4"],
    run: (scene) => opened(scene, ["mqttv3.1", "mqtt", "soap"]),
  },
  {
    name: "a wrong subprotocol is refused",
    cites: ["MQTT-6.0.0-3"],
    run: (scene) => expectRefused(scene.url("refusing"), "soap"),
  },
  {
    name: "MQTT in capitals is a wrong subprotocol",
    cites: ["MQTT-6.0.0-4", "RFC 6455, 11.3.4"],
    run: (scene) => expectRefused(scene.url("refusing"), "MQTT"),
  },
  {
    name: "no subprotocol is refused",
    cites: ["MQTT-6.0.0-3"],
    run: (scene) => expectRefused(scene.url("refusing"), []),
  },
  {
    name: "another path has no WebSocket",
    cites: ["RFC 6455, 4.2.2"],
    run: (scene) => expectRefused(scene.url("refusing").replace(/mqtt$/u, "elsewhere"), "mqtt"),
  },
  {
    name: "no extension is negotiated, so that bytes are what they are",
    cites: ["RFC 6455, 9.1"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      expectEqual(dialogue.socket.extensions, "", "extensions");
      await dialogue.disconnect();
    },
  },
];

/** Connects, subscribes and publishes to itself; answers the bytes of all that, and the payload that has to come back. */
function conversation(): { readonly bytes: Bytes; readonly payload: string } {
  const topicName = uniqueName("frames");
  const payload = `p${topicName}`;
  const packets = [
    connectPacket({}),
    subscribePacket(topicName, 1, 1),
    publishPacket(topicName, payload, { qos: 1, packetId: 2 }),
    { type: "pingreq" as const },
  ];
  return { bytes: encode(packets), payload };
}

async function expectAnswers(dialogue: Dialogue, payload: string): Promise<void> {
  expectEqual((await dialogue.take("connack")).reasonCode, 0, "CONNACK");
  expectEqual((await dialogue.take("suback")).reasonCodes, [1], "SUBACK");
  expectEqual((await dialogue.take("puback")).packetId, 2, "PUBACK");
  expectEqual(await dialogue.message(), payload, "payload");
  await dialogue.take("pingresp");
  expectEqual((await dialogue.disconnect()).code, 1000, "close code");
}

async function inPieces(scene: Scene, cut: (bytes: Bytes) => Bytes[]): Promise<string> {
  const { bytes, payload } = conversation();
  const dialogue = await Dialogue.open(scene.url("open"));
  const pieces = cut(bytes);
  for (const piece of pieces) dialogue.frame(piece);
  await expectAnswers(dialogue, payload);
  return `${bytes.length} bytes in ${pieces.length === 1 ? "one frame" : `${pieces.length} frames`}`;
}

function piecesOf(bytes: Bytes, sizes: (index: number) => number): Bytes[] {
  const pieces: Bytes[] = [];
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes(index);
    pieces.push(bytes.slice(at, at + size));
    at += size;
  }
  return pieces;
}

const frames: readonly Check[] = [
  {
    name: "four packets in one frame",
    cites: ["MQTT-6.0.0-2"],
    run: (scene) => inPieces(scene, (bytes) => [bytes]),
  },
  {
    name: "packets in frames of one byte",
    cites: ["MQTT-6.0.0-2"],
    run: (scene) => inPieces(scene, (bytes) => piecesOf(bytes, () => 1)),
  },
  {
    name: "frames that end and begin in the middle of packets",
    cites: ["MQTT-6.0.0-2"],
    run: (scene) => inPieces(scene, (bytes) => piecesOf(bytes, (index) => [7, 1, 19, 2, 31, 3][index % 6]!)),
  },
  {
    name: "empty frames between pieces of a packet",
    cites: ["MQTT-6.0.0-2", "RFC 6455, 5.6"],
    run: (scene) => inPieces(scene, (bytes) => piecesOf(bytes, () => 9).flatMap((piece) => [new Uint8Array(0), piece])),
  },
  {
    name: "a Blob, a view and a buffer are the same bytes",
    cites: ["MQTT-6.0.0-1"],
    run: blobAndViews,
  },
  {
    name: "everything that comes is a binary frame, as Blob too",
    cites: ["MQTT-6.0.0-1"],
    run: receivedAsBlob,
  },
  {
    name: "a text frame ends the connection with 1003",
    cites: ["MQTT-6.0.0-1"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      dialogue.frame("\u00c0\u0000");
      expectEqual((await dialogue.end()).code, 1003, "close code");
    },
  },
  {
    name: "a text frame in front of CONNECT does too",
    cites: ["MQTT-6.0.0-1"],
    run: async (scene) => {
      const dialogue = await Dialogue.open(scene.url("open"));
      dialogue.frame("hello");
      expectEqual((await dialogue.end()).code, 1003, "close code");
    },
  },
];

async function blobAndViews(scene: Scene): Promise<void> {
  const topicName = uniqueName("forms");
  const dialogue = await Dialogue.connect(scene.url("open"));
  await dialogue.subscribe(topicName, 0);
  const publish = (payload: string) => encode([publishPacket(topicName, payload)]);
  dialogue.frame(new Blob([publish("blob")]));
  const around = new Uint8Array(100);
  const inside = publish("view");
  around.set(inside, 33);
  dialogue.frame(around.subarray(33, 33 + inside.length));
  dialogue.socket.send(publish("buffer").buffer);
  dialogue.frame(new Blob([publish("blob again").slice(0, 5), publish("blob again").slice(5)]));
  const messages = [];
  for (let index = 0; index < 4; index++) messages.push(await dialogue.message());
  expectEqual(messages, ["blob", "view", "buffer", "blob again"], "messages");
  await dialogue.disconnect();
}

async function receivedAsBlob(scene: Scene): Promise<void> {
  const dialogue = await Dialogue.open(scene.url("open"));
  dialogue.socket.binaryType = "blob";
  const frames: unknown[] = [];
  const first = new Promise<void>((resolve) => {
    dialogue.socket.onmessage = ({ data }) => {
      frames.push(data);
      resolve();
    };
  });
  dialogue.send(connectPacket({ clientId: uniqueName("blob") }));
  await first;
  const [frame] = frames;
  if (!(frame instanceof Blob)) throw new Error("a frame that is no Blob");
  const bytes = new Uint8Array(await frame.arrayBuffer());
  expectEqual([bytes[0], bytes[2], bytes[3]], [0x20, 0, 0], "the beginning of CONNACK");
  dialogue.socket.close(1000);
  await dialogue.end();
}

/** A payload in which no two neighbourhoods are alike. */
function patterned(length: number): Bytes {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + (index >>> 8) * 17 + (index >>> 16)) & 0xff;
  return bytes;
}

const MEBIBYTE = 1024 * 1024;

const sizes: readonly Check[] = [
  {
    name: "a payload of 1 MiB comes back byte for byte",
    cites: ["MQTT 5.0, 3.3.3"],
    run: async (scene) => {
      const topicName = uniqueName("large");
      const dialogue = await Dialogue.connect(scene.url("open"));
      await dialogue.subscribe(topicName, 1);
      const payload = patterned(MEBIBYTE);
      expectEqual(await dialogue.publish(topicName, payload, 1), 0, "reason code of PUBACK");
      const back = (await dialogue.take("publish")).payload;
      expectEqual(back.length, payload.length, "bytes");
      expectTrue(
        payload.every((byte, index) => byte === back[index]),
        "the payload is another one",
      );
      await dialogue.disconnect();
    },
  },
  {
    name: "a packet above Maximum Packet Size: DISCONNECT 0x95, close code 4149",
    cites: ["MQTT-3.2.2-15", "MQTT-4.13.1-1"],
    run: async (scene) => {
      const { packetBytesMax } = scene.environment;
      const dialogue = await Dialogue.open(scene.url("open"));
      dialogue.send(connectPacket({}));
      const { properties } = await dialogue.take("connack");
      expectEqual(properties.maximumPacketSize, packetBytesMax, "Maximum Packet Size");
      dialogue.send(publishPacket("large", new Uint8Array(packetBytesMax)));
      expectEqual((await dialogue.take("disconnect")).reasonCode, 0x95, "reason code of DISCONNECT");
      expectEqual((await dialogue.end()).code, 4149, "close code");
    },
  },
  {
    name: "a frame that no packet needs ends the connection, and not the broker",
    cites: ["RFC 6455, 7.4.1"],
    run: async (scene) => {
      const dialogue = await Dialogue.connect(scene.url("open"));
      dialogue.frame(new Uint8Array(4 * scene.environment.packetBytesMax));
      const { code } = await dialogue.end();
      expectTrue(code === 1009 || code === 1006, `close code ${code}, expected 1009 or 1006`);
      await (await Dialogue.connect(scene.url("open"))).disconnect();
      return `close code ${code}`;
    },
  },
  {
    name: "a message above the client's own Maximum Packet Size is not sent to it",
    cites: ["MQTT-3.1.2-24", "MQTT-3.1.2-25"],
    run: async (scene) => {
      const topicName = uniqueName("small");
      const dialogue = await Dialogue.connect(scene.url("open"), { properties: { maximumPacketSize: 500 } });
      await dialogue.subscribe(topicName, 1);
      await dialogue.publish(topicName, "x".repeat(1000), 1);
      await dialogue.publish(topicName, "short", 1);
      expectEqual(toText((await dialogue.take("publish")).payload), "short", "payload");
      await dialogue.disconnect();
    },
  },
  {
    name: "an empty payload and every character of a topic come through",
    cites: ["MQTT 5.0, 1.5.4", "MQTT 5.0, 3.3.3"],
    run: async (scene) => {
      const topicName = `${uniqueName("text")}/ü/日本/😀/ /`;
      const dialogue = await Dialogue.connect(scene.url("open"));
      await dialogue.subscribe(topicName, 0);
      dialogue.send(publishPacket(topicName, toBytes("")));
      const packet = await dialogue.take("publish");
      expectEqual([packet.topicName, packet.payload.length], [topicName, 0], "topic and length");
      await dialogue.disconnect();
    },
  },
];

export const frameGroups: readonly CheckGroup[] = [
  { name: "Handshake", checks: handshake },
  { name: "Frames", checks: frames },
  { name: "Sizes", checks: sizes },
];
