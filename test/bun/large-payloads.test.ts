/**
 * Large payloads through real sockets to readers of different speeds at once: no byte is lost, doubled, swapped or taken from
 * another message, however little a socket takes at a time, and whatever it is read in.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import type { TLSOptions } from "bun";
import { createBroker, type RunningBroker } from "rqtt";
import { encodePacket, type Packet } from "../../src/core/codec/packet.ts";
import { Writer } from "../../src/core/codec/writer.ts";
import { Random } from "../fuzz/random.ts";
import { type Certificates, makeCertificates, opensslCommand } from "../support/certificates.ts";
import type { Inbox } from "../support/inbox.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { WebSocketPeer } from "../support/websocket-peer.ts";
import { connectPacket } from "../support/world.ts";

const KB = 1024;
const MB = 1024 * KB;
const TEST_MS = 120_000;
const TOPIC = "large";
/** One read of the broker is 512 KB, a payload of up to 128 KB is written together with its head. */
const SIZES = [MB, 5, 64 * KB, 300 * KB, 64 * KB - 1, MB, 128 * KB, 128 * KB + 1, 1_000, 700 * KB];
const COUNT = 40;

type Transport = "mqtt" | "ws" | "mqtts";
const TRANSPORTS: Transport[] = ["mqtt", "ws", ...(opensslCommand === null ? [] : ["mqtts" as const])];

/** Both ends of one connection, whatever is below MQTT. */
interface Peer {
  readonly inbox: Inbox;
  readonly tcp: TcpPeer;
  write(bytes: Uint8Array): Promise<void>;
}

let made: Certificates | undefined;
let broker: RunningBroker;
const peers: TcpPeer[] = [];

beforeAll(async () => {
  made = opensslCommand === null ? undefined : makeCertificates();
  const secure = made && { url: "mqtts://127.0.0.1:0", certificate: made.server.cert, key: made.server.key };
  const listeners = ["mqtt://127.0.0.1:0", "ws://127.0.0.1:0/mqtt", ...(secure === undefined ? [] : [secure])];
  broker = await createBroker({ listeners, sysIntervalMs: 0, limits: { queueBytesMax: 128 * MB } });
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.reset();
});
afterAll(async () => {
  await broker.close();
  made?.remove();
});

function encoded(...packets: Packet[]): Uint8Array {
  const writer = new Writer();
  for (const packet of packets) encodePacket(writer, packet, 5);
  return writer.view().slice();
}

async function open(transport: Transport): Promise<Peer> {
  const url = broker.urls.find((one) => one.startsWith(`${transport}:`))!;
  if (transport === "ws") {
    const webSocket = await WebSocketPeer.open(url);
    peers.push(webSocket.tcp);
    return webSocket;
  }
  const tls: TLSOptions | undefined = transport === "mqtts" ? { ca: made!.ca, serverName: "localhost" } : undefined;
  const tcp = await TcpPeer.open(url, tls);
  peers.push(tcp);
  return { inbox: tcp.inbox, tcp, write: (bytes) => tcp.write(bytes) };
}

async function expectPacket(peer: Peer, type: Packet["type"]): Promise<void> {
  const packet = await peer.inbox.packet();
  if (packet?.type !== type) throw new Error(`got ${packet?.type}, expected ${type}`);
}

