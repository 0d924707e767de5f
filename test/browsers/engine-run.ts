/**
 * One engine, one transport: the page is served, the browser is started on it, its report is awaited, and the browser is killed.
 *
 * The last check is made from here: whoever had a connection with a Will open when the browser was killed has it published.
 */
import { certificateFiles } from "../../bench/certificate.ts";
import { type Engine, startBrowser } from "./engines.ts";
import { startPageServer } from "./page-server.ts";
import type { CheckResult, Report } from "./report.ts";

export const ENGINE_MS_MAX = 58_000;
const WILL_MS_MAX = 10_000;
const HOST = "127.0.0.1";

export interface EngineRun {
  readonly engine: Engine["name"];
  readonly version: string;
  readonly report: Report;
}

/** Runs all checks in an engine. Rejects where it is not installed, says nothing in time, or cannot be started. */
export async function runEngine(engine: Engine, transport: "ws" | "wss"): Promise<EngineRun> {
  const programs = engine.find();
  if (programs === undefined) throw new Error(`${engine.name} is not installed`);
  const reported = Promise.withResolvers<Report>();
  const run = crypto.randomUUID();
  const tls = transport === "wss" ? certificateFiles() : undefined;
  const server = await startPageServer({
    host: HOST,
    ...(tls === undefined ? {} : { tls }),
    onReport: (report, of) => of === run && reported.resolve(report),
  });
  try {
    const trusted = tls && { certificate: tls.certificate, host: HOST, ports: server.ports };
    const will = await server.stage.watch(`browsers/${run}`);
    const browser = await startBrowser(programs, `${server.urls[0]}?run=${run}`, trusted);
    let report: Report;
    try {
      report = await within(ENGINE_MS_MAX, reported.promise, () => `no report; it wrote: ${browser.stderr()}`);
    } finally {
      await browser.end();
    }
    const killed = await willOfTheKilled(will.message);
    will.forget();
    return {
      engine: engine.name,
      version: programs.version(),
      report: { ...report, checks: [...report.checks, killed] },
    };
  } finally {
    await server.close();
  }
}

async function willOfTheKilled(message: Promise<string>): Promise<CheckResult> {
  const startedMs = performance.now();
  const check = {
    cites: ["MQTT-3.1.2-8"],
    group: "Wills",
    name: "the browser is killed: the page's Will is published",
  };
  const ended = (status: CheckResult["status"], detail: string): CheckResult => {
    return { ...check, status, detail, milliseconds: Math.round(performance.now() - startedMs) };
  };
  try {
    const payload = await within(WILL_MS_MAX, message, () => "no Will came");
    return payload === "killed" ? ended("passed", "") : ended("failed", `the Will is <${payload}>, expected <killed>`);
  } catch (error) {
    return ended("failed", error instanceof Error ? error.message : String(error));
  }
}

/** Rejects after a time with a text made then. */
async function within<T>(ms: number, promise: Promise<T>, text: () => string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`after ${ms / 1000} s: ${text()}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
