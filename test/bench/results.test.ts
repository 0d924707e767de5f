/** What is kept of results: a page whose every link leads somewhere, and nothing of one command lost to another. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withoutFolders } from "../../bench/circumstances.ts";
import { curveNotes, curveTable } from "../../bench/curve-report.ts";
import type { CurveResult } from "../../bench/curves.ts";
import { figure } from "../../bench/figure.ts";
import { reportRow } from "../../bench/report.ts";
import { type ResultDocument, saveResult } from "../../bench/results.ts";
import { scenarioNamed } from "../../bench/scenarios.ts";
import { seedTable } from "../../bench/seed-table.ts";
import { measurementOf, SOMEWHERE } from "./measurements.ts";

const latency = { p50Micros: 50, p90Micros: 60, p99Micros: 100, p999Micros: 200, maxMicros: 300 };
const row = {
  scenario: scenarioNamed("seed"),
  messages: 1_000_000,
  window: 1000,
  measurements: [measurementOf("rqtt", 0.5), measurementOf("mosquitto", 10)],
  unable: [{ broker: "nanomq", version: "1.0", reason: "ended with status 1\nno reason" }],
};
const rate: CurveResult = {
  name: "rate",
  quick: false,
  runs: 1,
  points: [1_000, 100_000].map((size) => ({
    size,
    measurements: [
      measurementOf("rqtt", 1, { ratePerSecond: size, messagesPerSecond: size, latency }),
      measurementOf("mosquitto", 10, { ratePerSecond: size, messagesPerSecond: Math.min(size, 80_000), latency }),
    ],
    unable: [],
  })),
};
const payload: CurveResult = {
  name: "payload",
  quick: true,
  runs: 1,
  points: [16, 1_048_576].map((size) => ({ size, measurements: [measurementOf("rqtt", size / 8)], unable: [] })),
};
const documents: readonly ResultDocument[] = [
  { ...SOMEWHERE, kind: "scenarios", rows: [row] },
  { ...SOMEWHERE, kind: "curve", curve: rate },
  { ...SOMEWHERE, kind: "curve", curve: payload },
  {
    ...SOMEWHERE,
    kind: "capacity",
    results: [
      { part: "idle", figures: [figure("each", "bytes", [4096], { atMost: 4096 })], failures: [], detail: null },
    ],
  },
  {
    ...SOMEWHERE,
    kind: "durable",
    results: [
      {
        part: "durable, speed",
        figures: [figure("acknowledged", "messages/s", [70_000], { atLeast: 60_000 })],
        failures: [],
        detail: null,
        plot: {
          name: "durable-speed",
          title: "Durable messages a second",
          subtitle: "more is better",
          xLabel: "messages/s",
          rows: [{ name: "acknowledged", dots: [{ series: "rqtt", value: 70_000 }] }],
        },
      },
    ],
  },
];

describe("a folder of results", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rqtt-results-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const page = () => readFileSync(join(folder, "README.md"), "utf8");

  test("has a page with plots that exist, machine, commit and command", () => {
    for (const document of documents) saveResult(folder, document);
    const plots = [...page().matchAll(/!\[[^\]]*\]\(([^)]+)\)/gu)].map(([, name]) => name!);
    expect(plots.toSorted()).toEqual([
      "curve-payload.svg",
      "curve-rate-p99.svg",
      "curve-rate-percentiles.svg",
      "curve-rate.svg",
      "durable-speed.svg",
      "scenarios.svg",
    ]);
    for (const name of plots) expect(existsSync(join(folder, name))).toBe(true);
    for (const said of ["`bun run bench`", "commit abc1234", "A processor, 2 cores, 8 GB", "≤ 4,096 met"]) {
      expect(page()).toContain(said);
    }
    expect(page()).toContain("- note: nanomq 1.0 cannot do this: ended with status 1 no reason");
  });

  test("keeps what another command left and replaces what the same one left", () => {
    for (const document of documents) saveResult(folder, document);
    const again = { ...row, measurements: [measurementOf("rqtt", 0.25)] };
    saveResult(folder, { ...SOMEWHERE, kind: "scenarios", rows: [again] });
    expect(page()).toContain("### Latency by message rate");
    expect(page()).toContain("0.25");
    expect(page()).not.toContain("mosquitto 1.0, window");
  });
});

test("the seed's table has a row per broker and says which rows are historical", () => {
  const lines = seedTable([row])!.split("\n");
  expect(lines.filter((line) => line.startsWith("| rqtt 1.0, window 1,000"))).toHaveLength(1);
  expect(lines.filter((line) => line.includes("(historical)"))).toHaveLength(3);
  expect(lines.find((line) => line.includes("mosquitto 1.4.11"))).toMatch(/3m41\.53s in all +\| +2,417\.1 MB/);
  expect(seedTable([{ ...row, scenario: scenarioNamed("pairs") }])).toBeNull();
});

test("a report says what a peer costs, what was wanted and who could not take part", () => {
  const report = reportRow(row);
  expect(report).toContain("mosquitto 1.0 costs 20.0 × the CPU of rqtt");
  expect(report).toContain("rqtt, CPU: 0.50 µs/message, wanted ≤ 0.8: met");
  expect(report).toContain("note: nanomq 1.0 cannot do this: ended with status 1");
  const slow = { ...row, messages: 1_000, measurements: [measurementOf("rqtt", 0.81)] };
  expect(reportRow(slow)).toContain("wanted ≤ 0.8: MISSED in a short run");
});

test("WebSocket is held against TCP of the same run, broker by broker", () => {
  const measurements = [
    measurementOf("rqtt", 1.5, { transport: "ws" }),
    measurementOf("rqtt", 1),
    measurementOf("mosquitto", 30, { transport: "ws" }),
    measurementOf("mosquitto", 10),
  ];
  const report = reportRow({ ...row, scenario: scenarioNamed("seed-ws"), measurements });
  expect(report).toContain("rqtt 1.0, ws to tcp: 1.50 × the CPU, wanted ≤ 1.6: met");
  expect(report).toContain("mosquitto 1.0, ws to tcp: 3.00 × the CPU\n");
  expect(report).toContain("mosquitto 1.0 costs 20.0 × the CPU of rqtt over ws");
});

test("a curve tells where a broker was saturated and where one could not go on", () => {
  const [titles, first, second] = curveTable(rate);
  expect(titles).toEqual(["messages/s", "rqtt 1.0, µs", "mosquitto 1.0, µs"]);
  expect(first).toEqual(["1k", "50 / 60 / 100 / 200", "50 / 60 / 100 / 200"]);
  expect(second).toEqual(["100k", "50 / 60 / 100 / 200", "50 / 60 / 100 / 200 (saturated)"]);
  const unable = [{ broker: "aedes", version: "1.0", reason: "gone" }];
  const points = [{ size: 1_024, measurements: [measurementOf("rqtt", 1, { failures: ["1 lost"] })], unable }];
  expect(curveNotes({ ...payload, points })).toEqual([
    "aedes 1.0 cannot do 1 KB: gone",
    "FAILED rqtt 1.0 at 1 KB: 1 lost",
  ]);
});

test.each([
  ["mosquitto=/opt/m/sbin/mosquitto", "mosquitto=mosquitto"],
  ["--peer=mosquitto=/opt/mosquitto", "--peer=mosquitto=mosquitto"],
  ["/tmp/results", "results"],
  ["bench/results", "bench/results"],
  ["limits.x=10", "limits.x=10"],
])("a command is told without folders: %s", (argument, told) => {
  expect(withoutFolders(argument)).toBe(told);
});
