/**
 * A new plugin, as files: the template under its new name, and a test of it. Both work as they are.
 *
 * Reads and writes nothing: the caller brings the text of `plugins/template.ts`, so that there is one tutorial, and writes the files.
 */

export interface ScaffoldFile {
  /** Relative to the folder that the plugin is made in. */
  readonly path: string;
  readonly text: string;
}

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/u;
const NAME_CHARACTERS_MAX = 64;

/** The files of a plugin with this name. Throws a RangeError where the name cannot be one. */
export function pluginFiles(name: string, templateText: string): readonly ScaffoldFile[] {
  if (!NAME.test(name) || name.length > NAME_CHARACTERS_MAX) {
    throw new RangeError(`${JSON.stringify(name)}: expected a name of a-z, 0-9 and "-", such as my-plugin`);
  }
  const plugin = templateText
    .replace('from "../src/core/gate/provider.ts"', 'from "rqtt/plugin"')
    .replaceAll('"template"', `"${name}"`)
    .replaceAll("./template.ts", `./${name}.ts`);
  return [
    { path: `${name}.ts`, text: plugin },
    { path: `${name}.test.ts`, text: TEST_TEXT.replaceAll("NAME", name) },
  ];
}

const TEST_TEXT = `/** What the plugin NAME promises. Run it with: bun test */
import { expect, test } from "bun:test";
import { conformance, harness } from "rqtt/plugin-testing";
import plugin from "./NAME.ts";

const settings = { badges: { file: "badges.txt" }, area: "doors" };
const surroundings = { files: { "badges.txt": "anna 4711" } };
const anna = { username: "anna", password: "4711" };

test("keeps the contract", async () => {
  const bad = [{ username: "anna", password: "0815" }, { username: "nobody", password: "4711" }];
  await conformance(plugin, settings, { good: [anna], bad, foreign: [{}] }, surroundings);
});

test("a badge may use its own part of the area and no other", async () => {
  const door = await harness(plugin, settings, surroundings);
  const client = await door.connect(anna);
  expect([client.accepted, client.reasonCode, client.returnCode]).toEqual([true, 0x00, 0]);
  expect(client.can("pub", "doors/anna/open", { qos: 1 })).toBe(true);
  expect(client.can("pub", "doors/bert/open")).toBe(false);
  expect(client.canSubscribe("doors/#")).toBe(false);
  await door.close();
});

test("a wrong PIN is told so", async () => {
  const door = await harness(plugin, settings, surroundings);
  const client = await door.connect({ username: "anna", password: "0815" });
  expect([client.accepted, client.reasonCode, client.returnCode]).toEqual([false, 0x86, 4]);
  await door.close();
});
`;
