/**
 * The peers rqtt is compared with, and how each is configured.
 *
 * A peer runs as its authors ship it, but for this: it listens on loopback only, lets anybody in, writes nothing to disk, logs
 * nothing but errors, and has no bounds that would make it drop or refuse what a scenario sends. Here mosquitto 2.0.11
 * and aedes 1.2.0 have been tried; the configurations of the others follow their documentation and await a machine that
 * has them. A peer that does not come up or refuses a scenario is told in the report and left out of the table.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import type { Broker, Listener } from "./broker-process.ts";
import { type CertificateFiles, certificateFiles, hasCertificates } from "./certificate.ts";
import type { Transport } from "./wire.ts";

export interface Peer {
  readonly name: string;
  /** Where this machine has it; null: nowhere. */
  find(): string | null;
  broker(path: string): Broker;
}

const VERSION_LIMIT_MS = 5_000;
const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

export const PEERS: readonly Peer[] = [
  { name: "mosquitto", find: () => inPath("mosquitto"), broker: (path) => mosquitto(path) },
  { name: "aedes", find: findRuntimeForAedes, broker: aedes },
  { name: "rumqttd", find: () => inPath("rumqttd"), broker: rumqttd },
  { name: "flashmq", find: () => inPath("flashmq"), broker: flashmq },
  { name: "nanomq", find: () => inPath("nanomq"), broker: nanomq },
];

function inPath(program: string): string | null {
  return Bun.which(program, { PATH: `${process.env["PATH"]}:/usr/local/sbin:/usr/sbin:/sbin` });
}

/** The first number with a dot that the program prints about itself. */
function versionOf(command: readonly string[]): string {
  const { stdout, stderr } = Bun.spawnSync([...command], { stdin: "ignore", timeout: VERSION_LIMIT_MS });
  return `${stdout}${stderr}`.match(/\d+\.\d+(?:\.\d+)*/)?.[0] ?? "of unknown version";
}

function withTls(...transports: readonly Transport[]): Transport[] {
  return hasCertificates() ? [...transports, "tls"] : [...transports];
}

function certificateOf({ transport }: Listener): CertificateFiles | null {
  return transport === "tls" ? certificateFiles() : null;
}

function written(folder: string, name: string, lines: readonly (string | false)[]): string {
  const path = join(folder, name);
  writeFileSync(path, `${lines.filter((line) => line !== false).join("\n")}\n`);
  return path;
}

/** Every change makes it write its whole state, without a sync: as close to "acknowledged is kept" as it can be told to. */
export function mosquittoThatSaves(path: string): Broker {
  return mosquitto(path, "mosquitto, saving every change", [
    "persistence true",
    "autosave_on_changes true",
    "autosave_interval 1",
  ]);
}

function mosquitto(path: string, name = "mosquitto", persistence: readonly string[] = ["persistence false"]): Broker {
  return {
    name,
    version: versionOf([path, "-h"]),
    transports: withTls("tcp", "ws"),
    readyLine: null,
    login: null,
    command: (listener, folder) => {
      const files = certificateOf(listener);
      const lines = [
        // Else it would become another user, who may not read the key.
        process.getuid?.() === 0 && "user root",
        `listener ${listener.port} 127.0.0.1`,
        // 2.0 ends where it listens to nothing but WebSocket.
        listener.transport === "ws" && `protocol websockets\nlistener 0 ${join(folder, "unused.sock")}`,
        files !== null && `certfile ${files.certificate}\nkeyfile ${files.key}`,
        "allow_anonymous true",
        ...persistence,
        "max_inflight_messages 0",
        "max_queued_messages 0",
        "log_type error",
        "log_dest stderr",
      ];
      return [path, "-c", written(folder, "mosquitto.conf", lines)];
    },
  };
}

const AEDES_MANIFEST = resolve(import.meta.dir, "../node_modules/aedes/package.json");

