/**
 * Builds the demonstration, in which the broker's core runs in a browser's tab, into one HTML file without a server.
 *
 * Prints its path, and how large it and the broker in it are.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { bundleScript } from "../page-bundle.ts";

const PAGE = join(import.meta.dir, "page");
const GROUND = join(import.meta.dir, "../page/ground.css");

export interface Demo {
  readonly html: string;
  /** The broker's core and its host in the worker, minified. */
  readonly worker: string;
}

export function gzipBytes(text: string): number {
  return gzipSync(text, { level: 9 }).length;
}

/** A script inside HTML: the end of a script element must not occur in it. */
function inline(script: string): string {
  return script.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
}

export async function buildDemo(): Promise<Demo> {
  const [worker, page] = await Promise.all([
    bundleScript(join(PAGE, "broker-worker.ts")),
    bundleScript(join(PAGE, "demo.ts")),
  ]);
  const script = inline(`globalThis.brokerWorkerScript=${JSON.stringify(worker)};\n${page}`);
  // With functions, since "$" in a replacement would mean something.
  const css = [GROUND, join(PAGE, "demo.css")].map((path) => readFileSync(path, "utf8")).join("\n");
  const html = readFileSync(join(PAGE, "demo.html"), "utf8")
    .replace("<style></style>", () => `<style>\n${css}</style>`)
    .replace("<script></script>", () => `<script>${script}</script>`);
  return { html, worker };
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} KB`;
}

if (import.meta.main) {
  const { html, worker } = await buildDemo();
  const folder = join(import.meta.dir, "dist");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "rqtt-demo.html");
  writeFileSync(path, html);
  console.log(`${path}: open it in a browser, no server is needed`);
  console.log(`the page: ${kilobytes(Buffer.byteLength(html))}, ${kilobytes(gzipBytes(html))} gzip`);
  console.log(`the broker in it: ${kilobytes(worker.length)}, ${kilobytes(gzipBytes(worker))} gzip`);
}
