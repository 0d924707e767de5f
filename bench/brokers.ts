/**
 * The brokers a comparison knows: rqtt from this checkout, and each peer that this machine offers.
 *
 * A peer runs as its authors ship it, but for three things: it listens on loopback only, lets anybody in, and has no
 * bounds that would make it drop messages. Nothing is written to disk and nothing is logged, by any of them.
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import manifest from "../package.json";
import type { Broker } from "./broker-process.ts";
import type { Login } from "./packet-bytes.ts";

interface Peer {
  readonly name: string;
  readonly program: string;
  broker(path: string): Broker;
}

const PEERS: readonly Peer[] = [{ name: "mosquitto", program: "mosquitto", broker: mosquitto }];

/** Lets anybody in. */
export function rqtt(): Broker {
  return rqttWith("rqtt", () => [], null);
}

/** `configure` writes what files it needs and answers the flags that name them. */
export function rqttWith(name: string, configure: (folder: string) => string[], login: Login | null): Broker {
  const main = resolve(import.meta.dir, "../src/main.ts");
  return {
    name,
    version: manifest.version,
    readyLine: "rqtt ready",
    login,
    command: (port, folder) => {
      const listen = ["--listen", `mqtt://127.0.0.1:${port}`, "--store", "memory"];
      return [process.execPath, main, ...listen, ...configure(folder)];
    },
  };
}

/**
 * The peers asked for, each as `name` or `name=path`; with none asked for, all that PATH offers. A peer that was asked
 * for and is not there is an error; `none` asks for no peer.
 */
export function findPeers(wanted: readonly string[]): Broker[] {
  if (wanted.length === 0) return PEERS.flatMap((peer) => installed(peer) ?? []);
  return wanted.filter((request) => request !== "none").map(findPeer);
}

function findPeer(request: string): Broker {
  const [name, path] = request.split("=", 2);
  const peer = PEERS.find((known) => known.name === name);
  if (peer === undefined) throw new Error(`no peer is named ${name}; known: ${PEERS.map((known) => known.name)}`);
  const broker = path === undefined ? installed(peer) : peer.broker(resolve(path));
  if (broker === null) throw new Error(`${peer.program} was not found in PATH`);
  return broker;
}

function installed(peer: Peer): Broker | null {
  const path = Bun.which(peer.program, { PATH: `${process.env["PATH"]}:/usr/local/sbin:/usr/sbin:/sbin` });
  return path === null ? null : peer.broker(path);
}

function mosquitto(path: string): Broker {
  const help = Bun.spawnSync([path, "-h"]).stdout.toString();
  return {
    name: "mosquitto",
    version: help.match(/mosquitto version (\S+)/)?.[1] ?? "unknown",
    readyLine: null,
    login: null,
    command: (port, folder) => {
      const configPath = join(folder, "mosquitto.conf");
      const lines = [
        `listener ${port} 127.0.0.1`,
        "allow_anonymous true",
        "persistence false",
        "max_inflight_messages 0",
        "max_queued_messages 0",
        "log_type none",
      ];
      writeFileSync(configPath, `${lines.join("\n")}\n`);
      return [path, "-c", configPath];
    },
  };
}
