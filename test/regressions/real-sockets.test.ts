/**
 * Bounds that only a real process shows: descriptors, memory of many slow readers, the time a slow reader is given, frames that
 * strangers may have under way.
 */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createBroker, type RunningBroker } from "rqtt";
import { type BrokerProcess, brokerUnderTest, startBroker } from "../support/broker-process.ts";
import { type LineProcess, startLineProcess } from "../support/line-process.ts";
import { publishBytes, TcpPeer } from "../support/tcp-peer.ts";
import { Opcode, WebSocketPeer } from "../support/websocket-peer.ts";
import { toBytes } from "../support/world.ts";

setDefaultTimeout(60_000);

const MB = 1024 * 1024;
const MAIN = join(import.meta.dir, "..", "..", "src", "main.ts");
/** MQTT 3.1.1, Clean Session, client id "c". */
const CONNECT = Uint8Array.of(0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 1, 0x63);
const isRqtt = brokerUnderTest === "rqtt";

const running: { stop(): Promise<unknown> }[] = [];
const peers: { reset(): void }[] = [];

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.reset();
  for (const one of running.splice(0)) await one.stop();
});

async function start(settings: Record<string, string | number> = {}): Promise<BrokerProcess> {
  const broker = await startBroker({ settings: { "log.level": "error", "sys.intervalMs": 0, ...settings } });
  running.push(broker);
  return broker;
}

async function open(url: string): Promise<TcpPeer> {
  const peer = await TcpPeer.open(url);
  peers.push(peer);
  return peer;
}

/** A peer whose CONNECT was accepted. */
async function connect(url: string, clientId: string, init: Parameters<TcpPeer["connect"]>[1] = {}): Promise<TcpPeer> {
  const peer = await open(url);
  await peer.connect(clientId, init);
  return peer;
}

async function roundTrip(client: TcpPeer): Promise<void> {
  await client.send({ type: "pingreq" });
  expect((await client.inbox.packet())?.type).toBe("pingresp");
}

/** A line of /proc/PID/status in bytes: VmRSS, or VmHWM for the most there ever was. */
function memory(pid: number, what: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`${what}:\\s*(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

/** A broker of this very configuration that may have so many descriptors. */
async function startWithDescriptors(count: number, connectionsMax: number): Promise<[LineProcess, string]> {
  const flags = `--listen mqtt://127.0.0.1:0 --store memory --set log.level=error --set limits.connectionsMax=${connectionsMax}`;
  const script = `ulimit -n ${count}; exec "$0" --no-orphans "$1" ${flags}`;
  const child = startLineProcess(["sh", "-c", script, process.execPath, MAIN], { cwd: join(import.meta.dir, "..") });
  running.push({
    stop: () => {
      child.signal("SIGTERM");
      return child.exited;
    },
  });
  const ready = await child.line((line) => line.startsWith("rqtt ready"));
  return [child, ready.split(" ").find((word) => word.startsWith("mqtt://"))!];
}

/** Whether a newcomer's CONNECT is answered; one too many is cut at once, which its socket may hear of in any way. */
async function isServed(url: string): Promise<boolean> {
  try {
    const newcomer = await open(url);
    await newcomer.write(CONNECT);
    const answer = await newcomer.inbox.take(4);
    newcomer.close();
    return answer !== undefined;
  } catch {
    return false;
  }
}

test.skipIf(!isRqtt)("limits.connectionsMax is lowered to what the process has descriptors for", async () => {
  const descriptors = 104;
  const reserve = 64;
  const [child, url] = await startWithDescriptors(descriptors, 100_000);
  const clients: TcpPeer[] = [];
  for (let at = 0; at < descriptors - reserve; at++) clients.push(await connect(url, `c${at}`));
  expect(await isServed(url)).toBe(false);
  for (const client of clients) await roundTrip(client);
  expect(readdirSync(`/proc/${child.pid}/fd`).length).toBeLessThan(descriptors);
  // One that leaves makes room for another one.
  clients[0]!.reset();
  while (!(await isServed(url)));
});

test.skipIf(!isRqtt)("limits.connectionsMax stays where descriptors are plenty", async () => {
  const [, url] = await startWithDescriptors(1024, 3);
  for (let at = 0; at < 3; at++) await connect(url, `c${at}`);
  expect(await isServed(url)).toBe(false);
});

