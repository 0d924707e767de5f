/**
 * Slow and fast peers over real sockets, against a broker process whose memory is watched: who does not read costs bounded
 * memory and slows nobody, who writes faster than it is served is held back at its socket, and no byte is lost, doubled or
 * swapped on the way through a full socket.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { type Certificates, makeCertificates, opensslCommand } from "../support/certificates.ts";
import { field, frame } from "../support/hand-made.ts";
import type { Inbox } from "../support/inbox.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { WebSocketPeer } from "../support/websocket-peer.ts";

const MB = 1024 * 1024;
const TEST_MS = 120_000;
const PAYLOAD_BYTES = 64 * 1024;
/** More than all bounds of one client together, far less than what is sent to the one that does not read. */
const GROWTH_BYTES_MAX = 72 * MB;

type Transport = "TCP" | "WebSocket" | "wss with clientCa";
const transports: Transport[] = [
  "TCP",
  "WebSocket",
  ...(opensslCommand === null ? [] : ["wss with clientCa" as const]),
];

let made: Certificates | undefined;
let broker: BrokerProcess | undefined;
const peers: { reset(): void }[] = [];

beforeAll(async () => {
  if (opensslCommand === null) return;
  made = makeCertificates();
  const secure = { certificate: made.server.cert, key: made.server.key, clientCa: made.ca };
  const files = Object.entries(secure).map(async ([name, pem]) => {
    await writeFile(join(made!.folder, name), pem);
    return [name, join(made!.folder, name)] as const;
  });
  const wss = { url: "wss://127.0.0.1:0/mqtt", ...Object.fromEntries(await Promise.all(files)) };
  const listeners = [{ url: "mqtt://127.0.0.1:0" }, { url: "ws://127.0.0.1:0/mqtt" }, wss];
  await writeFile(join(made.folder, "rqtt.json"), JSON.stringify({ listeners }));
});
afterAll(() => made?.remove());
afterEach(async () => {
  for (const peer of peers.splice(0)) peer.reset();
  expect(await broker?.stop()).toBe(0);
  broker = undefined;
}, TEST_MS);

async function start(settings: Record<string, string | number> = {}): Promise<BrokerProcess> {
  const all = { settings: { "log.level": "error", ...settings } };
  const withFile = made && { listeners: [], flags: ["--config", join(made.folder, "rqtt.json")] };
  broker = await startBroker({ ...all, ...withFile });
  return broker;
}

function openWebSocket(transport: Transport): Promise<WebSocketPeer> {
  if (transport === "WebSocket") return WebSocketPeer.open(broker!.wsUrl);
  const url = broker!.stdoutLines.join(" ").match(/wss:\S+/u)![0];
  return WebSocketPeer.open(url, "mqtt", { tls: { ca: made!.ca, serverName: "localhost", ...made!.good } });
}

async function peer(clientId: string, init: Parameters<TcpPeer["connect"]>[1] = {}): Promise<TcpPeer> {
  const opened = await TcpPeer.open(broker!.tcpUrl);
  peers.push(opened);
  await opened.connect(clientId, init);
  return opened;
}

