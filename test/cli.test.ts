/**
 * The command line as a process: what it prints, how it ends, and what its clients hear of it.
 *
 * What each setting accepts is tried in config.test.ts; here it is about exit codes, lines and signals. Every broker
 * listens on a free loopback port. Nothing here waits for time to pass: tests wait for lines, packets, closes and exits.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VERSION } from "../src/config.ts";
import { type LineProcess, startLineProcess } from "./support/line-process.ts";
import { RawClient } from "./support/raw-client.ts";
import { ROOT } from "./support/repository.ts";

setDefaultTimeout(30_000);

const MAIN = join(ROOT, "src", "main.ts");
const READY = "rqtt ready";
const TCP = "mqtt://127.0.0.1:0";
const WS = "ws://127.0.0.1:0/mqtt";

const folder = mkdtempSync(join(tmpdir(), "rqtt-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function start(argv: readonly string[], env: Record<string, string> = {}): LineProcess {
  return startLineProcess([process.execPath, "--no-orphans", MAIN, ...argv], { cwd: folder, env });
}

/** A broker whose listeners accept, with the URLs that its ready line names. */
async function ready(argv: readonly string[], env: Record<string, string> = {}) {
  const child = start(argv, env);
  const line = await child.line((text) => text.startsWith(READY));
  const urls = line.slice(READY.length).trim().split(" ");
  const portOf = (scheme: string) => Number(new URL(urls.find((url) => url.startsWith(scheme))!).port);
  return { child, urls, portOf };
}

async function ended(argv: readonly string[], env: Record<string, string> = {}) {
  const child = start(argv, env);
  const code = await child.exited;
  return { code, stdout: child.lines.join("\n"), stderr: child.stderr() };
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function stop(child: LineProcess): Promise<void> {
  child.signal("SIGKILL");
  await child.exited;
}

describe("start", () => {
  test("one ready line names the URLs that accept, in the order of the listeners", async () => {
    const { child, urls } = await ready(["--listen", WS, "--listen", TCP, "--listen", TCP]);
    expect(urls).toHaveLength(3);
    expect(urls[0]).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/mqtt$/u);
    expect(urls[1]).toMatch(/^mqtt:\/\/127\.0\.0\.1:\d+$/u);
    expect(urls[2]).toMatch(/^mqtt:\/\/127\.0\.0\.1:\d+$/u);
    const ports = urls.map((url) => Number(new URL(url).port));
    expect(new Set(ports).size).toBe(3);
    expect(ports).not.toContain(0);
    for (const port of ports.slice(1)) {
      const client = await RawClient.connect(port);
      client.sendConnect(4, "a");
      expect(await client.packet()).toEqual([0x20, 2, 0, 0]);
      client.end();
    }
    const socket = new WebSocket(urls[0]!, "mqtt");
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    expect(socket.protocol).toBe("mqtt");
    socket.close();

    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
    expect(child.lines.filter((line) => line.startsWith(READY))).toHaveLength(1);
  });

  test("the package's own command does the same", async () => {
    const child = startLineProcess([process.execPath, "run", "start", "--listen", TCP, "--store", "memory"], {
      cwd: ROOT,
    });
    const line = await child.line((text) => text.startsWith(READY));
    expect(line).toMatch(/^rqtt ready mqtt:\/\/127\.0\.0\.1:\d+$/u);
    child.signal("SIGTERM");
    expect(await child.exited).toBe(0);
  });

  test("file, environment and flags reach the broker", async () => {
    const config = file(
      "rqtt.toml",
      `[[listeners]]\nurl = "${TCP}"\n[capabilities]\nmaximumQos = 0\n[limits]\nreceiveMaximum = 5\n`,
    );
    const argv = ["--config", config, "--set", "capabilities.retainAvailable=false"];
    const { child, urls, portOf } = await ready(argv, { RQTT_LIMITS_RECEIVE_MAXIMUM: "7" });
    expect(urls).toHaveLength(1);
    const client = await RawClient.connect(portOf("mqtt:"));
    client.sendConnect(5, "a");
    const connack = await client.packet();
    expect([connack[0], connack[3]]).toEqual([0x20, 0]);
    const properties = connack.slice(5).join();
    for (const property of [
      [0x21, 0, 7],
      [0x24, 0],
      [0x25, 0],
    ])
      expect(properties).toContain(property.join());
    await stop(child);
  });

  test.skipIf(!hasIPv6())("an IPv6 listener", async () => {
    const { child, urls, portOf } = await ready(["--listen", "mqtt://[::1]:0"]);
    expect(urls[0]).toMatch(/^mqtt:\/\/\[::1\]:\d+$/u);
    const client = await RawClient.connect(portOf("mqtt:"), "::1");
    client.sendConnect(4, "a");
    expect(await client.packet()).toEqual([0x20, 2, 0, 0]);
    await stop(child);
  });

  test("beyond loopback with everybody let in", async () => {
    const { child, urls } = await ready(["--listen", "mqtt://0.0.0.0:0", "--set", "auth.anonymous=everywhere"]);
    expect(urls[0]).toMatch(/^mqtt:\/\/0\.0\.0\.0:\d+$/u);
    await stop(child);
  });

  test("nobody is let in where anonymous is nowhere", async () => {
    const { child, portOf } = await ready(["--listen", TCP, "--set", "auth.anonymous=nowhere"]);
    const client = await RawClient.connect(portOf("mqtt:"));
    client.sendConnect(4, "a");
    expect(await client.packet()).toEqual([0x20, 2, 0, 5]);
    await client.closed;
    await stop(child);
  });
});

