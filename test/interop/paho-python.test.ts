/**
 * Paho Python against the broker process: version 1.6 (Debian's python3-paho-mqtt) and, when RQTT_PAHO2_PATH names a folder that has
 * it (`pip install --target FOLDER paho-mqtt`), version 2. The scripts in paho/ act and print; the judgement is here.
 *
 * Sections: 3.1.2.5 (Will), 3.3.1.3 (RETAIN), 3.3.2.3, 3.8.3.1, 3.14, 4.1 (Session State), 4.3 (QoS), 4.8.2, 6 (WebSocket).
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type BrokerProcess, brokerUnderTest, startBroker } from "../support/broker-process.ts";
import { type LineProcess, startLineProcess } from "../support/line-process.ts";
import { runSuite, TEST_MS, uniqueName } from "./suite.ts";

interface PahoTarget {
  readonly name: string;
  readonly version: "3.1" | "3.1.1" | "5";
  readonly transport: "tcp" | "websockets";
  /** Put before Python's own search path; empty: the interpreter's own Paho. */
  readonly pythonPath: string;
}

/** One line of a script. */
type Said = Readonly<Record<string, unknown>>;

const PYTHON = process.env["RQTT_PYTHON"] ?? "/usr/bin/python3";
const SCRIPTS = join(import.meta.dir, "paho");
const PAHO2_PATH = process.env["RQTT_PAHO2_PATH"] ?? "";
const PROTOCOLS = [
  ["3.1", "tcp"],
  ["3.1.1", "tcp"],
  ["3.1.1", "websockets"],
  ["5", "tcp"],
  ["5", "websockets"],
] as const;

function pythonEnvironment(pythonPath: string): Record<string, string | undefined> {
  return { ...process.env, PYTHONPATH: pythonPath, PYTHONDONTWRITEBYTECODE: "1", PYTHONIOENCODING: "utf-8" };
}

/** Undefined when the major version of Paho can be imported, else why not. */
function missingPaho(major: string, pythonPath: string): string | undefined {
  if (Bun.which(PYTHON) === null) return `${PYTHON} not installed`;
  const { stdout, exitCode } = Bun.spawnSync([PYTHON, "-c", "import paho.mqtt as m; print(m.__version__)"], {
    env: pythonEnvironment(pythonPath),
  });
  if (exitCode !== 0) return `${PYTHON} has no Paho (Debian: python3-paho-mqtt)`;
  const version = stdout.toString().trim();
  return version.startsWith(`${major}.`) ? undefined : `found Paho ${version}, not ${major}`;
}

function targetsWith(pythonPath: string): readonly PahoTarget[] {
  return PROTOCOLS.map(([version, transport]) => ({
    name: `MQTT ${version} over ${transport === "tcp" ? "TCP" : "WebSocket"}`,
    version,
    transport,
    pythonPath,
  }));
}

const onlyV5 = (target: PahoTarget): boolean => target.version === "5";
const missing1 = missingPaho("1", "");
const missing2 = PAHO2_PATH === "" ? "RQTT_PAHO2_PATH is not set" : missingPaho("2", PAHO2_PATH);

for (const [client, targets, missing] of [
  ["Paho Python 1.6", targetsWith(""), missing1],
  ["Paho Python 2", targetsWith(PAHO2_PATH), missing2],
] as const) {
  runSuite<PahoTarget>({
    client,
    targets,
    missing,
    afterEachTest: endScripts,
    scenarios: [
      { name: "delivers at the lower of the published and the granted QoS, each once", run: roundTrip },
      { name: "sets, replaces and deletes a retained message", run: retained },
      { name: "publishes the Will of a killed process and of a cut connection, and only then", run: will },
      { name: "delivers to a resumed session what was published while it was away", run: resume },
      { name: "carries 1 MB unchanged at every QoS", run: largePayload },
      { name: "shares a subscription between three clients", run: shared, where: onlyV5 },
      { name: "carries properties, subscription options and Topic Aliases", run: properties, where: onlyV5 },
      {
        name: "is told by DISCONNECT 0x8E that its session was taken over",
        run: takeOver,
        where: onlyV5,
        mosquitto: "closes the older connection without a DISCONNECT",
      },
    ],
  });
  describe(`${client}, SIGTERM`, () => {
    // mosquitto 2.0.11 closes the connections without a DISCONNECT.
    test.skipIf(missing !== undefined || brokerUnderTest === "mosquitto")(
      "is told by DISCONNECT 0x8B that the broker stops",
      () => shutdown(targets),
      TEST_MS,
    );
  });
}

const open = new Set<LineProcess>();

function startScript(
  name: string,
  broker: BrokerProcess,
  target: PahoTarget,
  topicName: string = uniqueName(name),
): LineProcess {
  const port = target.transport === "tcp" ? broker.tcpPort : broker.wsPort;
  const flags = ["--port", String(port), "--version", target.version, "--transport", target.transport];
  const command = [PYTHON, join(SCRIPTS, `${name}.py`), ...flags, "--topic", topicName];
  const child = startLineProcess(command, { env: pythonEnvironment(target.pythonPath) });
  open.add(child);
  return child;
}

async function endScripts(): Promise<void> {
  const children = [...open];
  open.clear();
  for (const child of children) child.signal("SIGKILL");
  await Promise.all(children.map((child) => child.exited));
}

/** Runs a script to its end and answers with the lines it printed. */
async function runScript(name: string, broker: BrokerProcess, target: PahoTarget): Promise<readonly Said[]> {
  return result(startScript(name, broker, target));
}