test.skipIf(!isRqtt)("a large message for many readers that have stopped is in memory once", async () => {
  const broker = await start({ "limits.packetBytesMax": 20 * MB, "limits.queueBytesMax": 64 * MB });
  const payload = new Uint8Array(16 * MB);
  for (let at = 0; at < payload.length; at += 4096) payload[at] = at >> 12;
  const readers: TcpPeer[] = [];
  for (let at = 0; at < 20; at++) {
    const reader = await connect(broker.tcpUrl, `r${at}`);
    await reader.subscribe("a", 1);
    reader.pause();
    readers.push(reader);
  }
  const publisher = await connect(broker.tcpUrl, "publisher");
  const before = memory(broker.pid, "VmRSS");
  await publisher.write(publishBytes("a", payload, 1));
  expect((await publisher.inbox.packet())?.type).toBe("puback");
  expect(memory(broker.pid, "VmHWM") - before).toBeLessThan(8 * payload.length);
  for (const reader of readers.slice(0, 3)) {
    reader.resume();
    const packet = await reader.inbox.packet();
    if (packet?.type !== "publish") throw new Error(`got ${packet?.type}`);
    expect(Buffer.compare(packet.payload, payload)).toBe(0);
  }
});

test.skipIf(!isRqtt)(
  "a reader that takes a sip within every keep alive is not cut off, though its PINGREQ is not read",
  async () => {
    const broker = await start({ "limits.packetBytesMax": 40 * MB, "limits.queueBytesMax": 64 * MB });
    const slow = await connect(broker.tcpUrl, "slow", { keepAlive: 2 });
    await slow.subscribe("a", 1);
    slow.pause();
    const publisher = await connect(broker.tcpUrl, "publisher");
    const message = publishBytes("a", new Uint8Array(32 * MB), 1);
    await publisher.write(message);
    expect((await publisher.inbox.packet())?.type).toBe("puback");
    let taken = 0;
    const take = async (count: number): Promise<void> => {
      if ((await slow.inbox.take(count)) === undefined) throw new Error("the slow reader was cut off");
      taken += count;
    };
    const arrivedBefore = slow.inbox.arrivedBytes;
    // Clients that say nothing are the clock: each is cut off after 1.5 seconds, twice as soon as the slow one would be.
    for (let sip = 0; sip < 3; sip++) {
      const silent = await connect(broker.tcpUrl, "silent", { keepAlive: 1 });
      slow.resume();
      await take(slow.inbox.arrivedBytes - arrivedBefore - taken + 3 * MB);
      slow.pause();
      expect(await silent.inbox.packet()).toMatchObject({ type: "disconnect", reasonCode: 0x8d });
      silent.close();
    }
    // What the broker still holds is more than the low water mark.
    expect(slow.inbox.arrivedBytes - arrivedBefore).toBeLessThan(16 * MB);
    slow.resume();
    await take(message.length - taken);
    await roundTrip(slow);
  },
);

test("frames of strangers are bounded in all: beyond it an upgrade is answered with 503 until one of them has logged in", async () => {
  const logged: string[] = [];
  const broker: RunningBroker = await createBroker({
    listeners: ["ws://127.0.0.1:0/mqtt"],
    // Three frames of such a size fit into a gigabyte, four do not.
    limits: { packetBytesMax: 256 * MB },
    sysIntervalMs: 0,
    log: { write: (_level, event) => void logged.push(event) },
  });
  running.push({ stop: () => broker.close() });
  const url = broker.urls[0]!;
  const upgrade = async (): Promise<WebSocketPeer> => {
    const peer = await WebSocketPeer.open(url);
    peers.push(peer);
    return peer;
  };
  const strangers = [await upgrade(), await upgrade(), await upgrade()];
  expect(strangers.map(({ handshake }) => handshake.status)).toEqual([101, 101, 101]);
  expect((await upgrade()).handshake.status).toBe(503);
  await strangers[0]!.write(CONNECT);
  expect((await strangers[0]!.inbox.packet(4))?.type).toBe("connack");
  const next = await upgrade();
  expect(next.handshake.status).toBe(101);
  // A text frame is refused, and the operator is told.
  await next.frame(Opcode.text, toBytes("hello"));
  expect(await next.closed).toBe(1003);
  expect(logged).toEqual(["text-frame"]);
});
