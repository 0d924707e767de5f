/** The repository's own files, for rules about them. Paths are relative to its top and use slashes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type SourceText, scanSource } from "./source-text.ts";

export const ROOT = join(import.meta.dir, "..", "..");

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Files that fit a pattern, in order; never from node_modules. */
export function filesUnder(pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync({ cwd: ROOT, dot: true })]
    .filter((path) => !/(?:^|\/)(?:node_modules|\.git)\//u.test(path))
    .sort();
}

export function sourcesUnder(pattern: string): SourceText[] {
  return filesUnder(pattern).map((path) => scanSource(path, readText(path)));
}
