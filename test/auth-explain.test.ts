/** `rqtt auth explain` and the admin socket behind it: a live client seen from outside, by its own user only. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAdmin } from "../src/bun/admin.ts";
import { type LineProcess, startLineProcess } from "./support/line-process.ts";
import { RawClient } from "./support/raw-client.ts";
import { ROOT } from "./support/repository.ts";
import { World } from "./support/world.ts";

setDefaultTimeout(30_000);

const MAIN = join(ROOT, "src", "main.ts");
const folder = mkdtempSync(join(tmpdir(), "rqtt-explain-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PLUGIN = `export default {
  apiVersion: 1,
  name: "doors",
  create: () => ({
    connect: ({ clientId }) => ({
      do: "accept",
      principal: {
        id: "door",
        expiresAtMs: Date.now() + 3600000,
        permissions: { allow: [{ on: "both", filter: "door/\${clientId}/#", maxQos: 1 }], deny: [{ on: "pub", filter: "door/+/lock" }] },
      },
    }),
  }),
};
`;

async function start(): Promise<{ child: LineProcess; port: number }> {
  writeFileSync(join(folder, "doors.ts"), PLUGIN);
  const config =
    '[admin]\nsocket = "rqtt.sock"\n[[listeners]]\nurl = "mqtt://127.0.0.1:0"\n[[auth.chain]]\nuse = "./doors.ts"\n';
  writeFileSync(join(folder, "rqtt.toml"), config);
  const child = startLineProcess([process.execPath, "--no-orphans", MAIN, "--config", "rqtt.toml"], { cwd: folder });
  const line = await child.line((text) => text.startsWith("rqtt ready"));
  return { child, port: Number(new URL(line.split(" ")[2]!).port) };
}

async function explain(...argv: string[]) {
  const child = Bun.spawn([process.execPath, MAIN, "auth", "explain", ...argv], {
    cwd: folder,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}

describe("rqtt auth explain", () => {
  test("tells who a live client is, what it may do, and which rule refused it last", async () => {
    const { child, port } = await start();
    const socket = join(folder, "rqtt.sock");
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const client = await RawClient.connect(port);
    client.sendConnect(5, "front");
    await client.packet();
    const fine = await explain("front", "--config", "rqtt.toml");
    expect(fine).toMatchObject({ code: 0, stderr: "" });
    expect(fine.stdout).toInclude('client "front": connected');
    expect(fine.stdout).toMatch(/let in by doors as "door", until \d{4}-/u);
    expect(fine.stdout).toInclude("MQTT 5.0 from 127.0.0.1 at mqtt://127.0.0.1:");
    expect(fine.stdout).toInclude("  allow both door/front/# maxQos=1");
    expect(fine.stdout).toInclude("  deny  pub door/+/lock");
    expect(fine.stdout).toInclude("nothing was refused");
    // PUBLISH QoS 1 to door/front/lock.
    client.send([0x32, 20, 0, 15, ...new TextEncoder().encode("door/front/lock"), 0, 1, 0]);
    expect((await client.packet()).slice(0, 5)).toEqual([0x40, expect.any(Number), 0, 1, 0x87]);
    const refused = await explain("front", "--socket", socket);
    expect(refused.stdout).toInclude("last refusal: PUBLISH, QoS 1 door/front/lock: denied by the rule door/+/lock");
    expect(await explain("nobody", "--socket", socket)).toMatchObject({ code: 1 });
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
    expect(existsSync(socket)).toBe(false);
    expect(await explain("front", "--socket", socket)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no broker answers"),
    });
  });

  test("a socket that a killed broker left behind is taken over, one that is in use is not", async () => {
    const precious = join(folder, "precious.txt");
    writeFileSync(precious, "kept");
    await expect(openAdmin(precious, () => undefined)).rejects.toThrow("something else than a socket");
    expect(readFileSync(precious, "utf8")).toBe("kept");
    const path = join(folder, "door.sock");
    const killed = Bun.spawn([
      process.execPath,
      "-e",
      `Bun.serve({ unix: ${JSON.stringify(path)}, fetch: () => new Response() }); console.log("up")`,
    ]);
    await killed.stdout.getReader().read();
    killed.kill("SIGKILL");
    await killed.exited;
    expect(existsSync(path)).toBe(true);
    const first = await openAdmin(path, () => undefined);
    await expect(openAdmin(path, () => undefined)).rejects.toThrow("another broker has");
    first.close();
    const second = await openAdmin(path, () => undefined);
    second.close();
  });

  test.each([
    [[], "expected one client id"],
    [["x"], "expected --config FILE or --socket PATH"],
    [["x", "--config", "none.toml"], "--config: expected a file that can be read"],
  ])("%j is told what is wrong", async (argv, expected) => {
    const { code, stderr } = await explain(...argv);
    expect([code, stderr]).toEqual([2, expect.stringContaining(expected)]);
  });
});

describe("a client's report", () => {
  test("is there for a session that is away, with what waits for it", () => {
    const world = new World();
    const client = world.connect({ clientId: "c", properties: { sessionExpiryInterval: 60 } });
    client.subscribe("a/#");
    client.drop();
    world.connect().publish("a/b", "x", { qos: 1 });
    expect(world.broker.report("c")).toMatchObject({
      connected: false,
      connection: undefined,
      allow: "everything",
      deny: [],
      subscriptions: ["a/#"],
      queuedMessages: 1,
      lastRefusal: undefined,
    });
    expect(world.broker.report("nobody")).toBeUndefined();
  });

  test("tells a refused subscription and a refused $ topic", () => {
    const world = new World({ config: { ceiling: { deny: [{ on: "both", filter: "secret/#" }] } } });
    const client = world.connect({ clientId: "c" });
    expect(client.subscribe("$share/g/#").reasonCodes).toEqual([0x87]);
    expect(world.broker.report("c")?.lastRefusal).toEqual({
      what: "SUBSCRIBE",
      on: "$share/g/#",
      because: "denied: it overlaps the deny rule secret/#",
    });
    client.publish("$SYS/x", "", { qos: 1 });
    expect(world.broker.report("c")?.lastRefusal?.because).toInclude("topics beginning with $");
  });
});
