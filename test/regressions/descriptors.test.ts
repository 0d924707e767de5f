/** Newcomers that are turned away hold no descriptor: out of descriptors, accepting would spin. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { startLineProcess } from "../support/line-process.ts";
import { TcpPeer } from "../support/tcp-peer.ts";

const MAIN = join(import.meta.dir, "..", "..", "src", "main.ts");

test("clients beyond limits.connectionsMax that do not hang up cost no descriptor", async () => {
  const flags = "--listen mqtt://127.0.0.1:0 --store memory --set log.level=error --set limits.connectionsMax=5";
  const script = `ulimit -n 104; exec "$0" --no-orphans "$1" ${flags}`;
  const child = startLineProcess(["sh", "-c", script, process.execPath, MAIN]);
  const ready = await child.line((line) => line.startsWith("rqtt ready"));
  const url = ready.split(" ").find((word) => word.startsWith("mqtt://"))!;
  const peers: TcpPeer[] = [];
  for (let at = 0; at < 5; at++) {
    const peer = await TcpPeer.open(url);
    await peer.connect(`c${at}`);
    peers.push(peer);
  }
  const idle = readdirSync(`/proc/${child.pid}/fd`).length;
  let most = 0;
  for (let at = 0; at < 60; at++) {
    // The broker ends it, by FIN or RST; this side stays open.
    const refused = await TcpPeer.open(url).catch(() => undefined);
    if (refused !== undefined) peers.push(refused);
    await refused?.inbox.rest();
    most = Math.max(most, readdirSync(`/proc/${child.pid}/fd`).length);
  }
  for (const peer of peers) peer.reset();
  child.signal("SIGTERM");
  await child.exited;
  expect(most).toBeLessThanOrEqual(idle + 2);
}, 30_000);
