/** The page's scripts, bundled for browsers: no platform but the browser's own, and none of the broker's shell. */
import { join } from "node:path";

export interface PageScripts {
  readonly conformance: string;
  /** For iframes and workers that are torn down. */
  readonly frame: string;
  /** The broker core behind MessagePorts. */
  readonly brokerWorker: string;
  /** MQTT.js as its makers build it for browsers. */
  readonly mqttjs: string;
}

const PAGE = join(import.meta.dir, "page");
const DEMO = join(import.meta.dir, "demo", "page");

/** One script of one file, which leaves no names to others on its page. Rejects with what is wrong with it. */
export async function bundleScript(path: string): Promise<string> {
  const result = await Bun.build({
    entrypoints: [path],
    target: "browser",
    format: "iife",
    minify: true,
    throw: false,
  });
  if (!result.success) throw new AggregateError(result.logs, `${path}: ${result.logs.join("; ")}`);
  return result.outputs[0]!.text();
}

export async function bundlePage(): Promise<PageScripts> {
  const [conformance, frame, brokerWorker, mqttjs] = await Promise.all([
    bundleScript(join(PAGE, "conformance.ts")),
    bundleScript(join(PAGE, "frame.ts")),
    bundleScript(join(DEMO, "broker-worker.ts")),
    bundleScript(join(PAGE, "mqttjs.ts")),
  ]);
  return { conformance, frame, brokerWorker, mqttjs };
}
