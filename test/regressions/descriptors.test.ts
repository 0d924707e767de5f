/** Newcomers that are turned away hold no descriptor: out of descriptors, accepting would spin. */
import { expect, test } from "bun:test";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates, opensslCommand } from "../support/certificates.ts";
import { startLineProcess } from "../support/line-process.ts";
import { TcpPeer } from "../support/tcp-peer.ts";
import { WebSocketPeer } from "../support/websocket-peer.ts";

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

const missing = opensslCommand === null ? ": the openssl command is not installed" : "";

test.skipIf(missing !== "")(
  `a client that is relayed has three descriptors, and counts for as many${missing}`,
  async () => {
    const made = makeCertificates();
    const clients: WebSocketPeer[] = [];
    try {
      const path = (name: string) => join(made.folder, name);
      const listener = { url: "wss://127.0.0.1:0", certificate: path("server.pem"), key: path("server.key") };
      writeFileSync(path("rqtt.json"), JSON.stringify({ listeners: [{ ...listener, clientCa: path("ca.pem") }] }));
      const script = `ulimit -n 124; exec "$0" --no-orphans "$1" --config "$2" --store memory --set log.level=error`;
      const child = startLineProcess(["sh", "-c", script, process.execPath, MAIN, path("rqtt.json")]);
      const ready = await child.line((line) => line.startsWith("rqtt ready"));
      const url = ready.split(" ").find((word) => word.startsWith("wss://"))!;
      const upgrade = { tls: { ca: made.ca, serverName: "localhost", ...made.good } };
      let most = 0;
      let refused = 0;
      for (let at = 0; at < 60; at++) {
        const client = await WebSocketPeer.open(url, "mqtt", upgrade).catch(() => undefined);
        if (client === undefined) refused++;
        else clients.push(client);
        most = Math.max(most, readdirSync(`/proc/${child.pid}/fd`).length);
      }
      // A third of what 64 for other purposes leave over.
      expect([clients.length, refused]).toEqual([20, 40]);
      expect(most).toBeLessThan(124);
      child.signal("SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      for (const client of clients) client.reset();
      made.remove();
    }
  },
  30_000,
);
