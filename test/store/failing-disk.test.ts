/**
 * A real broker whose disk takes no more: the process ends at once, says why, acknowledges nothing afterwards, and what it had
 * acknowledged is there for the next one. An embedded broker cuts everybody off.
 */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { startLineProcess } from "../support/line-process.ts";
import { ROOT } from "../support/repository.ts";

setDefaultTimeout(60_000);

const MAIN = join(ROOT, "src", "main.ts");
const folder = mkdtempSync(join(tmpdir(), "rqtt-store-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** No file may become larger than this many blocks of 512 bytes, or of 1024: some MiB either way. */
const BLOCKS_MAX = 4096;
const KEPT = {
  clientId: "kept",
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: 3600 },
  reconnectPeriod: 0,
} as const;

function broker(...before: string[]) {
  return startLineProcess([...before, process.execPath, "--no-orphans", MAIN, "--listen", "mqtt://127.0.0.1:0"], {
    cwd: folder,
  });
}

async function urlOf(child: ReturnType<typeof broker>): Promise<string> {
  return (await child.line((text) => text.startsWith("rqtt ready"))).split(" ")[2]!;
}

test("a write that fails ends the process with 74; what was acknowledged is kept", async () => {
  const child = broker("sh", "-c", `ulimit -f ${BLOCKS_MAX}; exec "$@"`, "sh");
  const url = await urlOf(child);
  const subscriber = await mqtt.connectAsync(url, KEPT);
  await subscriber.subscribeAsync("t", { qos: 1 });
  await subscriber.endAsync();
  const publisher = await mqtt.connectAsync(url, { reconnectPeriod: 0 });
  publisher.on("error", () => {});
  let isOver = false;
  const closed = new Promise<void>((resolve) => {
    publisher.once("close", () => {
      isOver = true;
      resolve();
    });
  });
  const acknowledged: number[] = [];
  const rest = "x".repeat(20_000);
  for (let at = 0; !isOver && at < 20_000; at++) {
    const sent = publisher.publishAsync("t", `${at} ${rest}`, { qos: 1 }).then(
      () => void acknowledged.push(at),
      () => {},
    );
    if (at % 20 === 19) await Promise.race([sent, closed]);
  }
  expect(await child.exited).toBe(74);
  expect(child.stderr()).toMatch(/error store-failed kind=broken/u);
  expect(acknowledged.length).toBeGreaterThan(10);
  publisher.end(true);

  const next = broker();
  const seen = new Set<number>();
  const back = mqtt.connect(await urlOf(next), KEPT);
  await new Promise<void>((resolve) => {
    back.on("message", (_topicName, payload) => {
      seen.add(Number(payload.toString().split(" ")[0]));
      if (acknowledged.every((at) => seen.has(at))) resolve();
    });
  });
  await back.endAsync();
  next.signal("SIGTERM");
  expect(await next.exited).toBe(0);
});

test("an embedded broker cuts everybody off, lets nobody in, and can be closed", async () => {
  const program = join(ROOT, "test", "support", "embedded-on-a-failing-disk.ts");
  const command = [process.execPath, "--no-orphans", program, join(folder, "embedded")];
  const child = startLineProcess(["sh", "-c", `ulimit -f ${BLOCKS_MAX}; exec "$@"`, "sh", ...command], { cwd: folder });
  expect(await child.line((text) => text.startsWith("in-process"))).toBe("in-process closed 0x88");
  await child.line((text) => text === "socket closed");
  expect(await child.line((text) => text.startsWith("afterwards"))).toBe("afterwards closed 0x89");
  await child.line((text) => text === "broker closed");
  expect(await child.exited).toBe(0);
});
