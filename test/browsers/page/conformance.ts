/**
 * The conformance page: runs all checks, shows what comes of them, and tells the server that the page came from.
 *
 * With `?run=NAME` it was opened by a program: then a connection with a Will stays open at the end, for whoever kills the browser.
 */
import type { Environment, Report } from "../report.ts";
import { type Check, runChecks, type Scene } from "./check.ts";
import { connectionGroups } from "./checks-connections.ts";
import { frameGroups } from "./checks-frames.ts";
import { programGroups } from "./checks-programs.ts";
import { sessionGroups } from "./checks-sessions.ts";
import { Dialogue } from "./dialogue.ts";
import { engineName } from "./engine-name.ts";
import { Presentation } from "./presentation.ts";

const GROUPS = [...frameGroups, ...connectionGroups, ...sessionGroups, ...programGroups];

async function ask(path: string, values: Readonly<Record<string, string | number>> = {}): Promise<Response> {
  const query = new URLSearchParams(Object.entries(values).map(([name, value]) => [name, String(value)]));
  const response = await fetch(`${path}?${query}`, { method: "POST" });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${(await response.text()).trim()}`);
  return response;
}

function sceneOf(environment: Environment): Scene {
  const { ports, transport } = environment;
  const url = (broker: keyof Environment["ports"] | number) =>
    `${transport}://${location.hostname}:${typeof broker === "number" ? broker : ports[broker]}/mqtt`;
  return { environment, url, ask };
}

/** Whoever opened the page and kills it sees whether this worked. */
async function leaveWill(scene: Scene, topicName: string): Promise<void> {
  await Dialogue.connect(scene.url("open"), { will: { topicName, payload: "killed" } }).catch(() => {});
}

async function main(): Promise<void> {
  const environment = (await (await fetch("/environment.json")).json()) as Environment;
  const scene = sceneOf(environment);
  const run = new URLSearchParams(location.search).get("run") ?? "";
  const presentation = new Presentation(GROUPS, environment, engineName(navigator.userAgent));
  const [startedAt, startedMs] = [new Date().toISOString(), performance.now()];
  const checks = await runChecks(GROUPS, scene, {
    started: (check: Check) => presentation.started(check),
    ended: (check, result) => presentation.ended(check, result),
  });
  const report: Report = {
    userAgent: navigator.userAgent,
    transport: environment.transport,
    startedAt,
    milliseconds: Math.round(performance.now() - startedMs),
    checks,
  };
  presentation.done(report);
  if (run !== "") await leaveWill(scene, `browsers/${run}`);
  await fetch(`/report?run=${encodeURIComponent(run)}`, { method: "POST", body: JSON.stringify(report) });
}

main().catch((error) => {
  document.getElementById("verdict")!.textContent = `The page could not run: ${error}`;
});
