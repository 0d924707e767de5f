/** A new plugin: its files work as they are, in a folder that knows nothing but rqtt. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pluginFiles } from "../src/plugin-scaffold.ts";
import { ROOT, readText } from "./support/repository.ts";

const template = readText("plugins/template.ts");
const folder = mkdtempSync(join(tmpdir(), "rqtt-scaffold-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the plugin and its test pass as they are, and so does the test of plugins/README.md", async () => {
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(ROOT, join(folder, "node_modules", "rqtt"));
  const files = pluginFiles("front-door", template);
  for (const { path, text } of files) writeFileSync(join(folder, path), text);
  const examples = [...readText("plugins/README.md").matchAll(/^```ts\n([\s\S]*?)^```/gmu)].map(([, text]) => text);
  const example = examples.find((text) => text?.includes("conformance"));
  writeFileSync(join(folder, "readme.test.ts"), example ?? "");
  const run = Bun.spawn([process.execPath, "test"], { cwd: folder, stdout: "pipe", stderr: "pipe" });
  const output = await new Response(run.stderr).text();
  expect(output).toContain("5 pass");
  expect(await run.exited).toBe(0);
});

test("the plugin is the template under its own name", () => {
  const [plugin, own] = pluginFiles("front-door", template);
  expect([plugin?.path, own?.path]).toEqual(["front-door.ts", "front-door.test.ts"]);
  expect(plugin?.text).toContain('name: "front-door"');
  expect(plugin?.text).toContain('use = "./front-door.ts"');
  expect(plugin?.text).toContain('from "rqtt/plugin"');
  // Loading it needs nothing but types of rqtt: a plugin works wherever its file lies.
  expect(plugin?.text.match(/^import (?!type ).*$/gmu)).toEqual([
    'import { createHash, timingSafeEqual } from "node:crypto";',
  ]);
  expect(plugin?.text).not.toMatch(/template|\.\.\//u);
  expect(own?.text).not.toMatch(/NAME|\.\.\//u);
});

test.each(["", "My-Plugin", "../evil", "a/b", "a.ts", "-a", "a--b", "a".repeat(65), "1a", "caf\u00e9"])(
  "%p is no name",
  (name) => {
    expect(() => pluginFiles(name, template)).toThrow(RangeError);
  },
);