describe("a question is answered on standard output", () => {
  test("--version", async () => {
    expect(await ended(["--version"])).toEqual({ code: 0, stdout: `rqtt ${VERSION}`, stderr: "" });
  });

  test("--help", async () => {
    const { code, stdout, stderr } = await ended(["--help"]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("--listen URL");
    expect(stdout).toContain("limits.packetBytesMax");
    expect(stdout).not.toContain(READY);
  });
});

describe("a mistake is one line on standard error and exit code 2", () => {
  const bad: [string, string[], Record<string, string>, RegExp][] = [
    ["an unknown flag", ["--lisen", TCP], {}, /^rqtt: command line: expected one of --config, .*found "--lisen"/u],
    [
      "a value of the wrong form",
      ["--set", "limits.packetBytesMax=abc"],
      {},
      /^rqtt: limits\.packetBytesMax: .*found "abc"/u,
    ],
    [
      "a variable",
      [],
      { RQTT_LOG_LEVEL: "loud" },
      /^rqtt: log\.level: expected "debug" or .*found "loud" \(RQTT_LOG_LEVEL=loud\)$/u,
    ],
    [
      "a URL",
      ["--listen", "tcp://127.0.0.1"],
      {},
      /^rqtt: listeners\[0\]\.url: expected .*found "tcp:\/\/127\.0\.0\.1"/u,
    ],
    ["a URL of later", ["--listen", "unix:///run/rqtt"], {}, /^rqtt: listeners\[0\]\.url: .*not yet possible/u],
    ["TLS without certificate", ["--listen", "mqtts://127.0.0.1:0"], {}, /^rqtt: listeners\[0\]\.certificate: /u],
    [
      "beyond loopback",
      ["--listen", "mqtt://0.0.0.0:0"],
      {},
      /^rqtt: listeners\[0\]\.url: .*type --set auth\.anonymous=everywhere/u,
    ],
    [
      "a file that is not there",
      ["--config", "gone.toml"],
      {},
      /^rqtt: --config: expected a file that can be read, found .*gone\.toml/u,
    ],
  ];

  test.each(bad)("%s", async (_name, argv, env, message) => {
    const { code, stdout, stderr } = await ended(argv, env);
    expect(stderr.trimEnd()).toMatch(message);
    expect(stderr.trimEnd()).not.toContain("\n");
    expect([code, stdout]).toEqual([2, ""]);
  });

  test("a key in a file", async () => {
    const config = file("bad.json", '{ "limits": { "packetBytes": 5 } }');
    const { code, stdout, stderr } = await ended(["--config", config]);
    expect(stderr.trimEnd()).toMatch(/^rqtt: limits\.packetBytes: .*found an unknown setting \(.*bad\.json\)$/u);
    expect([code, stdout]).toEqual([2, ""]);
  });
});

describe("a port that is taken", () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
  });
  afterAll(() => void server.close());

  test.each(["mqtt", "ws"])("%s: one line that names it, exit code 1, no ready line", async (scheme) => {
    const url = `${scheme}://127.0.0.1:${port}`;
    // The first listener accepts; that must not make the whole look ready.
    const { code, stdout, stderr } = await ended(["--listen", TCP, "--listen", url, "--set", "log.level=error"]);
    expect(stderr.trimEnd()).toMatch(new RegExp(`^rqtt: .*${scheme}://127\\.0\\.0\\.1:${port}.*$`, "u"));
    expect(stderr.trimEnd()).not.toContain("\n");
    expect([code, stdout]).toEqual([1, ""]);
  });
});

