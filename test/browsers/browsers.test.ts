/**
 * The conformance page in every browser that is installed, over ws and wss; and what it stands on, without a browser.
 *
 * Engines that are not there are passed over: `bun run test:browsers` says how to get them.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import statements from "../conformance/statements.json" with { type: "json" };
import { ROOT, readText } from "../support/repository.ts";
import { ENGINE_MS_MAX, runEngine } from "./engine-run.ts";
import { ENGINES, installLine, startBrowser } from "./engines.ts";
import { engineName } from "./page/engine-name.ts";
import { type PageServer, startPageServer } from "./page-server.ts";
import { failures, type Report, readReport } from "./report.ts";

const CHECKS_MIN = 57;
const TEST_MS = ENGINE_MS_MAX + 30_000;

for (const engine of ENGINES) {
  const isMissing = engine.find() === undefined;
  for (const transport of ["ws", "wss"] as const) {
    test.skipIf(isMissing)(
      `${engine.name} over ${transport}: the page's checks pass${isMissing ? ` (${installLine(engine)})` : ""}`,
      async () => {
        const { report } = await runEngine(engine, transport);
        expect(failures(report)).toEqual([]);
        expect(report.checks.length).toBeGreaterThanOrEqual(CHECKS_MIN);
        expect(report.transport).toBe(transport);
      },
      TEST_MS,
    );
  }
}

test("statements that the page's checks cite are statements", () => {
  const known = new Set([...statements.mqtt5, ...statements.mqtt311].map(({ id }) => id));
  const folder = join(ROOT, "test", "browsers", "page");
  const cited = readdirSync(folder)
    .filter((name) => name.startsWith("checks-"))
    .flatMap((name) => readText(`test/browsers/page/${name}`).match(/\bMQTT(?:311)?-\d[\d.]*-\d+\b/gu) ?? []);
  expect(cited.length).toBeGreaterThan(40);
  expect(cited.filter((id) => !known.has(id))).toEqual([]);
});

const REPORT: Report = {
  userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
  transport: "ws",
  startedAt: "2026-11-23T10:00:00.000Z",
  milliseconds: 5,
  checks: [
    { cites: ["MQTT-6.0.0-1"], group: "Frames", name: "one", status: "passed", milliseconds: 1, detail: "" },
    { cites: ["MQTT-6.0.0-2"], group: "Frames", name: "two", status: "failed", milliseconds: 1, detail: "why" },
  ],
};

test("a report is read, and what failed has its statement and reason", () => {
  expect(readReport(JSON.stringify(REPORT))).toEqual(REPORT);
  expect(failures(REPORT)).toEqual(["[MQTT-6.0.0-2] two: why"]);
});

test.each([
  "",
  "null",
  "{}",
  '{"userAgent":"a","transport":"tcp","checks":[]}',
  JSON.stringify({ ...REPORT, checks: [1] }),
])("no report: <%s>", (text) => {
  expect(() => readReport(text)).toThrow();
});

test.each([
  [REPORT.userAgent, "Firefox 153.0"],
  ["Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36", "Chromium 156"],
  ["Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/604.1", "Safari or WebKit 18.5"],
  ["Mozilla/5.0 (Windows) AppleWebKit/537.36 Chrome/150.0.0.0 Safari/537.36 Edg/150.0.1.2", "Edge 150.0.1.2"],
  ["something", "something"],
])("the name in <%s>", (userAgent, name) => {
  expect(engineName(userAgent)).toBe(name);
});

test.skipIf(!existsSync("/proc/self/environ"))(
  "a browser's end is the end of every process that it started, whoever their parents are",
  async () => {
    // The grandchild leaves the group and outlives its parent, as a browser's helpers do.
    const script = "setsid sleep 1000 & echo $! >&2; setsid sleep 1000 & echo $! >&2; exec sleep 1000";
    const programs = { version: () => "1.0", command: () => ["sh", "-c", script] };
    const browser = await startBrowser(programs, "about:blank", undefined);
    let pids: string[] = [];
    while (pids.length < 2) {
      await new Promise((resolve) => setImmediate(resolve));
      pids = browser.stderr().match(/\d+/gu) ?? [];
    }
    await browser.end();
    // One that has ended, and that nobody has asked for its exit code, is still listed.
    const isRunning = (pid: string): boolean => {
      try {
        return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
      } catch {
        return false;
      }
    };
    const listed = readdirSync("/proc").filter((name) => [...pids, String(browser.pid)].includes(name));
    expect(listed.filter(isRunning)).toEqual([]);
  },
);

describe("the page's server", () => {
  let server: PageServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  async function start(): Promise<(path: string, init?: RequestInit) => Promise<Response>> {
    server = await startPageServer();
    const [url] = server.urls;
    return (path, init) => fetch(new URL(path, url), init);
  }
  const post = { method: "POST" };

  test("serves the page with its scripts and knows the ports, and nothing else", async () => {
    const get = await start();
    expect(await (await get("/")).text()).toContain('<script src="/conformance.js"');
    for (const path of [
      "/conformance.js",
      "/conformance.css",
      "/frame.html",
      "/frame.js",
      "/mqttjs.js",
      "/broker-worker.js",
    ]) {
      expect((await get(path)).status).toBe(200);
    }
    const { ports } = (await (await get("/environment.json")).json()) as { ports: Record<string, number> };
    expect(server!.ports).toEqual(expect.arrayContaining(Object.values(ports)));
    expect((await get("/../package.json")).status).toBe(404);
    expect((await get("/elsewhere", post)).status).toBe(404);
  });

  test.each([
    ["/flood?topicName=a&count=1000000&payloadBytes=1000000", "a flood of too many bytes"],
    ["/flood?topicName=a&count=x&payloadBytes=8", "a flood of too many bytes"],
    ["/spare/stop?name=nobody", "no such broker"],
    ["/report", "JSON"],
  ])("what is asked in a wrong way gets 400 and a reason: %s", async (path, reason) => {
    const get = await start();
    const response = await get(path, post);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain(reason);
  });

  test("the oldest broker that pages were given ends when there are too many", async () => {
    const get = await start();
    const names: string[] = [];
    for (let index = 0; index < 10; index++) {
      names.push(((await (await get("/spare", post)).json()) as { name: string }).name);
    }
    expect((await get(`/spare/stop?name=${names[0]}`, post)).status).toBe(400);
    expect((await get(`/spare/stop?name=${names[9]}`, post)).status).toBe(204);
    expect(server!.stage.allPorts.length).toBe(4 + 8);
  });
});