async function result(script: LineProcess): Promise<readonly Said[]> {
  const code = await script.exited;
  if (code !== 0) throw new Error(`ended with code ${code}\n${script.lines.join("\n")}\n${script.stderr()}`);
  return script.lines.map((line) => JSON.parse(line));
}

async function roundTrip(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const said = await runScript("round-trip", broker, target);
  const steps = said.slice(0, 12);
  for (const granted of [0, 1, 2]) {
    expect(steps[granted * 4]).toEqual({ granted: [granted] });
    for (const published of [0, 1, 2]) {
      expect(steps[granted * 4 + 1 + published]).toMatchObject({
        payload: `sent at ${published}`,
        qos: Math.min(granted, published),
        retain: false,
        dup: false,
      });
    }
  }
  expect(said[12]).toEqual({ many: Array.from({ length: 100 }, (_, n) => String(n)) });
  expect(said[13]).toMatchObject({ payload: "end", qos: 1 });
  expect(said[14]).toEqual({ left: 0 });
}

async function retained(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const said = await runScript("retained", broker, target);
  const expected = ["first", "second", ""].flatMap((payload) => [
    { live: { payload, retain: false } },
    { late: [...(payload === "" ? [] : [[payload, true]]), ["marker", false]] },
  ]);
  expect(said).toMatchObject(expected);
}

async function will(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const topicName = uniqueName("will");
  const watcher = startScript("will", broker, target, topicName);
  await watcher.line((line) => line.includes("watching"));
  const doomed = startScript("stay", broker, target, topicName);
  await doomed.line((line) => line.includes("connected"));
  doomed.signal("SIGKILL");
  expect(await result(watcher)).toMatchObject([
    { watching: true },
    { payload: "killed", qos: 1, retain: false },
    { payload: "cut", qos: 1, retain: false },
    { payload: "killed", qos: 1, retain: true },
    { watched: 2 },
  ]);
}

async function resume(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const said = await runScript("resume", broker, target);
  // MQTT 3.1 has no Session Present.
  const present = target.version !== "3.1";
  expect(said.slice(0, 2)).toEqual([{ session_present: false }, { session_present: present }]);
  const queued = said.slice(2, 32);
  for (const qos of [1, 2]) {
    const payloads = queued.filter((message) => message["qos"] === qos).map((message) => message["payload"]);
    expect(payloads).toEqual(Array.from({ length: 15 }, (_, n) => `queued ${2 * n + qos - 1}`));
  }
  expect(said.slice(32)).toMatchObject([
    { payload: "live", qos: 2 },
    { session_present: present },
    { payload: "after the cut", qos: 2 },
    { session_present: false },
  ]);
}

async function largePayload(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const expected = [0, 1, 2].map((qos) => ({ qos, length: 1024 * 1024, same: true }));
  expect(await runScript("large-payload", broker, target)).toEqual(expected);
}

async function shared(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const [whole, members, rest] = await runScript("shared", broker, target);
  const payloads = Array.from({ length: 30 }, (_, n) => String(n));
  expect(whole).toEqual({ whole: payloads });
  expect((members!["members"] as string[][]).flat().sort()).toEqual([...payloads].sort());
  expect((rest!["rest"] as string[][]).flat().sort()).toEqual(["left 0", "left 1", "left 2", "left 3"]);
}

async function properties(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const said = await runScript("properties", broker, target);
  const { MessageExpiryInterval: remaining, ...rest } = said[0]!["properties"] as Said;
  expect(remaining).toBeGreaterThan(0);
  expect(remaining).toBeLessThanOrEqual(3600);
  expect(rest).toEqual({
    ContentType: "text/plain",
    ResponseTopic: `${said[0]!["topic"]}/response`,
    CorrelationData: "00ff",
    PayloadFormatIndicator: 1,
    SubscriptionIdentifier: [1234],
    UserProperty: [
      ["name", "first"],
      ["name", "second"],
      ["größe", "µ"],
    ],
  });
  expect(said).toMatchObject([
    { payload: "with properties", qos: 2, retain: true },
    { payload: "alias by name", topic: said[0]!["topic"], qos: 1, retain: false },
    { payload: "alias alone", topic: said[0]!["topic"], qos: 1, retain: false },
  ]);
}

async function takeOver(broker: BrokerProcess, target: PahoTarget): Promise<void> {
  const topicName = uniqueName("takeover");
  const older = startScript("stay", broker, target, topicName);
  await older.line((line) => line.includes("connected"));
  const newer = startScript("stay", broker, target, topicName);
  await newer.line((line) => line.includes("connected"));
  expect(await result(older)).toEqual([{ connected: true }, { end_code: 0x8e }]);
}

/** Paho reads the reason code of a DISCONNECT only when properties follow it: a Reason String is what makes this visible. */
async function shutdown(targets: readonly PahoTarget[]): Promise<void> {
  const broker = await startBroker();
  try {
    const scripts = targets.filter(onlyV5).map((target) => startScript("stay", broker, target));
    await Promise.all(scripts.map((script) => script.line((line) => line.includes("connected"))));
    expect(await broker.stop()).toBe(0);
    const said = await Promise.all(scripts.map((script) => script.line((line) => line.includes("end_code"))));
    expect(said.map((line) => JSON.parse(line))).toEqual(scripts.map(() => ({ end_code: 0x8b })));
  } finally {
    await broker.kill();
    await endScripts();
  }
}