async function connected(transport: Transport, clientId: string, subscribes: boolean): Promise<Peer> {
  const peer = await open(transport);
  await peer.write(encoded(connectPacket(clientId, {})));
  await expectPacket(peer, "connack");
  if (!subscribes) return peer;
  const filter = { topicFilter: TOPIC, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  await peer.write(encoded({ type: "subscribe", packetId: 1, filters: [filter], properties: {} }));
  await expectPacket(peer, "suback");
  return peer;
}

function payloadOf(index: number): Uint8Array {
  const payload = new Uint8Array(SIZES[index % SIZES.length]!);
  let state = index + 1;
  for (let at = 0; at < payload.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    payload[at] = state >>> 24;
  }
  return payload;
}

/** Takes all messages in order and acknowledges them; `between` is what the reader does after each. */
async function readAll(peer: Peer, payloads: readonly Uint8Array[], between: () => void = () => {}): Promise<void> {
  for (const [index, payload] of payloads.entries()) {
    const packet = await peer.inbox.packet();
    if (packet?.type !== "publish") throw new Error(`got ${packet?.type} instead of message ${index}`);
    if (Buffer.compare(packet.payload, payload) !== 0) throw new Error(`message ${index} is not what was published`);
    await peer.write(encoded({ type: "puback", packetId: packet.packetId!, reasonCode: 0, properties: {} }));
    between();
  }
}

test.each(TRANSPORTS)(
  "%s: readers that are quick, slow, late and suddenly gone, in any pieces the publisher writes",
  async (transport) => {
    const [quick, slow, late, gone] = await Promise.all(
      ["quick", "slow", "late", "gone"].map((name) => connected(transport, `${transport} ${name}`, true)),
    );
    const publisher = await connected(transport, `${transport} publisher`, false);
    const payloads = Array.from({ length: COUNT }, (_, index) => payloadOf(index));
    late!.tcp.pause();
    gone!.tcp.pause();

    const random = new Random(7);
    const publish = async (): Promise<void> => {
      for (const [index, payload] of payloads.entries()) {
        const bytes = publishBytes(TOPIC, payload, index + 1);
        for (let at = 0; at < bytes.length; ) {
          const end = Math.min(bytes.length, at + random.between(1, random.oneIn(2) ? 60 * KB : 2 * MB));
          await publisher.write(bytes.subarray(at, end));
          at = end;
        }
        await expectPacket(publisher, "puback");
        if (index === COUNT / 2) gone!.tcp.reset();
      }
      late!.tcp.resume();
    };
    // Reading in small sips: the socket is full in between.
    const sip = (): void => {
      slow!.tcp.pause();
      setImmediate(() => slow!.tcp.resume());
    };
    await Promise.all([publish(), readAll(quick!, payloads), readAll(slow!, payloads, sip), readAll(late!, payloads)]);
  },
  TEST_MS,
);

test("a retained payload that came in pieces is the same for everybody who asks later, over every transport", async () => {
  const publisher = await connected("mqtt", "keeper", false);
  const payload = payloadOf(0);
  const retained = publishBytes(TOPIC, payload, 1);
  retained[0]! |= 1;
  await publisher.write(retained.subarray(0, 400 * KB));
  await publisher.write(retained.subarray(400 * KB));
  await expectPacket(publisher, "puback");
  // Others of its size pass through, in memory that may be what became free.
  for (let index = 0; index < 10; index++) {
    await publisher.write(publishBytes("other", new Uint8Array(MB).fill(index), 2 + index));
    await expectPacket(publisher, "puback");
  }
  for (const transport of TRANSPORTS) await readAll(await connected(transport, `later ${transport}`, true), [payload]);
  await publisher.write(publishBytes(TOPIC, new Uint8Array(0), 1).with(0, 0x33));
  await expectPacket(publisher, "puback");
});

test("the runtime reads every chunk into memory of its own, so that it may be taken away: the TCP listener does", async () => {
  const stream = Buffer.concat(Array.from({ length: 20 }, (_, index) => payloadOf(index)));
  const kept: { chunk: Buffer; hash: string }[] = [];
  const freed = { chunks: 0, whole: 0 };
  const hashes: string[] = [];
  const ended = Promise.withResolvers<void>();
  const server = Bun.listen<Bun.CryptoHasher>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = new Bun.CryptoHasher("sha256");
      },
      data(socket, chunk) {
        socket.data.update(chunk);
        if (chunk.length < 16 * KB) return;
        if (kept.length <= freed.chunks) {
          kept.push({ chunk, hash: String(Bun.hash(chunk)) });
          return;
        }
        freed.chunks++;
        if (chunk.buffer.byteLength === chunk.length) freed.whole++;
        (chunk.buffer as ArrayBuffer).transfer(0);
      },
      close(socket) {
        hashes.push(socket.data.digest("hex"));
        if (hashes.length === 3) ended.resolve();
      },
    },
  });
  try {
    const senders = await Promise.all([1, 2, 3].map(() => TcpPeer.open(`mqtt://127.0.0.1:${server.port}`)));
    await Promise.all(senders.map((sender) => sender.write(stream).then(() => sender.close())));
    await ended.promise;
  } finally {
    server.stop(true);
  }
  expect(new Set(hashes)).toEqual(new Set([new Bun.CryptoHasher("sha256").update(stream).digest("hex")]));
  expect(kept.map(({ chunk }) => String(Bun.hash(chunk)))).toEqual(kept.map(({ hash }) => hash));
  expect(freed.chunks).toBeGreaterThan(10);
  expect(freed.whole).toBe(freed.chunks);
});
