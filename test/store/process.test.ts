/**
 * A real broker on a real disk: what it says of its store, what is there after SIGKILL, and what keeps it from starting.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt, { type MqttClient } from "mqtt";
import { type LineProcess, startLineProcess } from "../support/line-process.ts";
import { ROOT } from "../support/repository.ts";

setDefaultTimeout(30_000);

const MAIN = join(ROOT, "src", "main.ts");
const root = mkdtempSync(join(tmpdir(), "rqtt-store-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

function newFolder(): string {
  const folder = join(root, String(++folders));
  rmSync(folder, { recursive: true, force: true });
  return mkdtempSync(`${folder}-`);
}

function start(cwd: string, ...argv: string[]): LineProcess {
  const command = [process.execPath, "--no-orphans", MAIN, "--listen", "mqtt://127.0.0.1:0", ...argv];
  return startLineProcess(command, { cwd });
}

async function ready(cwd: string, ...argv: string[]): Promise<{ child: LineProcess; url: string }> {
  const child = start(cwd, ...argv);
  const line = await child.line((text) => text.startsWith("rqtt ready"));
  return { child, url: line.split(" ")[2]! };
}

async function end(child: LineProcess, signal: "SIGKILL" | "SIGTERM"): Promise<number> {
  child.signal(signal);
  return child.exited;
}

/** MQTT.js with a session that stays. */
function kept(url: string): Promise<MqttClient> {
  const options = { clientId: "kept", clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 3600 } };
  return mqtt.connectAsync(url, { ...options, protocolVersion: 5, reconnectPeriod: 0 });
}

/** Resolves with the texts of the first `count` messages. */
function texts(client: MqttClient, count: number): Promise<string[]> {
  const seen: string[] = [];
  return new Promise((resolve) => {
    client.on("message", (_topicName, payload) => {
      if (seen.push(payload.toString()) === count) resolve(seen);
    });
  });
}

describe("with nothing configured", () => {
  test("sessions, messages and retained messages survive SIGKILL; files are for their owner alone", async () => {
    const folder = newFolder();
    const first = await ready(folder);
    expect(await first.child.line((line) => line.includes(" kept in "))).toInclude("acknowledged means on disk");
    const subscriber = await kept(first.url);
    await subscriber.subscribeAsync("t/#", { qos: 2 });
    await subscriber.endAsync();
    const publisher = await mqtt.connectAsync(first.url, { reconnectPeriod: 0 });
    publisher.on("error", () => {});
    await publisher.publishAsync("t/1", "one", { qos: 1 });
    await publisher.publishAsync("t/2", "two", { qos: 2 });
    await publisher.publishAsync("r", "retained", { qos: 1, retain: true });
    await end(first.child, "SIGKILL");
    publisher.end(true);

    const files = readdirSync(join(folder, "data"));
    expect(statSync(join(folder, "data")).mode & 0o777).toBe(0o700);
    for (const name of files) expect(statSync(join(folder, "data", name)).mode & 0o777).toBe(0o600);

    const second = await ready(folder);
    expect(second.child.stderr()).toInclude("store-loaded sessions=1 retained=1");
    // Connected by hand, so that nothing comes before somebody listens.
    const back = mqtt.connect(second.url, {
      clientId: "kept",
      clean: false,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 3600 },
      reconnectPeriod: 0,
    });
    expect(await texts(back, 2)).toEqual(["one", "two"]);
    const late = await mqtt.connectAsync(second.url, { reconnectPeriod: 0 });
    const heard = texts(late, 1);
    await late.subscribeAsync("r");
    expect(await heard).toEqual(["retained"]);
    await Promise.all([back.endAsync(), late.endAsync()]);
    expect(await end(second.child, "SIGTERM")).toBe(0);
  });

  test("a client is told what an acknowledgement promises, by its listener", async () => {
    const folder = newFolder();
    writeFileSync(
      join(folder, "rqtt.toml"),
      [
        'durability = "written"',
        '[[listeners]]\nurl = "mqtt://127.0.0.1:0"',
        '[[listeners]]\nurl = "ws://127.0.0.1:0/mqtt"\ndurability = "memory"',
      ].join("\n"),
    );
    const child = startLineProcess([process.execPath, "--no-orphans", MAIN, "--config", "rqtt.toml"], { cwd: folder });
    const line = await child.line((text) => text.startsWith("rqtt ready"));
    const told = await Promise.all(
      line
        .split(" ")
        .slice(2)
        .map(
          (url) =>
            new Promise((resolve) => {
              const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 0 });
              client.once("connect", ({ properties }) => {
                resolve({ ...properties?.userProperties });
                client.end(true);
              });
            }),
        ),
    );
    expect(told).toEqual([{ durability: "written" }, { durability: "memory" }]);
    await end(child, "SIGTERM");
  });

  test("--store memory leaves nothing behind", async () => {
    const folder = newFolder();
    const { child } = await ready(folder, "--store", "memory");
    await end(child, "SIGTERM");
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("what keeps a broker from starting", () => {
  test("another broker that has the folder; it is free as soon as that one is gone", async () => {
    const folder = newFolder();
    const first = await ready(folder);
    const second = start(folder);
    expect(await second.exited).toBe(1);
    expect(second.stderr()).toMatch(/^rqtt: store: .*is in use by another broker/mu);
    await end(first.child, "SIGKILL");
    const third = await ready(folder);
    await end(third.child, "SIGTERM");
  });

  test("a store that is no store; set aside, it is there to be looked at, and an empty one takes its place", async () => {
    const folder = newFolder();
    await end((await ready(folder)).child, "SIGTERM");
    writeFileSync(
      join(folder, "data", "store.db"),
      "not a database at all, but long enough to look like one".repeat(200),
    );
    const refused = start(folder);
    expect(await refused.exited).toBe(1);
    expect(refused.stderr()).toMatch(/^rqtt: store: /mu);
    const { child } = await ready(folder, "--set", "damagedStore=set-aside");
    expect(child.stderr()).toInclude("store-set-aside");
    await end(child, "SIGTERM");
    expect(readdirSync(join(folder, "data")).some((name) => name.startsWith("corrupt-"))).toBe(true);
  });

  test("a folder that others may look into", async () => {
    const folder = newFolder();
    await end((await ready(folder)).child, "SIGTERM");
    const data = join(folder, "data");
    Bun.spawnSync(["chmod", "755", data]);
    const refused = start(folder);
    expect(await refused.exited).toBe(1);
    expect(refused.stderr()).toInclude("chmod");
  });
});
