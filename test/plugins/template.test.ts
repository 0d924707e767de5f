/** The template: what its text promises to somebody who copies it. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectAsync } from "mqtt";
import template from "../../plugins/template.ts";
import { createBroker } from "../../src/bun/create-broker.ts";
import { loadPlugin } from "../../src/bun/plugin-chain.ts";
import { conformance, harness } from "../../src/plugin-testing/harness.ts";
import { ROOT } from "../support/repository.ts";

const settings = { badges: { file: "badges.txt" }, area: "doors" };
const surroundings = { files: { "badges.txt": "anna 4711\r\nbert 0815\n" } };
const anna = { username: "anna", password: "4711" };

test("keeps the contract", async () => {
  const bad = [
    { ...anna, password: "0815" },
    { ...anna, password: "" },
    { username: "nobody", password: "4711" },
    { username: "__proto__", password: "4711" },
    { username: "", password: "" },
  ];
  const foreign = [{}, { username: "anna" }, { password: "4711" }];
  await conformance(
    template,
    settings,
    { good: [anna, { username: "bert", password: "0815" }], bad, foreign },
    surroundings,
  );
});

test("a badge may do what its rule says, and nothing else", async () => {
  const door = await harness(template, settings, surroundings);
  const client = await door.connect(anna);
  expect([client.accepted, client.reasonCode, client.principal?.id]).toEqual([true, 0, "anna"]);
  expect(client.can("pub", "doors/anna/open", { qos: 1, retain: true })).toBe(true);
  expect(client.can("pub", "doors/anna/open", { qos: 2 })).toBe(false);
  expect(client.can("pub", "doors/bert/open")).toBe(false);
  expect([client.subscribe("doors/anna/#", 2), client.canSubscribe("doors/+/open")]).toEqual([1, false]);
  await door.close();
});

test("the codes of a wrong PIN and of nobody's kind of credential", async () => {
  const door = await harness(template, settings, surroundings);
  const wrong = await door.connect({ ...anna, password: "0815" });
  expect([wrong.verdict?.do, wrong.reasonCode, wrong.returnCode]).toEqual(["refuse", 0x86, 4]);
  const old = await door.connect({ ...anna, password: "0815", level: 4 });
  expect([old.reasonCode, old.returnCode]).toEqual([0x86, 4]);
  const none = await door.connect();
  expect([none.verdict?.do, none.reasonCode, none.returnCode]).toEqual(["skip", 0x87, 5]);
  await door.close();
});

describe("the start is refused", () => {
  test.each([
    ["badges.txt with a name alone", "anna", "line 1"],
    ["badges.txt with three words", "anna 1\nbert 2 3", "line 2"],
    ["an empty badges.txt", "", "line 1"],
  ])("%s", async (_name, text, complaint) => {
    const files = { "badges.txt": text };
    await expect(harness(template, settings, { files })).rejects.toThrow(complaint);
  });

  test.each([
    ["an unknown setting", { ...settings, badge: 1 }, "badge: unknown setting"],
    ["a table in the settings themselves", { ...settings, badges: "anna 4711" }, "badges: expected"],
    ["no area", { badges: settings.badges }, "area: expected a text"],
  ])("%s", async (_name, wrong, complaint) => {
    await expect(harness(template, wrong, surroundings)).rejects.toThrow(complaint);
  });

  test("a file that is not there", async () => {
    await expect(harness(template, settings)).rejects.toThrow("no such file");
  });
});

test("in a real broker: one client is let in, one is kept out", async () => {
  const folder = mkdtempSync(join(tmpdir(), "rqtt-template-"));
  writeFileSync(join(folder, "badges.txt"), "anna 4711\n");
  const plugin = await loadPlugin(join(ROOT, "plugins", "template.ts"), folder, "auth.chain[0]");
  const listeners = ["mqtt://127.0.0.1:0"];
  const broker = await createBroker({ listeners, folder, plugins: [{ plugin, config: settings }] });
  try {
    const [url = ""] = broker.urls;
    const once = { protocolVersion: 5, reconnectPeriod: 0 } as const;
    const client = await connectAsync(url, { ...once, ...anna });
    await expect(client.subscribeAsync(["doors/anna/#", "doors/#"], { qos: 2 })).rejects.toThrow("Not authorized");
    const received = Promise.withResolvers<string>();
    client.on("message", (topicName) => received.resolve(topicName));
    await client.publishAsync("doors/anna/open", "now", { qos: 1 });
    expect(await received.promise).toBe("doors/anna/open");
    await client.endAsync();
    const refused = connectAsync(url, { ...once, ...anna, password: "0815" });
    await expect(refused).rejects.toMatchObject({ code: 0x86 });
  } finally {
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
