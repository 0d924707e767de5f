/** The client's suite with an embedded broker, a broker process over WebSocket and TCP, and Debian's mosquitto. */
import { afterAll, beforeAll, describe, expect } from "bun:test";
import { existsSync } from "node:fs";
import { createBroker, type RunningBroker } from "rqtt";
import { inProcess } from "rqtt/client/in-process";
import { tcp } from "rqtt/client/tcp";
import { type BrokerProcess, startBroker, startMosquitto } from "../support/broker-process.ts";
import { clientSuite } from "./client-suite.ts";

const START_MS = 60_000;
const LEVELS = [5, 4] as const;

describe("a broker in this process", () => {
  let broker: RunningBroker;
  beforeAll(async () => {
    broker = await createBroker();
  });
  afterAll(() => broker.close());
  for (const level of LEVELS) clientSuite({ name: "in-process", level, target: () => inProcess(broker) });
});

describe("a broker process", () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await startBroker({ settings: { "limits.receiveMaximum": 20 } });
  }, START_MS);
  afterAll(async () => {
    expect(await broker.stop()).toBe(0);
  }, START_MS);
  for (const level of LEVELS) {
    clientSuite({ name: "ws", level, target: () => broker.wsUrl });
    clientSuite({ name: "tcp", level, target: () => tcp(broker.tcpUrl) });
  }
});

describe.skipIf(!existsSync("/usr/sbin/mosquitto"))("mosquitto (apt-get install mosquitto)", () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await startMosquitto();
  }, START_MS);
  afterAll(async () => {
    await broker.stop();
  }, START_MS);
  for (const level of LEVELS) {
    clientSuite({ name: "tcp", level, target: () => tcp(broker.tcpUrl) });
    // Version 2.0.11 takes a large packet over WebSocket, but does not send one to its end, to MQTT.js neither.
    clientSuite({ name: "ws", level, target: () => broker.wsUrl }, (name) => !name.includes("1 MB"));
  }
});
