/** Comparisons: a peer that cannot take part is told and ends nothing, rqtt has no such way out, and no peer is reachable from outside. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Broker } from "../../bench/broker-process.ts";
import { findPeers } from "../../bench/brokers.ts";
import { compare, contendersOf } from "../../bench/compare.ts";
import type { LoadOptions } from "../../bench/measurement.ts";
import { PEERS } from "../../bench/peers.ts";
import { scenarioNamed } from "../../bench/scenarios.ts";

const folder = mkdtempSync(join(tmpdir(), "rqtt-peers-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options: LoadOptions = {
  scenario: scenarioNamed("seed"),
  messages: 10,
  window: 10,
  protocolLevel: "4",
  warmUpMessages: 0,
  filtersHeld: 0,
};

function gone(name: string): Broker {
  return {
    name,
    version: "1.0",
    transports: ["tcp"],
    readyLine: "never said",
    login: null,
    command: () => [process.execPath, "-e", "console.error('no such disk'); process.exit(3)"],
  };
}

describe("a broker that does not come up", () => {
  const { signal } = new AbortController();

  test("is told when it is a peer, once, whatever the number of runs", async () => {
    const { measurements, unable } = await compare(contendersOf([gone("other")], options), 2, signal);
    expect(measurements).toEqual([]);
    expect(unable).toEqual([{ broker: "other", version: "1.0", reason: "other ended with status 3\nno such disk" }]);
  });

  test("ends the comparison when it is rqtt", async () => {
    expect(compare(contendersOf([gone("rqtt")], options), 1, signal)).rejects.toThrow("rqtt ended with status 3");
  });

  test("is not even started for a transport that it does not have", async () => {
    const overTls = { ...options, scenario: scenarioNamed("seed-tls") };
    const contenders = contendersOf([gone("other")], overTls);
    expect(contenders.map(({ options }) => options.scenario.transport)).toEqual(["tls", "tcp"]);
    const { unable } = await compare(contenders.slice(0, 1), 1, signal);
    expect(unable.map(({ reason }) => reason)).toEqual(["over tls: other is not set up for tls here"]);
  });
});

describe("peers", () => {
  test("none asked for, one that nobody knows", () => {
    expect(findPeers(["none"])).toEqual([]);
    expect(() => findPeers(["mosquito"])).toThrow("no peer is named mosquito; known: mosquitto,aedes");
  });

  test("one of them in several versions", () => {
    const found = findPeers(["flashmq=/bin/true", "flashmq=/bin/false"]);
    expect(found.map(({ name }) => name)).toEqual(["flashmq", "flashmq"]);
  });

  test.each(PEERS.map(({ name }) => name))("%s listens on loopback only, on the port it is given", (name) => {
    // A program that says nothing of itself and does nothing.
    const peer = PEERS.find((peer) => peer.name === name)!.broker("/bin/true");
    for (const transport of peer.transports) {
      if (transport === "tls") continue;
      const own = mkdtempSync(join(folder, `${name}-`));
      const command = peer.command({ transport, port: 45_678 }, own);
      const files = readdirSync(own).map((file) => readFileSync(join(own, file), "utf8"));
      const program = name === "aedes" ? [readFileSync(command[1]!, "utf8")] : [];
      const said = [...command, ...files, ...program].join("\n");
      expect(said).toContain("45678");
      expect(said).toContain("127.0.0.1");
      expect(said).not.toContain("0.0.0.0");
    }
  });
});
