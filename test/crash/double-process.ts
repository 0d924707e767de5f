/**
 * The double as a program with the flags of rqtt, which keeps its state: the smallest broker that survives kills and power losses, for
 * trying the judges on a broker that is known to be right, and known to be wrong with `--set durability=written`, `late` or `memory`.
 *
 * It writes every read of every connection to a log, and syncs that, before it looks at it; a start does all of it again. Slow, and
 * its log only grows.
 */
import { appendFileSync, fdatasyncSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Socket } from "bun";
import { DoubleBroker, DoubleLink } from "./double-broker.ts";

const OPENED = 1;
const RECEIVED = 2;
const CLOSED = 3;
const STARTED = 4;
/** By then the answer has left. */
const LATE_MS = 5;
/** Kind, connection, length, checksum of the bytes. */
const HEAD_BYTES = 13;

const { values } = parseArgs({
  options: {
    listen: { type: "string", default: "mqtt://127.0.0.1:0" },
    store: { type: "string", default: "memory" },
    set: { type: "string", default: "durability=fsync" },
  },
});
const durability = values.store === "memory" ? "memory" : values.set.replace("durability=", "");
const broker = new DoubleBroker();
const log = durability === "memory" ? null : openLog(values.store);
let connections = 0;

function openLog(folder: string): number {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "double.log");
  appendFileSync(path, "");
  replay(readFileSync(path));
  return openSync(path, "a");
}

/** Up to the first record that is not whole; then nobody is connected any more. */
function replay(bytes: Buffer): void {
  const links = new Map<number, DoubleLink>();
  replayInto(links, bytes);
  for (const link of links.values()) link.closed();
}

function replayInto(links: Map<number, DoubleLink>, bytes: Buffer): void {
  let at = 0;
  while (at + HEAD_BYTES <= bytes.length) {
    const kind = bytes.readUInt8(at);
    const connection = bytes.readUInt32BE(at + 1);
    const end = at + HEAD_BYTES + bytes.readUInt32BE(at + 5);
    const body = bytes.subarray(at + HEAD_BYTES, end);
    if (end > bytes.length || Bun.hash.crc32(body) !== bytes.readUInt32BE(at + 9)) return;
    if (kind === OPENED) links.set(connection, new DoubleLink(broker, nothing, nothing));
    else if (kind === RECEIVED) links.get(connection)?.receive(body);
    else if (kind === CLOSED) links.get(connection)?.closed();
    else for (const link of links.values()) link.closed();
    at = end;
  }
}

function record(kind: number, connection: number, body: Uint8Array = new Uint8Array()): void {
  if (log === null) return;
  const bytes = Buffer.alloc(HEAD_BYTES + body.length);
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt32BE(connection, 1);
  bytes.writeUInt32BE(body.length, 5);
  bytes.writeUInt32BE(Bun.hash.crc32(body), 9);
  bytes.set(body, HEAD_BYTES);
  writeSync(log, bytes);
  if (durability === "fsync") fdatasyncSync(log);
  if (durability === "late") setTimeout(() => fdatasyncSync(log), LATE_MS);
}

function nothing(): void {}

interface Line {
  readonly connection: number;
  readonly link: DoubleLink;
  backlog: Uint8Array[];
}

function send(socket: Socket<Line>, bytes: Uint8Array): void {
  const { backlog } = socket.data;
  const taken = backlog.length > 0 ? 0 : Math.max(socket.write(bytes), 0);
  if (taken < bytes.length) backlog.push(bytes.slice(taken));
}

record(STARTED, 0);
const { hostname, port } = new URL(values.listen);
Bun.listen<Line>({
  hostname,
  port: Number(port),
  socket: {
    open: (socket) => {
      const close = (): void => void socket.end();
      const link = new DoubleLink(broker, (bytes) => send(socket, bytes), close);
      socket.data = { connection: ++connections, link, backlog: [] };
      record(OPENED, connections);
    },
    data: (socket, chunk) => {
      record(RECEIVED, socket.data.connection, chunk);
      socket.data.link.receive(chunk);
    },
    drain: (socket) => {
      const { backlog } = socket.data;
      socket.data.backlog = [];
      for (const bytes of backlog) send(socket, bytes);
    },
    close: (socket) => {
      record(CLOSED, socket.data.connection);
      socket.data.link.closed();
    },
  },
});
console.log(`rqtt ready ${values.listen}`);