describe("signals", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("%s: v5 clients hear 0x8B, others a close, exit code 0", async (signal) => {
    const { child, urls, portOf } = await ready(["--listen", TCP, "--listen", WS]);
    const port = portOf("mqtt:");
    const newer = await RawClient.connect(port);
    newer.sendConnect(5, "newer");
    expect((await newer.packet())[0]).toBe(0x20);
    const older = await RawClient.connect(port);
    older.sendConnect(4, "older");
    expect(await older.packet()).toEqual([0x20, 2, 0, 0]);
    const silent = await RawClient.connect(port);
    const page = await webSocket(urls.find((url) => url.startsWith("ws:"))!);
    page.socket.send(RawClient.connectBytes(5, "page"));
    expect((await page.message())[0]).toBe(0x20);

    child.signal(signal);
    expect((await newer.packet()).slice(0, 3)).toEqual([0xe0, expect.any(Number), 0x8b]);
    expect((await page.message()).slice(0, 3)).toEqual([0xe0, expect.any(Number), 0x8b]);
    await Promise.all([newer.closed, older.closed, silent.closed, page.closed]);
    expect([newer.rest(), older.rest(), silent.rest()]).toEqual([[], [], []]);
    expect(await child.exited).toBe(0);
    await expect(RawClient.connect(port)).rejects.toThrow("ECONNREFUSED");
  });

  test("a second signal ends it at once, though a client has not taken its messages", async () => {
    const { child, portOf } = await ready(["--listen", TCP]);
    const port = portOf("mqtt:");
    const stuck = await RawClient.connect(port);
    stuck.sendConnect(5, "stuck");
    await stuck.packet();
    stuck.send([0x82, 7, 0, 1, 0, 0, 1, 0x23, 0]);
    await stuck.packet();
    stuck.pause();

    const publisher = await RawClient.connect(port);
    publisher.sendConnect(5, "publisher");
    await publisher.packet();
    const publish = new Uint8Array(4 + 1024 * 1024 + 4);
    publish.set([0x30, 0x84, 0x80, 0x40, 0, 1, 0x61, 0]);
    for (let index = 0; index < 32; index++) publisher.send(publish);
    publisher.send([0xc0, 0]);
    expect(await publisher.packet()).toEqual([0xd0, 0]);

    child.signal("SIGTERM");
    expect((await publisher.packet()).slice(0, 3)).toEqual([0xe0, expect.any(Number), 0x8b]);
    child.signal("SIGTERM");
    // It did not flush, and it does not say that it did.
    expect(await child.exited).not.toBe(0);
    stuck.end();
  });
});

/** Some containers have no loopback of this family. */
function hasIPv6(): boolean {
  try {
    Bun.listen({ hostname: "::1", port: 0, socket: { data() {} } }).stop();
    return true;
  } catch {
    return false;
  }
}

/** A WebSocket client whose binary messages are read one by one. */
async function webSocket(url: string) {
  const socket = new WebSocket(url, "mqtt");
  socket.binaryType = "arraybuffer";
  const messages: number[][] = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    messages.push([...new Uint8Array(data as ArrayBuffer)]);
    wake();
  };
  const closed = new Promise<void>((resolve) => {
    socket.onclose = () => resolve();
  });
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const message = async (): Promise<number[]> => {
    while (messages.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return messages.shift()!;
  };
  return { socket, message, closed };
}