/** Node is what it is written for; Bun runs it too. */
function findRuntimeForAedes(): string | null {
  return existsSync(AEDES_MANIFEST) ? (inPath("node") ?? process.execPath) : null;
}

/** `runtime` is the program that runs it. */
function aedes(runtime: string): Broker {
  if (!existsSync(AEDES_MANIFEST)) throw new Error("aedes is not installed; bun install --frozen-lockfile brings it");
  const { version } = JSON.parse(readFileSync(AEDES_MANIFEST, "utf8")) as { readonly version: string };
  return {
    name: "aedes",
    version: `${version} (${basename(runtime)} ${versionOf([runtime, "--version"])})`,
    transports: withTls("tcp"),
    readyLine: "aedes ready",
    login: null,
    command: (listener) => {
      const files = certificateOf(listener);
      const program = join(import.meta.dir, "aedes-broker.mjs");
      return [runtime, program, String(listener.port), ...(files === null ? [] : [files.certificate, files.key])];
    },
  };
}

function rumqttd(path: string): Broker {
  return {
    name: "rumqttd",
    version: versionOf([path, "--version"]),
    transports: ["tcp", "ws"],
    readyLine: null,
    login: null,
    command: ({ transport, port }, folder) => {
      const server = transport === "ws" ? "ws.1" : "v4.1";
      const lines = [
        "id = 0",
        "[router]",
        "id = 0",
        "max_connections = 20000",
        "max_outgoing_packet_count = 200",
        "max_segment_size = 104857600",
        "max_segment_count = 10",
        `[${server}]`,
        'name = "bench"',
        `listen = "127.0.0.1:${port}"`,
        "next_connection_delay_ms = 1",
        `[${server}.connections]`,
        "connection_timeout_ms = 60000",
        `max_payload_size = ${PAYLOAD_BYTES_MAX}`,
        "max_inflight_count = 1000",
        "dynamic_filters = true",
      ];
      return [path, "--quiet", "--config", written(folder, "rumqttd.toml", lines)];
    },
  };
}

function flashmq(path: string): Broker {
  return {
    name: "flashmq",
    version: versionOf([path, "--version"]),
    transports: withTls("tcp", "ws"),
    readyLine: null,
    login: null,
    command: (listener, folder) => {
      const files = certificateOf(listener);
      const lines = [
        "listen {",
        `  protocol ${listener.transport === "ws" ? "websockets" : "mqtt"}`,
        "  inet_protocol ip4",
        "  inet4_bind_address 127.0.0.1",
        `  port ${listener.port}`,
        files !== null && `  fullchain ${files.certificate}\n  privkey ${files.key}`,
        "}",
        "allow_anonymous true",
        "quiet true",
        `log_file ${join(folder, "flashmq.log")}`,
        "max_qos_msg_pending_per_client 65535",
        "max_qos_bytes_pending_per_client 1073741824",
        "client_max_write_buffer_size 268435456",
      ];
      return [path, "--config-file", written(folder, "flashmq.conf", lines)];
    },
  };
}

function nanomq(path: string): Broker {
  return {
    name: "nanomq",
    version: versionOf([path, "--version"]),
    transports: withTls("tcp", "ws"),
    readyLine: null,
    login: null,
    command: (listener, folder) => {
      const { transport, port } = listener;
      const files = certificateOf(listener);
      const kind = transport === "tls" ? "ssl" : transport;
      const lines = [
        "mqtt { max_packet_size = 256MB, max_mqueue_len = 65535, property_size = 32, retry_interval = 60s }",
        `listeners.${kind} {`,
        `  bind = "127.0.0.1:${port}${transport === "ws" ? "/mqtt" : ""}"`,
        files !== null && `  keyfile = "${files.key}"\n  certfile = "${files.certificate}"\n  verify_peer = false`,
        "}",
        "log { to = [console], level = error }",
        "auth { allow_anonymous = true, no_match = allow }",
      ];
      return [path, "start", "--conf", written(folder, "nanomq.conf", lines)];
    },
  };
}