/** Resident memory of the broker process. */
async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${broker!.pid}/status`, "utf8");
  return Number(/VmRSS:\s*(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** A round trip: everything sent before on this connection has been dealt with. */
async function roundTrip(client: TcpPeer): Promise<void> {
  await client.send({ type: "pingreq" });
  expect((await client.inbox.packet())?.type).toBe("pingresp");
}

function numbered(index: number, bytes = PAYLOAD_BYTES): Uint8Array {
  const payload = new Uint8Array(bytes).fill(index & 0xff);
  new DataView(payload.buffer).setUint32(0, index);
  return payload;
}

function numberOf(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0);
}

/** Receives the numbered messages from..to, acknowledging those of QoS 1. */
async function expectNumbers(client: TcpPeer, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) {
    const packet = await client.inbox.packet(client.level);
    if (packet?.type !== "publish") throw new Error(`got ${packet?.type} instead of message ${index}`);
    expect(Buffer.compare(packet.payload, numbered(index, packet.payload.length))).toBe(0);
    if (packet.qos === 1)
      await client.send({ type: "puback", packetId: packet.packetId!, reasonCode: 0, properties: {} });
  }
}

/** Publishes at QoS 0, never more ahead of the reader than a slow client may be, so that the reader misses nothing. */
async function publishInStep(publisher: TcpPeer, reader: TcpPeer, topicName: string, count: number): Promise<void> {
  const step = 8;
  for (let from = 0; from < count; from += step) {
    for (let index = from; index < from + step; index++)
      await publisher.write(publishBytes(topicName, numbered(index)));
    await expectNumbers(reader, from, from + step);
  }
}

test(
  "QoS 0: subscribers that never read, of all transports, cost bounded memory and slow nobody",
  async () => {
    await start();
    const reader = await peer("reader");
    await reader.subscribe("load", 0);
    const publisher = await peer("publisher");
    await publishInStep(publisher, reader, "load", 160);
    const before = await residentBytes();

    const deaf = await peer("deaf");
    await deaf.subscribe("load", 0);
    deaf.pause();
    for (const transport of transports) if (transport !== "TCP") (await slowReader(transport, 0)).tcp.pause();

    const count = 3200;
    expect(count * PAYLOAD_BYTES).toBeGreaterThanOrEqual(200 * MB);
    await publishInStep(publisher, reader, "load", count);
    expect((await residentBytes()) - before).toBeLessThan(GROWTH_BYTES_MAX);
    await roundTrip(publisher);

    // What was not dropped is whole: the stream goes on with complete packets, in order.
    deaf.resume();
    await deaf.send({ type: "pingreq" });
    let last = -1;
    for (;;) {
      const packet = await deaf.inbox.packet();
      if (packet?.type === "pingresp") break;
      if (packet?.type !== "publish") throw new Error(`got ${packet?.type}`);
      expect(numberOf(packet.payload)).toBeGreaterThan(last);
      last = numberOf(packet.payload);
      expect(Buffer.compare(packet.payload, numbered(last))).toBe(0);
    }
    expect(last).toBeLessThan(count - 1);
  },
  TEST_MS,
);

test(
  "QoS 1: the queue of a subscriber that never reads is bounded, its messages wait in order, others are served",
  async () => {
    await start({ "limits.queueBytesMax": 16 * MB });
    const init = { properties: { sessionExpiryInterval: 1000 } };
    const deaf = await peer("deaf", init);
    await deaf.subscribe("load", 1);
    const reader = await peer("reader");
    await reader.subscribe("load", 1);
    const publisher = await peer("publisher");
    const publish = async (from: number, to: number) => {
      for (let index = from; index < to; index++) {
        await publisher.write(publishBytes("load", numbered(index), 1 + (index % 60_000)));
        await expectNumbers(reader, index, index + 1);
        expect((await publisher.inbox.packet())?.type).toBe("puback");
      }
    };
    deaf.pause();
    // Fills the socket and the queue.
    await publish(0, 800);
    const before = await residentBytes();
    const count = 3200;
    await publish(800, count);
    expect((await residentBytes()) - before).toBeLessThan(GROWTH_BYTES_MAX);

    // The newest were dropped: what comes is the oldest without a gap, as much as the bound holds, then what is new.
    let next = 0;
    const takeUpTo = async (end: "pingresp" | "the new message") => {
      if (end === "pingresp") await deaf.send({ type: "pingreq" });
      for (;;) {
        const packet = await deaf.inbox.packet();
        if (packet?.type === end) return;
        if (packet?.type !== "publish") throw new Error(`got ${packet?.type}`);
        await deaf.send({ type: "puback", packetId: packet.packetId!, reasonCode: 0, properties: {} });
        if (numberOf(packet.payload) === count) return;
        expect(numberOf(packet.payload)).toBe(next++);
      }
    };
    deaf.resume();
    await takeUpTo("pingresp");
    // Now some are acknowledged, so that there is room.
    await takeUpTo("pingresp");
    await publisher.write(publishBytes("load", numbered(count), 1));
    await expectNumbers(reader, count, count + 1);
    expect((await publisher.inbox.packet())?.type).toBe("puback");
    await takeUpTo("the new message");
    expect(next * PAYLOAD_BYTES).toBeGreaterThan(15 * MB);
    expect(next).toBeLessThan(count / 2);
  },
  TEST_MS,
);

/** A subscriber whose reading can be stopped, over either transport. */
interface SlowReader {
  readonly inbox: Inbox;
  readonly tcp: TcpPeer;
  write(bytes: Uint8Array): Promise<void>;
}

async function slowReader(transport: Transport, qos: 0 | 1 = 1): Promise<SlowReader> {
  const webSocket = transport === "TCP" ? undefined : await openWebSocket(transport);
  const tcp = webSocket?.tcp ?? (await TcpPeer.open(broker!.tcpUrl));
  const reader: SlowReader = webSocket ?? { inbox: tcp.inbox, tcp, write: (bytes) => tcp.write(bytes) };
  peers.push(tcp);
  await reader.write(
    frame(0x10, "00 04 4d 51 54 54 04 02 00 00", field(Buffer.from(`slow ${transport}`).toString("hex"))),
  );
  expect((await reader.inbox.packet(4))?.type).toBe("connack");
  await reader.write(frame(0x82, "00 01 00 04 6c 6f 61 64", qos === 0 ? "00" : "01"));
  expect((await reader.inbox.packet(4))?.type).toBe("suback");
  return reader;
}

test.each(transports)(
  "a %s subscriber that reads late gets every QoS 1 byte, through a socket that was full again and again",
  async (transport) => {
    await start({ "limits.queueBytesMax": 64 * MB, "limits.outboundHighWaterBytes": MB });
    const slow = await slowReader(transport);
    slow.tcp.pause();
    const publisher = await peer("publisher");
    const count = 2000;
    // Mostly small ones, so that what waits for the socket is gathered from many pieces.
    const sizeOf = (index: number) => (index % 8 === 7 ? PAYLOAD_BYTES : 4 + ((index * 7919) % 12_000));
    for (let index = 0; index < count; index++) {
      await publisher.write(publishBytes("load", numbered(index, sizeOf(index)), index + 1));
      expect((await publisher.inbox.packet())?.type).toBe("puback");
    }
    for (let index = 0; index < count; index++) {
      // Reading in small sips: the kernel's buffer runs full in between.
      slow.tcp.resume();
      const packet = await slow.inbox.packet(4);
      slow.tcp.pause();
      if (packet?.type !== "publish") throw new Error(`got ${packet?.type} instead of message ${index}`);
      expect(Buffer.compare(packet.payload, numbered(index, sizeOf(index)))).toBe(0);
      await slow.write(Uint8Array.of(0x40, 2, packet.packetId! >> 8, packet.packetId! & 0xff));
    }
    slow.tcp.resume();
    await slow.write(frame(0xc0));
    expect((await slow.inbox.packet(4))?.type).toBe("pingresp");
  },
  TEST_MS,
);

test(
  "a publisher that writes without pause is served in order and costs bounded memory",
  async () => {
    await start({ "limits.queueMessagesMax": 1_000_000 });
    const reader = await peer("reader");
    await reader.subscribe("load", 1);
    const publisher = await peer("publisher");
    const count = 60_000;
    const batch = 500;
    const before = await residentBytes();
    const write = async () => {
      for (let from = 0; from < count; from += batch) {
        const packets = Array.from({ length: batch }, (_, k) => publishBytes("load", numbered(from + k, 1024), 1 + k));
        await publisher.write(Buffer.concat(packets));
        // Within the Receive Maximum: every acknowledgement of a batch before the next.
        for (let k = 0; k < batch; k++) expect((await publisher.inbox.packet())?.type).toBe("puback");
      }
    };
    await Promise.all([write(), expectNumbers(reader, 0, count)]);
    expect((await residentBytes()) - before).toBeLessThan(GROWTH_BYTES_MAX);
  },
  TEST_MS,
);

test.each(transports)(
  "a %s client that asks and never reads the answers is held back at its socket",
  async (transport) => {
    await start();
    const other = await peer("other");
    const greedy = await slowReader(transport);
    greedy.tcp.pause();
    const before = await residentBytes();
    const total = 96 * MB;
    const pings = new Uint8Array(MB);
    for (let at = 0; at < pings.length; at += 2) pings.set([0xc0, 0x00], at);
    let written = 0;
    let done = false;
    const writing = (async () => {
      for (; written < total; written += pings.length) await greedy.write(pings);
      done = true;
    })();
    // Until all is written, or nothing more has been taken during many round trips of another client.
    let idle = 0;
    for (let last = -1; !done && idle < 2000; ) {
      await roundTrip(other);
      const progress = written - greedy.tcp.unsentBytes;
      idle = progress === last ? idle + 1 : 0;
      last = progress;
    }
    expect(done).toBe(false);
    expect((await residentBytes()) - before).toBeLessThan(GROWTH_BYTES_MAX);
    // Reading again lets it go on, to the last answer.
    greedy.tcp.resume();
    for (let answers = 0; answers < total / 2; ) {
      const bytes = await greedy.inbox.take(Math.min(2 * (total / 2 - answers), MB));
      if (bytes === undefined) throw new Error(`ended after ${answers} answers`);
      answers += bytes.length / 2;
    }
    await writing;
    await greedy.write(frame(0xc0));
    expect((await greedy.inbox.packet(4))?.type).toBe("pingresp");
  },
  TEST_MS,
);
