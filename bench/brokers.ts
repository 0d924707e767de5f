/**
 * The brokers of a comparison: rqtt from this checkout, and the peers that were asked for or that PATH offers.
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import manifest from "../package.json";
import type { Broker, Listener } from "./broker-process.ts";
import { certificateFiles, hasCertificates } from "./certificate.ts";
import type { Login } from "./packet-bytes.ts";
import { PEERS, type Peer } from "./peers.ts";

/** Lets anybody in; `settings` as `--set` takes them. */
export function rqtt(settings: readonly string[] = []): Broker {
  const flags = settings.flatMap((setting) => ["--set", setting]);
  return rqttWith("rqtt", () => flags, null);
}

/** `configure` writes what files it needs and answers the flags that name them; over TCP and WebSocket only. */
export function rqttWith(
  name: string,
  configure: (folder: string) => string[],
  login: Login | null,
  store = "memory",
): Broker {
  const main = resolve(import.meta.dir, "../src/main.ts");
  return {
    name,
    version: manifest.version,
    transports: hasCertificates() ? ["tcp", "ws", "tls"] : ["tcp", "ws"],
    readyLine: "rqtt ready",
    login,
    command: (listener, folder) => {
      const flags = [...listening(listener, folder), "--store", store, ...configure(folder)];
      return [process.execPath, main, ...flags];
    },
  };
}

function listening({ transport, port }: Listener, folder: string): string[] {
  if (transport === "tcp") return ["--listen", `mqtt://127.0.0.1:${port}`];
  if (transport === "ws") return ["--listen", `ws://127.0.0.1:${port}/mqtt`];
  const { certificate, key } = certificateFiles();
  const path = join(folder, "listeners.toml");
  const listener = [`url = "mqtts://127.0.0.1:${port}"`, `certificate = "${certificate}"`, `key = "${key}"`];
  writeFileSync(path, `[[listeners]]\n${listener.join("\n")}\n`);
  return ["--config", path];
}

/**
 * The peers asked for, each as `name` or `name=path`, one of them several times if need be; with none asked for, and for
 * `all`, those that PATH offers. A peer that was asked for and is not there is an error; `none` asks for no peer.
 */
export function findPeers(wanted: readonly string[]): Broker[] {
  const requests = wanted.length === 0 ? ["all"] : wanted.filter((request) => request !== "none");
  return requests.flatMap((request) => (request === "all" ? PEERS.flatMap(installed) : [findPeer(request)]));
}

function findPeer(request: string): Broker {
  const [name, path] = request.split("=", 2);
  const peer = PEERS.find((known) => known.name === name);
  if (peer === undefined) throw new Error(`no peer is named ${name}; known: ${PEERS.map((known) => known.name)}`);
  if (path !== undefined) return peer.broker(resolve(path));
  const [broker] = installed(peer);
  if (broker === undefined) throw new Error(`${name} was not found; to say where it is: --peer ${name}=PATH`);
  return broker;
}

function installed(peer: Peer): Broker[] {
  const path = peer.find();
  return path === null ? [] : [peer.broker(path)];
}
